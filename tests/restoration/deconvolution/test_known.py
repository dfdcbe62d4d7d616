"""The inverse of a known kernel."""

import cv2
import numpy as np
import pytest
from shaken_scenes import blurred, psnr, scene

from keras_refocus.restoration.deconvolution import kernels, known


@pytest.mark.parametrize("kernel", [kernels.motion_kernel(11, 25), kernels.disk_kernel(3)])
def test_a_known_kernel_is_inverted_up_to_the_border(kernel):
    seen, truth = blurred(scene(), kernel)
    sharp = known.deconvolve(seen, kernel, weight=1e-5)
    assert sharp.shape == seen.shape and sharp.dtype == np.float32
    assert psnr(sharp, truth) > psnr(seen, truth) + 7
    # Beyond the border nothing is known, yet the rim is better than it was, too.
    rim = np.ones(seen.shape, bool)
    rim[6:-6, 6:-6] = False
    assert psnr(sharp[rim], truth[rim]) > psnr(seen[rim], truth[rim]) + 3


def test_no_blur_is_no_change():
    light = scene()
    sharp = known.deconvolve(light, kernels.dot(3), weight=1e-6)
    assert psnr(sharp, light) > 45


def test_a_saturated_lamp_leaves_no_rings():
    light = scene() * 0.5
    light[40:44, 60:64] = 12.0
    kernel = kernels.motion_kernel(13, 0)
    seen, truth = blurred(light, kernel)
    seen = np.minimum(seen, 1)
    dark = cv2.dilate((seen >= known.SATURATED).astype(np.uint8), np.ones((5, 5))) == 0
    sharp = known.deconvolve(seen, kernel)
    # Taken for what it says, the streak ripples all along its rows.
    believed = known.deconvolve(np.minimum(seen, 0.97), kernel)
    assert psnr(sharp[dark], truth[dark]) > psnr(believed[dark], truth[dark]) + 10


def test_no_light_is_less_than_none(monkeypatch):
    light = np.maximum(scene() - 0.3, 0.002)
    seen, truth = blurred(light, kernels.motion_kernel(13, 40))
    rng = np.random.default_rng(0)
    seen = seen + rng.normal(0, 0.001, seen.shape).astype(np.float32)
    # A kernel that is not quite right takes too much away in the dark.
    near = kernels.motion_kernel(12, 47)
    sharp = known.deconvolve(seen, near)
    monkeypatch.setattr(known, "_LIT", np.float32(0))
    free = known.deconvolve(seen, near)
    assert np.minimum(sharp, 0).sum() > 0.3 * np.minimum(free, 0).sum()
    assert psnr(sharp, truth) > psnr(free, truth) + 0.1


def test_whoever_checks_can_stop_it():
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        known.deconvolve(scene(), kernels.motion_kernel(9, 0), check=check)
