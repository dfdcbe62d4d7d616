"""Small pictures made by rule, each unlike the others, for tests of data."""

import io
import pathlib

import cv2
import numpy as np
from PIL import Image


def scene(seed, *, height=60, width=80):
    """A colourful picture of soft patches, uint8 of shape `(height, width, 3)`."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)


def gray_scene(seed, *, height=60, width=80):
    """The same without colour, still three channels."""
    gray = cv2.cvtColor(scene(seed, height=height, width=width), cv2.COLOR_RGB2GRAY)
    return np.repeat(gray[..., None], 3, axis=-1)


def blurred(rgb):
    """The same picture, blurred sideways."""
    return cv2.blur(rgb, (7, 1))


def encoded(rgb, format="PNG", **options):
    """Content of a file."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format, **options)
    return buffer.getvalue()


def save(path, rgb, **options):
    """Write a picture, with the folders that it needs."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path, **options)
    return path


def save_pair(blurred_path, sharp_path, seed, **size):
    """Write both sides of a pair."""
    sharp = scene(seed, **size)
    save(blurred_path, blurred(sharp))
    save(sharp_path, sharp)
