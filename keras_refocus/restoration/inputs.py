"""What `Restorer.restore` takes: files, pictures of Pillow, arrays; or a sentence why not."""

import os
from typing import Any

import numpy as np
from PIL import Image

from keras_refocus.pictures import images

_TAKEN = (
    "a path, the content of a file, a picture of Pillow, or an array of shape (height, width, 3)"
)


def open_input(image: Any) -> tuple[np.ndarray, images.Photo | None]:
    """Give the pixels to restore, and the photo that they came in.

    Args:
        image: A path; bytes or a file object with the content of a file; a picture of Pillow; a
            `Photo`; or an array, or what numpy makes one of, as `Restorer.restore` takes it.

    Returns:
        Tuple `(source, photo)`: RGB of shape (height, width, 3) or grey of shape (height, width),
        uint8, uint16 or float32 in [0, 1]; and `None` if the input was an array.

    Raises:
        FileNotFoundError: The file does not exist.
        TypeError: It is something else, or an array of another type.
        ValueError: It cannot be read, has another shape or is out of range.
    """
    if isinstance(image, images.Photo):
        photo = image
    elif isinstance(image, Image.Image):
        photo = images.from_image(image)
    elif isinstance(image, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(
        image, "read"
    ):
        photo = images.read(image)
    else:
        return _checked(image), None
    return (photo.rgb[..., 0] if photo.is_gray else photo.rgb), photo


def _checked(image: Any) -> np.ndarray:
    """The array of a picture, or an error that says what a picture is."""
    array = np.asarray(image)
    if array.dtype.kind not in "buif":
        raise TypeError(f"A picture must be {_TAKEN}. Received: {type(image).__name__}.")
    if array.dtype.kind == "f":
        array = array.astype(np.float32, copy=False)
    # Arrays out of files may have the byte order of another machine.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype not in (np.uint8, np.uint16, np.float32):
        advice = (
            "Multiply it by 255 and convert it to uint8."
            if array.dtype.kind == "b"
            else "Convert it with .astype(np.uint8) if its values are from 0 to 255."
        )
        raise TypeError(
            "A picture must be of type uint8, uint16 or float. Received: "
            f"dtype={array.dtype}, shape={array.shape}. {advice}"
        )
    shape = array.shape
    if array.ndim == 3 and shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or 0 in shape or (array.ndim == 3 and shape[2] != 3):
        raise ValueError(
            "A picture must be of shape (height, width, 3), RGB, or (height, width) or (height, "
            f"width, 1), grey. Received: shape={shape}. {_advice_on(shape)}"
        )
    if array.dtype == np.float32:
        low, high = float(array.min()), float(array.max())
        if not (low >= 0 and high <= 1):
            advice = "Divide it by 255." if 0 <= low and 1 < high <= 255 else "Scale it first."
            raise ValueError(
                "A picture of type float must lie in [0, 1]. Received: values from "
                f"{low:g} to {high:g}, shape={shape}. {advice}"
            )
    return array


def _advice_on(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "It has no pixels."
    if len(shape) == 4:
        return "Give one picture at a time."
    if len(shape) == 3 and shape[0] in (1, 3):
        return "Put channels last: np.moveaxis(image, 0, -1)."
    if len(shape) == 3 and shape[2] in (2, 4):
        return "Take the alpha channel off: image[..., :-1]."
    return "Make it one of these."
