"""Examples of exposures that are kept: made once, cut and turned as often as one likes."""

import numpy as np
import pytest

from keras_refocus.data import kept_exposures


def example(number, size=12):
    rng = np.random.default_rng(number)
    return rng.uniform(-1, 1, (size, size, 5)), rng.random((size, size, 7))


def test_what_is_there_is_not_made_again(tmp_path):
    made = []

    def make(number):
        made.append(number)
        return example(number)

    facts = {"blur": "clean", "lengths": (2.0, 30.0)}
    told = []
    paths = kept_exposures.keep(tmp_path / "kept", 3, make, facts, progress=told.append)
    assert made == told == [0, 1, 2] and len(paths) == 3
    paths[1].unlink()
    assert kept_exposures.keep(tmp_path / "kept", 4, make, facts)[:3] == paths
    assert made == [0, 1, 2, 1, 3]
    seen, frames = kept_exposures.read(paths[1])
    assert seen.dtype == frames.dtype == np.float32
    np.testing.assert_allclose(seen, example(1)[0], atol=1e-3)
    np.testing.assert_allclose(frames, example(1)[1], atol=1e-3)
    with pytest.raises(ValueError, match="blur differ: .'clean'. there, .'mixed'. here"):
        kept_exposures.keep(tmp_path / "kept", 3, make, facts | {"blur": "mixed"})


def sampler(paths, **options):
    values = {"shares": (1.0,), "size": 8, "batch_size": 4, "seed": 0}
    source = kept_exposures.KeptExposures(paths=paths)
    return kept_exposures.KeptSampler(sources=(source,), **values | options)


def test_batches_are_windows_of_both_sides(tmp_path):
    paths = kept_exposures.keep(tmp_path, 2, example, {})
    seen, frames = sampler(paths, flip=False, crop="center").batch(0)
    assert seen.shape == (4, 8, 8, 5) and frames.shape == (4, 8, 8, 7)
    whole = {number: kept_exposures.read(paths[number]) for number in (0, 1)}
    for one, other in zip(seen, frames, strict=True):
        assert any(
            (one == a[2:10, 2:10]).all() and (other == b[2:10, 2:10]).all()
            for a, b in whole.values()
        )
    again = sampler(paths)
    np.testing.assert_array_equal(again.batch(5)[0], again.batch(5)[0])
    assert (again.batch(5)[0] != again.batch(6)[0]).any()
    with pytest.raises(ValueError, match="smaller --patch-size"):
        sampler(paths, size=16).batch(0)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_ways_turn_with_the_picture(turns, flip):
    """A point and where it is one moment later are turned; the way leads from one to the other."""
    right, down = 3, -2
    seen = np.zeros((16, 20, 5))
    seen[6, 8, 0], seen[6 + down, 8 + right, 1] = 1, 1
    seen[..., 2], seen[..., 3], seen[..., 4] = right, down, 0.5
    turned = kept_exposures.orient_seen(seen, turns, flip)
    (row, column), (next_row, next_column) = (
        np.unravel_index(turned[..., channel].argmax(), turned.shape[:2]) for channel in (0, 1)
    )
    way = (next_column - column, next_row - row)
    np.testing.assert_array_equal(turned[0, 0, 2:4], way)
    assert (turned[..., 4] == 0.5).all() and (seen[..., 2] == right).all()
