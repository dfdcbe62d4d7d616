import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_refocus.pictures import color

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "tfa_tfio.npz"


@pytest.fixture(scope="module")
def colors():
    """200,000 colours: the corners and edges of the cube, a grid, and random ones, (n, 3)."""
    steps = np.linspace(0.0, 1.0, 41, dtype="float32")
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(-1, 3)
    random = np.random.default_rng(0).random((130_000, 3), dtype="float32")
    return np.concatenate([grid, random])


def test_golden_values_of_tensorflow_io():
    golden = np.load(GOLDEN)
    luminance, chroma = color.rgb_to_lab(golden["rgb"])
    np.testing.assert_allclose(luminance * 100, golden["lab"][..., :1], atol=1e-3)
    np.testing.assert_allclose(chroma * 110, golden["lab"][..., 1:], atol=1e-3)
    np.testing.assert_allclose(color.lab_to_rgb(luminance, chroma), golden["rgb"], atol=1e-5)


def test_red_by_hand():
    # X/Xn = 0.412453 / 0.95047 = 0.433946, cube root 0.757086; Y = 0.212671, cube root 0.596902;
    # Z/Zn = 0.019334 / 1.08883 = 0.0177567, cube root 0.260888.
    luminance, chroma = color.rgb_to_lab(np.array([1.0, 0.0, 0.0], "float32"))
    np.testing.assert_allclose(luminance, [1.16 * 0.596902 - 0.16], atol=1e-5)
    np.testing.assert_allclose(
        chroma,
        [500 / 110 * (0.757086 - 0.596902), 200 / 110 * (0.596902 - 0.260888)],
        atol=1e-5,
    )


def test_grey_by_hand():
    # 0.5 -> ((0.5 + 0.055) / 1.055) ** 2.4 = 0.214041 -> 116 * 0.598181 - 16 = 53.3890.
    luminance, chroma = color.rgb_to_lab(np.full((2, 2, 3), 0.5, "float32"))
    np.testing.assert_allclose(luminance, 0.533890, atol=2e-6)
    np.testing.assert_allclose(chroma, 0.0, atol=1e-4)
    # The dark branch: 0.04 / 12.92 = 0.00309598, L = 903.292 * 0.00309598 = 2.79657.
    dark = color.rgb_to_luminance(np.full((1, 3), 0.04, "float32"))
    np.testing.assert_allclose(dark, 0.0279657, atol=1e-6)


def test_round_trip(colors):
    luminance, chroma = color.rgb_to_lab(colors)
    assert luminance.dtype == chroma.dtype == np.float32
    assert np.abs(color.lab_to_rgb(luminance, chroma) - colors).max() < 1e-5
    np.testing.assert_array_equal(color.rgb_to_luminance(colors), luminance)
    assert np.abs(chroma).max() <= 108 / 110


def test_tensors_agree_with_arrays(colors):
    ops = pytest.importorskip("keras").ops
    luminance, chroma = color.rgb_to_lab(colors)
    tensor_luminance, tensor_chroma = color.rgb_to_lab(ops.convert_to_tensor(colors))
    assert not isinstance(tensor_chroma, np.ndarray)
    np.testing.assert_allclose(ops.convert_to_numpy(tensor_luminance), luminance, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(tensor_chroma), chroma, atol=1e-6)
    only = color.rgb_to_luminance(ops.convert_to_tensor(colors))
    np.testing.assert_allclose(ops.convert_to_numpy(only), luminance, atol=1e-6)
    back = color.lab_to_rgb(ops.convert_to_tensor(luminance), ops.convert_to_tensor(chroma))
    expected = color.lab_to_rgb(luminance, chroma)
    np.testing.assert_allclose(ops.convert_to_numpy(back), expected, atol=1e-6)


