"""The pipeline: the table of decisions, the arithmetic of blending, types, and interruption."""

import dataclasses
import io
import itertools
import json
import pathlib
import pickle
import subprocess
import sys
from concurrent.futures import CancelledError

import cv2
import numpy as np
import pytest
import shaken_scenes
from PIL import Image
from tiny_models import write_models

from keras_refocus.engines import store
from keras_refocus.pictures import color, images, provenance
from keras_refocus.restoration import pipeline, tiling
from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.hints import ColorHints
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer, reblend

EXAMPLES = pathlib.Path(pipeline.__file__).parents[1] / "page" / "static" / "examples"


class FakeEngine:
    """Arithmetic in the place of networks, and a record of what was asked of it."""

    def __init__(self, gain=0.5, chroma=(0.1, -0.05), *, batch_size=3, colorizer=True):
        self.gain = gain
        self.chroma = np.array(chroma, np.float32)
        self.batch_size = batch_size
        self.calls = []
        self.known = {"restorer": "1", "restorer_gan": "3"}
        if colorizer:
            self.known["colorizer"] = "2"

    def restore(self, tiles, *, model="restorer"):
        self.calls.append((model, tiles.shape))
        return tiles * np.float32(self.gain)

    def colorize(self, luminance, *, model="colorizer"):
        self.calls.append((model, luminance.shape))
        return np.broadcast_to(self.chroma, (*luminance.shape[:3], 2)).copy()

    def versions(self, *models):
        return {name: v for name, v in self.known.items() if not models or name in models}

    def close(self):
        self.calls = None


def photo(shape=(40, 50, 3), dtype=np.uint8, seed=0):
    """A picture of muted colours: halving their luminance leaves them inside sRGB.

    It is as smooth as a blurred photo, which engines may make darker; patterns they may not.
    """
    noise = np.random.default_rng(seed).random(shape, np.float32)
    rgb = cv2.GaussianBlur(noise, (0, 0), 2).reshape(shape)
    rgb = 0.4 + 0.2 * (rgb - rgb.min()) / max(np.ptp(rgb), 1e-6)
    return color.from_float(rgb, dtype)


def gray(shape=(40, 50), dtype=np.uint8):
    return photo(shape, dtype)


def contrasty(shape=(40, 50), dtype=np.uint8):
    """Grey with the contrast of a photo, which the colorizer is shown as it is."""
    plane = photo(shape, np.float32)
    # More than a hundredth of it at either end of what the chroma of these tests allows.
    plane = np.clip(0.45 + 2.0 * (plane - plane.mean()), 0.22, 0.68)
    return color.from_float(plane, dtype)


def lab(image):
    return color.rgb_to_lab(pipeline._as_rgb(image))


# The gate and the modes.


@pytest.mark.parametrize("auto_detect", [True, False])
@pytest.mark.parametrize("is_gray", [True, False])
@pytest.mark.parametrize("mode", pipeline.MODES)
def test_table_of_decisions(mode, is_gray, auto_detect):
    colorizes = {
        ("restore", True, True): False,
        ("restore", True, False): False,
        ("restore", False, True): False,
        ("restore", False, False): False,
        ("restore+colorize", True, True): True,
        ("restore+colorize", True, False): True,
        ("restore+colorize", False, True): False,
        ("restore+colorize", False, False): True,
        ("colorize", True, True): True,
        ("colorize", True, False): True,
        ("colorize", False, True): True,
        ("colorize", False, False): True,
    }[mode, is_gray, auto_detect]
    engine = FakeEngine()
    rng = np.random.default_rng(0)
    image = rng.integers(40, 200, (30, 30, 1 if is_gray else 3), np.uint8)
    image = np.repeat(image, 3, axis=-1) if is_gray else image
    result = Restorer(engine).restore(image, RestoreOptions(mode=mode, auto_detect=auto_detect))
    assert result.is_grayscale is is_gray
    assert result.stages == (("restore", "colorize") if colorizes else ("restore",))
    assert ("colorizer" in [name for name, _ in engine.calls]) is colorizes
    assert result.versions == {"restorer": "1"} | ({"colorizer": "2"} if colorizes else {})


def test_a_missing_colorizer_matters_only_where_it_is_needed():
    restorer = Restorer(FakeEngine(colorizer=False))
    both = RestoreOptions(mode="restore+colorize")
    assert restorer.restore(gray()).stages == ("restore",)
    colorful = np.random.default_rng(0).integers(40, 200, (30, 30, 3), np.uint8)
    assert restorer.restore(colorful, both).stages == ("restore",)
    with pytest.raises(FileNotFoundError, match="mode 'restore' works"):
        restorer.restore(gray(), both)
    assert len(restorer.engine.calls) == 2  # it was refused before stage 1 ran
    restorer.check_models(both)
    with pytest.raises(FileNotFoundError, match="'colorizer'"):
        restorer.check_models(RestoreOptions(mode="colorize"))


