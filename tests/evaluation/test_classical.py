"""Kernels worked out by hand, and deconvolution where the truth is known."""

import sys

import cv2
import numpy as np
import pytest

from keras_refocus.evaluation import classical


def test_kernels_of_straight_motions():
    np.testing.assert_allclose(classical.motion_kernel(1, 30), [[1]])
    row = np.zeros((3, 3))
    row[1] = 1 / 3
    np.testing.assert_allclose(classical.motion_kernel(3, 0), row, atol=1e-7)
    np.testing.assert_allclose(classical.motion_kernel(3, 90), row.T, atol=1e-7)
    # Two places half a pixel off the middle: each is shared by two pixels.
    row[1] = 1 / 4, 1 / 2, 1 / 4
    np.testing.assert_allclose(classical.motion_kernel(2, 0), row, atol=1e-7)
    # Up to the right: rows count downwards.
    slanted = classical.motion_kernel(5, 45)
    assert slanted[0, -1] > 0 and slanted[0, 0] == 0
    np.testing.assert_allclose(slanted, slanted[::-1, ::-1], atol=1e-7)


def test_kernels_of_disks():
    np.testing.assert_allclose(classical.disk_kernel(0.5), [[1]])
    disk = classical.disk_kernel(1)
    assert disk.shape == (3, 3) and disk.sum() == pytest.approx(1, abs=1e-6)
    # The pixel in the middle lies inside the unit disk, whose area is pi.
    assert disk[1, 1] == pytest.approx(1 / np.pi, rel=0.01)
    np.testing.assert_allclose(disk, disk.T)


def test_kernels_are_described():
    np.testing.assert_array_equal(classical.kernel("motion:7:30"), classical.motion_kernel(7, 30))
    np.testing.assert_array_equal(classical.kernel("disk:2.5"), classical.disk_kernel(2.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("motion:9", "motion:9:0, or disk:2"),
        ("star:3", "kernel='star:3'"),
        ("motion:0:0", "length=0"),
        ("motion:x:0", "motion:x:0"),
        ("disk:0", "radius=0"),
        ("disk:nan", "radius=nan"),
    ],
)
def test_kernels_that_are_none(text, message):
    with pytest.raises(ValueError, match=message):
        classical.kernel(text)


METHODS = {
    "unsharp": lambda plane: classical.unsharp_mask(plane, radius=2, amount=1),
    "lucy": lambda plane: classical.richardson_lucy(
        plane, classical.motion_kernel(5, 0), iterations=10
    ),
    "wiener": lambda plane: classical.wiener(plane, classical.disk_kernel(2), balance=0.01),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(24, 31, 1), (1, 3, 1)])
def test_an_even_plane_stays(method, shape):
    plane = np.full(shape, 0.3, np.float32)
    result = METHODS[method](plane)
    assert result.shape == shape and result.dtype == np.float32
    np.testing.assert_allclose(result, 0.3, atol=2e-3)


def test_the_unsharp_mask_of_a_wave_by_hand():
    # A Gaussian leaves exp(-(sigma w)^2 / 2) of a wave; the mask adds what it took, times amount.
    columns = np.arange(200)
    wave = 0.1 * np.cos(2 * np.pi * columns / 10)
    plane = np.tile((0.5 + wave).astype(np.float32)[np.newaxis, :, np.newaxis], (40, 1, 1))
    kept = np.exp(-((1.5 * 2 * np.pi / 10) ** 2) / 2)
    expected = 0.5 + wave * (1 + 2 * (1 - kept))
    result = classical.unsharp_mask(plane, radius=1.5, amount=2)[20, 20:-20, 0]
    np.testing.assert_allclose(result, expected[20:-20], atol=1e-3)


