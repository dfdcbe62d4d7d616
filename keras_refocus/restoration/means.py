"""Where there is no blur to be told, mean lightness stays, whatever a restorer makes of it.

Motion blur, shake and defocus leave no detail of one or two pixels. Where a picture is made of it,
as dithered scans and faxes, halftone, checkers, stripes and small print are, there is nothing to
take off, and a network that looks for blur there finds what never was: it turns dithered grey into
dark grey. Smooth shades under noise tell no blur either, and came out darker by up to 14. So there
the result may differ from the input in the mean of L* by no more than 2 over any window of 16 to 64
pixels, and what differs by more is blended back towards the input. Blending keeps any other mean
too, that of light included, which is what an eye sees of dither, and never leaves [0, 1]; shifting
lightness would.

Elsewhere the means may move, and have to: of sharp frames of REDS the mean of L* over 17 pixels
differs from that of the blurred frame by more than 2 in a quarter of all places. Keeping all means
of REDS 003 within 2 would take 1.0 to 1.6 dB of the 3.1 that restoring it gains.

A picture is a pattern where one of these says so:

* **Energy.** The share of the local variance that a mean over 3 x 3 pixels takes away: 0.8 to 1.8
  for one-pixel patterns, 0.9 for noise, up to 0.1 where a camera took the picture. It must say so
  in all of a square of 17 pixels: motion leaves streaks along its own direction.
* **Steps.** The largest difference from that mean, as a share of the local range: 1/3 for a step
  within one pixel, 1/(3 n) for a slope of n pixels. It must say so in all of a square of 33 pixels.

It is mostly noise where this says so:

* **Noise.** The variance of Immerkaer's difference, [1, -2, 1] along both axes, over that of the
  same difference of pixels twice as far apart, in a square of 65 pixels: 3 for white noise, mostly
  below 1 in blurred photos with some noise. (Immerkaer 1996, "Fast Noise Variance Estimation".)

Networks look at windows, so what lies within 48 pixels of a strong pattern is treated as it is.
"""

from collections.abc import Callable

import cv2
import numpy as np

# Sides of the windows whose means are kept, in pixels, so many that what changes by turns every
# few pixels is seen by one of them; and how far a mean may move: 1 in L*.
SIDES = (17, 21, 25, 31)
WINDOW = SIDES[0]
ALLOWED = 0.01
# The same under noise, where the picture beneath may be blurred and what is taken off it right.
ALLOWED_NOISE = 0.0155

# From where on the share of energy begins to count, and where it counts whole; and the side of the
# square that has to be full of it.
ENERGY = (0.3, 0.5)
ENERGY_SIDE = 17
# The same for steps; and the side of the square that has to be full of them.
STEPS = (0.28, 0.32)
STEPS_SIDE = 33
# The same for noise, and the side of the square whose variances are compared.
NOISE = (1.75, 2.0)
NOISE_SIDE = 65
# The same in pictures that are lower or less wide than so many pixels, where little noise is seen.
NOISE_SMALL = (1.4, 1.8)
LEAST_SIDE = 16
# Of a mean over so many pixels neighbouring detail is told apart.
DETAIL = 3
# Side of what the detail of a window depends on: of all that, the variance is taken.
REACH = WINDOW + DETAIL - 1

# Networks that look at windows see a strong pattern from beside it too, and darken what is there:
# side of the square around a pixel in which one counts, wholly once a square of `STEPS_SIDE` is
# full of it; and from which mean square of detail on a pattern is strong.
NEAR_SIDE = 161
STRONG = (0.002, 0.008)

# So that rounding to 8 bits is no pattern: variance and range of L / 100.
EPSILON_VARIANCE = 1e-5
EPSILON_RANGE = 1e-3

# Immerkaer's difference along one axis, of neighbours and of pixels twice as far apart; scaled so
# that the first keeps the variance of white noise.
FINE = np.float32([1, -2, 1]) / np.float32(np.sqrt(6))
COARSE = np.float32([1, 0, -2, 0, 1]) / np.float32(np.sqrt(2))

# Blending weights are smoothed, so the first pass does not reach the bound everywhere.
PASSES = 3

