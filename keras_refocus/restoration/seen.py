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
from collections.abc import Callable

import cv2
import numpy as np

from keras_refocus.pictures import paper

# The darkest and lightest 1% of photos lie below and above these. Where they do not, they are moved
# so many times as far beyond as they were short of it, but no farther than the second pair. A plain
# wall in the middle of the range is no faded print.
_DARK, _LIGHT = 0.5, 0.4
_STEEP = 4.0
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
    stretched, contrast = with_contrast(shown)
    return Seen(stretched, small, box, contrast)


def with_contrast(luminance: np.ndarray) -> tuple[np.ndarray, float]:
    """Stretch luminance that lies where that of photos does not.

    Args:
        luminance: float32 in [0, 1].

    Returns:
        The same, or stretched, float32 in [0, 1]; and the contrast that it had as a part of what it
        has.
    """
    dark, light = (float(end) for end in np.quantile(luminance, (0.01, 0.99)))
    new_dark = dark if dark <= _DARK else max(_DARK - _STEEP * (dark - _DARK), _DARKEST)
    new_light = light if light >= _LIGHT else min(_LIGHT + _STEEP * (_LIGHT - light), _LIGHTEST)
    if (new_dark, new_light) == (dark, light) or light - dark < 1e-3:
        return luminance, 1.0
    contrast = (light - dark) / (new_light - new_dark)
    stretched = new_dark + (luminance - np.float32(dark)) * np.float32(1.0 / contrast)
    return np.clip(stretched, 0.0, 1.0).astype(np.float32), contrast


def _whole(small: np.ndarray) -> tuple[slice, slice]:
    return slice(0, small.shape[0]), slice(0, small.shape[1])