# Luminance and chroma.


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(33, 21, 3), (33, 21)])
def test_strength_zero_gives_the_picture_back_exactly(shape, dtype):
    engine = FakeEngine()
    image = photo(shape, dtype)
    result = Restorer(engine).restore(image, RestoreOptions(strength=0))
    np.testing.assert_array_equal(result.image, image)
    assert result.image is not image
    assert result.stages == () and engine.calls == []


@pytest.mark.parametrize("strength", [0.25, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.uint16, 2e-5), (np.float32, 1e-5)])
def test_luminance_is_blended_and_chroma_is_kept(strength, dtype, tolerance):
    image = photo(dtype=dtype)
    luminance, chroma = lab(image)
    options = RestoreOptions(strength=strength, tile=16, overlap=5)
    result = Restorer(FakeEngine(gain=0.5)).restore(image, options)
    assert result.image.dtype == dtype and result.image.shape == image.shape
    restored, kept = lab(result.image)
    expected = luminance * (1 - strength + 0.5 * strength)
    np.testing.assert_allclose(restored, expected, atol=tolerance)
    np.testing.assert_allclose(kept, chroma, atol=4 * tolerance)


def test_colour_photos_keep_their_colour_to_half_a_lab_unit():
    image = photo()
    result = Restorer(FakeEngine(gain=0.9)).restore(image)
    difference = np.linalg.norm(lab(result.image)[1] - lab(image)[1], axis=-1) * 110
    assert difference.mean() < 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_gray_in_gray_out(dtype):
    image = gray(dtype=dtype)
    result = Restorer(FakeEngine(gain=0.5)).restore(image)
    assert result.image.shape == image.shape and result.image.dtype == dtype
    tolerance = 3e-3 if dtype == np.uint8 else 2e-5
    np.testing.assert_allclose(lab(result.image)[0], 0.5 * lab(image)[0], atol=tolerance)


def test_a_tint_is_kept_by_restore_and_dropped_by_colorize():
    plane = contrasty(dtype=np.float32)[..., np.newaxis]
    sepia = color.from_float(plane * [1.1, 1.0, 0.8], np.uint16)
    tint = lab(sepia)[1]
    restorer = Restorer(FakeEngine(gain=1.0, chroma=(0.05, -0.1)))
    np.testing.assert_allclose(lab(restorer.restore(sepia).image)[1], tint, atol=1e-4)
    colored = restorer.restore(sepia, RestoreOptions(mode="colorize")).image
    np.testing.assert_allclose(lab(colored)[1] - [0.05, -0.1], 0, atol=1e-4)
    np.testing.assert_allclose(lab(colored)[0], lab(sepia)[0], atol=1e-4)


@pytest.mark.parametrize("saturation", [0.0, 0.5, 1.5])
def test_saturation_scales_the_chroma(saturation):
    options = RestoreOptions(mode="colorize", saturation=saturation)
    image = contrasty(dtype=np.uint16)
    result = Restorer(FakeEngine(1.0, chroma=(0.1, 0.02))).restore(image, options).image
    assert result.shape == (*image.shape, 3)
    expected = np.array([0.1, 0.02]) * saturation
    np.testing.assert_allclose(lab(result)[1] - expected, 0, atol=2e-4)
    own = photo(dtype=np.uint16)
    result = Restorer(FakeEngine(gain=1.0)).restore(own, RestoreOptions(saturation=saturation))
    np.testing.assert_allclose(lab(result.image)[1], lab(own)[1] * saturation, atol=2e-4)


def test_colours_out_of_reach_lose_chroma_not_luminance():
    options = RestoreOptions(mode="colorize", saturation=1.5)
    image = contrasty(dtype=np.uint16)
    result = Restorer(FakeEngine(gain=1.0, chroma=(0.9, 0.9))).restore(image, options).image
    luminance, chroma = lab(result)
    # To Delta E 1, see `color.recompose`.
    np.testing.assert_allclose(luminance, lab(image)[0], atol=0.0101)
    assert chroma.max() < 0.9
    np.testing.assert_allclose(chroma[..., 0], chroma[..., 1], atol=0.014)


def test_a_restorer_that_leaves_the_range_is_clipped():
    result = Restorer(FakeEngine(gain=9.0)).restore(gray())
    assert result.image.min() == 255
    # Before it is blended, too: half of white and half of the picture, not white.
    image = gray(dtype=np.uint16)
    result = Restorer(FakeEngine(gain=9.0)).restore(image, RestoreOptions(strength=0.5))
    expected = 0.5 * (lab(image)[0] + 1.0)
    np.testing.assert_allclose(lab(result.image)[0], expected, atol=1e-4)


def test_a_restorer_that_breaks_is_an_error_and_not_a_black_picture():
    with pytest.raises(ValueError, match="finite.*model='restorer'"):
        Restorer(FakeEngine(gain=float("nan"))).restore(gray())


