"""Every network by the same tests, then what is particular to some of them."""

import functools
import logging
import pathlib
import re

import cv2
import keras
import numpy as np
import pytest
from keras import ops
from tiny_networks import (
    SLOW,
    TINY,
    TINY_COLORIZERS,
    TINY_CORRECTIONS,
    TINY_DECOLORIZERS,
    TINY_DISCRIMINATORS,
    TINY_GENERATORS,
    TINY_MOTIONS,
    each,
)

from keras_refocus import networks
from keras_refocus.networks import backbones, blocks
from keras_refocus.networks.filter_bank import inverse_filters
from keras_refocus.pictures import color_bins


def _wake(network):
    """Give random values to variables that start near zero and would hide what is behind them."""
    generator = np.random.default_rng(0)
    for variable in network.trainable_variables:
        value = ops.convert_to_numpy(variable.value)
        if np.abs(value).max() < 5e-3:
            variable.assign(0.1 * generator.standard_normal(value.shape).astype("float32"))


def _build(name, **options):
    keras.utils.set_random_seed(0)
    network = networks.build(name, **TINY[name] | options)
    _wake(network)
    return network


_shared = functools.cache(_build)
# Of the pyramid only what `blind_wiener`, which it is at every scale, does not show already;
# `test_pyramid` has the rest.
_LARGER = SLOW | {"pyramid"}


def _picture(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 1), dtype="float32")


def _picture_for(name, *, examples):
    """The smallest picture that a discriminator takes; an odd one for generators."""
    if name in TINY_MOTIONS:
        return _seen(examples, 39, 33)
    if name in TINY_CORRECTIONS:
        return _mix(examples, 39, 33)
    if name in TINY_DECOLORIZERS:
        return np.concatenate([_picture(examples, 39, 33, seed=seed) for seed in range(3)], axis=-1)
    return _picture(examples, 96, 96) if name in TINY_DISCRIMINATORS else _picture(examples, 39, 33)


def _seen(*shape, channels=1):
    """What a motion network sees: the picture, the restored one, the way, its fit."""
    return np.concatenate([_picture(*shape, seed=seed) for seed in range(channels + 4)], axis=-1)


def _mix(*shape):
    """What a correction of frames in between sees: eight parts, and weights that sum to one."""
    parts = [_picture(*shape, seed=seed) for seed in range(16)]
    weights = np.concatenate(parts[8:], axis=-1)
    return np.concatenate([*parts[:8], weights / weights.sum(axis=-1, keepdims=True)], axis=-1)


def _run(network, picture):
    return keras.tree.map_structure(ops.convert_to_numpy, network(picture))


def test_every_network_is_tested():
    assert set(TINY_GENERATORS) == set(networks.GENERATORS)
    assert set(TINY_COLORIZERS) == set(networks.COLORIZERS)
    assert set(TINY_DECOLORIZERS) == set(networks.DECOLORIZERS)
    assert set(TINY_DISCRIMINATORS) == set(networks.DISCRIMINATORS)
    assert set(TINY_MOTIONS) == set(networks.MOTIONS)
    assert set(TINY_CORRECTIONS) == set(networks.CORRECTIONS)


@pytest.mark.parametrize("name", each(networks.GENERATORS, slow=_LARGER))
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size(name, size):
    restored = _run(_shared(name), _picture(2, *size))
    assert restored.shape == (2, *size, 1)
    assert restored.dtype == "float32"
    assert np.isfinite(restored).all()
    # The picture comes through: what is added to it is of its own order, and is not nothing.
    difference = np.abs(restored - _picture(2, *size))
    assert 0 < difference.max() < 5


@pytest.mark.parametrize("name", each(networks.COLORIZERS))
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size_gets_chroma(name, size):
    chroma = _run(_shared(name), _picture(2, *size))
    assert chroma.shape == (2, *size, 2)
    assert chroma.dtype == "float32"
    assert 0 < np.abs(chroma).max() <= 1.2


@pytest.mark.parametrize("name", networks.DECOLORIZERS)
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size_gets_its_luminance(name, size):
    picture = np.concatenate([_picture(2, *size), _picture(2, *size), _picture(2, *size)], axis=-1)
    luminance = _run(_shared(name), picture)
    assert luminance.shape == (2, *size, 1)
    assert 0 <= luminance.min() and luminance.max() <= 1


@pytest.mark.parametrize("name", networks.MOTIONS)
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size_gets_its_motion(name, size):
    for channels in (1, 3):
        network = _shared(name) if channels == 1 else _build(name, channels=3)
        motion = _run(network, _seen(2, *size, channels=channels))
        assert motion.shape == (2, *size, 12)
        assert motion.dtype == "float32" and np.isfinite(motion).all()
        assert np.abs(motion[..., 4:]).max() > 0


