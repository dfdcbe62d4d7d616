"""Tiles: where they lie, what they weigh, and that they come back as they went."""

import itertools

import numpy as np
import pytest

from keras_refocus.restoration.tiling import TILE, Tiles, Window, default_overlap, fitting_tile


def stitch(tiles, pieces):
    """All bands of a blend as one picture, checking that they follow each other."""
    bands = []
    row = 0
    for top, band in tiles.blend(pieces):
        assert top == row
        row += band.shape[0]
        bands.append(band)
    return np.concatenate(bands)


def test_windows_follow_the_stride_and_the_last_shifts_inward():
    tiles = Tiles(12, 7, 5, 1)
    # Stride 4: the window at row 8 reaches the end from there.
    assert tiles.tops == (0, 4, 8)
    assert tiles.lefts == (0, 4)
    assert len(tiles) == 6
    assert list(tiles)[:3] == [Window(0, 0), Window(0, 4), Window(4, 0)]
    assert Tiles(1300, 4000, 512, 64).lefts == (*range(0, 3584, 256), 3584)


@pytest.mark.parametrize("length", [513, 700, 1000, 1101, 4000])
@pytest.mark.parametrize(("tile", "overlap"), [(512, 64), (256, 50), (100, 30), (40, 35)])
def test_windows_are_aligned_and_reach_the_end(length, tile, overlap):
    starts = np.array(Tiles(length, 1, tile, overlap).tops)
    alignment = {(512, 64): 256, (256, 50): 128, (100, 30): 64, (40, 35): 4}[tile, overlap]
    assert not (starts % alignment).any()
    assert np.diff(starts).max() <= tile - overlap
    assert length <= starts[-1] + tile < length + alignment


@pytest.mark.parametrize("height", [1, 2, 5, 16, 17, 31, 40])
@pytest.mark.parametrize("width", [1, 3, 16, 45])
@pytest.mark.parametrize(("tile", "overlap"), [(1, 0), (5, 0), (5, 4), (16, 3), (16, 12), (64, 9)])
def test_identity_is_exact(height, width, tile, overlap):
    image = np.random.default_rng(0).random((height, width, 2), np.float32)
    tiles = Tiles(height, width, tile, overlap)
    pieces = [tiles.cut(image, window) for window in tiles]
    assert {piece.shape for piece in pieces} == {(tile, tile, 2)}
    assert len(pieces) == len(tiles)
    np.testing.assert_allclose(stitch(tiles, pieces), image, atol=1e-6, rtol=0)
    pieces = [tiles.cut(image, window, fill=False) for window in tiles]
    assert all(np.shares_memory(piece, image) for piece in pieces)
    np.testing.assert_allclose(stitch(tiles, pieces), image, atol=1e-6, rtol=0)


def test_a_window_that_reaches_beyond_the_picture_is_filled_with_its_mirror_image():
    image = np.arange(70, dtype=np.float32).reshape(1, 70, 1)
    tiles = Tiles(1, 70, 48, 16)
    assert tiles.lefts == (0, 32)
    tile = tiles.cut(image, Window(0, 32))[0, :, 0]
    np.testing.assert_array_equal(tile, [*range(32, 70), *range(68, 58, -1)])
    inside = tiles.cut(image, Window(0, 32), fill=False)
    np.testing.assert_array_equal(inside, image[:, 32:])


def test_rectangular_tile():
    image = np.random.default_rng(1).random((20, 33, 1), np.float32)
    tiles = Tiles(20, 33, (7, 11), 2)
    pieces = [tiles.cut(image, window) for window in tiles]
    assert pieces[0].shape == (7, 11, 1)
    np.testing.assert_allclose(stitch(tiles, pieces), image, atol=1e-6, rtol=0)


def test_a_small_picture_is_mirrored_as_often_as_needed():
    image = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)[..., np.newaxis]
    tile = Tiles(2, 2, 4, 1).cut(image, Window(0, 0))
    expected = [[1, 2, 1, 2], [3, 4, 3, 4], [1, 2, 1, 2], [3, 4, 3, 4]]
    np.testing.assert_array_equal(tile[..., 0], expected)


def test_blend_across_one_overlap_is_the_raised_cosine():
    # Two windows of 4 columns share 2; the left holds 0, the right 1. The ramp,
    # sin^2(pi/2 * (k + 0.5) / 2), is 0.1464 and 0.8536, and two ramps already sum to one.
    tiles = Tiles(1, 6, (3, 4), 2)
    zero, one = np.zeros((3, 4, 1), np.float32), np.ones((3, 4, 1), np.float32)
    result = stitch(tiles, [zero, one])[0, :, 0]
    np.testing.assert_allclose(result, [0, 0, 0.146447, 0.853553, 1, 1], atol=1e-6)


