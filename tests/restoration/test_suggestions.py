"""The likeliest colours at a place: that they differ, and that they are those of the place."""

import numpy as np
import pytest

from keras_refocus.pictures import color, color_bins
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.restoration.suggestions import likeliest

LAB = color.LAB_PER_CHROMA


def nearest(a, b):
    return int(np.linalg.norm(LAB * color_bins.centers() - (a, b), axis=1).argmin())


def shares(*pairs):
    found = np.zeros((8, 8, color_bins.COUNT), np.float32)
    for place, share in pairs:
        found[..., place] = share
    return found


def chroma_of(suggestion):
    return LAB * color.rgb_to_lab(np.array([[suggestion.color]], np.uint8))[1][0, 0]


def test_colours_that_look_alike_are_one_suggestion():
    # Three greys with most of it, a red and a blue.
    mixture = shares(
        (nearest(0, 0), 0.3),
        (nearest(0, 10), 0.2),
        (nearest(10, 0), 0.2),
        (nearest(50, 30), 0.2),
        (nearest(10, -40), 0.1),
    )
    gray, red, blue, *rest = likeliest(mixture, np.array([0.5]), (0.5, 0.5), 5)
    assert np.hypot(*chroma_of(gray)) < 8
    assert np.hypot(*(chroma_of(red) - (50, 30))) < 3
    assert np.hypot(*(chroma_of(blue) - (10, -40))) < 3
    assert gray.share > red.share > blue.share
    assert rest == []


def test_it_is_the_place_that_counts_and_its_lightness():
    left = shares((nearest(50, 30), 1.0))
    left[:, 4:] = 0
    left[:, 4:, nearest(10, -40)] = 1.0
    (red,) = likeliest(left, np.array([0.3]), (0.1, 0.5), 5)
    (blue,) = likeliest(left, np.array([0.6]), (0.95, 0.5), 5)
    assert chroma_of(red)[0] > 40
    assert chroma_of(blue)[1] < -30
    lightness = [
        float(color.rgb_to_luminance(np.array([[one.color]], np.uint8))[0, 0, 0])
        for one in (red, blue)
    ]
    np.testing.assert_allclose(lightness, [0.3, 0.6], atol=0.02)


def test_a_share_by_hand():
    # Two greys ten units apart: of the second counts exp(-(10 / 12)^2 / 2).
    mixture = shares((nearest(0, 0), 0.6), (nearest(10, 0), 0.3), (nearest(10, -40), 0.1))
    gray, blue = likeliest(mixture, np.array([0.5]), (0.5, 0.5), 5)
    near = 0.3 * np.exp(-((10 / 12) ** 2) / 2)
    assert gray.share == pytest.approx(0.6 + near, abs=5e-4)
    assert chroma_of(gray)[0] == pytest.approx(10 * near / gray.share, abs=0.7)
    assert blue.share == pytest.approx(0.1, abs=1e-3)
    assert likeliest(mixture, np.array([0.5]), (0.5, 0.5), 1) == [gray]


def test_what_is_beside_a_place_counts_too():
    one = np.zeros((8, 8, color_bins.COUNT), np.float32)
    one[3, 3, nearest(50, 30)] = 1.0

    def share(x, y):
        return [found.share for found in likeliest(one, np.array([0.5]), (x / 8, y / 8), 5)]

    assert share(3.5, 3.5) == share(2, 4.9) == [pytest.approx(1 / 9, abs=1e-4)]
    assert share(5.1, 3.5) == share(3.5, 1.9) == []
    one[0, 0, nearest(50, 30)] = 1.0  # a corner has three neighbours
    assert share(0, 0) == [pytest.approx(1 / 4, abs=1e-4)]


class Engine:
    """A colorizer that is sure of one colour, in the place of networks."""

    batch_size = 1

    def colorize(self, luminance, *, model="colorizer"):
        return np.zeros((*luminance.shape[:3], 2), np.float32)

    def color_shares(self, luminance, *, model="colorizer"):
        return shares((nearest(50, 30), 1.0))[np.newaxis]

    def versions(self, *models):
        return dict.fromkeys(models, "1")

    def close(self):
        pass


def test_the_restorer_suggests_for_what_it_coloured():
    gray = np.random.default_rng(0).integers(90, 110, (40, 50), np.uint8)
    options = RestoreOptions(mode="colorize", strength=0)
    with Restorer(Engine()) as restorer:
        result = restorer.restore(gray, options)
        with pytest.raises(ValueError, match="keep_stages"):
            restorer.suggestions(result, (3, 4))
    # Stage 1 at no strength: its model is not asked for.
    with Restorer(Engine()) as restorer:
        restorer.engine.restore = lambda tiles, *, model: tiles
        result = restorer.restore(gray, options, keep_stages=True)
        (one,) = restorer.suggestions(result, (49.5, 0))
        assert np.hypot(*(chroma_of(one) - (50, 30))) < 3
        with pytest.raises(ValueError, match="50 x 40 pixels"):
            restorer.suggestions(result, (50, 0))
