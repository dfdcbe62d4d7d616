"""How camera and objects move during an exposure: paths, homographies, and when to look.

Complex numbers are points of the image plane: x + iy. A motion is an array (points, 3, 3) of
homographies, evenly spaced in time, from the scene to the sensor in pixels about the centre of the
window.

References:
    Boracchi and Foi, "Modeling the performance of image restoration from motion blur", 2012 (path).
    Kupyn et al., "DeblurGAN", 2018 (impulsive random walk).
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from keras_refocus.blur.settings import PATH_KINDS, ExposureSettings, log_uniform

PATH_POINTS = 65  # odd: the middle of the exposure is one of the points
_MAX_SUBFRAMES = 64
_KERNEL_POINTS = 2048  # of a path as it is drawn into a kernel
_LONG_STEP = 1.6  # pixels between two sub-frames of a long path
NO_MOTION = np.repeat(np.eye(3)[None], 2, axis=0)


# Paths


def path_points(exposures: float) -> int:
    """Points of a path that lasts as long as so many exposures: odd, so that one is the middle."""
    return 2 * round((PATH_POINTS // 2) * exposures) + 1


def unit_path(kind: str, rng: np.random.Generator, exposures: float = 1.0) -> np.ndarray:
    """Draw a path of complex points: zero in the middle, extent 1 during one exposure.

    Of a path that goes on for several exposures, the median of their extents is 1.
    """
    count = path_points(exposures)
    time = np.linspace(-0.5 * exposures, 0.5 * exposures, count)
    heading = np.exp(2j * np.pi * rng.random())
    if kind == "linear":
        # mostly constant speed, sometimes braking
        path = heading * (time + rng.uniform(-0.4, 0.4) * time**2)
    elif kind == "curved":
        turn = rng.uniform(0.1, 1.6) * rng.choice((-1, 1))
        path = heading * np.exp(1j * turn * time) / (1j * turn)
        path = path * (1 + rng.uniform(-0.5, 0.5) * time)
    elif kind == "shake":
        path = heading * rng.uniform(0.0, 1.0) * time
        for _ in range(3):
            cycles = rng.uniform(0.4, 2.0)
            phase = rng.uniform(0, 2 * np.pi, 2)
            swing = rng.normal(size=2) / (1 + cycles)
            path = path + swing[0] * np.sin(2 * np.pi * cycles * time + phase[0])
            path = path + 1j * swing[1] * np.sin(2 * np.pi * cycles * time + phase[1])
    else:
        path = _random_walk(rng, count)
    path = path - path[count // 2]
    starts = range(0, max(count - PATH_POINTS, 0) + 1, PATH_POINTS // 2)
    extents = []
    for start in starts:
        sparse = path[start : start + PATH_POINTS : 4]
        extents.append(np.abs(sparse[:, None] - sparse[None, :]).max())
    return path / max(np.median(extents), 1e-9)


def path_kernel(path: np.ndarray) -> np.ndarray:
    """Draw the kernel of a path: how much light each pixel next to it gets.

    Args:
        path: Complex points of the image plane, evenly spaced in time, in pixels.

    Returns:
        float32 array (side, side) of sum 1, its centre of mass in the middle to half a pixel.
    """
    time = np.linspace(0, 1, len(path))
    fine = np.linspace(0, 1, _KERNEL_POINTS)
    points = np.interp(fine, time, path.real) + 1j * np.interp(fine, time, path.imag)
    points = points - points.mean()
    reach = math.ceil(max(np.abs(points.real).max(), np.abs(points.imag).max())) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    x, y = points.real + reach, points.imag + reach
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    for right, across in ((0, left + 1 - x), (1, x - left)):
        for below, along in ((0, top + 1 - y), (1, y - top)):
            np.add.at(kernel, (top + below, left + right), across * along)
    return (kernel / kernel.sum()).astype(np.float32)


def _random_walk(rng, count):
    """Return an impulsive random walk with inertia (Boracchi and Foi 2012)."""
    inertia = rng.uniform(0.6, 1.0)
    anxiety = rng.uniform(0.02, 0.25)
    impulse = rng.uniform(0.0, 0.04)
    pull = rng.uniform(0.0, 0.5) / PATH_POINTS
    normals = rng.normal(size=(count, 2)).tolist()
    chances = rng.random(count).tolist()
    turns = np.exp(2j * np.pi * rng.random(count)).tolist()
    velocity, position = complex(turns[0]), 0j
    points = []
    for (a, b), chance, turn in zip(normals, chances, turns, strict=True):
        points.append(position)
        push = anxiety * complex(a, b) - pull * position
        if chance < impulse:
            push += 2 * abs(velocity) * turn
        velocity = inertia * velocity + (1 - inertia) * turn * 0.5 + push
        velocity /= max(abs(velocity), 1e-6)
        position += velocity
    return np.array(points)


def _draw_kind(settings, rng):
    weights = np.asarray(settings.path_weights, dtype=np.float64)
    return PATH_KINDS[rng.choice(len(PATH_KINDS), p=weights / weights.sum())]


# Motions


def _draw_transforms(settings, rng, size, length, exposures=1.0):
    """Draw the homographies that carry the anchor of the exposure to each moment of it.

    `exposures` is for how many exposures of that `length` the motion lasts.

    Returns:
        Array (points, 3, 3) in coordinates whose origin is the centre of the window.
    """

    def path(kind):
        points = unit_path(kind, rng, exposures)
        return points - points.mean() if settings.anchor == "mean" else points

    shift = length * path(_draw_kind(settings, rng))
    roll = np.deg2rad(rng.normal(0, settings.roll)) * path("shake").real
    scale = np.exp(rng.normal(0, settings.zoom) * path("linear").real)
    # A camera that moves along a slanted plane: translation grows linearly over the picture.
    tilt = rng.normal(0, settings.tilt, 2) / (0.5 * max(size))
    focal = rng.uniform(600.0, 2000.0)  # pixels; camera rotation gives slight keystone
    x, y = shift.real, shift.imag
    transforms = np.empty((len(shift), 3, 3))
    transforms[:, 0, 0] = scale * np.cos(roll) + x * tilt[0]
    transforms[:, 0, 1] = -scale * np.sin(roll) + x * tilt[1]
    transforms[:, 0, 2] = x
    transforms[:, 1, 0] = scale * np.sin(roll) + y * tilt[0]
    transforms[:, 1, 1] = scale * np.cos(roll) + y * tilt[1]
    transforms[:, 1, 2] = y
    transforms[:, 2, 0] = -x / focal**2
    transforms[:, 2, 1] = -y / focal**2
    transforms[:, 2, 2] = 1
    return transforms


def _draw_object_motion(camera, settings, rng, size, lengths, exposures):
    """Draw the motion of an object on the sensor, given the camera's."""
    if rng.random() < 0.5:
        # at another distance: the same path, longer or shorter (-1: the camera follows the object)
        shift = camera[:, :2, 2] * rng.uniform(-1.2, 1.5)
        own = np.repeat(np.eye(3)[None], len(camera), axis=0)
        own[:, :2, 2] = shift
    else:
        own = _draw_transforms(settings, rng, size, log_uniform(rng, lengths), exposures)
    return own @ camera


