"""Straight motion found in blur, and the frames that follow from it."""

import cv2
import numpy as np
import pytest

from keras_refocus.pictures import color
from keras_refocus.video import from_blur


def scene(height=96, width=128, seed=0):
    rng = np.random.default_rng(seed)
    plane = np.zeros((height, width), np.float32)
    for cells in (6, 15, 40):
        grid = rng.normal(size=(cells, cells)).astype(np.float32)
        plane += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(0.5 + 0.15 * plane, 0, 1)


def blurred_along(plane, way, count=41):
    field = np.broadcast_to(np.float32(way), (*plane.shape, 2))
    return np.mean(from_blur.frames_along(plane, field, from_blur.moments(count)), axis=0)


@pytest.mark.parametrize("way", [(12.0, 0.0), (0.0, 16.0), (9.0, 9.0), (-10.0, 6.0), (22.0, -8.0)])
def test_a_line_is_found_up_to_its_direction(way):
    plane = scene()
    lines = from_blur.find_lines(blurred_along(plane, way), plane)
    inside = lines.field[24:-24, 24:-24].reshape(-1, 2)
    mean = inside.mean(0)
    length = np.hypot(*way)
    assert abs(np.hypot(*mean) - length) < 0.15 * length
    along = abs(mean @ way) / np.hypot(*mean) / length
    assert along > np.cos(np.deg2rad(10))
    # One direction over the whole picture.
    assert ((inside @ mean) > 0).all()
    assert lines.fit.min() >= 0 and lines.fit[24:-24, 24:-24].mean() > 0.7


@pytest.mark.parametrize("way", [(14.0, 0.0), (-9.0, 9.0)])
def test_blue_leads_where_its_edges_come_first(way):
    plane = scene()
    # Blue is sharper in the first half of the exposure, red in the second.
    field = np.broadcast_to(np.float32(way), (*plane.shape, 2))
    frames = np.stack(from_blur.frames_along(plane, field, from_blur.moments(40)))
    rgb = np.stack([frames[20:].mean(0), frames.mean(0), frames[:20].mean(0)], axis=-1)
    right = from_blur.Lines(field.copy(), np.ones(plane.shape, np.float32))
    wrong = from_blur.Lines(-field, right.fit)
    assert from_blur.lead_of_blue(rgb, right) > 0.1
    assert from_blur.lead_of_blue(rgb, wrong) < -0.1
    lab = np.concatenate(color.rgb_to_lab(rgb.astype(np.float32)), axis=-1)
    for lines in (right, wrong):
        np.testing.assert_array_equal(from_blur.read_direction(lab, lines).field, field)
    # All colours at once: nothing tells.
    grey = np.repeat(plane[..., None], 3, axis=-1)
    assert abs(from_blur.lead_of_blue(grey, right)) < 0.02


def test_a_sharp_picture_does_not_move():
    plane = scene()
    lines = from_blur.find_lines(plane, plane)
    assert np.abs(lines.field).max() < 0.5 and lines.fit.max() < 0.05
    noisy = plane + np.random.default_rng(1).normal(0, 0.01, plane.shape).astype(np.float32)
    assert np.abs(from_blur.find_lines(noisy, plane).field).max() < 1.5


def test_what_moves_and_what_rests_are_told_apart():
    plane = scene(128, 256)
    moved = blurred_along(plane, (14.0, 0.0))
    moved[:, 128:] = plane[:, 128:]
    field = from_blur.find_lines(moved, plane).field
    assert np.abs(field[20:-20, 20:90, 0]).mean() > 10
    assert np.abs(field[20:-20, 200:]).mean() < 1


def test_frames_follow_their_trajectories():
    plane = np.zeros((21, 41), np.float32)
    plane[10, 20] = 1
    way = np.zeros((21, 41, 4), np.float32)
    way[..., 0], way[..., 3] = 12, 24
    frames = from_blur.frames_along(plane, way, from_blur.moments(7))
    places = [np.unravel_index(frame.argmax(), frame.shape) for frame in frames]
    assert [column for _, column in places] == [14, 16, 18, 20, 22, 24, 26]
    assert [places[0][0], places[3][0], places[6][0]] == [14, 8, 14]
    assert len(from_blur.frames_along(plane, way, from_blur.moments(1))) == 1


def test_what_a_network_sees_is_in_its_order():
    plane = scene(20, 30)
    lines = from_blur.Lines(np.full((20, 30, 2), 8, np.float32), np.full((20, 30), 0.5, np.float32))
    seen = from_blur.see(np.stack([plane] * 3, -1), plane * 0.5, lines)
    assert seen.shape == (20, 30, 7) and seen.dtype == np.float32
    np.testing.assert_array_equal(seen[..., 0], plane)
    np.testing.assert_array_equal(seen[..., 3], plane * 0.5)
    np.testing.assert_array_equal(seen[0, 0, 4:], [0.5, 0.5, 0.5])


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (2, 64)])
def test_any_size(shape):
    plane = np.random.default_rng(0).random(shape, dtype="float32")
    lines = from_blur.find_lines(plane, plane)
    assert lines.field.shape == (*shape, 2) and np.isfinite(lines.field).all()


def test_planes_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        from_blur.find_lines(np.zeros((4, 4)), np.zeros((4, 5)))


def test_true_trajectories_are_those_that_the_frames_were_made_along():
    plane = scene(80, 96)
    field = np.broadcast_to(np.float32([6.0, -4.0, 0.0, 3.0]), (80, 96, 4))
    frames = np.stack(from_blur.frames_along(plane, field, from_blur.moments(7)), -1)
    found = from_blur.true_trajectories(frames[None])[0, 20:-20, 20:-20]
    np.testing.assert_allclose(np.median(found, axis=(0, 1)), [6, -4, 0, 3], atol=0.5)
