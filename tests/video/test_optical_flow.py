"""Flow: a shift is found, warping undoes it, and where it cannot be trusted is said."""

import numpy as np
import tiny_clips

from keras_refocus.video import optical_flow


def pair(shift=3.0):
    first, second = tiny_clips.moving(0, 2, height=96, width=128, step=shift)
    return first, second


def test_a_shift_is_found_and_undone():
    first, second = pair()
    motion = optical_flow.estimate(first, second)
    inner = (slice(16, -16), slice(16, -16))
    assert np.abs(np.median(motion[inner], axis=(0, 1)) - [-3, 0]).max() < 0.2
    left = np.abs(optical_flow.warp(second, motion) - first)[inner].mean()
    assert left < 0.4 * np.abs(second - first)[inner].mean()


def test_frames_smaller_than_what_the_method_needs_have_a_flow_too():
    first, second = tiny_clips.moving(0, 2, height=20, width=30, step=1.0)
    assert optical_flow.estimate(first, second).shape == (20, 30, 2)


def test_the_number_of_threads_that_opencv_was_given_does_not_matter_after_the_call():
    import cv2

    cv2.setNumThreads(3)
    optical_flow.single_thread()
    assert cv2.getNumThreads() == 1


def test_there_and_back_is_trusted_where_it_ends_where_it_began():
    there = np.zeros((8, 20, 2), np.float32)
    there[..., 0] = 4
    back = -there
    mask = optical_flow.consistency(there, back)
    # The last four columns leave the frame.
    assert mask[:, :16].all() and not mask[:, 16:].any()
    # 0.5 + 0.02 * 4 pixels are let through.
    assert optical_flow.consistency(there, back + 0.4)[0, 0] == 1
    assert optical_flow.consistency(there, back + 0.5)[0, 0] == 0


def test_warping_fetches_from_where_the_flow_points():
    plane = np.arange(20, dtype=np.float32).reshape(4, 5)
    motion = np.zeros((4, 5, 2), np.float32)
    motion[..., 1] = 1
    assert np.array_equal(optical_flow.warp(plane, motion)[:3], plane[1:])
