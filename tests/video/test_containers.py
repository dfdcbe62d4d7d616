"""Files of video: each thing that must not be lost, in a clip that the test makes itself."""

import dataclasses
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


def test_length_and_mean_rate_of_the_track_are_those_of_the_input(phone):
    """Frames are reordered, and of uneven durations; the encoder gave the last one a 30th."""

    def said(path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return stream.duration * stream.time_base, stream.average_rate

    source, result = phone
    assert said(result) == said(source)


@pytest.mark.parametrize("name", ["late.mp4", "late.mov", "late.mkv"])
def test_a_clip_that_begins_late_does_so_still(tmp_path, name):
    times = [pts + 9000 for pts in tiny_clips.PHONE_TIMES]
    base = tiny_clips.TIME_BASE
    if name.endswith("mkv"):
        times, base = [pts // 90 for pts in times], Fraction(1, 1000)
    source = tiny_clips.write(
        tmp_path / name,
        tiny_clips.moving(0, 12),
        codec="libx264",
        times=times,
        time_base=base,
        sounds=[("eng", "Main", 1)],
    )
    result, outcome = restored(source, tmp_path / "out")
    assert tiny_clips.times(source) == tiny_clips.times(result) == [t * base for t in times]
    assert tiny_clips.packets(result, "audio") == tiny_clips.packets(source, "audio")
    assert outcome.notes == []


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


def test_all_that_matroska_holds_is_kept(tmp_path):
    times = [0, 33, 67, 140, 141, 200]
    properties = {"color_range": 1, "colorspace": 6, "color_primaries": 5, "color_trc": 6}
    source = tiny_clips.write(
        tmp_path / "clip.mkv",
        tiny_clips.moving(1, 6),
        times=times,
        time_base=Fraction(1, 1000),
        codec="libx264",
        aspect=Fraction(4, 3),
        rotation=90,
        properties=properties,
        sounds=[("eng", "Main", 1), ("fra", "Comments", 8)],
        subtitle="subrip",
        attachment=("font.ttf", "application/x-truetype-font", b"\0\1font"),
        chapters=[(0, 100, "one"), (100, 233, "two")],
    )

    def said(path):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            (attachment,) = container.streams.attachments
            frame = next(container.decode(stream))
            return {
                "tracks": [
                    (s.type, s.language, s.metadata.get("title"), int(s.disposition))
                    for s in container.streams
                ],
                "attachment": (
                    attachment.metadata["filename"],
                    attachment.mimetype,
                    attachment.data,
                ),
                "chapters": [
                    (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"])
                    for c in container.chapters()
                ],
                "picture": (stream.sample_aspect_ratio, stream.average_rate, frame.rotation),
                "colours": {name: int(getattr(frame, name)) for name in properties},
            }

    result, outcome = restored(source, tmp_path / "out")
    before = said(source)
    assert said(result) == before
    assert before["tracks"][2] == ("audio", "fra", "Comments", 8)
    assert before["attachment"][2] == b"\0\1font"
    assert before["picture"] == (Fraction(4, 3), 30, 90)
    assert before["colours"] == properties
    assert len(before["chapters"]) == 2
    assert tiny_clips.times(result) == [Fraction(t, 1000) for t in times]
    for kind in ("audio", "subtitle"):
        assert tiny_clips.packets(result, kind) == tiny_clips.packets(source, kind) != []
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


def test_a_key_frame_that_cannot_be_coloured_is_named_and_the_clip_is_in_colour(tmp_path):
    class Failing(tiny_clips.ArithmeticEngine):
        def colorize(self, luminance, *, model="colorizer"):
            self.calls += 1
            if self.calls == 2:
                raise MemoryError("no memory for colours")
            return super().colorize(luminance, model=model)

    source = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(4, 26), gray=True)
    options = clip.ClipOptions(restore=RestoreOptions(mode="colorize", strength=0), steady=False)
    result, outcome = restored(
        source, tmp_path / "out", engine=Failing(), options=options, length=26
    )
    assert outcome.failed == {12: "colours: MemoryError: no memory for colours"}
    after = tiny_clips.planes(result)
    means = [frame[1].mean() for frame in after]
    assert len(after) == 26 and max(means) - min(means) < 3 and abs(means[12] - 128) > 1


def test_colours_that_fail_frame_after_frame_stop_the_work(tmp_path):
    class Broken(tiny_clips.ArithmeticEngine):
        def colorize(self, luminance, *, model="colorizer"):
            raise ValueError("no colours")

    lumas = [scene for seed in range(26) for scene in tiny_clips.moving(seed, 1)]
    source = tiny_clips.write(tmp_path / "clip.mkv", lumas, gray=True)
    options = clip.ClipOptions(restore=RestoreOptions(mode="colorize", strength=0))
    with pytest.raises(clip.ClipError, match="24 key frames in a row"):
        restored(source, tmp_path / "out", engine=Broken(), options=options)


def test_a_frame_that_cannot_be_decoded_is_told_and_nothing_moves(tmp_path):
    """The one before it stands longer: sound and the frames after it stay where they are."""
    plain = tiny_clips.write(tmp_path / "plain.mkv", tiny_clips.moving(0, 8), options={"g": "1"})
    source = tmp_path / "clip.mkv"
    with av.open(str(plain)) as whole, av.open(str(source), "w") as broken:
        stream = broken.add_stream_from_template(whole.streams.video[0])
        for index, packet in enumerate(whole.demux(video=0)):
            if not packet.size:
                continue
            written = av.Packet(b"\xff" * 9) if index == 3 else packet
            written.pts, written.dts, written.duration = packet.pts, packet.dts, packet.duration
            written.time_base, written.stream = packet.time_base, stream
            broken.mux(written)
    result, outcome = restored(source, tmp_path / "out")
    assert any("1 packets could not be decoded" in note for note in outcome.notes)
    expected = tiny_clips.times(plain)
    del expected[3]
    assert tiny_clips.times(result) == expected
    with av.open(str(plain)) as before, av.open(str(result)) as after:
        assert abs(before.duration - after.duration) <= 1000


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
    """Odd rows are taken half a frame later than even ones, as by a television camera."""
    moments = tiny_clips.soft(tiny_clips.moving(7, 16, step=2.0))
    woven = [moment.copy() for moment in moments[::2]]
    for frame, later in zip(woven, moments[1::2], strict=True):
        frame[1::2] = later[1::2]
    source = tiny_clips.write(
        tmp_path / "clip.mkv", woven, codec="libx264", options={"flags": "+ildct+ilme", "qp": "5"}
    )
    assert containers.survey(source).interlaced == 8
    with pytest.raises(ValueError, match="Add --deinterlace"):
        restored(source, tmp_path / "out")
    whole = clip.ClipOptions(deinterlace=True, restore=RestoreOptions(strength=0))
    result, _ = restored(source, tmp_path / "out", options=whole, crf=5)
    assert tiny_clips.times(result) == tiny_clips.times(source)

    def combing(path):
        luma = tiny_clips.planes(path)[4][0].astype(float)
        return np.abs(luma[1:-1] - (luma[:-2] + luma[2:]) / 2).mean()

    assert combing(result) < 0.5 * combing(source)
    with av.open(str(result)) as container:
        assert not any(frame.interlaced_frame for frame in container.decode(video=0))


def with_captions(path, captions):
    """A raw stream of H.264 with a message of user data (SEI 4) before the slices of each frame."""
    message = b"\0\0\1\6\4" + bytes([len(captions)]) + captions + b"\x80"
    with av.open(str(path), "w", format="h264") as result:
        stream = result.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index, luma in enumerate([*tiny_clips.moving(0, 4), None]):
            frame = None if luma is None else tiny_clips.frame_of(luma)
            if frame is not None:
                frame.pts = index
            for packet in stream.encode(frame):
                unit = bytes(packet)
                # A slice of a picture that others refer to: one that stands alone, or one that
                # does not.
                place = next(p for p in map(unit.find, (b"\0\0\1\x65", b"\0\0\1\x41")) if p >= 0)
                changed = av.Packet(unit[:place] + message + unit[place:])
                changed.pts, changed.dts, changed.time_base = (
                    packet.pts,
                    packet.dts,
                    packet.time_base,
                )
                changed.stream = stream
                result.mux(changed)
    return path


def test_captions_inside_frames_cannot_be_kept_and_that_is_said(tmp_path):
    """Two bytes of CEA-608 (ATSC A/53) in each frame."""
    captions = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x20\xff"
    source = with_captions(tmp_path / "clip.h264", captions)
    assert containers.survey(source).side_data == ("closed caption",)
    _, outcome = restored(source, tmp_path / "out")
    assert "the closed caption data of frames was left out" in outcome.notes


@pytest.mark.parametrize(("transfer", "hdr"), [(2, "Dolby Vision"), (1, None), (16, "PQ")])
def test_dolby_vision_without_a_picture_below_it_is_hdr(tmp_path, transfer, hdr):
    """No encoder here writes it, so its presence is put in where frames were looked at."""
    path = tiny_clips.write(
        tmp_path / "clip.mp4",
        tiny_clips.moving(0, 3),
        codec="libx264",
        properties={"color_trc": transfer},
    )
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        looking = containers._Surveyor(path, stream, look_for_gray=False)
        for frame in container.decode(stream):
            looking.add(frame)
        looking._side_data.add("DOVI_RPU_BUFFER")
        found = looking.result(stream)
    assert found.hdr == hdr
    assert found.side_data == ("Dolby Vision",)


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_pixels_that_are_not_square_stay_so_where_only_the_file_said_it(tmp_path, suffix):
    """PyAV cannot write such a file, so it is put into what was found out of one."""
    source = tiny_clips.write(
        tmp_path / f"clip{suffix}",
        tiny_clips.moving(0, 4),
        codec="libvpx-vp9",
        times=[0, 40, 80, 120],
        time_base=Fraction(1, 1000),
    )
    found = dataclasses.replace(containers.survey(source), aspect=Fraction(4, 3))
    job = segments.ClipJob(source=source, folder=tmp_path, name="wide", options=clip.ClipOptions())
    outcome = segments.restore(job, Restorer(tiny_clips.ArithmeticEngine()), found=found)
    with av.open(str(outcome.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    assert (outcome.path.name, outcome.encoder) == ("wide.mkv", "libx264")
    assert any("not square" in note for note in outcome.notes)
    with pytest.raises(ValueError, match="Choose the codec h264"):
        containers.choose_target(found, codec="av1")
    assert containers.choose_target(containers.survey(source)).encoder.codec == "vp9"
    if suffix == ".mkv":
        (note,) = containers.choose_target(found, codec="ffv1").notes
        assert "4/3 as wide as high" in note


def test_tracks_of_data_are_left_out_and_that_is_said(tmp_path):
    """Phones and drones write where they are into such a track."""
    source = tmp_path / "clip.ts"
    plain = tiny_clips.write(tmp_path / "plain.mp4", tiny_clips.moving(0, 4), codec="libx264")
    with av.open(str(plain)) as film, av.open(str(source), "w", format="mpegts") as result:
        stream = result.add_stream_from_template(film.streams.video[0])
        track = result.add_data_stream("klv")
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                result.mux(packet)
        place = av.Packet(b"+48.1+011.5/")
        place.pts = place.dts = 0
        place.time_base, place.stream = Fraction(1, 90000), track
        result.mux(place)
    with av.open(str(source)) as container:
        assert [s.type for s in container.streams] == ["video", "data"]
    result, outcome = restored(source, tmp_path / "out")
    assert "a track of data, which may hold the place, was left out" in outcome.notes
    with av.open(str(result)) as container:
        assert [s.type for s in container.streams] == ["video"]
    assert b"+48.1+011.5/" not in result.read_bytes()


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
