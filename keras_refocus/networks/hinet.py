"""HINet: two U-Nets, one after the other, with half of their channels normalised."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks

_SLOPE = 0.2


def _leaky(x):
    return ops.leaky_relu(x, _SLOPE)


def _convolution(x, channels, name, *, kernel_size=3):
    return keras.layers.Conv2D(channels, kernel_size, padding="same", name=name)(x)


def _block(x, channels, name, *, normalize=False):
    """Two convolutions beside one of 1x1; half of the first one's channels are normalised."""
    y = _convolution(x, channels, f"{name}_conv1")
    if normalize:
        first, second = ops.split(y, 2, axis=-1)
        first = keras.layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{name}_norm")(first)
        y = ops.concatenate([first, second], axis=-1)
    y = _leaky(_convolution(_leaky(y), channels, f"{name}_conv2"))
    return ops.add(y, _convolution(x, channels, f"{name}_identity", kernel_size=1))


def _stage(x, width, depth, normalized, name, before=None):
    """One U-Net; `before` are the maps of the stage before, on its way down and up.

    Returns:
        Tuple `(result, down, up)`: the last map, those on the way down before they are halved, and
        those on the way up, both from fine to coarse.
    """
    down = []
    for scale in range(depth):
        channels = width * 2**scale
        x = _block(x, channels, f"{name}_down{scale}", normalize=scale in normalized)
        if scale == depth - 1:
            break
        if before is not None:
            # Cross-stage feature fusion, from MPRNet (Zamir et al. 2021).
            for part, maps in zip(("encoded", "decoded"), before, strict=True):
                seen = _convolution(maps[scale], channels, f"{name}_{part}{scale}")
                x = ops.add(x, seen)
        down.append(x)
        # Of 4, so that an even side is padded alike on both sides.
        x = keras.layers.Conv2D(
            channels, 4, strides=2, padding="same", use_bias=False, name=f"{name}_halve{scale}"
        )(x)
    up = {}
    for scale in reversed(range(depth - 1)):
        channels = width * 2**scale
        bridge = _convolution(down[scale], channels, f"{name}_skip{scale}")
        x = blocks.upsample_transposed(x, channels, kernel_size=2, name=f"{name}_double{scale}")
        x = _block(ops.concatenate([x, bridge], axis=-1), channels, f"{name}_up{scale}")
        up[scale] = x
    return x, down, [up[scale] for scale in range(depth - 1)]


def hinet_generator(
    *,
    width: int = 64,
    depth: int = 5,
    normalized: Sequence[int] = (0, 1, 2, 3, 4),
    signal: str = "luminance",
    name: str = "hinet",
) -> keras.Model:
    """Build HINet (Chen et al. 2021, "HINet: Half Instance Normalization Network for Image
    Restoration").

    Two U-Nets of five scales. A block: two 3x3 convolutions with leaky ReLUs beside a 1x1
    convolution; on the way down half of the channels of the first one are instance normalised. The
    first U-Net's features are weighted by an attention map that its restored picture gives, and
    join what the second one begins with; its maps of each scale join those of the second.

    Where we differ: one channel in and out; the second result alone is given.

    The statistics of the normalisation are those of the whole map: a tile is not restored as it
    would be inside the whole picture.

    Args:
        width: Channels at full size.
        depth: Number of scales.
        normalized: Scales whose blocks on the way down are normalised; the authors' network for
            noise, SIDD, has `(3, 4)`.
        signal: What the network sees, see `blocks.from_luminance`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option is not positive, the width odd, or there is no such signal.
    """
    blocks.check_positive(width=width, depth=depth)
    if width % 2:
        raise ValueError(f"`width` must be even. Received: width={width}.")
    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    channels = blocks.SIGNALS[signal]
    padded, size = blocks.pad_to_multiple(picture, 2 ** (depth - 1))

    x = _convolution(padded, width, "stem1")
    x, down, up = _stage(x, width, depth, normalized, "stage1")
    # Supervised attention, from MPRNet.
    features = _convolution(x, width, "attention_features")
    first = ops.add(_convolution(x, channels, "attention_picture"), padded)
    weights = ops.sigmoid(_convolution(first, width, "attention_weights"))
    features = ops.add(ops.multiply(features, weights), x)

    y = ops.concatenate([_convolution(padded, width, "stem2"), features], axis=-1)
    y = _convolution(y, width, "merge", kernel_size=1)
    y, _, _ = _stage(y, width, depth, normalized, "stage2", before=(down, up))
    residual = blocks.last_convolution(y, channels, name="residual")
    restored = blocks.finish(picture, residual, size, global_skip=True, signal=signal)
    return keras.Model(luminance, restored, name=name)
