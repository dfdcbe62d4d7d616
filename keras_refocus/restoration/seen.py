"""What the colorizer is shown of a picture: without its paper, and with the contrast of a photo.

A colorizer is trained on photos. A white frame around a print is nothing that it knows, and takes
room from what it does; a print that has faded, or a picture taken in hardly any light, lies in a
part of the range, and gets colours of skies or of fire. So the frame is cut off, and luminance is
stretched (`pictures.contrast`, as in training), before the colorizer sees it. What it answers is
put back where it belongs, with as much less chroma as the picture has less than 0.6 of the contrast
of a photo: a faded print whose colours had not faded would look painted.

Pictures without a frame that fill the range are shown as they are, to the bit.
"""

import dataclasses
from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.pictures import contrast, paper

# Contrast below which chroma is taken back with it.
FADED = 0.6


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
        if self.contrast < FADED:
            chroma = chroma * np.float32(self.contrast / FADED)
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


def look(
    luminance: np.ndarray, small: np.ndarray, shrink: Callable[[np.ndarray], np.ndarray]
) -> Seen:
    """Decide what the colorizer is shown of a picture.

    Args:
        luminance: Of shape (height, width, 1), float32 in [0, 1].
        small: The same at the colorizer's size.
        shrink: Makes the one of the other.
    """
    box = paper.without_paper(small[..., 0])
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
    stretched, part = contrast.stretch(shown)
    return Seen(stretched, small, box, part)


def _whole(small: np.ndarray) -> tuple[slice, slice]:
    return slice(0, small.shape[0]), slice(0, small.shape[1])
