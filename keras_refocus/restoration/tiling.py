"""Overlapping tiles out of a picture, and blended back in.

A network sees a large picture as overlapping windows of one size (TensorFlow Serving batches only
equal shapes). The last window of a row or column shifts inward; what a window still covers beyond
the picture, and all of it that a smaller picture leaves empty, is filled with the picture's mirror
image: an edge that goes on would look like heavy blur to a network that reads blur out of spectra.

Windows start at multiples of `ALIGNMENT`. A network that works on a reduced grid gives other
results when the grid lies differently on the picture.

Coming back, what a window shows next to its border is left out where the picture goes on: the
network takes the picture to end there, and gives what it gives at a border. Across the middle of an
overlap the windows are blended by a raised-cosine ramp. They form a grid, so the weights are
separable: they are divided by their sum once per axis, in one dimension, and no weight plane of the
picture's size exists. Finished rows leave as soon as no later window touches them, so what is in
memory is one row of windows, however tall the picture.

Pure numpy; the identity comes back to 1e-6.
"""

import itertools
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

# What is cut for servers unless told otherwise, in pixels: they are warmed up for this tile.
TILE = 768
OVERLAP = 256

# Area of the tiles that `fitting_tile` chooses, in pixels: as much as our networks can do at once
# with 1.5 GiB for the whole process.
FITTING_AREA = 2**20

# A multiple of the factor by which our networks reduce a picture inside: `blind_wiener` gives every
# second window, one in 64 pixels, a filter, and `pyramid` does so at a quarter of the size too.
ALIGNMENT = 256

# Share of an overlap, at either end, in which one of the two windows is not looked at.
_LEFT_OUT = 3 / 8


# What is lower or less wide than the first, in pixels, networks see as part of the second: in a few
# pixels they find blur that is not there, and made noisy ones darker by up to 48 in L*.
SMALL, ROOM = 16, 64


def with_room(planes: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice]]:
    """Let small planes go on mirrored on all sides.

    Args:
        planes: Array of shape (planes, height, width, channels), any dtype.

    Returns:
        Tuple `(planes, place)`: what a network is to see, which is the planes themselves unless
        they are small, and the rows and columns of it in which they lie.
    """
    height, width = planes.shape[1:3]
    if min(height, width) >= SMALL:
        return planes, (slice(None), slice(None))
    down, across = (max(ROOM - length, 0) for length in (height, width))
    above, left = down // 2, across // 2
    sides = ((0, 0), (above, down - above), (left, across - left), (0, 0))
    place = slice(above, above + height), slice(left, left + width)
    return np.pad(planes, sides, mode="symmetric"), place


