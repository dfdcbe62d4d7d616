"""DRUNet: weights of Zhang et al. 2021 for grey pictures."""

import re

from keras_refocus.networks.imported.family import Family, Tensors

_BLOCK = re.compile(r"m_body\.(\d+)\.res\.0\.weight")


def _matches(tensors: Tensors) -> bool:
    return "m_head.weight" in tensors and "m_body.0.res.0.weight" in tensors


def _options(tensors: Tensors, noise: float) -> dict:
    channels = tensors.shape("m_head.weight")[1] - 1
    if channels != 1:
        raise ValueError(
            "DRUNet must be the one for grey pictures, whose first layer sees one channel and the "
            f"level of noise. Received: {channels} channels. Take drunet_gray.pth."
        )
    depth = sum(_BLOCK.fullmatch(name) is not None for name in tensors.names())
    scales = 1
    while f"m_down{scales}.{depth}.weight" in tensors:
        scales += 1
    return {
        "widths": (
            *(tensors.shape(f"m_down{scale}.{depth}.weight")[1] for scale in range(1, scales)),
            tensors.shape("m_body.0.res.0.weight")[0],
        ),
        "depth": depth,
        "noise": noise,
        "use_bias": "m_head.bias" in tensors,
        "signal": "gray",
    }


def _residuals(tensors: Tensors, name: str, layer: str, depth: int, *, first: int = 0) -> None:
    for block in range(depth):
        tensors.convolution(f"{name}.{first + block}.res.0", f"{layer}_{block}_conv1")
        tensors.convolution(f"{name}.{first + block}.res.2", f"{layer}_{block}_conv2")


def _convert(tensors: Tensors, options: dict) -> None:
    depth = options["depth"]
    tensors.convolution("m_head", "head")
    for scale in range(len(options["widths"]) - 1):
        theirs = scale + 1
        _residuals(tensors, f"m_down{theirs}", f"encoder{scale}", depth)
        tensors.convolution(f"m_down{theirs}.{depth}", f"down{scale}")
        tensors.transposed(f"m_up{theirs}.0", f"up{scale}")
        _residuals(tensors, f"m_up{theirs}", f"decoder{scale}", depth, first=1)
    _residuals(tensors, "m_body", "middle", depth)
    tensors.convolution("m_tail", "tail")


FAMILY = Family(
    name="drunet",
    title="DRUNet",
    purpose="noise of a level that is chosen at the import (--noise)",
    generator="drunet",
    paper=(
        "Zhang, Li, Zuo, Zhang, Van Gool, Timofte: Plug-and-Play Image Restoration with Deep "
        "Denoiser Prior. IEEE TPAMI 2021"
    ),
    address="https://github.com/cszn/KAIR",
    trained_on="BSD, Waterloo Exploration, DIV2K, Flickr2K with white noise",
    code_licence="MIT",
    weights_licence="MIT, as the repository that offers them",
    terms="permissive",
    verified="small random networks of the authors' code; no file of the authors has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
    settings={"noise": (15.0, "standard deviation of the noise to remove, of 255")},
)
