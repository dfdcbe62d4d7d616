"""Photos made to look like old prints: what film saw, and what time did to it.

A colorizer that is trained on photos of today has never seen a white sky over dark lips, paper that
has faded, or a frame. These are made from photos with a random generator, for training and for
measuring; the same generator gives the same print. They are drawn from what is known of the
processes, not fitted to a collection of prints:

* what light counts: from plates that hardly see red (orthochromatic, sold until the 1940s), and
  little but blue (before 1880), to panchromatic film, in linear light;
* soft focus, darkened corners;
* a dark, a harsh or a flat curve, and fading, which lifts the blacks and greys the whites;
* grain, coarser than that of a sensor;
* a paper border, scratches and dust.

Luminance in, luminance out: everything is done in CIELAB L* / 100.
"""

import dataclasses

import cv2
import numpy as np

from keras_refocus.pictures import color

# Weights of red, green and blue light: the eye's, those of an orthochromatic plate, and of one that
# sees blue.
_PANCHROMATIC = np.array([0.30, 0.50, 0.20])
_ORTHOCHROMATIC = np.array([0.02, 0.48, 0.50])
_BLUE_SENSITIVE = np.array([0.0, 0.12, 0.88])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Aging:
    """How often what happens to a print; each a chance from 0 to 1.

    Attributes:
        film: Light counts as a random film sees it, rather than as the eye does.
        soft: Soft focus.
        vignette: Dark corners.
        curve: A dark or a harsh curve, in equal parts.
        grain: Grain.
        fade: Fading.
        border: A paper border, over the outermost part of the picture.
        scratches: Scratches and dust.

    Raises:
        ValueError: One is no chance.
    """

    film: float = 1.0
    soft: float = 0.3
    vignette: float = 0.3
    curve: float = 0.5
    grain: float = 0.6
    fade: float = 0.5
    border: float = 0.3
    scratches: float = 0.3

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not 0.0 <= getattr(self, field.name) <= 1.0:
                raise ValueError(
                    f"`{field.name}` must be in [0, 1]. "
                    f"Received: {field.name}={getattr(self, field.name)}."
                )


def age(rgb: np.ndarray, rng: np.random.Generator, aging: Aging | None = None) -> np.ndarray:
    """Make the old print of a photo.

    Args:
        rgb: Array of shape (height, width, 3), sRGB: uint8, uint16, or float in [0, 1].
        rng: NumPy random generator.
        aging: What may happen; by default everything.

    Returns:
        Luminance of shape (height, width, 1), float32 in [0, 1].
    """
    aging = aging or Aging()
    happens = {
        field.name: rng.random() < getattr(aging, field.name) for field in dataclasses.fields(aging)
    }
    weights = film_weights(rng)
    if happens["film"]:
        plane = color.film_luminance(rgb, weights)[..., 0]
    else:
        plane = color.rgb_to_luminance(rgb)[..., 0]
    # In the order in which it happens; each draws from a generator of its own, so that what one of
    # them draws does not change the others.
    for name, step in _STEPS.items():
        own = np.random.default_rng(rng.integers(2**63))
        if happens[name]:
            plane = step(plane, own)
    return np.clip(plane, 0.0, 1.0).astype(np.float32)[..., np.newaxis]


def film_weights(rng: np.random.Generator) -> np.ndarray:
    """Draw how much red, green and blue light count for a film, from the blue plate to the eye."""
    place = 2.0 * rng.random()
    if place < 0.5:  # a quarter of them
        return _between(_BLUE_SENSITIVE, _ORTHOCHROMATIC, 2.0 * place)
    return _between(_ORTHOCHROMATIC, _PANCHROMATIC, (place - 0.5) / 1.5)


def _between(one, other, share):
    return one + share * (other - one)


def _soften(plane, rng):
    # Of a picture of 256 pixels half a pixel to two; of a larger one as much of what it shows.
    scale = min(plane.shape) / 256
    return cv2.GaussianBlur(plane, (0, 0), rng.uniform(0.5, 2.0) * max(scale, 0.5))


def _darken_corners(plane, rng):
    height, width = plane.shape
    y = np.linspace(-1.0, 1.0, height)[:, None] - rng.uniform(-0.3, 0.3)
    x = np.linspace(-1.0, 1.0, width)[None] - rng.uniform(-0.3, 0.3)
    return plane * (1.0 - rng.uniform(0.1, 0.4) * np.minimum((x * x + y * y) / 2.0, 1.5))


def _bend(plane, rng):
    if rng.random() < 0.5:  # dark: underexposed, or copied too often
        return rng.uniform(0.35, 1.0) * plane ** rng.uniform(1.0, 1.8)
    steepness, middle = rng.uniform(5.0, 10.0), rng.uniform(0.4, 0.6)
    low, high = (1.0 / (1.0 + np.exp(-steepness * (end - middle))) for end in (0.0, 1.0))
    return (1.0 / (1.0 + np.exp(-steepness * (plane - middle))) - low) / (high - low)


def _add_grain(plane, rng):
    grain = rng.normal(0.0, 1.0, plane.shape)
    grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.3, 1.2))
    # Most in the middle tones, as of silver.
    amount = rng.uniform(0.01, 0.06) * (0.3 + 2.8 * plane * (1.0 - plane))
    return plane + amount * grain / max(grain.std(), 1e-6)


def _fade(plane, rng):
    black, white = rng.uniform(0.1, 0.55), rng.uniform(0.7, 0.97)
    return black + (max(white, black + 0.2) - black) * plane


def _frame(plane, rng):
    """Cover the margins with paper."""
    height, width = plane.shape
    paper = rng.uniform(0.8, 1.0) if rng.random() < 0.85 else rng.uniform(0.0, 0.15)
    share = rng.uniform(0.02, 0.12)
    sides = [max(1, round(share * rng.uniform(0.7, 1.4) * side)) for side in (height, width) * 2]
    top, left, bottom, right = sides
    framed = np.full_like(plane, paper)
    inner = np.s_[top : max(height - bottom, top), left : max(width - right, left)]
    framed[inner] = plane[inner]
    return framed


def _scratch(plane, rng):
    height, width = plane.shape
    scratched = np.ascontiguousarray(plane, np.float32)
    for _ in range(int(rng.integers(1, 8))):
        start = rng.uniform(0.0, 1.0, 2) * (width, height)
        along = rng.normal(0.0, 1.0, 2) * (0.05 * width, 0.5 * height)
        ends = [tuple(int(number) for number in end) for end in (start, start + along)]
        shade = rng.uniform(0.75, 1.0) if rng.random() < 0.7 else rng.uniform(0.0, 0.2)
        cv2.line(scratched, *ends, float(shade), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 20))):
        place = tuple(int(number) for number in rng.uniform(0.0, 1.0, 2) * (width, height))
        cv2.circle(scratched, place, int(rng.integers(0, 3)), float(rng.uniform(0.6, 1.0)), -1)
    return scratched


_STEPS = {
    "soft": _soften,
    "vignette": _darken_corners,
    "curve": _bend,
    "grain": _add_grain,
    "fade": _fade,
    "border": _frame,
    "scratches": _scratch,
}
