"""What makes a photo unfit, and fit ones brought to one size and depth."""

import numpy as np
import pytest
import tiny_pictures as tiny

from keras_refocus.pictures import cleaning, images


def test_a_photo_is_small_by_its_short_side():
    photo = images.Photo(rgb=tiny.scene(0, height=40, width=60))
    assert cleaning.fault_of_photo(photo, min_size=40) is None
    assert cleaning.fault_of_photo(photo, min_size=41) == (cleaning.SMALL, "60x40")
    found = cleaning.fault_of_size([(50, 60), (40, 60)], 41)
    assert found == (cleaning.SMALL, "60x50 and 60x40")


def test_a_photo_without_colour_is_unfit_where_that_is_asked_for():
    gray, colour = (images.Photo(rgb=rgb) for rgb in (tiny.gray_scene(0), tiny.scene(0)))
    assert cleaning.fault_of_photo(gray) is None
    assert cleaning.fault_of_photo(gray, drop_gray=True) == (cleaning.GRAY, "")
    assert cleaning.fault_of_photo(colour, drop_gray=True) is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_is_seen_through_is_laid_on_white(dtype):
    top = np.iinfo(dtype).max
    rgb = np.full((1, 3, 3), top // 5, dtype)
    photo = images.Photo(rgb=rgb, alpha=np.array([[0, top // 5, top]], dtype))
    found = cleaning.clean(photo, cleaning.Copying(bits=8 * rgb.itemsize))
    # A fifth of a fifth, and four fifths of white.
    assert found.dtype == dtype
    np.testing.assert_allclose(found[0, :, 0] / top, [1.0, 0.84, 0.2], atol=0.002)


@pytest.mark.parametrize(
    ("size", "upscale", "expected"),
    [
        (30, False, (30, 40)),
        (60, False, (60, 80)),
        (120, False, (60, 80)),
        (120, True, (120, 160)),
        (1, False, (1, 1)),
        (None, True, (60, 80)),
    ],
)
def test_size(size, upscale, expected):
    copying = cleaning.Copying(size=size, upscale=upscale)
    photo = images.Photo(rgb=tiny.scene(0))
    assert cleaning.clean(photo, copying).shape == (*expected, 3)


def test_both_depths():
    photo = images.Photo(rgb=tiny.scene(0))
    deep = cleaning.clean(photo, cleaning.Copying(bits=16))
    assert deep.dtype == np.uint16 and np.array_equal(deep, photo.rgb.astype(int) * 257)
    back = cleaning.clean(images.Photo(rgb=deep), cleaning.Copying(bits=8))
    assert np.array_equal(back, photo.rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_shrinking_does_not_alias(dtype):
    # Lines one pixel wide become an even grey, not stripes.
    top = np.iinfo(dtype).max
    lines = np.zeros((64, 64, 3), dtype)
    lines[:, ::2] = top
    small = cleaning.resize(lines, 16, 16).astype(float) / top
    assert np.abs(small[4:-4, 4:-4] - 0.5).max() < 0.02


def test_both_depths_are_resized_alike():
    rgb = tiny.scene(0)
    eight = cleaning.resize(rgb, 31, 41).astype(int)
    sixteen = cleaning.resize(rgb.astype(np.uint16) * 257, 31, 41) / 257
    assert np.abs(eight - sixteen).max() < 1.6


def test_options_that_do_not_go_together():
    with pytest.raises(ValueError, match="16 bits need PNG or TIFF"):
        cleaning.Copying(bits=16, format="JPEG")
    with pytest.raises(ValueError, match="size=0"):
        cleaning.Copying(size=0)
