"""Segments: the same bytes of every frame by one worker, by several, resumed, joined or apart."""

import json
import signal
import subprocess
import sys
from concurrent.futures import CancelledError
from fractions import Fraction

import av
import numpy as np
import pytest
import tiny_clips
from tiny_models import write_models

from keras_refocus.engines.local import LocalEngine
from keras_refocus.engines.serving import ServingEngine
from keras_refocus.local_server.configuration import model_config_for
from keras_refocus.local_server.services import LocalServer
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.video import clip, containers, interpolation, segments


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two shots of 11 and 9 frames."""
    lumas = tiny_clips.moving(0, 11) + tiny_clips.moving(1, 9)
    return tiny_clips.write(tmp_path_factory.mktemp("clip") / "clip.mkv", lumas, gray=True)


def run(source, out, *, options=None, workers=1, engine=None, **settings):
    out.mkdir(exist_ok=True)
    job = segments.ClipJob(
        source=source,
        folder=out,
        name=source.stem,
        options=options or clip.ClipOptions(),
        compare=settings.pop("compare", False),
    )
    restorer = Restorer(engine or tiny_clips.ArithmeticEngine())
    settings.setdefault("length", 6)
    return segments.restore(job, restorer, workers=workers, **settings)


def same_frames(one, other):
    pairs = zip(tiny_clips.planes(one), tiny_clips.planes(other), strict=True)
    return all(np.array_equal(a, b) for old, new in pairs for a, b in zip(old, new, strict=True))


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """The clip restored in one segment."""
    return run(source, tmp_path_factory.mktemp("whole"), length=100).path


@pytest.mark.parametrize("settings", [{"length": 6}, {"length": 6, "workers": 3}, {"length": 1}])
def test_segments_and_workers_do_not_change_a_frame(source, whole, tmp_path, settings):
    assert same_frames(whole, run(source, tmp_path, **settings).path)


def test_workers_do_not_change_a_byte_of_the_file(source, tmp_path):
    one = run(source, tmp_path / "one").path
    three = run(source, tmp_path / "three", workers=3).path
    assert one.read_bytes() == three.read_bytes()


def test_a_worker_does_neighbours_and_helps_when_it_has_none():
    waiting = segments.Waiting([0, 1, 2, 5, 6, 7, 8], 2)
    assert [waiting.take(0) for _ in range(3)] == [0, 1, 2]
    assert waiting.take(1) == 5
    # Half of what is left to the other, from its end.
    assert waiting.take(0) == 7
    assert [waiting.take(1), waiting.take(0), waiting.take(1), waiting.take(0)] == [
        6,
        8,
        None,
        None,
    ]


def test_workers_restore_frames_twice_only_where_their_shares_meet(source, tmp_path):
    """Twenty frames in segments of three; two shots, so shares meet within the first of them."""
    engine = tiny_clips.ArithmeticEngine()
    run(source, tmp_path / "one", engine=engine, length=3)
    assert engine.calls == 20
    several = tiny_clips.ArithmeticEngine()
    run(source, tmp_path / "two", engine=several, length=3, workers=2)
    # Four at a border; a worker that helps the other makes another one.
    assert several.calls <= 20 + 4 * 3


def test_neighbours_take_part_but_not_over_a_cut(source, whole, tmp_path):
    alone = run(source, tmp_path / "alone", options=clip.ClipOptions(steady=False)).path
    assert not same_frames(whole, alone)
    assert containers.survey(source).scene_starts == [0, 11]
    parts = []
    for number, (seed, count) in enumerate(((0, 11), (1, 9))):
        part = tiny_clips.write(
            tmp_path / f"part{number}.mkv", tiny_clips.moving(seed, count), gray=True
        )
        parts += tiny_clips.planes(run(part, tmp_path / "parts").path)
    joined = tiny_clips.planes(whole)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(joined, parts, strict=True))


@pytest.mark.parametrize(
    ("start", "end", "frames", "scenes"),
    [(None, None, 20, 2), (None, 11, 11, 1), (None, 12, 12, 2), (10, None, 10, 2), (11, 15, 4, 1)],
)
def test_scenes_are_those_of_the_part_that_was_asked_for(
    source, tmp_path, start, end, frames, scenes
):
    """The second shot begins with frame 11, of 30 a second."""
    start, end = (frame and (frame - 0.5) / 30 for frame in (start, end))
    job = segments.ClipJob(
        source=source,
        folder=tmp_path,
        name="part",
        options=clip.ClipOptions(),
        start=start,
        end=end,
    )
    outcome = segments.restore(job, Restorer(tiny_clips.ArithmeticEngine()))
    assert (outcome.frames, outcome.scenes) == (frames, scenes)


def test_work_that_was_cancelled_is_resumed(source, tmp_path):
    full = run(source, tmp_path / "full").path
    done = []
    with pytest.raises(CancelledError):
        run(
            source,
            tmp_path / "half",
            progress=lambda count, total: done.append(count),
            cancel=lambda: bool(done) and done[-1] >= 12,
        )
    assert not (tmp_path / "half" / "clip.mkv").exists()
    outcome = run(source, tmp_path / "half", resume=True)
    assert outcome.resumed == 12
    assert outcome.path.read_bytes() == full.read_bytes()
    assert [path.name for path in (tmp_path / "half").iterdir()] == ["clip.mkv"]


def test_work_that_was_killed_is_resumed(source, tmp_path):
    """The kill comes in the middle of the second segment, from inside."""
    full = run(source, tmp_path / "full").path
    program = f"""
