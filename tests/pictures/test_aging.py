"""Old prints made of photos: what each thing does, and that a seed gives the same print."""

import dataclasses

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
