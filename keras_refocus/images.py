"""Read photos from files."""

import dataclasses
import io
import pathlib

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo:
    """A decoded photo.

    Attributes:
        rgb: uint8 array of shape `(height, width, 3)`, sRGB.
    """

    rgb: np.ndarray


def read(source):
    """Decode a photo, its EXIF orientation applied.

    Args:
        source: Path, or the bytes of a file.

    Returns:
        `Photo`.

    Raises:
        ValueError: If the file is no picture or is truncated.
    """
    content = source if isinstance(source, bytes) else pathlib.Path(source).read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return Photo(rgb=np.asarray(ImageOps.exif_transpose(picture).convert("RGB")))
    except (OSError, SyntaxError) as error:
        raise ValueError(f"The file must be a whole picture. Received: {error}.") from error
