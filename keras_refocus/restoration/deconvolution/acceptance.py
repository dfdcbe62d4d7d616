"""Where the deconvolved picture is taken, and where the plain one stands.

A deconvolved picture that is right gives the photo again when it is blurred; and it shows nothing
where the photo shows nothing over a whole kernel: ripples that blur to nothing are the mark of a
wrong kernel. Both are asked of each neighbourhood; and the picture as a whole must have fewer edges
and more directions than the plain one, by the measure by which its kernel was chosen.
"""

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.deconvolution import blind, fourier, kernels
from keras_refocus.restoration.deconvolution.finding import Finding, Reason, nothing
from keras_refocus.restoration.tiling import Tiles

# Tiles that are deconvolved, and judged, at once; and what they share.
TILE, OVERLAP = 1024, 256
# Shakes shorter than this, in pixels, are the restorer's own business.
SHORTEST = 6.0
# Side in pixels of the neighbourhoods that are judged.
_NEIGHBOURHOOD = 65
# Luminance: what is flat in the photo moves by less, and what may come of it.
_FLAT, _RIPPLE = 0.012, 2.5
# Share of the picture below which nothing is taken.
_LEAST = 0.05


def choose(
    light: np.ndarray,
    sharp: np.ndarray,
    plain: np.ndarray,
    kernel: np.ndarray,
    *,
    shortest: float = SHORTEST,
) -> tuple[np.ndarray, Finding]:
    """Blend the deconvolved and the plain picture by which of them is better where.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        sharp: Luminance of the deconvolved and restored picture, float32 (height, width, 1).
        plain: Luminance of the plain result.
        kernel: That of the blur.
        shortest: Shakes shorter than this, in pixels, are left to the restorer.

    Returns:
        Tuple of luminance, float32 (height, width, 1) in [0, 1], and what is to be said of it.
    """
    found = kernels.extent(kernel)
    if found.length < shortest:
        return plain, nothing(Reason.NO_SHAKE, kernel)
    cost, plain_cost = (
        blind.measured(color.luminance_to_light(side[..., 0]), kernel).cost
        for side in (sharp, plain)
    )
    if cost > plain_cost:
        return plain, nothing(Reason.ROUGHER, kernel)
    share = _shares(color.light_to_luminance(light), sharp, plain, kernel)
    changed = float(share.mean())
    if changed < _LEAST:
        return plain, nothing(Reason.NOT_THE_PHOTO, kernel)
    mixed = plain + share[..., np.newaxis] * (sharp - plain)
    reason = Reason.NONE if changed > 0.995 else Reason.PARTLY
    return mixed, Finding(kernel, found.length, found.direction, changed, reason, share)


def _shares(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray
) -> np.ndarray:
    """As `_better`, in tiles, so that large pictures take no more memory."""
    tiles = Tiles(*photo.shape, TILE, OVERLAP)
    planes = photo[..., np.newaxis], sharp, plain
    cut = ([tiles.cut(plane, window, fill=False)[..., 0] for plane in planes] for window in tiles)
    shares = (_better(*parts, kernel)[..., np.newaxis] for parts in cut)
    return np.concatenate([band for _, band in tiles.blend(shares)])[..., 0]


def _better(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray
) -> np.ndarray:
    """Share of the deconvolved picture at each pixel, float32 (height, width) in [0, 1]."""
    error, plain_error = (_mean((again(side, kernel) - photo) ** 2) for side in (sharp, plain))
    near = _NEIGHBOURHOOD // 4
    # An edge as far as the kernel reaches is in the blurred neighbourhood, too.
    flat = _deviation(photo, near + max(kernel.shape)) < _FLAT
    ripples = _deviation(sharp, near)
    rings = _mean((flat & (ripples > _RIPPLE * _FLAT)).astype(np.float32))
    good = (error < plain_error) & (rings < 0.3)
    return _mean(_mean(good.astype(np.float32)))


def again(sharp: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Blur luminance (height, width) in [0, 1], in light, as the photo was."""
    light = color.luminance_to_light(sharp)
    shape = fourier.fast_shape(light.shape, min(*light.shape, max(kernel.shape)))
    factor = fourier.transfer(kernel, shape)
    blurred = fourier.blur(fourier.extend(light, shape), factor)
    return color.light_to_luminance(blurred[: light.shape[0], : light.shape[1]])


def _mean(plane: np.ndarray, side: int = _NEIGHBOURHOOD) -> np.ndarray:
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)


def _deviation(plane: np.ndarray, side: int) -> np.ndarray:
    mean = _mean(plane, side)
    return np.sqrt(np.maximum(_mean(plane * plane, side) - mean * mean, 0))
