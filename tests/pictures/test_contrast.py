"""Luminance with the contrast of a photo."""

import numpy as np
import pytest

from keras_refocus.pictures import contrast


def ramp(low, high):
    return np.linspace(low, high, 1001, dtype=np.float32).reshape(7, 143, 1)


@pytest.mark.parametrize(
    ("low", "high", "dark", "light"),
    [
        (0.3, 0.7, 0.05, 0.95),
        (0.0, 0.5, 0.005, 0.95),  # blacks that are there stay
        (0.4, 1.0, 0.05, 0.994),
        # Four times the contrast and no more, where it lay: 0.451 from below and 0.451 from above.
        (0.45, 0.55, 0.304, 0.696),
        (0.9, 1.0, 0.606, 0.998),
    ],
)
def test_contrast_by_hand(low, high, dark, light):
    stretched, part = contrast.stretch(ramp(low, high))
    assert stretched.dtype == np.float32
    np.testing.assert_allclose(np.quantile(stretched, (0.01, 0.99)), (dark, light), atol=5e-3)
    assert part == pytest.approx(0.98 * (high - low) / (light - dark), rel=0.02)
    assert (np.diff(stretched.ravel()) >= 0).all()


def test_what_fills_the_range_is_left_to_the_bit():
    plane = ramp(0.0, 1.0)
    stretched, part = contrast.stretch(plane)
    assert stretched is plane and part == 1.0


def test_it_sets_in_softly():
    """A picture hardly flatter than another is shown hardly otherwise."""
    for low, high in ((0.05, 0.95), (0.06, 0.95), (0.05, 0.93)):
        plane = ramp(low, high)
        stretched, part = contrast.stretch(plane)
        assert np.abs(stretched - plane).max() < 0.03 and part > 0.95


@pytest.mark.parametrize("tone", [0.0, 0.45, 1.0])
def test_a_plane_of_one_tone_is_left(tone):
    plane = np.full((10, 10, 1), tone, np.float32)
    assert contrast.stretch(plane)[0] is plane


def test_grain_of_a_plain_wall_stays_grain():
    plane = np.random.default_rng(0).normal(0.6, 0.01, (64, 64, 1)).astype(np.float32)
    stretched, _ = contrast.stretch(plane)
    assert stretched.std() < 0.041


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.3, 0.7), (0.45, 0.55), (0.9, 1.0), (0.6, 0.6), (0.0, 0.3)]
)
def test_the_graph_does_the_same(low, high):
    tf = pytest.importorskip("tensorflow")
    plane = ramp(low, high)
    expected, part = contrast.stretch(plane)
    stretched, share = tf.function(contrast.stretch_in_graph)(tf, plane)
    np.testing.assert_allclose(stretched, expected, atol=2e-6)
    assert float(share) == pytest.approx(part, rel=1e-5)
