"""From the luminance of a picture to the colorizer's working size, and its chroma back up.

Colour is decided on a small picture: what a sky or a face is does not depend on megapixels, and the
eye wants sharp edges of light, not of colour. The chroma comes back to full size guided by the
full-resolution luminance, so that it changes where the picture does and does not bleed over edges.

The colorizer always sees the same square, whatever the shape of the picture, as those of Zhang 2016
and DDColor do: a server joins requests of one size only.

The windows are wide: a wall or a water keeps one colour where the colorizer guessed two, which
showed as blobs. Where a window of nothing but wall overlaps one with an edge in it, the first
counts for more, so that colour stays on its side of the edge.

References: He, Sun and Tang, "Guided Image Filtering", 2010; the coefficients are found on the
small picture and enlarged, as in He and Sun, "Fast Guided Filter", arXiv:1505.00996. The weights of
the windows are ours.
"""

import copy
import operator
from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.restoration import hints
from keras_refocus.restoration.reference import Palette
from keras_refocus.restoration.seen import Seen, look

# Height and width of the picture that the colorizer sees, in pixels.
WORKING_SIZE = 256

# Window radius in pixels of the small picture, and the variance of luminance in it above which an
# edge of luminance is followed (0.03 of the range, squared). With a radius of 4, walls and water
# had patches of several colours.
_RADIUS = 16
_EPSILON = 1e-3
# The same for what hints change, which is even where it should be, and has edges of its own.
_HINT_RADIUS = 1


def shrink(luminance: np.ndarray, size: int = WORKING_SIZE) -> np.ndarray:
    """Resize luminance to the colorizer's square.

    Args:
        luminance: Array of shape (height, width, 1), float32.
        size: Side of the square in pixels.

    Returns:
        Array of shape (size, size, 1), float32: along a side that shrinks each pixel is the mean of
        what it covers, along one that grows it is interpolated.
    """
    height, width = luminance.shape[:2]
    plane = luminance[..., 0]
    # One axis at a time: area means are right for shrinking only.
    for target, shrinks in (((size, height), size <= width), ((size, size), size <= height)):
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        plane = cv2.resize(plane, target, interpolation=method)
    return plane[..., np.newaxis]


def guess(
    luminance: np.ndarray,
    colorize: Callable[[np.ndarray], np.ndarray],
    *,
    size: int = WORKING_SIZE,
    picture: tuple[int, int] | None = None,
    color_hints: hints.ColorHints | None = None,
    palette: Palette | None = None,
    palette_strength: float = 1.0,
) -> "GuidedChroma":
    """Let a colorizer guess the chroma of a picture, shown as it can judge it (`seen`).

    Args:
        luminance: Array of shape (height, width, 1), float32 in [0, 1].
        colorize: Gives chroma (rows, columns, 2) for luminance of shape (size, size, 1).
        size: Side of the square that it sees in pixels.
        picture: `(height, width)` of the picture, where its luminance was given reduced.
        color_hints: As for `GuidedChroma`.
        palette: Colours of another photo, which it gets instead of those guessed.
        palette_strength: How much of them to take, 0 to 1.
    """
    small = shrink(luminance, size)
    shown = look(luminance, small, lambda plane: shrink(plane, size))
    chroma = colorize(shown.luminance)
    if palette is not None:
        chroma = palette.give(shown.luminance, chroma, palette_strength)
    chroma = shown.put_back(chroma)
    return GuidedChroma(small, chroma, picture or luminance.shape[:2], color_hints, shown=shown)


class SharpChroma:
    """A picture's own chroma without its blur, to be taken where its lightness was, too.

    Args:
        chroma: Array of shape (height, width, 2), float in [-1, 1].
        share: How much of it is taken where, float32 (height, width) in [0, 1].
    """

    def __init__(self, chroma: np.ndarray, share: np.ndarray):
        self._chroma = chroma
        self._share = share

    def part(self, rows: slice, columns: slice) -> "SharpChroma":
        """Give the same of some rows and columns of the picture, as a picture of their own."""
        return SharpChroma(self._chroma[rows, columns], self._share[rows, columns])

    def mixed(self, top: int, own: np.ndarray, strength: float) -> np.ndarray:
        """Blend some rows into what the picture has.

        Args:
            top: First row.
            own: Array of shape (rows, width, 2), float32: chroma of the picture.
            strength: How much of what is to be taken is, 0 to 1.

        Returns:
            float32 array of that shape.
        """
        rows = slice(top, top + len(own))
        share = np.float32(strength) * self._share[rows, :, np.newaxis]
        return own + share * (self._chroma[rows].astype(np.float32) - own)

    def resized(self, size: tuple[int, int]) -> "SharpChroma":
        """The same for the picture at another `(height, width)`."""
        chroma = cv2.resize(self._chroma.astype(np.float32), size[::-1])
        return SharpChroma(chroma.astype(np.float16), cv2.resize(self._share, size[::-1]))


