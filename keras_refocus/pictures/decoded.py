"""What every decoder gives: rows of pixels, and what the file says about them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

READABLE = "JPEG, PNG, TIFF, WebP, BMP or HEIC"

FIRST_ONLY = "The file holds several pictures; only the first was read."


class Refused(Exception):
    """A reader will not have this file; to tell it from the errors of decoders."""


@dataclasses.dataclass(kw_only=True)
class Decoded:
    """A picture as its decoder gives it, before colours and orientation are put right."""

    height: int
    width: int
    space: str  # "gray", "rgb" or "cmyk": what the channels are, alpha not counted.
    has_alpha: bool
    rows: Callable[[int, int], np.ndarray]  # (top, bottom) -> (rows, width, channels)
    dtype: np.dtype
    exif: Image.Exif
    icc: bytes | None = None
    is_premultiplied: bool = False
    dpi: tuple[float, float] | None = None
    orientation: int | None = None  # `None`: as EXIF says.
    notices: list[str] = dataclasses.field(default_factory=list)


def from_array(array, space, *, has_alpha):
    return Decoded(
        height=array.shape[0],
        width=array.shape[1],
        space=space,
        has_alpha=has_alpha,
        rows=lambda top, bottom: array[top:bottom],
        dtype=array.dtype,
        exif=Image.Exif(),
    )
