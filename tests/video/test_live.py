"""Live: what comes too fast is dropped, what is seen keeps its time."""

import time

import av
import pytest
import tiny_clips

from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.video import live


class SlowEngine(tiny_clips.ArithmeticEngine):
    """Takes as long as three frames of the clip."""

    def restore(self, tiles, *, model="restorer"):
        time.sleep(0.1)
        return super().restore(tiles, model=model)


def run(path, out, engine, **settings):
    with live.Source(str(path)) as source:
        return live.restore(source, Restorer(engine), RestoreOptions(), out, **settings)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_clips.write(tmp_path_factory.mktemp("live") / "clip.mkv", tiny_clips.moving(0, 24))


def test_frames_are_dropped_and_the_rest_keep_their_times(source, tmp_path):
    report = run(source, tmp_path / "live.mkv", SlowEngine())
    assert report.read == 24
    assert 3 <= report.restored <= 12 and report.dropped == 24 - report.restored
    times = tiny_clips.times(tmp_path / "live.mkv")
    assert len(times) == report.restored
    # Each is the time of a frame of the clip, and the stream did not fall behind it.
    clip = [float(t) for t in tiny_clips.times(source)]
    assert all(min(abs(float(t) - c) for c in clip) < 0.002 for t in times)
    assert float(times[-1]) > 0.5


def test_frames_are_made_smaller_where_asked_to(source, tmp_path):
    report = run(source, tmp_path / "live.mp4", tiny_clips.ArithmeticEngine(), size=(32, 24))
    assert (report.width, report.height) == (32, 24)
    with av.open(str(tmp_path / "live.mp4")) as container:
        assert container.streams.video[0].width == 32


def test_a_stream_that_is_stopped_leaves_a_whole_file(source, tmp_path):
    seen = []
    report = run(
        source,
        tmp_path / "live.mkv",
        tiny_clips.ArithmeticEngine(),
        progress=seen.append,
        cancel=lambda: len(seen) >= 2,
    )
    assert report.restored == 2
    assert len(tiny_clips.times(tmp_path / "live.mkv")) == 2


def test_a_source_that_is_none_is_said(tmp_path):
    with pytest.raises(ValueError, match="must be a device"):
        live.Source(str(tmp_path / "nothing.mkv"))
