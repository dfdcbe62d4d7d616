"""Restoration of a part of a picture: what is cut out for it, and how it is put back.

A face in a crowd or a number plate is restored in its own time, and the rest of the picture stays
as it is to the bit. A part is a rectangle, what strokes of a brush cover, or a mask. The restorer
sees a margin around it; at its edges the result fades into the picture.
"""

import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np

from keras_refocus.pictures import color, images

# Pixels of the picture around the part that the restorer sees too.
_CONTEXT = 64
# Pixels over which the result fades in, at most; of a small part a quarter of the way to its
# middle.
_FEATHER = 24
# Binary digits behind the point of a coordinate, as OpenCV draws.
_FRACTION = 4
# What is nearly black or white in a mask is meant to be: JPEG leaves noise around edges.
_NEARLY = 0.02

Rectangle = tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Stroke:
    """One stroke of a brush.

    Attributes:
        points: Where it went, `(x, y)` in pixels of the picture as it is seen, from the corner of
            the first pixel; one point is a dab.
        radius: Of the brush, in pixels.
        erases: Whether it takes away what earlier strokes cover.
    """

    points: tuple[tuple[float, float], ...]
    radius: float
    erases: bool = False


@dataclasses.dataclass(frozen=True)
class Strokes:
    """What strokes of a brush cover, whatever the size of the picture.

    Attributes:
        strokes: The strokes, in order.

    Raises:
        ValueError: There is none that paints, or a number is none.
    """

    strokes: tuple[Stroke, ...]

    def __post_init__(self):
        object.__setattr__(self, "strokes", tuple(map(_checked_stroke, self.strokes)))
        if all(stroke.erases for stroke in self.strokes):
            raise ValueError(
                "Strokes must paint somewhere. Received: "
                f"{len(self.strokes)} strokes, none of which paints."
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Take what JSON holds: `{"strokes": [{"points": [[x, y], ...], "radius": r}, ...]}`.

        Raises:
            ValueError: It is not of this form.
        """
        try:
            strokes = [
                Stroke(
                    tuple((float(x), float(y)) for x, y in stroke["points"]),
                    float(stroke["radius"]),
                    bool(stroke.get("erases", False)),
                )
                for stroke in given["strokes"]
            ]
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                'Strokes must be {"strokes": [{"points": [[x, y], ...], "radius": r}, ...]}. '
                f"Received: {type(error).__name__} ({error})."
            ) from error
        return cls(tuple(strokes))

    @classmethod
    def read(cls, path: str | os.PathLike) -> Self:
        """Read a file of JSON; see `of`.

        Raises:
            OSError: It cannot be read.
            ValueError: It holds no strokes.
        """
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"Strokes must be JSON. Received: '{path}' ({error}).") from error
        return cls.of(given)

    def box(self, size: tuple[int, int]) -> Rectangle:
        """The rectangle of a picture `(height, width)` that they can touch; it may be empty."""
        painting = [stroke for stroke in self.strokes if not stroke.erases]
        xs, ys = (
            [(p[axis] - stroke.radius, p[axis] + stroke.radius) for stroke in painting
             for p in stroke.points]
            for axis in (0, 1)
        )  # fmt: skip
        left, top = (max(math.floor(min(low for low, _ in pairs)) - 1, 0) for pairs in (xs, ys))
        right = min(math.ceil(max(high for _, high in xs)) + 1, size[1])
        bottom = min(math.ceil(max(high for _, high in ys)) + 1, size[0])
        return left, top, max(right - left, 0), max(bottom - top, 0)

    def share(self, box: Rectangle) -> np.ndarray:
        """What is covered of a rectangle, bool [height, width]."""
        left, top, width, height = box
        canvas = np.zeros((height, width), np.uint8)
        for stroke in self.strokes:
            # OpenCV counts from the middle of the first pixel.
            points = np.array(stroke.points) - (left + 0.5, top + 0.5)
            points = np.rint(points * 2**_FRACTION).astype(np.int32)
            colour = 0 if stroke.erases else 1
            thickness = max(round(2 * stroke.radius), 1)
            if len(points) == 1:
                radius = max(round(stroke.radius * 2**_FRACTION), 1)
                cv2.circle(canvas, points[0].tolist(), radius, colour, -1, shift=_FRACTION)
            else:
                cv2.polylines(canvas, [points], False, colour, thickness, shift=_FRACTION)
        return canvas.astype(bool)


class Mask:
    """How much of each pixel is worked on.

    A mask of black and white gets soft edges inside the white; one with greys is taken as it is.

    Args:
        share: Array [H,W] of the size of the picture as it is seen: bool, uint8, uint16 or float
            in [0, 1].

    Raises:
        ValueError: It has another shape, or is empty.
    """

    def __init__(self, share: np.ndarray):
        share = np.asarray(share)
        if share.ndim != 2 or 0 in share.shape:
            raise ValueError(
                f"A mask must be of shape (height, width). Received: shape={share.shape}."
            )
        if share.dtype != bool:
            share = color.to_float(share)
            if not np.isfinite(share).all():
                raise ValueError("A mask must hold numbers in [0, 1]. Received: NaN or infinity.")
            share = np.where(share < _NEARLY, 0, np.where(share > 1 - _NEARLY, 1, share))
            if ((share == 0) | (share == 1)).all():
                share = share.astype(bool)
        if not share.any():
            raise ValueError("A mask must have white where to work. Received: one that is black.")
        self._share = share
        self._share.setflags(write=False)

    @classmethod
    def read(cls, path: str | os.PathLike) -> Self:
        """Read a picture: white where to work; what is transparent counts as black.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no picture, or black.
        """
        photo = images.read(path)
        share = color.to_float(photo.rgb).max(axis=-1)
        if photo.alpha is not None:
            share = share * color.to_float(photo.alpha)
        try:
            return cls(share)
        except ValueError as error:
            raise ValueError(f"{error} File: '{path}'.") from error

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._share.shape

    @functools.cached_property
    def sha256(self) -> str:
        """Of what it holds, which tells masks apart."""
        return hashlib.sha256(repr(self.size).encode() + self._share.tobytes()).hexdigest()

    def box(self, size: tuple[int, int]) -> Rectangle:
        """The rectangle that holds all that is not black.

        Raises:
            ValueError: The picture has another size.
        """
        if tuple(size) != self.size:
            raise ValueError(
                "A mask must have the size of the picture. Received: a mask of "
                f"{self.size[1]} x {self.size[0]} pixels, and a picture of {size[1]} x {size[0]}."
            )
        columns, rows = (np.flatnonzero(self._share.any(axis=axis)) for axis in (0, 1))
        left, top = int(columns[0]), int(rows[0])
        return left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top

    def share(self, box: Rectangle) -> np.ndarray:
        """What it says of a rectangle, bool or float32 [height, width]."""
        left, top, width, height = box
        return self._share[top : top + height, left : left + width]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mask) and self.sha256 == other.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    def __repr__(self) -> str:
        return f"Mask({self.size[1]} x {self.size[0]}, sha256={self.sha256[:12]})"


Region = Rectangle | Strokes | Mask


def read(text: str) -> Region:
    """Read what a command names: LEFT,TOP,WIDTH,HEIGHT, a file of strokes (.json), or a mask.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is none of these.
    """
    parts = text.split(",")
    if len(parts) == 4 and all(part.strip().isdecimal() for part in parts):
        return checked(tuple(int(part) for part in parts))
    path = Path(text)
    if not path.is_file():
        raise ValueError(
            "A region must be LEFT,TOP,WIDTH,HEIGHT in pixels, such as 400,120,300,200, or the "
            f"file of a mask (white where to work) or of strokes (.json). Received: '{text}'."
        )
    return Strokes.read(path) if path.suffix.lower() == ".json" else Mask.read(path)


def record(region: Region | None) -> Any:
    """What a report says of a part: what JSON can hold."""
    if isinstance(region, Mask):
        return {"mask_sha256": region.sha256, "width": region.size[1], "height": region.size[0]}
    if isinstance(region, Strokes):
        return dataclasses.asdict(region)
    return None if region is None else list(region)


def checked(region: Region) -> Region:
    """Check a part whatever the picture.

    Args:
        region: Left, top, width and height in pixels, strokes, or a mask.

    Raises:
        ValueError: It is none.
    """
    if isinstance(region, Strokes | Mask):
        return region
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
    """Give what of a part lies in a picture.

    Args:
        region: As `checked` gives it.
        size: `(height, width)` of the picture.

    Raises:
        ValueError: Nothing of it does, or a mask has another size.
    """
    if isinstance(region, Strokes | Mask):
        box = region.box(size)
        inside = box[2] and box[3] and region.share(box).any()
    else:
        left, top, width, height = region
        inside = left < size[1] and top < size[0]
    if not inside:
        raise ValueError(
            f"The region must lie in the picture. Received: region={region}, and a picture of "
            f"{size[1]} x {size[0]} pixels."
        )
    if isinstance(region, Strokes | Mask):
        return region
    return left, top, min(width, size[1] - left), min(height, size[0] - top)


def bounds(region: Region, size: tuple[int, int]) -> Rectangle:
    """Give the rectangle that a part lies in.

    Args:
        region: As `clipped` gives it.
        size: `(height, width)` of the picture.
    """
    return region.box(size) if isinstance(region, Strokes | Mask) else region


def window(region: Region, size: tuple[int, int]) -> tuple[slice, slice]:
    """Give the rows and columns that the restorer sees for a part.

    Args:
        region: As `clipped` gives it.
        size: `(height, width)` of the picture.
    """
    left, top, width, height = bounds(region, size)
    return (
        slice(max(top - _CONTEXT, 0), min(top + height + _CONTEXT, size[0])),
        slice(max(left - _CONTEXT, 0), min(left + width + _CONTEXT, size[1])),
    )


def weights(region: Region, size: tuple[int, int]) -> np.ndarray:
    """Say how much of the result is taken inside the rectangle that a part lies in.

    Args:
        region: As `clipped` gives it.
        size: `(height, width)` of the picture; at its own edges nothing fades.

    Returns:
        Array of shape (height, width, 1) of `bounds`, float32 in [0, 1].
    """
    if isinstance(region, Strokes | Mask):
        box = bounds(region, size)
        share = region.share(box)
        soft = _softened(share, box, size) if share.dtype == bool else share
        return np.asarray(soft, np.float32)[..., np.newaxis]
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


def _softened(inside: np.ndarray, box: Rectangle, size: tuple[int, int]) -> np.ndarray:
    """Let a shape fade towards its edge; each piece over what its own width allows."""
    left, top, width, height = box
    # Around the rectangle nothing is covered, but at the picture's own edges nothing ends.
    sides = (
        (int(top > 0), int(top + height < size[0])),
        (int(left > 0), int(left + width < size[1])),
    )
    padded = np.pad(inside.astype(np.uint8), sides)
    if padded.all():
        return np.ones(inside.shape, np.float32)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    count, pieces = cv2.connectedComponents(padded)
    deepest = np.zeros(count, np.float32)
    np.maximum.at(deepest, pieces.ravel(), distance.ravel())
    feather = np.minimum(_FEATHER, deepest / 4)[pieces]
    soft = np.where(feather < 1, padded, np.clip((distance - 0.5) / np.maximum(feather, 1), 0, 1))
    rows, columns = sides[0][0], sides[1][0]
    return soft[rows : rows + height, columns : columns + width]


def paste(source: np.ndarray, part: np.ndarray, region: Region) -> np.ndarray:
    """Put what was made of a window into a picture, inside the part only.

    Args:
        source: The picture, [H,W,3] or [H,W], uint8, uint16 or float32.
        part: What was made of the window, of the same type; [h,w,3] or [h,w].
        region: As `clipped` gives it.

    Returns:
        A new picture; of three channels if the part has them.
    """
    size = source.shape[:2]
    rows, columns = window(region, size)
    left, top, width, height = bounds(region, size)
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


def _checked_stroke(stroke: Stroke) -> Stroke:
    numbers: Iterable[float] = [stroke.radius, *(n for point in stroke.points for n in point)]
    if not stroke.points or not all(map(math.isfinite, numbers)) or not stroke.radius > 0:
        raise ValueError(
            "A stroke must have at least one point and a radius above 0. Received: "
            f"{len(stroke.points)} points, radius={stroke.radius}."
        )
    # Far outside of any picture OpenCV's whole numbers would run over.
    if max(map(abs, numbers)) > 10**6:
        raise ValueError("The points of a stroke must lie near the picture. Received: 10^6.")
    return stroke
