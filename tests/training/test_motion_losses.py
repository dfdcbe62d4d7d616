"""Losses of sequences: what they know of direction, and what not."""

import numpy as np
import pytest
from keras import ops

from keras_refocus.training import motion_losses


def frames(seed=0, shape=(2, 8, 10, 7)):
    return np.random.default_rng(seed).random(shape, dtype="float32")


def value(tensor):
    return ops.convert_to_numpy(tensor)


def test_distance_of_a_constant_difference():
    difference = value(motion_losses.distance(frames(), frames() + 0.3))
    np.testing.assert_allclose(difference, np.sqrt(0.3**2 + 1e-6), rtol=1e-4)


def test_either_direction_is_that_of_the_whole_sequence():
    truth = frames()
    backward = truth[..., ::-1].copy()
    first = {"either_direction": True}
    np.testing.assert_allclose(
        value(motion_losses.sequence(truth, backward, **first)), 1e-3, rtol=1e-4
    )
    assert value(motion_losses.sequence(truth, backward, either_direction=False)).min() > 0.1
    # Pictures choose by themselves.
    mixed = np.stack([truth[0], backward[1]])
    np.testing.assert_allclose(
        value(motion_losses.sequence(truth, mixed, **first)), 1e-3, rtol=1e-4
    )
    # There and back again is no direction.
    folded = truth.copy()
    folded[..., 4:] = truth[..., 2::-1]
    assert value(motion_losses.sequence(truth, folded, **first)).min() > 0.05


def test_pairs_of_jin_know_no_direction_even_one_by_one():
    truth = frames()
    exchanged = truth.copy()
    exchanged[..., [1, 5]] = truth[..., [5, 1]]
    np.testing.assert_allclose(value(motion_losses.jin(truth, truth)), 0, atol=1e-7)
    np.testing.assert_allclose(value(motion_losses.jin(truth, exchanged)), 0, atol=1e-6)
    other = truth.copy()
    other[..., [1, 2]] = truth[..., [2, 1]]  # Not a pair: 1 belongs to 5.
    assert value(motion_losses.jin(truth, other)).min() > 0.1


def test_value_of_jin_by_hand():
    truth = np.zeros((1, 2, 2, 3), "float32")
    predicted = truth + np.float32([0.5, 0.1, 0.2])
    # Middle 0.1, sum 0.7, absolute difference 0.3.
    np.testing.assert_allclose(value(motion_losses.jin(truth, predicted)), [1.1], rtol=1e-5)


def test_frequency_adds_the_mean_of_coefficients():
    truth = frames(shape=(1, 8, 8, 7))
    one = value(motion_losses.distance(truth, truth + 0.1))
    other = value(motion_losses.distance(truth, truth + 0.1, frequency_weight=1.0))
    # A constant has one coefficient of 64 * 0.1, among 8 * 5 of the half spectrum, half of each.
    assert other - one == pytest.approx(0.5 * 6.4 / 40, rel=1e-3)


def test_mean_of_the_frames_is_the_picture_in_light():
    # L* = 50 is light of 0.18419, L* = 0 is none; the ends count half.
    predicted = np.zeros((1, 4, 4, 3), "float32")
    predicted[..., 1] = 0.5
    light = ((50 + 16) / 116) ** 3 / 2
    picture = np.full((1, 4, 4, 1), (116 * np.cbrt(light) - 16) / 100, "float32")
    near = value(motion_losses.reblurred(picture, predicted))
    np.testing.assert_allclose(near, 1e-3, atol=1e-4)
    assert value(motion_losses.reblurred(picture + 0.2, predicted))[0] > 0.05
