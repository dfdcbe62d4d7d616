"""Old prints made of photos: what each thing does, and that a seed gives the same print."""

import dataclasses

import cv2
import numpy as np
import pytest

from keras_refocus.pictures import aging, color
from keras_refocus.pictures.aging import Aging

NOTHING = Aging(**{field.name: 0.0 for field in dataclasses.fields(Aging)})


def photo(size=(96, 128)):
    rows, columns = np.mgrid[: size[0], : size[1]]
    red, green = 255 * rows / size[0], 255 * columns / size[1]
    return np.stack([red, green, 255 - (red + green) / 2], axis=-1).astype(np.uint8)


def only(**chances):
    return dataclasses.replace(NOTHING, **chances)


def made(seed, settings, rgb=None):
    return aging.age(photo() if rgb is None else rgb, np.random.default_rng(seed), settings)


def test_a_print_to_which_nothing_happened_is_the_luminance():
    np.testing.assert_array_equal(made(0, NOTHING), color.rgb_to_luminance(photo()))


def test_a_seed_gives_the_same_print_and_another_another():
    one, again, other = made(3, None), made(3, None), made(4, None)
    assert one.shape == (96, 128, 1) and one.dtype == np.float32
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).mean() > 0.01
    for seed in range(40):
        found = made(seed, None)
        assert found.min() >= 0 and found.max() <= 1


def test_what_happens_does_not_change_what_else_does():
    """The scratches of a seed lie in one place, whether there is grain or not."""
    plain, grainy = made(5, only(scratches=1.0)), made(5, only(scratches=1.0, soft=1.0))
    before = made(5, NOTHING)
    scratched = np.abs(plain - before) > 0.1
    assert scratched.any()
    assert np.abs(grainy - plain)[scratched].max() < 0.02


def test_film_is_from_blind_to_red_to_the_eye():
    drawn = np.array([aging.film_weights(np.random.default_rng(seed)) for seed in range(300)])
    np.testing.assert_allclose(drawn.sum(axis=1), 1.0, atol=1e-9)
    assert drawn[:, 0].min() < 0.01 and drawn[:, 0].max() > 0.27
    assert 0.15 < (drawn[:, 2] > 0.5).mean() < 0.35  # plates of before 1880


def test_film_without_red_makes_red_dark_and_the_sky_white():
    lips, sky = np.array([[[170, 60, 60]]], np.uint8), np.array([[[90, 140, 210]]], np.uint8)
    ortho = (0.0, 0.5, 0.5)
    assert color.film_luminance(lips, ortho) < color.rgb_to_luminance(lips) - 0.1
    assert color.film_luminance(sky, ortho) > color.rgb_to_luminance(sky) + 0.05


def test_light_of_a_film_by_hand():
    gray = np.full((1, 1, 3), 119, np.uint8)
    for weights in ((1, 1, 1), (0, 0.2, 3)):  # grey is grey to every film
        np.testing.assert_allclose(
            color.film_luminance(gray, weights), color.rgb_to_luminance(gray), atol=1e-6
        )
    # Half of the light, Y = 0.5: L* = 116 * 0.5 ** (1 / 3) - 16.
    cyan = np.array([[[0, 255, 255]]], np.uint8)
    found = color.film_luminance(cyan, (2, 1, 1))
    assert found.item() == pytest.approx(1.16 * 0.5 ** (1 / 3) - 0.16, abs=1e-5)


@pytest.mark.parametrize("weights", [(0, 0, 0), (1, -1, 1), (1, 1), (np.nan, 1, 1)])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(ValueError, match="three numbers"):
        color.film_luminance(photo(), weights)


def test_fading_lifts_blacks_and_greys_whites():
    for seed in range(20):
        faded = made(seed, only(fade=1.0))
        assert faded.min() >= 0.1 and faded.max() <= 0.97 + 1e-6
        assert np.ptp(faded) < np.ptp(color.rgb_to_luminance(photo()))


def test_a_border_covers_the_margins_and_nothing_else():
    before = color.rgb_to_luminance(photo())
    for seed in range(20):
        framed = made(seed, only(border=1.0))
        edge = framed[0, 0, 0]
        for side in (framed[0], framed[-1], framed[:, 0], framed[:, -1]):
            np.testing.assert_array_equal(side, np.full_like(side, edge))
        np.testing.assert_array_equal(framed[20:-20, 26:-26], before[20:-20, 26:-26])


