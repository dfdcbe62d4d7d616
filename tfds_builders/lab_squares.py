"""Pictures of any size to squares of luminance and chroma.

A module of its own, because Beam's workers must be able to import it: `tfds build` loads the folder
of a data set under a name that they do not know.
"""

import dataclasses

import numpy as np
from PIL import Image

from keras_refocus.pictures import color, images
from tfds_builders import lab_feature, sources


@dataclasses.dataclass(frozen=True, kw_only=True)
class Encode:
    """Makes the example of a picture; can be sent to another process.

    Attributes:
        size: As in `square`.
        large: As in `square`.
    """

    size: int
    large: str

    def __call__(self, entry: tuple[str, sources.File]) -> tuple[str, dict]:
        """Key and example of a file name and its file."""
        name, file = entry
        rgb = square(images.read(file.read()).rgb, size=self.size, large=self.large)
        return name, {"lab": lab_feature.encode_lab(*color.rgb_to_lab(rgb)), "name": name}


def square(rgb: np.ndarray, *, size: int, large: str = "shrink") -> np.ndarray:
    """Cut a square out of the centre of a picture.

    Args:
        rgb: uint8 or uint16 array of shape `(height, width, 3)`, sRGB.
        size: Side of the square. A picture with a smaller short side is enlarged to it (Lanczos).
        large: "shrink" to reduce the short side to `size` first, "crop" to leave it.

    Returns:
        uint8 array of shape `(size, size, 3)`.
    """
    picture = Image.fromarray(color.from_float(color.to_float(rgb), "uint8"))
    short = min(picture.size)
    if short < size or (short > size and large == "shrink"):
        width, height = (max(size, round(side * size / short)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (picture.width - size) // 2, (picture.height - size) // 2
    return np.asarray(picture.crop((left, top, left + size, top + size)))
