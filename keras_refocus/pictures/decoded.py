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
    # White, red, green and blue, each x and y; they go before the primaries of `code_points`.
    chromaticities: Chromaticities | None = None
    is_narrow: bool = False  # Black and white are at 16 and 235 of 255, as in video.
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


def stretched(array: np.ndarray, bits: int) -> Callable[[int, int], np.ndarray]:
    """Give the rows of values of some bits, spread over those of the array's type.

    To the nearest level: the last of the few levels becomes the last of the many.
    """
    top, most = (1 << bits) - 1, np.iinfo(array.dtype).max

    def rows(start, stop):
        band = np.minimum(array[start:stop], top).astype("uint32")
        return ((band * most + top // 2) // top).astype(array.dtype)

    return rows


def take_info(picture: Decoded, image: Image.Image) -> None:
    """Take profile, EXIF and resolution from a file that Pillow has opened."""
    picture.icc = image.info.get("icc_profile")
    if image.format != "BMP":  # Its writers put in what they like.
        picture.dpi = image.info.get("dpi")
    try:
        picture.exif = image.getexif()
    except Exception as error:  # Damaged metadata must not cost the picture.
        picture.notices.append(f"The metadata is damaged and was left out ({error}).")
