"""Files of video: each thing that must not be lost, in a clip that the test makes itself."""

from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips

from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.video import clip, containers, segments


def restored(path, out, *, engine=None, mode="restore", length=5, **job):
    """Restore a clip; returns the file of the result and what became of it."""
    out.mkdir(exist_ok=True)
    options = job.pop("options", clip.ClipOptions(restore=RestoreOptions(mode=mode)))
    restorer = Restorer(engine or tiny_clips.ArithmeticEngine())
    work = segments.ClipJob(source=path, folder=out, name=path.stem, options=options, **job)
    outcome = segments.restore(work, restorer, length=length)
    return outcome.path, outcome


@pytest.fixture(scope="module")
def phone(tmp_path_factory):
    """A clip as phones write them, restored: `(source, result)`."""
    folder = tmp_path_factory.mktemp("phone")
    source = tiny_clips.write(
        folder / "phone.mp4",
        tiny_clips.moving(0, 12),
        codec="libx264",
        times=tiny_clips.PHONE_TIMES,
        rotation=90,
        aspect=Fraction(4, 3),
        properties={"color_range": 1, "colorspace": 6, "color_primaries": 5, "color_trc": 6},
        sounds=[("eng", "Main", 1), ("fra", "Comments", 8)],
        subtitle="mov_text",
        chapters=[(0, 200, "one"), (200, 366, "two")],
        metadata={"location": "+48.1+011.5/", "title": "Holiday"},
    )
    return source, restored(source, folder / "out")[0]


def test_times_of_frames_are_kept_exactly(phone):
    source, result = phone
    expected = [pts * tiny_clips.TIME_BASE for pts in tiny_clips.PHONE_TIMES]
    assert tiny_clips.times(source) == expected
    assert tiny_clips.times(result) == expected


@pytest.mark.parametrize(("kind", "count"), [("audio", 2), ("subtitle", 1)])
def test_other_streams_are_kept_bit_for_bit(phone, kind, count):
    source, result = phone
    kept = tiny_clips.packets(result, kind)
    assert len(kept) == count and all(kept)
    assert kept == tiny_clips.packets(source, kind)


def test_streams_keep_language_title_disposition_and_order(phone):
    def said(path):
        with av.open(str(path)) as container:
            return [
                (s.type, s.language, s.metadata.get("name"), int(s.disposition))
                for s in container.streams
            ]

    source, result = phone
    assert said(result) == said(source)
    assert said(result)[2] == ("audio", "fra", "Comments", 8)