def default_overlap(tile: int) -> int:
    """Overlap where none is asked for: `OVERLAP`, but no more than half of a small tile."""
    return min(OVERLAP, tile // 2) if tile else OVERLAP


def fitting_tile(
    height: int, width: int, overlap: int = OVERLAP, area: int = FITTING_AREA
) -> tuple[int, int]:
    """Choose the tile with which least of a picture is computed twice, for who takes any shape.

    Args:
        height: Rows of the picture, at least 1.
        width: Columns of the picture, at least 1.
        overlap: Pixels that neighbouring tiles share, at least 0.
        area: Pixels of a tile that lie inside the picture, at most.

    Returns:
        Height and width of the tile. Of it no more than `area` pixels lie inside the picture,
        unless the overlap alone makes tiles larger than that. Tiles that end with the picture are
        computed in part only (`Tiles.cut` without `fill`).
    """
    rows, columns = _axis_choices(height, overlap), _axis_choices(width, overlap)

    def rank(choice):
        (tall, down), (wide, across) = choice
        inside = min(tall, height) * min(wide, width)
        return max(inside, area), down * across, inside

    (tall, _), (wide, _) = min(itertools.product(rows, columns), key=rank)
    return tall, wide


def ramp(overlap: int) -> np.ndarray:
    """Weights of a window over the pixels that it shares with the one before it.

    Args:
        overlap: Pixels that they share, at least 0.

    Returns:
        float64 array (overlap,) from 0 to 1: zeros next to the window's border, a raised cosine in
        the middle, ones where the window before is next to its own.
    """
    left_out = int(_LEFT_OUT * overlap)
    place = (np.arange(overlap) + 0.5 - left_out) / max(overlap - 2 * left_out, 1)
    return np.sin(np.pi / 2 * np.clip(place, 0.0, 1.0)) ** 2


class Window(NamedTuple):
    """Place of one tile: its upper left corner in pixels."""

    top: int
    left: int


class Tiles:
    """A grid of equal, overlapping windows over a picture.

    Iterating gives the windows row by row, left to right; `len()` is their number.

    Args:
        height: Rows of the picture, at least 1.
        width: Columns of the picture, at least 1.
        tile: Side of a square window in pixels, or `(height, width)` of one.
        overlap: Pixels that neighbouring windows share at least; smaller than the window. Windows
            that move by less than `ALIGNMENT` start at multiples of a smaller power of two.

    Attributes:
        tile_height: Rows of every window, also where the picture has fewer.
        tile_width: Columns of every window.
        tops: First row of each row of windows, ascending.
        lefts: First column of each column of windows, ascending.

    Raises:
        ValueError: A size is below 1, or the overlap is not in `[0, tile)`.
    """

    def __init__(self, height: int, width: int, tile: int | tuple[int, int], overlap: int):
        tile_height, tile_width = (tile, tile) if isinstance(tile, int) else tile
        if min(height, width) < 1:
            raise ValueError(
                "The picture must have at least one row and one column. "
                f"Received: height={height}, width={width}."
            )
        if min(tile_height, tile_width) < 1:
            raise ValueError(f"The tile must be at least 1 pixel wide. Received: tile={tile}.")
        if not 0 <= overlap < min(tile_height, tile_width):
            raise ValueError(
                "The overlap must be at least 0 and smaller than the tile. "
                f"Received: overlap={overlap}, tile={tile}. Choose a smaller overlap or a larger "
                "tile."
            )
        self.height = height
        self.width = width
        self.tile_height = tile_height
        self.tile_width = tile_width
        self.overlap = overlap
        self.tops = _starts(height, tile_height, overlap)
        self.lefts = _starts(width, tile_width, overlap)
        self._row_weights = _weights(self.tops, height, tile_height, overlap)
        self._column_weights = _weights(self.lefts, width, tile_width, overlap)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def __iter__(self) -> Iterator[Window]:
        for top in self.tops:
            for left in self.lefts:
                yield Window(top, left)

    def cut(self, image: np.ndarray, window: Window, *, fill: bool = True) -> np.ndarray:
        """Take one tile out of a picture.

        Args:
            image: Array of shape (height, width, channels), any dtype.
            window: One of this grid's windows.
            fill: Whether a tile that reaches beyond the picture is filled; otherwise it is smaller.

        Returns:
            Array of shape (tile_height, tile_width, channels): a view where the picture fills the
            window, else a copy that goes on with the picture mirrored at its last row and column.
            Without `fill`, a view of what lies inside the picture.
        """
        tile = image[
            window.top : window.top + self.tile_height,
            window.left : window.left + self.tile_width,
        ]
        below = self.tile_height - tile.shape[0]
        right = self.tile_width - tile.shape[1]
        if fill and (below or right):
            tile = np.pad(tile, ((0, below), (0, right), (0, 0)), mode="reflect")
        return tile

    def blend(self, tiles: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Join tiles into the picture, band by band from the top.

        Args:
            tiles: Arrays of shape (tile_height, tile_width, channels), or of what of it lies inside
                the picture, one for each window in the order of iteration. They are taken one at a
                time, as the bands need them.

        Yields:
            `(top, band)`: the first row of a band of finished rows, and the band as float32 of
            shape (rows, width, channels). The bands follow each other and cover the picture. A
            band of row `top` leaves after the last tile that starts at or above it, and before
            the first tile that starts below it is asked for.

        Raises:
            ValueError: There are fewer tiles than windows, or one has another size.
        """
        source = iter(tiles)
        following = [*self.tops[1:], self.height]
        carried = None
        for top, end, row_weight in zip(self.tops, following, self._row_weights, strict=True):
            rows = len(row_weight)
            band = None
            for left, column_weight in zip(self.lefts, self._column_weights, strict=True):
                tile = next(source, None)
                columns = len(column_weight)
                expected = (self.tile_height, self.tile_width)
                shapes = {expected, (rows, columns)}
                if tile is None or tile.ndim != 3 or tile.shape[:2] not in shapes:
                    raise ValueError(
                        f"Blending needs {len(self)} tiles of shape {(*expected, 'channels')}. "
                        f"Received: {'no tile' if tile is None else tile.shape} for the window at "
                        f"row {top}, column {left}."
                    )
                if band is None:
                    band = np.zeros((rows, self.width, tile.shape[2]), np.float32)
                    if carried is not None:
                        band[: carried.shape[0]] = carried
                weight = row_weight[:, np.newaxis] * column_weight
                band[:, left : left + columns] += tile[:rows, :columns] * weight[..., np.newaxis]
            yield top, band[: end - top]
            carried = band[end - top :]


def _axis_choices(length: int, overlap: int) -> list[tuple[int, int]]:
    """Sides of tiles along one axis, each with the pixels that all of them have together."""
    choices = []
    while not choices or choices[-1][0] < length:
        tile = overlap + (len(choices) + 1) * ALIGNMENT
        *before, last = _starts(length, tile, overlap)
        choices.append((tile, len(before) * tile + min(tile, length - last)))
    return choices


def _starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """First pixels of the windows along one axis."""
    step = tile - overlap
    alignment = min(ALIGNMENT, 2 ** (step.bit_length() - 1))
    step -= step % alignment
    # The first aligned place from which a window reaches the end of the picture.
    last = -(-max(length - tile, 0) // alignment) * alignment
    return (*range(0, last, step), last)


def _weights(starts: tuple[int, ...], length: int, tile: int, overlap: int) -> list[np.ndarray]:
    """Weights of the windows along one axis inside the picture, summing to one at every pixel."""
    rising = ramp(overlap)
    total = np.zeros(length)
    windows = []
    for start in starts:
        window = np.ones(min(tile, length - start))
        if start > 0:
            window[:overlap] *= rising[: len(window)]
        if start < starts[-1]:
            window[tile - overlap :] *= rising[::-1]
        total[start : start + len(window)] += window
        windows.append(window)
    return [
        (window / total[start : start + len(window)]).astype(np.float32)
        for start, window in zip(starts, windows, strict=True)
    ]
