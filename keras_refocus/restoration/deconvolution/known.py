"""The sharp picture of a blurred one whose kernel is known.

Least squares with few and small gradients as the prior, where pixels count only as far as they can
be trusted: what lies beyond the border is unknown, and so is the light of a saturated pixel (to ask
that it be at least so much is worse: what is too much pulls on the rest). No light is less than
none. Splitting (ADMM) makes each of these a step of its own; what is left for the Fourier transform
is a division.

Blur acts in linear light, and noise and the eye on about the cube root of it, so that in the dark
differences count more: errors and gradients are weighted by the slope of lightness.

References:
    Matakos, Ramani and Fessler, "Accelerated edge-preserving image restoration without boundary
    artifacts", 2013; Almeida and Figueiredo, "Deconvolving images with unknown boundaries using the
    alternating direction method of multipliers", 2013 (the border).
    Cho, Wang and Lee, "Handling outliers in non-blind image deconvolution", 2011, and Whyte, Sivic
    and Zisserman, "Deblurring shaken and partially saturated images", 2014 (what is left out).
    Krishnan and Fergus, "Fast image deconvolution using hyper-Laplacian priors", 2009 (the prior).
    Chartrand, "Nonconvex splitting for regularized low-rank + sparse decomposition", 2012 (its
    shrinkage).
"""

from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.restoration.deconvolution import fourier

# Weight of the gradients, and the power to which they are taken.
WEIGHT = 3e-4
_POWER = 0.8
# Iterations for a result, and for a look.
ITERATIONS, QUICK = 30, 12
# Penalties that tie the blurred picture, the gradients and the picture to their copies.
_TIE, _SMOOTH, _LIT = 0.5, 0.02, 0.005
# Light from which on a pixel may be saturated; error beyond which it counts as an outlier.
SATURATED, _OUTLIER = 0.98, 0.1
# Of the slope of lightness: from which light on, over which neighbourhood (sigma in pixels), and
# how far from its median.
_DARKEST, _NEIGHBOURHOOD, _MOST = 0.02, 3.0, 3.0


def deconvolve(
    light: np.ndarray,
    kernel: np.ndarray,
    *,
    weight: float = WEIGHT,
    iterations: int = ITERATIONS,
    check: Callable[[], None] = lambda: None,
) -> np.ndarray:
    """Find the sharp picture.

    Args:
        light: float32 (height, width), linear light in [0, 1]; a picture that is larger than half
            the kernel on both axes.
        kernel: (rows, columns), odd, of sum 1.
        weight: Of the gradients: more is smoother.
        iterations: More are closer to the optimum.
        check: Called between iterations; what it raises ends the work.

    Returns:
        float32 of the shape of `light`; light may leave [0, 1], below 0 by little.
    """
    rows, columns = light.shape
    shape = fourier.fast_shape(light.shape, min(*light.shape, max(kernel.shape)))
    seen = fourier.extend(light, shape)
    slope = _slope(seen)
    trust = np.zeros(shape, np.float32)
    trust[:rows, :columns] = slope[:rows, :columns] ** 2
    trust[seen >= SATURATED] = 0
    share, bound = trust / (trust + _TIE), trust * (_OUTLIER / _TIE)
    threshold = slope * (weight / _SMOOTH)
    factor = fourier.transfer(kernel, shape)
    divisor = _TIE * np.abs(factor) ** 2 + _SMOOTH * fourier.roughness(shape) + _LIT

    sharp, blurred = seen, fourier.blur(seen, factor)
    owed = [np.zeros_like(seen) for _ in range(4)]
    for _ in range(iterations):
        check()
        wanted = blurred + owed[0]
        own = wanted - np.clip((wanted - seen) * share, -bound, bound)
        owed[0] = wanted - own
        gradients = fourier.across(sharp) + owed[1], fourier.down(sharp) + owed[2]
        size = np.hypot(*gradients) + np.float32(1e-12)
        kept = np.maximum(1 - threshold * size ** np.float32(_POWER - 2), 0)
        owed[1:3] = [gradient * (1 - kept) for gradient in gradients]
        sparse = [gradient * (2 * kept - 1) for gradient in gradients]
        # No light is less than none.
        lit = sharp + owed[3]
        owed[3] = np.minimum(lit, 0)
        lit -= 2 * owed[3]
        spectrum = _TIE * np.conj(factor) * fourier.forward(own - owed[0])
        spectrum += fourier.forward(_SMOOTH * fourier.divergence(*sparse) + _LIT * lit)
        spectrum /= divisor
        sharp = fourier.inverse(spectrum, shape)
        blurred = fourier.inverse(spectrum * factor, shape)
    return sharp[:rows, :columns]


def _slope(light: np.ndarray) -> np.ndarray:
    """Slope of lightness over light about each pixel, relative to its median."""
    near = cv2.GaussianBlur(light, (0, 0), _NEIGHBOURHOOD)
    slope = np.maximum(near, _DARKEST) ** np.float32(-2 / 3)
    return np.clip(slope / np.median(slope), 1 / _MOST, _MOST)
