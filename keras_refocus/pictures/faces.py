"""Find faces in a picture and make them unrecognisable, for good.

    boxes = faces.detect(rgb)
    rgb = faces.anonymize(rgb, boxes)

Faces are found by MTCNN (Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment using
Multi-task Cascaded Convolutional Networks", arXiv:1604.02878), as the package `mtcnn` has it, whose
weights come with it. It misses faces: `refocus evaluate faces` counts how many on
a folder of photos.
"""

import functools
import importlib.resources
import math
import threading
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from keras_refocus.pictures import color

#: Faces are sought in a copy whose longer side is at most this many pixels.
WORKING_SIDE = 1600

#: Width in pixels of the smallest face that is sought, in that copy.
SMALLEST_FACE = 20

# A face that is missed is seen by strangers, a chair that is blurred is not missed: all three
# networks are asked to be less sure than the package's own thresholds (0.6, 0.7, 0.8).
_THRESHOLDS = {"threshold_pnet": 0.5, "threshold_rnet": 0.6, "threshold_onet": 0.6}

# What is blurred is an ellipse whose axes are those of the box times this: hair, ears, chin.
_MARGIN = 1.7

# The ellipse's box becomes a mosaic of this many cells a side; a face is about three of them wide.
_CELLS = 5

_lock = threading.Lock()


