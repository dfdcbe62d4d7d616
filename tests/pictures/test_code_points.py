"""Colours named by number, against the numbers of the recommendations."""

import numpy as np
import pytest

from keras_refocus.pictures import code_points

# ITU-R BT.2087 (BT.2020); Poynton, Digital Video and HD, 2012 (SMPTE RP 145, EBU Tech. 3213);
# CSS Color 4, sample code (Display P3): linear light to that of BT.709.
MATRICES = {
    1: np.eye(3),
    5: [[1.0440, -0.0440, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0119, 0.9881]],
    6: [[0.9395, 0.0502, 0.0103], [0.0178, 0.9658, 0.0164], [-0.0016, -0.0044, 1.0060]],
    9: [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    12: [[1.2249, -0.2249, 0.0], [-0.0421, 1.0421, 0.0], [-0.0196, -0.0786, 1.0983]],
}


def test_gray_stays_gray_in_any_primaries():
    for primaries in code_points.PRIMARIES.values():
        np.testing.assert_allclose(code_points.to_srgb_matrix(primaries) @ [1, 1, 1], 1, atol=1e-6)


@pytest.mark.parametrize("number", MATRICES)
def test_matrices_are_the_published_ones(number):
    found = code_points.to_srgb_matrix(code_points.PRIMARIES[number])
    np.testing.assert_allclose(found, MATRICES[number], atol=2e-4)


def test_other_names_and_another_white_of_the_same_primaries():
    assert code_points.PRIMARIES[7] == code_points.PRIMARIES[6]
    assert code_points.PRIMARIES[11][2:] == code_points.PRIMARIES[12][2:]
    # The greenish white of cinemas becomes that of screens, and red stays about as red.
    cinema, screen = (code_points.to_srgb_matrix(code_points.PRIMARIES[n]) for n in (11, 12))
    np.testing.assert_allclose(cinema, screen, atol=0.08)


def test_luminance_of_the_primaries_of_1953():
    # 0.299 R + 0.587 G + 0.114 B, which outlived them.
    to_xyz, white = code_points._to_xyz(code_points.PRIMARIES[4])
    np.testing.assert_allclose(to_xyz[1], [0.299, 0.587, 0.114], atol=1e-3)
    np.testing.assert_allclose(to_xyz @ [1, 1, 1], white)


# ITU-R BT.2408, table 1, and SMPTE ST 2084.
@pytest.mark.parametrize(
    ("code", "luminance"), [(0, 0), (0.508078, 100), (0.580689, 203), (0.751827, 1000), (1, 10_000)]
)
def test_perceptual_quantizer(code, luminance):
    light = code_points.TRANSFERS[16](np.array([code]))
    np.testing.assert_allclose(light * 203, luminance, rtol=1e-4)


def test_hybrid_log_gamma():
    curve = code_points.TRANSFERS[18]
    # Below one half a square; above it a logarithm; the display has 1,000 cd/m2 and gamma 1.2.
    scene = {0.25: 0.25**2 / 3, 0.5: 1 / 12, 0.75: 0.26496, 1.0: 1.0}
    for code, light in scene.items():
        expected = 1000 / 203 * light**1.2
        for channels in (1, 3):
            found = curve(np.full((2, channels), code))
            np.testing.assert_allclose(found, expected, rtol=1e-4)
    # A colour is as bright as its luminance makes it: BT.2020's weights.
    for channel, weight in enumerate((0.2627, 0.6780, 0.0593)):
        code = np.zeros(3)
        code[channel] = 1
        expected = code * weight**0.2 * 1000 / 203
        np.testing.assert_allclose(curve(code), expected, rtol=1e-4)


def test_curves_of_sdr():
    code = np.array([0.02, 0.5, 1.0])
    srgb = [0.02 / 12.92, ((0.5 + 0.055) / 1.055) ** 2.4, 1.0]
    expected = {1: srgb, 6: srgb, 13: srgb, 4: code**2.2, 5: code**2.8, 8: code}
    for number, light in expected.items():
        np.testing.assert_allclose(code_points.TRANSFERS[number](code), light, rtol=1e-6)


def test_srgb_becomes_itself_also_grey():
    levels = np.linspace(0, 1, 52, dtype=np.float32)
    convert = code_points.converter(code_points.PRIMARIES[1], None)
    for channels in (1, 3):
        picture = np.repeat(levels[:, np.newaxis], channels, axis=1)
        found = convert(picture)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, picture, atol=2e-6)


def test_what_is_out_of_range_is_clipped():
    found = code_points.converter(code_points.PRIMARIES[9], None)(np.float32([[1, 0, 0]]))
    assert found[0, 0] == pytest.approx(1) and (found[0, 1:] == 0).all()


@pytest.mark.parametrize(
    "chromaticities",
    [
        (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.0, 0.15, 0.06),  # y of nothing
        (0.3127, 0.3290, 0.64, 0.33, 0.64, 0.33, 0.15, 0.06),  # twice the same
        (0.3127, 0.3290, 0.3, 0.3, 0.3, 0.3 + 1e-9, 0.15, 0.06),  # hardly a triangle
    ],
)
def test_chromaticities_that_span_no_colours_are_refused(chromaticities):
    with pytest.raises(ValueError, match="chromaticities must"):
        code_points.converter(chromaticities, None)
