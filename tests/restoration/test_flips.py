"""The mean over flips, with a model whose answers can be written down."""

import numpy as np
import pytest

from keras_refocus.restoration.flips import FLIPS, mean_over_flips


def picture(shape=(2, 4, 6, 1)):
    return np.random.default_rng(0).random(shape, np.float32)


def test_the_mean_of_a_shift_is_the_mean_of_both_directions():
    luminance = picture()
    result = mean_over_flips(lambda pictures: np.roll(pictures, 1, axis=2), luminance)
    both = (np.roll(luminance, 1, axis=2) + np.roll(luminance, -1, axis=2)) / 2
    np.testing.assert_allclose(result, both, atol=1e-6)
    result = mean_over_flips(lambda pictures: np.roll(pictures, 1, axis=1), luminance)
    both = (np.roll(luminance, 1, axis=1) + np.roll(luminance, -1, axis=1)) / 2
    np.testing.assert_allclose(result, both, atol=1e-6)


def test_what_does_not_mind_flips_stays_and_the_input_is_left_alone():
    luminance = picture()
    before = luminance.copy()
    np.testing.assert_array_equal(mean_over_flips(lambda pictures: pictures, luminance), before)
    np.testing.assert_array_equal(luminance, before)


def test_every_flip_is_seen_once_and_in_one_piece():
    seen = []

    def model(pictures):
        assert pictures.flags.c_contiguous
        seen.append(pictures.tobytes())
        return pictures

    mean_over_flips(model, picture())
    assert len(set(seen)) == len(FLIPS) == 4


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 1, 5, 1)])
def test_any_size(shape):
    result = mean_over_flips(lambda pictures: pictures * 2, picture(shape))
    np.testing.assert_allclose(result, picture(shape) * 2, atol=1e-6)
    assert result.dtype == np.float32
