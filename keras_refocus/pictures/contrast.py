"""Luminance with the contrast of a photo, as the colorizer is shown it.

A faded print, a picture in fog or in hardly any light lies in a part of the range; a network that
has learned from whole ranges takes it for sky or for fire. Whatever is to be coloured, in training
as in use, is therefore stretched over the range first.
"""

from typing import Any

import numpy as np

# Between these lie the darkest and the lightest 1% of what is shown.
DARK, LIGHT = 0.05, 0.95
# A plain wall is no faded print: its grain is not stretched to a picture.
MOST = 4.0
LEAST = 1e-3


def stretch(luminance: np.ndarray) -> tuple[np.ndarray, float]:
    """Stretch luminance over the range, unless it fills it.

    Args:
        luminance: float32 array in [0, 1], CIELAB L* / 100.

    Returns:
        Tuple `(stretched, contrast)`: the same array, or another of its shape, float32 in [0, 1],
        in which the darkest and lightest 1% reach 0.05 and 0.95, as far as that is no more than
        four times the contrast that was there; and that contrast as a part of the new one, in
        (0, 1].
    """
    dark, light = (float(end) for end in np.quantile(luminance, (0.01, 0.99)))
    width = light - dark
    new_dark, new_light = min(dark, DARK), max(light, LIGHT)
    if width < LEAST or (new_dark, new_light) == (dark, light):
        return luminance, 1.0
    if new_light - new_dark > MOST * width:
        # It stays where it lies within the range.
        place = dark / (1.0 - width)
        new_dark += place * (new_light - new_dark - MOST * width)
        new_light = new_dark + MOST * width
    contrast = width / (new_light - new_dark)
    stretched = new_dark + (luminance - np.float32(dark)) * np.float32(1.0 / contrast)
    return np.clip(stretched, 0.0, 1.0).astype(np.float32), contrast


def stretch_in_graph(tf: Any, luminance: Any) -> tuple[Any, Any]:
    """Do as `stretch` does, in a graph of TensorFlow.

    Args:
        tf: The module `tensorflow`, which this package does not know.
        luminance: float32 tensor in [0, 1] of one picture.

    Returns:
        Tuple `(stretched, contrast)` of float32 tensors: of the same shape, and a scalar.
    """
    ascending = tf.sort(tf.reshape(tf.cast(luminance, tf.float64), [-1]))
    last = tf.size(ascending) - 1

    def quantile(share):
        # Interpolated, as numpy does.
        place = share * tf.cast(last, tf.float64)
        index = tf.cast(tf.floor(place), tf.int32)
        low, high = ascending[index], ascending[tf.minimum(index + 1, last)]
        return tf.cast(low + (high - low) * (place - tf.floor(place)), tf.float32)

    dark, light = quantile(0.01), quantile(0.99)
    width = light - dark
    new_dark, new_width = tf.minimum(dark, DARK), tf.maximum(light, LIGHT) - tf.minimum(dark, DARK)
    excess = tf.maximum(new_width - MOST * width, 0.0)
    new_dark += excess * tf.math.divide_no_nan(dark, 1.0 - width)
    contrast = width / (new_width - excess)
    is_plain = width < LEAST
    stretched = new_dark + (luminance - dark) / tf.where(is_plain, 1.0, contrast)
    stretched = tf.where(is_plain, luminance, tf.clip_by_value(stretched, 0.0, 1.0))
    return stretched, tf.where(is_plain, 1.0, contrast)