# Tiles.


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 16), (64, 64), (65, 100)])
def test_any_size_in_tiles_of_one_shape(size):
    engine = FakeEngine(gain=0.5)
    image = photo((*size, 3), np.float32)
    result = Restorer(engine).restore(image, RestoreOptions(tile=32, overlap=8))
    assert {shape[1:] for _, shape in engine.calls} == {(32, 32, 1)}
    assert max(shape[0] for _, shape in engine.calls) <= engine.batch_size
    np.testing.assert_allclose(lab(result.image)[0], 0.5 * lab(image)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("size", "seen"),
    [((1, 1), (64, 64)), ((5, 90), (64, 90)), ((200, 15), (200, 64)), ((16, 16), (16, 16))],
)
def test_networks_see_more_than_a_few_pixels(size, seen):
    engine = FakeEngine(batch_size=1)
    image = photo((*size, 3), np.float32)
    result = Restorer(engine).restore(image)
    assert engine.calls == [("restorer", (1, *seen, 1))]
    np.testing.assert_allclose(lab(result.image)[0], 0.5 * lab(image)[0], atol=1e-5)


def test_tile_zero_shows_the_whole_picture():
    engine = FakeEngine()
    Restorer(engine).restore(photo((45, 67, 3)), RestoreOptions(tile=0))
    assert engine.calls == [("restorer", (1, 45, 67, 1))]


def test_bands_do_not_show(monkeypatch):
    image = photo((50, 30, 3), np.float32)
    options = RestoreOptions(mode="colorize", strength=0.7)
    whole = Restorer(FakeEngine()).restore(image, options).image
    monkeypatch.setattr(pipeline, "_BAND", 30 * 7)
    np.testing.assert_array_equal(Restorer(FakeEngine()).restore(image, options).image, whole)


def test_the_model_is_chosen_by_name():
    engine = FakeEngine()
    result = Restorer(engine).restore(photo(), RestoreOptions(restorer="restorer_gan"))
    assert result.versions == {"restorer_gan": "3"}
    assert {name for name, _ in engine.calls} == {"restorer_gan"}
    with pytest.raises(FileNotFoundError, match="Did you mean 'restorer_gan'"):
        Restorer(engine).restore(photo(), RestoreOptions(restorer="restorer_gam"))


# Blending again.


@pytest.mark.parametrize("mode", ["restore", "restore+colorize"])
def test_reblend_equals_restoring_again(mode):
    image = gray(dtype=np.uint16)
    engine = FakeEngine()
    result = Restorer(engine).restore(image, RestoreOptions(mode=mode), keep_stages=True)
    calls = len(engine.calls)
    for strength, saturation in itertools.product([0.0, 0.3, 1.0], [0.5, 1.0]):
        again = reblend(result, strength=strength, saturation=saturation)
        options = RestoreOptions(mode=mode, strength=strength, saturation=saturation)
        assert again.options == options
        direct = Restorer(FakeEngine()).restore(image, options)
        if strength or mode == "restore":
            np.testing.assert_array_equal(again.image, direct.image)
    assert len(engine.calls) == calls


def test_reblend_at_strength_zero_gives_the_input_back():
    image = photo()
    options = RestoreOptions(strength=0)
    result = Restorer(FakeEngine()).restore(image, options, keep_stages=True)
    np.testing.assert_array_equal(result.image, image)
    restored = Restorer(FakeEngine()).restore(image).image
    np.testing.assert_array_equal(reblend(result, strength=1).image, restored)
    assert reblend(reblend(result, strength=1), saturation=0.5).options.strength == 1


def test_reblend_needs_the_stages_and_checks_its_numbers():
    result = Restorer(FakeEngine()).restore(photo())
    with pytest.raises(ValueError, match="keep_stages=True"):
        reblend(result, strength=0.5)
    kept = Restorer(FakeEngine()).restore(photo(), keep_stages=True)
    with pytest.raises(ValueError, match="strength=2"):
        reblend(kept, strength=2)


# Faces.


def test_faces_are_blurred_last_and_stay_blurred(monkeypatch):
    class Faces:
        @staticmethod
        def detect(rgb):
            assert rgb.shape == (40, 50, 3)
            return [(1, 2, 3, 4)]

        @staticmethod
        def anonymize(rgb, boxes):
            assert boxes == [(1, 2, 3, 4)]
            return np.zeros_like(rgb)

    monkeypatch.setattr(pipeline, "_face_module", lambda: Faces)
    options = RestoreOptions(blur_faces=True)
    result = Restorer(FakeEngine()).restore(photo(), options, keep_stages=True)
    assert result.stages == ("restore", "blur_faces")
    assert result.image.max() == 0
    assert reblend(result, strength=0.2).image.max() == 0
    assert Restorer(FakeEngine()).restore(gray(), options).image.shape == (40, 50)


# Progress and interruption.


def test_progress_counts_every_step_to_the_end():
    seen = []
    options = RestoreOptions(mode="colorize", tile=16, overlap=0)
    Restorer(FakeEngine()).restore(
        gray((32, 40)), options, progress=lambda done, total: seen.append((done, total))
    )
    # Six tiles in batches of three, the colorizer, and putting it together.
    assert seen == [(3, 8), (6, 8), (7, 8), (8, 8)]


def test_cancelling_stops_between_tiles():
    engine = FakeEngine(batch_size=1)
    with pytest.raises(CancelledError):
        Restorer(engine).restore(
            photo((64, 64, 3)),
            RestoreOptions(tile=16, overlap=0),
            cancel=lambda: len(engine.calls) == 2,
        )
    assert len(engine.calls) == 2