def test_leading_dimensions_and_block_borders():
    rng = np.random.default_rng(1)
    rgb = rng.random((2, 3, 5, 7, 3), dtype="float32")
    luminance, chroma = color.rgb_to_lab(rgb)
    assert luminance.shape == (2, 3, 5, 7, 1) and chroma.shape == (2, 3, 5, 7, 2)
    # More pixels than one block, and not a multiple of it.
    many = rng.random((color._BLOCK + 17, 3), dtype="float32")
    luminance, chroma = color.rgb_to_lab(many)
    last_luminance, last_chroma = color.rgb_to_lab(many[-3:])
    np.testing.assert_allclose(luminance[-3:], last_luminance, atol=1e-7)
    np.testing.assert_allclose(chroma[-3:], last_chroma, atol=1e-7)
    assert color.rgb_to_luminance(np.zeros((0, 4, 3), "float32")).shape == (0, 4, 1)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_integers_are_converted_by_their_depth(dtype):
    maximum = np.iinfo(dtype).max
    rgb = np.random.default_rng(2).integers(0, maximum + 1, (40, 40, 3)).astype(dtype)
    luminance, chroma = color.rgb_to_lab(rgb)
    expected_luminance, expected_chroma = color.rgb_to_lab(rgb.astype("float32") / maximum)
    np.testing.assert_allclose(luminance, expected_luminance, atol=1e-6)
    np.testing.assert_allclose(chroma, expected_chroma, atol=1e-6)
    restored = color.from_float(color.lab_to_rgb(luminance, chroma), dtype)
    np.testing.assert_array_equal(restored, rgb)


def test_ranges_by_hand():
    np.testing.assert_array_equal(
        color.to_float(np.array([0, 51, 255], "uint8")), np.array([0.0, 0.2, 1.0], "float32")
    )
    np.testing.assert_array_equal(
        color.to_float(np.array([0, 13107, 65535], "uint16")), np.array([0.0, 0.2, 1.0], "float32")
    )
    values = np.array([-0.1, 0.0, 0.499 / 255, 0.501 / 255, 1.0, 1.2])
    np.testing.assert_array_equal(color.from_float(values, np.uint8), [0, 0, 0, 1, 255, 255])
    assert color.from_float(values, "uint16").tolist() == [0, 0, 128, 129, 65535, 65535]
    np.testing.assert_array_equal(color.from_float([-1.0, 0.5, 2.0], "float32"), [0.0, 0.5, 1.0])


def test_dataset_features_by_hand():
    luminance = np.array([[0.0], [0.5], [1.0]], "float32")
    # 127.5 is rounded to the even neighbour.
    assert color.encode_luminance(luminance).ravel().tolist() == [0, 128, 255]
    assert color.encode_luminance(luminance, bits=16).ravel().tolist() == [0, 32768, 65535]
    chroma = np.array([-1.0, 0.0, 0.25, 1.0], "float32")
    assert color.encode_chroma(chroma).tolist() == [0, 128, 159, 255]  # 127.5 * 1.25 = 159.375
    np.testing.assert_allclose(
        color.decode_chroma(np.array([0, 128, 255], "uint8")), [-1.0, 0.5 / 127.5, 1.0], atol=1e-7
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_dataset_features_round_trip(bits):
    codes = np.arange(2**bits).astype(f"uint{bits}")
    assert (color.encode_luminance(color.decode_luminance(codes), bits) == codes).all()
    assert (color.encode_chroma(color.decode_chroma(codes), bits) == codes).all()


def test_range_borders_on_tensors():
    ops = pytest.importorskip("keras").ops
    codes = np.arange(256, dtype="uint8")
    tensor = ops.convert_to_tensor(codes)
    for function in (color.to_float, color.decode_luminance, color.decode_chroma):
        np.testing.assert_allclose(
            ops.convert_to_numpy(function(tensor)), function(codes), atol=1e-7
        )
    for function in (color.encode_luminance, color.encode_chroma):
        values = np.linspace(-1.2, 1.2, 997, dtype="float32")
        result = ops.convert_to_numpy(function(ops.convert_to_tensor(values)))
        assert result.dtype == np.uint8
        np.testing.assert_array_equal(result, function(values))


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match=r"rgb.*3 channels.*\(4, 4, 1\)"):
        color.rgb_to_lab(np.zeros((4, 4, 1), "float32"))
    with pytest.raises(TypeError, match="int64"):
        color.rgb_to_lab(np.zeros((4, 4, 3), "int64"))
    with pytest.raises(ValueError, match="same shape"):
        color.lab_to_rgb(np.zeros((4, 4, 1)), np.zeros((4, 5, 2)))
    with pytest.raises(TypeError, match="bool"):
        color.to_float(np.zeros(3, bool))
    with pytest.raises(ValueError, match="int32"):
        color.from_float(np.zeros(3), "int32")
    with pytest.raises(ValueError, match="bits=12"):
        color.encode_luminance(np.zeros(3), bits=12)
    with pytest.raises(TypeError, match="float32"):
        color.decode_chroma(np.zeros(3, "float32"))