def test_untrained_motion_network_gives_the_classical_estimate():
    seen = _seen(1, 14, 9)
    motion = _run(networks.build("motion_unet", **TINY["motion_unet"]), seen)
    np.testing.assert_allclose(motion[..., :2], 16 * seen[..., 2:4], atol=1e-5)
    np.testing.assert_array_equal(motion[..., 2:], 0)


def test_untrained_cascade_gives_the_blurred_picture_seven_times():
    seen = _seen(1, 14, 9)
    motion = _run(networks.build("jin", **TINY["jin"]), seen)
    np.testing.assert_array_equal(motion[..., :5], 0)
    expected = np.repeat(seen[..., :1] - seen[..., 1:2], 7, axis=-1)
    np.testing.assert_allclose(motion[..., 5:], expected, atol=1e-6)


@pytest.mark.parametrize("name", networks.CORRECTIONS)
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size_gets_its_correction(name, size):
    seen = _mix(2, *size)
    frame = _run(_shared(name), seen)
    assert frame.shape == (2, *size, 1) and frame.dtype == "float32"
    assert np.isfinite(frame).all()


def test_untrained_correction_changes_nothing():
    network = networks.build("correction_unet")
    assert network.count_params() < 200_000
    seen = _mix(1, 14, 9)
    corrections = keras.Model(network.input, network.get_layer("corrections").output)
    np.testing.assert_array_equal(_run(corrections, seen), np.zeros((1, 14, 9, 9)))
    mixed = (seen[..., :8] * seen[..., 8:]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(_run(network, seen), mixed, atol=1e-6)


def test_motion_network_is_small():
    assert networks.build("motion_unet").count_params() < 1_000_000


@pytest.mark.parametrize("name", each(networks.GENERATORS, slow=_LARGER))
def test_output_is_not_clipped(name):
    # Black and white pixels at random: whatever is added to them leaves the range somewhere.
    picture = np.round(_picture(2, 24, 24))
    restored = _run(_shared(name), picture)
    assert restored.min() < 0.0 or restored.max() > 1.0


@pytest.mark.parametrize("name", each([*networks.GENERATORS, *networks.COLORIZERS], slow=_LARGER))
def test_examples_do_not_mix(name):
    pictures = _picture(3, 16, 24)
    together = _run(_shared(name), pictures)
    alone = _run(_shared(name), pictures[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=2e-5)


@pytest.mark.parametrize("name", each(TINY))
def test_saved_file_loads_without_custom_objects(name, tmp_path):
    network = _shared(name)
    picture = _picture_for(name, examples=1)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    for before, after in zip(
        keras.tree.flatten(_run(network, picture)),
        keras.tree.flatten(_run(loaded, picture)),
        strict=True,
    ):
        np.testing.assert_allclose(after, before, atol=1e-6)
    modules = _modules(network.get_config())
    assert modules and all(module.split(".")[0] == "keras" for module in modules)
    assert not any(module.startswith("keras.src.applications") for module in modules)


def _modules(config):
    """The module of every object in a configuration."""
    if isinstance(config, dict):
        own = {config["module"]} if config.get("module") else set()
        return own.union(*(_modules(value) for value in config.values()))
    if isinstance(config, (list, tuple)):
        return set().union(*(_modules(value) for value in config))
    return set()


@pytest.fixture
def mixed_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", each(TINY, slow=_LARGER))
def test_mixed_precision(name, mixed_float16):
    network = _build(name)
    full = _shared_float32(name)
    network.set_weights(full.get_weights())
    picture = _picture_for(name, examples=1)
    for half, exact in zip(
        keras.tree.flatten(_run(network, picture)),
        keras.tree.flatten(_run(full, picture)),
        strict=True,
    ):
        assert half.dtype == "float32"
        np.testing.assert_allclose(half, exact, atol=0.02 * max(1.0, np.abs(exact).max()))


def _shared_float32(name):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return _shared(name)
    finally:
        keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize("name", each(TINY))
def test_every_trainable_variable_has_a_gradient(name):
    network = _shared(name)
    kept = network.get_weights()
    picture = _picture_for(name, examples=2)
    targets = keras.tree.map_structure(
        lambda scores: np.random.default_rng(1).random(scores.shape, dtype="float32"),
        _run(network, picture),
    )
    before = [ops.convert_to_numpy(variable.value) for variable in network.trainable_variables]
    # A rate so large that a gradient of any size shows after rounding.
    network.compile(keras.optimizers.SGD(1e3), loss="mse", run_eagerly=True)
    network.train_on_batch(picture, targets)
    gradients = {
        variable.path: np.abs(ops.convert_to_numpy(variable.value) - old).max() / 1e3
        for variable, old in zip(network.trainable_variables, before, strict=True)
    }
    network.set_weights(kept)
    # What is below is rounding: a bias, say, whose mean is taken away again behind it.
    least = 5e-6 * max(gradients.values())
    dead = [path for path, size in gradients.items() if size < least]
    # The batch normalisation behind these takes away what they add or scale, a softmax what is
    # added to all keys; they are there because pretrained weights have them.
    idle = re.compile(r".*_project_BN/beta|map\d_norm/(gamma|beta)|.*/key/bias")
    assert not [path for path in dead if not idle.fullmatch(path)]


def test_build_suggests_a_name():
    with pytest.raises(ValueError, match="Did you mean 'nafnet'"):
        networks.build("nafnett")


def test_build_suggests_an_option():
    with pytest.raises(ValueError, match="Did you mean 'depths'"):
        networks.build("unet", depth=(1, 1, 1))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("unet", {"widths": (8, 8), "depths": (1,)}, "as many entries"),
        ("unet", {"widths": (8, 0, 8)}, "positive integer"),
        ("filter_bank", {"widths": (8, 8), "depths": (1,)}, "as many entries"),
        ("filter_bank", {"filter_size": 20}, "odd"),
        ("filter_bank", {"motion_lengths": (0.0,)}, "positive"),
        ("filter_bank", {"regularization": 0.0}, "positive"),
        (
            "filter_bank",
            {"motion_lengths": (), "disk_radii": (), "smoothings": ()},
            "at least one filter",
        ),
        ("nafnet", {"encoder_blocks": (1,), "decoder_blocks": (1, 1)}, "as many entries"),
        ("resnet", {"normalization": "batch"}, "normalization='batch'"),
        ("patchgan", {"normalization": "batch"}, "normalization='batch'"),
        ("fpn_mobilenet_v2", {"weights": None, "filters": 7}, "even"),
        ("multiscale", {"scales": 0}, "positive integer"),
        ("resnet_colorizer", {"normalization": "batch"}, "normalization='batch'"),
        ("mobilenet_v2_colorizer", {"widths": (8, 8)}, "five scales"),
        ("mobilenet_v2_colorizer", {"chroma_scale": 8}, "chroma_scale=8"),
        ("mobilenet_v2_colorizer", {"head": "class"}, "head='class'"),
        ("mobilenet_v2_colorizer", {"temperature": 0.0}, "temperature=0.0"),
        ("mobilenet_v2_colorizer", {"frozen_scales": 6}, "frozen_scales=6"),
    ],
)
def test_options_without_meaning(name, options, message):
    with pytest.raises(ValueError, match=message):
        networks.build(name, **options)


