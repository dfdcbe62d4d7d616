"""The colours of a shaken photo, without the shake.

The restorer sees lightness only, and a short blur of chroma goes unnoticed. A long one leaves
fringes as long as it beside everything that has a colour. Its kernel is known by then, and the eye
asks for less: red, green and blue light are deconvolved at half the size, smoothly.
"""

from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.restoration.chroma import SharpChroma
from keras_refocus.restoration.deconvolution import kernels, known, patient
from keras_refocus.restoration.deconvolution.finding import Finding

# Weight of gradients, ten times that of lightness; and light below which a colour says nothing.
_WEIGHT, _DARKEST = 10 * known.WEIGHT, 2e-3
# Of smaller pictures half the size is too small to be deconvolved.
_LEAST = 64


def sharp_chroma(
    rgb: np.ndarray, finding: Finding, check: Callable[[], None] = lambda: None
) -> SharpChroma | None:
    """Take the shake off the colours of a picture.

    Args:
        rgb: The picture, (height, width, 3), uint8, uint16 or float32 in [0, 1].
        finding: What was found of its shake.
        check: Called often; what it raises ends the work.

    Returns:
        The chroma, to be taken where the lightness was; `None` where there is nothing to take.
    """
    height, width = rgb.shape[:2]
    if finding.kernel is None or finding.share is None or min(height, width) < _LEAST:
        return None
    kernel = kernels.halved(finding.kernel)
    size = width // 2, height // 2
    light = []
    for channel in range(3):
        plane = color.srgb_to_linear(rgb[..., channel]).astype(np.float32)
        small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
        sharp = patient.deconvolve(small, kernel, check, weight=_WEIGHT, iterations=known.QUICK)
        light.append(np.clip(sharp, _DARKEST, 1))
    chroma = color.rgb_to_lab(color.linear_to_srgb(np.stack(light, axis=-1)))[1]
    # To half a thousandth, which is a twentieth of a just noticeable difference.
    chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return SharpChroma(chroma.astype(np.float16), finding.share)
