"""DDColor: weights of the colorizer of Kang et al. 2023."""

import re

import numpy as np

from keras_refocus.networks.imported.family import Family, Tensors
from keras_refocus.pictures import color

_BLOCK = re.compile(r"encoder\.arch\.stages\.(\d)\.\d+\.gamma")
_LAYER = re.compile(r"decoder\.color_decoder\.transformer_ffn_layers\.\d+\.norm\.weight")
_STEM = "encoder.arch.downsample_layers.0"
_COLORS = "decoder.color_decoder"


def _matches(tensors: Tensors) -> bool:
    return f"{_STEM}.0.weight" in tensors and f"{_COLORS}.query_feat.weight" in tensors


def _options(tensors: Tensors) -> dict:
    stages = [int(match[1]) for name in tensors.names() if (match := _BLOCK.fullmatch(name))]
    colors, color_width = tensors.shape(f"{_COLORS}.query_feat.weight")
    feed = tensors.shape(f"{_COLORS}.transformer_ffn_layers.0.linear1.weight")[0]
    return {
        "depths": tuple(stages.count(stage) for stage in range(4)),
        "widths": tuple(tensors.shape(f"encoder.arch.norm{stage}.weight")[0] for stage in range(4)),
        "decoder_width": tensors.shape(f"{_COLORS}.input_proj.0.weight")[1],
        "colors": colors,
        "color_width": color_width,
        "color_layers": sum(_LAYER.fullmatch(name) is not None for name in tensors.names()),
        "feed_forward": feed,
    }


def _kernel(tensors: Tensors, name: str) -> np.ndarray:
    """Kernel (outputs, inputs, rows, columns) of a convolution over its spectral norm.

    PyTorch keeps the norm's two singular vectors, from the last step of training.
    """
    if f"{name}.weight" in tensors:  # Taken off by its authors.
        return tensors.take(f"{name}.weight").astype("float64")
    kernel, left, right = (
        tensors.take(f"{name}.weight_{part}").astype("float64") for part in ("orig", "u", "v")
    )
    return kernel / (left @ kernel.reshape(len(left), -1) @ right)


def _put_kernel(tensors: Tensors, layer: str, kernel: np.ndarray, *more: np.ndarray) -> None:
    arrays = (kernel.transpose(2, 3, 1, 0), *more)
    tensors.put(layer, *(array.astype("float32") for array in arrays))


def _norm(tensors: Tensors, name: str, layer: str) -> None:
    tensors.put(layer, tensors.take(f"{name}.weight"), tensors.take(f"{name}.bias"))


def _dense(tensors: Tensors, name: str, layer: str, scale: np.ndarray | float = 1.0) -> None:
    kernel, bias = tensors.take(f"{name}.weight"), tensors.take(f"{name}.bias")
    tensors.put(layer, kernel.T * scale, bias * scale)


def _encoder(tensors: Tensors, options: dict, mean: np.ndarray, deviation: np.ndarray) -> None:
    # Its three channels are the same grey, normalised by the means and deviations of ImageNet.
    kernel = tensors.take(f"{_STEM}.0.weight") / deviation[:, None, None]
    bias = tensors.take(f"{_STEM}.0.bias") - (kernel * mean[:, None, None]).sum((1, 2, 3))
    _put_kernel(tensors, "down0", kernel.sum(1, keepdims=True), bias)
    _norm(tensors, f"{_STEM}.1", "down0_norm")
    for stage, depth in enumerate(options["depths"]):
        if stage:
            down = f"encoder.arch.downsample_layers.{stage}"
            _norm(tensors, f"{down}.0", f"down{stage}_norm")
            tensors.convolution(f"{down}.1", f"down{stage}")
        for block in range(depth):
            theirs = f"encoder.arch.stages.{stage}.{block}"
            ours = f"encoder{stage}_{block}"
            depthwise = tensors.take(f"{theirs}.dwconv.weight").transpose(2, 3, 0, 1)
            tensors.put(f"{ours}_depthwise", depthwise, tensors.take(f"{theirs}.dwconv.bias"))
            _norm(tensors, f"{theirs}.norm", f"{ours}_norm")
            _dense(tensors, f"{theirs}.pwconv1", f"{ours}_expand")
            scale = tensors.take(f"{theirs}.gamma")
            _dense(tensors, f"{theirs}.pwconv2", f"{ours}_project", scale)
        _norm(tensors, f"encoder.arch.norm{stage}", f"map{stage}_norm")
    # Of the classifier that the encoder was: nothing looks at its result.
    for part in ("norm.weight", "norm.bias", "head_cls.weight", "head_cls.bias"):
        tensors.drop(f"encoder.arch.{part}")


def _shuffled(channels: int, factor: int) -> np.ndarray:
    # PyTorch's channels are (channel, row, column), those of depth to space (row, column, channel).
    places = np.arange(channels).reshape(-1, factor, factor)
    return places.transpose(1, 2, 0).ravel()


