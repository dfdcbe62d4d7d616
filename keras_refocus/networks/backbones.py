"""Pretrained classification networks as feature extractors for luminance.

The networks are those of `keras.applications`, cut behind the last layer that is asked for and
rebuilt so that every layer is a built-in one with a fixed name, and so that each scale of a picture
whose sides are multiples of 32 has half the size of the one before.
"""

import dataclasses
import difflib
import inspect
import logging
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.pictures import color

_log = logging.getLogger(__name__)

# Mean of ImageNet in 8-bit BGR, which the VGG networks of `keras.applications` expect removed.
_VGG_MEAN_BGR = (103.939, 116.779, 123.68)


@dataclasses.dataclass(frozen=True)
class _Backbone:
    """What must be known of one network of `keras.applications`.

    Attributes:
        application: Its name there.
        pyramid: Names of the layers at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size; empty where they
            have not been chosen.
        perceptual: Name of the layer whose features a perceptual loss compares, or `None`.
        scale: Factors from luminance in [0, 1] to what the network expects, one for each of the
            three channels.
        offset: What is added behind them.
        same_padding: Whether its unpadded convolutions are given padding.
        bgr: Whether it expects blue first.
    """

    application: str
    pyramid: tuple
    perceptual: str | None
    scale: tuple
    offset: tuple
    same_padding: bool = False
    bgr: bool = False


BACKBONES = {
    # DeblurGAN-v2 takes its five scales here (its code counts the blocks from 1).
    "mobilenet_v2": _Backbone(
        application="MobileNetV2",
        pyramid=(
            "expanded_conv_project_BN",
            "block_2_add",
            "block_5_add",
            "block_9_add",
            "block_14_add",
        ),
        perceptual="block_3_expand_relu",
        scale=(2.0, 2.0, 2.0),
        offset=(-1.0, -1.0, -1.0),
    ),
    "inception_resnet_v2": _Backbone(
        application="InceptionResNetV2",
        pyramid=("activation", "max_pooling2d", "max_pooling2d_1", "mixed_6a", "mixed_7a"),
        perceptual="max_pooling2d_1",
        scale=(2.0, 2.0, 2.0),
        offset=(-1.0, -1.0, -1.0),
        same_padding=True,
    ),
    "vgg19": _Backbone(
        application="VGG19",
        pyramid=("block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool"),
        perceptual="block3_conv3",
        scale=(color.EIGHT_BIT,) * 3,
        offset=tuple(-mean for mean in _VGG_MEAN_BGR),
        bgr=True,
    ),
    "vgg16": _Backbone(
        application="VGG16",
        pyramid=("block1_pool", "block2_pool", "block3_pool", "block4_pool", "block5_pool"),
        perceptual="block3_conv3",
        scale=(color.EIGHT_BIT,) * 3,
        offset=tuple(-mean for mean in _VGG_MEAN_BGR),
        bgr=True,
    ),
}