def test_the_rest_does_what_it_says():
    before = color.rgb_to_luminance(photo())
    gray = np.full((96, 128, 3), 119, np.uint8)
    for seed in range(8):
        grain = made(seed, only(grain=1.0), gray) - color.rgb_to_luminance(gray)
        assert 0.008 < grain.std() < 0.07 and abs(grain.mean()) < 0.01
        corners = made(seed, only(vignette=1.0), gray)
        assert corners[0, 0] < corners[48, 64] - 0.02 or corners[-1, -1] < corners[48, 64] - 0.02
        soft = made(seed, only(soft=1.0))
        assert np.abs(np.diff(soft[..., 0], axis=1)).max() <= (
            np.abs(np.diff(before[..., 0], axis=1)).max()
        )
        curved = made(seed, only(curve=1.0)).ravel()
        order = np.argsort(before.ravel(), kind="stable")
        assert (np.diff(curved[order]) >= -1e-5).all()  # brighter stays brighter


def luminance(levels, seed, **chances):
    """A print of a grey picture of these levels, uint8, and the luminance of the picture."""
    rgb = np.repeat(np.asarray(levels, np.uint8)[..., np.newaxis], 3, axis=2)
    return made(seed, only(**chances), rgb)[..., 0], color.rgb_to_luminance(rgb)[..., 0]


