"""Where one shot ends and the next begins, so that nothing is carried over a cut.

Two frames, made small, are compared after the second was brought into place by optical flow: what
flow cannot explain, in standard deviations of the frame, is 0.8 to 1.5 at cuts and stays below
0.25 elsewhere, fast pans included.
"""

import cv2
import numpy as np

from keras_refocus.pictures import color
from keras_refocus.video import optical_flow

# Width and height of the frames that are compared, in pixels.
_SIZE = (160, 96)

#: Score from which two frames belong to different scenes.
THRESHOLD = 0.5

# Contrast of frames that have hardly any, as fades to black: differences of a code are no cut.
_LOWEST_CONTRAST = 0.02


def shrink(luma: np.ndarray) -> np.ndarray:
    """Make a frame small enough to compare.

    Args:
        luma: Array of shape (height, width), float32 in [0, 1].

    Returns:
        uint8 array of shape (96, 160).
    """
    return optical_flow.as_bytes(cv2.resize(luma, _SIZE, interpolation=cv2.INTER_AREA))


def scene_score(first: np.ndarray, second: np.ndarray) -> float:
    """Measure how little of a frame another one explains.

    Args:
        first: A frame as `shrink` gives it.
        second: The next frame.

    Returns:
        Mean difference after warping, over the standard deviation of the first frame or the second,
        whichever is larger.
    """
    motion = optical_flow.estimate(first, second, "ultrafast")
    one, other = color.to_float(first), color.to_float(second)
    difference = float(np.abs(optical_flow.warp(other, motion) - one).mean())
    contrast = max(float(one.std()), float(other.std()))
    return difference / max(contrast, _LOWEST_CONTRAST)


def is_cut(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether two small frames belong to different scenes."""
    return scene_score(first, second) >= THRESHOLD
