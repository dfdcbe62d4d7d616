"""What moves in front of what, and what sampling does to it."""

import dataclasses

import cv2
import numpy as np
import pytest
from blurred_by_hand import CLEAN, make_photo, to_linear, translation

from keras_refocus.blur import scene, sensor
from keras_refocus.blur.exposure import expose


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def scene_with_square(background, motions):
    picture = np.full((64, 64, 4), 0, np.float32)
    picture[..., 3] = 1
    picture[..., :3] = background
    picture[20:44, 20:44, :3] = 1
    mask = np.zeros((64, 64), np.float32)
    mask[20:44, 20:44] = 1
    return scene.Scene(picture, [mask], motions, (64, 64), (0, 0))


def integrate(scene, count=64):
    times = (np.arange(count) + 0.5) / count
    weights = np.full(count, 1 / count)
    frames = scene.frames(times, weights, cv2.INTER_LINEAR)
    return sensor.integrate(frames, weights[:, None], (64, 64))[..., 0]


def test_moving_object_covers_and_uncovers():
    light = integrate(scene_with_square(0.0, [translation(0, 0), translation(8, 0)]))
    row = light[32]
    np.testing.assert_allclose(row[25:39], 1, atol=0.01)  # always covered
    np.testing.assert_allclose(row[:15], 0, atol=0.01)
    np.testing.assert_allclose(row[49:], 0, atol=0.01)
    # the left border moves from 15.5 to 23.5: covered for a share that grows by 1/8 a pixel
    share = (np.arange(16, 24) - 15.5) / 8
    np.testing.assert_allclose(row[16:24], share, atol=0.02)
    np.testing.assert_allclose(row[40:48], share[::-1], atol=0.02)


def test_background_moves_behind_a_resting_object():
    stripes = np.zeros((64, 64, 3), np.float32)
    stripes[:, ::8] = 1
    light = integrate(scene_with_square(stripes, [translation(8, 0), translation(0, 0)]))
    np.testing.assert_allclose(light[21:43, 21:43], 1, atol=1e-3)  # nothing shines through
    assert light[4, 16:48].std() < 0.05  # stripes eight pixels apart blur to even grey
    assert light[4, 16:48].mean() == pytest.approx(1 / 8, abs=0.02)
    # next to the object there is background, not a smear of the object
    assert light[32, 12:18].mean() == pytest.approx(1 / 8, abs=0.06)


@pytest.mark.parametrize("highlights", [0.0, 1.0])
def test_objects_leave_the_middle_of_the_exposure_unchanged(highlights):
    photo = make_photo(96, 96)
    photo[20:60, 30:70][make_photo(40, 40, 1) > 150] = 255
    settings = dataclasses.replace(
        CLEAN,
        layers=(0, 0, 0, 1),
        few_frame=1.0,
        encoded_average=0.0,
        few_frame_length=(10, 10),
        highlights=highlights,
        highlight_gain=(8, 8),
    )
    for seed in range(5):
        result = expose(photo, settings, np.random.default_rng(seed), frames=3)
        np.testing.assert_allclose(result.frames[1], result.sharp, atol=2e-3)
        assert np.abs(result.frames[0] - result.sharp).mean() > 0.01


def test_masks_of_objects_are_full_inside_and_empty_outside():
    photo = make_photo(120, 90)
    shares = []
    for seed in range(30):
        mask = scene.object_mask(photo, np.random.default_rng(seed))
        assert mask.shape == (120, 90) and mask.dtype == np.float32
        assert mask.min() >= 0 and mask.max() <= 1
        shares.append((mask == 1).mean())
    assert 0.02 < np.mean(shares) < 0.5


@pytest.mark.parametrize("angle", [0.0, 20.0, 30.0, 45.0, 70.0])
@pytest.mark.parametrize(("frequency", "tolerance"), [(0.2, 0.03), (0.34, 0.1)])
def test_sampling_keeps_detail_across_the_motion(angle, frequency, tolerance):
    """Stripes along the motion stay as they are: bilinear sampling alone loses 12% and 33%."""
    across = np.deg2rad(angle + 90)
    y, x = np.mgrid[:96, :96].astype(np.float64)
    # `frequency` in cycles per pixel
    wave = np.sin(2 * np.pi * frequency * (x * np.cos(across) + y * np.sin(across)))
    linear = np.repeat((0.5 + 0.3 * wave)[..., None], 3, axis=2)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    path = 14 * np.exp(1j * np.deg2rad(angle))
    result = expose(
        encoded.astype(np.float32),
        CLEAN,
        np.random.default_rng(0),
        transforms=translation(path.real, path.imag),
    )
    inner = np.s_[16:-16, 16:-16, 0]
    kept = to_linear(result.blurred[inner]).std() / to_linear(result.sharp[inner]).std()
    assert kept == pytest.approx(1.0, abs=tolerance)


def test_window_sees_what_surrounds_it():
    """Light from outside the window moves in: nothing is mirrored where the photo goes on."""
    photo = np.zeros((40, 120, 3), np.uint8)
    photo[:, ::40] = 255
    entered = []
    for seed in range(40):
        result = expose(
            photo,
            CLEAN,
            np.random.default_rng(seed),
            size=(40, 20),
            transforms=translation(16, 0),
        )
        if result.sharp.max() == 0:
            entered.append(float(result.blurred.max()))
    assert len(entered) > 5
    assert max(entered) > 0.2 and min(entered) == 0  # near a line, and far from all
