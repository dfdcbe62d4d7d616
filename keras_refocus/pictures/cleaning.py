"""What makes a picture unfit, and how a fit one is brought to one form: size, depth, format.

Shared by `curate`, by the data sets and by what prepares pictures as they arrive, so that all of
them judge and write alike.
"""

import dataclasses
from typing import Literal

import numpy as np
from PIL import Image

from keras_refocus.pictures import color, grayscale
from keras_refocus.pictures.photo import Photo

# What can be wrong with a picture by itself, in the words of the reports.
UNREADABLE = "unreadable"
MISSING_PARTNER = "missing partner"
GRAY = "gray"
SMALL = "too small"


def fault_of_size(sizes: list[tuple[int, int]], min_size: int) -> tuple[str, str] | None:
    """Reason and detail of a fault of size, `None` if there is none.

    Args:
        sizes: Height and width in pixels of the picture, or of both sides of a pair.
        min_size: Least short side in pixels.
    """
    if min(min(size) for size in sizes) < min_size:
        return SMALL, " and ".join(f"{width}x{height}" for height, width in sizes)
    return None


def fault_of_photo(
    photo: Photo, *, min_size: int = 1, drop_gray: bool = False
) -> tuple[str, str] | None:
    """Reason and detail of what makes a photo unfit, `None` if nothing does.

    Args:
        photo: The photo, as `images.read` gives it.
        min_size: Least short side in pixels.
        drop_gray: Whether pictures without colour are unfit.
    """
    fault = fault_of_size([(photo.height, photo.width)], min_size)
    if fault is None and drop_gray and grayscale.is_grayscale(photo.rgb):
        return GRAY, ""
    return fault


@dataclasses.dataclass(frozen=True, kw_only=True)
class Copying:
    """How a cleaned picture looks.

    Attributes:
        format: Format of every file, a name of `images.FORMATS`.
        size: Short side in pixels; `None` leaves the size. Both sides of a pair are equal in size,
            and stay so.
        upscale: Whether smaller pictures are enlarged to `size`.
        bits: Bits per channel, 8 or 16.
        quality: 1 to 100, for JPEG and WebP.
    """

    format: Literal["PNG", "JPEG", "TIFF", "WebP"] = "PNG"
    size: int | None = None
    upscale: bool = False
    bits: int = 8
    quality: int = 95

    def __post_init__(self):
        if self.bits == 16 and self.format not in ("PNG", "TIFF"):
            raise ValueError(
                "16 bits need PNG or TIFF. Received: bits=16, "
                f"format={self.format!r}. Choose one of these, or 8 bits."
            )
        if self.size is not None and self.size < 1:
            raise ValueError(f"`size` must be at least 1 pixel. Received: size={self.size}.")


AS_IT_IS = Copying()


def clean(photo: Photo, copying: Copying = AS_IT_IS) -> np.ndarray:
    """Bring a photo to size and depth.

    Args:
        photo: The photo, as `images.read` gives it: upright, sRGB.
        copying: Size and depth. Transparent pixels are laid on white.

    Returns:
        uint8 or uint16 array of shape `(height, width, 3)`.
    """
    rgb = photo.rgb
    if photo.alpha is not None:
        opacity = color.to_float(photo.alpha)[..., None]
        flat = color.to_float(rgb) * opacity + (1.0 - opacity)
        rgb = color.from_float(flat, rgb.dtype)
    short = min(photo.height, photo.width)
    size = copying.size
    if size is not None and (short > size or (short < size and copying.upscale)):
        rgb = resize(rgb, round(photo.height * size / short), round(photo.width * size / short))
    dtype = f"uint{copying.bits}"
    return rgb if rgb.dtype == dtype else color.from_float(color.to_float(rgb), dtype)


def resize(rgb: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize by Lanczos, with the filter widened when shrinking so that nothing aliases.

    Args:
        rgb: uint8 or uint16 array of shape `(height, width, 3)`.
        height: Pixels, at least 1.
        width: Pixels, at least 1.

    Returns:
        Array of the same type and the new size.
    """
    size = (max(1, width), max(1, height))
    if rgb.dtype == np.uint8:
        return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    # Pillow has no 16-bit colour, but floats of one channel.
    channels = [
        np.asarray(
            Image.fromarray(color.to_float(np.ascontiguousarray(rgb[..., channel]))).resize(
                size, Image.Resampling.LANCZOS
            )
        )
        for channel in range(3)
    ]
    return color.from_float(np.stack(channels, axis=-1), rgb.dtype)
