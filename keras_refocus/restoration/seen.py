"""What the colorizer is shown of a picture: without its paper, and with the contrast of a photo.

A colorizer is trained on photos. A white frame around a print is nothing that it knows, and takes
room from what it does; a print that has faded, or a picture taken in hardly any light, lies in a
part of the range where photos never lie, and gets colours of skies or of fire. So the frame is cut
off, and luminance is stretched, before the colorizer sees it. What it answers is put back where it
belongs, with as much less chroma as the picture has less contrast: a faded print whose colours had
not faded would look painted.

Pictures without a frame and with the contrast of a photo are shown as they are, to the bit.
"""

import dataclasses

import cv2
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

# The darkest and lightest 1% of nearly all photos lie below and above these. Where they do not,
# they are moved as far beyond as they were short of it, but no farther than the second pair.
_DARK, _LIGHT = 0.3, 0.6
_DARKEST, _LIGHTEST = 0.05, 0.95
_LEAST_CHROMA = 0.4


@dataclasses.dataclass(frozen=True)
class Seen:
    """A picture as the colorizer is shown it.

    Attributes:
        luminance: What it is shown, float32 of shape (size, size, 1).
        picture: The whole picture at that size.
        box: Rows and columns of `picture` that are shown.
        contrast: Contrast of the picture as a part of what is shown, in (0, 1].
    """

    luminance: np.ndarray
    picture: np.ndarray
    box: tuple[slice, slice]
    contrast: float

    def put_back(self, chroma: np.ndarray) -> np.ndarray:
        """Give the chroma of the whole picture.

        Args:
            chroma: What the colorizer answered, of shape (rows, columns, 2).

        Returns:
            The same where all of the picture was shown as it is; otherwise an array of the size of
            `picture`, 0 where there is paper.
        """
        if self.contrast < 1.0:
            chroma = chroma * np.float32(max(self.contrast, _LEAST_CHROMA))
        if self.luminance is self.picture or self.box == _whole(self.picture):
            return chroma
        whole = np.zeros((*self.picture.shape[:2], 2), np.float32)
        height, width = whole[self.box].shape[:2]
        whole[self.box] = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_AREA)
        return whole

    def place(self, place: tuple[float, float]) -> tuple[float, float]:
        """Where a place of the picture is in what is shown; the nearest that is, for paper.

        Args:
            place: Parts (x, y) of the width and height of the picture, in [0, 1).
        """
        found = []
        for part, side, length in zip(
            place, self.box[::-1], self.picture.shape[1::-1], strict=True
        ):
            inside = (part * length - side.start) / (side.stop - side.start)
            found.append(float(np.clip(inside, 0.0, np.nextafter(1.0, 0.0))))
        return found[0], found[1]


def look(luminance: np.ndarray, small: np.ndarray, shrink) -> Seen:
    """Decide what the colorizer is shown of a picture.

    Args:
        luminance: Of shape (height, width, 1), float32 in [0, 1].
        small: The same at the colorizer's size.
        shrink: Makes the one of the other.
    """
    box = without_paper(small)
    shown = small
    if box != _whole(small):
        rows, columns = (
            slice(round(side.start * full / part), round(side.stop * full / part))
            for side, full, part in zip(box, luminance.shape, small.shape, strict=False)
        )
        inner = luminance[rows, columns]
        if 0 in inner.shape:  # a picture of a few pixels
            box = _whole(small)
        else:
            shown = shrink(inner)
    stretched, contrast = with_contrast(shown)
    return Seen(stretched, small, box, contrast)


def without_paper(small: np.ndarray) -> tuple[slice, slice]:
    """Find the picture inside a frame of light paper.

    Args:
        small: Luminance of shape (height, width, 1), float32 in [0, 1].

    Returns:
        Its rows and columns; all of them where there is no frame.
    """
    plane = small[..., 0]
    # Bottom and right are top and left of the mirrored picture. Columns are measured over the rows
    # that are no paper: the photo may lie anywhere on it.
    top, bottom = _paper(plane), _paper(plane[::-1])
    rows = slice(top, plane.shape[0] - bottom)
    left, right = _paper(plane[rows].T), _paper(plane[rows].T[::-1])
    widths = (top, bottom, left, right)
    if sum(width >= _LEAST_PAPER for width in widths) < _LEAST_SIDES:
        return _whole(small)
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


def with_contrast(luminance: np.ndarray) -> tuple[np.ndarray, float]:
    """Stretch luminance that lies where that of photos does not.

    Args:
        luminance: float32 in [0, 1].

    Returns:
        The same, or stretched, float32 in [0, 1]; and the contrast that it had as a part of what it
        has.
    """
    dark, light = (float(end) for end in np.quantile(luminance, (0.01, 0.99)))
    new_dark = dark if dark <= _DARK else max(2.0 * _DARK - dark, _DARKEST)
    new_light = light if light >= _LIGHT else min(2.0 * _LIGHT - light, _LIGHTEST)
    if (new_dark, new_light) == (dark, light) or light - dark < 1e-3:
        return luminance, 1.0
    contrast = (light - dark) / (new_light - new_dark)
    stretched = new_dark + (luminance - np.float32(dark)) * np.float32(1.0 / contrast)
    return np.clip(stretched, 0.0, 1.0).astype(np.float32), contrast


def _whole(small: np.ndarray) -> tuple[slice, slice]:
    return slice(0, small.shape[0]), slice(0, small.shape[1])
