"""Kernels of blur: made of a description or a picture, cleaned, centred and described.

A kernel is a float32 array (rows, columns) of sum 1, both sides odd. Its middle pixel stands for
light that stays where it is.
"""

import dataclasses
import math
import os
import pathlib

import cv2
import numpy as np

from keras_refocus.pictures import color, images

# Side in pixels of the largest kernel that is taken.
LARGEST = 95
# Places inside each pixel, per axis, at which a disk is looked up.
_SUPERSAMPLING = 16
# What of a kernel counts as its path, of its largest value.
_VISIBLE = 0.1
# Sigma in pixels of the smoothing after which a thread is whole, and what of its largest value is
# bright then.
_THREAD, _BRIGHT = 1.0, 0.1

_FORMS = "FILE.png, motion:LENGTH,ANGLE or disk:RADIUS"


@dataclasses.dataclass(frozen=True)
class Extent:
    """How far a kernel reaches.

    Attributes:
        length: Largest distance in pixels between two places of it, from the outer side of one to
            that of the other.
        direction: Of its longest axis, degrees in [0, 180): 0 is along rows, 90 along columns.
    """

    length: float
    direction: float


def motion_kernel(length: int, angle: float) -> np.ndarray:
    """Kernel of a straight, even motion.

    Args:
        length: Pixels that the motion covers, at least 1: as many places, one pixel apart, each
            shared by the pixels around it.
        angle: Direction in degrees: 0 is along rows, 90 along columns.

    Returns:
        float32 of shape (side, side), side odd, of sum 1.

    Raises:
        ValueError: The length is below 1.
    """
    if length < 1:
        raise ValueError(f"A motion covers at least 1 pixel. Received: length={length}.")
    reach = math.ceil((length - 1) / 2)
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    places = np.arange(length) - (length - 1) / 2
    direction = np.radians(angle)
    # Rounded, or a quarter turn would spill 1e-16 into the next column.
    rows = np.round(reach + 1 - places * np.sin(direction), 9)
    columns = np.round(reach + 1 + places * np.cos(direction), 9)
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    low, right = rows - top, columns - left
    for below, weight in ((0, 1 - low), (1, low)):
        for beside, share in ((0, 1 - right), (1, right)):
            np.add.at(kernel, (top + below, left + beside), weight * share)
    return _finished(kernel)


def disk_kernel(radius: float) -> np.ndarray:
    """Kernel of a lens out of focus: an even disk.

    Args:
        radius: In pixels, above 0. Pixels at the rim count by the part of them that is inside.

    Returns:
        float32 of shape (side, side), side odd, of sum 1.

    Raises:
        ValueError: The radius is not above 0.
    """
    if not radius > 0:
        raise ValueError(f"A disk has a radius above 0. Received: radius={radius}.")
    reach = math.ceil(radius)
    side = 2 * reach + 1
    places = (np.arange(side * _SUPERSAMPLING) + 0.5) / _SUPERSAMPLING - side / 2
    inside = places[:, np.newaxis] ** 2 + places**2 <= radius**2
    parts = inside.reshape(side, _SUPERSAMPLING, side, _SUPERSAMPLING)
    return _finished(parts.mean(axis=(1, 3)))


def _finished(values: np.ndarray) -> np.ndarray:
    """A kernel without empty borders, of sum 1."""
    while len(values) > 1 and not (values[[0, -1]].any() or values[:, [0, -1]].any()):
        values = values[1:-1, 1:-1]
    return (values / values.sum()).astype(np.float32)


