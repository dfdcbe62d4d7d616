"""Frames that were restored one by one made steady, and sharper, by their neighbours.

Blur changes from frame to frame, and so does what a restorer makes of it: the result flickers.
Neighbouring results, brought into place by optical flow, are averaged into each frame, the sharper
ones with more weight:

    W_k  = neighbour k = t-2, t-1, t+1, t+2 warped by the flow between restored frames
    w_k  = exp(-(|Gauss3(R_t - W R_k)| / 0.15)^2) * mask * clip(W q_k / q_t, 0.05, 20)
    q    = Gauss12(|grad I|^2) of the input
    mask : forward-backward error < 2 + 0.05 |flow| pixels
    F    = (R_t + sum_k w_k W R_k) / (1 + sum_k w_k)
    e    = Gauss8((R_t - I_t)^2);  out = R_t + e / (e + s0^2) (F - R_t)

I is the input and R the restored frame. The last line is a gate: where the restorer changed
nothing, nothing is averaged, and sharp clips stay as they are.

The window is finite. Five frames decide about one, so memory is constant and a clip can be cut into
segments anywhere with two frames of overlap: the result is the same to the last bit.
"""

import dataclasses
from collections.abc import Mapping

import cv2
import numpy as np

from keras_refocus.video import optical_flow

#: Frames on each side that take part.
REACH = 2

# Change by the restorer (RMS, of the range) at which half of the fusion is taken.
_GATE = 0.022

# Difference to a warped neighbour that is taken for another thing.
_DISSIMILAR = 0.15

# Standard deviations of the Gaussians, in pixels.
_SIMILARITY_SIGMA, _GATE_SIGMA, _SHARPNESS_SIGMA = 3.0, 8.0, 12.0

# Wide Gaussians are computed on a picture this many times smaller.
_SHRINK = 4

# Squared gradient below which sharpness means nothing: that of noise of one code of 8 bits.
_FLAT = 1e-5


@dataclasses.dataclass
class Steadied:
    """What is kept of a frame while it takes part.

    Attributes:
        before: Its input luma, float32 of shape (height, width).
        restored: Its luma as restored alone.
        sharpness: Of the input, at a quarter of the size.
    """

    before: np.ndarray
    restored: np.ndarray
    sharpness: np.ndarray


def prepare(before: np.ndarray, restored: np.ndarray) -> Steadied:
    """Measure of a frame what fusion needs.

    Args:
        before: Luma of the input, float32 of shape (height, width) in [0, 1].
        restored: Luma of the same frame restored alone.
    """
    return Steadied(before, restored, _sharpness(before))


def fuse(
    center: Steadied,
    neighbours: Mapping[int, Steadied],
    flows: Mapping[int, tuple[np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Fuse a frame with its neighbours.

    Args:
        center: The frame.
        neighbours: Those of its neighbours that are of the same scene, by their distance: -2, -1,
            1 and 2, or some of these.
        flows: For each of them the flow from the frame to the neighbour and the one back.

    Returns:
        Luma, float32 of shape (height, width) in [0, 1]; the frame's own restored luma if it has
        no neighbours.
    """
    if not neighbours:
        return center.restored
    restored = center.restored
    total = np.zeros_like(restored)
    weights = np.ones_like(restored)
    own_sharpness = _enlarged(center.sharpness, restored.shape)
    for distance in sorted(neighbours):
        neighbour = neighbours[distance]
        there, back = flows[distance]
        difference = optical_flow.warp(neighbour.restored, there)
        difference -= restored
        weight = _weight(difference, neighbour, own_sharpness, there, back)
        # The sum of differences: where all agree, nothing is added to the frame, not even a
        # rounding error.
        difference *= weight
        total += difference
        weights += weight
    total /= weights
    total *= _gate(restored - center.before)
    total += restored
    return np.clip(total, 0.0, 1.0, out=total)


def _weight(difference, neighbour, own_sharpness, there, back):
    # Of the signed difference: what a sharper neighbour has more of is detail, and averages out.
    distance = cv2.GaussianBlur(difference, (0, 0), _SIMILARITY_SIGMA)
    distance *= 1 / _DISSIMILAR
    np.square(distance, out=distance)
    weight = cv2.exp(-distance)
    # Blur makes flow less exact than on sharp frames, so a little more error is let through.
    weight *= optical_flow.consistency(there, back, pixels=2.0, share=0.05)
    sharpness = optical_flow.warp(_enlarged(neighbour.sharpness, weight.shape), there)
    sharpness /= own_sharpness
    weight *= np.clip(sharpness, 0.05, 20.0, out=sharpness)
    return weight


def _gate(change: np.ndarray) -> np.ndarray:
    """How much of the fusion is taken, 0 to 1, where the restorer changed a frame by this."""
    energy = _wide_blur(np.square(change), _GATE_SIGMA)
    gate = energy / (energy + _GATE**2)
    return np.clip(_enlarged(gate, change.shape), 0.0, 1.0)


def _sharpness(plane: np.ndarray) -> np.ndarray:
    across = cv2.Sobel(plane, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8)
    down = cv2.Sobel(plane, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8)
    return _wide_blur(across * across + down * down, _SHARPNESS_SIGMA) + np.float32(_FLAT)


def _wide_blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian of a plane, at a quarter of its size."""
    height, width = plane.shape
    size = (max(width // _SHRINK, 1), max(height // _SHRINK, 1))
    small = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return cv2.GaussianBlur(small, (0, 0), sigma / _SHRINK, borderType=cv2.BORDER_REPLICATE)


def _enlarged(plane: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
