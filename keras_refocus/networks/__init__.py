"""Network architectures: one file each, and the dictionaries that name them.

Generators map luminance `(batch, height, width, 1)` float32 in [0, 1] to restored luminance of the
same shape, for any height and width of at least 1, without clipping; colorizers map it to chroma
`(batch, height, width, 2)`; decolorizers map luminance and chroma, three channels, to luminance.
Motion networks map what `video.from_blur.see` shows of an exposure to trajectories and residuals;
corrections map what a frame in between may be mixed of to that frame.
Discriminators map a picture to scores without activation. All are functional models of built-in
layers and `keras.ops`: a saved generator loads with no custom objects, under every backend.
"""

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from keras_refocus.networks.blind_wiener import blind_wiener_generator
from keras_refocus.networks.correction_unet import correction_unet
from keras_refocus.networks.ddcolor import ddcolor_colorizer
from keras_refocus.networks.dncnn import dncnn_generator
from keras_refocus.networks.drunet import drunet_generator
from keras_refocus.networks.eccv16 import eccv16_colorizer
from keras_refocus.networks.filter_bank import filter_bank_generator
from keras_refocus.networks.fpn import (
    fpn_inception_resnet_v2_generator,
    fpn_mobilenet_dsc_generator,
    fpn_mobilenet_v2_generator,
)
from keras_refocus.networks.hinet import hinet_generator
from keras_refocus.networks.jin import jin_cascade
from keras_refocus.networks.mobilenet_colorizer import mobilenet_v2_colorizer, tune_colors
from keras_refocus.networks.motion_unet import motion_unet
from keras_refocus.networks.multipatch import multipatch_generator
from keras_refocus.networks.multiscale import multiscale_generator
from keras_refocus.networks.nafnet import nafnet_generator
from keras_refocus.networks.patchgan import critic, double_scale_discriminator, patch_discriminator
from keras_refocus.networks.pyramid import pyramid_generator
from keras_refocus.networks.resnet import resnet_colorizer, resnet_decolorizer, resnet_generator
from keras_refocus.networks.scale_recurrent import scale_recurrent_generator
from keras_refocus.networks.siggraph17 import siggraph17_colorizer
from keras_refocus.networks.unet import unet_generator

__all__ = [
    "COLORIZERS",
    "CORRECTIONS",
    "DECOLORIZERS",
    "DISCRIMINATORS",
    "GENERATORS",
    "GROWN_FROM",
    "MOTIONS",
    "architecture",
    "build",
    "options",
    "tune_colors",
]

GENERATORS = {
    "blind_wiener": blind_wiener_generator,
    "pyramid": pyramid_generator,
    "filter_bank": filter_bank_generator,
    "unet": unet_generator,
    "resnet": resnet_generator,
    "fpn_inception_resnet_v2": fpn_inception_resnet_v2_generator,
    "fpn_mobilenet_v2": fpn_mobilenet_v2_generator,
    "fpn_mobilenet_dsc": fpn_mobilenet_dsc_generator,
    "multipatch": multipatch_generator,
    "scale_recurrent": scale_recurrent_generator,
    "multiscale": multiscale_generator,
    "nafnet": nafnet_generator,
    "dncnn": dncnn_generator,
    "drunet": drunet_generator,
    "hinet": hinet_generator,
}

# Networks that are another one at first, with layers beside that start at zero: its weights are
# theirs by name.
GROWN_FROM = {"pyramid": "blind_wiener"}

COLORIZERS = {
    "mobilenet_v2_colorizer": mobilenet_v2_colorizer,
    "resnet_colorizer": resnet_colorizer,
    "eccv16_colorizer": eccv16_colorizer,
    "siggraph17_colorizer": siggraph17_colorizer,
    "ddcolor_colorizer": ddcolor_colorizer,
}

DECOLORIZERS = {
    "resnet_decolorizer": resnet_decolorizer,
}

MOTIONS = {
    "motion_unet": motion_unet,
    "jin": jin_cascade,
}

CORRECTIONS = {
    "correction_unet": correction_unet,
}

DISCRIMINATORS = {
    "patchgan": patch_discriminator,
    "critic": critic,
    "double_scale": double_scale_discriminator,
}


def _nearest(word, choices):
    matches = difflib.get_close_matches(word, choices, n=1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def options(name: str) -> dict[str, Any]:
    """Options that a network takes, with their defaults.

    Args:
        name: A key of `GENERATORS`, `COLORIZERS`, `DECOLORIZERS`, `MOTIONS`, `CORRECTIONS` or
            `DISCRIMINATORS`.

    Returns:
        Dict from the name of an option to its default.

    Raises:
        ValueError: If the name is unknown.
    """
    parameters = inspect.signature(_builder(name)).parameters
    return {option: parameter.default for option, parameter in parameters.items()}


def _builder(name):
    several = (GENERATORS, COLORIZERS, DECOLORIZERS, MOTIONS, CORRECTIONS, DISCRIMINATORS)
    builders = {key: builder for some in several for key, builder in some.items()}
    if name not in builders:
        raise ValueError(
            f"The network must be one of {sorted(builders)}. Received: name={name!r}."
            f"{_nearest(str(name), builders)}"
        )
    return builders[name]


def architecture(name: str, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a trained network that others build it with, to set its weights.

    Args:
        name: A key as in `build`.
        chosen: Dict of the options that it was built with.

    Returns:
        Dict of options that need no file of weights to start from.
    """
    accepted = options(name)
    if chosen.get("weights", accepted.get("weights")) is None:
        return dict(chosen)
    result = dict(chosen) | {"weights": None}
    # Its default depends on whether there were weights.
    if "freeze_batch_normalization" in accepted and not isinstance(
        chosen.get("freeze_batch_normalization"), bool
    ):
        result["freeze_batch_normalization"] = True
    return result


def build(name: str, /, **chosen: Any) -> Any:
    """Build a network by name.

    Args:
        name: A key of `GENERATORS`, `COLORIZERS`, `DECOLORIZERS`, `MOTIONS`, `CORRECTIONS` or
            `DISCRIMINATORS`.
        **chosen: Options of that network; see its builder.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: If the name or an option is unknown, or an option's value has no meaning.
    """
    accepted = options(name)
    for option, value in chosen.items():
        if option not in accepted:
            raise ValueError(
                f"The network {name!r} takes the options {sorted(accepted)}. "
                f"Received: {option}={value!r}.{_nearest(option, accepted)}"
            )
    return _builder(name)(**chosen)
