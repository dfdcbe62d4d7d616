"""Where the deconvolved picture is taken, and where the plain one stands.

A deconvolved picture that is right gives the photo again when it is blurred; and it shows nothing
where the photo shows nothing over a whole kernel: ripples that blur to nothing are the mark of a
wrong kernel. Both are asked of each neighbourhood; and the picture as a whole must have fewer edges
and more directions than the plain one, by the measure by which its kernel was chosen.

Before the restorer has seen it, what any kernel gave blurs to the photo. With a wrong one the
restorer does not know what it sees, and changes it so much that it does not any more. So with a
kernel that was found the error must be far below that of the plain result, not only below it (that
of the plain result is not small, since it is blurred by the kernel on top of what blur it has left)
and small beside what was changed: much moved for little is the mark of a kernel that is half right.
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
# With a kernel that was found: the squared error in a neighbourhood over that of the plain result;
# the same of all that is taken; that over the square of what was changed; and how far above the
# least error noise alone may be.
_FIT, _FIT_OF_ALL, _LEFT, _NOISE = 0.3, 0.35**2, 0.085**2, 1.5
# Share of a pixel from which on it is well inside what is taken, and of the picture that must be.
_SURE, _MOST = 0.9, 0.5


def choose(
    light: np.ndarray,
    sharp: np.ndarray,
    plain: np.ndarray,
    kernel: np.ndarray,
    *,
    given: bool = False,
) -> tuple[np.ndarray, Finding]:
    """Blend the deconvolved and the plain picture by which of them is better where.

    Args:
        light: The photo, float32 (height, width), linear light in [0, 1].
        sharp: Luminance of the deconvolved and restored picture, float32 (height, width, 1).
        plain: Luminance of the plain result.
        kernel: That of the blur.
        given: Whether somebody named the kernel. Then it is not doubted: it may be short, and to
            be better than the plain result is enough.

    Returns:
        Tuple of luminance, float32 (height, width, 1) in [0, 1], and what is to be said of it.
    """
    found = kernels.extent(kernel)
    if found.length < SHORTEST and not given:
        return plain, nothing(Reason.NO_SHAKE, kernel)
    cost, plain_cost = (
        blind.measured(color.luminance_to_light(side[..., 0]), kernel).cost
        for side in (sharp, plain)
    )
    if cost > plain_cost:
        return plain, nothing(Reason.ROUGHER, kernel)
    photo = color.light_to_luminance(light)
    share, error, plain_error = _judged(photo, sharp, plain, kernel, 1.0 if given else _FIT)
    changed = float(share.mean())
    # At the rim of what is taken the error of both is seen.
    sure = share > _SURE
    left, moved = error[sure].sum(), (sharp - plain)[sure] ** 2
    fits = (
        sure.mean() > _MOST
        and left < _FIT_OF_ALL * plain_error[sure].sum()
        and left < _LEFT * moved.sum()
    )
    if changed < _LEAST or not (given or fits):
        return plain, nothing(Reason.NOT_THE_PHOTO, kernel)
    mixed = plain + share[..., np.newaxis] * (sharp - plain)
    reason = Reason.NONE if changed > 0.995 else Reason.PARTLY
    return mixed, Finding(kernel, found.length, found.direction, changed, reason, share)


def misfit(photo: np.ndarray, restored: np.ndarray, kernel: np.ndarray) -> float:
    """Root mean square error of a restored picture, blurred again, to the photo.

    Args:
        photo: Luminance, float32 (height, width).
        restored: What the restorer makes of the deconvolved picture, of that shape.
        kernel: That of the blur.
    """
    return float(np.sqrt(_error(restored, photo, kernel).mean()))


def _judged(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray, fit: float
) -> np.ndarray:
    """As `_better`, in tiles, so that large pictures take no more memory."""
    tiles = Tiles(*photo.shape, TILE, OVERLAP)
    planes = photo[..., np.newaxis], sharp, plain
    cut = ([tiles.cut(plane, window, fill=False)[..., 0] for plane in planes] for window in tiles)
    made = (np.moveaxis(_better(*parts, kernel, fit), 0, -1) for parts in cut)
    return np.moveaxis(np.concatenate([band for _, band in tiles.blend(made)]), -1, 0)


def _better(
    photo: np.ndarray, sharp: np.ndarray, plain: np.ndarray, kernel: np.ndarray, fit: float
) -> np.ndarray:
    """Judge each pixel by its neighbourhood.

    Returns:
        float32 (3, height, width): share of the deconvolved picture, in [0, 1]; mean squared error
        of it and of the plain one, blurred again.
    """
    error, plain_error = (_error(side, photo, kernel) for side in (sharp, plain))
    near = _NEIGHBOURHOOD // 4
    # An edge as far as the kernel reaches is in the blurred neighbourhood, too.
    flat = _deviation(photo, near + max(kernel.shape)) < _FLAT
    ripples = _deviation(sharp, near)
    rings = _mean((flat & (ripples > _RIPPLE * _FLAT)).astype(np.float32))
    # Where there is only noise both are as good.
    noise = _NOISE * np.percentile(error, 10)
    good = (error < fit * plain_error + (1 - fit) * noise) & (rings < 0.3)
    return np.stack([_mean(_mean(good.astype(np.float32))), error, plain_error])


def _error(side: np.ndarray, photo: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Mean squared error about each pixel of a picture that is blurred again."""
    squared = (again(side, kernel) - photo) ** 2
    # What was blurred into the picture from beyond its border nobody knows.
    reach = min(max(kernel.shape) // 2, (min(photo.shape) - 1) // 4)
    inner = squared[reach : len(squared) - reach, reach : squared.shape[1] - reach]
    return cv2.copyMakeBorder(_mean(inner), *[reach] * 4, cv2.BORDER_REPLICATE)


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
