"""Batches of frames in between: a function of seed and number, turned and reversed as one."""

import numpy as np
import pytest

from keras_refocus.data import triplets

BACKWARDS = (1, 0)


@pytest.fixture
def paths(tmp_path):
    """Patches of 12 pixels: two parts that count columns up and down, two weights, the frame."""
    found = []
    for number in range(3):
        columns = np.tile(np.arange(12.0), (12, 1))
        patch = np.stack(
            [columns, 20 - columns, np.full_like(columns, 0.25), np.full_like(columns, 0.75)]
            + [np.full_like(columns, number)],
            axis=-1,
        )
        found.append(tmp_path / f"{number}.npy")
        np.save(found[-1], patch.astype(np.float16))
    return tuple(found)


def sampler(paths, **changes):
    source = triplets.TripletPatches(paths=paths, backwards=BACKWARDS)
    values = {"sources": (source,), "shares": (1.0,), "size": 8, "batch_size": 2, "seed": 1}
    return triplets.TripletSampler(**values | changes)


def test_a_batch_is_a_function_of_its_number(paths):
    one, other = sampler(paths).batch(5), sampler(paths).batch(5)
    for a, b in zip(one, other, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)
    assert one[0].shape == (2, 8, 8, 4) and one[1].shape == (2, 8, 8, 1)


def test_weights_go_with_their_parts_when_time_is_reversed(paths):
    seen = np.concatenate([sampler(paths).batch(number)[0] for number in range(8)])
    # The first weight belongs to the part of the earlier frame, which counts from 0.
    sums = (seen[..., 0] + seen[..., 1], seen[..., 2] + seen[..., 3])
    assert np.all(sums[0] == 20) and np.all(sums[1] == 1)
    reversed_ = seen[:, 0, 0, 2] == 0.75
    assert 0 < reversed_.sum() < len(seen)
    least = np.where(reversed_, seen[..., 1].min(axis=(1, 2)), seen[..., 0].min(axis=(1, 2)))
    assert least.max() <= 4


def test_the_centre_as_it_is(paths):
    seen, frame = sampler(paths, crop="center", flip=False).example(0)
    np.testing.assert_array_equal(seen[0, :, 0], np.arange(2, 10))
    assert frame.shape == (8, 8, 1) and np.ptp(frame) == 0
