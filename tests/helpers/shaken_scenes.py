"""Scenes whose light and whose blur are known."""

import cv2
import numpy as np


def scene(shape=(96, 120), seed=3):
    """Light of a few rectangles, as float32 in [0.05, 0.9]."""
    rng = np.random.default_rng(seed)
    light = np.full(shape, 0.3, np.float32)
    for _ in range(40):
        top, left = rng.integers(0, shape[0] - 10), rng.integers(0, shape[1] - 10)
        height, width = rng.integers(5, 30, 2)
        light[top : top + height, left : left + width] = rng.uniform(0.05, 0.9)
    return light


def blurred(light, kernel):
    """What of a blurred scene does not depend on what is beyond its border."""
    reach = kernel.shape[0] // 2
    whole = cv2.filter2D(light, -1, kernel[::-1, ::-1].copy())
    return whole[reach:-reach, reach:-reach], light[reach:-reach, reach:-reach]


def psnr(one, other):
    return -10 * np.log10(np.mean((one - other) ** 2))
