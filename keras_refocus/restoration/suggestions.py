"""The colours that a colorizer thinks likeliest at a place: what a person is offered to choose.

A colorizer that predicts a distribution knows that a car may be red or blue, also where it gives
the one or a mean of both. Its classes lie ten units apart, so the likeliest five would be five
greys: shares are summed over what looks alike first, and each suggestion takes those near it away.
"""

import dataclasses

import numpy as np

from keras_refocus.pictures import color, color_bins

# CIELAB units of a* and b* within which shares belong to one colour, and that two suggestions are
# apart.
_ALIKE = 12.0
_APART = 22.0
# Radius, in pixels of the shares, of what counts as the place.
_RADIUS = 1


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """One likely colour.

    Attributes:
        color: sRGB, three numbers from 0 to 255, as it looks with the lightness of the place.
        share: How likely the colorizer thinks it and what looks alike, 0 to 1.
    """

    color: tuple[int, int, int]
    share: float


def likeliest(
    shares: np.ndarray, light: np.ndarray, place: tuple[float, float], count: int
) -> list[Suggestion]:
    """Choose the likeliest colours at a place that differ.

    Args:
        shares: Of the classes of `color_bins`, of shape (height, width, 313), which sum to 1.
        light: Luminance of the place, of shape (1,), in [0, 1].
        place: Where, as parts (x, y) of the width and height, in [0, 1).
        count: How many, at most.

    Returns:
        The likeliest first.
    """
    height, width = shares.shape[:2]
    row, column = int(place[1] * height), int(place[0] * width)
    rows = slice(max(row - _RADIUS, 0), row + _RADIUS + 1)
    columns = slice(max(column - _RADIUS, 0), column + _RADIUS + 1)
    left = shares[rows, columns].reshape(-1, color_bins.COUNT).mean(axis=0, dtype=np.float64)
    centers = color_bins.centers()
    apart = color.LAB_PER_CHROMA * np.linalg.norm(centers[:, None] - centers[None], axis=-1)
    alike = np.exp(-0.5 * (apart / _ALIKE) ** 2)
    found: list[Suggestion] = []
    for _ in range(count):
        best = int((alike @ left).argmax())
        weights = alike[best] * left
        share = float(weights.sum())
        if share <= 0:
            break
        chroma = (weights @ centers / share).astype(np.float32)
        rgb = color.from_float(color.recompose(light[np.newaxis], chroma[np.newaxis]), "uint8")[0]
        found.append(Suggestion((int(rgb[0]), int(rgb[1]), int(rgb[2])), round(share, 4)))
        left = np.where(apart[best] < _APART, 0.0, left)
    return found