# The mean over flips.


class ShiftingEngine(FakeEngine):
    """Moves every tile by a pixel to the right: another answer to a picture than to its mirror."""

    def restore(self, tiles, *, model="restorer"):
        super().restore(tiles, model=model)
        return np.roll(tiles, 1, axis=2)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_best_is_the_mean_over_the_flips_of_every_tile(dtype):
    image = gray((16, 24), dtype)
    plane = lab(image)[0]
    options = RestoreOptions(best=True, tile=0)
    result = Restorer(ShiftingEngine()).restore(image, options)
    both = (np.roll(plane, 1, axis=1) + np.roll(plane, -1, axis=1)) / 2
    np.testing.assert_allclose(lab(result.image)[0], both, atol=2e-5)
    # Without it the answer is the one answer of the model, to the last bit.
    plain = Restorer(ShiftingEngine()).restore(image, RestoreOptions(tile=0), keep_stages=True)
    np.testing.assert_array_equal(plain.planes.restored, np.roll(plane, 1, axis=1))


def test_best_sees_tiles_of_the_same_shape_four_times():
    engine, image = FakeEngine(gain=0.5), photo((40, 70, 3), np.float32)
    options = RestoreOptions(best=True, tile=32, overlap=8)
    result = Restorer(engine).restore(image, options)
    tiles = len(pipeline.choose_tiles(image, options, FakeEngine()))
    assert sum(shape[0] for _, shape in engine.calls) == 4 * tiles
    assert {shape[1:] for _, shape in engine.calls} == {(32, 32, 1)}
    assert max(shape[0] for _, shape in engine.calls) <= engine.batch_size
    np.testing.assert_allclose(lab(result.image)[0], 0.5 * lab(image)[0], atol=1e-5)


def test_progress_and_cancelling_know_the_flips():
    seen, engine = [], FakeEngine()
    options = RestoreOptions(best=True, tile=16, overlap=0)
    Restorer(engine).restore(
        gray((32, 32)), options, progress=lambda done, total: seen.append((done, total))
    )
    # Three tiles and one, each four times, and putting the picture together.
    assert seen == [(n, 17) for n in (3, 6, 9, 12, 13, 14, 15, 16, 17)]
    engine.calls = []
    with pytest.raises(CancelledError):
        Restorer(engine).restore(gray(), options, cancel=lambda: len(engine.calls) == 2)
    assert len(engine.calls) == 2


# Heavy shake.


@pytest.fixture(scope="module")
def shaken():
    """A grey picture of a shaken scene, float32, and its kernel."""
    kernel = kernels.motion_kernel(15, 20)
    light, truth = shaken_scenes.blurred(shaken_scenes.scene((170, 210)), kernel)
    gray = [color.luminance_to_gray(color.light_to_luminance(side)) for side in (light, truth)]
    return *gray, kernel


def test_heavy_shake_is_looked_for_when_asked(shaken):
    blurred, truth, kernel = shaken
    seen, engine = [], FakeEngine(gain=1.0)
    result = Restorer(engine).restore(
        blurred, RestoreOptions(patient=True), progress=lambda *step: seen.append(step)
    )
    plain = Restorer(FakeEngine(gain=1.0)).restore(blurred)
    assert plain.shake is None
    assert kernels.similarity(result.shake.kernel, kernel) > 0.5
    assert np.abs(result.image - truth).mean() < np.abs(plain.image - truth).mean()
    # Of what turned out not to be needed the steps are counted.
    total = seen[0][1]
    assert seen[-1] == (total, total)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    # The same once more, to the bit; and by whoever takes several tiles of one size.
    again = Restorer(FakeEngine(gain=1.0)).restore(blurred, RestoreOptions(patient=True))
    np.testing.assert_array_equal(again.image, result.image)


def test_a_given_kernel_needs_no_search(shaken, tmp_path):
    blurred, truth, kernel = shaken
    path = tmp_path / "kernel.png"
    Image.fromarray(kernels.picture(kernel)).save(path)
    for given in ("motion:15,20", path):
        result = Restorer(FakeEngine(gain=1.0)).restore(blurred, RestoreOptions(kernel=given))
        assert result.options.kernel == str(given)
        assert kernels.similarity(result.shake.kernel, kernel) > 0.99
        assert np.abs(result.image - truth).mean() < 0.6 * np.abs(blurred - truth).mean()


def test_strength_blends_the_patient_result(shaken):
    blurred, *_ = shaken
    restorer = Restorer(FakeEngine(gain=1.0))
    whole = restorer.restore(blurred, RestoreOptions(kernel="motion:15,20"), keep_stages=True)
    half = restorer.restore(blurred, RestoreOptions(kernel="motion:15,20", strength=0.5))
    np.testing.assert_array_equal(reblend(whole, strength=0.5).image, half.image)
    np.testing.assert_allclose(
        lab(half.image)[0], (lab(whole.image)[0] + lab(blurred)[0]) / 2, atol=1e-4
    )