def test_the_wiener_filter_of_a_wave_by_hand():
    # conj(H) / (|H|^2 + balance |R|^2), with H of three pixels and R of the Laplacian (-1, 2, -1).
    frequency = 2 * np.pi / 8
    wave = 0.1 * np.cos(frequency * np.arange(240))
    plane = np.tile((0.5 + wave).astype(np.float32)[np.newaxis, :, np.newaxis], (60, 1, 1))
    blur, prior = (1 + 2 * np.cos(frequency)) / 3, 2 - 2 * np.cos(frequency)
    expected = 0.5 + wave * blur / (blur**2 + 0.1 * prior**2)
    result = classical.wiener(plane, classical.motion_kernel(3, 0), balance=0.1)
    np.testing.assert_allclose(result[30, 60:-60, 0], expected[60:-60], atol=2e-3)


@pytest.mark.parametrize(
    ("restore", "least"),
    [
        (lambda plane, kernel: classical.wiener(plane, kernel, balance=1e-3), 7),
        (lambda plane, kernel: classical.richardson_lucy(plane, kernel, iterations=60), 5),
    ],
)
def test_the_true_kernel_brings_detail_back(restore, least):
    kernel = classical.motion_kernel(5, 30)
    rng = np.random.default_rng(0)
    sharp = cv2.GaussianBlur(rng.random((120, 140), np.float32), (0, 0), 1.0)
    blurred = cv2.filter2D(sharp, -1, kernel, borderType=cv2.BORDER_REFLECT)
    result = restore(blurred[..., np.newaxis], kernel)[..., 0]
    inside = np.s_[20:-20, 20:-20]
    before, after = (np.square(plane - sharp)[inside].mean() for plane in (blurred, result))
    assert 10 * np.log10(before / after) > least


def _scene(kernel):
    rng = np.random.default_rng(0)
    sharp = cv2.GaussianBlur(rng.random((130, 150), np.float32), (0, 0), 1.0)
    blurred = cv2.filter2D(sharp, -1, kernel[::-1, ::-1].copy(), borderType=cv2.BORDER_REFLECT)
    return blurred[..., np.newaxis], sharp[..., np.newaxis]


def _gain_of_bound(kernel, *, symmetric):
    blurred, sharp = _scene(kernel)
    result = classical.local_filter_bound(blurred, sharp, symmetric=symmetric)
    assert result.shape == sharp.shape and result.dtype == np.float32
    before, after = (np.square(plane - sharp).mean() for plane in (blurred, result))
    return 10 * np.log10(before / after)


def test_the_bound_undoes_a_symmetric_blur_by_symmetric_filters():
    kernel = classical.motion_kernel(5, 0)
    gains = [_gain_of_bound(kernel, symmetric=symmetric) for symmetric in (True, False)]
    assert min(gains) > 5 and gains[0] == pytest.approx(gains[1], abs=1.5)


def test_the_bound_needs_the_phase_of_a_blur_that_has_one():
    braking = np.array([[0.0, 0.0, 0.6, 0.3, 0.1]], np.float32)
    symmetric, free = (_gain_of_bound(braking, symmetric=choice) for choice in (True, False))
    assert free > symmetric + 3


def test_the_bound_leaves_what_is_sharp():
    _, sharp = _scene(np.ones((1, 1), np.float32))
    result = classical.local_filter_bound(sharp, sharp, symmetric=True)
    np.testing.assert_allclose(result, sharp, atol=2e-3)


def test_without_scikit_image_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(ModuleNotFoundError, match=r"keras_refocus\[benchmark\]"):
        METHODS["unsharp"](np.zeros((4, 4, 1), np.float32))


def test_richardson_lucy_does_not_divide_by_what_is_rounding(monkeypatch):
    # A dark photo that was shaken by 30 pixels came back as NaN: in black the convolution, by FFT,
    # gave rounding of either sign. No picture that may be passed on shows it.
    from skimage import restoration

    asked = {}

    def lucy(image, point_spread, **options):
        asked.update(options)
        return image

    monkeypatch.setattr(restoration, "richardson_lucy", lucy)
    plane = np.full((40, 40, 1), 0.2, np.float32)
    classical.richardson_lucy(plane, classical.motion_kernel(5, 0), iterations=20)
    assert asked["num_iter"] == 20 and 0 < asked["filter_epsilon"] <= 1e-5