def test_chapters_rotation_aspect_and_colours_are_kept(phone):
    _, result = phone
    with av.open(str(result)) as container:
        stream = container.streams.video[0]
        chapters = [
            (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"]["title"])
            for c in container.chapters()
        ]
        frame = next(container.decode(stream))
        aspect = stream.sample_aspect_ratio
    assert chapters == [
        (0, Fraction(1, 5), "one"),
        (Fraction(1, 5), Fraction(366, 1000), "two"),
    ]
    assert frame.rotation == 90
    assert aspect == Fraction(4, 3)
    colours = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    assert colours == (1, 6, 5, 6)


def test_the_place_and_other_metadata_go_unless_they_are_asked_for(phone, tmp_path):
    def metadata(path):
        with av.open(str(path)) as container:
            return dict(container.metadata)

    source, result = phone
    assert "location" in metadata(source)
    assert not {"location", "title"} & set(metadata(result))
    kept, _ = restored(source, tmp_path / "kept", keep_metadata=True)
    assert metadata(kept)["title"] == "Holiday"
    assert not any("location" in key for key in metadata(kept))
    placed, _ = restored(source, tmp_path / "placed", keep_metadata=True, keep_place=True)
    assert "+48" in metadata(placed)["location"]


def test_attachments_and_milliseconds_of_matroska_are_kept(tmp_path):
    times = [0, 33, 67, 140, 141, 200]
    source = tiny_clips.write(
        tmp_path / "clip.mkv",
        tiny_clips.moving(1, 6),
        times=times,
        time_base=Fraction(1, 1000),
        subtitle="subrip",
        attachment=("font.ttf", "application/x-truetype-font", b"\0\1font"),
    )
    result, outcome = restored(source, tmp_path / "out")
    with av.open(str(result)) as container:
        (attachment,) = container.streams.attachments
        assert (attachment.metadata["filename"], attachment.data) == ("font.ttf", b"\0\1font")
    assert tiny_clips.times(result) == [Fraction(t, 1000) for t in times]
    assert tiny_clips.packets(result, "subtitle") == tiny_clips.packets(source, "subtitle")
    assert outcome.notes == []


def test_the_picture_of_the_cover_is_kept_bit_for_bit_and_not_restored(tmp_path):
    plain = tiny_clips.write(tmp_path / "plain.mp4", tiny_clips.moving(0, 5), codec="libx264")
    source = tmp_path / "song.mp4"
    with av.open(plain) as clip_file, av.open(source, "w") as song:
        stream = song.add_stream_from_template(clip_file.streams.video[0])
        cover = song.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 32, 24, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        drawn = tiny_clips.frame_of(tiny_clips.scene(3, height=24, width=32), "yuvj420p")
        drawn.pts = 0
        picture = [*cover.encode(drawn), *cover.encode(None)]
        for packet in clip_file.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                song.mux(packet)
        for packet in picture:
            song.mux(packet)
    result, _ = restored(source, tmp_path / "out")
    with av.open(source) as before, av.open(result) as after:
        kinds = [(s.codec_context.name, s.disposition) for s in after.streams]
        assert kinds == [(s.codec_context.name, s.disposition) for s in before.streams]
        covers = [[bytes(p) for p in file.demux(video=1) if p.size] for file in (before, after)]
    assert covers[0] == covers[1] != []
    assert not np.array_equal(tiny_clips.planes(plain)[2][0], tiny_clips.planes(result)[2][0])


@pytest.mark.parametrize(
    "format",
    ["yuv420p", "yuv422p10le", "yuv444p12le", "yuva420p", "gray10le", "bgr0", "gbrp10le"],
)
def test_depth_and_subsampling_are_kept_and_chroma_is_untouched(tmp_path, format):
    source = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(2, 3), format=format)
    result, _ = restored(source, tmp_path / "out")
    before, after = tiny_clips.planes(source), tiny_clips.planes(result)
    with av.open(str(result)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == format
    assert len(after) == 3
    if format.startswith(("yuv", "gray")):
        for old, new in zip(before, after, strict=True):
            assert not np.array_equal(old[0], new[0])
            assert all(np.array_equal(a, b) for a, b in zip(old[1:], new[1:], strict=True))


def test_full_range_stays_full_range(tmp_path):
    properties = {"color_range": 2, "colorspace": 1, "color_primaries": 1, "color_trc": 1}
    source = tiny_clips.write(
        tmp_path / "clip.mp4",
        tiny_clips.moving(3, 4),
        codec="libx264",
        format="yuvj420p",
        full=True,
        properties=properties,
        options={"qp": "0"},
    )
    result, _ = restored(
        source,
        tmp_path / "out",
        options=clip.ClipOptions(restore=RestoreOptions(strength=0)),
        crf=0,
    )
    with av.open(str(result)) as container:
        assert next(container.decode(video=0)).color_range == 2
    before, after = tiny_clips.planes(source), tiny_clips.planes(result)
    assert np.abs(before[0][0].astype(int) - after[0][0]).max() <= 1


def test_a_frame_that_fails_is_passed_on_as_it_was_and_named(tmp_path):
    lumas = tiny_clips.moving(4, 9)
    lumas[4] = np.full_like(lumas[4], 0.9)
    source = tiny_clips.write(tmp_path / "clip.mkv", lumas)
    engine = tiny_clips.ArithmeticEngine(fails=lambda tile: tile.mean() > 0.85)
    result, outcome = restored(source, tmp_path / "out", engine=engine)
    before, after = tiny_clips.planes(source), tiny_clips.planes(result)
    assert list(outcome.failed) == [4] and "no memory" in outcome.failed[4]
    assert len(after) == 9
    assert np.array_equal(before[4][0], after[4][0])
    assert not np.array_equal(before[5][0], after[5][0])


def test_a_batch_with_a_frame_that_fails_loses_that_frame_only(tmp_path):
    lumas = tiny_clips.moving(4, 6)
    lumas[2] = np.full_like(lumas[2], 0.9)
    source = tiny_clips.write(tmp_path / "clip.mkv", lumas)
    engine = tiny_clips.ArithmeticEngine(batch_size=4, fails=lambda tile: tile.mean() > 0.85)
    _, outcome = restored(source, tmp_path / "out", engine=engine)
    assert list(outcome.failed) == [2]


def test_several_frames_share_a_call_where_the_engine_takes_several(tmp_path):
    source = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(5, 12))
    engine = tiny_clips.ArithmeticEngine(batch_size=4)
    restored(source, tmp_path / "out", engine=engine, length=12)
    assert engine.calls == 3