def test_a_search_is_cancelled_between_fits(shaken):
    engine = FakeEngine(gain=1.0)
    asked = []

    def cancel():
        asked.append(1)
        return len(engine.calls) >= 1 and len(asked) > 8

    with pytest.raises(CancelledError):
        Restorer(engine).restore(shaken[0], RestoreOptions(patient=True), cancel=cancel)


def test_without_patience_the_plain_result_stands(shaken):
    options = RestoreOptions(patient=True, patience=1e-6)
    result = Restorer(FakeEngine(gain=1.0)).restore(shaken[0], options)
    plain = Restorer(FakeEngine(gain=1.0)).restore(shaken[0])
    np.testing.assert_array_equal(result.image, plain.image)
    assert result.shake.changed == 0 and "time" in result.shake.reason


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patience": 0}, "above 0"),
        ({"kernel": "motion:0,0"}, "at least 1 pixel"),
        ({"kernel": "box:3"}, "motion:LENGTH,ANGLE"),
    ],
)
def test_options_of_heavy_shake_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        RestoreOptions(**options)


# What goes in.


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 4), np.uint8), ValueError, "alpha"),
        (np.zeros((0, 4, 3), np.uint8), ValueError, r"shape=\(0, 4, 3\)"),
        (np.zeros(4, np.uint8), ValueError, "shape"),
        (np.full((4, 4, 3), 255.0), ValueError, "255"),
        (np.zeros((4, 4, 3), np.int32), TypeError, "int32"),
        (np.full((4, 4, 3), 1.5, np.float32), ValueError, "1.5"),
        (np.full((4, 4, 3), np.nan, np.float32), ValueError, "nan"),
        ("no_such_photo.jpg", FileNotFoundError, "no_such_photo.jpg"),
        (io.StringIO("text"), TypeError, "mode='rb'"),
    ],
)
def test_what_is_no_picture_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        Restorer(FakeEngine()).restore(image)


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "sharpen"},
        {"strength": -0.1},
        {"strength": float("nan")},
        {"saturation": 1.6},
        {"tile": -1},
        {"overlap": -1},
        {"tile": 32, "overlap": 32},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=f"Received: .*{next(iter(options))}="):
        RestoreOptions(**options)


def test_a_file_becomes_a_file_of_the_same_depth_and_alpha(tmp_path):
    rng = np.random.default_rng(0)
    alpha = rng.integers(0, 65536, (40, 50), np.uint16)
    images.write(tmp_path / "in.png", images.Photo(rgb=photo(dtype=np.uint16), alpha=alpha))
    result = Restorer(FakeEngine()).restore(tmp_path / "in.png")
    result.save(tmp_path / "out.png")
    written = images.read(tmp_path / "out.png")
    np.testing.assert_array_equal(written.rgb, result.image)
    np.testing.assert_array_equal(written.alpha, alpha)


def test_a_file_of_one_channel_stays_one_until_it_is_coloured(tmp_path):
    deep = np.repeat(gray(dtype=np.uint16)[..., np.newaxis], 3, axis=-1)
    images.write(tmp_path / "in.png", images.Photo(rgb=deep, is_gray=True))
    result = Restorer(FakeEngine()).restore(tmp_path / "in.png")
    assert result.image.ndim == 2
    result.save(tmp_path / "out.png")
    assert images.read(tmp_path / "out.png").is_gray
    colored = Restorer(FakeEngine()).restore(tmp_path / "in.png", RestoreOptions(mode="colorize"))
    colored.save(tmp_path / "colored.png")
    assert not images.read(tmp_path / "colored.png").is_gray


@pytest.mark.parametrize("image", [photo(), gray(), photo(dtype=np.float32)])
def test_results_of_arrays_can_be_saved(tmp_path, image):
    result = Restorer(FakeEngine()).restore(image)
    result.save(tmp_path / "out.png")
    written = color.to_float(images.read(tmp_path / "out.png").rgb)
    np.testing.assert_allclose(written, pipeline._as_rgb(color.to_float(result.image)), atol=1e-5)


@pytest.mark.parametrize("mode", ["restore", "colorize"])
@pytest.mark.parametrize("keep", [True, False])
def test_a_guess_of_colours_says_so_in_the_file(tmp_path, mode, keep):
    exif = Image.Exif()
    exif[0x8298] = "Mine"  # Copyright
    source = images.Photo(rgb=photo(), metadata=exif.tobytes())
    result = Restorer(FakeEngine()).restore(source, RestoreOptions(mode=mode))
    result.save(tmp_path / "out.jpg", keep_metadata=keep)
    metadata = images.read(tmp_path / "out.jpg").metadata
    assert (provenance.COLOURISED.encode() in metadata) is (mode == "colorize")
    assert (b"Mine" in metadata) is keep


def test_the_input_is_left_alone():
    image = photo()
    before = image.copy()
    image.flags.writeable = False
    Restorer(FakeEngine()).restore(image, RestoreOptions(mode="colorize", saturation=1.5))
    np.testing.assert_array_equal(image, before)


