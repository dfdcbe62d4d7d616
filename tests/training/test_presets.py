"""The presets: every one is of a network that can be built."""

import pytest

from keras_refocus import networks
from keras_refocus.training import presets

_ALL = presets.RESTORER_PRESETS | presets.COLORIZER_PRESETS


@pytest.mark.parametrize("name", _ALL)
def test_options_of_a_preset_are_those_of_its_networks(name):
    config = _ALL[name]
    for network, chosen in (
        (config.generator, config.generator_options),
        (config.discriminator, config.discriminator_options),
    ):
        assert set(chosen) <= set(networks.options(network))


def test_the_quick_test_is_small():
    config = presets.RESTORER_PRESETS["quick_test"]
    network = networks.build(config.generator, **config.generator_options)
    assert network.count_params() < 100_000
    assert config.epochs * config.steps_per_epoch <= 40
