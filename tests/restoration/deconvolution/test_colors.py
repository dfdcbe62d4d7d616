"""Colours without their fringes."""

import cv2
import numpy as np
import pytest

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import colors, finding, kernels

KERNEL = kernels.motion_kernel(17, 0)


@pytest.fixture(scope="module")
def poles():
    """Red poles before green, shaken across, and as they are: uint8."""
    light = np.zeros((80, 140, 3), np.float32) + np.float32([0.1, 0.3, 0.1])
    light[:, 40:60] = light[:, 90:96] = (0.5, 0.1, 0.1)
    blurred = np.stack([cv2.filter2D(light[..., c], -1, KERNEL) for c in range(3)], axis=-1)
    return [color.from_float(color.linear_to_srgb(side), np.uint8) for side in (blurred, light)]


def found(share):
    plane = np.full((80, 140), share, np.float32)
    return finding.Finding(KERNEL, 17.0, 0.0, share, share=plane)


def chroma(rgb):
    return color.rgb_to_lab(rgb)[1]


def test_fringes_go_where_the_shake_went(poles):
    blurred, truth = poles
    sharp = colors.sharp_chroma(blurred, found(1.0)).mixed(0, chroma(blurred), 1.0)
    inside = np.s_[:, 20:-20]
    before, after = (np.abs(c - chroma(truth))[inside].mean() for c in (chroma(blurred), sharp))
    assert after < 0.5 * before
    assert np.isfinite(sharp).all() and np.abs(sharp).max() <= 1


def test_what_is_not_taken_keeps_its_colour_to_the_bit(poles):
    blurred, _ = poles
    own = chroma(blurred)
    np.testing.assert_array_equal(colors.sharp_chroma(blurred, found(0.0)).mixed(0, own, 1), own)
    made = colors.sharp_chroma(blurred, found(1.0))
    np.testing.assert_array_equal(made.mixed(0, own, 0.0), own)
    half = made.mixed(30, own[30:50], 0.5)
    np.testing.assert_allclose(half, (own + made.mixed(0, own, 1.0))[30:50] / 2, atol=1e-6)


def test_nothing_found_is_nothing_to_take(poles):
    assert colors.sharp_chroma(poles[0], finding.nothing("")) is None
    assert colors.sharp_chroma(poles[0][:20], found(1.0)) is None


def test_a_halved_kernel_is_half_as_long_and_in_the_middle():
    half = kernels.halved(kernels.motion_kernel(21, 30))
    assert half.shape[0] % 2 == 1 and half.sum() == pytest.approx(1, abs=1e-5)
    assert kernels.centroid(half) == pytest.approx((0, 0), abs=0.05)
    measured = kernels.extent(half)
    assert measured.length == pytest.approx(11, abs=2)
    assert measured.direction == pytest.approx(30, abs=2)


def test_what_is_nearly_black_gets_no_colour():
    light = np.full((80, 140, 3), 1e-4, np.float32)
    light[:, 60:70] = (0.9, 0.2, 0.1)
    seen = np.stack([cv2.filter2D(light[..., c], -1, KERNEL) for c in range(3)], axis=-1)
    rgb = color.from_float(color.linear_to_srgb(seen), np.uint8)
    sharp = colors.sharp_chroma(rgb, found(1.0)).mixed(0, chroma(rgb), 1.0)
    # Where light is found to be less than none, beside the pole, too.
    assert np.abs(sharp[:, :40]).max() < 0.02 and np.abs(sharp[:, 90:]).max() < 0.02
    assert sharp[:, 63:67, 0].min() > 0.3
