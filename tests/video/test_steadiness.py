"""Steadiness: what fusion does to noise, to sharp frames, to things that are not there."""

import cv2
import numpy as np
import pytest
import tiny_clips

from keras_refocus.video import optical_flow, steadiness


def fused(befores, restoreds, index=2):
    prepared = [steadiness.prepare(*pair) for pair in zip(befores, restoreds, strict=True)]
    neighbours = {i - index: prepared[i] for i in range(len(prepared)) if i != index}
    flows = {
        distance: (
            optical_flow.estimate(restoreds[index], restoreds[index + distance]),
            optical_flow.estimate(restoreds[index + distance], restoreds[index]),
        )
        for distance in neighbours
    }
    return steadiness.fuse(prepared[index], neighbours, flows)


@pytest.fixture(scope="module")
def clip():
    """Sharp frames, what a blur made of them, and restored ones that flicker: all (5, 96, 128)."""
    sharp = np.stack(tiny_clips.moving(0, 5, height=96, width=128, step=2.0))
    blurred = np.stack([cv2.blur(frame, (9, 1)) for frame in sharp])
    noise = 0.05 * np.random.default_rng(1).standard_normal(sharp.shape)
    restored = np.clip(
        sharp + cv2.GaussianBlur(noise.transpose(1, 2, 0), (0, 0), 1.5).transpose(2, 0, 1) * 4, 0, 1
    ).astype(np.float32)
    return sharp, blurred, restored


def error(frame, truth):
    inner = (slice(12, -12), slice(12, -12))
    return float(np.sqrt(np.square(frame - truth)[inner].mean()))


def test_errors_of_single_frames_average_out(clip):
    sharp, blurred, restored = clip
    assert error(fused(blurred, restored), sharp[2]) < 0.75 * error(restored[2], sharp[2])


def test_a_frame_without_neighbours_is_its_own_restoration(clip):
    _, blurred, restored = clip
    alone = steadiness.prepare(blurred[2], restored[2])
    assert np.array_equal(steadiness.fuse(alone, {}, {}), restored[2])


def test_what_the_restorer_left_alone_stays_exactly_as_it_was(clip):
    sharp, _, _ = clip
    assert np.array_equal(fused(sharp, sharp), sharp[2])


def test_equal_neighbours_add_nothing_not_even_rounding(clip):
    sharp, blurred, _ = clip
    still = np.repeat(sharp[:1], 5, axis=0)
    result = fused(np.repeat(blurred[:1], 5, axis=0), still)
    assert np.abs(result - sharp[0]).max() < 1e-6


def test_a_neighbour_that_shows_something_else_is_kept_out(clip):
    sharp, blurred, restored = clip
    changed, before = restored.copy(), blurred.copy()
    for index in (0, 1, 3, 4):
        changed[index] = 1 - changed[index]
        before[index] = 1 - before[index]
    result = fused(before, changed)
    assert np.abs(result - restored[2]).mean() < 0.01


def test_sharper_neighbours_count_more(clip):
    sharp, blurred, _ = clip
    before, restored = blurred.copy(), blurred.copy()
    before[1], restored[1] = sharp[1], sharp[1]
    # The gate opens where the restorer changed the frame by much.
    before[2] = cv2.blur(1 - sharp[2], (21, 1))
    with_sharp = fused(before, restored)
    assert error(with_sharp, sharp[2]) < 0.85 * error(restored[2], sharp[2])