@pytest.fixture(scope="module")
def lab_colors():
    """Luminance, hue in radians and chroma of 30,000 colours, two thirds of them outside sRGB."""
    rng = np.random.default_rng(3)
    luminance = rng.random((30_000, 1), dtype="float32")
    hue = rng.uniform(-np.pi, np.pi, (30_000, 1))
    radius = rng.uniform(0.0, 1.2, (30_000, 1))
    chroma = (radius * np.concatenate([np.cos(hue), np.sin(hue)], -1)).astype("float32")
    return luminance, chroma


def delta_e(first, second):
    """Delta E 1976 of two (luminance, chroma), (n,)."""
    squares = (100 * (first[0] - second[0])) ** 2
    return np.sqrt(squares + ((110 * (first[1] - second[1])) ** 2).sum(-1, keepdims=True))[:, 0]


def across(chroma, wanted):
    """How far chroma lies beside the hue of another, in a* and b*, (n,)."""
    turned = chroma[:, 0] * wanted[:, 1] - chroma[:, 1] * wanted[:, 0]
    return np.abs(110 * turned) / np.maximum(np.linalg.norm(wanted, axis=-1), 1e-6)


def test_recompose_keeps_luminance_and_hue_and_reduces_chroma(lab_colors):
    luminance, chroma = lab_colors
    rgb = color.recompose(luminance, chroma)
    assert rgb.dtype == np.float32 and rgb.min() >= 0.0 and rgb.max() <= 1.0
    found_luminance, found_chroma = color.rgb_to_lab(rgb)
    # Far outside, luminance is kept; near the gamut it gives way, no further than clipping's 1.5.
    clipped = color.rgb_to_lab(np.clip(color.lab_to_rgb(luminance, chroma), 0.0, 1.0))
    distance = delta_e(clipped, (luminance, chroma))
    moved = 100 * np.abs(found_luminance - luminance)[:, 0]
    assert (distance > 12).mean() > 0.3
    assert moved[distance > 12].max() < 1.01
    assert (moved <= 1.5 * distance + 1.0).all()
    assert across(found_chroma, chroma).max() < 1.01
    radius = np.linalg.norm(chroma, axis=-1)
    along = (found_chroma * chroma).sum(-1) / np.maximum(radius, 1e-6)
    assert (along <= radius + 0.01).all() and (along >= -0.01).all()
    # Reduced no more than needed: with a little more chroma, clipping would show.
    far = (distance > 12) & (along > 0.05)
    scale = (along / np.maximum(radius, 1e-6) + 0.02)[far, None]
    more = luminance[far], chroma[far] * scale
    assert (
        delta_e(color.rgb_to_lab(np.clip(color.lab_to_rgb(*more), 0, 1)), more) > 1
    ).mean() > 0.9


SHIFTS = [0.001, 0.01, 0.02, 0.05, -0.001, -0.01, -0.02, -0.05]


def moved_cube(shift, steps=18):
    """Colours of the whole cube, and the same with another luminance, (luminance, chroma) each."""
    values = np.linspace(0.0, 1.0, steps, dtype="float32")
    cube = np.stack(np.meshgrid(values, values, values), -1).reshape(-1, 3)
    luminance, chroma = color.rgb_to_lab(cube)
    return (luminance, chroma), (np.clip(luminance + np.float32(shift), 0.0, 1.0), chroma)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_colour_that_changes_its_luminance_a_little_stays_that_colour(shift):
    """Of every displayable colour, also where the gamut is concave.

    The colour itself is displayable and |shift| away, so the best displayable colour is no further;
    1.6 times that is given to hue, which clipping alone would turn.
    """
    source, wanted = moved_cube(shift)
    found = color.rgb_to_lab(color.recompose(*wanted))
    assert delta_e(found, wanted).max() < 160 * abs(shift) + 0.1
    assert delta_e(found, source).max() < 160 * abs(shift) + 0.1
    assert across(found[1], source[1]).max() < 1.01


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    colour=st.tuples(*[st.integers(0, 65535)] * 3),
    shift=st.floats(-0.05, 0.05),
    saturation=st.floats(0.0, 1.5),
)
def test_any_colour_with_any_change_is_mapped_to_one_like_it(colour, shift, saturation):
    luminance, chroma = color.rgb_to_lab(np.array([colour], "uint16"))
    wanted = np.clip(luminance + np.float32(shift), 0, 1), chroma * np.float32(saturation)
    rgb = color.recompose(*wanted)
    assert rgb.min() >= 0 and rgb.max() <= 1
    found = color.rgb_to_lab(rgb)
    assert across(found[1], chroma).max() < 1.01
    # Chroma is never added, to what is not noticed; where it was only taken away, the gamut,
    # which is nearly convex, is near.
    assert np.linalg.norm(found[1]) <= np.linalg.norm(wanted[1]) + 0.01
    if saturation <= 1:
        assert delta_e(found, wanted).max() < 160 * abs(shift) + 1.5