@pytest.mark.parametrize(
    "name", ["filter_bank", "unet", "multipatch", "scale_recurrent", "multiscale"]
)
def test_untrained_network_returns_its_input(name):
    picture = _picture(1, 21, 18)
    np.testing.assert_array_equal(_run(networks.build(name, **TINY[name]), picture), picture)


@pytest.mark.parametrize(
    "name",
    ["multipatch", "nafnet", "dncnn", "drunet", "hinet", "scale_recurrent", "multiscale"],
)
@pytest.mark.parametrize("signal", ["gray", "rgb"])
def test_networks_that_see_srgb_give_luminance_in_range(name, signal):
    options = TINY[name] | {"signal": signal}
    if name in ("multipatch", "nafnet", "scale_recurrent", "multiscale"):
        options["as_published"] = True
    keras.utils.set_random_seed(0)
    network = networks.build(name, **options)
    _wake(network)
    picture = np.round(_picture(2, 13, 9))
    restored = _run(network, picture)
    assert restored.shape == picture.shape
    # Beyond the range sRGB has no luminance.
    assert 0.0 <= restored.min() and restored.max() <= 1.0 + 1e-6


def test_grey_seen_as_srgb_keeps_its_luminance():
    luminance = np.linspace(0.0, 1.0, 50, dtype="float32").reshape(1, 5, 10, 1)
    for signal, channels in blocks.SIGNALS.items():
        seen = blocks.from_luminance(ops.convert_to_tensor(luminance), signal)
        assert seen.shape[-1] == channels
        found = ops.convert_to_numpy(blocks.to_luminance(seen, signal))
        np.testing.assert_allclose(found, luminance, atol=2e-6)
    # L* of the middle sRGB grey is 53.39.
    gray = ops.convert_to_numpy(
        blocks.from_luminance(ops.convert_to_tensor([[[[0.533890]]]]), "gray")
    )
    np.testing.assert_allclose(gray.ravel(), 0.5, atol=1e-4)
    with pytest.raises(ValueError, match="signal='bgr'"):
        blocks.from_luminance(ops.convert_to_tensor(luminance), "bgr")


