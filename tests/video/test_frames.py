"""Frames: luma out and back in, codes of every depth, range and order of samples."""

import av
import numpy as np
import pytest
import tiny_clips

from keras_refocus.video import frames


def test_black_and_white_are_zero_and_one_in_limited_and_full_range():
    for full, black, white in ((False, 16, 235), (True, 0, 255)):
        frame = tiny_clips.frame_of(np.array([[0.0, 1.0]]), "gray", full=full)
        frame.color_range = frames.FULL if full else frames.LIMITED
        layout = frames.layout_of(frame)
        assert frames.view(frame, 0).tolist() == [[black, white]]
        assert frames.luma(frame, layout).tolist() == [[0.0, 1.0]]


def test_the_scale_of_ten_bits_is_four_times_that_of_eight():
    frame = tiny_clips.frame_of(np.full((4, 4), 0.5), "yuv420p10le")
    layout = frames.layout_of(frame)
    assert (layout.black, layout.scale, layout.top) == (64, 876, 1023)
    assert np.allclose(frames.luma(frame, layout), 0.5, atol=1 / 876)


@pytest.mark.parametrize("format", ["yuv420p", "yuv422p12le", "gbrp", "gray16le"])
def test_luma_that_did_not_change_gives_every_code_back(format):
    rng = np.random.default_rng(0)
    frame = tiny_clips.frame_of(np.zeros((6, 10)), format)
    layout = frames.layout_of(frame)
    # All codes, those beyond black and white too.
    frames.view(frame, 0)[...] = rng.integers(0, layout.top + 1, (6, 10))
    luma = frames.luma(frame, layout)
    result = frames.with_luma(frame, layout, luma, luma.copy())
    for plane in range(len(frame.planes)):
        assert np.array_equal(frames.view(result, plane), frames.view(frame, plane))


def test_a_change_of_luma_moves_red_green_and_blue_alike():
    frame = tiny_clips.frame_of(np.zeros((4, 4)), "gbrp")
    for plane, value in enumerate((100, 50, 150)):
        frames.view(frame, plane)[...] = value
    layout = frames.layout_of(frame)
    luma = frames.luma(frame, layout)
    expected = 0.7152 * 100 + 0.0722 * 50 + 0.2126 * 150
    assert np.allclose(luma, expected / 255, atol=1e-6)
    result = frames.with_luma(frame, layout, luma, luma + 10 / 255)
    assert [frames.view(result, plane)[0, 0] for plane in range(3)] == [110, 60, 160]
    # The frame that came in is as it was.
    assert frames.view(frame, 0)[0, 0] == 100


@pytest.mark.parametrize(
    ("packed", "planar"),
    [("nv12", "yuv420p"), ("p010le", "yuv420p10le"), ("yuyv422", "yuv422p"), ("rgb24", "gbrp")],
)
def test_other_orders_of_samples_hold_the_same_ones(packed, planar):
    source = tiny_clips.frame_of(tiny_clips.scene(1), planar, seed=1)
    if planar == "gbrp":
        frames.view(source, 0)[...] = np.random.default_rng(0).integers(0, 256, (48, 64))
    there = source.reformat(format=packed)
    layout = frames.layout_of(there)
    assert layout.format == planar
    back = frames.in_planes(there, layout)
    for plane in range(3):
        assert np.array_equal(frames.view(back, plane), frames.view(source, plane))


def test_odd_sizes_and_padded_rows_are_cut_to_what_is_seen():
    frame = av.VideoFrame(37, 21, "yuv420p")
    assert frames.view(frame, 0).shape == (21, 37)
    assert frames.view(frame, 1).shape == (11, 19)


@pytest.mark.parametrize("format", ["xyz12le", "grayf32le", "bayer_rggb8"])
def test_other_kinds_of_pixels_are_refused(format):
    with pytest.raises(ValueError, match=f"pixel format '{format}'"):
        frames.layout_of(av.VideoFrame(8, 8, format))
