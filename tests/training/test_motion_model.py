"""From trajectories to frames, and a training step."""

import cv2
import keras
import numpy as np
import pytest
from keras import ops
from tiny_networks import TINY

from keras_refocus import networks
from keras_refocus.training import motion_losses, motion_model
from keras_refocus.video import from_blur


def picture(height=24, width=30, seed=0):
    cells = np.random.default_rng(seed).random((6, 7), dtype="float32")
    return cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def seen_of(plane, way=(0.0, 0.0)):
    lines = from_blur.Lines(
        np.broadcast_to(np.float32(way), (*plane.shape, 2)).copy(),
        np.ones(plane.shape, np.float32),
    )
    return from_blur.see(plane[..., None], plane, lines)[None]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def test_frames_of_training_are_those_of_serving():
    plane = picture()
    rng = np.random.default_rng(1)
    field = cv2.resize(rng.normal(0, 4, (3, 3, 4)).astype("float32"), (30, 24))
    motion = np.concatenate([field, rng.normal(0, 0.1, (24, 30, 8)).astype("float32")], axis=-1)
    ours = numpy(motion_model.render(seen_of(plane), motion[None]))[0]
    theirs = from_blur.frames_along(
        plane + motion[..., 4], field, from_blur.moments(7), interpolation=cv2.INTER_LINEAR
    )
    # OpenCV knows 32 places between two pixels.
    np.testing.assert_allclose(ours, np.stack(theirs, -1) + motion[..., 5:], atol=0.03)


def test_a_straight_way_moves_the_picture_there():
    plane = np.zeros((9, 20), np.float32)
    plane[4, 10] = 1
    motion = np.zeros((1, 9, 20, 12), np.float32)
    motion[..., 0] = 6
    frames = numpy(motion_model.render(seen_of(plane), motion))[0]
    assert [int(frames[4, :, index].argmax()) for index in range(7)] == list(range(7, 14))
    motion[..., 0], motion[..., 3] = 0, 12  # t^2 - 1/12: one pixel up in the middle, two down later
    frames = numpy(motion_model.render(seen_of(plane), motion))[0]
    assert [int(frames[:, 10, index].argmax()) for index in (0, 3, 6)] == [6, 3, 6]


def test_loss_of_trajectories_by_hand():
    true, given = np.zeros((2, 2, 2, 4), "float32"), np.zeros((2, 2, 2, 4), "float32")
    true[0, ..., 0], given[0, ..., 0] = 16, -16  # the other way round
    true[1, ..., 3] = 16
    forward = numpy(motion_losses.trajectories(true, given))
    backward = numpy(motion_losses.trajectories(true, given, reverse=True))
    # One of two coefficients is off by 32 pixels, two units; a bend of one unit counts a quarter.
    np.testing.assert_allclose(forward, [1.0, 0.125])
    np.testing.assert_allclose(backward, [0.0, 0.125])


def test_scores_of_either_direction():
    truth = np.random.default_rng(0).random((2, 8, 8, 7), dtype="float32") * 0.5 + 0.25
    predicted = np.stack([truth[0] + 0.1, truth[1, ..., ::-1] + 0.1])
    either = motion_model.scores(truth, predicted, either_direction=True)
    np.testing.assert_allclose(numpy(either["psnr"]), 20, atol=1e-3)
    np.testing.assert_array_equal(numpy(either["forward"]), [1, 0])
    as_given = motion_model.scores(truth, predicted, either_direction=False)
    assert numpy(as_given["psnr"])[0] == pytest.approx(20, abs=1e-3)
    assert numpy(as_given["psnr"])[1] < 15
    np.testing.assert_allclose(numpy(as_given["middle_psnr"]), 20, atol=1e-3)


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("motion_unet", "sequence"),
        ("motion_unet", "trajectories"),
        # Seven networks in a row.
        pytest.param("jin", "jin", marks=pytest.mark.slow),
    ],
)
def test_steps_lower_the_loss_and_reach_every_variable(name, loss):
    keras.utils.set_random_seed(1)
    model = motion_model.MotionModel(
        networks.build(name, **TINY[name]), loss_name=loss, average_decay=0.0
    )
    model.compile("adam")
    plane = picture(32, 32)
    seen = seen_of(plane, (3.0, 0.0))
    field = np.broadcast_to(np.float32([5.0, 3.0]), (32, 32, 2))
    truth = np.stack(from_blur.frames_along(plane, field, from_blur.moments(7)), -1)[None]
    truth = np.concatenate([truth, from_blur.true_trajectories(truth)], axis=-1)
    before = [weight.copy() for weight in model.generator.get_weights()]
    start = model.evaluate(seen, truth, verbose=0, return_dict=True)
    model.fit(seen, truth, epochs=6, verbose=0)
    end = model.evaluate(seen, truth, verbose=0, return_dict=True)
    assert end["loss"] < start["loss"]
    after = model.generator.get_weights()
    changed = [(old != new).any() for old, new in zip(before, after, strict=True)]
    # What is added to the light, the last convolution, is not learned from trajectories.
    assert all(changed[:-2]) and all(changed[-2:]) == (loss != "trajectories")


def test_ways_count_beside_frames():
    model = motion_model.MotionModel(
        networks.build("motion_unet", **TINY["motion_unet"]),
        frequency_weight=0.0,
        reblur_weight=0.5,
        trajectory_weight=2.0,
    )
    model.compile("adam")
    plane = picture(32, 32)
    # Of a way of five pixels three are known: of two coefficients one lacks two of 16 pixels.
    truth = np.stack(
        from_blur.frames_along(plane, np.full((32, 32, 2), (5, 0), "float32"), from_blur.moments(7))
    )
    ways = np.broadcast_to(np.float32([5, 0, 0, 0]), (32, 32, 4))
    truth = np.concatenate([np.moveaxis(truth, 0, -1), ways], axis=-1)[None]
    found = model.fit(seen_of(plane, (3.0, 0.0)), truth, verbose=0).history
    assert found["trajectory_loss"][0] == pytest.approx(0.5 * 2 / 16, abs=1e-5)
    own = found["sequence_loss"][0] + 0.5 * found["reblur_loss"][0]
    assert found["loss"][0] == pytest.approx(own + 2 * found["trajectory_loss"][0], abs=1e-5)


def test_configuration_survives(tmp_path):
    model = motion_model.MotionModel(
        networks.build("motion_unet", **TINY["motion_unet"]),
        either_direction=False,
        trajectory_weight=0.25,
    )
    copy = motion_model.MotionModel.from_config(model.get_config())
    assert copy.either_direction is False and copy.loss_name == "sequence"
    assert copy.trajectory_weight == 0.25
    with pytest.raises(ValueError, match="jin or trajectories"):
        motion_model.MotionModel(model.generator, loss_name="pairs")