@pytest.mark.parametrize("name", ["multipatch", "scale_recurrent", "multiscale"])
def test_network_of_the_paper_paints_the_picture_anew(name):
    network = networks.build(name, **TINY[name], global_skip=False)
    # With nothing in the convolutions to one channel, the picture itself must not come through.
    for layer in _flat_layers(network):
        if isinstance(layer, keras.layers.Conv2D) and layer.filters == 1:
            layer.set_weights([np.zeros_like(value) for value in layer.get_weights()])
    restored = _run(network, _picture(1, 20, 20))
    assert np.ptp(restored) == 0.0


def _flat_layers(network):
    for layer in network.layers:
        yield from _flat_layers(layer) if isinstance(layer, keras.Model) else [layer]


def _model(function, *shape):
    tensor = keras.Input(shape)
    return keras.Model(tensor, function(tensor))


@pytest.mark.parametrize("multiple", [1, 4])
@pytest.mark.parametrize("size", [(1, 1), (4, 8), (5, 3), (1, 9)])
def test_padding_repeats_the_edge_and_crops_back(size, multiple):
    picture = _picture(2, *size)

    def pad_and_crop(tensor):
        padded, seen = blocks.pad_to_multiple(tensor, multiple)
        return padded, blocks.crop_to_size(padded, seen)

    padded, cropped = _run(_model(pad_and_crop, None, None, 1), picture)
    rows, columns = (-side % multiple for side in size)
    expected = np.pad(picture, ((0, 0), (0, rows), (0, columns), (0, 0)), mode="edge")
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(cropped, picture)


def test_padding_with_zeros():
    picture = 1.0 + _picture(2, 5, 3)
    network = _model(lambda x: blocks.pad_to_multiple(x, 4, zeros=True)[0], None, None, 1)
    expected = np.pad(picture, ((0, 0), (0, 3), (0, 1), (0, 0)))
    np.testing.assert_array_equal(_run(network, picture), expected)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (20, 14)])
def test_gaussian_halves_are_those_of_scikit_image(size):
    transform = pytest.importorskip("skimage.transform")
    picture = _picture(1, *size)
    expected = list(transform.pyramid_gaussian(picture[0], 1, channel_axis=-1))[1]
    found = ops.convert_to_numpy(blocks.shrink_gaussian(ops.convert_to_tensor(picture)))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_every_second_pixel_is_where_the_enlargement_leaves_it():
    picture = np.float32([[0, 2, 6], [4, 4, 4]]).reshape(1, 2, 3, 1)
    found = ops.convert_to_numpy(blocks.enlarge_from_corner(ops.convert_to_tensor(picture)))
    rows = [[0, 1, 2, 4, 6, 6], [2, 2.5, 3, 4, 5, 5], [4] * 6, [4] * 6]
    np.testing.assert_allclose(found[0, ..., 0], rows)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(blocks.every_second(ops.convert_to_tensor(found))), picture
    )


@pytest.mark.parametrize("size", [(1, 1), (5, 3)])
@pytest.mark.parametrize("factor", [1, 2, 8])
def test_bilinear_enlargement_is_that_of_keras(factor, size):
    picture = np.random.default_rng(0).random((2, *size, 3), dtype="float32")
    expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(picture)
    found = blocks.enlarge_bilinear(ops.convert_to_tensor(picture), factor)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found, expected)), atol=1e-6)


def test_window_mean_by_hand():
    row = np.array([0.0, 2.0, 4.0, 6.0, 8.0, 100.0], "float32").reshape(1, 1, 6, 1)
    network = _model(lambda x: blocks.window_mean(x, 3, axis=2), None, None, 1)
    # Windows [0, 2, 4], [0, 2, 4], [2, 4, 6], [4, 6, 8], [6, 8, 100], [6, 8, 100].
    np.testing.assert_allclose(_run(network, row).ravel(), [2, 2, 4, 6, 38, 38])


def test_window_mean_may_lean_to_the_end():
    row = np.array([0.0, 2.0, 4.0, 6.0, 8.0], "float32").reshape(1, 1, 5, 1)
    network = _model(lambda x: blocks.window_mean(x, 2, axis=2, before=0), None, None, 1)
    np.testing.assert_allclose(_run(network, row).ravel(), [1, 3, 5, 7, 7])


def test_window_mean_of_a_short_axis_is_its_mean():
    picture = _picture(2, 5, 4)
    network = _model(lambda x: blocks.window_mean(x, 8, axis=1), None, None, 1)
    expected = np.broadcast_to(picture.mean(axis=1, keepdims=True), picture.shape)
    np.testing.assert_allclose(_run(network, picture), expected, rtol=1e-5)


