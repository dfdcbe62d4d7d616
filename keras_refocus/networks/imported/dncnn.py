"""DnCNN: weights of Zhang et al. 2017 for grey pictures, with batch normalisation or without."""

import re

import numpy as np

from keras_refocus.networks.imported.family import Family, Tensors

_WEIGHT = re.compile(r"model\.(\d+)\.weight")
# Of the authors' code; files in which it is merged do not need it.
_EPSILON = 1e-4


def _convolutions(tensors: Tensors) -> list[int]:
    """The authors' numbers of the convolutions, in order."""
    found = (_WEIGHT.fullmatch(name) for name in tensors.names())
    return sorted(int(match[1]) for match in found if match and len(tensors.shape(match[0])) == 4)


def _matches(tensors: Tensors) -> bool:
    numbers = _convolutions(tensors)
    if len(numbers) < 3 or not all(name.startswith("model.") for name in tensors.names()):
        return False
    first, last = (tensors.shape(f"model.{number}.weight") for number in (numbers[0], numbers[-1]))
    # FDnCNN sees a map of the noise level too.
    return first[1] == last[0] == 1 and first[2:] == (3, 3)


def _options(tensors: Tensors) -> dict:
    numbers = _convolutions(tensors)
    return {
        "width": tensors.shape(f"model.{numbers[0]}.weight")[0],
        "depth": len(numbers),
        "signal": "gray",
    }


def _convert(tensors: Tensors, options: dict) -> None:
    numbers = _convolutions(tensors)
    for layer, number in enumerate(numbers):
        name = f"model.{number}"
        ours = "noise" if layer == len(numbers) - 1 else f"conv{layer}"
        normalization = f"model.{number + 1}"
        if f"{normalization}.running_mean" not in tensors:
            tensors.convolution(name, ours)
            continue
        gamma, beta, mean, variance = (
            tensors.take(f"{normalization}.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        tensors.drop(f"{normalization}.num_batches_tracked")
        scale = gamma / np.sqrt(variance + _EPSILON)
        kernel = tensors.take(f"{name}.weight").transpose(2, 3, 1, 0) * scale
        bias = tensors.take(f"{name}.bias") if f"{name}.bias" in tensors else np.zeros_like(mean)
        tensors.put(ours, kernel, (bias - mean) * scale + beta)


FAMILY = Family(
    name="dncnn",
    title="DnCNN",
    purpose="noise of the level in its file's name",
    generator="dncnn",
    paper="Zhang, Zuo, Chen, Meng, Zhang: Beyond a Gaussian Denoiser. IEEE TIP 2017",
    address="https://github.com/cszn/KAIR",
    trained_on="BSDS400 with white noise",
    code_licence="MIT",
    weights_licence="MIT, as the repository that offers them",
    terms="permissive",
    verified="small random networks of the authors' code; their file dncnn_25.pth is read",
    matches=_matches,
    options=_options,
    convert=_convert,
)
