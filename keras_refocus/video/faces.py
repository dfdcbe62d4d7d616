"""Faces of a frame found, and made unrecognisable in all of its planes."""

from typing import Any

import numpy as np

from keras_refocus.video import frames


def detect(frame: Any) -> np.ndarray:
    """Find the faces in a frame: boxes as `pictures.faces.detect` gives them."""
    # Its detector brings TensorFlow; nobody pays for it who does not ask for it.
    from keras_refocus.pictures import faces as pictures_faces

    return pictures_faces.detect(frame.reformat(format="rgb24").to_ndarray())


def anonymize(frame: Any, layout: frames.Layout, boxes: np.ndarray) -> Any:
    """Make what lies in boxes unrecognisable, for good.

    Args:
        frame: In planes; it is left as it is.
        layout: Of the clip.
        boxes: Left, top, width and height in pixels.

    Returns:
        The frame if there are no boxes, else a new one.
    """
    from keras_refocus.pictures import faces as pictures_faces

    if not len(boxes):
        return frame
    result = frames.copied(frame)
    for plane in range(len(result.planes)):
        samples = frames.view(result, plane)
        ratio = np.array([samples.shape[1] / frame.width, samples.shape[0] / frame.height] * 2)
        # Three channels are what a picture has there.
        stacked = np.repeat(samples[..., np.newaxis], 3, axis=-1)
        samples[...] = pictures_faces.anonymize(stacked, boxes * ratio)[..., 0]
    return result
