"""Paths of camera and objects, and the moments at which a scene is sampled."""

import dataclasses

import cv2
import numpy as np
import pytest
from blurred_by_hand import CLEAN, make_impulse, make_photo, to_linear, translation

from keras_refocus.blur import exposure, motion
from keras_refocus.blur.exposure import expose


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_homographies_are_interpolated_between_points_and_held_outside():
    transforms = translation(8, 0, points=3)  # at -4, 0 and 4 pixels
    found = motion.interpolate(transforms, [-1, 0, 0.25, 0.5, 0.75, 1, 2])
    np.testing.assert_allclose(found[:, 0, 2], [-4, -4, -2, 0, 2, 4, 4])
    np.testing.assert_array_equal(found[:, 1], [[0, 1, 0]] * 7)


def test_corners_of_the_window_are_tracked():
    turned = np.repeat(np.eye(3)[None], 2, axis=0)
    turned[1, :2, :2] = [[0, -1], [1, 0]]  # a quarter: x to y, y to -x
    tracks = motion.corner_tracks(turned, (4, 6))
    assert tracks[0].tolist() == [[0, 0], [-3, -2], [3, -2], [-3, 2], [3, 2]]
    assert tracks[1].tolist() == [[0, 0], [2, -3], [2, 3], [-2, -3], [-2, 3]]
    # A point twice as near to the plane as the rest is twice as far from the centre.
    turned[1] = np.diag([1, 1, 0.5])
    assert motion.corner_tracks(turned, (4, 6))[1, 4].tolist() == [6, 4]


@pytest.mark.parametrize(("length", "count"), [(0.5, 2), (5.5, 6), (23.5, 18), (500, 64)])
def test_moments_of_an_exposure_are_equal_steps_of_the_path(length, count):
    tracks = [motion.corner_tracks(translation(length, 0), (8, 8))]
    times, weights, interpolation = motion.draw_schedule("continuous", tracks, CLEAN, None)
    # At most a pixel a step up to eight, then 1.6 pixels, and never more than 64 moments.
    assert len(times) == count
    np.testing.assert_allclose(weights, 1 / count, atol=1e-6)
    np.testing.assert_allclose(times, (np.arange(count) + 0.5) / count, atol=1e-6)
    # Few samples must be good ones; of many the mean makes good what each loses.
    assert interpolation == (cv2.INTER_CUBIC if count <= 4 else cv2.INTER_LINEAR)


def test_time_is_spent_where_the_path_rests():
    transforms = translation(8, 0)
    transforms[:33, 0, 2] = -4  # the first half of the exposure rests, the second moves by 8
    transforms[33:, 0, 2] = np.linspace(-4, 4, 32)
    tracks = [motion.corner_tracks(transforms, (8, 8))]
    times, weights, _ = motion.draw_schedule("continuous", tracks, CLEAN, None)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.5 and weights[1:].max() < 0.08
    assert (np.diff(times) > 0).all()


def test_frames_lie_in_the_middle_of_their_slots(rng):
    settings = dataclasses.replace(CLEAN, frame_count=(4, 4), frame_duty=0.0)
    tracks = [motion.corner_tracks(translation(20, 0), (8, 8))]
    times, weights, _ = motion.draw_schedule("frames", tracks, settings, rng)
    np.testing.assert_allclose(times, [0.125, 0.375, 0.625, 0.875])
    np.testing.assert_allclose(weights, 0.25)
    still = motion.draw_schedule("still", tracks, settings, rng)
    assert (still[0].tolist(), still[1].tolist()) == ([0.5], [1.0])


@pytest.mark.parametrize("kind", range(len(exposure.PATH_KINDS)))
def test_middle_of_the_path_is_the_photo(kind):
    weights = tuple(float(kind == k) for k in range(4))
    settings = dataclasses.replace(CLEAN, path_weights=weights, blur_length=(12.0, 12.0))
    for seed in range(3):
        result = expose(make_photo(64, 64), settings, np.random.default_rng(seed), size=(48, 48))
        middle = len(result.path) // 2
        np.testing.assert_allclose(result.path[middle], 0, atol=1e-9)
        distances = np.linalg.norm(result.path[:, None] - result.path[None], axis=-1)
        assert distances.max() == pytest.approx(12, rel=0.1)  # `blur_length` is the extent


