"""The tag of colourised pictures, and the visible mark."""

import numpy as np
import pytest
from PIL import Image

from keras_refocus.pictures import images, provenance


def description(metadata):
    exif = Image.Exif()
    exif.load(metadata)
    return exif[0x010E]


def test_the_tag_is_added_once_and_keeps_what_was_there():
    exif = Image.Exif()
    exif[0x010E] = "Grandmother, 1931"
    exif[0x010F] = "Agfa"
    tagged = provenance.tag_colourised(exif.tobytes())
    assert description(tagged) == f"{provenance.COLOURISED} Grandmother, 1931"
    assert provenance.tag_colourised(tagged) == tagged
    again = Image.Exif()
    again.load(tagged)
    assert again[0x010F] == "Agfa"
    assert again[0x0131] == "keras_refocus"
    assert description(provenance.tag_colourised()) == provenance.COLOURISED


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_the_tag_is_in_every_format_that_holds_metadata(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    photo = images.Photo(
        rgb=np.full((8, 9, 3), 100, np.uint8), metadata=provenance.tag_colourised()
    )
    images.write(path, photo, keep_metadata=True)
    assert provenance.COLOURISED in description(images.read(path).metadata)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_the_mark_is_legible_on_black_and_on_white(dtype, level):
    top = 1.0 if dtype == np.float32 else np.iinfo(dtype).max
    picture = np.full((300, 400, 3), level * top, dtype)
    marked = provenance.mark_colourised(picture)
    assert marked.dtype == dtype and (picture == picture.flat[0]).all()
    corner = marked[-20:, -50:] / top
    # Letters near white on a bar at most as bright as 0.35.
    assert corner.max() > 0.9 and np.median(corner) <= 0.36
    np.testing.assert_array_equal(marked[:250], picture[:250])


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 40, 3), (40, 2, 3)])
def test_tiny_pictures_get_what_fits(shape):
    assert provenance.mark_colourised(np.full(shape, 200, np.uint8)).shape == shape


@pytest.mark.parametrize("shape", [(300, 400), (600, 800)])
def test_letters_lie_in_the_middle_of_their_bar(shape):
    marked = provenance.mark_colourised(np.full((*shape, 3), 255, np.uint8))
    letters = provenance.mark_colourised(np.zeros((*shape, 3), np.uint8))
    for axis, length in enumerate(shape):
        others = (1 - axis, 2)
        bar = np.flatnonzero((marked < 200).any(others))[0]
        inside = np.flatnonzero((letters > 40).any(others))
        before, after = inside[0] - bar, length - 1 - inside[-1]
        assert before > 3 and abs(before - after) <= 1
