"""The benchmark of clips: clips it makes, what it measures, what it says of the bars."""

import numpy as np
import pytest
import tiny_clips

from keras_refocus.benchmarks import video


def test_a_shaken_clip_has_blurred_and_sharper_frames_of_the_photo():
    clip = video.shaken(
        tiny_clips.scene(0, height=200, width=240), frames=6, size=(96, 128), seed=1
    )
    assert clip["blurred"].shape == clip["sharp"].shape == (6, 96, 128)
    detail = np.abs(np.diff(clip["blurred"], axis=2)).mean(axis=(1, 2))
    assert detail.max() > 1.3 * detail.min()
    assert (detail < np.abs(np.diff(clip["sharp"], axis=2)).mean(axis=(1, 2))).all()
    with pytest.raises(ValueError, match="at least 144"):
        video.shaken(np.zeros((100, 300), np.float32), frames=2, size=(96, 96), seed=0)


def test_the_truth_has_the_least_warp_error_and_no_error():
    truth = np.stack(tiny_clips.moving(0, 4, height=96, width=128))
    motions = video._motions(truth)
    noisy = np.clip(truth + 0.1 * np.random.default_rng(0).standard_normal(truth.shape), 0, 1)
    noisy = noisy.astype(np.float32)
    assert video._warp_error(noisy, motions) > 2 * video._warp_error(truth, motions)
    assert video._decibels(truth, truth) == pytest.approx(100)
    assert video._decibels(truth + 0.1, truth) == pytest.approx(20, abs=0.01)


def test_filters_of_ffmpeg_give_a_frame_for_a_frame():
    planes = np.stack(tiny_clips.moving(0, 5, height=96, width=128))
    assert video._filtered(planes, "tmix", "frames=3").shape == planes.shape
    sharper = video._filtered(planes, "unsharp")
    assert np.abs(np.diff(sharper, axis=2)).mean() > np.abs(np.diff(planes, axis=2)).mean()


def test_frames_in_between_are_found_where_they_were_left_out():
    planes = np.stack(tiny_clips.moving(0, 9, height=96, width=128, step=3.0))
    figures = video._between(planes)
    assert figures["video"] > figures["blend"] + 1
    assert figures["minterpolate"] > figures["repeat"]


def test_colours_that_are_carried_flicker_and_drift_less():
    class Wavering(tiny_clips.ArithmeticEngine):
        def colorize(self, luminance, *, model="colorizer"):
            self.calls += 1
            return (1 + 0.5 * (-1) ** self.calls) * super().colorize(luminance, model=model)

    planes = tiny_clips.moving(0, 37, height=80, width=80, step=0.5)
    small = [plane[..., np.newaxis] for plane in planes]
    engine = Wavering()
    figures = video._colours(small, engine, "colorizer")
    # Four key frames, and those of the thirteen in the middle that are none of them.
    assert engine.calls == 4 + 13 - 2
    flickers = [figures[name]["flicker"] for name in ("per frame", "key frames", "video")]
    assert flickers[2] < flickers[1] < 0.6 * flickers[0]
    assert figures["video"]["drift"] < 0.6 * figures["key frames"]["drift"]
    assert figures["video"]["chroma"] > 1
    held = video.bars({"fusion_seconds_720p": 0.1, "colours": {"a": figures}})
    assert [met for name, met in held.items() if "chroma" in name] == [
        flickers[2] <= 0.5 * flickers[0],
        figures["video"]["drift"] <= 0.5 * figures["key frames"]["drift"],
    ]


def test_bars_are_judged_by_their_figures():
    row = {
        "input": {"db": 20, "warp": 6.0},
        "per frame": {"db": 24, "warp": 6.0},
        "video": {"db": 24.8, "warp": 4.5},
    }
    figures = {
        "fusion_seconds_720p": 0.5,
        "blurred": {"a": row},
        "sharp": {"a": {"per_frame_db": 50.0, "video_db": 49.9}},
        "between": {"a": {"blend": 20.0, "video": 25.0, "minterpolate": 25.6}},
    }
    held = video.bars(figures)
    assert [bar for bar, met in held.items() if not met] == [
        "frames in between: at least minterpolate on the mean",
        "frames in between: never 0.5 dB under minterpolate",
    ]
