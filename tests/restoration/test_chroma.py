"""Chroma from small to large: sizes, exact planes, edges, and bands that do not show."""

import cv2
import numpy as np
import pytest

from keras_refocus.restoration.chroma import WORKING_SIZE, GuidedChroma, SharpChroma, shrink


@pytest.mark.parametrize("shape", [(8, 12), (8, 2), (2, 12)])
def test_shrinking_takes_means_of_areas(shape):
    plane = np.random.default_rng(0).random((*shape, 1), np.float32)
    means = plane.reshape(2, shape[0] // 2, 2, shape[1] // 2).mean((1, 3))
    np.testing.assert_allclose(shrink(plane, 2)[..., 0], means, atol=1e-6)


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


def test_chroma_is_the_guided_filter_by_its_definition():
    """He et al. 2010 by explicit windows, each counting by how flat its luminance is."""
    rng = np.random.default_rng(0)
    guide = rng.random((20, 36, 1), np.float32)
    guide[:, :24] = 0.5 + 0.02 * guide[:, :24]  # a wall
    chroma = rng.uniform(-0.5, 0.5, (20, 36, 2)).astype(np.float32)
    places = [(y, x) for y in range(20) for x in range(36)]

    def window(y, x):
        return np.s_[max(y - 16, 0) : y + 17, max(x - 16, 0) : x + 17]

    lines = np.zeros((20, 36, 5))
    for place in places:
        light, target = guide[window(*place)].reshape(-1), chroma[window(*place)].reshape(-1, 2)
        covariance = (light[:, np.newaxis] * target).mean(axis=0) - light.mean() * target.mean(
            axis=0
        )
        slope = covariance / (light.var() + 1e-3)
        offset = target.mean(axis=0) - slope * light.mean()
        lines[place] = np.array([*slope, *offset, 1]) / (light.var() + 1e-3)
    expected = np.zeros((20, 36, 2))
    for place in places:
        means = lines[window(*place)].reshape(-1, 5).mean(axis=0)
        expected[place] = (means[:2] * guide[place] + means[2:4]) / means[4]
    found = GuidedChroma(guide, chroma, (20, 36)).rows(0, guide)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_part_has_the_chroma_of_the_whole():
    rng = np.random.default_rng(0)
    small, chroma = rng.random((16, 24, 1), np.float32), rng.random((16, 24, 2), np.float32)
    large = rng.random((53, 70, 1), np.float32)
    whole = GuidedChroma(small, chroma, (53, 70))
    inner = whole.part(slice(10, 40), slice(20, 60))
    expected = whole.rows(0, large)
    np.testing.assert_array_equal(inner.rows(5, large[15:40, 20:60]), expected[15:40, 20:60])
    corner = inner.part(slice(8, 20), slice(0, 7))
    np.testing.assert_array_equal(corner.rows(0, large[18:30, 20:27]), expected[18:30, 20:27])


def test_a_picture_has_the_same_chroma_in_another_size():
    ramp = np.linspace(0, 1, 32, dtype=np.float32)
    small = np.full((24, 32, 1), 0.5, np.float32)
    chroma = np.stack([np.tile(0.5 * ramp, (24, 1)), np.zeros((24, 32), np.float32)], -1)
    whole = GuidedChroma(small, chroma, (96, 128))
    half = whole.resized((48, 64)).rows(0, np.full((48, 64, 1), 0.5, np.float32))
    full = whole.rows(0, np.full((96, 128, 1), 0.5, np.float32))
    np.testing.assert_allclose(
        half, cv2.resize(full, (64, 48), interpolation=cv2.INTER_AREA), atol=2e-3
    )


def test_part_of_chroma_without_a_blur():
    rng = np.random.default_rng(0)
    chroma, share = rng.random((20, 30, 2), np.float32), rng.random((20, 30), np.float32)
    own = np.zeros((12, 9, 2), np.float32)
    mixed = SharpChroma(chroma, share).part(slice(4, 18), slice(11, 20)).mixed(2, own, 1.0)
    expected = (share[..., np.newaxis] * chroma)[6:18, 11:20]
    np.testing.assert_allclose(mixed, expected, atol=1e-6)
