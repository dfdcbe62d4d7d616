"""Chroma from small to large: sizes, exact planes, edges, and bands that do not show."""

import cv2
import numpy as np
import pytest

from keras_refocus.restoration.chroma import WORKING_SIZE, GuidedChroma, SharpChroma, shrink


def test_shrinking_takes_means_of_areas():
    plane = np.array([[0, 1, 2, 3], [4, 5, 6, 7]], np.float32)[..., np.newaxis]
    small = shrink(plane, 2)
    np.testing.assert_allclose(small[..., 0], [[0.5, 2.5], [4.5, 6.5]])


def test_a_side_that_grows_is_interpolated_while_the_other_shrinks():
    plane = np.array([[0, 1, 2, 3, 4, 5, 6, 7]], np.float32)[..., np.newaxis]
    small = shrink(plane, 4)
    np.testing.assert_allclose(small[..., 0], [[0.5, 2.5, 4.5, 6.5]] * 4)


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (720, 1280), (100, 300)])
def test_every_picture_becomes_the_same_square(size):
    side = WORKING_SIZE
    small = shrink(np.full((*size, 1), 0.25, np.float32))
    assert small.shape == (side, side, 1)
    np.testing.assert_allclose(small, 0.25, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (48, 48), (100, 20)])
def test_constant_chroma_stays_constant(size):
    rng = np.random.default_rng(0)
    small = rng.random((48, 32, 1), np.float32)
    chroma = np.full((48, 32, 2), [0.3, -0.6], np.float32)
    rows = GuidedChroma(small, chroma, size).rows(0, rng.random((*size, 1), np.float32))
    np.testing.assert_allclose(rows - [0.3, -0.6], 0, atol=1e-5)


def test_chroma_that_is_a_line_in_luminance_is_exact_but_for_the_regularisation():
    rng = np.random.default_rng(0)
    small = rng.random((40, 40, 1), np.float32)
    chroma = np.concatenate([0.5 * small - 0.1, 0.2 - 0.3 * small], axis=-1)
    large = rng.random((90, 120, 1), np.float32)
    result = GuidedChroma(small, chroma, (90, 120)).rows(0, large)
    np.testing.assert_allclose(result[..., :1], 0.5 * large - 0.1, atol=6e-3)
    np.testing.assert_allclose(result[..., 1:], 0.2 - 0.3 * large, atol=6e-3)


def test_colour_follows_the_full_size_edge():
    """A step of luminance between two small pixels: colour must turn where the light does."""
    edge = 205  # inside the small pixel of columns 192 to 207, off its centre
    row = np.where(np.arange(512) < edge, 0.2, 0.8).astype(np.float32)
    large = np.tile(row, (512, 1))[..., np.newaxis]
    small = shrink(large, 32)
    left, right = [0.5, 0.0], [-0.5, 0.2]
    target = np.where(large < 0.5, left, right).astype(np.float32)
    chroma = np.where(small < 0.5, left, right).astype(np.float32)
    guided = GuidedChroma(small, chroma, (512, 512)).rows(0, large)
    bilinear = cv2.resize(chroma, (512, 512), interpolation=cv2.INTER_LINEAR)
    near = slice(edge - 8, edge + 8)
    error, plain = (np.abs(result - target)[:, near].mean() for result in (guided, bilinear))
    assert error < 0.2 * plain


def test_bands_do_not_show():
    rng = np.random.default_rng(0)
    small, chroma = rng.random((16, 24, 1), np.float32), rng.random((16, 24, 2), np.float32)
    large = rng.random((53, 70, 1), np.float32)
    upsampler = GuidedChroma(small, chroma, (53, 70))
    bands = [upsampler.rows(top, large[top : top + 9]) for top in range(0, 53, 9)]
    np.testing.assert_array_equal(np.concatenate(bands), upsampler.rows(0, large))


def test_chroma_of_a_smaller_size_than_its_luminance_is_accepted():
    rng = np.random.default_rng(0)
    small = rng.random((32, 48, 1), np.float32)
    upsampler = GuidedChroma(small, np.full((8, 12, 2), 0.25, np.float32), (64, 96))
    result = upsampler.rows(0, rng.random((64, 96, 1), np.float32))
    np.testing.assert_allclose(result, 0.25, atol=1e-5)


def test_chroma_without_a_blur_follows_its_picture_to_another_size():
    chroma = np.zeros((20, 30, 2), np.float32)
    chroma[:, 15:] = [0.25, -0.5]
    share = np.zeros((20, 30), np.float32)
    share[:, 15:] = 1
    own = np.full((10, 15, 2), 0.125, np.float32)
    mixed = SharpChroma(chroma.astype(np.float16), share).resized((10, 15)).mixed(0, own, 0.5)
    assert mixed.shape == (10, 15, 2)
    np.testing.assert_allclose(mixed[:, :6], 0.125)
    np.testing.assert_allclose(mixed[:, 9:], [[[0.1875, -0.1875]] * 6] * 10)
