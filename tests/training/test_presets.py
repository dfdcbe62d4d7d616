"""The presets: every one is of networks that can be built, and trains."""

import dataclasses
import math

import numpy as np
import pytest
from keras import ops
from tiny_networks import TINY
from tiny_training import perceptual_weights, without_tracing, write_photos

from keras_refocus import networks
from keras_refocus.training import colorizer_job, configs, presets, restorer_job
from keras_refocus.training.job import phases

_ALL = presets.RESTORER_PRESETS | presets.COLORIZER_PRESETS
# Backbones of hundreds of layers, and what has the networks of others.
_SLOW = {
    "pyramid",
    "fast_sibling",
    "fine_tune",
    "gan_finish",
    "deblurgan_v2",
    "cyclegan_color_aware",
}


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


def small(config, tmp_path):
    """A preset with its own networks, losses, blur and phases, of which only the size is small."""
    own = {
        f"{part}_options": getattr(config, f"{part}_options")
        | TINY[getattr(config, part)]
        # A toy backbone has weights of nobody.
        | ({"weights": None} if "weights" in networks.options(getattr(config, part)) else {})
        for part in ("generator", "discriminator", "decolorizer")
        if hasattr(config, part)
    }
    if config.generator_options.get("refine") is False:
        del own["generator_options"]["refine_options"]
    if hasattr(config, "content") and "perceptual" in config.content:
        weights = perceptual_weights(tmp_path / "weights.npz")
        own["content"] = config.content | {"perceptual": {"weight": 1.0, **weights}}
    for name in ("epochs", "adversarial_epochs", "final_epochs", "frozen_epochs"):
        own[name] = min(1, getattr(config, name, 0))
    if isinstance(config, configs.ColorizerConfig):
        del own["frozen_epochs"]
        own["pool_size"] = 2
    batches = {"batch_size": 2, "final_batch_size": config.final_batch_size and 1}
    patches = {"patch_size": 32, "final_patch_size": config.final_patch_size and 64}
    return dataclasses.replace(config, steps_per_epoch=1, **own | batches | patches)


def weights(network):
    return np.concatenate([np.ravel(value) for value in network.get_weights()])


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in _SLOW)) for name in _ALL]
)
def test_every_preset_builds_and_steps(name, tmp_path):
    config = small(_ALL[name], tmp_path)
    photos = write_photos(tmp_path / "photos")
    if isinstance(config, configs.ColorizerConfig):
        job = colorizer_job.ColorizerJob(folder=tmp_path, config=config, photos=(photos,))
    else:
        job = restorer_job.RestorerJob(folder=tmp_path, config=config, photos=photos)
    pictures = job.collect()
    with without_tracing():
        model = job.build(pictures)
        kinds = set()
        for phase in phases(config):
            before = weights(model.generator)
            model.adversarial_phase, model.frozen = phase.adversarial, phase.frozen
            batch = job.sampler(pictures, phase).batch(0)
            logs = model.train_step(tuple(map(ops.convert_to_tensor, batch)))
            assert all(math.isfinite(float(value)) for value in logs.values())
            assert ("adversarial_loss" in logs) == phase.adversarial
            assert (before != weights(model.generator)).any()
            kinds.add((phase.adversarial, phase.patch_size))
    assert len(kinds) == len(phases(config)) == int(ops.convert_to_numpy(model.steps))


def test_published_presets_have_the_numbers_of_their_papers():
    v2 = presets.RESTORER_PRESETS["deblurgan_v2"]
    assert (v2.frozen_epochs, v2.content["mse"], v2.adversarial_weight) == (3, 0.5, 0.01)
