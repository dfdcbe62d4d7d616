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
from keras_refocus.restoration.deconvolution.finding import Finding, nothing

# Shakes shorter than this, in pixels, are the restorer's own business.
SHORTEST = 6.0
# Side in pixels of the neighbourhoods that are judged.
_NEIGHBOURHOOD = 65
# Luminance: what is flat in the photo moves by less, and what may come of it.
_FLAT, _RIPPLE = 0.012, 2.5
# Share of the picture below which nothing is taken.
_LEAST = 0.05


def choose(
    light: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray
) -> tuple[np.ndarray, Finding]:
    """Blend the deconvolved and the plain picture by which of them is better where.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        sharp: Luminance of the deconvolved and restored picture, float32 (height, width, 1).
        plain: Luminance of the plain result.
        kernel: That of the blur.

    Returns:
        Tuple of luminance, float32 (height, width, 1) in [0, 1], and what is to be said of it.
    """
    found = kernels.extent(kernel)
    if found.length < SHORTEST:
        return plain, nothing("There is no shake that the plain result leaves.", kernel)
    cost, plain_cost = (
        blind.measured(color.luminance_to_light(side[..., 0]), kernel).cost
        for side in (sharp, plain)
    )
    if cost > plain_cost:
        return plain, nothing("The picture became rougher, or streaky, not sharper.", kernel)
    photo = color.light_to_luminance(light)
    share = _better(photo, sharp, plain, kernel)
    changed = float(share.mean())
    if changed < _LEAST:
        return plain, nothing("Blurred again, the result is not the photo.", kernel)
    mixed = plain + share[..., np.newaxis] * (sharp - plain)
    reason = "" if changed > 0.995 else "Where it does not explain the photo the plain result is."
    return mixed, Finding(kernel, found.length, found.direction, changed, reason, share)


def _better(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray
) -> np.ndarray:
    """Share of the deconvolved picture at each pixel, float32 (height, width) in [0, 1]."""
    error, plain_error = (
        _mean((again(side[..., 0], kernel) - photo) ** 2) for side in (sharp, plain)
    )
    reach = max(kernel.shape)
    flat = _deviation(photo, reach) < _FLAT
    ripples = _deviation(sharp[..., 0], _NEIGHBOURHOOD // 4)
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
