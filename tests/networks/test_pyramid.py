"""Coarse to fine: what it begins as, what a scale hands on, and what it costs."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny_networks import TINY

from keras_refocus import networks
from keras_refocus.networks import blocks, costs


def noise(*shape, seed=1):
    return np.random.default_rng(seed).random((*shape, 1), dtype="float32")


def wake(network, seed=0):
    """Random weights where a network starts with zeros."""
    rng = np.random.default_rng(seed)
    for variable in network.trainable_variables:
        shape = variable.shape
        variable.assign(ops.convert_to_numpy(variable) + 0.1 * rng.standard_normal(shape))


def copy_weights(source, target):
    """Weights of the same name; returns the trained names that `source` has not."""
    values = {variable.path: ops.convert_to_numpy(variable) for variable in source.variables}
    for variable in target.variables:
        if variable.path in values:
            variable.assign(values[variable.path])
    return {variable.path for variable in target.trainable_variables} - set(values)


def pair(**options):
    """A `blind_wiener` network with weights of its own, and a pyramid that starts from them."""
    keras.utils.set_random_seed(0)
    alone = networks.build("blind_wiener", **TINY["blind_wiener"])
    wake(alone)
    pyramid = networks.build("pyramid", **TINY["pyramid"] | options)
    fresh = copy_weights(alone, pyramid)
    assert {name.split("/")[0] for name in fresh} == {"prior_stem", "prior_share"}
    return alone, pyramid


def scales_of(network, picture):
    scales = blocks.restore_at_scales(network)(ops.convert_to_tensor(picture))
    return {factor: ops.convert_to_numpy(scale) for factor, scale in scales.items()}


@pytest.mark.parametrize("scales", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_it_starts_as_the_network_of_one_scale(scales):
    alone, pyramid = pair(scales=scales)
    for size in ((1, 1), (5, 3), (32, 48), (37, 26)):
        picture = noise(2, *size)
        expected = alone.predict_on_batch(picture)
        assert np.abs(expected - picture).max() > 1e-3
        np.testing.assert_array_equal(pyramid.predict_on_batch(picture), expected)


def test_each_scale_is_that_network_on_the_shrunk_picture():
    alone, pyramid = pair(scales=3)
    picture = noise(1, 48, 32)
    found = scales_of(pyramid, picture)
    assert found.keys() == {1, 2, 4}
    for factor in (2, 4):
        shape = (1, 48 // factor, factor, 32 // factor, factor, 1)
        shrunk = picture.reshape(shape).mean((2, 4))
        np.testing.assert_allclose(found[factor], alone.predict_on_batch(shrunk), atol=2e-5)


def test_a_share_of_what_the_coarser_scale_changed_is_taken():
    _, pyramid = pair(scales=2)
    # A quarter of it at every pixel; the stem does not see it.
    layer = pyramid.get_layer("scale").get_layer("prior_share")
    kernel, bias = layer.get_weights()
    picture = noise(1, 32, 40)
    before = scales_of(pyramid, picture)
    layer.set_weights([kernel, np.full_like(bias, 0.25)])
    after = scales_of(pyramid, picture)
    shrunk = picture.reshape(1, 16, 2, 20, 2, 1).mean((2, 4))
    np.testing.assert_array_equal(after[2], before[2])
    changed = ops.convert_to_numpy(blocks.enlarge_bilinear(before[2] - shrunk, 2))
    assert np.abs(changed).max() > 0.01
    np.testing.assert_allclose(after[1] - before[1], 0.25 * changed, atol=1e-5)


def test_the_finest_scale_sees_what_the_coarser_changed():
    _, pyramid = pair(scales=2)
    layer = pyramid.get_layer("scale").get_layer("prior_stem")
    kernel, bias = layer.get_weights()
    picture = noise(1, 32, 40)
    before = scales_of(pyramid, picture)
    layer.set_weights([kernel + 0.1, bias])
    after = scales_of(pyramid, picture)
    # Before the coarsest there is nothing.
    np.testing.assert_array_equal(after[2], before[2])
    assert np.abs(after[1] - before[1]).max() > 1e-3


def test_a_second_scale_costs_a_quarter_more():
    alone, pyramid = (
        networks.build(name, **TINY[name] | {"window": 16}) for name in ("blind_wiener", "pyramid")
    )
    options = TINY["pyramid"]["refine_options"]
    more = costs.count_parameters(pyramid) - costs.count_parameters(alone)
    pixels, stem = options["stem_factor"] ** 2, options["widths"][0]
    assert more == (9 * pixels * stem + stem) + (stem * pixels + pixels)
    ratio = costs.count_macs(pyramid, 512, 512) / costs.count_macs(alone, 512, 512)
    # The windows beyond the border count for more in a small picture.
    assert 1 + 1 / 4 < ratio < 1.4


def test_one_scale_has_a_generator_of_its_own():
    with pytest.raises(ValueError, match="'blind_wiener'"):
        networks.build("pyramid", scales=1)
