"""Light summed, optics, highlights, noise and files."""

import dataclasses

import numpy as np
import pytest
from blurred_by_hand import CLEAN, make_impulse, make_photo, to_linear, translation

from keras_refocus.blur import sensor
from keras_refocus.blur.exposure import SETTINGS, degrade, expose


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_light_is_the_weighted_sum_of_frames():
    frames = [np.full((2, 3, 4), value, np.float32) for value in (0.2, 0.8)]
    light = sensor.integrate(frames, np.array([[0.25], [0.75]]), (2, 3))
    np.testing.assert_allclose(light, np.full((2, 3, 3), 0.65), rtol=1e-6)


def test_point_spread_functions_are_of_odd_sides_and_one_or_three_colours():
    assert sensor.check_psf(np.ones((3, 5))).shape == (3, 5, 3)
    for shape in ((4, 5), (5, 4), (5, 5, 2), (5,)):
        with pytest.raises(ValueError, match="odd k"):
            sensor.check_psf(np.ones(shape))


def test_a_disk_of_defocus_by_hand():
    # Of radius 1: full within half a pixel, nothing from one and a half on; the corners are
    # 1.5 - sqrt(2) covered.
    corner = 1.5 - np.sqrt(2)
    total = 1 + 4 * 0.5 + 4 * corner
    np.testing.assert_allclose(
        sensor.disk(1.0) * total,
        [[corner, 0.5, corner], [0.5, 1, 0.5], [corner, 0.5, corner]],
        atol=1e-6,
    )


@pytest.mark.parametrize("curve", [{}, {"gamma": 2.2}, {"gamma": 3.0, "contrast": 0.3}])
def test_responses_undo_themselves(curve):
    response = sensor.Response(**curve)
    levels = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    light = response.decode(levels)
    np.testing.assert_allclose(response.encode(light), levels / 255, atol=2e-3)
    as_float = (levels / 255).astype(np.float32)
    np.testing.assert_allclose(response.decode(as_float), light, atol=2e-4)
    assert (np.diff(light[0, :, 0]) > 0).all()


def test_the_curve_of_srgb_and_of_a_power():
    levels = np.array([[[0, 128, 255]]], np.uint8)
    np.testing.assert_allclose(sensor.SRGB.decode(levels), to_linear(levels / 255), atol=1e-4)
    power = sensor.Response(gamma=2.0).decode(levels)
    np.testing.assert_allclose(power, (levels / 255) ** 2, atol=1e-4)


def test_only_what_is_nearly_white_gets_brighter():
    encoded = np.array([[[255] * 3, [240] * 3, [239] * 3, [255, 255, 100]]], np.uint8)
    linear = np.ones((1, 4, 3), np.float32)
    bright, changed = sensor.brighten(linear, encoded, 5.0)
    assert changed
    # 240 is 0.9412: 0.0012 of the way of 0.06 from 0.94 to white, squared.
    expected = [6.0, 1 + 5 * ((240 / 255 - 0.94) / 0.06) ** 2, 1.0, 1.0]
    np.testing.assert_allclose(bright[0, :, 0], expected, rtol=1e-3)
    as_float, _ = sensor.brighten(linear, (encoded / 255).astype(np.float32), 5.0)
    np.testing.assert_allclose(as_float, bright, rtol=1e-3)
    same, changed = sensor.brighten(linear, encoded[:, 2:], 5.0)
    assert not changed and same is linear


def test_saturated_highlights_outshine_their_streak(rng):
    settings = dataclasses.replace(CLEAN, highlights=1.0, highlight_gain=(6.0, 6.0))
    result = expose(make_impulse(), settings, rng, transforms=translation(10, 0))
    streak = to_linear(result.blurred[32, 29:36, 0])
    np.testing.assert_allclose(streak, 0.6, atol=0.01)  # six times white over ten pixels
    assert result.sharp[32, 32].tolist() == [1, 1, 1]  # the target is clipped
    short = expose(make_impulse(), settings, rng, transforms=translation(4, 0))
    assert short.blurred.max() == 1  # and so is a streak above white


def test_defocus_spreads_light_over_a_disk(rng):
    settings = dataclasses.replace(CLEAN, still=1.0, still_defocus=1.0, defocus_radius=(3.0, 3.0))
    result = expose(make_impulse(), settings, rng)
    light = to_linear(result.blurred[..., 0])
    assert light.sum() == pytest.approx(1, abs=0.01)
    assert light[32, 32] == pytest.approx(1 / (np.pi * 9), rel=0.1)
    assert light[32, 37] < 1e-5
    assert result.sharp[32, 31, 0] == 0


