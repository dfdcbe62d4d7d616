"""The colours of another photo: of the same scene in colour, or of one whose palette is liked.

Both pictures are cut into a grid of cells. Each cell of the one is given a cell of the other, all
of them once, so that the sum of the costs is least: how much they differ in luminance, in place,
and in chroma from what the colorizer guessed. That is optimal transport between two clouds of
equally heavy points, an assignment, which SciPy solves exactly (Crouse 2016). The palette comes
whole, as histograms do; luminance keeps lights with lights, place keeps the sky above, and the
guess keeps skin with skin where both pictures have it. The chroma of the cells is then enlarged
along the edges of luminance as all chroma is.

Optimal transport of colours: Pitié, Kokaram and Dahyot, "Automated colour grading using colour
distribution transfer", 2007. Place, the guess and the assignment of cells are ours.
"""

import dataclasses
import os

import cv2
import numpy as np

from keras_refocus.pictures import color, grayscale, images

# Cells along a side: 576 of them are assigned in a few tenths of a second.
_CELLS = 24
# What differs by this much costs 1: luminance, parts of the sides, chroma (20 units of a* and b*).
_LUMINANCE = 0.12
_PLACE = 0.3
_CHROMA = 20.0 / color.LAB_PER_CHROMA


@dataclasses.dataclass(frozen=True)
class Palette:
    """The colours of a photo, by cells.

    Attributes:
        luminance: float32 of shape (cells, cells), in [0, 1].
        chroma: float32 of shape (cells, cells, 2), in [-1, 1].
    """

    luminance: np.ndarray
    chroma: np.ndarray

    @classmethod
    def of(cls, rgb: np.ndarray) -> "Palette":
        """Take the colours of a picture.

        Args:
            rgb: Array of shape (height, width, 3), sRGB: uint8, uint16, or float in [0, 1].

        Raises:
            ValueError: It has none.
        """
        if grayscale.is_grayscale(rgb):
            raise ValueError(
                "A reference gives its colours, so it must have some. Received: a picture that is "
                "grey or of one tint. Name another."
            )
        luminance, chroma = color.rgb_to_lab(rgb)
        return cls(_cells(luminance), _cells(chroma))

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Palette":
        """Take the colours of a file.

        Raises:
            FileNotFoundError: It does not exist.
            ValueError: It cannot be read, or has no colours.
        """
        try:
            return cls.of(images.read(path).rgb)
        except ValueError as error:
            raise ValueError(f"'{path}' cannot be the reference: {error}") from error

    def give(self, luminance: np.ndarray, guess: np.ndarray, strength: float = 1.0) -> np.ndarray:
        """Give these colours to a picture.

        Args:
            luminance: Array of shape (height, width, 1), float32 in [0, 1].
            guess: What the colorizer guessed for it, of shape (rows, columns, 2).
            strength: 0 leaves the guess as it is, 1 takes the colours wholly.

        Returns:
            Chroma of shape (height, width, 2), float32.
        """
        from scipy.optimize import linear_sum_assignment

        height, width = luminance.shape[:2]
        cells, guessed = _cells(luminance), _cells(guess)
        rows, columns = np.mgrid[:_CELLS, :_CELLS] / (_CELLS * _PLACE)

        def points(light, chroma):
            parts = (light / _LUMINANCE, rows, columns, *np.moveaxis(chroma / _CHROMA, -1, 0))
            return np.stack([part.ravel() for part in parts], axis=-1).astype(np.float64)

        given, offered = points(cells, guessed), points(self.luminance, self.chroma)
        cost = (
            np.square(given).sum(axis=1)[:, np.newaxis]
            + np.square(offered).sum(axis=1)
            - 2.0 * given @ offered.T
        )
        _, chosen = linear_sum_assignment(cost)
        change = self.chroma.reshape(-1, 2)[chosen].reshape(_CELLS, _CELLS, 2) - guessed
        change = cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)
        if guess.shape[:2] != (height, width):
            guess = cv2.resize(guess, (width, height), interpolation=cv2.INTER_CUBIC)
        return (guess + np.float32(strength) * change).astype(np.float32)


def _cells(plane: np.ndarray) -> np.ndarray:
    """Means over the cells of a picture (height, width, channels)."""
    for axis, side in ((1, plane.shape[1]), (0, plane.shape[0])):
        size = [plane.shape[1], plane.shape[0]]
        size[1 - axis] = _CELLS
        method = cv2.INTER_AREA if side >= _CELLS else cv2.INTER_LINEAR
        plane = cv2.resize(plane, size, interpolation=method).reshape(size[1], size[0], -1)
    return plane[..., 0] if plane.shape[-1] == 1 else plane
