"""Restoration of one rectangle: nothing outside it changes, and its edges are soft."""

import json
import pickle

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
    "region",
    [
        (0, 0, 0, 5),
        (0, 0, 5, 0),
        (-1, 0, 5, 5),
        (0, -1, 5, 5),
        (0, 0, 5),
        (0.5, 0, 5, 5),
        "abcd",
        (0, 0, None, 5),
    ],
)
def test_what_is_no_rectangle_is_refused(region):
    with pytest.raises(ValueError, match="left, top, width and height"):
        pipeline.RestoreOptions(region=region)


def disc(height=300, width=400, center=(180, 140), radius=60):
    y, x = np.mgrid[:height, :width] + 0.5
    return np.hypot(x - center[0], y - center[1]) <= radius


@pytest.mark.parametrize(
    "region",
    [
        regions.Mask(disc()),
        regions.Strokes((regions.Stroke(((180, 140),), 60),)),
        regions.Strokes.of({"strokes": [{"points": [[180, 140], [180.5, 140]], "radius": 60}]}),
    ],
)
def test_a_brush_and_a_mask_change_what_they_cover_and_nothing_else(engine, region):
    source = picture()
    seen = []
    plain = engine.restore
    engine.restore = lambda tiles, model: seen.append(tiles.shape[1:3]) or plain(tiles)
    restorer = pipeline.Restorer(engine)
    part = restorer.restore(source, pipeline.RestoreOptions(region=region)).image
    whole = restorer.restore(source).image
    outside = ~disc(radius=62)
    np.testing.assert_array_equal(part[outside], source[outside])
    inner = disc(radius=60 - 60 / 4 - 1)
    np.testing.assert_allclose(part[inner].astype(int), whole[inner].astype(int), atol=1)
    # In between it fades: nearer to the result the further inside.
    changes = np.abs(part.astype(int) - source).mean(axis=-1)
    means = [changes[disc(radius=r) & ~disc(radius=r - 3)].mean() for r in (60, 55, 50)]
    assert 0 < means[0] < means[1] < means[2]
    height, width = seen[0]
    assert 240 <= height <= 256 and 240 <= width <= 256


def test_of_a_shape_at_the_edge_of_the_picture_nothing_fades_there():
    mask = np.zeros((100, 80), bool)
    mask[:, :40] = True
    region = regions.Mask(mask)
    assert regions.bounds(region, mask.shape) == (0, 0, 40, 100)
    soft = regions.weights(region, mask.shape)[..., 0]
    # The picture's own edges are at the left, above and below; 40 wide, it fades over 10.
    np.testing.assert_array_equal(soft[:, :30], 1)
    assert soft[0, 39] == pytest.approx(0.05, abs=1e-6) and (np.diff(soft[50, 29:]) < 0).all()
    assert (regions.weights(regions.Mask(np.ones((9, 9), bool)), (9, 9)) == 1).all()


def test_the_rectangle_of_strokes_has_all_that_they_touch_and_ends_with_the_picture():
    size = (50, 60)
    corners = {
        (2, 3): (0, 0, 8, 9),
        (58, 3): (52, 0, 8, 9),
        (2, 48): (0, 42, 8, 8),
        (30.5, 20.5): (24, 14, 13, 13),
    }
    for point, expected in corners.items():
        dab = regions.Strokes((regions.Stroke((point,), 5),))
        assert regions.bounds(dab, size) == expected
        left, top, width, height = expected
        # It covers what lies within the radius.
        y, x = np.mgrid[:50, :60] + 0.5
        inside = np.hypot(x - point[0], y - point[1]) < 4
        covered = np.zeros(size, bool)
        covered[top : top + height, left : left + width] = dab.share(expected)
        assert covered[inside].all() and not covered[np.hypot(x - point[0], y - point[1]) > 6].any()


def test_thin_strokes_are_restored_in_full_beside_broad_ones():
    strokes = regions.Strokes(
        (
            regions.Stroke(((20, 50), (80, 50)), 2),
            regions.Stroke(((150, 50),), 40),
        )
    )
    left, top, *_ = regions.bounds(strokes, (100, 200))
    soft = regions.weights(strokes, (100, 200))[..., 0]
    assert soft[50 - top, 40 - left] == 1 and soft[50 - top, 150 - left] == 1
    assert soft[50 - top, 111 - left] < 0.3


