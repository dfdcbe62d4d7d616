"""Colours of clips: from key frame to key frame, carried, and steadier than frame by frame."""

import av
import numpy as np
import pytest
import tiny_clips

from keras_refocus.pictures import color
from keras_refocus.video import colors, frames


@pytest.mark.parametrize(
    ("index", "scene", "keys"),
    [
        (0, (0, 100), (0, 12)),
        (11, (0, 100), (0, 12)),
        (12, (0, 100), (12, 24)),
        (30, (25, 40), (25, 37)),
        (39, (25, 40), (37, 39)),
        (25, (25, 26), (25, 25)),
    ],
)
def test_key_frames_follow_scenes(index, scene, keys):
    assert colors.key_frames(index, scene) == keys


def luminances(count=5):
    return [frame[..., np.newaxis] for frame in tiny_clips.moving(0, count, height=96, width=96)]


def test_key_frames_have_their_own_colours_and_those_between_are_blended():
    asked = []

    def colorize(luminance):
        asked.append(luminance)
        return np.full((24, 24, 2), len(asked) / 10, np.float32)

    chroma = colors.carried(luminances(), colorize)
    assert len(asked) == 2
    assert [float(c.mean()) for c in chroma] == pytest.approx([0.1, 0.125, 0.15, 0.175, 0.2])
    assert chroma[0].shape == (96, 96, 2)


def test_carried_colours_flicker_less_than_those_of_single_frames():
    rng = np.random.default_rng(0)

    def colorize(luminance):
        return (luminance * 0.3 + 0.2 * rng.random((1, 1, 2))).astype(np.float32)

    seen = luminances(9)
    alone = colors.flicker([colorize(one) for one in seen], seen)
    assert colors.flicker(colors.carried(seen, colorize), seen) < 0.4 * alone


@pytest.mark.parametrize("format", ["yuv420p", "yuv444p10le"])
def test_colours_are_those_that_were_asked_for_and_luminance_stays(format):
    frame = tiny_clips.frame_of(np.full((32, 48), 0.5), format, gray=True)
    frame.colorspace, frame.color_range = 1, 1
    layout = frames.layout_of(frame)
    luma = frames.luma(frame, layout)
    small = colors.small_luminance(luma)
    chroma = np.full((256, 256, 2), (0.1, 0.2), np.float32)
    result = colors.put_on(frame, layout, luma, small, chroma, format)
    picture = av.VideoFrame.from_ndarray(
        result.reformat(
            format="rgb24", src_colorspace=1, src_color_range=1, dst_color_range=2
        ).to_ndarray(),
        format="rgb24",
    )
    luminance, back = color.rgb_to_lab(picture.to_ndarray())
    assert np.abs(back[8:-8, 8:-8].mean(axis=(0, 1)) - (0.1, 0.2)).max() < 0.01
    gray = color.rgb_to_luminance(np.repeat(luma[..., np.newaxis], 3, axis=-1))
    assert abs(float(luminance.mean() - gray.mean())) < 0.01
