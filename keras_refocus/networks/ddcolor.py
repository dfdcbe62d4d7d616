"""The colorizer of Kang et al. 2023, which mixes learned colours over every picture."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import blocks

_MULTIPLE = 32
# Maps of these many scales, coarse to fine, are looked at by the colours in turn.
_SCALES = 3


def ddcolor_colorizer(
    *,
    depths: Sequence[int] = (3, 3, 27, 3),
    widths: Sequence[int] = (192, 384, 768, 1536),
    decoder_width: int = 512,
    colors: int = 100,
    color_width: int = 256,
    color_layers: int = 9,
    heads: int = 8,
    feed_forward: int = 2048,
    name: str = "ddcolor_colorizer",
) -> keras.Model:
    """Build DDColor of Kang et al. 2023 ("DDColor: Towards Photo-Realistic Image Colorization").

    The encoder is ConvNeXt (Liu et al. 2022): a 4x4 convolution of stride 4, then four stages of
    blocks (7x7 depthwise, layer normalisation, 1x1 to four times the width, GELU, 1x1 back, added),
    halved by 2x2 convolutions between them; each stage's map is normalised. The pixel decoder
    doubles the size three times (1x1, b, ReLU, depth to space, mean of 2x2; beside the map of that
    size, b, ReLU; 3x3, ReLU, b) and then once by four. The colour decoder lets learned colours look
    at the decoder's three maps in turn and at each other, by attention; three dense layers make of
    each colour a vector, whose product with the decoder's pixels says where it is. A 1x1
    convolution of these shares and of the grey picture gives chroma. `b` is a batch normalisation.

    Where we differ: grey is one channel, of which the authors make three and normalise them, which
    the import folds into the two convolutions that see them; so are the scales of the encoder's
    branches, the spectral norms, the level embeddings and the unit of chroma.

    Args:
        depths: Blocks of the encoder's four stages.
        widths: Their channels, at a quarter of the size, an eighth, and so on.
        decoder_width: Channels of the pixel decoder, even; half of them at its finest map.
        colors: Number of learned colours.
        color_width: Channels of one, a multiple of four and of `heads`.
        color_layers: How often they look.
        heads: Heads of attention.
        feed_forward: Width of the layer between two of the colours' own.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to chroma
        `(batch, height, width, 2)`. Any height and width of at least 1; trained on squares of 256.

    Raises:
        ValueError: If an option is not positive, or does not fit another.
    """
    depths, widths = tuple(depths), tuple(widths)
    blocks.check_positive(
        depths=depths,
        widths=widths,
        decoder_width=decoder_width,
        colors=colors,
        color_width=color_width,
        color_layers=color_layers,
        heads=heads,
        feed_forward=feed_forward,
    )
    if len(depths) != 4 or len(widths) != 4:
        raise ValueError(
            "`depths` and `widths` must have four entries each. "
            f"Received: depths={depths}, widths={widths}."
        )
    if decoder_width % 2 or color_width % math.lcm(4, heads):
        raise ValueError(
            "`decoder_width` must be even, `color_width` a multiple of 4 and of `heads`. Received: "
            f"decoder_width={decoder_width}, color_width={color_width}, heads={heads}."
        )
    luminance = blocks.luminance_input()
    padded, size = blocks.pad_to_multiple(luminance, _MULTIPLE)
    gray = blocks.from_luminance(padded, "gray")
    *beside, x = _encode(gray, depths, widths)
    maps = []
    for number, side in enumerate(reversed(beside)):
        width = decoder_width if number < _SCALES - 1 else decoder_width // 2
        x = _up(x, side, width, f"decoder{number}")
        maps.append(x)
    pixels = _enlarge(x, decoder_width // 2, 4, "decoder3")
    found = _look(
        maps, colors=(colors, color_width), layers=color_layers, heads=heads, between=feed_forward
    )
    for number, activation in enumerate(("relu", "relu", None)):
        width = color_width if activation else decoder_width // 2
        found = keras.layers.Dense(width, activation=activation, name=f"color_mlp{number}")(found)
    shares = ops.einsum("nqc,nhwc->nhwq", found, pixels)
    gray = ops.cast(gray, shares.dtype)
    x = ops.concatenate([shares, gray], axis=-1)
    chroma = keras.layers.Conv2D(2, 1, dtype="float32", name="chroma")(x)
    return keras.Model(luminance, blocks.crop_to_size(chroma, size), name=name)


def _encode(x, depths, widths):
    """Maps of ConvNeXt at a quarter of the size, an eighth, and so on."""
    maps = []
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        side = 2 if stage else 4
        down = keras.layers.Conv2D(width, side, strides=side, name=f"down{stage}")
        norm = _normalize(f"down{stage}_norm", epsilon=1e-6)
        x = down(norm(x)) if stage else norm(down(x))
        for block in range(depth):
            x = _encoder_block(x, width, f"encoder{stage}_{block}")
        maps.append(_normalize(f"map{stage}_norm", epsilon=1e-6)(x))
    return maps


def _encoder_block(x, width, name):
    y = keras.layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
    y = _normalize(f"{name}_norm", epsilon=1e-6)(y)
    y = keras.layers.Dense(4 * width, activation="gelu", name=f"{name}_expand")(y)
    return ops.add(x, keras.layers.Dense(width, name=f"{name}_project")(y))


def _enlarge(x, channels, factor, name, *, normalized=False):
    """Depth to space, and the mean with the pixels above and before, which hides its pattern."""
    convolution = keras.layers.Conv2D(
        channels * factor**2, 1, use_bias=not normalized, name=f"{name}_shuffle"
    )
    x = convolution(x)
    if normalized:
        x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_shuffle_norm")(x)
    x = ops.depth_to_space(ops.relu(x), factor)
    for axis, index in zip((1, 2), blocks.axis_indices(x), strict=True):
        before = ops.take(x, ops.maximum(ops.subtract(index, 1), 0), axis=axis)
        x = ops.multiply(0.5, ops.add(x, before))
    return x


def _up(x, beside, width, name):
    """Double the size, with a map of that size beside."""
    x = _enlarge(x, width, 2, name, normalized=True)
    beside = keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_beside_norm")(beside)
    x = ops.relu(ops.concatenate([x, beside], axis=-1))
    x = keras.layers.Conv2D(
        width, 3, padding="same", use_bias=False, activation="relu", name=f"{name}_conv"
    )(x)
    return keras.layers.BatchNormalization(epsilon=1e-5, name=f"{name}_norm")(x)


def _look(maps, *, colors, layers, heads, between):
    """Learned colours after they have looked at the maps, `(batch, colors, width)`."""
    count, width = colors
    sources = []
    for scale, x in enumerate(maps):
        places = _places(x, width)
        x = keras.layers.Conv2D(width, 1, name=f"source{scale}")(x)
        keys = ops.add(x, ops.cast(places, x.dtype))
        flat = keras.layers.Reshape((-1, width))
        sources.append((flat(x), flat(keys)))
    # Numbers of the colours for each picture of the batch.
    first = ops.cast(ops.zeros_like(maps[0][:, 0, 0, :1]), "int32")
    numbers = ops.add(first, ops.arange(count, dtype="int32"))
    x = keras.layers.Embedding(count, width, name="colors")(numbers)
    own = keras.layers.Embedding(count, width, name="color_places")(numbers)

    def attend(x, values, keys, name):
        attention = keras.layers.MultiHeadAttention(heads, width // heads, name=name)
        found = attention(ops.add(x, own), values, key=keys)
        return _normalize(f"{name}_norm")(ops.add(x, found))

    for layer in range(layers):
        x = attend(x, *sources[layer % _SCALES], f"cross{layer}")
        x = attend(x, x, ops.add(x, own), f"self{layer}")
        y = keras.layers.Dense(between, activation="relu", name=f"feed{layer}")(x)
        y = keras.layers.Dense(width, name=f"forward{layer}")(y)
        x = _normalize(f"forward{layer}_norm")(ops.add(x, y))
    return _normalize("colors_norm")(x)


def _normalize(name, epsilon=1e-5):
    return keras.layers.LayerNormalization(epsilon=epsilon, name=name)


def _places(x, channels):
    """Waves of row and column, for attention: sines and cosines of 1 to 10,000 periods.

    Vaswani et al. 2017, over the picture's sides instead of pixels: the last one is a whole turn.
    """
    half = np.arange(channels // 2)
    frequencies = (10000.0 ** (-2 * (half // 2) / len(half))).astype("float32")
    # A cosine is a sine a quarter of a turn later.
    phases = (math.pi / 2 * (half % 2)).astype("float32")
    ones = ops.ones_like(x[:, :, :, :1], dtype="float32")
    waves = []
    for axis in (1, 2):
        place = ops.cumsum(ones, axis=axis)
        turns = ops.divide(place, ops.add(ops.max(place, axis=axis, keepdims=True), 1e-6))
        angles = ops.add(ops.multiply(2 * math.pi * frequencies, turns), phases)
        waves.append(ops.sin(angles))
    return ops.concatenate(waves, axis=-1)
