"""Pictures and configurations of trainings that take a second."""

import contextlib
import dataclasses

import keras
import numpy as np
from keras import ops
from PIL import Image

from keras_refocus.training import configs, presets
from keras_refocus.training.restorer_job import RestorerJob

ON_TENSORFLOW = keras.backend.backend() == "tensorflow"

GENERATOR = {"widths": [8, 8], "depths": [1, 1], "decoder_depths": [1]}
DISCRIMINATOR = {"filters": 4, "layers": 1}


@contextlib.contextmanager
def without_tracing():
    """Toy steps are done before TensorFlow has traced them."""
    if not ON_TENSORFLOW:
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def texture(seed, size=48):
    """Blocks of random colours: edges that blur can spoil."""
    blocks = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8, 3), dtype=np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def defocus(sharp):
    """Mean over 5x5 pixels: a known blur that looks the same however the picture is turned."""
    shifted = [np.roll(sharp, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)]
    return np.mean(shifted, axis=0).round().astype(np.uint8)


def save(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rgb).save(path)


def write_photos(folder, count=4):
    for index in range(count):
        save(folder / f"{index}.png", texture(index))
    return folder


def write_pairs(folder, count=4, *, size=48, first=0):
    for index in range(first, first + count):
        sharp = texture(index, size)
        save(folder / "sharp" / f"{index:02d}.png", sharp)
        save(folder / "blur" / f"{index:02d}.png", defocus(sharp))
    return folder


def tiny(base=None, **changes):
    """A configuration of any preset on toy networks: two epochs, the second as its last ones."""
    base = base or configs.RestorerConfig()
    adversarial = bool(base.adversarial_epochs)
    values = {
        "generator": "unet",
        "generator_options": GENERATOR,
        "discriminator": base.discriminator,
        "discriminator_options": DISCRIMINATOR,
        "patch_size": 32,
        "batch_size": 2,
        "epochs": 1 if adversarial else 2,
        "adversarial_epochs": 1 if adversarial else 0,
        "final_epochs": 0,
        "steps_per_epoch": 3,
        "warmup_steps": 2,
        "critic_steps": min(2, base.critic_steps),
    }
    if base.discriminator == "double_scale":
        values["discriminator_options"] = DISCRIMINATOR | {"global_layers": 2}
    return dataclasses.replace(base, **values | changes)


def small_job(folder, pairs=None, config=None, **options):
    """A job in this process, validated on two pictures."""
    values = {"pairs": (pairs,) if pairs else (), "workers": 0, "validation_count": 2} | options
    return RestorerJob(folder=folder, config=config or tiny(), **values)


def perceptual_weights(path):
    """A stand-in for pretrained weights: random ones in the same layout."""
    from keras_refocus.networks import backbones

    keras.utils.set_random_seed(0)
    extractor = backbones.feature_extractor("mobilenet_v2", ["Conv1_relu"], weights=None)
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    arrays = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable.value)
        for layer in trunk.layers
        for variable in layer.variables
    }
    np.savez(path, **arrays)
    return {"backbone": "mobilenet_v2", "layer": "Conv1_relu", "weights": str(path)}


def preset_in_tiny_form(name, tmp_path):
    base = presets.RESTORER_PRESETS[name]
    content = dict(base.content)
    if "perceptual" in content:
        weights = perceptual_weights(tmp_path / "weights.npz")
        content["perceptual"] = {"weight": content["perceptual"]["weight"], **weights}
    return tiny(base, content=content)
