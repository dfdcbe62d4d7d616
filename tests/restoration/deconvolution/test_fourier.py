"""Products of spectra are what they stand for."""

import cv2
import numpy as np
import pytest

from keras_refocus.restoration.deconvolution import fourier


def plane(shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(16, 24), (15, 25)])
def test_a_transfer_blurs_as_a_kernel_does(shape):
    picture = plane(shape)
    kernel = np.array([[0, 0, 0], [0.5, 0.2, 0.3], [0, 0, 0]], np.float32)
    blurred = fourier.blur(picture, fourier.transfer(kernel, shape))
    # Light of each pixel goes half to its left, a fifth stays.
    expected = 0.5 * np.roll(picture, -1, 1) + 0.2 * picture + 0.3 * np.roll(picture, 1, 1)
    np.testing.assert_allclose(blurred, expected, atol=1e-6)
    # And as OpenCV has it, which correlates: with the kernel turned round.
    inside = cv2.filter2D(picture, -1, kernel[::-1, ::-1].copy())[1:-1, 1:-1]
    np.testing.assert_allclose(blurred[1:-1, 1:-1], inside, atol=1e-6)


@pytest.mark.parametrize("shape", [(8, 12), (9, 11)])
def test_roughness_is_the_divergence_of_the_gradient(shape):
    picture = plane(shape)
    rough = fourier.divergence(fourier.across(picture), fourier.down(picture))
    np.testing.assert_allclose(fourier.blur(picture, fourier.roughness(shape)), rough, atol=1e-5)


def test_an_extended_plane_joins_at_its_borders():
    ramp = np.linspace(0, 1, 40, dtype=np.float32)
    picture = ramp[:, np.newaxis] + ramp
    shape = fourier.fast_shape(picture.shape, 20)
    wide = fourier.extend(picture, shape)
    assert wide.shape == shape and min(shape) >= 60
    np.testing.assert_array_equal(wide[:40, :40], picture)
    for jump in (fourier.across(wide), fourier.down(wide)):
        # Opposite borders of the picture differ by 1.
        assert np.abs(jump).max() < 0.1


def test_nothing_is_added_where_there_is_no_room():
    picture = plane((5, 6))
    np.testing.assert_array_equal(fourier.extend(picture, (5, 6)), picture)