def find(name: str) -> _Backbone:
    """Look a backbone up: a key of `BACKBONES`, or any other network of `keras.applications`.

    Args:
        name: Such a key, or the name of a builder in `keras.applications`, such as `"ResNet50"`.

    Raises:
        ValueError: If there is none of that name; the message lists them.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    builder = getattr(keras.applications, name, None)
    if inspect.isfunction(builder):
        return _unlisted(name, inspect.getmodule(builder).preprocess_input)
    applications = [entry for entry in vars(keras.applications) if entry[0].isupper()]
    raise ValueError(
        f"`backbone` must be one of {sorted(BACKBONES)}, or one of keras.applications: "
        f"{', '.join(sorted(applications))}. Received: backbone={name!r}."
    )


def _unlisted(name, preprocess):
    """Describe a network of `keras.applications` that has no entry in `BACKBONES`."""
    # What a network expects is an affine map of each channel, so two greys tell it, and a red which
    # of them comes first.
    black, white, red = (
        np.ravel(preprocess(np.array(shade, np.float32).reshape(1, 1, 1, 3)))
        for shade in ([0.0] * 3, [color.EIGHT_BIT] * 3, [color.EIGHT_BIT, 0.0, 0.0])
    )
    return _Backbone(
        application=name,
        pyramid=(),
        perceptual=None,
        scale=tuple(map(float, white - black)),
        offset=tuple(map(float, black)),
        bgr=bool(red[2] != black[2]),
    )


# Layers that `keras.applications` does not name: the second network of a process has `conv2d_203`
# where the first has `conv2d`.
_ANONYMOUS = re.compile(
    "(activation|average_pooling2d|batch_normalization|conv2d|custom_scale_layer|max_pooling2d)"
    r"(?:_(\d+))?"
)


def _fixed_names(network):
    """Map layer names to what they would be in the first network of a process."""
    anonymous = {}
    for layer in network.layers:
        match = _ANONYMOUS.fullmatch(layer.name)
        if match:
            anonymous.setdefault(match[1], []).append((int(match[2] or 0), layer.name))
    names = {layer.name: layer.name for layer in network.layers}
    for base, layers in anonymous.items():
        for index, (_, name) in enumerate(sorted(layers)):
            names[name] = f"{base}_{index}" if index else base
    return names


def _application(backbone, weights, required, options):
    """Build the whole network; with ImageNet weights when asked and possible."""
    builder = getattr(keras.applications, backbone.application)
    options = {"include_top": False, "input_shape": (None, None, 3)} | options
    if weights is None or _is_npz(weights):
        return builder(weights=None, **options)
    if weights != "imagenet":
        return builder(weights=str(weights), **options)
    try:
        network = builder(weights="imagenet", **options)
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        if required:
            raise ValueError(
                f"The ImageNet weights of {backbone.application} must be downloaded. Received: "
                f"weights='imagenet', and the download failed ({error}). Give `weights` the path "
                "of a file instead."
            ) from error
        _log.warning(
            "%s starts from random weights: the ImageNet weights could not be downloaded (%s). "
            "Give `weights` the path of a file to start from them.",
            backbone.application,
            error,
        )
        return builder(weights=None, **options)
    _log.info("%s starts from the ImageNet weights of keras.applications.", backbone.application)
    return network


def _is_npz(weights):
    return pathlib.Path(weights).suffix == ".npz"


def _load_npz(network, path):
    """Set every variable of `network` from the array `<layer>/<variable>` of a file."""
    with np.load(path) as arrays:
        for layer in network.layers:
            for variable in layer.variables:
                key = f"{layer.name}/{variable.name}"
                if key not in arrays:
                    raise ValueError(
                        "The file of weights must hold every variable of the backbone. Received: "
                        f"weights={str(path)!r}, which has no {key!r}. Use a file made for this "
                        "backbone and its options."
                    )
                if arrays[key].shape != tuple(variable.shape):
                    raise ValueError(
                        "The file of weights must fit the backbone. Received: "
                        f"weights={str(path)!r}, where {key!r} has shape {arrays[key].shape}, not "
                        f"{tuple(variable.shape)}. Use a file made for these options."
                    )
                variable.assign(arrays[key].astype("float32"))


def _call(layer, *args, **kwargs):
    # Keras' own layer for a scaled sum is not registered, so a saved network would not load.
    if type(layer).__name__ == "CustomScaleLayer":
        shortcut, residual = args[0]
        return ops.add(shortcut, ops.multiply(residual, layer.scale))
    return layer(*args, **kwargs)


def feature_extractor(
    name: str,
    layers: Sequence[str],
    *,
    weights: str | os.PathLike | None,
    required: bool = False,
    freeze_batch_normalization: bool | None = None,
    dtype: Any = None,
    colored: bool = False,
    **options: Any,
) -> keras.Model:
    """Build a network from luminance, or from sRGB, to feature maps of a classification network.

    Luminance is repeated to three channels and brought to the range the network was trained on. The
    tone curve of CIELAB lightness is close enough to that of sRGB to be left as it is: they differ
    by at most 0.04 on greys.

    Args:
        name: A key of `BACKBONES`, or another name that `find` knows.
        layers: Names of the layers whose outputs are wanted.
        weights: `"imagenet"` (downloaded by Keras), the path of an `.npz` file whose keys are
            `<layer>/<variable>`, the path of a weights file that Keras reads, or `None` for random
            weights.
        required: Whether a failed download is an error; otherwise the weights are random then, and
            a warning says so.
        freeze_batch_normalization: Whether batch normalisation keeps its statistics and scales when
            the network is trained on; `None` freezes it when weights are given.
        dtype: Precision of all layers; `None` follows the policy of Keras.
        colored: Whether it takes sRGB, `(batch, height, width, 3)`, instead of luminance.
        **options: Options of the builder in `keras.applications`, such as `alpha`.

    Returns:
        `keras.Model` from `(batch, height, width, 1)` float32 in [0, 1], or three channels of it
        where it is `colored`, sides multiples of 32, to a list of feature maps; to the map itself
        where one layer is asked for.

    Raises:
        FileNotFoundError: If the file of weights does not exist.
        ValueError: If the backbone or a layer does not exist, the file does not fit, or required
            weights cannot be had.
    """
    backbone = find(name)
    if weights not in (None, "imagenet") and not pathlib.Path(weights).is_file():
        raise FileNotFoundError(
            "`weights` must be 'imagenet', None, or the path of a file. "
            f"Received: weights={str(weights)!r}, which does not exist."
        )
    if required and weights is None:
        raise ValueError(
            f"The weights of {name} are needed here: random features mean nothing. "
            "Received: weights=None. Set `weights` to 'imagenet' or to the path of a file."
        )
    network = _application(backbone, weights, required, options)
    names = _fixed_names(network)
    by_name = {names[layer.name]: layer for layer in network.layers}
    for layer in layers:
        if layer not in by_name:
            near = difflib.get_close_matches(layer, by_name, n=3)
            raise ValueError(
                f"The layers must be layers of {name}. Received: {layer!r}. Nearest: {near}."
            )
    outputs = [by_name[layer].output for layer in layers]
    network = keras.Model(network.inputs[0], outputs if len(outputs) > 1 else outputs[0])
    if freeze_batch_normalization is None:
        freeze_batch_normalization = weights is not None

    def copy(layer):
        if not isinstance(layer, keras.Layer):
            return layer
        config = layer.get_config() | {"name": names[layer.name]}
        if dtype is not None:
            config["dtype"] = dtype
        if backbone.same_padding and config.get("padding") == "valid":
            config["padding"] = "same"
        if isinstance(layer, keras.layers.BatchNormalization) and freeze_batch_normalization:
            config["trainable"] = False
        return type(layer).from_config(config)

    rgb = keras.Input((None, None, 3), name="rgb")
    trunk = keras.models.clone_model(
        network, input_tensors=rgb, clone_function=copy, call_function=_call
    )
    if weights is None:
        _log.info("%s starts from random weights.", backbone.application)
    elif _is_npz(weights):
        _load_npz(trunk, weights)
    else:
        for layer in (layer for layer in network.layers if layer.weights):
            trunk.get_layer(names[layer.name]).set_weights(layer.get_weights())
    if weights not in (None, "imagenet"):
        _log.info("%s starts from the weights in %s.", backbone.application, weights)

    given, picture = _network_input(backbone, dtype, colored)
    return keras.Model(given, trunk(picture), name=f"{name}_features")


def _network_input(backbone, dtype, colored):
    """Input of luminance or sRGB, and the three channels that the network expects."""
    given = keras.Input(
        (None, None, 3 if colored else 1), dtype="float32", name="srgb" if colored else "luminance"
    )
    planes = [given] * 3
    if colored:
        order = (2, 1, 0) if backbone.bgr else (0, 1, 2)
        planes = [given[..., index : index + 1] for index in order]
    channels = [
        keras.layers.Rescaling(scale, offset=offset, dtype=dtype, name=f"channel{index}")(plane)
        for index, (plane, scale, offset) in enumerate(
            zip(planes, backbone.scale, backbone.offset, strict=True)
        )
    ]
    picture = keras.layers.Concatenate(dtype=dtype, name="channels")(channels)
    return given, picture
