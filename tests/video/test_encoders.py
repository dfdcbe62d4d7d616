"""Encoders: that of the input where it can hold the frames, what is asked for, what is refused."""

import pytest

from keras_refocus.video import encoders


@pytest.mark.parametrize(
    ("codec", "pixels", "name", "given"),
    [
        ("h264", "yuv420p", "libx264", "yuv420p"),
        ("hevc", "yuv420p10le", "libx265", "yuv420p10le"),
        ("av1", "yuv444p", "libx264", "yuv444p"),
        ("mpeg4", "yuv420p", "libx264", "yuv420p"),
        ("rawvideo", "yuv420p12le", "libx265", "yuv420p12le"),
        ("prores", "yuv422p10le", "prores_ks", "yuv422p10le"),
        ("rawvideo", "gbrap", "ffv1", "bgra"),
        ("mjpeg", "yuvj420p", "libx264", "yuvj420p"),
    ],
)
def test_depth_and_subsampling_are_never_given_up(codec, pixels, name, given):
    chosen = encoders.choose(codec, pixels)
    assert (chosen.name, chosen.pixels) == (name, given)


def test_a_codec_that_cannot_hold_the_frames_is_refused_with_those_that_can():
    with pytest.raises(ValueError, match="Choose one of: hevc, ffv1"):
        encoders.choose("h264", "yuv420p12le", asked="av1")
    with pytest.raises(ValueError, match="Did you mean 'hevc'"):
        encoders.choose("h264", "yuv420p", asked="hevv")


def test_quality_is_on_the_scale_of_the_codec():
    assert encoders.choose("h264", "yuv420p", crf=30).options["crf"] == "30"
    with pytest.raises(ValueError, match="0 to 51"):
        encoders.choose("h264", "yuv420p", crf=60)
    with pytest.raises(ValueError, match="Leave --crf out"):
        encoders.choose("ffv1", "yuv420p", crf=20)
