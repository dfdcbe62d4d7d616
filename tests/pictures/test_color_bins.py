import numpy as np
import pytest
from keras import ops

from keras_refocus.pictures import color, color_bins


def chroma_of_random_colours(count=500):
    return color.rgb_to_lab(np.random.default_rng(0).random((count, 3), dtype="float32"))[1]


def class_of(a, b):
    """Class of the grid point `(10 a, 10 b)` in units of a*, b*."""
    (found,) = np.flatnonzero((np.rint(color_bins.centers() * 11) == [a, b]).all(axis=1))
    return found


def test_there_are_as_many_colours_as_in_the_paper():
    centers = color_bins.centers()
    assert centers.shape == (313, 2)
    assert len(np.unique(centers, axis=0)) == 313
    # A grid of ten units of a*, b*; grey is one of them.
    np.testing.assert_allclose(centers * 11, np.rint(centers * 11), atol=1e-5)
    class_of(0, 0)


def test_every_colour_of_srgb_is_near_its_class():
    chroma = chroma_of_random_colours()
    nearest = ops.convert_to_numpy(color_bins.nearest(chroma))
    difference = np.abs(color_bins.centers()[nearest] - chroma)
    assert difference.max() <= 0.5 / 11 + 1e-6


def test_neighbours_mix_to_the_colour_itself():
    chroma = chroma_of_random_colours()
    classes, weights = (ops.convert_to_numpy(part) for part in color_bins.neighbors(chroma))
    assert classes.shape == weights.shape == (500, 4)
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, atol=1e-5)
    mixture = (color_bins.centers()[classes] * weights[..., None]).sum(axis=1)
    np.testing.assert_allclose(mixture, chroma, atol=1e-5)


def test_colours_outside_the_grid_get_its_rim():
    far = np.array([[9.0, 0.0], [-9.0, -9.0]], "float32")
    assert ops.convert_to_numpy(color_bins.nearest(far)).max() < 313
    weights = ops.convert_to_numpy(color_bins.neighbors(far)[1])
    assert np.isfinite(weights).all() and weights.min() >= 0


def test_histogram_counts_each_colour_in_its_class():
    # 34 units of a* lie nearest to 30, and 36 nearest to 40.
    chroma = np.array([[0.0, 0.0], [34 / 110, 0.0], [36 / 110, 0.0], [0.01, 0.0]], "float32")
    counts = color_bins.histogram(chroma.reshape(2, 2, 2))
    assert counts.sum() == 4
    assert counts[class_of(0, 0)] == 2
    assert counts[class_of(3, 0)] == counts[class_of(4, 0)] == 1


def test_rarity_by_hand():
    counts = np.zeros(313)
    common, rare = class_of(0, 0), class_of(5, 5)
    counts[common], counts[rare] = 3.0, 1.0
    # So narrow a kernel smooths nothing: shares of 3/4 and 1/4, mixed half and half with 1/313.
    weights = color_bins.rarity(counts, uniform=0.5, sigma=0.01)
    assert weights[rare] / weights[common] == pytest.approx(
        (0.375 + 0.5 / 313) / (0.125 + 0.5 / 313), rel=1e-5
    )
    # The mean weight of the pixels that were counted is one.
    assert 0.75 * weights[common] + 0.25 * weights[rare] == pytest.approx(1.0, rel=1e-5)
    assert weights.argmax() not in (common, rare)


def test_rarity_with_equal_shares_alone_treats_all_alike():
    counts = np.random.default_rng(0).random(313)
    np.testing.assert_allclose(color_bins.rarity(counts, uniform=1.0), 1.0, rtol=1e-5)


def test_smoothing_lends_to_neighbours():
    counts = np.zeros(313)
    counts[class_of(0, 0)] = 1.0
    weights = color_bins.rarity(counts)
    assert weights[class_of(0, 0)] < weights[class_of(1, 0)] < weights[class_of(3, 0)]


def test_smoothing_by_hand():
    counts = np.zeros(313)
    counts[class_of(0, 0)] = 7.0
    weights = color_bins.rarity(counts, uniform=0.5, sigma=1.0)
    # A Gaussian of one step keeps 1 / (2 pi) of all; its neighbour gets exp(-1 / 2) of that.
    own, beside = (0.5 * share / (2 * np.pi) + 0.5 / 313 for share in (1.0, np.exp(-0.5)))
    assert weights[class_of(1, 0)] / weights[class_of(0, 0)] == pytest.approx(
        own / beside, rel=1e-4
    )


@pytest.mark.parametrize(
    ("counts", "uniform", "message"),
    [
        (np.zeros(313), 0.5, "not all zero"),
        (np.ones(10), 0.5, "313 counts"),
        (np.ones(313), 0.0, "uniform=0.0"),
        (np.ones(313), 1.5, "uniform=1.5"),
    ],
)
def test_rarity_of_nothing_is_refused(counts, uniform, message):
    with pytest.raises(ValueError, match=message):
        color_bins.rarity(counts, uniform=uniform)