# With real models.


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def test_a_folder_of_models_is_all_it_takes(models):
    # Light, so that half of it is still what the colorizer is shown as it is.
    image = photo((20, 30, 3), np.float32) ** np.float32(0.3)
    with Restorer(models) as restorer:
        result = restorer.restore(image, RestoreOptions(mode="colorize", tile=16, overlap=4))
    luminance, chroma = lab(result.image)
    np.testing.assert_allclose(luminance, lab(image)[0] / 2, atol=1e-4)
    # The colorizer gives (L / 4, -L / 8) of the restored luminance; guided upsampling of a plane
    # that is linear in luminance is exact but for the filter's regularisation.
    np.testing.assert_allclose(chroma, luminance * [0.25, -0.125], atol=0.01)


def test_an_address_opens_a_client_and_an_engine_is_kept():
    engine = FakeEngine()
    assert Restorer(engine).engine is engine
    with Restorer("grpc://localhost:1,localhost:2") as restorer:
        assert restorer.engine.address == "localhost:1,localhost:2"
    with pytest.raises(ValueError, match="grpc://host:8500"):
        Restorer("grpc://")


def test_an_engine_that_takes_one_tile_at_a_time_gets_tiles_that_fit_the_picture():
    image = photo((900, 1100, 3))
    for batch_size, tile, expected in (
        (1, None, (900, 1100)),
        (2, None, (tiling.TILE, tiling.TILE)),
        (1, 512, (512, 512)),
        (1, 0, (900, 1100)),
    ):
        engine = FakeEngine(batch_size=batch_size)
        Restorer(engine).restore(image, RestoreOptions(tile=tile))
        assert engine.calls[0][1][1:3] == expected


def test_tiles_are_smaller_where_heavy_shake_is_taken_away():
    image, engine = photo((720, 1280, 3)), FakeEngine(batch_size=1)
    for options, count in (
        (RestoreOptions(), 1),
        (RestoreOptions(patient=True), 4),
        (RestoreOptions(kernel="motion:25,30"), 4),
        (RestoreOptions(patient=True, tile=0), 1),
    ):
        assert len(pipeline.choose_tiles(image, options, engine)) == count


@pytest.mark.parametrize(
    ("width", "rows", "tile"),
    [
        (1101, slice(200, 520), tiling.TILE),
        pytest.param(1700, slice(None), None, marks=pytest.mark.slow),
    ],
)
def test_tiles_leave_no_seam_with_the_models_that_are_shipped(width, rows, tile, monkeypatch):
    """Tiled and whole-picture inference agree, on a real photo, at the defaults.

    The network compares windows over hundreds of pixels, so tiles differ from the whole here and
    there; a seam would be a step of all of a line. Tiles of 512 side by side fail all three bounds.
    """
    monkeypatch.delenv(store.MODELS_VARIABLE, raising=False)
    rgb = images.read(EXAMPLES / "coffee.jpg").rgb
    rgb = cv2.resize(rgb, (width, round(width * 0.6667)), interpolation=cv2.INTER_CUBIC)[rows]
    with Restorer() as restorer:
        tiled, whole = (
            restorer.restore(rgb, options, keep_stages=True).planes.restored
            for options in (RestoreOptions(tile=tile), RestoreOptions(tile=0))
        )
    away = slice(96, -96)  # The padding of a border reaches about so far into the picture.
    difference = (tiled - whole)[away, away, 0]
    assert (np.abs(difference) < 1 / 255).mean() >= 0.97
    assert (np.abs(difference) < 4 / 255).mean() >= 0.998
    steps = [np.abs(np.diff(difference.mean(axis=axis))).max() for axis in (0, 1)]
    assert max(steps) < 0.1 / 255
    # The comparison means something: the network did change this picture.
    assert np.abs(whole - color.rgb_to_luminance(rgb)).max() > 2 / 255