def test_nafnet_with_local_statistics_equals_global_ones_on_patches():
    options = TINY["nafnet"] | {"local_window": 16}
    local = networks.build("nafnet", **options)
    _wake(local)
    whole = networks.build("nafnet", **options | {"local_window": None})
    whole.set_weights(local.get_weights())
    patch = _picture(1, 16, 16)
    np.testing.assert_allclose(_run(local, patch), _run(whole, patch), atol=1e-5)
    photo = _picture(1, 48, 48)
    assert np.abs(_run(local, photo) - _run(whole, photo)).max() > 1e-4


def _reach(network, height, width):
    """How far from a pixel in the middle the output sees a change of it."""
    picture = _picture(1, height, width)
    changed = picture.copy()
    changed[0, height // 2, width // 2, 0] += 1.0
    difference = np.abs(_run(network, changed) - _run(network, picture))[0, ..., 0]
    rows, columns = np.nonzero(difference)
    return max(np.abs(rows - height // 2).max(), np.abs(columns - width // 2).max())


def test_unet_sees_a_neighbourhood_only():
    # So that a tile is restored as it would be inside the whole picture.
    assert _reach(_shared("unet"), 160, 160) < 60


def test_filter_bank_sees_a_neighbourhood_only():
    assert _reach(_shared("filter_bank"), 160, 160) < 80


def _inverse_filters(**options):
    settings = {"size": 21, "motion_lengths": (), "motion_angles": 2, "disk_radii": ()}
    return inverse_filters(**settings | {"smoothings": (), "regularization": 0.01} | options)


def test_inverse_filters_leave_a_flat_picture_alone():
    filters = _inverse_filters(motion_lengths=(3.0, 6.0), disk_radii=(2.0,), smoothings=(5.0,))
    assert filters.shape == (21, 21, 1, 6)
    np.testing.assert_allclose(filters.sum(axis=(0, 1)), 0.0, atol=1e-5)


@pytest.mark.parametrize(("direction", "shape"), [(0, (1, 5)), (1, (5, 1))])
def test_inverse_filter_undoes_the_motion_of_its_direction(direction, shape):
    sharp = cv2.GaussianBlur(_picture(96, 96)[..., 0], None, 1.0)
    blurred = cv2.blur(sharp, shape[::-1])
    filters = _inverse_filters(motion_lengths=(5.0,), regularization=0.1)

    def error(change):
        return np.abs((blurred + change - sharp)[16:-16, 16:-16]).mean()

    changes = [cv2.filter2D(blurred, -1, filters[..., 0, k]) for k in range(2)]
    assert error(changes[direction]) < 0.7 * error(0.0) < error(changes[1 - direction])


def test_filter_bank_with_one_filter_chosen_applies_it():
    network = networks.build("filter_bank", **TINY["filter_bank"])
    weights = network.get_layer("weights")
    kernel, bias = weights.get_weights()
    # One for each of the four pixels of a block of the stem.
    choice = {(0, 0): 1, (0, 1): 0, (1, 0): 2, (1, 1): 1}
    chosen = np.zeros((2, 2, bias.size // 4))
    for pixel, number in choice.items():
        chosen[(*pixel, number)] = 1.0
    weights.set_weights([kernel, chosen.ravel()])
    picture = _picture(1, 23, 26)
    filters = ops.convert_to_numpy(network.get_layer("filters").weights[0].value)
    expected = picture[0, ..., 0].copy()
    for (row, column), number in choice.items():
        change = cv2.filter2D(
            picture[0, ..., 0], -1, filters[..., 0, number], borderType=cv2.BORDER_REPLICATE
        )
        expected[row::2, column::2] += change[row::2, column::2]
    # The last row is repeated up to a multiple of the block before its border is.
    np.testing.assert_allclose(_run(network, picture)[0, ..., 0], expected, atol=1e-5)


@pytest.mark.slow
def test_parameters_of_nafnet(width=32):
    # A block of c channels: two norms 2c, 1x1 c -> 2c, depthwise 3x3 on 2c, attention c -> c,
    # 1x1 c -> c; 1x1 c -> 2c, 1x1 c -> c, each with biases: 7 c^2 + 31 c.
    channels = [width * 2**scale for scale in (0, 1, 2, *[3] * 28, 4, 3, 2, 1, 0)]
    expected = sum(7 * c**2 + 31 * c for c in channels)
    for c in (width, 2 * width, 4 * width, 8 * width):
        expected += (2 * 2 * c) * 2 * c + 2 * c  # 2x2 convolution down.
        expected += (2 * c) * 4 * c  # 1x1 convolution up, without bias.
    expected += 2 * 9 * width + width + 1  # First and last 3x3 convolution.
    network = networks.build("nafnet", width=width)
    assert network.count_params() == expected == pytest.approx(17.1e6, rel=0.005)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "millions"),
    # As published, with one input and output channel more or less.
    [("multiscale", 11.7), ("resnet", 11.38)],
)
def test_parameters_are_those_of_the_paper(name, millions):
    assert networks.build(name).count_params() == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70)])