class GuidedChroma:
    """Chroma of a full-size picture, computed a band of rows at a time from a small one.

    In each window of the small picture chroma is fitted as a line in luminance, a L + b; the full
    size gets a and b enlarged and its own luminance.

    Args:
        luminance: Array of shape (h, w, 1), float32 in [0, 1]: what the colorizer saw, kept as the
            attribute of that name.
        chroma: Array of shape (h, w, 2), float32 in [-1, 1]: what it gave; or of a smaller size,
            then it is enlarged first.
        size: `(height, width)` of the full picture, kept as the attribute `picture`.
        color_hints: What a person says of its colours; without any the chroma is as it was given.
        shown: What the colorizer was shown, kept as the attribute of that name; `None` if that was
            not noted.

    Raises:
        MissingPackageError: There are hints, and SciPy is not installed.
        ValueError: A hint lies outside the picture.
    """

    def __init__(
        self,
        luminance: np.ndarray,
        chroma: np.ndarray,
        size: tuple[int, int],
        color_hints: hints.ColorHints | None = None,
        *,
        shown: Seen | None = None,
    ):
        self.shown = shown
        # Views of the picture that this was made into, for `hinted` to repeat.
        self._views: tuple = ()
        self.luminance, self._guess, self.picture = luminance, chroma, size
        rows, columns = luminance.shape[:2]
        if chroma.shape[:2] != (rows, columns):
            chroma = cv2.resize(chroma, (columns, rows), interpolation=cv2.INTER_CUBIC)
        lines = np.zeros((rows, columns, 4), np.float32)
        # Beyond the photo, on paper, there is no colour, and none of it comes into the photo.
        box = np.s_[:, :] if shown is None else shown.box
        lines[box] = _fit(luminance[box], chroma[box])
        if color_hints:
            drawn = color_hints.drawn(size, (rows, columns))
            lines += _fit(luminance, hints.spread(luminance, chroma, *drawn), _HINT_RADIUS)
        self._height, self._width = size
        self._top = 0
        # Columns are enlarged once; rows with each band, so that no full-size plane is kept.
        position, following, weight = _positions(0, self._width, self._width, columns)
        weight = weight[:, np.newaxis]
        self._lines = lines[:, position] * (1 - weight) + lines[:, following] * weight

    def hinted(self, color_hints: hints.ColorHints | None) -> "GuidedChroma":
        """Give what the chroma becomes with these hints, instead of any that it was made with.

        Args:
            color_hints: In pixels of the whole picture, also of what was resized or is a part.

        Raises:
            MissingPackageError: There are hints, and SciPy is not installed.
            ValueError: A hint lies outside the picture.
        """
        chroma = GuidedChroma(
            self.luminance, self._guess, self.picture, color_hints, shown=self.shown
        )
        for view in self._views:
            chroma = view(chroma)
        return chroma

    def rows(self, top: int, luminance: np.ndarray) -> np.ndarray:
        """Compute chroma for some rows of the picture.

        Args:
            top: First row.
            luminance: Array of shape (rows, width, 1), float32 in [0, 1]: these rows.

        Returns:
            Array of shape (rows, width, 2), float32 in [-1, 1].
        """
        position, following, weight = _positions(
            self._top + top, luminance.shape[0], self._height, self._lines.shape[0]
        )
        weight = weight[:, np.newaxis, np.newaxis]
        lines = self._lines[position] * (1 - weight)
        lines += self._lines[following] * weight
        chroma = lines[..., :2] * luminance
        chroma += lines[..., 2:]
        return np.clip(chroma, -1.0, 1.0, out=chroma)

    def resized(self, size: tuple[int, int]) -> "GuidedChroma":
        """Give the same chroma for the picture in another size.

        Args:
            size: Its `(height, width)`.
        """
        other = self._viewed("resized", size)
        other._height, other._width = size
        position, following, weight = _positions(0, size[1], size[1], self._width)
        weight = weight[:, np.newaxis]
        other._lines = self._lines[:, position] * (1 - weight) + self._lines[:, following] * weight
        return other

    def part(self, rows: slice, columns: slice) -> "GuidedChroma":
        """Give the chroma of some rows and columns of the picture, as a picture of their own."""
        other = self._viewed("part", rows, columns)
        other._top = self._top + rows.start
        other._lines = self._lines[:, columns]
        return other

    def _viewed(self, *view) -> "GuidedChroma":
        other = copy.copy(self)
        other._views = (*self._views, operator.methodcaller(*view))
        return other


def _fit(guide: np.ndarray, target: np.ndarray, radius: int = _RADIUS) -> np.ndarray:
    """Slopes, then offsets, of the weighted guided filter, for each channel of the target."""
    count = _window_sums(np.ones(guide.shape[:2], np.float32), radius)[..., np.newaxis]

    def mean(plane):
        return _window_sums(plane, radius).reshape(plane.shape) / count

    mean_guide = mean(guide)
    mean_target = mean(target)
    variance = mean(guide * guide) - mean_guide * mean_guide
    covariance = mean(guide * target) - mean_guide * mean_target
    slope = covariance / (variance + _EPSILON)
    offset = mean_target - slope * mean_guide
    flatness = 1.0 / (variance + _EPSILON)
    total = mean(flatness)
    return np.concatenate(
        [mean(flatness * slope) / total, mean(flatness * offset) / total], axis=-1
    )


def _window_sums(plane: np.ndarray, radius: int) -> np.ndarray:
    side = 2 * radius + 1
    return cv2.boxFilter(plane, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _positions(
    start: int, count: int, length: int, small: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where full-size pixels lie among small ones: index, next index, weight of the next.

    Pixel centres correspond, as in `cv2.resize`; beyond the outer centres the edge is repeated.
    """
    place = (np.arange(start, start + count) + 0.5) * (small / length) - 0.5
    place = np.clip(place, 0, small - 1)
    index = np.floor(place).astype(np.intp)
    return index, np.minimum(index + 1, small - 1), (place - index).astype(np.float32)
