"""Pictures and motions whose blur can be worked out by hand."""

import dataclasses

import cv2
import numpy as np

from keras_refocus.blur.settings import SETTINGS

CLEAN = dataclasses.replace(SETTINGS["clean"], few_frame=0.0, layers=(1.0,))


def to_linear(encoded):
    """sRGB to linear light, written out here so that the tests do not lean on the tables."""
    encoded = np.asarray(encoded, np.float64)
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def translation(x, y, points=65):
    """A uniform motion by (x, y) pixels, at zero in the middle."""
    transforms = np.repeat(np.eye(3)[None], points, axis=0)
    time = np.linspace(-0.5, 0.5, points)
    transforms[:, 0, 2] = x * time
    transforms[:, 1, 2] = y * time
    return transforms


def make_photo(height, width, seed=0):
    """A picture with structure at all scales, 8 bit."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (3, 8, 24, 80):
        grid = rng.normal(size=(cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * picture, 0, 255).astype(np.uint8)


def make_impulse(size=65):
    picture = np.zeros((size, size, 3), np.uint8)
    picture[size // 2, size // 2] = 255
    return picture