@pytest.mark.parametrize(("transfer", "kind"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, transfer, kind):
    properties = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": transfer}
    source = tiny_clips.write(
        tmp_path / "clip.mp4",
        tiny_clips.moving(6, 3),
        codec="libx265",
        format="yuv420p10le",
        properties=properties,
        options={"x265-params": "log-level=none"},
    )
    with pytest.raises(ValueError, match=rf"HDR \({kind}\)"):
        restored(source, tmp_path / "out")


def test_ten_bits_of_a_wide_gamut_that_is_no_hdr_stay_so(tmp_path):
    properties = {"color_range": 1, "colorspace": 9, "color_primaries": 9, "color_trc": 14}
    source = tiny_clips.write(
        tmp_path / "clip.mp4",
        tiny_clips.moving(6, 3),
        codec="libx265",
        format="yuv420p10le",
        properties=properties,
        options={"x265-params": "log-level=none"},
    )
    result, _ = restored(source, tmp_path / "out")
    with av.open(str(result)) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p10le"
        frame = next(container.decode(video=0))
    colours = (frame.color_range, frame.colorspace, frame.color_primaries, frame.color_trc)
    assert colours == (1, 9, 9, 14)


def test_interlaced_clips_are_refused_or_made_whole(tmp_path):
    lumas = tiny_clips.moving(7, 8)
    source = tiny_clips.write(
        tmp_path / "clip.mkv",
        lumas,
        codec="libx264",
        options={"flags": "+ildct+ilme"},
    )
    assert containers.survey(source).interlaced == 8
    with pytest.raises(ValueError, match="Add --deinterlace"):
        restored(source, tmp_path / "out")
    result, _ = restored(source, tmp_path / "out", options=clip.ClipOptions(deinterlace=True))
    assert tiny_clips.times(result) == tiny_clips.times(source)


def test_a_part_begins_at_zero_with_its_sound_and_chapters(tmp_path):
    source = tiny_clips.write(
        tmp_path / "clip.mp4",
        tiny_clips.moving(8, 12),
        codec="libx264",
        sounds=[("eng", "Main", 1)],
        chapters=[(0, 200, "one"), (200, 400, "two")],
    )
    result, outcome = restored(source, tmp_path / "out", start=0.1, end=0.3)
    assert outcome.frames == 6
    assert tiny_clips.times(result) == [Fraction(3003 * i, 90000) for i in range(6)]
    (sound,) = tiny_clips.packets(result, "audio")
    (whole,) = tiny_clips.packets(source, "audio")
    begin = Fraction(3 * 3003, 90000)
    expected = [data for when, data in whole if begin <= when < begin + Fraction(6 * 3003, 90000)]
    assert [data for _, data in sound] == expected
    assert 0 <= sound[0][0] < Fraction(1024, 48000)
    with av.open(str(result)) as container:
        assert [c["metadata"]["title"] for c in container.chapters()] == ["one", "two"]
        assert container.chapters()[0]["start"] == 0
    with pytest.raises(ValueError, match="at least one frame"):
        restored(source, tmp_path / "out", start=9.0)


def test_frames_read_from_the_middle_are_those_read_from_the_start(tmp_path):
    source = tiny_clips.write(
        tmp_path / "clip.mp4", tiny_clips.moving(9, 30), codec="libx264", options={"g": "7"}
    )
    found = containers.survey(source)
    whole = dict(containers.read(found, 0, 30))
    for start in (1, 8, 20, 29):
        for index, frame in containers.read(found, start, 30):
            assert frame.pts == whole[index].pts
            assert np.array_equal(frame.to_ndarray(), whole[index].to_ndarray())


def test_clips_without_times_are_read_by_order(tmp_path):
    source = tiny_clips.write(
        tmp_path / "clip.h264", tiny_clips.moving(10, 6), codec="libx264", container="h264"
    )
    found = containers.survey(source)
    assert [index for index, _ in containers.read(found, 2, 6)] == [2, 3, 4, 5]
    result, _ = restored(source, tmp_path / "out")
    times = tiny_clips.times(result)
    assert len(times) == 6 and times == sorted(set(times))


def test_what_is_no_video_is_said_in_a_sentence(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no video at all" * 100)
    with pytest.raises(ValueError, match="one that FFmpeg reads"):
        containers.survey(path)
    with pytest.raises(FileNotFoundError, match="must exist"):
        containers.survey(tmp_path / "other.mp4")
    sound = tmp_path / "sound.mp4"
    with av.open(str(sound), "w") as container:
        track = container.add_stream("aac", rate=48000)
        track.layout = "stereo"
        tiny_clips._write_sound(container, track, 0)
    with pytest.raises(ValueError, match="must have a stream of frames"):
        containers.survey(sound)


def test_a_result_is_there_whole_or_not_at_all(tmp_path, monkeypatch):
    source = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(11, 4))

    def fails(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(containers, "_copied_packets", fails)
    with pytest.raises(OSError, match="full"):
        restored(source, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".clip.mkv.refocus"]
