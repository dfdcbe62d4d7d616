"""Interpolation: which frames there are, what is repeated, and motion halfway."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import tiny_clips

from keras_refocus.video import interpolation, optical_flow
from keras_refocus.video.interpolation import Rate, schedule

BASE = Fraction(1, 90000)


def times(count, step=3000):
    return [(index * step, step) for index in range(count)]


def flat(moments):
    return [m for several in moments for m in several]


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2x", Rate(factor=2)),
        ("60", Rate(per_second=Fraction(60))),
        ("60000/1001", Rate(per_second=Fraction(60000, 1001))),
    ],
)
def test_rates_are_read(text, rate):
    assert Rate.parse(text) == rate


def test_a_rate_is_a_multiple_of_the_clip_s_or_what_it_says():
    assert Rate(factor=3).of(Fraction(24000, 1001)) == Fraction(72000, 1001)
    assert Rate(per_second=Fraction(60)).of(Fraction(25)) == 60


@pytest.mark.parametrize("text", ["", "1x", "fast", "0", "60/0", "-5", "2.5x"])
def test_other_rates_are_refused(text):
    with pytest.raises(ValueError, match="For example: 2x"):
        Rate.parse(text)


def test_a_factor_halves_uneven_gaps_and_keeps_every_time():
    base, moments = schedule([(0, 3000), (3000, 1000), (4000, 5000)], BASE, Rate(factor=2))
    assert base == BASE / 2
    assert [(m.pts, m.place) for m in flat(moments)] == [
        (0, 0),
        (3000, 0.5),
        (6000, 0),
        (7000, 0.5),
        (8000, 0),
        # After the last frame there is nothing to move to.
        (13000, 0),
    ]
    assert sum(m.duration for m in flat(moments)) == 2 * 9000


def test_frames_a_second_take_those_of_the_clip_where_times_meet():
    base, moments = schedule(times(4), BASE, Rate(per_second=Fraction(45)))
    seconds = [m.pts * base for m in flat(moments)]
    assert seconds == [Fraction(i, 45) for i in range(6)]
    assert [m.place for m in flat(moments)] == pytest.approx(
        [0, 2 / 3, 1 / 3, 0, 2 / 3, 0], abs=1e-9
    )
    assert [m.first for m in flat(moments)] == [0, 0, 1, 2, 2, 3]


def test_a_cut_repeats_the_frame_before_it():
    _, moments = schedule(times(4), BASE, Rate(factor=2), scene_starts=[0, 2])
    assert [(m.first, m.second, m.place) for m in moments[1]] == [(1, 1, 0), (1, 1, 0)]
    assert [(m.first, m.second) for m in moments[2]] == [(2, 2), (2, 3)]


def test_drawings_that_stand_for_two_frames_are_moved_over_both():
    held = {1, 3, 5}
    _, moments = schedule(times(7), BASE, Rate(factor=2), held=held)
    assert [(m.first, m.second, round(m.place, 2)) for m in flat(moments[:4])] == [
        (0, 0, 0.0),
        (0, 2, 0.25),
        (0, 2, 0.5),
        (0, 2, 0.75),
        (2, 2, 0.0),
        (2, 4, 0.25),
        (2, 4, 0.5),
        (2, 4, 0.75),
    ]
    assert [m.pts for m in flat(moments)] == list(range(0, 7 * 6000, 3000))


def test_a_still_in_a_film_is_left_still():
    _, moments = schedule(times(12), BASE, Rate(factor=2), held={4})
    assert [(m.first, m.second) for m in moments[4]] == [(4, 4), (4, 5)]


def test_a_frame_halfway_shows_motion_halfway():
    first, truth, second = tiny_clips.moving(0, 3, height=96, width=128, step=4.0)
    there, back = optical_flow.estimate(first, second), optical_flow.estimate(second, first)
    chroma = [cv2.resize(plane, (64, 48)) for plane in (first, second)]
    luma, small = interpolation.between([first, chroma[0]], [second, chroma[1]], there, back, 0.5)
    inner = (slice(16, -16), slice(16, -16))
    error = np.abs(luma - truth)[inner].mean()
    assert error < 0.5 * np.abs((first + second) / 2 - truth)[inner].mean()
    assert small.shape == (48, 64)
    assert np.abs(small - cv2.resize(truth, (64, 48)))[8:-8, 8:-8].mean() < 0.05


def test_both_ways_invert_a_constant_flow_exactly():
    motion = np.full((20, 30, 2), 4.0, np.float32)
    assert np.allclose(interpolation.reversed_flow(motion, 0.25), -1)
    splatted = interpolation.splatted_flow(motion, 0.25, np.zeros((20, 30), np.float32))
    assert np.allclose(splatted, -1, atol=1e-4)


def thrown(place, way=36, side=16):
    """A bright square that flies over a still ground, further than it is wide."""
    rng = np.random.default_rng(3)
    ground = cv2.resize(rng.random((12, 20), np.float32), (160, 96)) * 0.5
    left = 50 + round(place * way)
    ground[40 : 40 + side, left : left + side] = 1.0
    return ground


def test_a_small_thing_that_flies_further_than_it_is_wide_is_seen_halfway():
    first, truth, second = thrown(0), thrown(0.5), thrown(1)
    there, back = (np.zeros((96, 160, 2), np.float32) for _ in range(2))
    there[first == 1], back[second == 1] = (36, 0), (-36, 0)
    (luma,) = interpolation.between([first], [second], there, back, 0.5)
    # Flow followed backwards misses it: nothing at its place in between points to it.
    pair = [
        optical_flow.warp(frame, interpolation.reversed_flow(flow, 0.5))
        for frame, flow in ((first, there), (second, back))
    ]
    place = truth == 1
    error, alone, blend = (
        np.square(made - truth)[place].mean()
        for made in (luma, sum(pair) / 2, (first + second) / 2)
    )
    assert error < 0.6 * alone and error < 0.6 * blend


def test_what_goes_faster_hides_what_is_behind():
    flow = np.zeros((20, 40, 2), np.float32)
    flow[:, :10, 0] = 20
    splatted = interpolation.splatted_flow(flow, 0.5, np.zeros((20, 40), np.float32))
    # Halfway the ten columns lie on 10 to 19, on what stands still there.
    assert splatted[5, 12:18, 0].max() < -9
    assert abs(splatted[5, 30, 0]) < 1e-6


def test_what_a_frame_is_mixed_of_is_weighed_to_one():
    first, _, second = tiny_clips.moving(0, 3, height=96, width=128, step=4.0)
    flows = optical_flow.estimate(first, second), optical_flow.estimate(second, first)
    ways = interpolation.find_ways(first, second, *flows, 0.3)
    parts = interpolation.parts_of(first, second, ways)
    weights = interpolation.weigh(parts, ways)
    assert parts.shape == weights.shape == (96, 128, interpolation.PARTS)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("place", [1e-3, 0.25, 0.999])
def test_every_moment_between_two_frames_can_be_made(place):
    first, second = (tiny_clips.moving(0, 2, height=70, width=90, step=3.0)[i] for i in (0, 1))
    flows = optical_flow.estimate(first, second), optical_flow.estimate(second, first)
    (luma,) = interpolation.between([first], [second], *flows, place)
    nearer = first if place < 0.5 else second
    assert np.isfinite(luma).all()
    assert np.abs(luma - nearer).mean() <= np.abs(first - second).mean()
    if min(place, 1 - place) < 0.01:
        assert np.abs(luma - nearer)[8:-8, 8:-8].mean() < 0.01


@pytest.fixture(scope="module")
def pair():
    """Two frames, their flows, and a plane of colour of each."""
    first, second = tiny_clips.moving(0, 4, height=70, width=90, step=2.0)[::3]
    flows = optical_flow.estimate(first, second), optical_flow.estimate(second, first)
    smaller = [cv2.resize(plane, (45, 35)) for plane in (first, second)]
    return ([first, smaller[0]], [second, smaller[1]], *flows)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_a_correction_that_says_nothing_changes_no_bit(pair, place):
    def nothing(seen):
        assert seen.shape == (70, 90, 2 * interpolation.PARTS) and seen.dtype == np.float32
        return np.zeros((70, 90, interpolation.PARTS + 1), np.float32)

    plain = interpolation.between(*pair, place)
    same = interpolation.between(*pair, place, correct=nothing)
    assert all(np.array_equal(a, b) for a, b in zip(plain, same, strict=True))


@pytest.mark.parametrize("place", [0.25, 0.5])
def test_a_correction_is_taken_in_luma_and_colour_and_less_near_a_frame(pair, place):
    """Towards the earlier frame as it is, and a little lighter."""

    def say(seen):
        change = np.zeros((*seen.shape[:2], interpolation.PARTS + 1), np.float32)
        change[..., 0] = 1
        change[..., -1] = 0.02
        return change

    plain = interpolation.between(*pair, place)
    luma, chroma = interpolation.between(*pair, place, correct=say)
    share = 4 * place * (1 - place)
    expected = plain[0] + share * (pair[0][0] - plain[0] + 0.02)
    np.testing.assert_allclose(luma, np.clip(expected, 0, 1), atol=1e-5)
    # What is added is luma's alone.
    expected = plain[1] + share * (pair[0][1] - plain[1])
    np.testing.assert_allclose(chroma, np.clip(expected, 0, 1), atol=1e-5)


def test_backwards_is_the_order_of_parts_when_time_goes_the_other_way(pair):
    first, second, forward, backward = pair
    ways = interpolation.find_ways(first[0], second[0], forward, backward, 0.5)
    turned = interpolation.find_ways(second[0], first[0], backward, forward, 0.5)
    parts = interpolation.parts_of(first[0], second[0], ways)
    others = interpolation.parts_of(second[0], first[0], turned)
    order = list(interpolation.BACKWARDS)
    np.testing.assert_allclose(parts[..., order], others, atol=1e-6)
    weights = interpolation.weigh(parts, ways)
    np.testing.assert_allclose(weights[..., order], interpolation.weigh(others, turned), atol=1e-5)