def parse(text: str | os.PathLike) -> np.ndarray:
    """Make the kernel that somebody names.

    Args:
        text: `motion:LENGTH,ANGLE` in pixels and degrees, `disk:RADIUS` in pixels, or the name of a
            picture file whose light is the kernel: bright is much, black is nothing.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A number is out of range, or the file cannot be read, is black, or is too large.
    """
    kind, separator, rest = os.fspath(text).partition(":")
    numbers = rest.split(",")
    if separator and (kind, len(numbers)) in (("motion", 2), ("disk", 1)):
        try:
            values = [float(number) for number in numbers]
            made = motion_kernel(round(values[0]), values[1]) if kind == "motion" else None
            kernel = disk_kernel(values[0]) if made is None else made
        except (ValueError, OverflowError) as error:
            raise ValueError(
                f"A kernel must be {_FORMS}, in pixels and degrees. Received: '{text}' ({error}) "
                "Write motion:25,30, or disk:4."
            ) from error
    elif pathlib.Path(text).suffix:
        kernel = _of_picture(pathlib.Path(text))
    else:
        raise ValueError(
            f"A kernel must be {_FORMS}. Received: '{text}'. Write motion:25,30, or disk:4."
        )
    if max(kernel.shape) > LARGEST:
        raise ValueError(
            f"A kernel must be at most {LARGEST} pixels wide and high. Received: '{text}', "
            f"{kernel.shape[1]} x {kernel.shape[0]}. Make the picture smaller first."
        )
    return kernel


def _of_picture(path: pathlib.Path) -> np.ndarray:
    light = color.to_float(images.read(path).rgb).mean(-1)
    if max(light.shape) > LARGEST or not light.any():
        raise ValueError(
            f"The picture of a kernel must be at most {LARGEST} pixels wide and high, and not "
            f"black. Received: '{path}', {light.shape[1]} x {light.shape[0]}."
        )
    # Odd sides have a middle.
    light = np.pad(light, [(0, 1 - side % 2) for side in light.shape])
    return centred(light / light.sum())