def detect(rgb: np.ndarray) -> np.ndarray:
    """Find the faces in a picture.

    If none is found the picture is turned by quarters too: scans often lie on their side.

    Args:
        rgb: Array of shape (height, width, 3), sRGB, uint8, uint16 or float32 in [0, 1].

    Returns:
        Array of shape (faces, 4), int64: left, top, width and height of each face in pixels, inside
        the picture; from the surest to the least sure.

    Raises:
        ImportError: The package `mtcnn` is not installed, or Keras does not run on TensorFlow.
        ValueError: The array has another shape.
    """
    _check_picture(rgb)
    detector = _detector()
    height, width = rgb.shape[:2]
    scale = min(1.0, WORKING_SIDE / max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = rgb if size == (width, height) else _resize(rgb, size, cv2.INTER_AREA)
    small = color.from_float(color.to_float(np.ascontiguousarray(small)), np.uint8)
    if min(size) < SMALLEST_FACE:
        return np.empty((0, 4), np.int64)
    with _lock:
        for quarters in range(4):
            boxes = _detect_upright(detector, np.ascontiguousarray(np.rot90(small, quarters)))
            if len(boxes):
                break
    boxes = _turned_back(boxes, quarters, width=size[0], height=size[1])
    # Outwards, so that rounding leaves nothing of a face out.
    ratio = np.array([width / size[0], height / size[1]])
    corners = np.concatenate(
        [np.floor(boxes[:, :2] * ratio), np.ceil((boxes[:, :2] + boxes[:, 2:]) * ratio)], axis=1
    )
    corners = np.clip(corners, 0, [width, height, width, height]).astype(np.int64)
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return boxes[(boxes[:, 2:] > 0).all(axis=1)]


def anonymize(rgb: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Make what lies in boxes, and a margin around them, unrecognisable.

    Each region is averaged down to a mosaic of 5 x 5 cells and enlarged again smoothly. What is
    left of a face are the means of about ten cells: no method brings back what is not there.

    Args:
        rgb: Array of shape (height, width, 3), uint8, uint16 or float32.
        boxes: Array of shape (faces, 4): left, top, width, height in pixels, as `detect` gives.

    Returns:
        A new array like `rgb`; outside the regions it is the same.

    Raises:
        ValueError: The array or the boxes have another shape.
    """
    _check_picture(rgb)
    boxes = np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            "The boxes must be an array of shape (faces, 4): left, top, width, height. "
            f"Received: shape={boxes.shape}."
        )
    blurred = np.array(rgb)
    for rows, columns, inside in _ellipses(rgb.shape[:2], boxes):
        region = blurred[rows, columns]
        region[inside] = _mosaic(region)[inside]
    return blurred


def covered(size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
    """Say which pixels `anonymize` would change.

    Args:
        size: `(height, width)` of the picture.
        boxes: As in `anonymize`.

    Returns:
        Array of shape `size`, bool.
    """
    mask = np.zeros(size, bool)
    for rows, columns, inside in _ellipses(size, boxes):
        mask[rows, columns] |= inside
    return mask


def _ellipses(
    size: tuple[int, int], boxes: np.ndarray
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Rows, columns and mask inside them of what is blurred for each box."""
    height, width = size
    for left, top, box_width, box_height in np.asarray(boxes, float):
        x, y = left + box_width / 2, top + box_height / 2
        half_width, half_height = box_width * _MARGIN / 2, box_height * _MARGIN / 2
        rows = slice(max(math.floor(y - half_height), 0), min(math.ceil(y + half_height), height))
        columns = slice(max(math.floor(x - half_width), 0), min(math.ceil(x + half_width), width))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            continue
        down = (np.arange(rows.start, rows.stop) + 0.5 - y) / half_height
        across = (np.arange(columns.start, columns.stop) + 0.5 - x) / half_width
        yield rows, columns, down[:, np.newaxis] ** 2 + across**2 <= 1.0


def _mosaic(region: np.ndarray) -> np.ndarray:
    """Average a region down to a few cells and enlarge them smoothly."""
    height, width = region.shape[:2]
    cells = _resize(region, (min(_CELLS, width), min(_CELLS, height)), cv2.INTER_AREA)
    return _resize(cells, (width, height), cv2.INTER_LINEAR)


def _resize(picture: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(picture), size, interpolation=interpolation)


def _check_picture(rgb: Any) -> None:
    if getattr(rgb, "ndim", 0) != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(
            "A picture must be an array of shape (height, width, 3), RGB. "
            f"Received: shape={getattr(rgb, 'shape', None)}."
        )


@functools.cache
def _detector() -> Any:
    """Load the networks, once."""
    try:
        from mtcnn import MTCNN
        from mtcnn.stages import StageONet, StagePNet, StageRNet
    except ImportError as error:
        raise ImportError(
            "Blurring faces needs a package that is not installed. "
            'Run: pip install "keras_refocus[app]"'
        ) from error
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ImportError(
            "Blurring faces needs Keras on TensorFlow. Received: "
            f"KERAS_BACKEND={keras.backend.backend()}. Unset KERAS_BACKEND."
        )
    # By a bare name the package would first look for its weights, which are pickled, in the
    # current folder, where a stranger's file of that name may lie.
    weights = importlib.resources.files("mtcnn.assets.weights")
    stages = {StagePNet: "pnet.lz4", StageRNet: "rnet.lz4", StageONet: "onet.lz4"}
    return MTCNN(stages=[stage(weights=str(weights / name)) for stage, name in stages.items()])


def _detect_upright(detector: Any, rgb: np.ndarray) -> np.ndarray:
    found = detector.detect_faces(rgb, min_face_size=SMALLEST_FACE, **_THRESHOLDS)
    found = sorted(found, key=lambda face: -face["confidence"])
    return np.array([face["box"] for face in found], np.float64).reshape(-1, 4)


def _turned_back(boxes: np.ndarray, quarters: int, *, width: int, height: int) -> np.ndarray:
    """Boxes found in a picture turned left by quarters, in the picture of this size itself."""
    left, top, box_width, box_height = boxes.T
    if quarters == 1:
        left, top = width - top - box_height, left
    elif quarters == 2:
        left, top = width - left - box_width, height - top - box_height
    elif quarters == 3:
        left, top = top, height - left - box_width
    if quarters % 2:
        box_width, box_height = box_height, box_width
    return np.stack([left, top, box_width, box_height], axis=1)
