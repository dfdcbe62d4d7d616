"""Colours that a person gives: their file, and that they reach what is theirs and nothing else."""

import json

import cv2
import numpy as np
import pytest

from keras_refocus.pictures import color
from keras_refocus.restoration.chroma import GuidedChroma, shrink
from keras_refocus.restoration.hints import ColorHints, Hint, spread

LAB = color.LAB_PER_CHROMA
RED = (176, 30, 30)


def plates(dark=0.35, light=0.7, size=(300, 400), noise=0.01):
    """Luminance of a picture with a sharp edge down its middle, and a little grain."""
    height, width = size
    plane = np.where(np.arange(width) < width // 2, dark, light)
    plane = np.broadcast_to(plane, size) + np.random.default_rng(0).normal(0, noise, size)
    return plane[..., np.newaxis].astype(np.float32)


def coloured(luminance, guess, *hints):
    """Chroma of full size in CIELAB units, of a colorizer whose guess is the same everywhere."""
    small = shrink(luminance)
    chroma = np.broadcast_to(np.float32(guess), (*small.shape[:2], 2))
    guided = GuidedChroma(small, chroma, luminance.shape[:2], ColorHints(hints))
    return LAB * guided.rows(0, luminance)


def distance(chroma, other):
    return float(np.hypot(*np.moveaxis(chroma - other, -1, 0)).mean())


# What it is.


def test_a_file_comes_back_as_it_was_written(tmp_path):
    hints = ColorHints((Hint(RED, ((3, 4.5),)), Hint((0, 128, 255), ((1, 2), (30, 40)), 6)))
    hints.write(tmp_path / "hints.json")
    assert ColorHints.read(tmp_path / "hints.json") == hints
    assert ColorHints.from_json(json.loads(json.dumps(hints.to_json()))) == hints


def test_the_documented_file_is_read(tmp_path):
    (tmp_path / "hints.json").write_text(
        '{"_note": "the cup", "hints": [{"color": "#B01E1e", "points": [[312, 205]]}, '
        '{"color": [70, 90, 160], "points": [[10, 40], [220, 44]], "width": 12}]}'
    )
    first, second = ColorHints.read(tmp_path / "hints.json").hints
    assert first == Hint(RED, ((312.0, 205.0),))
    assert second == Hint((70, 90, 160), ((10.0, 40.0), (220.0, 44.0)), 12.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "JSON object"),
        ("{", "no file of hints"),
        ('{"hints": [], "hint": 1}', "nothing. Received: hint"),
        ('{"hints": {"color": "#000000"}}', "a list"),
        ('{"hints": [3]}', "A hint must be"),
        ('{"hints": [{"color": "#000000"}]}', "Add 'points'"),
        ('{"hints": [{"color": "red", "points": [[1, 2]]}]}', "#rrggbb"),
        ('{"hints": [{"color": [1, 2, 256], "points": [[1, 2]]}]}', "0 to 255"),
        ('{"hints": [{"color": [1, 2, true], "points": [[1, 2]]}]}', "0 to 255"),
        ('{"hints": [{"color": "#000000", "points": [1, 2]}]}', "pairs"),
        ('{"hints": [{"color": "#000000", "points": []}]}', "one or more"),
        ('{"hints": [{"color": "#000000", "points": [[1, NaN]]}]}', "pairs"),
        ('{"hints": [{"color": "#000000", "points": [[1, 2]], "width": -1}]}', "from 0"),
        ('{"hints": [{"color": "#000000", "points": [[1, 2]], "with": 1}]}', "Leave 'with' out"),
    ],
)
def test_what_is_no_hint_is_said(tmp_path, text, said):
    file = tmp_path / "hints.json"
    file.write_text(text)
    with pytest.raises(ValueError, match="hint") as caught:
        ColorHints.read(file)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="must exist"):
        ColorHints.read(tmp_path / "hints.json")


