"""Colours that a person gives: what they are, how files hold them, and how they spread.

A hint is a colour at a point, or along a stroke. Neighbouring pixels of like luminance have like
chroma (Levin, Lischinski and Weiss, "Colorization Using Optimization", SIGGRAPH 2004): what is
spread so is the difference between the hint and the colorizer's own guess, which is the answer
wherever no hint reaches. Where we differ: the paper asks each pixel to be the mean of its
neighbours and has no guess; here each pair of neighbours pays for its difference and each pixel for
leaving the guess, so that the matrix is symmetric. How much of a hint reaches a pixel then is the
chance that a walk which prefers like neighbours finds the hint before it ends (Grady, "Random Walks
for Image Segmentation", 2006); where it is likely the hint counts wholly, and where it is unlikely
not at all, so that a click on a cup does not tint the table. The system is solved directly
(SuperLU, of SciPy) on the small picture that the colorizer sees, and enlarged along the edges of
luminance as all chroma is.

The file is JSON:

    {"hints": [
      {"color": "#b01e1e", "points": [[312, 205]]},
      {"color": [70, 90, 160], "points": [[10, 40], [220, 44], [300, 60]], "width": 12}
    ]}

`color` is sRGB, as `#rrggbb` or three whole numbers from 0 to 255; of it the chroma counts, the
lightness is the picture's. `points` are pixels `[x, y]` of the upright picture, from 0 at the left
and the top; several are a stroke. `width` is that of the stroke in pixels; without it, it is as
thin as can be. Where strokes cross, the later one counts.
"""

import dataclasses
import json
import numbers
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.system import files

# Luminance by which neighbours differ as much as those of one thing do, once texture is smoothed
# (bilateral filter: range of luminance, and pixels); and what links neighbours at least, of 1.
_LIKE = 0.03
_TEXTURE = 0.15
_TEXTURE_SIZE = 5.0
_LEAST_LINK = 1e-6
# What a pixel pays for leaving the colorizer's guess, and what more in texture and at edges (where
# luminance differs by `_BUSY` within a pixel or more), so that plain surfaces are filled and busy
# ones are not wandered through; and for leaving a hint. Equal neighbours pay 1 for differing.
_GUESS = 1.5e-5
_GUESS_IF_BUSY = 5e-5
_BUSY = 0.06
_HINT = 30.0
# How much of a hint must reach a pixel to change it, and to change it wholly.
_NONE, _ALL = 0.3, 0.5

# Radius of a point in pixels of the small picture; strokes are as wide at least.
_RADIUS = 1
# Bits of the fractions in which OpenCV takes places.
_SHIFT = 8

_KEYS = {"color", "points", "width"}


@dataclasses.dataclass(frozen=True)
class Hint:
    """One colour at a point, or along a stroke.

    Attributes:
        color: sRGB, three numbers from 0 to 255.
        points: Places (x, y) in pixels of the upright picture; several are a stroke.
        width: Width of the stroke in pixels; 0: as thin as can be.

    Raises:
        TypeError: A value is of another kind.
        ValueError: A value has no meaning.
    """

    color: tuple[int, int, int]
    points: tuple[tuple[float, float], ...]
    width: float = 0.0

    def __post_init__(self):
        object.__setattr__(self, "color", _as_color(self.color))
        object.__setattr__(self, "points", _as_points(self.points))
        if not _is_number(self.width) or not 0 <= self.width < float("inf"):
            raise ValueError(
                "The width of a stroke must be a number of pixels, from 0. Received: "
                f"width={self.width!r}."
            )
        object.__setattr__(self, "width", float(self.width))

    @property
    def chroma(self) -> np.ndarray:
        """Its chroma, float32 of shape (2,) in [-1, 1]."""
        return color.rgb_to_lab(np.array([[self.color]], np.uint8))[1][0, 0]


