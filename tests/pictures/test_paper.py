"""Paper around a print: found where it is, and not where there is none."""

import numpy as np
import pytest

from keras_refocus.pictures import grayscale, paper
from keras_refocus.pictures.paper import without_paper

WHOLE = slice(0, 128), slice(0, 128)


def scene(high=0.7):
    rng = np.random.default_rng(0)
    return np.clip(np.linspace(0, high, 128)[None] + rng.normal(0, 0.02, (128, 128)), 0, 1)


def print_on(widths, level=0.9, noise=0.01):
    top, bottom, left, right = widths
    plane = level + np.random.default_rng(1).normal(0, noise, (128, 128))
    box = slice(top, 128 - bottom), slice(left, 128 - right)
    plane[box] = scene()[box]
    return plane


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("widths", [(20, 20, 20, 20), (4, 30, 10, 10), (0, 9, 9, 9)])
def test_paper_is_found(widths, level):
    top, bottom, left, right = widths
    expected = slice(top, 128 - bottom), slice(left, 128 - right)
    assert without_paper(print_on(widths, level)) == expected


def test_what_is_no_paper_is_left():
    assert without_paper(scene()) == WHOLE
    assert without_paper(np.ones((128, 128))) == WHOLE
    sky = scene()
    sky[:40] = 0.98
    assert without_paper(sky) == WHOLE
    sky[:, :20] = 0.98  # and a white wall beside it
    assert without_paper(sky) == WHOLE
    black = np.full((128, 128), 0.05)
    black[20:-20, 20:-20] = scene()[20:-20, 20:-20]
    assert without_paper(black) == WHOLE


@pytest.mark.parametrize(
    ("level", "noise", "is_paper"),
    # Of nine pixels in ten the lightness differs by 3.3 deviations.
    [(0.78, 0.005, True), (0.72, 0.005, False), (0.9, 0.016, True), (0.9, 0.021, False)],
)
def test_paper_is_light_and_even(level, noise, is_paper):
    found = without_paper(print_on((12, 12, 12, 12), level, noise))
    assert found == ((slice(12, 116),) * 2 if is_paper else WHOLE)


@pytest.mark.parametrize(
    ("widths", "found"),
    [
        ((1, 1, 1, 1), WHOLE),
        ((2, 2, 2, 0), (slice(2, 126), slice(2, 128))),
        ((2, 2, 1, 1), WHOLE),
        ((20, 20, 0, 0), WHOLE),
        # No more than two fifths of a side.
        ((60, 9, 9, 9), (slice(51, 119), slice(9, 119))),
    ],
)
def test_a_frame_has_three_sides_of_two_pixels_at_least(widths, found):
    assert without_paper(print_on(widths)) == found


def test_paper_ends_where_it_is_no_longer_like_its_outermost_row():
    # Shading: 0.05 over ten rows.
    shaded = np.repeat(0.8 + 0.005 * np.arange(60)[:, np.newaxis], 40, axis=1)
    assert paper._paper(shaded) in (10, 11)


def test_a_toned_print_on_white_paper_is_grey_and_a_photo_on_it_is_not():
    rng = np.random.default_rng(2)
    plane = np.kron(rng.uniform(40, 200, (20, 30)), np.ones((12, 12)))
    sepia = (plane[..., None] * [1.1, 1.0, 0.75]).astype(np.uint8)
    for rgb, is_gray in ((sepia, True), (np.roll(sepia, 120, axis=2), True)):
        assert grayscale.is_grayscale(rgb) == is_gray
    framed = np.pad(sepia, ((30, 30), (40, 40), (0, 0)), constant_values=250)
    assert grayscale.is_grayscale(framed)
    photo = sepia.copy()
    photo[100:160, 100:200] = photo[100:160, 100:200, ::-1]
    framed = np.pad(photo, ((30, 30), (40, 40), (0, 0)), constant_values=250)
    assert not grayscale.is_grayscale(framed)
