"""Takes fading off a print: each channel is stretched from its darkest to its lightest light.

Dyes and silver fade unevenly: blacks are lifted, whites yellow, and each channel by its own amount,
which is the cast. In linear light each channel is set so that its darkest hundredth becomes black
and its lightest white. White paper around the print has not faded and is not asked.
"""

import numpy as np

from keras_refocus.pictures import color, paper

# The parts of the pixels that become black and white.
_QUANTILES = (0.01, 0.99)
# Pixels along a side that are looked at; and the range of a channel that is stretched at least.
_LOOKED_AT = 256
_LEAST_RANGE = 0.02


def levels(image: np.ndarray) -> np.ndarray:
    """Find the darkest and lightest light of each channel.

    Args:
        image: Array of shape (height, width, 3) or (height, width), sRGB: uint8, uint16 or float in
            [0, 1].

    Returns:
        Linear light, float64 of shape (channels, 2); (0, 1) for a channel of nearly one tone.
    """
    size = [min(side, _LOOKED_AT) for side in image.shape[:2]]
    rows, columns = (
        np.linspace(0, side - 1, count).round().astype(int)
        for side, count in zip(image.shape, size, strict=False)
    )
    looked_at = image[np.ix_(rows, columns)].reshape(*size, -1)
    light = color.to_float(looked_at).mean(axis=-1)
    box = paper.without_paper(light)
    # Where paper ends, pixels are of both.
    inside = tuple(
        side if side == slice(0, length) else slice(side.start + 2, side.stop - 2)
        for side, length in zip(box, light.shape, strict=True)
    )
    linear = color.srgb_to_linear(looked_at[inside]).reshape(-1, looked_at.shape[-1])
    found = np.quantile(linear, _QUANTILES, axis=0).T
    found[found[:, 1] - found[:, 0] < _LEAST_RANGE] = (0.0, 1.0)
    return found


def correct(image: np.ndarray, amount: float = 1.0) -> np.ndarray:
    """Take fading off.

    Args:
        image: Array of shape (height, width, 3) or (height, width), sRGB: uint8, uint16 or float32
            in [0, 1].
        amount: How much of the correction to take, 0 to 1.

    Returns:
        A new array of the same shape and type.
    """
    result = image.copy()
    if amount == 0:
        return result
    channels = result.reshape(*image.shape[:2], -1)
    for channel, (black, white) in enumerate(levels(image)):
        black, white = amount * black, 1.0 + amount * (white - 1.0)

        def stretched(values, black=black, white=white):
            linear = (color.srgb_to_linear(values) - black) / (white - black)
            return color.linear_to_srgb(np.clip(linear, 0.0, 1.0))

        plane = channels[..., channel]
        if image.dtype.kind == "u":  # few values: a table of them
            table = np.arange(np.iinfo(image.dtype).max + 1, dtype=image.dtype)
            channels[..., channel] = color.from_float(stretched(table), image.dtype)[plane]
        else:
            channels[..., channel] = stretched(plane)
    return result
