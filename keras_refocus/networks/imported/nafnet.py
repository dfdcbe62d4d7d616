"""NAFNet: weights of Chen et al. 2022 for GoPro, REDS and SIDD."""

import re

import numpy as np

from keras_refocus.networks.imported.family import Family, Tensors

_BLOCK = re.compile(r"(encoders|decoders)\.(\d+)\.(\d+)\.beta|(middle_blks)\.(\d+)\.beta")
# 1.5 times the side of the patches of 256 that the authors trained on, as in their options.
_WINDOW = 384


def _matches(tensors: Tensors) -> bool:
    return "intro.weight" in tensors and "middle_blks.0.sca.1.weight" in tensors


def _options(tensors: Tensors) -> dict:
    counts: dict[tuple[str, int], int] = {}
    for name in tensors.names():
        match = _BLOCK.fullmatch(name)
        if match:
            part, scale = (match[1], int(match[2])) if match[1] else (match[4], 0)
            counts[part, scale] = counts.get((part, scale), 0) + 1
    scales = sum(part == "encoders" for part, _ in counts)
    # The authors count decoders from the coarse end, as they run.
    return {
        "width": tensors.shape("intro.weight")[0],
        "encoder_blocks": tuple(counts["encoders", scale] for scale in range(scales)),
        "middle_blocks": counts["middle_blks", 0],
        "decoder_blocks": tuple(counts["decoders", scale] for scale in range(scales)),
        "local_window": _WINDOW,
        "signal": "rgb",
        "as_published": True,
    }


def _block(tensors: Tensors, name: str, layer: str) -> None:
    for norm in (1, 2):
        weights = [tensors.take(f"{name}.norm{norm}.{part}") for part in ("weight", "bias")]
        tensors.put(f"{layer}_norm{norm}", *weights)
    # The learned scales of the branches, (1, channels, 1, 1), become part of the convolutions.
    beta, gamma = (tensors.take(f"{name}.{part}").ravel() for part in ("beta", "gamma"))
    tensors.convolution(f"{name}.conv1", f"{layer}_expand")
    depthwise = tensors.take(f"{name}.conv2.weight").transpose(2, 3, 0, 1)
    tensors.put(f"{layer}_depthwise", depthwise, tensors.take(f"{name}.conv2.bias"))
    tensors.convolution(f"{name}.sca.1", f"{layer}_attention")
    tensors.convolution(f"{name}.conv3", f"{layer}_project", scale=beta)
    tensors.convolution(f"{name}.conv4", f"{layer}_feed")
    tensors.convolution(f"{name}.conv5", f"{layer}_forward", scale=gamma)


def _upsampling(tensors: Tensors, name: str, layer: str) -> None:
    kernel = tensors.take(name).transpose(2, 3, 1, 0)
    # PyTorch's channels are (channel, row, column), those of depth to space (row, column, channel).
    channels = np.arange(kernel.shape[-1]).reshape(-1, 2, 2).transpose(1, 2, 0).ravel()
    tensors.put(layer, kernel[..., channels])


def _convert(tensors: Tensors, options: dict) -> None:
    tensors.convolution("intro", "stem")
    for scale, count in enumerate(options["encoder_blocks"]):
        for block in range(count):
            _block(tensors, f"encoders.{scale}.{block}", f"encoder{scale}_{block}")
        tensors.convolution(f"downs.{scale}", f"down{scale}")
    for block in range(options["middle_blocks"]):
        _block(tensors, f"middle_blks.{block}", f"middle_{block}")
    scales = len(options["encoder_blocks"])
    for step, count in enumerate(options["decoder_blocks"]):
        scale = scales - 1 - step
        _upsampling(tensors, f"ups.{step}.0.weight", f"up{scale}")
        for block in range(count):
            _block(tensors, f"decoders.{step}.{block}", f"decoder{scale}_{block}")
    tensors.convolution("ending", "residual")


FAMILY = Family(
    name="nafnet",
    title="NAFNet",
    purpose="motion blur (GoPro, REDS) or the noise of phones (SIDD), as its file is called",
    generator="nafnet",
    paper="Chen, Chu, Zhang, Sun: Simple Baselines for Image Restoration. ECCV 2022",
    address="https://github.com/megvii-research/NAFNet",
    trained_on="GoPro, REDS or SIDD, as its file is called",
    code_licence="MIT, parts Apache-2.0",
    weights_licence="MIT, as the repository that offers them",
    terms="permissive",
    verified=(
        "small random networks of the authors' code; no file of the authors has been at hand: be "
        "the first, and look at the result"
    ),
    matches=_matches,
    options=_options,
    convert=_convert,
)
