"""The light paper that a print lies on, or that was left around it."""

import numpy as np

# Along a row of paper, 90% of the pixels lie within so much luminance; it is at least this light,
# and differs from its outermost row by no more.
_PAPER_EVEN = 0.06
_PAPER_LIGHT = 0.75
_PAPER_LIKE = 0.05
# A frame is there on three sides at least, and takes no more than this of each; narrower ones,
# in pixels of the small picture, are left.
_LEAST_SIDES = 3
_MOST_PAPER = 0.4
_LEAST_PAPER = 2


def without_paper(plane: np.ndarray) -> tuple[slice, slice]:
    """Find the picture inside a frame of light paper.

    Args:
        plane: Lightness of a small picture, of shape (height, width), in [0, 1].

    Returns:
        Its rows and columns; all of them where there is no frame.
    """
    # Bottom and right are top and left of the mirrored picture. Columns are measured over the rows
    # that are no paper: the photo may lie anywhere on it.
    top, bottom = _paper(plane), _paper(plane[::-1])
    rows = slice(top, plane.shape[0] - bottom)
    left, right = _paper(plane[rows].T), _paper(plane[rows].T[::-1])
    widths = (top, bottom, left, right)
    if sum(width >= _LEAST_PAPER for width in widths) < _LEAST_SIDES:
        return slice(0, plane.shape[0]), slice(0, plane.shape[1])
    return rows, slice(left, plane.shape[1] - right)


def _paper(plane: np.ndarray) -> int:
    """How many of the first rows are paper."""
    low, middle, high = np.quantile(plane, (0.05, 0.5, 0.95), axis=1)
    is_paper = (
        (high - low <= _PAPER_EVEN)
        & (middle >= _PAPER_LIGHT)
        & (np.abs(middle - middle[0]) <= _PAPER_LIKE)
    )
    count = int(np.argmin(is_paper)) if not is_paper.all() else 0
    return min(count, int(_MOST_PAPER * len(plane)))
