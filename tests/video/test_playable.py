"""Clips as browsers play them: the same times, the size of a screen, sound where it plays."""

import av
import pytest
import tiny_clips

from keras_refocus.video import containers, playable, segments


def test_times_turn_and_sound_are_kept_and_the_size_is_that_of_a_screen(tmp_path):
    lumas = tiny_clips.moving(0, len(tiny_clips.PHONE_TIMES), height=96, width=130)
    source = tiny_clips.write(
        tmp_path / "a.mov",
        lumas,
        codec="libx264",
        times=tiny_clips.PHONE_TIMES,
        rotation=90,
        sounds=[("eng", "Left", 1)],
    )
    target = tmp_path / "b.mp4"
    playable.write(source, target, side=64)
    assert tiny_clips.times(target) == tiny_clips.times(source)
    # Of 96 x 130 pixels turned by a quarter.
    with av.open(str(target)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height) == (64, 48)
        assert video.codec_context.name == "h264" and video.codec_context.pix_fmt == "yuv420p"
    assert containers.survey(target).rotation == containers.survey(source).rotation != 0
    assert [len(p) for p in tiny_clips.packets(target, "audio")] == [
        len(p) for p in tiny_clips.packets(source, "audio")
    ]


def test_the_first_seconds_alone(tmp_path):
    lumas = tiny_clips.moving(0, 30)
    source = tiny_clips.write(tmp_path / "a.mkv", lumas, sounds=[("eng", "Left", 1)])
    playable.write(source, tmp_path / "b.mp4", seconds=0.5, sound=False)
    assert len(tiny_clips.times(tmp_path / "b.mp4")) == 15
    assert not tiny_clips.packets(tmp_path / "b.mp4", "audio")
    assert containers.look(source).has_sound and not containers.look(tmp_path / "b.mp4").has_sound


def test_what_is_not_wanted_any_more_leaves_nothing(tmp_path):
    source = tiny_clips.write(tmp_path / "a.mkv", tiny_clips.moving(0, 5))
    with pytest.raises(segments.CancelledError):
        playable.write(source, tmp_path / "b.mp4", cancel=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
    with pytest.raises(FileNotFoundError):
        playable.write(tmp_path / "gone.mkv", tmp_path / "b.mp4")
    (tmp_path / "no.mkv").write_bytes(b"no video")
    with pytest.raises(ValueError, match="FFmpeg reads"):
        playable.write(tmp_path / "no.mkv", tmp_path / "b.mp4")


def test_the_head_of_a_clip_and_a_survey_of_its_beginning(tmp_path):
    source = tiny_clips.write(tmp_path / "a.mp4", tiny_clips.moving(0, 60), codec="libx264")
    head = containers.look(source)
    assert (head.width, head.height, head.hdr) == (64, 48, None)
    assert head.seconds == pytest.approx(60 * 3003 / 90000, abs=0.05)
    found = containers.survey(source, until=1.0)
    assert 30 < len(found.frames) < 40
    whole = containers.survey(source)
    assert found.frames[:-1] == whole.frames[: len(found.frames) - 1]
