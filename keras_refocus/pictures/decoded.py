"""What every decoder gives: rows of pixels, and what the file says about them."""

import dataclasses
from collections.abc import Callable

import numpy as np
from PIL import Image

from keras_refocus.pictures.code_points import Chromaticities

READABLE = "JPEG, PNG, TIFF, WebP, BMP, GIF, HEIC, AVIF, JPEG 2000 or JPEG XL"

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
    rows: Callable[[int, int], np.ndarray] | None  # (top, bottom) -> (rows, width, channels)
    dtype: np.dtype
    exif: Image.Exif
    icc: bytes | None = None
    code_points: tuple[int, int] | None = None  # Primaries and transfer of ITU-T H.273.
    gamma: float | None = None  # Exponent from light to code values.
    chromaticities: Chromaticities | None = None  # White, red, green and blue, each x and y.
    is_premultiplied: bool = False
    dpi: tuple[float, float] | None = None
    orientation: int | None = None  # `None`: as EXIF says.
    notices: list[str] = dataclasses.field(default_factory=list)


def from_array(array: np.ndarray, space: str, *, has_alpha: bool) -> Decoded:
    return Decoded(
        height=array.shape[0],
        width=array.shape[1],
        space=space,
        has_alpha=has_alpha,
        rows=lambda top, bottom: array[top:bottom],
        dtype=array.dtype,
        exif=Image.Exif(),
    )


def take_info(picture: Decoded, image: Image.Image) -> None:
    """Take profile, EXIF and resolution from a file that Pillow has opened."""
    picture.icc = image.info.get("icc_profile")
    if image.format != "BMP":  # Its writers put in what they like.
        picture.dpi = image.info.get("dpi")
    try:
        picture.exif = image.getexif()
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")
