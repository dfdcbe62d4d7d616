"""A picture in memory, and the names of the file formats."""

import dataclasses
from collections.abc import Iterator

import numpy as np

#: Formats that can be written, and the usual suffix of each.
FORMATS = {"JPEG": ".jpg", "PNG": ".png", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp"}

FORMAT_OF_SUFFIX = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".dib": "BMP",
}

#: Suffixes of formats that are read and not written.
READ_ONLY = frozenset(
    ".heic .heif .hif .avif .gif .jp2 .j2k .j2c .jpx .jpf .jxl .mpo .apng".split()
)

#: Suffixes, in lower case, of files that may be pictures for `read`. What counts is the content.
SUFFIXES = frozenset(FORMAT_OF_SUFFIX) | READ_ONLY

# Pixels of a band: temporaries of conversions are a small part of a large picture, and stay in the
# caches of a processor.
_BAND = 500_000


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A picture and what its file says about it.

    Attributes:
        rgb: sRGB, uint8 or uint16, of shape (height, width, 3), upright.
        alpha: Opacity, of the type of `rgb` and shape (height, width), colours not premultiplied
            by it; or `None`.
        metadata: EXIF of the file as bytes that start with `Exif`, empty if there is none. Kept are
            descriptions, authorship, dates, camera, exposure, resolution and position; orientation,
            thumbnails and maker notes are not.
        format: What the file was: a name of `FORMATS`, or `"HEIC"`; `None` if there was no file.
        is_gray: Whether the file stored one channel. `write` stores one again if the channels are
            still equal.
        notices: Sentences about what was left out or guessed while reading.

    Raises:
        TypeError: If `rgb` or `alpha` is not an array of these types.
        ValueError: If the shapes are others.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None = None
    metadata: bytes = b""
    format: str | None = None
    is_gray: bool = False
    notices: tuple[str, ...] = ()

    def __post_init__(self):
        for name, array in (("rgb", self.rgb), ("alpha", self.alpha)):
            if name == "alpha" and array is None:
                continue
            if getattr(array, "dtype", None) not in (np.uint8, np.uint16):
                raise TypeError(
                    f"`{name}` must be an array of uint8 or uint16. Received: {name} of type "
                    f"{getattr(array, 'dtype', type(array).__name__)}. Convert floats with "
                    "`color.from_float`."
                )
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or 0 in self.rgb.shape:
            raise ValueError(
                "`rgb` must be of shape (height, width, 3) with at least one pixel. "
                f"Received: rgb.shape={self.rgb.shape}."
            )
        if self.alpha is not None and (
            self.alpha.shape != self.rgb.shape[:2] or self.alpha.dtype != self.rgb.dtype
        ):
            raise ValueError(
                "`alpha` must have the height, width and type of `rgb`. Received: "
                f"alpha {self.alpha.dtype} {self.alpha.shape}, "
                f"rgb {self.rgb.dtype} {self.rgb.shape}."
            )

    @property
    def height(self) -> int:
        return self.rgb.shape[0]

    @property
    def width(self) -> int:
        return self.rgb.shape[1]

    @property
    def bits(self) -> int:
        """Bits per channel: 8 or 16."""
        return 8 * self.rgb.dtype.itemsize


def bands(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture in slices of about half a megapixel."""
    rows = max(_BAND // width, 1)
    return (slice(top, min(top + rows, height)) for top in range(0, height, rows))
