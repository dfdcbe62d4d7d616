"""Cuts: other scenes are told from motion, flashes of nothing, and fades."""

import numpy as np
import tiny_clips

from keras_refocus.video import cuts


def small(luma):
    return cuts.shrink(luma.astype(np.float32))


def test_another_scene_is_a_cut_and_motion_is_not():
    first = tiny_clips.moving(0, 3, height=96, width=160, step=4.0)
    assert cuts.is_cut(small(first[0]), small(tiny_clips.scene(5, height=96, width=160)))
    assert not cuts.is_cut(small(first[0]), small(first[2]))


def test_frames_of_hardly_any_contrast_are_no_cut():
    rng = np.random.default_rng(0)
    dark = [small(0.02 + 0.004 * rng.random((96, 160))) for _ in range(2)]
    assert not cuts.is_cut(*dark)


def test_the_same_frame_scores_nothing():
    frame = small(tiny_clips.scene(1, height=96, width=160))
    assert cuts.scene_score(frame, frame) < 0.01