def test_receptive_field_of_the_patch_discriminator(layers, field):
    network = networks.build("patchgan", filters=2, layers=layers, normalization="none")
    picture = _picture(1, 160, 160)
    scores = _run(network, picture)
    unit = scores.shape[1] // 2
    # The strides lead to this pixel; each layer's padding of one, scaled, leads back.
    start = unit * 2**layers - (2**layers - 1) - 2 * 2**layers
    inside = slice(start, start + field)
    outside = 1.0 - picture
    outside[0, inside, inside] = picture[0, inside, inside]
    edge = picture.copy()
    edge[0, inside, start] = edge[0, start, inside] = 3.0
    edge[0, inside, start + field - 1] = edge[0, start + field - 1, inside] = 3.0
    assert _run(network, outside)[0, unit, unit] == scores[0, unit, unit]
    assert _run(network, edge)[0, unit, unit] != scores[0, unit, unit]


def _save_npz(extractor, path):
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    arrays = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable.value).astype("float16")
        for layer in trunk.layers
        for variable in layer.variables
    }
    np.savez(path, **arrays)
    return arrays


def _extractor(weights, **options):
    pyramid = backbones.BACKBONES["mobilenet_v2"].pyramid
    return backbones.feature_extractor(
        "mobilenet_v2", pyramid, weights=weights, alpha=0.35, **options
    )


# Of random weights, which no test changes.
_random_extractor = functools.cache(lambda: _extractor(None))


def test_backbone_halves_each_scale():
    features = _run(_random_extractor(), _picture(1, 64, 96))
    assert [map.shape[1:3] for map in features] == [(32, 48), (16, 24), (8, 12), (4, 6), (2, 3)]


@pytest.mark.slow
def test_inception_backbone_halves_each_scale():
    pyramid = backbones.BACKBONES["inception_resnet_v2"].pyramid
    network = backbones.feature_extractor("inception_resnet_v2", pyramid, weights=None)
    features = _run(network, _picture(1, 64, 96))
    assert [map.shape[1:] for map in features] == [
        (32, 48, 32),
        (16, 24, 64),
        (8, 12, 192),
        (4, 6, 1088),
        (2, 3, 2080),
    ]


def test_backbone_weights_from_a_file(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="keras_refocus")
    _random_extractor.cache_clear()
    source = _random_extractor()
    assert "random weights" in caplog.text
    _save_npz(source, tmp_path / "weights.npz")
    loaded = _extractor(tmp_path / "weights.npz")
    assert str(tmp_path / "weights.npz") in caplog.text
    picture = _picture(1, 32, 32)
    for expected, found in zip(_run(source, picture), _run(loaded, picture), strict=True):
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_backbone_weights_from_a_file_of_keras_are_told_too(tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="keras_refocus")
    file = tmp_path / "no_top.weights.h5"
    options = {"alpha": 0.35, "include_top": False, "input_shape": (None, None, 3)}
    source = keras.applications.MobileNetV2(weights=None, **options)
    source.save_weights(file)
    loaded = backbones.feature_extractor("mobilenet_v2", ["Conv1_relu"], weights=file, alpha=0.35)
    assert f"MobileNetV2 starts from the weights in {file}" in caplog.text
    np.testing.assert_array_equal(loaded.get_weights()[0], source.get_weights()[0])


def test_pretrained_batch_normalization_is_frozen(tmp_path):
    free = _random_extractor()
    _save_npz(free, tmp_path / "weights.npz")
    assert [v.path for v in free.trainable_variables if v.name == "gamma"]
    frozen = _extractor(tmp_path / "weights.npz")
    assert not [v.path for v in frozen.trainable_variables if v.name in ("gamma", "beta")]
    assert [v.path for v in frozen.trainable_variables if v.name == "kernel"]