def test_what_is_next_to_the_border_of_a_window_is_left_out():
    # 16 columns are shared: 6 of each window do not count, the middle 4 are blended.
    tiles = Tiles(32, 48, 32, 16)
    zero, one = np.zeros((32, 32, 1), np.float32), np.ones((32, 32, 1), np.float32)
    shared = stitch(tiles, [zero, one])[0, 16:32, 0]
    assert not shared[:6].any()
    assert (shared[10:] == 1.0).all()
    assert (np.diff(shared[5:11]) > 0).all()
    # At the ends of the picture there is no other window.
    assert (stitch(tiles, [one, one]) == 1.0).all()


def test_a_constant_stays_constant_where_four_windows_meet():
    tiles = Tiles(13, 19, 8, 5)
    result = stitch(tiles, itertools.repeat(np.full((8, 8, 1), 0.7, np.float32)))
    np.testing.assert_allclose(result, 0.7, atol=1e-6)


def test_tiles_are_asked_for_only_when_their_band_is_due():
    """One row of windows at a time: what keeps a 100-megapixel picture in bounded memory."""
    image = np.random.default_rng(2).random((40, 20, 1), np.float32)
    tiles = Tiles(40, 20, 8, 2)
    asked = []

    def pieces():
        for window in tiles:
            asked.append(window)
            yield tiles.cut(image, window)

    for top, band in tiles.blend(pieces()):
        assert asked[-1].top == top
        assert band.shape[0] <= 8


def test_a_finished_band_may_overwrite_its_source():
    """Rows leave before a later window reads from below them, so restoring in place is exact."""
    image = np.random.default_rng(3).random((50, 30, 1), np.float32)
    tiles = Tiles(50, 30, 16, 11)
    expected = stitch(tiles, (1 - tiles.cut(image, window) for window in tiles))
    in_place = image.copy()
    for top, band in tiles.blend(1 - tiles.cut(in_place, window) for window in tiles):
        in_place[top : top + band.shape[0]] = band
    np.testing.assert_array_equal(in_place, expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 5, 4, 1), "at least one row"),
        ((5, 5, 0, 0), "at least 1 pixel"),
        ((5, 5, 4, 4), "smaller than the tile"),
        ((5, 5, 4, -1), "smaller than the tile"),
    ],
)
def test_impossible_grids_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Tiles(*arguments)


def test_wrong_tiles_are_refused():
    tiles = Tiles(8, 8, 4, 0)
    with pytest.raises(ValueError, match="needs 4 tiles"):
        stitch(tiles, [np.zeros((4, 4, 1))] * 3)
    with pytest.raises(ValueError, match=r"\(4, 5, 1\)"):
        stitch(tiles, [np.zeros((4, 5, 1))] * 4)


def test_a_small_tile_has_a_smaller_overlap_unless_asked():
    found = [default_overlap(tile) for tile in (768, 512, 128, 96, 0)]
    assert found == [256, 256, 64, 48, 256]


def computed(tiles):
    """Pixels of the picture that all windows have together."""
    return sum(
        min(tiles.tile_height, tiles.height - top) * min(tiles.tile_width, tiles.width - left)
        for top, left in tiles
    )


@pytest.mark.parametrize(
    ("height", "width"),
    [(1, 1), (300, 9000), (720, 1280), (1080, 1920), (1920, 1080), (3000, 4000), (10_000, 10_000)],
)
def test_a_fitting_tile_has_bounded_area_and_computes_less_twice(height, width):
    tiles = Tiles(height, width, fitting_tile(height, width), 256)
    assert min(tiles.tile_height, height) * min(tiles.tile_width, width) <= 2**20
    squares = (Tiles(height, width, side, 256) for side in (512, TILE, 1024))
    assert computed(tiles) <= min(map(computed, squares))


def test_a_picture_of_up_to_a_megapixel_fits_into_one_tile():
    for height, width in ((1, 2**20), (720, 1280), (1024, 1024)):
        assert len(Tiles(height, width, fitting_tile(height, width), 256)) == 1
    assert len(Tiles(1024, 1025, fitting_tile(1024, 1025), 256)) == 2


def test_a_fitting_tile_may_be_asked_to_be_smaller():
    assert fitting_tile(720, 1280, area=2**19) == (768, 512)
    assert fitting_tile(500, 500, area=2**19) == fitting_tile(500, 500)


def test_a_wide_overlap_makes_the_smallest_tiles_that_have_it():
    assert fitting_tile(3000, 3000, overlap=1024) == (1280, 1280)
