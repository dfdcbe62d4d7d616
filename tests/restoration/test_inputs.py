"""What can be restored, and what is said of the rest."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_refocus.restoration.inputs import open_input


def rgb(height=5, width=4):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_files_come_as_paths_bytes_and_file_objects(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(rgb()).save(path)
    content = path.read_bytes()
    for source in (path, str(path), content, bytearray(content), io.BytesIO(content)):
        array, photo = open_input(source)
        np.testing.assert_array_equal(array, rgb())
        assert photo.format == "PNG"
    with path.open("rb") as file:
        np.testing.assert_array_equal(open_input(file)[0], rgb())


def test_pictures_of_pillow_and_photos():
    array, photo = open_input(Image.fromarray(rgb()))
    np.testing.assert_array_equal(array, rgb())
    assert open_input(photo)[1] is photo
    array, photo = open_input(Image.fromarray(rgb()[..., 0]))
    assert array.shape == (5, 4) and photo.is_gray


@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4), (5, 4, 1)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16"])
def test_arrays(shape, dtype):
    array = np.ones(shape, dtype)
    source, photo = open_input(array)
    assert photo is None
    assert source.shape == (shape if shape[-1] == 3 else shape[:2])
    assert source.dtype == (np.float32 if dtype.startswith("float") else dtype)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (None, TypeError, "NoneType"),
        ({"a": 1}, TypeError, "dict"),
        (np.ones((5, 4, 3), np.int64), TypeError, r"int64, shape=\(5, 4, 3\).*astype"),
        (np.ones((5, 4), bool), TypeError, "bool.*Multiply it by 255"),
        (np.ones((5, 4, 4), np.uint8), ValueError, r"shape=\(5, 4, 4\).*alpha"),
        (np.ones((3, 5, 4), np.uint8), ValueError, r"shape=\(3, 5, 4\).*moveaxis"),
        (np.ones((2, 5, 4, 3), np.uint8), ValueError, r"shape=\(2, 5, 4, 3\).*one picture"),
        (np.ones((0, 4, 3), np.uint8), ValueError, r"shape=\(0, 4, 3\).*no pixels"),
        (np.ones(7, np.uint8), ValueError, r"shape=\(7,\)"),
        (np.full((5, 4), 200.0), ValueError, r"from 200 to 200, shape=\(5, 4\).*by 255"),
        (np.full((5, 4), np.nan), ValueError, "from nan"),
        (b"no picture", ValueError, "none of these"),
        ("gone.jpg", FileNotFoundError, "gone.jpg"),
    ],
)
def test_the_rest_is_refused_with_what_it_was(image, error, message):
    with pytest.raises(error, match=message):
        open_input(image)