def test_backbone_sees_the_same_grey_in_three_channels():
    extractor = _random_extractor()
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    picture = _picture(1, 32, 32)
    # Its networks were trained on RGB / 127.5 - 1.
    rgb = np.repeat(picture * 255.0 / 127.5 - 1.0, 3, axis=-1)
    for expected, found in zip(_run(trunk, rgb), _run(extractor, picture), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", backbones.BACKBONES)
def test_range_of_a_backbone_is_that_of_keras(name):
    listed = backbones.find(name)
    found = backbones.find(listed.application)
    np.testing.assert_allclose(listed.scale, found.scale)
    np.testing.assert_allclose(listed.offset, found.offset, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "middle_grey"),
    [
        # Mean and deviation of ImageNet; and 8-bit values as they are.
        ("DenseNet121", (0.5 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]),
        ("MobileNetV3Small", [127.5] * 3),
    ],
)
def test_luminance_is_fed_as_the_network_expects_it(name, middle_grey):
    found = backbones.find(name)
    np.testing.assert_allclose(
        0.5 * np.array(found.scale) + found.offset, middle_grey, rtol=1e-4, atol=1e-6
    )


def test_any_network_of_keras_applications_can_be_a_backbone():
    extractor = backbones.feature_extractor("MobileNet", ["conv_pw_1_relu"], weights=None)
    assert extractor(_picture(1, 32, 32)).shape == (1, 16, 16, 64)


def test_backbone_weights_that_do_not_fit(tmp_path):
    arrays = _save_npz(_random_extractor(), tmp_path / "weights.npz")
    np.savez(tmp_path / "part.npz", **{"Conv1/kernel": arrays["Conv1/kernel"]})
    with pytest.raises(ValueError, match="bn_Conv1/gamma"):
        _extractor(tmp_path / "part.npz")
    np.savez(tmp_path / "other.npz", **arrays | {"Conv1/kernel": np.zeros((3, 3, 3, 5))})
    with pytest.raises(ValueError, match="shape"):
        _extractor(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError, match="none.npz"):
        _extractor(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="weights=None"):
        _extractor(None, required=True)


def test_failed_download_is_told(monkeypatch, caplog):
    build = keras.applications.VGG16

    def without_connection(*, weights, **options):
        if weights == "imagenet":
            raise Exception("URL fetch failure")
        return build(weights=weights, **options)

    def extractor(weights, **options):
        layers = backbones.BACKBONES["vgg16"].pyramid[:1]
        return backbones.feature_extractor("vgg16", layers, weights=weights, **options)

    monkeypatch.setattr(keras.applications, "VGG16", without_connection)
    extractor("imagenet")
    assert "random weights" in caplog.text and "URL fetch failure" in caplog.text
    with pytest.raises(ValueError, match="Give `weights` the path"):
        extractor("imagenet", required=True)


def test_unknown_layer_of_a_backbone():
    with pytest.raises(ValueError, match="block_2_add"):
        backbones.feature_extractor("mobilenet_v2", ["block_2_sum"], weights=None)


def test_names_of_layers_do_not_depend_on_what_was_built_before():
    pyramid = backbones.BACKBONES["vgg16"].pyramid[:2]
    first, second = (backbones.feature_extractor("vgg16", pyramid, weights=None) for _ in range(2))
    assert [layer.name for layer in _flat_layers(first)] == [
        layer.name for layer in _flat_layers(second)
    ]


def test_colorizer_is_small_enough():
    network = networks.build("mobilenet_v2_colorizer", weights=None)
    assert network.count_params() < 8_000_000


def test_untrained_regression_answers_grey():
    options = TINY["mobilenet_v2_colorizer"] | {"head": "regression"}
    network = networks.build("mobilenet_v2_colorizer", **options)
    np.testing.assert_array_equal(_run(network, _picture(1, 21, 18)), 0.0)


def test_annealed_mean_by_hand():
    temperature = 0.25
    options = TINY["mobilenet_v2_colorizer"] | {"temperature": temperature}
    network = networks.build("mobilenet_v2_colorizer", **options)
    # Two bins at logits 0 and log 3, the others out of the way.
    layer = network.get_layer("color_logits")
    kernel, bias = (np.zeros_like(value) for value in layer.get_weights())
    bias[:] = -1e3
    bias[[20, 200]] = 0.0, np.log(3.0)
    layer.set_weights([kernel, bias])
    first, second = color_bins.centers()[[20, 200]]
    odds = 3.0 ** (1.0 / temperature)
    expected = (first + odds * second) / (1.0 + odds)
    chroma = _run(network, _picture(1, 33, 40))
    np.testing.assert_allclose(chroma, np.broadcast_to(expected, chroma.shape), atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4])