@pytest.mark.parametrize("point", [(-1, 5), (400, 5), (5, 300), (5, -0.5)])
def test_a_hint_outside_the_picture_is_refused(point):
    with pytest.raises(ValueError, match=r"hint 2, and a picture of 400 x 300"):
        ColorHints((Hint(RED, ((0, 0),)), Hint(RED, (point,)))).check((300, 400))


# Where it is drawn.


def test_a_point_is_drawn_where_it_is():
    is_hint, wanted = ColorHints((Hint(RED, ((320, 100),)),)).drawn((512, 1024), (256, 256))
    rows, columns = np.nonzero(is_hint)
    assert abs(rows.mean() - 49.75) < 0.5
    assert abs(columns.mean() - 79.6) < 0.5
    assert 1 <= is_hint.sum() <= 9
    np.testing.assert_array_equal(
        wanted[is_hint], np.tile(Hint(RED, ((0, 0),)).chroma, (9, 1))[: is_hint.sum()]
    )
    assert not wanted[~is_hint].any()


def test_a_point_in_a_corner_is_drawn():
    for point in ((0, 0), (1023, 511), (1023.9, 0)):
        assert ColorHints((Hint(RED, (point,)),)).drawn((512, 1024), (256, 256))[0].any()


def test_a_stroke_has_its_width():
    stroke = Hint(RED, ((100, 256), (900, 256)), 40)
    is_hint, _ = ColorHints((stroke,)).drawn((1024, 1024), (256, 256))
    assert abs(is_hint[:, 100].sum() - 10) <= 1
    assert not is_hint[:, :20].any()


# Where it goes.


@pytest.mark.parametrize("guess", [(0.0, 0.0), (0.05, 0.15), (-0.2, -0.3)])
def test_one_hint_colours_its_region_and_leaves_the_one_across_the_edge(guess):
    luminance = plates()
    red = Hint(RED, ((60, 80),))
    before, after = coloured(luminance, guess), coloured(luminance, guess, red)
    inside, across = np.s_[:, :190], np.s_[:, 210:]
    assert distance(after[inside], LAB * red.chroma) < 5
    assert distance(after[across], before[across]) < 3
    # Also the places that are furthest from the hint, and nearest to the edge.
    assert distance(after[260:, 150:190], LAB * red.chroma) < 10
    assert distance(after[:, 205:220], before[:, 205:220]) < 8


@pytest.mark.parametrize(("noise", "least", "most"), [(0.0, 1.0, 1.0), (0.12, 0.01, 0.2)])
def test_what_is_plain_is_filled_and_what_is_busy_is_not_wandered_through(noise, least, most):
    plane = 0.5 + noise * np.random.default_rng(0).standard_normal((128, 128, 1))
    is_hint = np.zeros((128, 128), bool)
    is_hint[63:66, 63:66] = True
    wanted = np.where(is_hint[..., np.newaxis], np.float32([0.5, 0.3]), 0)
    change = spread(plane.astype(np.float32), np.zeros_like(wanted), is_hint, wanted)
    reached = change[..., 0] > 0.25
    assert least <= reached.mean() <= most and reached[is_hint].all()
    np.testing.assert_allclose(change[is_hint], wanted[is_hint], atol=0.01)


def test_no_hint_changes_nothing_to_the_bit():
    luminance = plates()
    small = shrink(luminance)
    chroma = np.random.default_rng(1).normal(0, 0.2, (64, 64, 2)).astype(np.float32)
    plain = GuidedChroma(small, chroma, luminance.shape[:2]).rows(0, luminance)
    for none in (None, ColorHints()):
        hinted = GuidedChroma(small, chroma, luminance.shape[:2], none)
        np.testing.assert_array_equal(hinted.rows(0, luminance), plain)
        np.testing.assert_array_equal(hinted.hinted(none).rows(0, luminance), plain)