@pytest.mark.slow
def test_a_100_megapixel_photo_restores_in_less_than_4_gib(models, tmp_path):
    """File to file, in a process of its own, colour and all."""
    block = photo((500, 500, 3))
    big = images.Photo(rgb=np.tile(block, (20, 20, 1)))
    images.write(tmp_path / "big.jpg", big)
    del big
    program = (
        "import sys\n"
        "from keras_refocus import restore\n"
        "from keras_refocus.system import machine\n"
        "status = restore.main(sys.argv[1:])\n"
        "print(machine.peak_memory())\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "big.jpg", "--mode", "colorize", "--models", str(models)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 4 * 2**30
    assert images.read(tmp_path / "big_restored.jpg").rgb.shape == (10_000, 10_000, 3)


def test_options_survive_json():
    options = RestoreOptions(mode="colorize", strength=0.5)
    assert RestoreOptions(**json.loads(json.dumps(dataclasses.asdict(options)))) == options


# Planes of luminance, as a video hands them over.


def test_planes_of_luminance_are_restored_as_each_alone():
    planes = np.stack([photo((40, 50), np.float32, seed) for seed in range(3)])[..., np.newaxis]
    options = RestoreOptions(tile=32, overlap=8)
    engine = FakeEngine(batch_size=4)
    with Restorer(engine) as restorer:
        together = restorer.restore_luminance(planes, options)
        # Six tiles a plane; tiles of two planes share a call.
        assert [shape[0] for _, shape in engine.calls] == [4, 4, 4, 4, 2]
        apart = [restorer.restore_luminance(planes[i : i + 1], options)[0] for i in range(3)]
        half = restorer.restore_luminance(planes, dataclasses.replace(options, strength=0.5))
    assert np.array_equal(together, np.stack(apart))
    assert np.allclose(together, planes * 0.5, atol=1e-6)
    assert np.allclose(half, planes * 0.75, atol=1e-6)


def test_planes_of_another_shape_are_refused_and_work_can_be_cancelled():
    restorer = Restorer(FakeEngine())
    with pytest.raises(ValueError, match="planes, height, width, 1"):
        restorer.restore_luminance(np.zeros((40, 50, 1), np.float32))
    with pytest.raises(CancelledError):
        restorer.restore_luminance(np.zeros((1, 8, 8, 1), np.float32), cancel=lambda: True)


# Means.


def checker(side=64):
    return np.uint8(255 * (np.indices((side, side)).sum(0) % 2))


def test_a_pattern_keeps_its_means_through_tiles_and_engines():
    image = np.repeat(checker(100)[..., np.newaxis], 3, axis=-1)
    for batch_size in (1, 3):
        engine = FakeEngine(gain=0.5, batch_size=batch_size)
        options = RestoreOptions(tile=64, overlap=16)
        result = Restorer(engine).restore(image, options, keep_stages=True)
        for strength in (1.0, 0.5):
            blended = lab(reblend(result, strength=strength).image)[0][..., 0]
            moved = np.abs(cv2.blur(blended - lab(image)[0][..., 0], (16, 16)))
            assert moved.max() < 0.02
    plane = np.float32(checker(70) / 255)[np.newaxis, ..., np.newaxis]
    restored = Restorer(FakeEngine(gain=0.5)).restore_luminance(plane)
    assert np.abs(cv2.blur(restored[0] - plane[0], (16, 16))).max() < 0.02


# Options and inputs of other kinds.


def test_scalars_of_numpy_are_options():
    options = RestoreOptions(
        strength=np.float32(0.5),
        saturation=np.int64(1),
        tile=np.int64(64),
        overlap=np.uint8(8),
        auto_detect=np.bool_(False),
        best=np.array(True),
    )
    assert options == RestoreOptions(
        strength=0.5, saturation=1.0, tile=64, overlap=8, auto_detect=False, best=True
    )
    json.dumps(dataclasses.asdict(options))  # as reports do
    restored = Restorer(FakeEngine(gain=0.5)).restore(photo(), options).image
    assert restored.mean() < photo().mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": "1"}, "strength must be a number. Received: strength='1'"),
        ({"strength": True}, "strength must be a number"),
        ({"tile": 64.0}, "tile must be a whole number. Received: tile=64.0"),
        ({"best": 1}, "best must be True or False"),
        ({"saturation": None}, "saturation must be a number"),
    ],
)
def test_options_of_another_kind_are_refused(options, message):
    with pytest.raises(TypeError, match=message):
        RestoreOptions(**options)


def test_grey_with_an_axis_of_channels_keeps_it():
    image = gray()[..., np.newaxis]
    restorer = Restorer(FakeEngine(gain=0.5))
    result = restorer.restore(image, keep_stages=True)
    assert result.image.shape == image.shape and result.is_grayscale
    np.testing.assert_array_equal(result.image[..., 0], restorer.restore(gray()).image)
    assert reblend(result, strength=0.5).image.shape == image.shape
    assert result.as_photo().rgb.shape == (*image.shape[:2], 3)
    colored = restorer.restore(image, RestoreOptions(mode="colorize")).image
    assert colored.shape == (*image.shape[:2], 3)


def test_floats_of_64_bits_are_taken_as_of_32():
    image = photo(dtype=np.float32)
    restorer = Restorer(FakeEngine(gain=0.5))
    result = restorer.restore(image.astype(np.float64)).image
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, restorer.restore(image).image)


@pytest.mark.parametrize("dtype", [">u2", "<u2", ">f4", ">f8"])
def test_arrays_of_either_byte_order_are_taken(dtype):
    image = photo(dtype=np.uint16 if "u" in dtype else np.float32)
    restorer = Restorer(FakeEngine(gain=0.5))
    result = restorer.restore(image.astype(dtype)).image
    assert result.dtype.isnative
    np.testing.assert_array_equal(result, restorer.restore(image).image)


def test_pictures_of_pillow_are_saved_as_files_would_be(tmp_path):
    image = Image.fromarray(photo())
    image.putalpha(Image.fromarray(gray()))
    result = Restorer(FakeEngine(gain=0.5)).restore(image)
    result.save(tmp_path / "a.png")
    saved = images.read(tmp_path / "a.png")
    np.testing.assert_array_equal(saved.alpha, gray())
    np.testing.assert_array_equal(saved.rgb, result.image)


def test_a_restorer_can_be_pickled(tmp_path):
    folder = tmp_path / "restorer" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").touch()
    copy = pickle.loads(pickle.dumps(Restorer(tmp_path)))
    assert copy.engine.models_dir == tmp_path.resolve()
    assert copy.engine.versions() == {"restorer": "1"}


