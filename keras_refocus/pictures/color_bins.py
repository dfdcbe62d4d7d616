"""Colours as classes: a grid of chroma, the class weights that favour rare colours, soft targets.

The a*b* plane is quantised with a step of 10 (Zhang, Isola and Efros, "Colorful Image
Colorization", ECCV 2016). Kept are the points of the grid within 13.5 units of a colour of sRGB.
These are 313, as many as in the paper, whose own list is not used; the two may differ at the rim,
where photos have no colours. Each colour of sRGB has its four neighbours among them.
"""

import functools

import numpy as np

from keras_refocus.pictures import color
from keras_refocus.pictures.color import Tensor

COUNT = 313
# The layer that gives the logits of the classes, in every network that has them.
LOGITS = "color_logits"
# Ten units of a* or b*, of which one of chroma has 110; see `color`.
STEP = 1.0 / 11.0
_REACH = 1.35  # Steps from the gamut.
_RIM = 13  # The square grid runs over -13 .. 13 steps in both directions; sRGB ends at 10.8.
_SIDE = 2 * _RIM + 1
_SURFACE = 64  # Samples along an edge of the sRGB cube, whose surface bounds its colours.


@functools.cache
def centers() -> np.ndarray:
    """Chroma of the classes.

    Returns:
        float32 array of shape `(313, 2)`, in [-1.2, 1.2]; the rim lies outside sRGB. Not to be
        changed.
    """
    return _kept_points().astype("float32") * np.float32(STEP)


@functools.cache
def _kept_points():
    """Grid points near sRGB, in steps of the grid: integers of shape `(313, 2)`."""
    edge = np.linspace(0.0, 1.0, _SURFACE, dtype="float32")
    first, second = (side.ravel() for side in np.meshgrid(edge, edge))
    faces = [
        np.insert(np.stack([first, second], axis=1), axis, value, axis=1)
        for axis in range(3)
        for value in (0.0, 1.0)
    ]
    _, chroma = color.rgb_to_lab(np.concatenate(faces))
    surface = np.unique(np.round(chroma / STEP, 2), axis=0)
    steps = np.arange(-_RIM, _RIM + 1)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    near = [np.square(surface - point).sum(axis=1).min() <= _REACH**2 for point in grid]
    return grid[near]


@functools.cache
def _class_of_cell():
    """Class of each point of the square grid, row by row; the nearest where there is none."""
    kept = _kept_points()
    steps = np.arange(-_RIM, _RIM + 1)
    grid = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    return np.square(grid - kept).sum(axis=-1).argmin(axis=1).astype("int32")


def neighbors(chroma: Tensor) -> tuple[Tensor, Tensor]:
    """Write each colour as a mixture of the four classes around it.

    Bilinear weights, so that the mixture's mean is the colour itself. Where we differ: the paper
    takes the five nearest classes with Gaussian weights.

    Args:
        chroma: Tensor of shape `(..., 2)`, float in [-1, 1].

    Returns:
        Tuple `(classes, weights)` of tensors of shape `(..., 4)`: int32, and float32 that sum to 1.
    """
    from keras import ops

    place = ops.cast(chroma, "float32") * (1.0 / STEP) + float(_RIM)
    place = ops.clip(place, 0.0, _SIDE - 1.001)
    low = ops.floor(place)
    part = place - low
    low = ops.cast(low, "int32")
    cells = low[..., 0] * _SIDE + low[..., 1]
    cells = ops.stack([cells, cells + 1, cells + _SIDE, cells + _SIDE + 1], axis=-1)
    a, b = part[..., 0], part[..., 1]
    weights = [(1.0 - a) * (1.0 - b), (1.0 - a) * b, a * (1.0 - b), a * b]
    return ops.take(_class_of_cell(), cells), ops.stack(weights, axis=-1)


def nearest(chroma: Tensor) -> Tensor:
    """Find the class of each colour.

    Args:
        chroma: Tensor of shape `(..., 2)`, float in [-1, 1].

    Returns:
        int32 tensor of shape `(...)`.
    """
    from keras import ops

    place = ops.round(ops.cast(chroma, "float32") * (1.0 / STEP)) + float(_RIM)
    place = ops.cast(ops.clip(place, 0.0, _SIDE - 1.0), "int32")
    return ops.take(_class_of_cell(), place[..., 0] * _SIDE + place[..., 1])


def histogram(chroma: Tensor) -> np.ndarray:
    """Count the colours of each class.

    Args:
        chroma: Array of shape `(..., 2)`, float in [-1, 1].

    Returns:
        float64 array of shape `(313,)`.
    """
    place = np.rint(np.asarray(chroma).reshape(-1, 2) / STEP).astype("int64") + _RIM
    place = np.clip(place, 0, _SIDE - 1)
    classes = _class_of_cell()[place[:, 0] * _SIDE + place[:, 1]]
    return np.bincount(classes, minlength=COUNT).astype("float64")


def rarity(counts: np.ndarray, *, uniform: float = 0.5, sigma: float = 0.5) -> np.ndarray:
    """Weigh each class by how rare it is (Zhang et al. 2016, equation 4).

    The share of each class in the training pictures, smoothed, is mixed with equal shares; the
    weight is the inverse, scaled so that the mean weight of the pictures' pixels is 1.

    Args:
        counts: Array of shape `(313,)`: how often each class occurs.
        uniform: Share of equal shares in the mixture, in (0, 1]; 1 gives every class the weight 1.
        sigma: Standard deviation of the Gaussian that smooths the shares, in steps; the paper has 5
            units of a* and b*, half a step.

    Returns:
        float32 array of shape `(313,)`.

    Raises:
        ValueError: If there is nothing to count, or `uniform` is outside (0, 1].
    """
    counts = np.asarray(counts, "float64")
    if counts.shape != (COUNT,) or not counts.sum() > 0:
        raise ValueError(
            f"`counts` must be {COUNT} counts that are not all zero. "
            f"Received: counts of shape {counts.shape}, sum {counts.sum()}."
        )
    if not 0.0 < uniform <= 1.0:
        raise ValueError(f"`uniform` must be in (0, 1]. Received: uniform={uniform}.")
    points = _kept_points().astype("float64")
    distances = np.square(points[:, None] - points[None]).sum(axis=-1)
    kernel = np.exp(-distances / (2.0 * sigma**2))
    # Each class spreads what it has: the sum stays 1.
    smooth = (kernel / kernel.sum(axis=0)) @ (counts / counts.sum())
    weights = 1.0 / ((1.0 - uniform) * smooth + uniform / COUNT)
    return (weights / (smooth * weights).sum()).astype("float32")