def test_wide_defocus_has_a_radius_of_two_to_six_pixels():
    radii = []
    for seed in range(12):
        result = expose(make_impulse(), SETTINGS["defocus_wide"], np.random.default_rng(seed))
        light = to_linear(result.blurred[..., 0])
        assert result.kind == "still" and light.sum() == pytest.approx(1, abs=0.02)
        # The light of a disk is spread over its area.
        radii.append(np.sqrt(1 / (np.pi * light.max())))
    assert 1.8 < min(radii) < 3 and 4.5 < max(radii) < 6.5


def noisy_patch(level, *, shot, read, correlation):
    settings = dataclasses.replace(
        SETTINGS["clean"],
        noise=1.0,
        shot_noise=(shot, shot),
        read_noise=(read, read),
        noise_correlation=correlation,
    )
    encoded = 1.055 * level ** (1 / 2.4) - 0.055
    flat = np.full((256, 256, 3), encoded, np.float32)
    return to_linear(degrade(flat, settings, np.random.default_rng(3)))


@pytest.mark.parametrize("correlation", [0.0, 1.0])
def test_noise_variance_is_poisson_plus_gaussian(correlation):
    shot, read = 4e-4, 4e-3
    for level in (0.1, 0.3, 0.6):
        noisy = noisy_patch(level, shot=shot, read=read, correlation=correlation)
        assert noisy.mean() == pytest.approx(level, abs=5e-4)
        assert noisy.var() == pytest.approx(shot * level + read**2, rel=0.05)


def test_correlated_noise_is_smooth_over_neighbours():
    def neighbours(correlation):
        noise = noisy_patch(0.3, shot=1e-4, read=5e-3, correlation=correlation)[..., 0]
        noise = noise - noise.mean()
        return (noise[:, 1:] * noise[:, :-1]).mean() / noise.var()

    assert abs(neighbours(0.0)) < 0.02
    assert neighbours(1.0) > 0.05


def only(**chances):
    return dataclasses.replace(SETTINGS["clean"], **chances)


def test_jpeg_of_lower_quality_is_further_away(rng):
    photo = make_photo(64, 64)
    errors = []
    for quality in (40, 70, 95):
        result = degrade(photo, only(jpeg=1.0, jpeg_quality=(quality, quality)), rng)
        errors.append(np.abs(result - photo / 255).mean())
    assert errors[0] > errors[1] > errors[2] > 0


def test_vignetting_only_darkens_and_scratches_only_lighten():
    photo = make_photo(96, 96)
    for seed in range(5):
        dark = degrade(photo, only(vignetting=1.0), np.random.default_rng(seed))
        assert (dark <= photo / 255 + 1e-4).all() and dark.mean() < photo.mean() / 255 - 0.005
        light = degrade(photo, only(scratches=1.0), np.random.default_rng(seed))
        changed = np.abs(light - photo / 255).max(2) > 1e-3
        assert (light >= photo / 255 - 1e-6).all()
        assert 0 < changed.mean() < 0.2


def test_point_spread_functions_act_per_colour_and_per_part(rng):
    delta = np.zeros((2, 5, 5, 3), np.float32)
    delta[:, 2, 2] = 1
    photo = make_photo(64, 64)
    plain = expose(photo, CLEAN, np.random.default_rng(1), transforms=translation(10, 0))
    same = expose(photo, CLEAN, np.random.default_rng(1), transforms=translation(10, 0), psfs=delta)
    np.testing.assert_allclose(same.blurred, plain.blurred, atol=1e-4)
    # red goes two pixels down in the second half of the exposure
    moved = delta.copy()
    moved[1, ..., 0] = 0
    moved[1, 4, 2, 0] = 1
    result = expose(make_impulse(), CLEAN, rng, transforms=translation(10, 0), psfs=moved)
    light = to_linear(result.blurred)
    assert light[32, :, 1].sum() == pytest.approx(1, abs=0.01)
    assert light[32, :32, 0].sum() == pytest.approx(0.5, abs=0.06)
    assert light[34, 33:, 0].sum() == pytest.approx(0.5, abs=0.06)
    assert light[32, 34:, 0].sum() == pytest.approx(0, abs=1e-3)