def draw_motions(
    settings: ExposureSettings,
    rng: np.random.Generator,
    size: tuple[int, int],
    lengths: Sequence[float],
    exposures: float = 1.0,
) -> list[np.ndarray]:
    """Draw the camera's motion and those of the objects, which last for so many exposures."""
    motions = [_draw_transforms(settings, rng, size, log_uniform(rng, lengths), exposures)]
    weights = np.asarray(settings.layers, dtype=np.float64)
    for _ in range(rng.choice(len(weights), p=weights / weights.sum())):
        motions.append(_draw_object_motion(motions[0], settings, rng, size, lengths, exposures))
    return motions


def check_transforms(transforms: np.ndarray) -> np.ndarray:
    transforms = np.asarray(transforms, dtype=np.float64)
    if transforms.ndim != 3 or transforms.shape[1:] != (3, 3) or len(transforms) < 2:
        raise ValueError(
            f"`transforms` must have the shape (points, 3, 3) with at least two points. "
            f"Received: shape={transforms.shape}."
        )
    return transforms


# Tracks of points, and moments


def window_corners(size: tuple[int, int]) -> np.ndarray:
    h, w = size[0] / 2, size[1] / 2
    return np.array([[0.0, 0.0], [-w, -h], [w, -h], [-w, h], [w, h]])