# Pixels from which a pixel's result can depend: windows, their smallest weight and its smoothing in
# every pass, and the pattern at the rim of those.
MARGIN = (
    PASSES * (SIDES[-1] // 2 + 2 * (WINDOW // 2))
    + REACH // 2
    + 4 * (STEPS_SIDE // 2)
    + NEAR_SIDE // 2
)

# Pixels of a band, and its fewest rows, for the margins are computed twice.
_BAND = 2**20
LEAST_ROWS = 512


def keep(restored: np.ndarray, luminance: Callable[[slice], np.ndarray]) -> None:
    """Blend what a restorer gave back towards its input where it moved the mean of a pattern.

    Works in place, a band of rows at a time.

    Args:
        restored: Luminance after the restorer, float32 in [0, 1] of shape (height, width, 1).
        luminance: Gives rows of the input's luminance, float32 in [0, 1] of shape (rows, width, 1).
    """
    height, width = restored.shape[:2]
    rows = max(_BAND // width, LEAST_ROWS)
    above = restored[:0].copy()
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        end = min(bottom + MARGIN, height)
        first = top - len(above)
        given = np.concatenate([above, restored[top:end]])[..., 0]
        above = restored[max(bottom - MARGIN, 0) : bottom].copy()
        original = luminance(slice(first, end))[..., 0]
        # Beyond the picture is its mirror image.
        sides = (
            (0 if first > 0 else MARGIN, 0 if end < height else MARGIN),
            (MARGIN, MARGIN),
        )
        given, original = (np.pad(plane, sides, mode="symmetric") for plane in (given, original))
        kept = _keep(original, given, is_small=min(height, width) < LEAST_SIDE)
        if kept is not None:
            start = top - first + sides[0][0]
            restored[top:bottom, :, 0] = kept[start : start + bottom - top, MARGIN:-MARGIN]


def _keep(
    original: np.ndarray, restored: np.ndarray, *, is_small: bool = False
) -> np.ndarray | None:
    """The blend of a plane and its restored version, `None` if nothing is to be blended."""
    change = restored - original
    pattern = noise = None
    for _ in range(PASSES):
        moved = np.abs(_mean(change, WINDOW))
        for side in SIDES[1:]:
            moved = np.maximum(moved, np.abs(_mean(change, side)))
        if moved.max() <= ALLOWED:
            break
        if pattern is None:
            pattern = _is_pattern(original)
            noise = _ramp(_noise_ratio(original), *(NOISE_SMALL if is_small else NOISE))
            if not (pattern.any() or noise.any()):
                return None
        weight = np.minimum(_weight(moved, ALLOWED, pattern), _weight(moved, ALLOWED_NOISE, noise))
        change *= _mean(cv2.erode(weight, _square(WINDOW)), WINDOW)
    return None if pattern is None else original + change


def _weight(moved: np.ndarray, allowed: float, kind: np.ndarray) -> np.ndarray:
    """How much of a change stays where means moved so far, and surely so much of a kind."""
    return 1.0 - kind * (1.0 - allowed / np.maximum(moved, allowed))


def _is_pattern(plane: np.ndarray) -> np.ndarray:
    """How surely what surrounds each pixel is a pattern of single pixels, float32 0 to 1."""
    detail = plane - _mean(plane, DETAIL)
    mean = _mean(plane, REACH)
    variance = np.maximum(_mean(plane * plane, REACH) - mean * mean, 0.0)
    power = _mean(detail * detail, WINDOW)
    energy = _opened(_ramp(power / (variance + EPSILON_VARIANCE), *ENERGY), ENERGY_SIDE)
    window = _square(WINDOW)
    extent = cv2.dilate(plane, window) - cv2.erode(plane, window)
    largest = cv2.dilate(np.abs(detail), window)
    steps = _ramp(largest / (extent + EPSILON_RANGE), *STEPS)
    full = _opened(steps, STEPS_SIDE)
    strong = np.minimum(np.maximum(energy, full), _ramp(power, *STRONG))
    strong = _opened(strong, STEPS_SIDE)
    near = _mean(strong, NEAR_SIDE) * (NEAR_SIDE / STEPS_SIDE) ** 2
    return np.minimum(np.maximum(np.maximum(energy, full), near), 1.0)


def _noise_ratio(plane: np.ndarray) -> np.ndarray:
    """Variance of differences of neighbours over that of pixels twice as far apart."""
    near = cv2.sepFilter2D(plane, -1, FINE, FINE, borderType=cv2.BORDER_REFLECT)
    coarse = _mean(plane, DETAIL)
    coarse = cv2.sepFilter2D(coarse, -1, COARSE, COARSE, borderType=cv2.BORDER_REFLECT)
    coarse_variance = _mean(coarse * coarse, NOISE_SIDE)
    return _mean(near * near, NOISE_SIDE) / (coarse_variance + EPSILON_VARIANCE)


def _ramp(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values - low) / (high - low), 0.0, 1.0)


def _mean(plane: np.ndarray, side: int) -> np.ndarray:
    return cv2.blur(plane, (side, side), borderType=cv2.BORDER_REFLECT)


def _opened(plane: np.ndarray, side: int) -> np.ndarray:
    """What reaches as high in all of a square of so many pixels (morphological opening)."""
    square = _square(side)
    return cv2.dilate(cv2.erode(plane, square), square)


def _square(side: int) -> np.ndarray:
    return np.ones((side, side), np.uint8)
