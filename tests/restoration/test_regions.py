"""Restoration of one rectangle: nothing outside it changes, and its edges are soft."""

import cv2
import numpy as np
import pytest
from arithmetic_engine import ArithmeticEngine

from keras_refocus.restoration import pipeline, regions


@pytest.fixture
def engine():
    return ArithmeticEngine("restorer", "colorizer")


def picture(height=300, width=400):
    """Smooth: where there is nothing but noise, means are kept (`means`)."""
    rng = np.random.default_rng(0)
    small = (80 + 60 * rng.random((6, 8, 3))).astype(np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_what_is_outside_stays_to_the_bit_and_what_is_inside_is_restored(engine, dtype):
    source = picture()
    if dtype == np.uint16:
        source = source.astype(dtype) * 257
    elif dtype == np.float32:
        source = source.astype(dtype) / 255
    region = (100, 50, 160, 120)
    seen = []
    plain = engine.restore
    engine.restore = lambda tiles, model: seen.append(tiles.shape[1:3]) or plain(tiles)
    restorer = pipeline.Restorer(engine)
    part = restorer.restore(source, pipeline.RestoreOptions(region=region)).image
    whole = restorer.restore(source).image
    outside = np.ones((300, 400), bool)
    outside[50:170, 100:260] = False
    np.testing.assert_array_equal(part[outside], source[outside])
    # Beyond the soft edge it is what the whole picture would be.
    inner = np.s_[75:145, 125:235]
    np.testing.assert_allclose(part[inner].astype(float), whole[inner].astype(float), atol=1)
    # Only the rectangle and what is around it went through the network.
    assert seen[0] == (120 + 128 - 14, 160 + 128) and part.dtype == dtype


def test_the_weight_rises_from_the_edge_and_stays_full_at_the_border_of_the_picture():
    weights = regions.weights((0, 40, 100, 200), (400, 100))[..., 0]
    # Left and right are the picture's own edges.
    np.testing.assert_array_equal(weights[100], 1)
    assert weights[0, 50] == pytest.approx(0.5 / 24) and weights[24, 50] == 1
    np.testing.assert_allclose(weights[:, 50], weights[::-1, 50])
    assert (np.diff(weights[:100, 50]) >= 0).all()
    # A tiny rectangle has no ramp, and is not empty.
    assert regions.weights((5, 5, 1, 1), (9, 9)).item() == 1


def test_strength_is_blended_again_inside_only(engine):
    source = picture()
    options = pipeline.RestoreOptions(region=(10, 20, 200, 100))
    restorer = pipeline.Restorer(engine)
    result = restorer.restore(source, options, keep_stages=True)
    again = pipeline.reblend(pipeline.reblend(result, strength=0.0), strength=1.0)
    np.testing.assert_array_equal(again.image, result.image)
    np.testing.assert_array_equal(pipeline.reblend(result, strength=0.0).image, source)


def test_a_part_of_a_grey_picture_can_be_coloured(engine):
    gray = picture()[..., 0]
    options = pipeline.RestoreOptions(mode="restore+colorize", region=(100, 100, 120, 80))
    result = pipeline.Restorer(engine).restore(gray, options)
    assert result.image.shape == (300, 400, 3)
    spread = np.ptp(result.image.astype(int), axis=-1)
    assert spread[120:160, 130:190].min() > 0
    spread[100:180, 100:220] = 0
    assert spread.max() == 0
    # Alone, stage 1 leaves a grey picture of one channel.
    only = pipeline.RestoreOptions(region=(0, 0, 50, 50))
    assert pipeline.Restorer(engine).restore(gray, only).image.shape == (300, 400)


def test_a_region_that_sticks_out_is_clipped_and_one_that_lies_outside_is_refused(engine):
    source = picture(50, 60)
    restorer = pipeline.Restorer(engine)
    result = restorer.restore(source, pipeline.RestoreOptions(region=(40, 30, 1000, 1000)))
    assert result.options.region == (40, 30, 20, 20)
    assert (result.image[49, 59] != source[49, 59]).any()
    with pytest.raises(ValueError, match="must lie in the picture.*60 x 50"):
        restorer.restore(source, pipeline.RestoreOptions(region=(60, 0, 5, 5)))


@pytest.mark.parametrize(
    "region", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 5), (0.5, 0, 5, 5), "abcd", (0, 0, None, 5)]
)
def test_what_is_no_rectangle_is_refused(region):
    with pytest.raises(ValueError, match="left, top, width and height"):
        pipeline.RestoreOptions(region=region)