def test_the_eraser_takes_away_and_greys_are_taken_as_they_are(engine):
    painted = {"points": [[100, 100], [300, 100]], "radius": 30}
    erased = {"points": [[200, 60], [200, 140]], "radius": 20, "erases": True}
    region = regions.Strokes.of({"strokes": [painted, erased]})
    source = picture()
    part = pipeline.Restorer(engine).restore(source, pipeline.RestoreOptions(region=region)).image
    np.testing.assert_array_equal(part[70:130, 182:218], source[70:130, 182:218])
    assert (part[100, 110] != source[100, 110]).any() and (part[100, 290] != source[100, 290]).any()
    half = regions.Mask(np.full((300, 400), 0.5))
    part = pipeline.Restorer(engine).restore(source, pipeline.RestoreOptions(region=half)).image
    whole = pipeline.Restorer(engine).restore(source).image
    middle = (source.astype(float) + whole) / 2
    np.testing.assert_allclose(part, middle, atol=1.5)


def test_masks_are_read_from_pictures_and_strokes_from_json(tmp_path):
    levels = np.where(disc(), 250, 3).astype(np.uint8)  # As JPEG leaves it.
    cv2.imwrite(str(tmp_path / "mask.png"), levels)
    assert regions.read(str(tmp_path / "mask.png")) == regions.Mask(disc())
    layer = np.dstack([np.full((300, 400, 3), 255, np.uint8), np.where(disc(), 255, 0)])
    cv2.imwrite(str(tmp_path / "layer.png"), layer.astype(np.uint8))
    assert regions.read(str(tmp_path / "layer.png")) == regions.Mask(disc())
    strokes = regions.Strokes((regions.Stroke(((1.0, 2.0),), 3.0),))
    (tmp_path / "a.json").write_text(json.dumps(regions.record(strokes)))
    assert regions.read(str(tmp_path / "a.json")) == strokes
    assert regions.read("1,2,3,4") == (1, 2, 3, 4)
    (tmp_path / "black.png").write_bytes(cv2.imencode(".png", 0 * levels)[1])
    with pytest.raises(ValueError, match="must have white.*black.png"):
        regions.read(str(tmp_path / "black.png"))
    (tmp_path / "b.json").write_text("{")
    for name, said in (("b.json", "must be JSON"), ("none.png", "file of a mask")):
        with pytest.raises(ValueError, match=said):
            regions.read(str(tmp_path / name))


def test_options_with_a_mask_are_compared_told_and_sent_to_other_processes(engine):
    options = [pipeline.RestoreOptions(region=regions.Mask(disc())) for _ in range(2)]
    assert options[0] == options[1] and len(set(options)) == 1
    assert options[0] != pipeline.RestoreOptions(region=regions.Mask(disc(radius=9)))
    assert pickle.loads(pickle.dumps(options[0])) == options[0]
    told = json.loads(json.dumps(options[0].record()))
    assert told["region"] == {"mask_sha256": options[0].region.sha256, "width": 400, "height": 300}
    with pytest.raises(ValueError, match="400 x 300 pixels, and a picture of 60 x 50"):
        pipeline.Restorer(engine).restore(picture(50, 60), options[0])


@pytest.mark.parametrize(
    "strokes",
    [
        [],
        [{"points": [], "radius": 3}],
        [{"points": [[1, 2]], "radius": 0}],
        [{"points": [[1, float("nan")]], "radius": 2}],
        [{"points": [[1, 2, 3]], "radius": 2}],
        [{"points": [[1, 2]], "radius": 2, "erases": True}],
        [{"points": [[1e9, 2]], "radius": 2}],
        3,
    ],
)
def test_what_are_no_strokes_is_refused(strokes):
    with pytest.raises(ValueError, match="(?i)strokes? must|points of a stroke"):
        regions.Strokes.of({"strokes": strokes})


def test_strokes_outside_of_the_picture_are_refused(engine):
    region = regions.Strokes.of({"strokes": [{"points": [[900, 10]], "radius": 5}]})
    with pytest.raises(ValueError, match="must lie in the picture"):
        pipeline.Restorer(engine).restore(picture(), pipeline.RestoreOptions(region=region))
