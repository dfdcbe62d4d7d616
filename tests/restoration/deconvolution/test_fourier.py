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
    kernel = np.array([[0, 0, 0], [0.5, 0.2, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0.3]], np.float32)
    blurred = fourier.blur(picture, fourier.transfer(kernel, shape))
    # Light of each pixel goes half to its upper left, a fifth up, the rest to its lower right.
    moved = [np.roll(picture, move, (0, 1)) for move in ((-1, -1), (-1, 0), (2, 1))]
    expected = 0.5 * moved[0] + 0.2 * moved[1] + 0.3 * moved[2]
    np.testing.assert_allclose(blurred, expected, atol=1e-6)
    # And as OpenCV has it, which correlates: with the kernel turned round.
    inside = cv2.filter2D(picture, -1, kernel[::-1, ::-1].copy())[2:-2, 1:-1]
    np.testing.assert_allclose(blurred[2:-2, 1:-1], inside, atol=1e-6)


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


def test_a_margin_is_a_fade_between_mirror_images_of_both_borders():
    column = np.float32([1, 2, 4, 8, 16])
    wide = fourier.extend(np.stack([column, 2 * column], 1), (8, 2))
    # After the last row again the last, before the first again the first: 16, 8, 4 and 4, 2, 1.
    share = np.array([0.25, 0.5, 0.75])
    share = share**2 * (3 - 2 * share)
    margin = (1 - share) * [16, 8, 4] + share * [4, 2, 1]
    np.testing.assert_allclose(wide[5:], np.stack([margin, 2 * margin], 1), rtol=1e-6)
    np.testing.assert_allclose(fourier.extend(wide[:5].T, (2, 8)), wide.T, rtol=1e-6)


def test_differences_are_those_to_the_next_pixel_and_the_first_follows_the_last():
    picture = np.float32([[1, 2, 4], [8, 16, 32]])
    np.testing.assert_array_equal(fourier.across(picture), [[1, 2, -3], [8, 16, -24]])
    np.testing.assert_array_equal(fourier.down(picture), [[7, 14, 28], [-7, -14, -28]])


def test_nothing_is_added_where_there_is_no_room():
    picture = plane((5, 6))
    np.testing.assert_array_equal(fourier.extend(picture, (5, 6)), picture)
