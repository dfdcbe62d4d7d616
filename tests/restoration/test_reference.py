"""Colours of another photo: a twin gives its own back, another scene its palette."""

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_refocus.metrics import fidelity
from keras_refocus.pictures import color
from keras_refocus.restoration import reference
from keras_refocus.restoration.chroma import guess
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer
from keras_refocus.restoration.reference import Palette

LAB = color.LAB_PER_CHROMA


def scene(seed=0, size=(180, 240)):
    """A picture of soft patches of many colours, as uint8 RGB."""
    rng = np.random.default_rng(seed)
    small = rng.random((6, 8, 3), np.float32)
    return color.from_float(
        cv2.resize(small, size[::-1], interpolation=cv2.INTER_NEAREST) * 0.8 + 0.1, "uint8"
    )


def grayish(small):
    """A colorizer that guesses one brown for everything."""
    return np.broadcast_to(np.float32([0.05, 0.1]), (*small.shape[:2], 2)).copy()


def error_of(rgb, **options):
    luminance, true = color.rgb_to_lab(rgb)
    found = guess(luminance, grayish, **options).rows(0, luminance)
    return float(fidelity.chroma_error(true[None], found[None])[0])


def test_a_twin_gives_its_colours_back():
    for seed in range(3):
        rgb = scene(seed)
        without, with_twin = error_of(rgb), error_of(rgb, palette=Palette.of(rgb))
        assert with_twin < 0.5 * without


def test_the_strength_is_a_mixture():
    rgb = scene()
    luminance, _ = color.rgb_to_lab(rgb)
    palette = Palette.of(scene(1))
    none, half, whole = (
        palette.give(luminance, grayish(luminance), strength) for strength in (0.0, 0.5, 1.0)
    )
    np.testing.assert_allclose(none, grayish(luminance), atol=1e-7)
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-6)
    assert LAB * np.abs(whole - none).mean() > 5


def test_the_palette_comes_whole():
    """Of another scene with other lights the picture gets all the colours, and no others."""
    luminance = color.rgb_to_luminance(scene(3))
    palette = Palette.of(scene(4))
    given = palette.give(luminance, grayish(luminance))
    np.testing.assert_allclose(given.mean((0, 1)), palette.chroma.mean((0, 1)), atol=0.02)
    np.testing.assert_allclose(given.std((0, 1)), palette.chroma.std((0, 1)), rtol=0.15)


def test_lights_get_the_colours_of_lights_and_the_top_of_the_top():
    rgb = np.zeros((64, 64, 3), np.uint8)
    rgb[:32], rgb[32:, :32], rgb[32:, 32:] = (150, 190, 250), (10, 60, 10), (220, 90, 70)
    luminance = color.rgb_to_luminance(rgb)
    # Not `Palette.of`: each of three flat colours has a lightness of its own, as toned greys do.
    mirrored = Palette(*(reference._cells(side[:, ::-1]) for side in color.rgb_to_lab(rgb)))
    given = mirrored.give(luminance, grayish(luminance))
    true = color.rgb_to_lab(rgb)[1]
    assert LAB * np.abs(given - true).mean() < 4


def test_a_twin_whose_colours_are_guessed_right_changes_nothing():
    rng = np.random.default_rng(0)
    light = rng.random((24, 24, 1), np.float32)
    chroma = rng.uniform(-0.3, 0.3, (24, 24, 2)).astype(np.float32)
    own = Palette(light[..., 0], chroma)
    np.testing.assert_allclose(own.give(light, chroma), chroma, atol=1e-6)
    # Cells of a picture with fewer pixels are interpolated, of a larger one means.
    assert reference._cells(np.full((3, 5, 1), 0.25, np.float32)).shape == (24, 24)
    large = rng.random((48, 72, 2), np.float32)
    means = large.reshape(24, 2, 24, 3, 2).mean((1, 3))
    np.testing.assert_allclose(reference._cells(large), means, atol=1e-6)


def test_a_reference_without_colours_is_refused(tmp_path):
    Image.fromarray(scene()).convert("L").save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"grey\.png.*must have some"):
        Palette.read(tmp_path / "grey.png")
    with pytest.raises(FileNotFoundError):
        Palette.read(tmp_path / "none.png")


class Engine:
    batch_size = 1

    def colorize(self, luminance, *, model="colorizer"):
        return grayish(luminance[0])[np.newaxis]

    def versions(self, *models):
        return dict.fromkeys(models, "1")

    def close(self):
        pass


def test_the_restorer_takes_a_reference(tmp_path):
    rgb = scene()
    Image.fromarray(rgb).save(tmp_path / "twin.png")
    gray = np.asarray(Image.fromarray(rgb).convert("L"))
    true = color.rgb_to_lab(rgb)[1]

    def error(**options):
        image = restorer.restore(gray, RestoreOptions(mode="colorize", strength=0, **options)).image
        return float(fidelity.chroma_error(true[None], color.rgb_to_lab(image)[1][None])[0])

    with Restorer(Engine()) as restorer:
        assert error(reference=tmp_path / "twin.png") < 0.6 * error()
        assert error(reference=tmp_path / "twin.png", reference_strength=0) == error()
        with pytest.raises(FileNotFoundError):
            error(reference=tmp_path / "none.png")
    with pytest.raises(ValueError, match="mode='restore'"):
        RestoreOptions(reference="twin.png")
    with pytest.raises(ValueError, match="reference_strength=2"):
        RestoreOptions(reference_strength=2)