def dot(side: int = 1) -> np.ndarray:
    """The kernel that blurs nothing; `side` is odd."""
    kernel = np.zeros((side, side), np.float32)
    kernel[side // 2, side // 2] = 1
    return kernel


def resized(kernel: np.ndarray, side: int) -> np.ndarray:
    """Draw a kernel larger or smaller, for another scale of the picture."""
    # Made smaller by other means than the mean, a thin path would have gaps.
    means = cv2.INTER_AREA if side < len(kernel) else cv2.INTER_CUBIC
    drawn = np.maximum(cv2.resize(kernel, (side, side), interpolation=means), 0)
    return drawn / drawn.sum()


def halved(kernel: np.ndarray) -> np.ndarray:
    """Draw a kernel for a picture of half the size; its middle stays the middle."""
    reach = max(kernel.shape) // 2
    # A multiple of four and one more: every second pixel, from the middle on, has a middle again.
    room = -(-reach // 2) * 2 + 1
    padded = np.pad(kernel, [(room - side // 2, room - side // 2) for side in kernel.shape])
    # The mean of a pixel and half of each neighbour is what a pixel twice as wide sees.
    soft = cv2.sepFilter2D(padded, -1, *[np.array([0.25, 0.5, 0.25], np.float32)] * 2)
    half = soft[1::2, 1::2]
    return half / half.sum()


def pruned(kernel: np.ndarray, *, faint: float = 0.0, island: float = 0.02) -> np.ndarray:
    """Leave out of a kernel what no path of a camera leaves.

    Args:
        kernel: Square, of any values.
        faint: Less than this share of the largest value is left out.
        island: What stands apart from the rest and holds less than this share of the sum is left
            out.
    """
    kernel = np.where(kernel >= faint * kernel.max(), np.maximum(kernel, 0), 0)
    count, labels = cv2.connectedComponents((kernel > 0).astype(np.uint8), connectivity=8)
    masses = np.bincount(labels.ravel(), kernel.ravel().astype(np.float64), minlength=count)
    masses[0] = 0
    kernel = np.where(masses[labels] >= min(island * masses.sum(), masses.max()), kernel, 0)
    return (kernel / kernel.sum()).astype(np.float32)


def centroid(kernel: np.ndarray) -> tuple[float, float]:
    """Centre of mass of a kernel, rows and columns from its middle pixel."""
    rows, columns = (np.arange(side) - side // 2 for side in kernel.shape)
    total = kernel.sum()
    return float(kernel.sum(1) @ rows / total), float(kernel.sum(0) @ columns / total)


def centred(kernel: np.ndarray) -> np.ndarray:
    """Move the centre of mass of a kernel to its middle pixel, by whole pixels.

    Where on its path the camera was when the picture "was taken" nothing tells. With this the
    restored picture lies where the blurred one does.
    """
    down, right = (round(value) for value in centroid(kernel))
    rows, columns = kernel.shape
    moved = np.zeros_like(kernel, np.float32)
    source = kernel[max(down, 0) : rows + min(down, 0), max(right, 0) : columns + min(right, 0)]
    moved[max(-down, 0) : rows + min(-down, 0), max(-right, 0) : columns + min(-right, 0)] = source
    return moved / moved.sum()


def trimmed(kernel: np.ndarray) -> np.ndarray:
    """Take off empty rows and columns, evenly around the middle."""
    reach = max(
        abs(place - side // 2)
        for side, used in zip(kernel.shape, (kernel.any(1), kernel.any(0)), strict=True)
        for place in np.flatnonzero(used)
    )
    middle = [side // 2 for side in kernel.shape]
    cuts = tuple(slice(max(m - reach, 0), m + reach + 1) for m in middle)
    return np.ascontiguousarray(kernel[cuts])


def extent(kernel: np.ndarray) -> Extent:
    """Measure how far a kernel reaches, and along which direction."""
    rows, columns = np.nonzero(kernel >= _VISIBLE * kernel.max())
    mass = kernel[rows, columns].astype(np.float64)
    x = columns - np.average(columns, weights=mass)
    y = np.average(rows, weights=mass) - rows  # upward, as angles are drawn
    points = np.stack([x, y], 1)
    hull = points if len(points) < 3 else cv2.convexHull(points.astype(np.float32))[:, 0]
    gaps = hull[:, np.newaxis] - hull
    length = float(np.hypot(gaps[..., 0], gaps[..., 1]).max()) + 1
    xx, yy, xy = (mass @ x**2, mass @ y**2, mass @ (x * y))
    direction = math.degrees(0.5 * math.atan2(2 * xy, xx - yy)) % 180
    return Extent(length=length, direction=direction)


def wholeness(kernel: np.ndarray) -> float:
    """Say how much of a kernel hangs together: a camera leaves one path.

    What a search finds that has mistaken edges of the scene for the shake is in pieces.

    Returns:
        Share, 0 to 1, of the light that lies in the largest piece of what is left where it is
        bright, smoothed by about a pixel.
    """
    smooth = cv2.GaussianBlur(kernel, (0, 0), _THREAD, borderType=cv2.BORDER_CONSTANT)
    bright = (smooth >= _BRIGHT * smooth.max()).astype(np.uint8)
    count, labels = cv2.connectedComponents(bright, connectivity=8)
    masses = np.bincount(labels.ravel(), kernel.ravel().astype(np.float64), minlength=count)
    return float(masses[1:].max() / masses.sum())


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Say how alike two kernels are: the maximum of their normalised cross-correlation.

    Hu and Yang, "Good regions to deblur", 2012.

    Returns:
        0 to 1; 1 for kernels that are the same but for a shift by whole pixels.
    """
    shape = tuple(a + b for a, b in zip(first.shape, second.shape, strict=True))
    one, two = (np.fft.rfft2(kernel.astype(np.float64), shape) for kernel in (first, second))
    correlation = np.fft.irfft2(one * np.conj(two), shape)
    norms = math.sqrt(float((first.astype(np.float64) ** 2).sum()))
    norms *= math.sqrt(float((second.astype(np.float64) ** 2).sum()))
    return float(correlation.max()) / norms


def picture(kernel: np.ndarray) -> np.ndarray:
    """Draw a kernel, white on black, pixel by pixel, as `parse` reads it.

    Returns:
        uint8 of shape (rows, columns, 3).
    """
    shown = color.from_float(kernel / kernel.max(), np.uint8)
    return np.repeat(shown[..., np.newaxis], 3, axis=2)