@pytest.mark.parametrize(("side", "scale"), [(64, 0.5), (256, 1), (384, 1.5)])
def test_focus_is_as_soft_in_pictures_of_any_size(side, scale):
    dot = np.zeros((side, side), np.uint8)
    dot[side // 2, side // 2] = 255
    places = np.arange(side) - side // 2
    sigmas = []
    for seed in range(15):
        soft, _ = luminance(dot, seed, soft=1.0)
        assert soft.sum() == pytest.approx(1, abs=0.01)
        sigmas.append(np.sqrt(soft.sum(0) @ places**2 / soft.sum()))
    # Half a pixel to two of 256. A quarter of a pixel is none.
    assert 0.6 * (scale - 0.5) <= min(sigmas) < 0.8 * scale
    assert 1.7 * scale < max(sigmas) <= 2.1 * scale


def test_corners_lose_a_tenth_to_six_tenths_and_the_middle_little():
    darkest = []
    for seed in range(40):
        corners, before = luminance(np.full((65, 65), 119), seed, vignette=1.0)
        left = corners / before
        y, x = np.unravel_index(left.argmax(), left.shape)
        assert left.max() > 0.999 and abs(y - 32) < 11 and abs(x - 32) < 11
        assert (np.diff(left[y, x:]) <= 0).all() and (np.diff(left[: y + 1, x]) >= 0).all()
        darkest.append(left.min())
        assert min(left[0, 0], left[0, -1], left[-1, 0], left[-1, -1]) == left.min()
    assert 0.39 < min(darkest) < 0.6 and 0.8 < max(darkest) <= 0.9


def test_a_curve_is_dark_or_harsh():
    ramp = np.tile(np.arange(256), (4, 1))
    dark = 0
    for seed in range(60):
        curved, before = luminance(ramp, seed, curve=1.0)
        if curved.max() < 1 - 1e-6 or (curved <= before + 1e-6).all():
            dark += 1
            assert 0.35 <= curved.max() <= 1 and (curved <= before + 1e-6).all()
            assert curved[0, 128] >= 0.35 * before[0, 128] ** 1.8
        else:
            # Black and white stay, and in between it is steeper.
            assert curved[0, 0] == pytest.approx(0, abs=1e-6)
            assert curved[0, -1] == pytest.approx(1, abs=1e-6)
            slope = np.gradient(curved[0], before[0])
            steepest = before[0, slope.argmax()]
            assert slope.max() > 1.3 and 0.38 < steepest < 0.62
    assert 20 < dark < 40


def test_grain_is_strongest_in_the_middle_tones():
    levels = np.zeros((64, 192), np.uint8) + np.repeat([30, 119, 225], 64).astype(np.uint8)
    strengths = []
    for seed in range(20):
        grainy, before = luminance(levels, seed, grain=1.0)
        dark, middle, light = (grainy - before).reshape(64, 3, 64).std(axis=(0, 2))
        assert middle > 1.2 * max(dark, light)
        strengths.append(middle)
    # One hundredth to six of the range.
    assert 0.008 < min(strengths) < 0.02 and 0.05 < max(strengths) < 0.065


def test_a_faded_print_keeps_a_fifth_of_its_contrast():
    ramp = np.tile(np.arange(256), (4, 1))
    blacks, whites = [], []
    for seed in range(60):
        faded, before = luminance(ramp, seed, fade=1.0)
        blacks.append(faded.min())
        whites.append(faded.max())
        assert whites[-1] - blacks[-1] > 0.2 - 1e-6
        straight = blacks[-1] + (whites[-1] - blacks[-1]) * before
        np.testing.assert_allclose(faded, straight, atol=1e-5)
    assert min(blacks) < 0.15 and 0.5 < max(blacks) < 0.55 and 0.7 <= min(whites) < 0.77


def test_paper_is_light_or_now_and_then_black_and_a_tenth_of_a_side():
    shades, shares = [], []
    for seed in range(60):
        framed, _ = luminance(np.full((200, 100), 119), seed, border=1.0)
        shades.append(framed[0, 0])
        inner = framed != framed[0, 0]
        rows, columns = np.flatnonzero(inner.any(1)), np.flatnonzero(inner.any(0))
        shares.append([rows[0] / 200, columns[0] / 100, 1 - (rows[-1] + 1) / 200])
    shades, shares = np.array(shades), np.array(shares)
    assert ((shades >= 0.8) | (shades <= 0.15)).all() and 0.75 < (shades > 0.5).mean() < 0.95
    assert shares.min() >= 0.01 and shares.max() < 0.175 and shares.max() > 0.12
    # About as wide on every side, and never the same all round.
    assert (shares.max(1) <= 2.2 * shares.min(1) + 0.01).all() and (np.ptp(shares, 1) > 0).any()


def test_scratches_and_dust_are_few_and_thin():
    changed, light, upright = [], [], []
    for seed in range(40):
        scratched, before = luminance(np.full((128, 128), 100), seed, scratches=1.0)
        marks = np.abs(scratched - before) > 0.02
        changed.append(marks.mean())
        light.append((scratched[marks] > before[marks]).mean() if marks.any() else 1.0)
        below, beside = marks[1:] & marks[:-1], marks[:, 1:] & marks[:, :-1]
        upright.append(int(below.sum()) - int(beside.sum()))
        # Nothing is wider than a speck of five pixels.
        assert not cv2.erode(marks.astype(np.uint8), np.ones((9, 9))).any()
    assert max(changed) < 0.1 and np.median(changed) > 0.002
    assert np.mean(light) > 0.6
    # As a projector leaves them: along the film.
    assert np.mean(np.array(upright) > 0) > 0.8


@pytest.mark.parametrize("film", [0.0, 1.0])
def test_prints_of_pictures_with_black_and_white_are_numbers(film):
    """Luminance of black is a rounding error below 0: a dark curve must not make NaN of it."""
    levels = np.random.default_rng(0).integers(0, 256, (1, 64, 3))
    levels[:, :16], levels[:, 16:32] = 0, 255
    rgb = np.repeat(levels, 64, axis=0).astype("uint8")
    everything = aging.Aging(film=film, curve=1.0)
    with np.errstate(all="raise", under="ignore"):
        for seed in range(50):
            print_ = aging.age(rgb, np.random.default_rng(seed), everything)
            assert np.isfinite(print_).all() and print_.min() >= 0.0 and print_.max() <= 1.0


def test_a_chance_is_a_share():
    with pytest.raises(ValueError, match="grain=1.5"):
        Aging(grain=1.5)
    (plain,) = {made(seed, only(fade=0.0)).tobytes() for seed in range(3)}
    assert plain == color.rgb_to_luminance(photo()).tobytes()
    changed = [made(seed, only(fade=0.5)).tobytes() != plain for seed in range(200)]
    assert 70 < sum(changed) < 130
