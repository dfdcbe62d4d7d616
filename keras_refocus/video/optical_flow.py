"""Optical flow between two frames, warping along it, and where it can be trusted.

Flow is DIS (Kroeger, Timofte, Dai and Van Gool, "Fast Optical Flow using Dense Inverse Search",
arXiv:1603.03590) as OpenCV has it. Its result depends on the number of threads that OpenCV uses, so
that is set to one where clips are restored (`single_thread`): runs are equal whatever else a
machine does, and several flows are computed at once instead.
"""

import threading
from typing import Any, Literal

import cv2
import numpy as np

from keras_refocus.pictures import color

Preset = Literal["ultrafast", "fast", "medium"]

_PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}

# Sides in pixels below which the pyramid of DIS has nothing to work on; smaller frames are enlarged
# by repeating their edge.
_SMALLEST = 64

_local = threading.local()


def single_thread() -> None:
    """Let OpenCV compute each call in the thread that makes it, in this process from now on."""
    cv2.setNumThreads(1)


def estimate(first: np.ndarray, second: np.ndarray, preset: Preset = "fast") -> np.ndarray:
    """Estimate where each pixel of one frame lies in another.

    Args:
        first: Array of shape (height, width), float32 in [0, 1] or uint8.
        second: The other frame, of the same shape and type.
        preset: Of DIS.

    Returns:
        float32 array of shape (height, width, 2): what to add to column and row of a pixel of
        `first` to find it in `second`.
    """
    height, width = first.shape
    below, right = max(_SMALLEST - height, 0), max(_SMALLEST - width, 0)
    pair = [
        np.pad(as_bytes(plane), ((0, below), (0, right)), mode="edge") for plane in (first, second)
    ]
    flow = _engine(preset).calc(pair[0], pair[1], None)
    return np.ascontiguousarray(flow[:height, :width])


def as_bytes(plane: np.ndarray) -> np.ndarray:
    """A plane in 8 bits, which is what DIS takes."""
    if plane.dtype == np.uint8:
        return np.ascontiguousarray(plane)
    return color.from_float(plane, np.uint8)


def warp(
    plane: np.ndarray, flow: np.ndarray, *, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """Fetch a frame along a flow.

    Args:
        plane: Array of shape (height, width) or (height, width, channels), float32.
        flow: Array of shape (rows, columns, 2), as `estimate(first, second)` gives it where
            `plane` is of `second`.
        interpolation: Of OpenCV.

    Returns:
        Array of the flow's height and width: `plane` as seen from `first`. Beyond the border the
        edge goes on.
    """
    columns, rows = grid(flow.shape[:2])
    return cv2.remap(
        plane,
        flow[..., 0] + columns,
        flow[..., 1] + rows,
        interpolation,
        borderMode=cv2.BORDER_REPLICATE,
    )


def consistency(
    forward: np.ndarray, backward: np.ndarray, *, pixels: float = 0.5, share: float = 0.02
) -> np.ndarray:
    """Say where a flow there and back again ends where it began.

    Args:
        forward: Flow from a first frame to a second, (height, width, 2).
        backward: Flow from the second to the first.
        pixels: Error that is let through.
        share: Of the length of the flow that is let through besides.

    Returns:
        Array of shape (height, width), float32: 1 where the error is below `pixels` + `share`
        |flow| and the place lies inside the frame, else 0.
    """
    there_and_back = forward + warp(backward, forward)
    error = np.hypot(there_and_back[..., 0], there_and_back[..., 1])
    length = np.hypot(forward[..., 0], forward[..., 1])
    mask = error < pixels + share * length
    mask &= inside(forward)
    return mask.astype(np.float32)


def inside(flow: np.ndarray) -> np.ndarray:
    """Say which pixels a flow leaves inside the frame: bool of shape (height, width)."""
    height, width = flow.shape[:2]
    columns, rows = grid((height, width))
    x, y = flow[..., 0] + columns, flow[..., 1] + rows
    return (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)


def grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Column and row numbers of a plane, float32, to be added to a flow."""
    height, width = shape
    columns = np.arange(width, dtype=np.float32)[np.newaxis, :]
    return columns, np.arange(height, dtype=np.float32)[:, np.newaxis]


def _engine(preset: Preset) -> Any:
    """The estimator of this thread: one cannot be shared."""
    engines = _local.__dict__.setdefault("engines", {})
    if preset not in engines:
        engines[preset] = cv2.DISOpticalFlow_create(_PRESETS[preset])
    return engines[preset]
