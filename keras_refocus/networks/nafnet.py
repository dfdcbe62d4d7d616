"""NAFNet: a restoration network without nonlinear activations."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks


def _channel_attention(x, cell, window, name, *, exact):
    """Simplified channel attention: channels weighted by a linear map of their means.

    With a window the means are those of the square around each position, moved inwards at the
    borders, as in TLC (Chu et al. 2022). On maps no larger than the window this is the mean of the
    whole map, so a network trained on smaller patches needs no change. Such means hardly change
    from one position to the next, so they are taken once for each cell of positions and
    interpolated; or, `exact`, for each position.

    Args:
        x: Feature map.
        cell: Side of a cell, which divides the sides of the map.
        window: Side of the window in cells; `None` for the whole map.
        name: Name of the layers.
        exact: Whether each position has a mean of its own.
    """
    if window is None:
        mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_mean")(x)
        weights = keras.layers.Conv2D(x.shape[-1], 1, name=name)(mean)
    elif exact:
        # A window of even side leans to the end, as in the authors' code.
        window *= cell
        before = (window - 1) // 2
        mean = blocks.window_mean(x, window, axis=1, before=before)
        mean = blocks.window_mean(mean, window, axis=2, before=before)
        weights = keras.layers.Conv2D(x.shape[-1], 1, name=name)(mean)
    else:
        mean = keras.layers.AveragePooling2D(cell, name=f"{name}_mean")(x)
        mean = blocks.window_mean(blocks.window_mean(mean, window, axis=1), window, axis=2)
        weights = keras.layers.Conv2D(x.shape[-1], 1, name=name)(mean)
        weights = blocks.enlarge_bilinear(weights, cell)
    return keras.layers.Multiply(name=f"{name}_scale")([x, weights])


def _gate(x):
    """Product of the two halves of the channels."""
    first, second = ops.split(x, 2, axis=-1)
    return ops.multiply(first, second)


def _naf_block(x, channels, cell, window, name, *, exact):
    def normalize(x, name):
        return keras.layers.LayerNormalization(epsilon=1e-6, name=name)(x)

    def project(x, name):
        # Starts at zero, as the learned scales behind these convolutions do in the paper.
        return keras.layers.Conv2D(channels, 1, kernel_initializer="zeros", name=name)(x)

    y = normalize(x, f"{name}_norm1")
    y = keras.layers.Conv2D(2 * channels, 1, name=f"{name}_expand")(y)
    y = keras.layers.DepthwiseConv2D(3, padding="same", name=f"{name}_depthwise")(y)
    y = _channel_attention(_gate(y), cell, window, f"{name}_attention", exact=exact)
    x = keras.layers.Add(name=f"{name}_add1")([x, project(y, f"{name}_project")])
    y = normalize(x, f"{name}_norm2")
    y = keras.layers.Conv2D(2 * channels, 1, name=f"{name}_feed")(y)
    return keras.layers.Add(name=f"{name}_add2")([x, project(_gate(y), f"{name}_forward")])


def nafnet_generator(
    *,
    width: int = 32,
    encoder_blocks: Sequence[int] = (1, 1, 1, 28),
    middle_blocks: int = 1,
    decoder_blocks: Sequence[int] = (1, 1, 1, 1),
    local_window: int = 384,
    signal: str = "luminance",
    as_published: bool = False,
    name: str = "nafnet",
) -> keras.Model:
    """Build NAFNet (Chen et al. 2022, "Simple Baselines for Image Restoration").

    c3s1-32; at each of four scales the blocks of the encoder, then a 2x2 convolution of stride 2 to
    twice the channels; the middle blocks; at each scale a 1x1 convolution to twice the channels and
    depth to space, plus the encoder's map, then the blocks of the decoder; c3s1-1, global skip. A
    block: x + conv1(SCA(gate(dconv3(conv1(LN(x)))))), then x + conv1(gate(conv1(LN(x)))), with LN
    over the channels of one pixel, gate the product of the two halves of the channels and SCA a
    channel attention. The defaults are the paper's for GoPro with width 32; width 16 has a quarter
    of the parameters, width 64 is its largest.

    Where we differ: one channel in and out; the learned scales of the two branches, which start at
    zero, are part of the convolutions before them, which start at zero instead: the same functions,
    less to compute; the means of the channel attention are local by default, and taken once a cell
    of positions; the edge is repeated where the sides have to be multiples of 16. With
    `signal="rgb", as_published=True` it is the authors' network, NAFNet without a `local_window`
    and NAFNetLocal with one.

    Only the attention sees more than a neighbourhood. With `local_window` its means do not depend
    on the picture's size beyond the window: train on patches of at most that side, and any picture
    is restored as the patches were. With `None` it averages over the whole picture, which costs
    quality on pictures larger than the patches (Chu et al. 2022) and shows seams between tiles.

    Args:
        width: Channels at full size.
        encoder_blocks: Blocks per scale on the way down, from fine to coarse.
        middle_blocks: Blocks at the coarsest scale.
        decoder_blocks: Blocks per scale on the way up, from coarse to fine.
        local_window: Side in pixels of the window of the channel attention, about 1.5 times the
            side of the training patches, rounded down to a multiple of 16 for four scales; `None`
            for the whole picture.
        signal: What the network sees, see `blocks.from_luminance`.
        as_published: Whether means are taken for each position and what is added to the picture is
            zero, as in the authors' code.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If the numbers of scales disagree or an option is not positive.
    """
    encoder_blocks, decoder_blocks = tuple(encoder_blocks), tuple(decoder_blocks)
    blocks.check_positive(
        width=width,
        encoder_blocks=encoder_blocks,
        middle_blocks=middle_blocks,
        decoder_blocks=decoder_blocks,
    )
    scales = len(encoder_blocks)
    if len(decoder_blocks) != scales:
        raise ValueError(
            "`decoder_blocks` must have as many entries as `encoder_blocks`. Received: "
            f"encoder_blocks={encoder_blocks}, decoder_blocks={decoder_blocks}."
        )
    window = None
    if local_window is not None:
        blocks.check_positive(local_window=local_window)
        window = max(1, local_window // 2**scales)

    def run(x, count, scale, name):
        # A cell is one position at the coarsest scale.
        cell = 2 ** (scales - scale)
        for block in range(count):
            x = _naf_block(x, width * 2**scale, cell, window, f"{name}_{block}", exact=as_published)
        return x

    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    x, size = blocks.pad_to_multiple(picture, 2**scales, zeros=as_published)
    x = keras.layers.Conv2D(width, 3, padding="same", name="stem")(x)
    skips = []
    for scale, count in enumerate(encoder_blocks):
        x = run(x, count, scale, f"encoder{scale}")
        skips.append(x)
        x = keras.layers.Conv2D(width * 2 ** (scale + 1), 2, strides=2, name=f"down{scale}")(x)
    x = run(x, middle_blocks, scales, "middle")
    for scale, count in zip(reversed(range(scales)), decoder_blocks, strict=True):
        x = blocks.upsample_shuffle(x, width * 2**scale, use_bias=False, name=f"up{scale}")
        x = keras.layers.Add(name=f"skip{scale}")([x, skips[scale]])
        x = run(x, count, scale, f"decoder{scale}")
    residual = keras.layers.Conv2D(
        blocks.SIGNALS[signal], 3, padding="same", dtype="float32", name="residual"
    )(x)
    restored = blocks.finish(picture, residual, size, global_skip=True, signal=signal)
    return keras.Model(luminance, restored, name=name)