@dataclasses.dataclass(frozen=True)
class ColorHints:
    """What a person says of the colours of a picture.

    Attributes:
        hints: Each a `Hint`, or a dict of its values, in the order in which they were given.

    Raises:
        TypeError: A hint is none.
        ValueError: A value has no meaning.
    """

    hints: tuple[Hint, ...] = ()

    def __post_init__(self):
        hints = self.hints
        if isinstance(hints, str | bytes | Mapping) or not isinstance(hints, Iterable):
            raise TypeError(f"Hints must be a list of them. Received: {hints!r:.60}.")
        object.__setattr__(self, "hints", tuple(map(_as_hint, hints)))

    def __bool__(self) -> bool:
        return bool(self.hints)

    @classmethod
    def from_json(cls, values: Any) -> "ColorHints":
        """Build hints out of what a file of them holds; see the module.

        Args:
            values: A dict with `hints`, a list of dicts; keys that begin with an underscore are
                notes.

        Raises:
            TypeError: Something is of another kind.
            ValueError: A key is unknown, or a value has no meaning.
        """
        if not isinstance(values, Mapping) or "hints" not in values:
            raise TypeError(
                'Hints must be a JSON object such as {"hints": [{"color": "#b01e1e", "points": '
                f"[[312, 205]]}}]}}. Received: {values!r:.60}."
            )
        unknown = sorted(key for key in values if key != "hints" and not key.startswith("_"))
        if unknown:
            raise ValueError(
                f"Beside `hints` there is nothing. Received: {', '.join(unknown)}. Leave it out."
            )
        return cls(values["hints"])

    def to_json(self) -> dict[str, Any]:
        """Give what `from_json` takes."""
        return {
            "hints": [
                {
                    "color": "#{:02x}{:02x}{:02x}".format(*hint.color),
                    "points": [list(point) for point in hint.points],
                    "width": hint.width,
                }
                for hint in self.hints
            ]
        }

    @classmethod
    def read(cls, path: str | os.PathLike) -> "ColorHints":
        """Read a file of hints.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is no such file; the message says where.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"The file of hints must exist. Received: '{path}'. Check the path."
            )
        try:
            return cls.from_json(json.loads(path.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:  # Those of JSON and of UTF-8 are such.
            raise ValueError(f"'{path}' is no file of hints: {error}") from error

    def write(self, path: str | os.PathLike) -> None:
        """Write a file of hints.

        Raises:
            OSError: It cannot be written.
        """
        files.write_json(Path(path), self.to_json())

    def check(self, size: tuple[int, int]) -> None:
        """Refuse hints that lie outside a picture.

        Args:
            size: Its `(height, width)`.

        Raises:
            ValueError: A point does.
        """
        height, width = size
        for number, hint in enumerate(self.hints, 1):
            for x, y in hint.points:
                if not (0 <= x < width and 0 <= y < height):
                    raise ValueError(
                        "Hints must lie in the picture. Received: "
                        f"[{x:g}, {y:g}] of hint {number}, and a picture of {width} x {height} "
                        "pixels. Give x from the left and y from the top, of the upright picture."
                    )

    def drawn(self, size: tuple[int, int], shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Draw hints on a small picture.

        Args:
            size: `(height, width)` of the picture that they are for.
            shape: The same of the small one, which shows all of it.

        Returns:
            Which pixels have a hint, bool of that shape; and its chroma, float32 of shape
            (height, width, 2), 0 elsewhere.

        Raises:
            ValueError: A hint lies outside the picture.
        """
        self.check(size)
        scale = np.array([shape[1] / size[1], shape[0] / size[0]])
        numbers_ = np.zeros(shape, np.int32)
        for number, hint in enumerate(self.hints, 1):
            # Centres of pixels correspond, as in `cv2.resize`.
            places = (np.array(hint.points) + 0.5) * scale - 0.5
            places = np.rint(places * 2**_SHIFT).astype(np.int32)
            thickness = max(2 * _RADIUS + 1, round(hint.width * float(scale.mean())))
            if len(places) == 1:
                radius = max(thickness // 2, 1) << _SHIFT
                cv2.circle(numbers_, places[0].tolist(), radius, number, -1, shift=_SHIFT)
            else:
                cv2.polylines(numbers_, [places], False, number, thickness, shift=_SHIFT)
        table = np.stack([np.zeros(2, np.float32), *(hint.chroma for hint in self.hints)])
        return numbers_ > 0, table[numbers_]


def spread(
    luminance: np.ndarray, chroma: np.ndarray, is_hint: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Spread hints over what belongs to them.

    Args:
        luminance: Array of shape (height, width, 1), float32 in [0, 1].
        chroma: What the colorizer guessed, of shape (height, width, 2), in [-1, 1].
        is_hint: Which pixels have a hint, bool of shape (height, width).
        wanted: Chroma of the hints, of the shape of `chroma`.

    Returns:
        What is to be added to the guess, float32 of its shape.
    """
    from scipy.sparse.linalg import splu

    smooth = cv2.bilateralFilter(luminance[..., 0], -1, _TEXTURE, _TEXTURE_SIZE)
    around = np.ones((3, 3), np.uint8)
    unlike = cv2.morphologyEx(smooth, cv2.MORPH_GRADIENT, around).astype(np.float64) / _BUSY
    guess = _GUESS + _GUESS_IF_BUSY * (1.0 - np.exp(-0.5 * unlike * unlike))
    payment = np.where(is_hint, _HINT, guess)
    # Symmetric and positive: no pivoting, and half as much fills in.
    factors = splu(
        _matrix(smooth.astype(np.float64), payment),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    change = wanted - chroma.astype(np.float64)
    asked = _HINT * np.concatenate([change, np.ones_like(change[..., :1])], axis=-1)
    asked[~is_hint] = 0.0
    found = factors.solve(asked.reshape(-1, 3)).reshape(asked.shape)
    reached = np.maximum(found[..., 2:], _LEAST_LINK)
    share = np.clip((reached - _NONE) / (_ALL - _NONE), 0.0, 1.0)
    share *= share * (3.0 - 2.0 * share)
    return (share * found[..., :2] / reached).astype(np.float32)


def _matrix(luminance: np.ndarray, payment: np.ndarray) -> Any:
    """What all pairs of neighbours and all pixels pay, as a sparse matrix of SciPy."""
    from scipy.sparse import diags_array

    width = luminance.shape[1]

    def links(axis):
        found = np.zeros(luminance.shape)
        unlike = np.diff(luminance, axis=axis) / _LIKE
        inside = (slice(None),) * axis + (slice(-1),)
        found[inside] = np.exp(-0.5 * unlike * unlike) + _LEAST_LINK
        return found.ravel()

    right, down = links(1), links(0)
    total = payment.ravel() + right + down
    total[1:] += right[:-1]
    total[width:] += down[:-width]
    diagonals = [-down[:-width], -right[:-1], total, -right[:-1], -down[:-width]]
    return diags_array(diagonals, offsets=[-width, -1, 0, 1, width]).tocsc()


def _as_hint(value: Any) -> Hint:
    if isinstance(value, Hint):
        return value
    if not isinstance(value, Mapping):
        raise TypeError(
            'A hint must be a JSON object such as {"color": "#b01e1e", "points": [[312, 205]]}. '
            f"Received: {value!r:.60}."
        )
    unknown = sorted(set(value) - _KEYS)
    missing = sorted({"color", "points"} - set(value))
    if unknown or missing:
        raise ValueError(
            "A hint has a color and points, and may have a width. Received: "
            f"{', '.join(map(repr, value)) or 'nothing'}. "
            + (f"Leave {unknown[0]!r} out." if unknown else f"Add {missing[0]!r}.")
        )
    return Hint(value["color"], value["points"], value.get("width", 0.0))


def _as_color(value: Any) -> tuple[int, int, int]:
    if isinstance(value, str) and re.fullmatch("#[0-9a-fA-F]{6}", value):
        red, green, blue = bytes.fromhex(value[1:])
        return red, green, blue
    if not isinstance(value, str) and isinstance(value, Iterable):
        parts = list(value)
        is_whole = all(_is_number(part) and part == int(part) for part in parts)
        if len(parts) == 3 and is_whole and all(0 <= part <= 255 for part in parts):
            return int(parts[0]), int(parts[1]), int(parts[2])
    raise ValueError(
        "The colour of a hint must be #rrggbb, or three whole numbers from 0 to 255. Received: "
        f"color={value!r:.60}."
    )


def _as_points(value: Any) -> tuple[tuple[float, float], ...]:
    try:
        places = [tuple(point) for point in value]
        right = all(len(place) == 2 and all(map(_is_number, place)) for place in places)
    except TypeError:
        right, places = False, []
    if not right or not places or not np.isfinite(np.array(places, np.float64)).all():
        raise ValueError(
            "The points of a hint must be pairs [x, y] of pixels, one or more. Received: "
            f"points={value!r:.60}."
        )
    return tuple((float(x), float(y)) for x, y in places)


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool | np.bool_)