def test_chroma_is_predicted_at_a_part_of_the_size(scale):
    options = TINY["mobilenet_v2_colorizer"] | {"chroma_scale": scale}
    network = networks.build("mobilenet_v2_colorizer", **options)
    logits = keras.Model(network.input, network.get_layer("color_logits").output)
    assert _run(logits, _picture(1, 64, 96)).shape == (1, 64 // scale, 96 // scale, 313)


def test_frozen_scales_stay_as_they_are():
    options = TINY["mobilenet_v2_colorizer"]
    free, frozen = (
        networks.build("mobilenet_v2_colorizer", **options, frozen_scales=scales)
        for scales in (0, 2)
    )
    lost = {v.path for v in free.trainable_variables} - {v.path for v in frozen.trainable_variables}
    layers = {path.split("/")[-2] for path in lost}
    assert {"Conv1", "block_2_project"} <= layers
    assert not any(layer.startswith(("block_3", "decoder", "lateral")) for layer in layers)


def test_one_trunk_serves_three_generators():
    counts = {
        name: networks.build(name, **TINY[name]).count_params()
        for name in ("resnet", "resnet_colorizer", "resnet_decolorizer")
    }
    # 7x7 convolutions with 4 filters: one more output channel with its bias, two more inputs.
    assert counts["resnet_colorizer"] - counts["resnet"] == 49 * 4 + 1
    assert counts["resnet_decolorizer"] - counts["resnet"] == 2 * 49 * 4


_GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "tfa_tfio.npz"


def test_instance_normalization_as_tensorflow_addons_computes_it():
    golden = np.load(_GOLDEN)
    layer = keras.layers.GroupNormalization(groups=-1, epsilon=1e-5)
    layer.build(golden["instance_x"].shape)
    layer.set_weights([golden["instance_gamma"], golden["instance_beta"]])
    normalized = ops.convert_to_numpy(layer(golden["instance_x"]))
    np.testing.assert_allclose(normalized, golden["instance_y"], atol=2e-6)


def test_spectral_normalization_as_tensorflow_addons_computes_it():
    golden = np.load(_GOLDEN)
    layer = keras.layers.SpectralNormalization(
        keras.layers.Conv2D(16, 3, padding="same", use_bias=False), power_iterations=100
    )
    layer.build(golden["spectral_x"].shape)
    layer.layer.set_weights([golden["spectral_kernel"]])
    filtered = ops.convert_to_numpy(layer(golden["spectral_x"], training=True))
    np.testing.assert_allclose(filtered, golden["spectral_y"], atol=1e-5)


@pytest.mark.parametrize("normalization", ["none", "instance", "spectral"])
def test_patch_discriminator_under_every_normalization(normalization):
    network = networks.build("patchgan", filters=4, layers=2, normalization=normalization)
    pictures = _picture(3, 32, 40)
    scores = _run(network, pictures)
    assert scores.dtype == "float32" and scores.shape[0] == 3 and scores.shape[3] == 1
    # Nothing in it depends on the batch, in training or not.
    alone = ops.convert_to_numpy(network(pictures[1:2], training=False))
    np.testing.assert_allclose(scores[1:2], alone, atol=2e-6)


def test_spectral_discriminator_is_lipschitz():
    # Every layer's kernel, as a matrix, has norm 1 once the power iteration has converged.
    network = networks.build("patchgan", filters=4, layers=1, normalization="spectral")
    picture = _picture(1, 16, 16)
    for _ in range(100):
        network(picture, training=True)
    wrappers = [x for x in network.layers if isinstance(x, keras.layers.SpectralNormalization)]
    assert len(wrappers) == 3
    for wrapper in wrappers:
        kernel = ops.convert_to_numpy(wrapper.layer.kernel)
        norm = np.linalg.norm(kernel.reshape(-1, kernel.shape[-1]), ord=2)
        assert norm == pytest.approx(1.0, abs=1e-3)


def test_architecture_needs_no_file_of_weights():
    name = "mobilenet_v2_colorizer"
    # The default is to download them.
    assert networks.architecture(name, {"alpha": 0.5}) == {
        "alpha": 0.5,
        "weights": None,
        "freeze_batch_normalization": True,
    }
    kept = {"weights": "a.npz", "freeze_batch_normalization": False}
    assert networks.architecture(name, kept) == kept | {"weights": None}
    assert networks.architecture(name, {"weights": None}) == {"weights": None}
    assert networks.architecture("unet", {"widths": [8]}) == {"widths": [8]}


def test_a_colored_backbone_sees_its_channels_in_its_own_order():
    assert backbones.find("ResNet50").bgr
    assert not backbones.find("DenseNet121").bgr
    red = np.zeros((1, 32, 32, 3), "float32")
    red[..., 0] = 1.0
    for name, layer, expected in (
        ("vgg16", "block1_conv1", [-103.939, -116.779, 255.0 - 123.68]),
        ("mobilenet_v2", "Conv1", [1.0, -1.0, -1.0]),
    ):
        extractor = backbones.feature_extractor(name, [layer], weights=None, colored=True)
        seen = keras.Model(extractor.input, extractor.get_layer("channels").output)
        np.testing.assert_allclose(seen(red)[0, 0, 0], expected, rtol=1e-5)
