"""What tells no blur keeps its means, photos may change, and bands do not show."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

import keras_refocus
from keras_refocus.restoration import means
from keras_refocus.restoration.pipeline import Restorer

SIDE = 96


def keep(original, restored):
    """What `means.keep` makes of planes of shape (height, width)."""
    plane = restored[..., np.newaxis].astype(np.float32)
    means.keep(plane, original[..., np.newaxis].astype(np.float32).__getitem__)
    return plane[..., 0]


def worst(original, result):
    """How far the mean over any window of 16 to 64 pixels inside the picture moved, in L*.

    Of a picture that is lower or less wide than the window, all of it counts.
    """
    sums = np.cumsum(np.cumsum(result - original, 0, dtype=float), 1)
    sums = np.pad(sums, ((1, 0), (1, 0)))
    found = 0.0
    for side in range(16, 65):
        rows, columns = min(side, original.shape[0]), min(side, original.shape[1])
        moved = sums[rows:, columns:] - sums[:-rows, columns:]
        moved = moved - sums[rows:, :-columns] + sums[:-rows, :-columns]
        found = max(found, 100 * np.abs(moved).max() / (rows * columns))
    return found


def dithered(plane, kind, rng):
    if kind == "ordered":
        matrix = np.array([[0, 2], [3, 1]])
        for _ in range(2):
            matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
        rows, columns = np.indices(plane.shape) % 8
        threshold = (matrix[rows, columns] + 0.5) / 64
    elif kind == "random":
        threshold = rng.random(plane.shape)
    else:
        gray = Image.fromarray(np.round(255 * plane).astype(np.uint8))
        return np.asarray(gray.convert("1"), float)
    return (plane > threshold).astype(float)


def text(shape, size):
    image = Image.new("L", shape[::-1], 255)
    font = ImageFont.load_default(size=size)
    for top in range(0, shape[0], size + 2):
        line = "the quick brown fox jumps over the lazy dog and runs"
        ImageDraw.Draw(image).text((1, top), line, fill=0, font=font)
    return np.asarray(image) / 255


@st.composite
def patterns(draw, least=24):
    """Pictures without blur, of up to 200x200 pixels: made of single pixels, or of noise."""
    shape = draw(st.integers(least, 200)), draw(st.integers(least, 200))
    rows, columns = np.indices(shape)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from("checker stripes ordered diffused random text noise".split()))
    if kind == "checker":
        side = draw(st.integers(1, 4))
        plane = (rows // side + columns // side) % 2
    elif kind == "stripes":
        period, slope = draw(st.integers(2, 12)), draw(st.sampled_from([0, 1, -1]))
        plane = (columns + slope * rows) % period < draw(st.integers(1, period - 1))
    elif kind == "text":
        plane = text(shape, draw(st.integers(8, 12)))
    elif kind == "noise":
        plane = np.clip(rng.normal(0.5, draw(st.floats(0.05, 0.3)), shape), 0, 1)
    else:
        ramp = np.linspace(draw(st.floats(0.1, 0.5)), draw(st.floats(0.5, 0.9)), shape[1])
        plane = dithered(np.broadcast_to(ramp, shape), kind, rng)
    low, high = draw(st.sampled_from([(0.0, 1.0), (0.3, 0.8), (0.8, 1.0), (0.0, 0.2)]))
    return low + (high - low) * plane.astype(float)


@st.composite
def shades(draw, least=24):
    """Smooth pictures under noise, of up to 200x200 pixels, some burnt out in places."""
    shape = draw(st.integers(least, 200)), draw(st.integers(least, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    plane = cv2.GaussianBlur(rng.random(shape), (0, 0), draw(st.sampled_from([4.0, 8.0, 20.0])))
    plane = (plane - plane.min()) / max(np.ptp(plane), 1e-9)
    plane = 0.5 + draw(st.sampled_from([0.4, 0.8, 1.2])) * (plane - 0.5)
    plane = np.clip(plane + rng.normal(0, draw(st.floats(0.02, 0.06)), shape), 0, 1)
    return np.round(255 * plane) / 255


@st.composite
def networks(draw):
    """What a network might make of a plane: darker, flat, uneven, smooth, or nonsense."""
    kind = draw(st.sampled_from("gain flat slope smooth offset inverse noise blocks".split()))
    amount = draw(st.floats(0.0, 1.0))
    period = draw(st.integers(2, 80))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def blocks(plane):
        rows, columns = np.indices(plane.shape) // period
        return ((rows + columns) % 2).astype(float)

    return {
        "gain": lambda plane: amount * plane,
        "flat": lambda plane: np.full_like(plane, amount),
        "slope": lambda plane: plane + np.linspace(-amount, amount, plane.shape[1]),
        "smooth": lambda plane: cv2.blur(plane, (5, 5)) - 0.5 * amount,
        "offset": lambda plane: plane + 0.5 - amount,
        "inverse": lambda plane: 1.0 - plane,
        "noise": lambda plane: rng.random(plane.shape),
        "blocks": blocks,
    }[kind]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(plane=patterns() | shades(), network=networks())
def test_means_are_kept_whatever_the_network(plane, network):
    result = keep(plane, np.clip(network(plane), 0.0, 1.0))
    assert worst(plane, result) < 2.0
    assert result.min() >= 0.0 and result.max() <= 1.0


@pytest.fixture(scope="module")
def shipped():
    models = Path(keras_refocus.__file__).parents[1] / "saved_models"
    with Restorer(models) as restorer:
        yield restorer


def shade_under_noise():
    """37x53 pixels that the shipped restorer alone makes darker by 13."""
    rng = np.random.default_rng(0)
    plane = 0.1 + 0.8 * smooth(seed=3, side=53, sigma=8.0)[:37]
    return np.clip(plane + rng.normal(0, 0.03, plane.shape), 0, 1)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, derandomize=True)
@given(plane=patterns(least=8) | shades(least=8))
@example(plane=np.indices((200, 200)).sum(0) % 2.0)
@example(plane=0.5 + 0.1 * np.random.default_rng(0).standard_normal((1, 200)).clip(-5, 5))
@example(plane=np.full((1, 1), 0.5))
def test_means_are_kept_by_the_shipped_restorer(shipped, plane):
    result = shipped.restore_luminance(plane[np.newaxis, ..., np.newaxis])[0, ..., 0]
    assert worst(plane, result) < 2.0


@pytest.mark.slow
def test_means_move_by_the_shipped_restorer_alone_and_not_in_the_pipeline(shipped, monkeypatch):
    plane = shade_under_noise()[np.newaxis, ..., np.newaxis]
    assert worst(plane[0, ..., 0], shipped.restore_luminance(plane)[0, ..., 0]) < 2.0
    monkeypatch.setattr(means, "keep", lambda restored, luminance: None)
    assert worst(plane[0, ..., 0], shipped.restore_luminance(plane)[0, ..., 0]) > 4.0


def smooth(seed=0, side=SIDE, sigma=2.0):
    plane = np.random.default_rng(seed).random((side, side))
    plane = cv2.GaussianBlur(plane, (0, 0), sigma)
    return (plane - plane.min()) / np.ptp(plane)


def test_what_a_camera_may_have_taken_is_left_as_the_network_had_it():
    for sigma in (1.0, 2.0, 8.0):
        plane = smooth(sigma=sigma)
        darker = np.float32(0.7 * plane)
        np.testing.assert_array_equal(keep(plane, darker), darker)


def test_one_edge_is_no_pattern():
    plane = np.zeros((SIDE, SIDE))
    plane[:, SIDE // 2 :] = 1.0
    moved = np.float32(np.roll(plane, 3, axis=1))
    np.testing.assert_array_equal(keep(plane, moved), moved)


@pytest.mark.parametrize("rows", [6, 12, 24])
def test_streaks_that_motion_left_in_a_photo_are_no_pattern(rows):
    rng = np.random.default_rng(0)
    plane = 0.3 + 0.4 * smooth(side=160, sigma=8.0)
    streaks = cv2.blur(rng.standard_normal((rows, 160)), (41, 1))
    plane[80 : 80 + rows, 50:110] += 0.03 / streaks.std() * streaks[:, 50:110]
    darker = np.float32(plane - 0.1)
    np.testing.assert_allclose(keep(plane, darker), darker, atol=1e-6)


def test_what_keeps_its_means_is_not_touched():
    plane = np.indices((SIDE, SIDE)).sum(0) % 2.0
    flat = np.full((SIDE, SIDE), 0.5, np.float32)
    np.testing.assert_array_equal(keep(plane, flat), flat)


def test_what_lies_beside_a_pattern_is_kept_and_the_photo_further_off_is_the_networks():
    plane = 0.2 + 0.6 * smooth(side=400, sigma=6.0)
    plane[:64, :64] = np.indices((64, 64)).sum(0) % 2
    darker = np.float32(0.5 * plane)
    result = keep(plane, darker)
    assert worst(plane[:100, :100], result[:100, :100]) < 2.0
    np.testing.assert_array_equal(result[240:], darker[240:])


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (300, 40), (7, 9)])
def test_bands_do_not_show(monkeypatch, shape):
    rng = np.random.default_rng(0)
    plane = (rng.random(shape) > 0.5).astype(float)
    restored = np.clip(0.5 * plane + 0.1 * rng.random(shape), 0, 1)
    whole = keep(plane, restored)
    monkeypatch.setattr(means, "_BAND", 1)
    monkeypatch.setattr(means, "LEAST_ROWS", means.MARGIN)
    np.testing.assert_allclose(keep(plane, restored), whole, atol=1e-6)
    if min(shape) > 1:
        assert np.abs(whole - restored).max() > 0.05


def test_results_depend_on_nothing_beyond_the_margin():
    side = 2 * means.MARGIN + 41
    rng = np.random.default_rng(0)
    plane = (rng.random((side, side)) > 0.5).astype(float)
    changed = plane.copy()
    changed[:, :20] = 0.5
    first = keep(plane, 0.5 * plane)
    second = keep(changed, 0.5 * changed)
    np.testing.assert_allclose(
        first[:, 20 + means.MARGIN :], second[:, 20 + means.MARGIN :], atol=1e-6
    )


@pytest.mark.parametrize("deviation", [0.05, 0.1, 0.2])
def test_white_noise_has_three_times_the_variance_of_what_is_twice_as_far_apart(deviation):
    noise = deviation * np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
    inside = np.s_[70:-70, 70:-70]
    assert means._noise_ratio(0.5 + noise)[inside].mean() == pytest.approx(3, abs=0.25)
    # Its own unit does not matter, and blurred noise is none.
    blurred = cv2.GaussianBlur(noise, (0, 0), 2.0)
    assert means._noise_ratio(0.5 + blurred)[inside].max() < 0.1


def pattern(plane):
    return means._is_pattern(plane.astype(np.float32))


def test_what_is_a_pattern_and_how_far_it_reaches():
    checker = np.indices((400, 400)).sum(0) % 2.0
    step = np.zeros((400, 400))
    step[:, 200:] = 1.0
    # Once in so many pixels a line: fine print.
    lines = np.ones((400, 400))
    lines[:, ::9] = 0.0
    noise = 0.5 + 0.1 * np.random.default_rng(0).standard_normal((400, 400))
    # A faint checker over shades, where its steps are small beside the range: energy alone.
    slopes = 0.2 + 0.6 * np.abs(np.arange(400) % 80 / 40 - 1) + 0.2 * (checker - 0.5)
    found = ((checker, 1), (lines, 1), (noise, 1), (slopes, 1), (step, 0), (smooth(side=400), 0))
    for plane, sure in found:
        np.testing.assert_allclose(pattern(plane)[100:-100, 100:-100], sure, atol=1e-6)
    # A strong pattern counts for what lies within 48 pixels of it, a faint one for itself.
    for contrast, reach in ((1.0, 48), (0.05, 8)):
        plane = np.full((400, 400), 0.5)
        plane[:, :200] += contrast * (checker[:, :200] - 0.5)
        row = pattern(plane)[200]
        assert (row[: 200 + reach] == 1).all()
        assert (row[200 + 2 * reach :] == 0).all()


def test_only_what_moves_a_mean_too_far_is_blended_back_and_only_so_far():
    plane = np.indices((SIDE, SIDE)).sum(0) % 2.0
    for darker in (0.009, 0.02, 0.1):
        result = keep(plane, 0.5 + 0.98 * (plane - 0.5) - darker)
        moved = 0.5 - result[30:-30, 30:-30].mean()
        # Means may move by a hundredth; less than that is left.
        assert moved == pytest.approx(min(darker, means.ALLOWED), rel=0.02)