def test_addresses_of_other_kinds_are_refused():
    for address in ("http://localhost:8501", "https://models.example", "s3://models"):
        with pytest.raises(ValueError, match=f"grpc://host:8500. Received: '{address}'"):
            Restorer(address)


# Hints.

RED = {"hints": [{"color": "#b01e1e", "points": [[10, 12]]}]}


def test_no_hints_are_as_before_to_the_bit():
    with Restorer(FakeEngine()) as restorer:
        plain = restorer.restore(gray(), RestoreOptions(mode="restore+colorize"))
        for hints in (None, ColorHints(), {"hints": []}):
            options = RestoreOptions(mode="restore+colorize", hints=hints)
            np.testing.assert_array_equal(restorer.restore(gray(), options).image, plain.image)


def test_a_hint_is_taken_and_the_picture_is_blended_again_with_others():
    options = RestoreOptions(mode="restore+colorize", hints=RED)
    assert options.hints == ColorHints.from_json(RED)
    with Restorer(FakeEngine()) as restorer:
        plain = restorer.restore(gray(), RestoreOptions(mode="restore+colorize"), keep_stages=True)
        red = restorer.restore(gray(), options, keep_stages=True)
    wanted = options.hints.hints[0].chroma
    found = lab(red.image)[1][10:15, 8:13].mean((0, 1))
    assert np.hypot(*(color.LAB_PER_CHROMA * (found - wanted))) < 5
    again = reblend(plain, hints=options.hints)
    np.testing.assert_array_equal(again.image, red.image)
    assert again.options.hints == options.hints
    np.testing.assert_array_equal(reblend(again, hints=ColorHints()).image, plain.image)
    # Other settings leave them as they are.
    np.testing.assert_array_equal(reblend(red, saturation=1.0).image, red.image)


def test_a_region_is_hinted_in_pixels_of_the_picture():
    noise = gray((200, 200))
    hints = {"hints": [{"color": "#b01e1e", "points": [[150, 150]]}]}
    options = RestoreOptions(mode="colorize", strength=0, hints=hints)
    with Restorer(FakeEngine()) as restorer:
        whole = restorer.restore(noise, options).image
        part = restorer.restore(noise, dataclasses.replace(options, region=(120, 120, 60, 60)))
    np.testing.assert_array_equal(part.image[140:160, 140:160], whole[140:160, 140:160])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_part_of_a_large_picture_gets_the_colours_of_the_whole(monkeypatch, dtype):
    monkeypatch.setattr(pipeline, "_AROUND", 128)
    engine = FakeEngine(0.8)
    engine.colorize = lambda small, *, model: np.concatenate(
        [0.4 * small - 0.1, 0.2 - 0.3 * small], axis=-1
    ).astype(np.float32)
    picture = gray((300, 400), dtype)
    options = RestoreOptions(mode="colorize")
    with Restorer(engine) as restorer:
        whole = restorer.restore(picture, options).image
        part = restorer.restore(picture, dataclasses.replace(options, region=(100, 90, 120, 80)))
    place = np.s_[115:145, 120:200]
    most = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    difference = np.abs(part.image[place].astype(float) - whole[place]) / most
    assert difference.mean() < 0.01
    assert np.abs(np.ptp(part.image[place].astype(float), axis=-1)).mean() / most > 0.02


def test_hints_that_nothing_can_be_done_with_are_refused_before_any_work():
    engine = FakeEngine()
    outside = {"hints": [{"color": "#b01e1e", "points": [[50, 12]]}]}
    with Restorer(engine) as restorer:
        with pytest.raises(ValueError, match="must lie in the picture"):
            restorer.restore(gray(), RestoreOptions(mode="colorize", hints=outside))
        with pytest.raises(ValueError, match="colours of its own"):
            restorer.restore(vivid(), RestoreOptions(mode="restore+colorize", hints=RED))
        assert engine.calls == []
        uncoloured = restorer.restore(gray(), keep_stages=True)
    with pytest.raises(ValueError, match="mode='restore'"):
        RestoreOptions(hints=RED)
    with pytest.raises(ValueError, match="no|mode='restore'"):
        reblend(uncoloured, hints=ColorHints.from_json(RED))
    with pytest.raises(TypeError, match="JSON object"):
        RestoreOptions(mode="colorize", hints="red")


def vivid():
    rgb = np.full((40, 50, 3), (200, 40, 30), np.uint8)
    rgb[:, 25:] = (30, 60, 190)
    return rgb


def test_paper_around_a_print_gets_no_colour_and_costs_none():
    print_ = np.tile(np.linspace(10, 200, 120).astype(np.uint8), (90, 1))
    framed = np.pad(print_, 20, constant_values=250)
    options = RestoreOptions(mode="colorize", strength=0)
    with Restorer(FakeEngine()) as restorer:
        alone, whole = (restorer.restore(image, options).image for image in (print_, framed))
    np.testing.assert_allclose(
        whole[22:-22, 22:-22].astype(int), alone[2:-2, 2:-2].astype(int), atol=1
    )
    assert np.ptp(whole[:15].astype(int), axis=-1).max() <= 1