import os, pathlib, signal
import tiny_clips
import test_segments as tests
count = 0
class Engine(tiny_clips.ArithmeticEngine):
    def restore(self, tiles, *, model="restorer"):
        global count
        count += 1
        if count == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().restore(tiles, model=model)
tests.run(pathlib.Path({str(source)!r}), pathlib.Path({str(tmp_path / "out")!r}), engine=Engine())
"""
    paths = [*sys.path, str(__file__).rpartition("/")[0]]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{program}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    outcome = run(source, tmp_path / "out", resume=True)
    assert outcome.resumed == 6
    assert outcome.path.read_bytes() == full.read_bytes()


def test_other_work_is_not_resumed(source, tmp_path):
    with pytest.raises(CancelledError):
        run(source, tmp_path, cancel=lambda: True)
    with pytest.raises(FileExistsError, match="same work"):
        run(source, tmp_path, options=clip.ClipOptions(steady=False), resume=True)
    assert run(source, tmp_path, options=clip.ClipOptions(steady=False)).resumed == 0


def test_frame_after_frame_failing_stops_the_work(tmp_path):
    source = tiny_clips.write(tmp_path / "clip.mkv", tiny_clips.moving(2, 30))
    engine = tiny_clips.ArithmeticEngine(fails=lambda tile: True)
    with pytest.raises(clip.ClipError, match="24 frames in a row"):
        run(source, tmp_path / "out", engine=engine)


@pytest.mark.parametrize("length", [4, 100])
def test_twice_the_rate_keeps_every_frame_and_the_duration(source, tmp_path, length):
    plain = clip.ClipOptions(restore=RestoreOptions(strength=0), steady=False)
    twice = clip.ClipOptions(restore=plain.restore, steady=False, rate=interpolation.Rate(factor=2))
    result = run(source, tmp_path, options=twice, length=length).path
    before, after = tiny_clips.planes(source), tiny_clips.planes(result)
    assert len(after) == 40
    assert all(
        np.array_equal(a, b)
        for old, new in zip(before, after[::2], strict=True)
        for a, b in zip(old, new, strict=True)
    )
    # Over the cut, and after the last frame, the frame before is repeated.
    assert np.array_equal(after[21][0], after[20][0])
    assert np.array_equal(after[39][0], after[38][0])
    assert not np.array_equal(after[1][0], after[0][0])
    seconds = tiny_clips.times(result)
    assert seconds[::2] == tiny_clips.times(source)
    with av.open(str(source)) as old, av.open(str(result)) as new:
        assert abs(old.duration - new.duration) <= 1000
        rates = [file.streams.video[0].average_rate for file in (old, new)]
    assert rates == [30, 60]


def test_interpolated_frames_do_not_depend_on_segments(source, tmp_path):
    options = clip.ClipOptions(rate=interpolation.Rate(per_second=Fraction(50)))
    one = run(source, tmp_path / "one", options=options, length=100)
    many = run(source, tmp_path / "many", options=options, length=3, workers=2)
    assert one.written == many.written > 30
    assert same_frames(one.path, many.path)


def test_gray_clips_get_colours_that_do_not_depend_on_segments(source, tmp_path):
    options = clip.ClipOptions(restore=RestoreOptions(mode="restore+colorize"))
    one = run(source, tmp_path / "one", options=options, length=100)
    many = run(source, tmp_path / "many", options=options, length=5)
    assert same_frames(one.path, many.path)
    first = tiny_clips.planes(one.path)[0]
    assert np.ptp(first[1]) > 2 and abs(first[1].mean() - 128) > 1


def test_colours_of_long_scenes_are_the_same_by_workers_and_resumed(tmp_path):
    """Key frames further away than a segment decide about a frame; the scene has seven."""
    lumas = tiny_clips.moving(3, 62, step=0.5)
    source = tiny_clips.write(tmp_path / "clip.mkv", lumas, gray=True)
    options = clip.ClipOptions(restore=RestoreOptions(mode="colorize", strength=0), steady=False)
    one = run(source, tmp_path / "one", options=options, length=31).path
    several = run(source, tmp_path / "several", options=options, length=31, workers=2).path
    assert one.read_bytes() == several.read_bytes()
    done = []
    with pytest.raises(CancelledError):
        run(
            source,
            tmp_path / "resumed",
            options=options,
            length=31,
            progress=lambda count, total: done.append(count),
            cancel=lambda: bool(done) and done[-1] >= 40,
        )
    outcome = run(source, tmp_path / "resumed", options=options, length=31, resume=True)
    assert outcome.resumed == 31
    assert outcome.path.read_bytes() == one.read_bytes()


def test_a_comparison_shows_both_and_has_the_times_of_the_result(source, tmp_path):
    outcome = run(source, tmp_path, compare=True)
    sides = tiny_clips.planes(outcome.compare)
    before, after = tiny_clips.planes(source), tiny_clips.planes(outcome.path)
    assert np.array_equal(sides[7][0], np.concatenate([before[7][0], after[7][0]], axis=1))
    assert tiny_clips.times(outcome.compare) == tiny_clips.times(outcome.path)


def test_the_record_of_a_work_folder_survives_json(source, tmp_path):
    with pytest.raises(CancelledError):
        run(source, tmp_path, cancel=lambda: True)
    record = json.loads((tmp_path / ".clip.mkv.refocus" / "job.json").read_text())
    assert record["frames"] == 20
    # The same work, found again.
    assert run(source, tmp_path, resume=True).frames == 20


# Two processes and hundreds of frames.
@pytest.mark.slow
def test_memory_does_not_grow_with_the_length(tmp_path):
    program = """
import pathlib, sys
import tiny_clips
import test_segments as tests
from keras_refocus.system import machine
folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
one = tiny_clips.moving(0, 40)
lumas = (one + one[::-1]) * (count // 80)
source = tiny_clips.write(folder / f"{count}.mkv", lumas)
tests.run(source, folder / "out", length=48)
print(machine.peak_memory())
"""
    paths = [*sys.path, str(__file__).rpartition("/")[0]]
    peaks = []
    for count in (80, 480):
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{program}"]
            + [str(tmp_path), str(count)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout.split()[-1]))
    # 400 frames more would be 4.9 MB if no more than their luma were kept.
    assert peaks[1] - peaks[0] < 4e6


def test_a_server_gives_the_frames_of_the_local_engine(source, tmp_path):
    models = write_models(tmp_path / "models")
    local = run(source, tmp_path / "local", engine=LocalEngine(models)).path
    with (
        LocalServer(model_config_for(models), port=0, poll_seconds=0) as server,
        ServingEngine(f"grpc://127.0.0.1:{server.port}") as remote,
    ):
        served = run(source, tmp_path / "served", engine=remote).path
    assert same_frames(local, served)
    assert not same_frames(source, served)