def test_hints_of_two_sides_keep_to_their_sides():
    luminance = plates()
    red, blue = Hint(RED, ((60, 80),)), Hint((60, 80, 170), ((330, 200),))
    after = coloured(luminance, (0.0, 0.1), red, blue)
    assert distance(after[:, :190], LAB * red.chroma) < 5
    assert distance(after[:, 210:], LAB * blue.chroma) < 5


def test_of_hints_at_one_place_the_later_counts():
    luminance = plates()
    red, blue = Hint(RED, ((60, 80),)), Hint((60, 80, 170), ((60, 80),))
    after = coloured(luminance, (0.0, 0.0), red, blue)
    np.testing.assert_array_equal(after, coloured(luminance, (0.0, 0.0), blue))


def test_two_colours_of_one_surface_each_hold_where_they_were_given():
    luminance = plates()
    red, blue = Hint(RED, ((30, 30),)), Hint((60, 80, 170), ((160, 270),))
    after = coloured(luminance, (0.0, 0.0), red, blue)
    assert distance(after[28:33, 28:33], LAB * red.chroma) < 6
    assert distance(after[268:273, 158:163], LAB * blue.chroma) < 6
    between = after[150, 95]
    for hint in (red, blue):  # a mixture, nearer to neither by much
        assert distance(between[None, None], LAB * hint.chroma) > 15


def test_a_hint_stays_within_a_small_thing_on_a_busy_ground():
    """A disc on a ground of strong texture: the texture must not carry the colour away."""
    rng = np.random.default_rng(3)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (300, 400)), (0, 0), 2)
    ground = 0.65 + 0.1 * texture / texture.std()
    rows, columns = np.ogrid[:300, :400]
    disc = (rows - 150) ** 2 + (columns - 200) ** 2 < 50**2
    luminance = np.clip(np.where(disc, 0.2, ground), 0, 1)[..., np.newaxis].astype(np.float32)
    red = Hint(RED, ((190, 140),))
    after = coloured(luminance, (0.02, 0.1), red)
    core = cv2.erode(disc.astype(np.uint8), np.ones((9, 9))) > 0
    far = cv2.dilate(disc.astype(np.uint8), np.ones((25, 25))) == 0
    assert distance(after[core], LAB * red.chroma) < 5
    assert distance(after[far], LAB * np.array([0.02, 0.1])) < 3


def test_many_hints_are_each_met():
    luminance = plates()
    rng = np.random.default_rng(5)
    hints = [
        Hint(tuple(rng.integers(60, 200, 3)), ((20 + 40 * column, 20 + 50 * row),))
        for row in range(6)
        for column in range(10)
    ]
    after = coloured(luminance, (0.0, 0.0), *hints)
    for hint in hints:
        x, y = map(int, hint.points[0])
        assert distance(after[y - 1 : y + 2, x - 1 : x + 2], LAB * hint.chroma) < 12


def test_views_of_a_picture_are_hinted_as_the_picture_is():
    luminance = plates()
    size = luminance.shape[:2]
    small = shrink(luminance)
    chroma = np.full((64, 64, 2), 0.05, np.float32)
    hints = ColorHints((Hint(RED, ((60, 80),)),))
    whole = GuidedChroma(small, chroma, size, hints).rows(0, luminance)
    plain = GuidedChroma(small, chroma, size)
    rows, columns = slice(40, 200), slice(30, 350)
    part = plain.part(rows, columns).hinted(hints)
    np.testing.assert_allclose(
        part.rows(0, luminance[rows, columns]), whole[rows, columns], atol=1e-6
    )
    half = cv2.resize(luminance[..., 0], (200, 150), interpolation=cv2.INTER_AREA)[..., None]
    smaller = plain.resized((150, 200)).hinted(hints)
    expected = cv2.resize(whole, (200, 150), interpolation=cv2.INTER_AREA)
    assert LAB * np.abs(smaller.rows(0, half) - expected).mean() < 1