def test_yellow_stays_yellow():
    luminance, chroma = color.rgb_to_lab(np.array([[255, 255, 0]], "uint8"))
    for shift in SHIFTS[:3]:
        for sign in (1, -1):
            red, green, blue = 255 * color.recompose(luminance + sign * shift, chroma)[0]
            assert min(red, green) > 245 and blue < 25


def test_recompose_is_continuous():
    """A gradient towards a light yellow beyond the gamut comes out without a step."""
    share = np.linspace(0.0, 1.0, 4001, dtype="float32")[:, None]
    luminance, yellow = 0.97 + 0.02 * share, 0.5 + 0.45 * share
    chroma = np.concatenate([np.zeros_like(share), yellow], -1)
    rgb = color.recompose(luminance, chroma)
    assert np.abs(np.diff(rgb, axis=0)).max() < 1 / 255


def test_recompose_leaves_the_gamut_alone(colors):
    luminance, chroma = color.rgb_to_lab(colors)
    np.testing.assert_allclose(color.recompose(luminance, chroma), colors, atol=3e-5)


def test_recompose_at_the_ends_of_luminance():
    luminance = np.array([[0.0], [1.0], [-0.2], [1.3]], "float32")
    chroma = np.full((4, 2), 0.5, "float32")
    np.testing.assert_allclose(
        color.recompose(luminance, chroma),
        [[0.0] * 3, [1.0] * 3, [0.0] * 3, [1.0] * 3],
        atol=0.025,
    )


def test_recompose_on_tensors(lab_colors):
    ops = pytest.importorskip("keras").ops
    luminance, chroma = lab_colors
    result = color.recompose(ops.convert_to_tensor(luminance), ops.convert_to_tensor(chroma))
    expected = color.recompose(luminance, chroma)
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=2e-4)


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_colour_stays_that_colour_on_tensors(shift):
    ops = pytest.importorskip("keras").ops
    _, wanted = moved_cube(shift, steps=12)
    result = color.recompose(*(ops.convert_to_tensor(part) for part in wanted))
    expected = color.recompose(*wanted)
    np.testing.assert_allclose(ops.convert_to_numpy(result), expected, atol=2e-4)


def test_greys_and_their_luminance():
    ops = pytest.importorskip("keras").ops
    gray = np.linspace(0.0, 1.0, 101, dtype="float32")
    rgb = np.repeat(gray[:, np.newaxis], 3, axis=-1)
    luminance = color.rgb_to_luminance(rgb)[:, 0]
    np.testing.assert_allclose(color.gray_to_luminance(gray), luminance, atol=1e-6)
    np.testing.assert_allclose(color.luminance_to_gray(luminance), gray, atol=2e-6)
    for function, values in (
        (color.gray_to_luminance, gray),
        (color.luminance_to_gray, luminance),
    ):
        tensor = function(ops.convert_to_tensor(values))
        np.testing.assert_allclose(ops.convert_to_numpy(tensor), function(values), atol=1e-6)


def test_light_by_hand():
    ops = pytest.importorskip("keras").ops
    # The two greys of `test_grey_by_hand`, black and white.
    gray = np.array([0.0, 0.04, 0.5, 1.0], "float32")
    luminance = np.array([0.0, 0.0279657, 0.533890, 1.0], "float32")
    light = np.array([0.0, 0.00309598, 0.214041, 1.0], "float32")
    np.testing.assert_allclose(color.luminance_to_light(luminance), light, atol=2e-6)
    np.testing.assert_allclose(color.light_to_luminance(light), luminance, atol=2e-6)
    found = ops.convert_to_numpy(color.luminance_to_light(ops.convert_to_tensor(luminance)))
    np.testing.assert_allclose(found, light, atol=2e-6)
    np.testing.assert_allclose(color.srgb_to_linear(gray), light, atol=1e-6)
    np.testing.assert_allclose(color.linear_to_srgb(light), gray, atol=1e-6)
    codes = np.arange(256, dtype="uint8")
    np.testing.assert_allclose(color.linear_to_srgb(color.srgb_to_linear(codes)) * 255, codes)
    # More light than white, and less than none, are those.
    np.testing.assert_allclose(color.light_to_luminance([-1.0, 2.0]), [0.0, 1.0], atol=1e-6)
