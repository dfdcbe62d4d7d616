"""DeepDeblur: weights of Nah et al. 2017 for GoPro and REDS, of their PyTorch code."""

import re

import numpy as np

from keras_refocus.networks.imported.family import Family, Tensors

_BODY = re.compile(r"body_models\.(\d+)\.body\.(\d+)\..*")
# The authors' pictures go to 255, ours to 1.
_RANGE = 255.0


def _matches(tensors: Tensors) -> bool:
    return "body_models.0.body.0.weight" in tensors and "body_models.0.body.1.body.0.weight" in (
        tensors
    )


def _options(tensors: Tensors) -> dict:
    places = [_BODY.fullmatch(name) for name in tensors.names()]
    width, _, kernel_size, _ = tensors.shape("body_models.0.body.0.weight")
    return {
        "width": width,
        "residual_blocks": max(int(place[2]) for place in places if place) - 1,
        "kernel_size": kernel_size,
        "scales": max(int(place[1]) for place in places if place) + 1,
        "global_skip": False,
        "signal": "rgb",
        "as_published": True,
    }


def _convert(tensors: Tensors, options: dict) -> None:
    for scale in range(options["scales"]):
        name = f"body_models.{scale}.body"
        stem = tensors.take(f"{name}.0.weight").transpose(2, 3, 1, 0)
        tensors.put(f"stem{scale}", stem * _RANGE, tensors.take(f"{name}.0.bias"))
        last = options["residual_blocks"] + 1
        for block in range(last - 1):
            for number, part in ((1, 0), (2, 2)):
                ours = f"residual{scale}_{block}_conv{number}"
                tensors.convolution(f"{name}.{block + 1}.body.{part}", ours)
        tensors.convolution(f"{name}.{last}", f"result{scale}", scale=1.0 / _RANGE)
        if scale > 0:
            up = f"conv_end_models.{scale}.uppath.0"
            kernel = tensors.take(f"{up}.weight").transpose(2, 3, 1, 0)
            bias = tensors.take(f"{up}.bias") / _RANGE
            # PyTorch's channels are (channel, row, column), those of depth to space otherwise.
            order = np.arange(len(bias)).reshape(-1, 2, 2).transpose(1, 2, 0).ravel()
            tensors.put(f"up{scale - 1}", kernel[..., order], bias[order])


FAMILY = Family(
    name="deepdeblur",
    title="DeepDeblur",
    purpose="motion blur (GoPro, REDS), as its file is called",
    generator="multiscale",
    paper=(
        "Nah, Kim, Lee: Deep Multi-scale Convolutional Neural Network for Dynamic Scene "
        "Deblurring. CVPR 2017"
    ),
    address="https://github.com/SeungjunNah/DeepDeblur-PyTorch",
    trained_on="GoPro or REDS, as its file is called",
    code_licence="MIT",
    weights_licence="none stated beside that of the code",
    terms="unstated",
    verified="small random networks of the authors' code; no file of theirs has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
)