def _pixel_decoder(tensors: Tensors) -> None:
    for number in range(3):
        theirs, ours = f"decoder.layers.{number}", f"decoder{number}"
        kernel = _kernel(tensors, f"{theirs}.shuf.conv.0")
        order = _shuffled(len(kernel), 2)
        _put_kernel(tensors, f"{ours}_shuffle", kernel[order])
        tensors.normalization(f"{theirs}.shuf.conv.1", f"{ours}_shuffle_norm")
        weights = tensors.weights[f"{ours}_shuffle_norm"]
        tensors.put(f"{ours}_shuffle_norm", *(array[order] for array in weights))
        tensors.normalization(f"{theirs}.bn", f"{ours}_beside_norm")
        _put_kernel(tensors, f"{ours}_conv", _kernel(tensors, f"{theirs}.conv.0"))
        tensors.normalization(f"{theirs}.conv.2", f"{ours}_norm")
    kernel = _kernel(tensors, "decoder.last_shuf.conv.0")
    order = _shuffled(len(kernel), 4)
    bias = tensors.take("decoder.last_shuf.conv.0.bias")
    _put_kernel(tensors, "decoder3_shuffle", kernel[order], bias[order])


def _attention(tensors: Tensors, name: str, layer: str, heads: int) -> None:
    kernels = np.split(tensors.take(f"{name}.in_proj_weight"), 3)
    biases = np.split(tensors.take(f"{name}.in_proj_bias"), 3)
    weights = []
    for kernel, bias in zip(kernels, biases, strict=True):
        weights += [kernel.T.reshape(len(kernel), heads, -1), bias.reshape(heads, -1)]
    kernel = tensors.take(f"{name}.out_proj.weight")
    weights += [kernel.T.reshape(heads, -1, len(kernel)), tensors.take(f"{name}.out_proj.bias")]
    # Query, key, value, output, as both keep them.
    tensors.put(layer, *weights)


def _color_decoder(tensors: Tensors, options: dict, heads: int) -> None:
    levels = tensors.take(f"{_COLORS}.level_embed.weight")
    for scale, level in enumerate(levels):
        kernel = tensors.take(f"{_COLORS}.input_proj.{scale}.weight")
        bias = tensors.take(f"{_COLORS}.input_proj.{scale}.bias")
        _put_kernel(tensors, f"source{scale}", kernel, bias + level)
    tensors.put("colors", tensors.take(f"{_COLORS}.query_feat.weight"))
    tensors.put("color_places", tensors.take(f"{_COLORS}.query_embed.weight"))
    for layer in range(options["color_layers"]):
        for ours, theirs in (
            ("cross", "transformer_cross_attention_layers.{}.multihead_attn"),
            ("self", "transformer_self_attention_layers.{}.self_attn"),
        ):
            name = f"{_COLORS}.{theirs.format(layer)}"
            _attention(tensors, name, f"{ours}{layer}", heads)
            _norm(tensors, f"{name.rpartition('.')[0]}.norm", f"{ours}{layer}_norm")
        feed = f"{_COLORS}.transformer_ffn_layers.{layer}"
        _dense(tensors, f"{feed}.linear1", f"feed{layer}")
        _dense(tensors, f"{feed}.linear2", f"forward{layer}")
        _norm(tensors, f"{feed}.norm", f"forward{layer}_norm")
    _norm(tensors, f"{_COLORS}.decoder_norm", "colors_norm")
    for number in range(3):
        _dense(tensors, f"{_COLORS}.color_embed.layers.{number}", f"color_mlp{number}")


def _convert(tensors: Tensors, options: dict) -> None:
    mean, deviation = tensors.take("mean").ravel(), tensors.take("std").ravel()
    _encoder(tensors, options, mean, deviation)
    _pixel_decoder(tensors)
    _color_decoder(tensors, options, heads=_HEADS)
    # Behind the colours' shares come the three channels of grey; what comes out are a* and b*.
    kernel = _kernel(tensors, "refine_net.0.0") / color.LAB_PER_CHROMA
    bias = tensors.take("refine_net.0.0.bias") / color.LAB_PER_CHROMA
    shares, gray = kernel[:, : options["colors"]], kernel[:, options["colors"] :]
    gray = gray / deviation[:, None, None]
    bias = bias - (gray * mean[:, None, None]).sum((1, 2, 3))
    kernel = np.concatenate([shares, gray.sum(1, keepdims=True)], axis=1)
    _put_kernel(tensors, "chroma", kernel, bias)


# Of attention; the shapes do not tell, and all that the authors publish have as many.
_HEADS = 8

FAMILY = Family(
    name="ddcolor",
    title="DDColor",
    purpose="grey photos: vivid colours",
    generator="ddcolor_colorizer",
    kind="colorizer",
    paper=(
        "Kang, Yang, Ouyang, Ren, Li, Xie: DDColor: Towards Photo-Realistic Image Colorization via "
        "Dual Decoders. ICCV 2023"
    ),
    address="https://github.com/piddnad/DDColor",
    trained_on="ImageNet; ddcolor_artistic also on pictures of the authors",
    code_licence="Apache-2.0",
    weights_licence="none stated beside that of the code",
    terms="unstated",
    verified="small random networks of the authors' code; no file of theirs has been at hand",
    matches=_matches,
    options=_options,
    convert=_convert,
)
