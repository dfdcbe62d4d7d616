"""What a worker keeps, and for how long."""

import numpy as np
import pytest
import tiny_clips

from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.video import clip, containers, faces, interpolation


def worker(path, options=None, engine=None, rate=None):
    found = containers.survey(path)
    times = [(frame.pts, frame.duration) for frame in found.frames]
    _, moments = interpolation.schedule(
        times, found.time_base, rate, found.scene_starts, found.held
    )
    restorer = Restorer(engine or tiny_clips.ArithmeticEngine())
    return clip.Worker(found, restorer, options or clip.ClipOptions(), moments)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return tiny_clips.write(
        tmp_path_factory.mktemp("clip") / "clip.mkv", tiny_clips.moving(0, 24), gray=True
    )


@pytest.mark.parametrize("rate", [None, interpolation.Rate(factor=2)])
def test_memory_holds_a_few_frames_whatever_the_length(source, rate):
    one = worker(source, rate=rate)
    held = [len(one._entries) for _ in one.make(0, 24)]
    one.close()
    # Two before, itself, two after, and with a rate one more on each side.
    assert max(held) <= (5 if rate is None else 7)


def test_frames_restored_for_one_segment_serve_the_next(source):
    engine = tiny_clips.ArithmeticEngine()
    one = worker(source, engine=engine)
    for start in range(0, 24, 6):
        list(one.make(start, start + 6))
    one.close()
    assert engine.calls == 24


def test_strength_nothing_gives_every_code_back(source):
    options = clip.ClipOptions(restore=RestoreOptions(strength=0))
    one = worker(source, options)
    before = tiny_clips.planes(source)
    for made, old in zip(one.make(0, 4), before[:4], strict=True):
        assert np.array_equal(made.frame.to_ndarray()[:48], old[0])
    one.close()


def test_a_face_that_is_missed_once_is_blurred_too(source, monkeypatch):
    seen = []

    def detect(frame):
        seen.append(frame)
        found = [[20, 10, 12, 14]] if len(seen) == 3 else []
        return np.array(found, np.int64).reshape(-1, 4)

    monkeypatch.setattr(faces, "detect", detect)
    options = clip.ClipOptions(restore=RestoreOptions(strength=0, blur_faces=True))
    one = worker(source, options)
    before = tiny_clips.planes(source)
    made = [m.frame.to_ndarray()[:48] for m in one.make(0, 6)]
    one.close()
    changed = [not np.array_equal(new, old[0]) for new, old in zip(made, before, strict=False)]
    # Found in frame 2: frames up to two away are blurred there, each frame is looked at once.
    assert changed == [True, True, True, True, True, False]
    assert len(seen) == 8
    assert np.array_equal(made[0][:, 48:], before[0][0][:, 48:])
