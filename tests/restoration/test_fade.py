"""Fading taken off: levels by hand, paper left out, and nothing done to what has not faded."""

import numpy as np
import pytest

from keras_refocus.pictures import color
from keras_refocus.restoration import fade
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer, reblend


def photo(size=(80, 100), channels=3):
    """Values over the whole range in every channel."""
    plane = np.linspace(0, 1, size[0] * size[1]).reshape(size)
    rolled = [np.roll(plane, 17 * channel, axis=1) for channel in range(channels)]
    return np.stack(rolled, axis=-1).astype(np.float32)


BLACK, WHITE = np.array([0.1, 0.05, 0.2]), np.array([0.8, 0.7, 0.5])


def faded(rgb):
    """In linear light each channel shrinks into a range of its own."""
    return color.linear_to_srgb(BLACK + (WHITE - BLACK) * color.srgb_to_linear(rgb))


def test_levels_are_found():
    found = fade.levels(faded(photo()).astype(np.float32))
    low, high = np.quantile(color.srgb_to_linear(photo()[..., 0]), (0.01, 0.99))
    np.testing.assert_allclose(found[:, 0], BLACK + (WHITE - BLACK) * low, atol=0.005)
    np.testing.assert_allclose(found[:, 1], BLACK + (WHITE - BLACK) * high, atol=0.005)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("uint8", 0.03), ("uint16", 0.02), ("float32", 0.02)]
)
def test_a_faded_picture_comes_back(dtype, tolerance):
    given = faded(photo()).astype(np.float32)
    given = given if dtype == "float32" else color.from_float(given, dtype)
    result = fade.correct(given)
    assert result.dtype == given.dtype and result.shape == given.shape
    assert np.abs(color.to_float(result) - photo()).mean() < tolerance
    before = np.abs(color.to_float(given) - photo()).mean()
    half = np.abs(color.to_float(fade.correct(given, 0.5)) - photo()).mean()
    assert tolerance < half < before
    np.testing.assert_array_equal(fade.correct(given, 0.0), given)


def test_paper_is_not_asked_and_stays_white():
    given = color.from_float(faded(photo()), "uint8")
    framed = np.pad(given, ((20, 20), (25, 25), (0, 0)), constant_values=250)
    np.testing.assert_allclose(fade.levels(framed), fade.levels(given), atol=0.05)
    result = fade.correct(framed)
    assert (result[:18] == 255).all()
    assert np.abs(color.to_float(result[20:-20, 25:-25]) - photo()).mean() < 0.04


def test_what_has_one_tone_or_one_channel():
    flat = np.full((30, 40, 3), (90, 120, 30), np.uint8)
    np.testing.assert_array_equal(fade.correct(flat), flat)
    gray = color.from_float(faded(photo())[..., 0], "uint8")
    result = fade.correct(gray)
    assert result.shape == gray.shape
    assert result.min() < 5 and result.max() > 250


class Engine:
    batch_size = 1

    def versions(self, *models):
        return dict.fromkeys(models, "1")

    def restore(self, tiles, *, model="restorer"):
        return tiles

    def close(self):
        pass


def test_it_is_a_finishing_step():
    given = color.from_float(faded(photo()), "uint8")
    with Restorer(Engine()) as restorer:
        plain = restorer.restore(given, RestoreOptions(strength=0), keep_stages=True)
        whole = restorer.restore(given, RestoreOptions(strength=0, fade=1.0))
    np.testing.assert_array_equal(whole.image, fade.correct(given))
    np.testing.assert_array_equal(reblend(plain, fade=1.0).image, whole.image)
    np.testing.assert_array_equal(plain.image, given)
    with pytest.raises(ValueError, match="fade=1.5"):
        RestoreOptions(fade=1.5)
    with pytest.raises(ValueError, match="whole pictures"):
        RestoreOptions(fade=0.5, region=(0, 0, 10, 10))
