"""Every network by the same tests, then what is particular to some of them."""

import functools
import logging

import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus import networks
from keras_refocus.networks import backbones, blocks

# Small enough that the whole file takes seconds; everything else is as in the full size.
TINY_GENERATORS = {
    "unet": {"widths": (8, 12), "depths": (1, 1), "decoder_depths": (1,), "stem_factor": 2},
    "resnet": {"filters": 4, "residual_blocks": 2},
    "fpn_inception_resnet_v2": {"weights": None, "filters": 4, "pyramid_filters": 4},
    "fpn_mobilenet_v2": {"weights": None, "alpha": 0.35, "filters": 8, "pyramid_filters": 8},
    "fpn_mobilenet_dsc": {"weights": None, "alpha": 0.35, "filters": 8, "pyramid_filters": 8},
    "multipatch": {"widths": (4, 6, 8)},
    "scale_recurrent": {"widths": (4, 6, 8), "depth": 1, "kernel_size": 3},
    "multiscale": {"width": 4, "residual_blocks": 1, "kernel_size": 3},
    "nafnet": {
        "width": 4,
        "encoder_blocks": (1, 1),
        "middle_blocks": 1,
        "decoder_blocks": (1, 1),
        "local_window": 8,
    },
}
TINY_DISCRIMINATORS = {
    "patchgan": {"filters": 4},
    "critic": {"filters": 4},
    "double_scale": {"filters": 2},
}
TINY = TINY_GENERATORS | TINY_DISCRIMINATORS


def _wake(network):
    """Give random values to variables that start at zero and would hide what is behind them."""
    generator = np.random.default_rng(0)
    for variable in network.trainable_variables:
        value = ops.convert_to_numpy(variable.value)
        if not value.any():
            variable.assign(0.1 * generator.standard_normal(value.shape).astype("float32"))


def _build(name, **options):
    keras.utils.set_random_seed(0)
    network = networks.build(name, **TINY[name] | options)
    _wake(network)
    return network


# The Inception backbone takes seconds to build, so every test shares one network of each name.
_shared = functools.cache(_build)


def _picture(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 1), dtype="float32")


def _run(network, picture):
    return keras.tree.map_structure(ops.convert_to_numpy, network(picture))


def test_every_network_is_tested():
    assert set(TINY_GENERATORS) == set(networks.GENERATORS)
    assert set(TINY_DISCRIMINATORS) == set(networks.DISCRIMINATORS)


@pytest.mark.parametrize("name", networks.GENERATORS)
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (33, 20)])
def test_any_size(name, size):
    restored = _run(_shared(name), _picture(2, *size))
    assert restored.shape == (2, *size, 1)
    assert restored.dtype == "float32"
    assert np.isfinite(restored).all()
    # The picture comes through: what is added to it is of its own order, and is not nothing.
    difference = np.abs(restored - _picture(2, *size))
    assert 0 < difference.max() < 5


@pytest.mark.parametrize("name", networks.GENERATORS)
def test_output_is_not_clipped(name):
    picture = np.stack([np.zeros((24, 24, 1), "float32"), np.ones((24, 24, 1), "float32")])
    restored = _run(_shared(name), picture)
    assert restored.min() < 0.0 or restored.max() > 1.0


@pytest.mark.parametrize("name", networks.GENERATORS)
def test_examples_do_not_mix(name):
    pictures = _picture(3, 16, 24)
    together = _run(_shared(name), pictures)
    alone = _run(_shared(name), pictures[1:2])
    np.testing.assert_allclose(together[1:2], alone, atol=2e-5)


@pytest.mark.parametrize("name", TINY)
def test_saved_file_loads_without_custom_objects(name, tmp_path):
    network = _shared(name)
    picture = _picture(1, 96, 96)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras", compile=False)
    for before, after in zip(
        keras.tree.flatten(_run(network, picture)),
        keras.tree.flatten(_run(loaded, picture)),
        strict=True,
    ):
        np.testing.assert_allclose(after, before, atol=1e-6)
    assert not [key for key in _classes(network.get_config()) if "keras_refocus" in key]


def _classes(config):
    """Registered names of every object in a configuration."""
    if isinstance(config, dict):
        names = [str(config[key]) for key in ("registered_name", "module") if config.get(key)]
        return names + [name for value in config.values() for name in _classes(value)]
    if isinstance(config, (list, tuple)):
        return [name for value in config for name in _classes(value)]
    return []


@pytest.fixture
def mixed_float16():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("name", TINY)
def test_mixed_precision(name, mixed_float16):
    network = _build(name)
    full = _shared_float32(name)
    network.set_weights(full.get_weights())
    picture = _picture(1, 96, 96)
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


@pytest.mark.parametrize("name", TINY)
def test_every_trainable_variable_has_a_gradient(name):
    network = _build(name)
    picture = _picture(2, 96, 96)
    targets = keras.tree.map_structure(
        lambda scores: np.random.default_rng(1).random(scores.shape, dtype="float32"),
        _run(network, picture),
    )
    before = [ops.convert_to_numpy(variable.value) for variable in network.trainable_variables]
    # A rate so large that a gradient of any size shows after rounding.
    network.compile(keras.optimizers.SGD(1e3), loss="mse", run_eagerly=True)
    network.train_on_batch(picture, targets)
    still = [
        variable.path
        for variable, old in zip(network.trainable_variables, before, strict=True)
        if np.array_equal(ops.convert_to_numpy(variable.value), old)
    ]
    assert not still