def corner_tracks(transforms: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return where centre and corners of the window go: array (points, 5, 2), pixels."""
    corners = window_corners(size)
    moved = transforms @ np.concatenate([corners, np.ones((5, 1))], axis=1).T
    return np.moveaxis(moved[:, :2] / moved[:, 2:], 2, 1)


def interpolate(transforms: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Interpolate homographies at `times` in [0, 1] of the exposure."""
    place = np.clip(np.asarray(times, dtype=np.float64), 0, 1) * (len(transforms) - 1)
    low = np.minimum(place.astype(int), len(transforms) - 2)
    part = (place - low)[:, None, None]
    return transforms[low] * (1 - part) + transforms[low + 1] * part


def _subframe_times(tracks):
    """Choose moments at equal steps of the longest track, weighted by the time spent around them.

    Returns:
        times in [0, 1] and weights that sum to 1.
    """
    steps = np.sqrt((np.diff(tracks, axis=0) ** 2).sum(-1)).max(1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    length = travelled[-1]
    # A comb of impulses d pixels apart repeats its spectrum at 1/d: below two pixels nothing that
    # repeats falls into the picture's own band, so long paths may take longer steps.
    count = length if length < 8 else 8 + (length - 8) / _LONG_STEP
    count = int(min(max(math.ceil(count), 2), _MAX_SUBFRAMES))
    time = np.linspace(0, 1, len(travelled))
    # a rest does not travel: a small ramp keeps the function invertible
    travelled = travelled + 1e-6 * max(length, 1e-3) * time
    edges = np.interp(np.linspace(0, travelled[-1], count + 1), travelled, time)
    return (edges[1:] + edges[:-1]) / 2, np.diff(edges)


def draw_schedule(
    kind: str, tracks: np.ndarray, settings: ExposureSettings, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return when the scene is sampled, with what weights, and the interpolation that takes.

    Bilinear sampling costs a seventh of cubic; it takes enough samples that its loss can be made
    good in the mean.
    """
    if kind == "still":
        return np.array([0.5]), np.array([1.0]), cv2.INTER_LINEAR
    tracks = np.concatenate(tracks, axis=1)
    if kind == "continuous":
        times, weights = _subframe_times(tracks)
        few = len(times) <= 4
    else:
        count = int(rng.integers(settings.frame_count[0], settings.frame_count[1] + 1))
        duty = rng.uniform(0, settings.frame_duty)
        times, weights = _frame_times(tracks, count, duty)
        few = len(times) == count
    return times, weights, cv2.INTER_CUBIC if few else cv2.INTER_LINEAR


def split_into_parts(
    times: np.ndarray, weights: np.ndarray, parts: int, *, continuous: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give each of `parts` equal parts of an exposure its share of the moments.

    A moment stands for a stretch of the exposure as long as its weight. Where the motion is
    continuous, stretches are cut where parts meet, so that each part has a moment of its own at
    least; a frame that was recorded whole stays one moment, which belongs to all parts it lies in.

    Args:
        times: Array (moments,) in [0, 1], rising.
        weights: Array (moments,) that sums to 1.
        parts: How many parts there are.
        continuous: Whether the scene may be looked at in moments other than `times`.

    Returns:
        Tuple `(times, weights, shares)`: the moments, their weights, and an array (moments, parts)
        of what each gives to each part; every column sums to 1 / parts.
    """
    borders = np.linspace(0, 1, parts + 1)
    edges = np.concatenate([[0.0], np.cumsum(weights)])
    edges[-1] = 1.0
    if continuous:
        edges = np.union1d(edges, borders)
        # What rounding left between two borders that are the same is no stretch.
        edges = edges[np.concatenate([[True], np.diff(edges) > 1e-9])]
        edges[-1] = 1.0
        times, weights = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    low = np.maximum(edges[:-1, None], borders[None, :-1])
    high = np.minimum(edges[1:, None], borders[None, 1:])
    return times, weights, np.maximum(high - low, 0.0)


def subframe_times(
    transforms: Sequence[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Moments of a continuous exposure for motions as arrays (points, 3, 3), and their weights."""
    tracks = [corner_tracks(motion, size) for motion in transforms]
    return _subframe_times(np.concatenate(tracks, axis=1))


def _frame_times(tracks, count, duty):
    """Moments of `count` frames at equal distances, each exposed for the share `duty` of its slot.

    Frames that move more than a pixel while they are exposed are split into up to four moments.
    """
    steps = np.sqrt((np.diff(tracks, axis=0) ** 2).sum(-1)).sum(0).max()
    split = int(min(max(math.ceil(duty * steps / count), 1), 4))
    within = (np.arange(split) + 0.5) / split - 0.5
    slots = (np.arange(count) + 0.5) / count
    times = (slots[:, None] + within * duty / count).ravel()
    return times, np.full(times.size, 1 / times.size)
