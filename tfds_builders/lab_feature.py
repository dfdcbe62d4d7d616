"""The feature that keeps Lab as an 8-bit PNG of three channels."""

import cv2
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_refocus.pictures import color

# Level 6 would save 3% of the bytes and take two to three times as long.
_PNG_LEVEL = 4


def encode_lab(luminance: np.ndarray, chroma: np.ndarray) -> bytes:
    """Store a picture as PNG, 8 bits each for luminance and the two channels of chroma.

    Args:
        luminance: float32 array of shape `(height, width, 1)` in [0, 1].
        chroma: float32 array of shape `(height, width, 2)` in [-1, 1].

    Returns:
        The content of a PNG file whose channels are L, a, b.
    """
    lab = np.concatenate([color.encode_luminance(luminance), color.encode_chroma(chroma)], axis=-1)
    # OpenCV takes the first channel of an array to be the last of the file.
    _, content = cv2.imencode(
        ".png", np.ascontiguousarray(lab[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, _PNG_LEVEL]
    )
    return content.tobytes()


class LabExample(tfds.features.FeaturesDict):
    """Example of a colour picture: `luminance`, `chroma` and `name`.

    On disk it is one PNG, about a quarter of what the two would take as floats. Decoded, it is
    float32: luminance of shape `(size, size, 1)` in [0, 1] and chroma of shape `(size, size, 2)` in
    [-1, 1], off by at most half a step of 1/255 and 2/255.

    To generate, give `luminance`, `chroma` and `name`, or `lab` (the content of the PNG, from
    `encode_lab`) and `name`. Decoders go by the stored names: `decoders={"lab":
    tfds.decode.SkipDecoding()}` gives the PNG itself.

    Args:
        size: Side of the pictures in pixels.
    """

    def __init__(self, *, size: int):
        super().__init__(
            {
                "lab": tfds.features.Image(shape=(size, size, 3), encoding_format="png"),
                "name": tfds.features.Text(doc="File of the picture."),
            }
        )
        self._size = size

    def get_tensor_info(self):
        """See base class."""
        return {
            "luminance": tfds.features.TensorInfo((self._size, self._size, 1), np.float32),
            "chroma": tfds.features.TensorInfo((self._size, self._size, 2), np.float32),
            "name": self["name"].get_tensor_info(),
        }

    def encode_example(self, example_dict):
        """See base class."""
        if "lab" not in example_dict:
            luminance, chroma = example_dict["luminance"], example_dict["chroma"]
            example_dict = {
                "lab": encode_lab(luminance, chroma),
                "name": example_dict["name"],
            }
        return super().encode_example(example_dict)

    def decode_example(self, serialized_example, *, decoders=None):
        """See base class."""
        example = super().decode_example(serialized_example, decoders=decoders)
        return _split(example, lambda lab: lab.dtype == tf.uint8, tf.cast, tf.gather)

    def decode_example_np(self, serialized_example, *, decoders=None):
        """See base class."""
        example = super().decode_example_np(serialized_example, decoders=decoders)
        return _split(example, lambda lab: isinstance(lab, np.ndarray), lambda lab, _: lab, np.take)

    def to_json_content(self):
        """See base class."""
        return {"size": self._size}

    @classmethod
    def from_json_content(cls, value):
        """See base class."""
        return cls(size=value["size"])


# Decoding by table keeps the ranges where they belong, in `color`, and works inside a tf.data
# pipeline whatever backend Keras has.
_CODES = np.arange(256, dtype=np.uint8)
_LUMINANCE = color.decode_luminance(_CODES)
_CHROMA = color.decode_chroma(_CODES)


def _split(example, is_decoded, cast, take):
    """Replace a decoded `lab` by `luminance` and `chroma`; leave one that was not decoded."""
    example = dict(example)
    if "lab" in example and is_decoded(example["lab"]):
        codes = cast(example.pop("lab"), "int32")
        example["luminance"] = take(_LUMINANCE, codes[..., :1])
        example["chroma"] = take(_CHROMA, codes[..., 1:])
    return example
