"""Restoration of one rectangle of a picture: what is cut out for it, and how it is put back.

A face in a crowd or a number plate is restored in its own time, and the rest of the picture stays
as it is to the bit. The restorer sees a margin around the rectangle; at its edges the result fades
into the picture.
"""

import numpy as np

# Pixels of the picture around the rectangle that the restorer sees too.
_CONTEXT = 64
# Pixels over which the result fades in, at most; of a small rectangle an eighth of its side.
_FEATHER = 24

Region = tuple[int, int, int, int]


def checked(region: Region) -> Region:
    """Check a rectangle whatever the picture.

    Args:
        region: Left, top, width and height in pixels.

    Raises:
        ValueError: It is none.
    """
    try:
        left, top, width, height = (int(number) for number in region)
        exact = (left, top, width, height) == tuple(region)
    except (TypeError, ValueError):
        exact = False
    if not exact or left < 0 or top < 0 or width < 1 or height < 1:
        raise ValueError(
            "A region must be left, top, width and height in whole pixels, from 0 and at least 1 "
            f"wide and high. Received: region={region!r}."
        )
    return left, top, width, height


def clipped(region: Region, size: tuple[int, int]) -> Region:
    """Give what of a rectangle lies in a picture.

    Args:
        region: Left, top, width and height in pixels.
        size: `(height, width)` of the picture.

    Raises:
        ValueError: Nothing of it does.
    """
    left, top, width, height = region
    if left >= size[1] or top >= size[0]:
        raise ValueError(
            f"The region must lie in the picture. Received: region={region}, and a picture of "
            f"{size[1]} x {size[0]} pixels."
        )
    return left, top, min(width, size[1] - left), min(height, size[0] - top)


def window(region: Region, size: tuple[int, int]) -> tuple[slice, slice]:
    """Give the rows and columns that the restorer sees for a rectangle.

    Args:
        region: As `clipped` gives it.
        size: `(height, width)` of the picture.
    """
    left, top, width, height = region
    return (
        slice(max(top - _CONTEXT, 0), min(top + height + _CONTEXT, size[0])),
        slice(max(left - _CONTEXT, 0), min(left + width + _CONTEXT, size[1])),
    )


def weights(region: Region, size: tuple[int, int]) -> np.ndarray:
    """Say how much of the result is taken inside a rectangle.

    Args:
        region: As `clipped` gives it.
        size: `(height, width)` of the picture; at its own edges nothing fades.

    Returns:
        Array of shape (height, width, 1) of the rectangle, float32 in (0, 1].
    """
    left, top, width, height = region

    def ramp(start, length, whole):
        full = np.ones(length, np.float32)
        feather = min(_FEATHER, length // 8)
        if feather == 0:
            return full
        place = np.arange(length, dtype=np.float32) + 0.5
        rise = full if start == 0 else place / feather
        fall = full if start + length == whole else (length - place) / feather
        return np.clip(np.minimum(rise, fall), 0, 1)

    rows, columns = ramp(top, height, size[0]), ramp(left, width, size[1])
    return (rows[:, np.newaxis] * columns)[..., np.newaxis]


def paste(source: np.ndarray, part: np.ndarray, region: Region) -> np.ndarray:
    """Put what was made of a window into a picture, inside the rectangle only.

    Args:
        source: The picture, [H,W,3] or [H,W], uint8, uint16 or float32.
        part: What was made of the window, of the same type; [h,w,3] or [h,w].
        region: As `clipped` gives it.

    Returns:
        A new picture; of three channels if the part has them.
    """
    size = source.shape[:2]
    rows, columns = window(region, size)
    left, top, width, height = region
    inside = part[top - rows.start :, left - columns.start :][:height, :width]
    image = source.copy()
    if part.ndim == 3 and image.ndim == 2:
        image = np.repeat(image[..., np.newaxis], 3, axis=-1)
    share = weights(region, size)
    if part.ndim == 2:
        share = share[..., 0]
    place = np.s_[top : top + height, left : left + width]
    own = image[place].astype(np.float32)
    mixed = own + share * (inside.astype(np.float32) - own)
    image[place] = mixed if image.dtype == np.float32 else np.rint(mixed).astype(image.dtype)
    return image
