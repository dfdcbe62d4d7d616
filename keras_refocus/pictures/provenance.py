"""Say in a picture that its colours were made by a network: in its metadata, and visibly.

The tag is written whenever a picture was colourised, also when all other metadata is removed: who
finds the picture later must be able to tell a guess from a record.
"""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_refocus.pictures import color

#: What the tag says, in EXIF `ImageDescription`.
COLOURISED = "Colourised by keras_refocus: the colours are a guess, not a record."

_DESCRIPTION = 0x010E
_SOFTWARE = 0x0131

# Height of the visible mark's letters as a share of the shorter side, and its distance from the
# corner in letters.
_LETTERS = 1 / 40
_MARGIN = 0.8


def tag_colourised(metadata: bytes = b"") -> bytes:
    """Add the tag to EXIF.

    Args:
        metadata: EXIF of the picture as bytes, or nothing.

    Returns:
        EXIF with the tag; a description that was there stays behind it.
    """
    exif = Image.Exif()
    if metadata:
        exif.load(metadata)
    description = str(exif.get(_DESCRIPTION, "")).strip("\0 ")
    if COLOURISED not in description:
        description = f"{COLOURISED} {description}".strip()
    exif[_DESCRIPTION] = description
    exif[_SOFTWARE] = "keras_refocus"
    return exif.tobytes()


def mark_colourised(rgb: np.ndarray, text: str = "colourised") -> np.ndarray:
    """Write into the lower right corner that a picture was colourised.

    Args:
        rgb: Array of shape (height, width, 3), uint8, uint16 or float32 in [0, 1].
        text: What to write.

    Returns:
        A new array like `rgb`: white letters on a dark bar, both opaque enough to read anywhere. A
        picture too small for legible letters gets the bar alone.
    """
    height, width = rgb.shape[:2]
    size = max(min(height, width) * _LETTERS, min(10.0, min(height, width) / 3))
    font = ImageFont.load_default(max(size, 1.0))
    left, top, right, bottom = font.getbbox(text)
    pad = round(size * _MARGIN)
    bar_height = min(math.ceil(bottom - top) + 2 * pad, height)
    bar_width = min(math.ceil(right - left) + 2 * pad, width)
    letters = Image.new("L", (bar_width, bar_height))
    ImageDraw.Draw(letters).text((pad - left, pad - top), text, fill=255, font=font)
    bar = color.to_float(np.asarray(letters))
    marked = np.array(rgb)
    corner = marked[height - bar_height :, width - bar_width :]
    below = color.to_float(corner) * np.float32(0.35)
    mixed = below + bar[..., np.newaxis] * (1 - below)
    corner[:] = mixed if rgb.dtype == np.float32 else color.from_float(mixed, rgb.dtype)
    return marked
