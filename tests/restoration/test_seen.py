"""What the colorizer is shown: no paper, the contrast of a photo, and nothing changed otherwise."""

import numpy as np
import pytest

from keras_refocus.restoration.chroma import guess, shrink
from keras_refocus.restoration.seen import with_contrast


def scene(size=(300, 400), low=0.02, high=0.98):
    rng = np.random.default_rng(0)
    plane = np.linspace(low, high, size[1])[None] + rng.normal(0, 0.02, size)
    return np.clip(plane, 0, 1)[..., np.newaxis].astype(np.float32)


def framed(plane, widths, paper=0.97):
    top, bottom, left, right = widths
    height, width = plane.shape[:2]
    noise = np.random.default_rng(1).normal(0, 0.01, (height + top + bottom, width + left + right))
    whole = (paper + noise).clip(0, 1)[..., np.newaxis].astype(np.float32)
    whole[top : top + height, left : left + width] = plane
    return whole


def shown_of(luminance):
    """What a colorizer is shown of a picture, and the chroma if it answers with (0.2, L / 2)."""
    seen = []

    def colorize(small):
        seen.append(small)
        return np.concatenate([np.full_like(small, 0.2), small / 2], axis=-1)

    guided = guess(luminance, colorize)
    return seen[0], guided.rows(0, luminance)


def test_a_photo_is_shown_as_it_is_to_the_bit():
    luminance = scene()
    seen, _ = shown_of(luminance)
    np.testing.assert_array_equal(seen, shrink(luminance))


@pytest.mark.parametrize("widths", [(50, 50, 60, 60), (20, 90, 30, 30), (0, 60, 60, 60)])
@pytest.mark.parametrize("paper", [0.8, 1.0])
def test_paper_is_not_shown_and_gets_no_colour(widths, paper):
    luminance = scene(low=0.0, high=0.7)
    whole = framed(luminance, widths, paper)
    seen, chroma = shown_of(whole)
    alone, expected = shown_of(luminance)
    # A pixel of the small picture may lie over the edge of the paper.
    assert np.abs(seen - alone)[4:-4, 4:-4].mean() < 0.02
    top, _, left, _ = widths
    inside = chroma[top : top + 300, left : left + 400]
    assert np.abs(inside - expected)[8:-8, 8:-8].mean() < 0.02
    paper_alone = chroma.copy()
    paper_alone[max(top - 8, 0) : top + 308, left - 8 : left + 408] = 0
    assert np.abs(paper_alone).max() < 0.02


def test_faded_and_dark_pictures_are_stretched():
    for low, high in ((0.6, 0.95), (0.0, 0.3), (0.56, 0.7)):
        plane = np.linspace(low, high, 1000, dtype=np.float32).reshape(10, 100, 1)
        stretched, contrast = with_contrast(plane)
        dark, light = np.quantile(stretched, (0.01, 0.99))
        assert dark <= 0.3 and light >= 0.69
        expected = (high - low) * 0.98 / (light - dark)
        assert contrast == pytest.approx(expected, rel=0.02) and contrast < 1
        assert (np.diff(stretched.ravel()) >= 0).all()


@pytest.mark.parametrize(
    ("low", "high", "dark", "light"),
    [
        # Blacks at 0.6035, a tenth above the middle: four times as far below it.
        (0.6, 0.95, 0.5 - 4 * 0.1035, 0.9465),
        (0.0, 0.3, 0.003, 0.4 + 4 * 0.103),
        (0.8, 0.9, 0.05, 0.899),  # but no farther
        (0.1, 0.2, 0.101, 0.95),
        (0.3, 0.6, 0.303, 0.597),  # a photo
    ],
)
def test_contrast_by_hand(low, high, dark, light):
    plane = np.linspace(low, high, 1001, dtype=np.float32).reshape(7, 143, 1)
    stretched, contrast = with_contrast(plane)
    np.testing.assert_allclose(np.quantile(stretched, (0.01, 0.99)), (dark, light), atol=1e-4)
    assert contrast == pytest.approx(0.98 * (high - low) / (light - dark), rel=1e-3)


def test_stretching_sets_in_softly():
    """A picture hardly darker than another is shown hardly otherwise."""
    for low, high in ((0.49, 0.95), (0.5, 0.95), (0.0, 0.41), (0.0, 0.4)):
        plane = np.linspace(low, high, 1000, dtype=np.float32).reshape(10, 100, 1)
        stretched, contrast = with_contrast(plane)
        assert np.abs(stretched - plane).max() < 0.06 and contrast > 0.9


def test_a_plane_of_one_tone_is_left():
    for tone in (0.0, 0.45, 1.0):
        plane = np.full((10, 10, 1), tone, np.float32)
        np.testing.assert_array_equal(with_contrast(plane)[0], plane)


def test_of_less_contrast_there_is_less_chroma():
    _, vivid = shown_of(scene())
    _, pale = shown_of(scene(low=0.62, high=0.95))
    assert np.abs(vivid[..., 0]).mean() == pytest.approx(0.2, abs=0.005)
    assert 0.07 < np.abs(pale[..., 0]).mean() < 0.12


def test_places_on_paper_are_the_nearest_of_the_photo():
    whole = framed(scene(low=0.0, high=0.7), (50, 50, 60, 60))
    guided = guess(whole, lambda small: np.zeros((*small.shape[:2], 2), np.float32))
    assert guided.shown.place((0.0, 0.0)) == (0.0, 0.0)
    x, y = guided.shown.place((0.5, 0.5))
    assert abs(x - 0.5) < 0.01 and abs(y - 0.5) < 0.01
    x, y = guided.shown.place((0.999, 0.999))
    assert 0.99 < x < 1 and 0.99 < y < 1