@pytest.mark.parametrize("kind", range(len(exposure.PATH_KINDS)))
def test_mean_position_is_the_photo(kind):
    weights = tuple(float(kind == k) for k in range(4))
    settings = dataclasses.replace(
        CLEAN, path_weights=weights, blur_length=(12.0, 12.0), anchor="mean", layers=(1,)
    )
    photo = np.zeros((96, 96, 3), np.uint8)
    photo[48, 48] = 255
    for seed in range(3):
        result = expose(photo, settings, np.random.default_rng(seed))
        np.testing.assert_allclose(result.path.mean(axis=0), 0, atol=1e-6)
        # The light of a point is spread around where the sharp picture has it.
        light = to_linear(result.blurred[..., 1])
        rows, columns = (light.sum(axis=axis) @ np.arange(96) / light.sum() for axis in (1, 0))
        assert (rows, columns) == (pytest.approx(48, abs=0.5), pytest.approx(48, abs=0.5))


@pytest.mark.parametrize("kind", ["walk", "shake"])
def test_middle_of_a_shaken_path_is_not_its_mean(kind):
    # Why there is the other anchor: a quarter of the extent is pixels that nothing tells.
    paths = [motion.unit_path(kind, np.random.default_rng(seed)) for seed in range(100)]
    assert np.mean([abs(path.mean()) for path in paths]) > 0.25


def test_symmetric_path_does_not_shift_the_picture(rng):
    photo = make_photo(128, 128)
    for path in ((9, 0), (0, 9), (6, -7)):
        result = expose(photo, CLEAN, rng, size=(96, 96), transforms=translation(*path))
        window = cv2.createHanningWindow((96, 96), cv2.CV_32F)
        sharp = cv2.GaussianBlur(result.sharp[..., 1], (0, 0), 2)
        blurred = cv2.GaussianBlur(result.blurred[..., 1], (0, 0), 2)
        (x, y), _ = cv2.phaseCorrelate(sharp, blurred, window)
        assert abs(x) < 0.1 and abs(y) < 0.1


def test_transforms_carry_the_scene_to_the_sensor(rng):
    shifted = np.repeat(np.eye(3)[None], 3, axis=0)
    shifted[:, 0, 2] = 5  # the scene lies five pixels to the right all the time
    settings = dataclasses.replace(CLEAN, few_frame=1.0, frame_duty=0.0, encoded_average=0.0)
    result = expose(make_impulse(), settings, rng, transforms=shifted)
    assert np.unravel_index(result.blurred[..., 0].argmax(), (65, 65)) == (32, 37)


def test_long_continuous_paths_have_no_gaps(rng):
    result = expose(make_impulse(129), CLEAN, rng, transforms=translation(60, 0))
    trace = to_linear(result.blurred[64, 36:93, 0])
    assert trace.min() > 0.5 / 60 and trace.max() < 1.7 / 60


def test_blur_grows_away_from_the_centre_of_a_roll(rng):
    angle = np.deg2rad(np.linspace(-3, 3, 65))
    transforms = np.repeat(np.eye(3)[None], 65, axis=0)
    transforms[:, 0, 0] = transforms[:, 1, 1] = np.cos(angle)
    transforms[:, 0, 1], transforms[:, 1, 0] = -np.sin(angle), np.sin(angle)
    dots = np.zeros((129, 129, 3), np.uint8)
    dots[64, [64, 84, 114]] = 255
    light = to_linear(expose(dots, CLEAN, rng, transforms=transforms).blurred[..., 0])
    # columns of the picture near each dot: the streak is vertical, 6 degrees times the radius long
    for column, radius in ((64, 0), (84, 20), (114, 50)):
        trace = light[:, column - 3 : column + 4].sum(1)
        centre = (trace * np.arange(129)).sum() / trace.sum()
        spread = np.sqrt((trace * (np.arange(129) - centre) ** 2).sum() / trace.sum())
        length = np.deg2rad(6) * radius
        # a box has a deviation of its length over sqrt(12); a pixel adds about a third
        assert spread == pytest.approx(length / np.sqrt(12), abs=0.45)
        assert centre == pytest.approx(64, abs=0.3)


def test_moments_are_cut_where_parts_meet():
    times, weights, shares = motion.split_into_parts(
        np.array([0.25, 0.75]), np.array([0.5, 0.5]), 3, continuous=True
    )
    np.testing.assert_allclose(times, [1 / 6, 5 / 12, 7 / 12, 5 / 6])
    np.testing.assert_allclose(weights, [1 / 3, 1 / 6, 1 / 6, 1 / 3])
    np.testing.assert_allclose(shares.sum(0), 1 / 3)
    times, weights, shares = motion.split_into_parts(
        np.array([0.25, 0.75]), np.array([0.5, 0.5]), 3, continuous=False
    )
    np.testing.assert_allclose(times, [0.25, 0.75])  # recorded frames stay those that they were
    np.testing.assert_allclose(shares, [[1 / 3, 1 / 6, 0], [0, 1 / 6, 1 / 3]])
