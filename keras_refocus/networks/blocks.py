"""Parts that several networks share: padding for any picture size, upsampling without checkerboard.

Everything here is a composition of built-in layers and `keras.ops`, so that a saved network loads
without custom objects, and everything works on symbolic tensors whose height and width are unknown.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.engines import contract
from keras_refocus.pictures import color
from keras_refocus.pictures.color import Tensor

# What a network can be shown of a picture, and in how many channels.
SIGNALS = {"luminance": 1, "gray": 1, "rgb": 3}

# Variance of luminance below which a neighbourhood counts as flat: half a percent of the range,
# about the noise of a good photo.
_FLAT = 1e-4
_CONTRAST_WINDOW = 5  # blocks over which contrast is measured

# Name of the layer that gives what a generator restores at a part of the size.
_SCALE_NAME = re.compile(r"restored_at_(\d+)")


def luminance_input() -> Tensor:
    """Input of every restoration network: `(batch, height, width, 1)`, float32 in [0, 1].

    The dtype is fixed because under a 16-bit policy the picture itself must keep its precision:
    networks here add a residual to it.
    """
    return keras.Input(shape=(None, None, 1), dtype="float32", name="luminance")


# What a motion network sees beside the picture: restored luminance, the way along x and y, its fit;
# and what it gives: four coefficients of trajectories, what is added to the restored luminance, and
# seven residuals. See `video.from_blur`.
_HINTS = 4
MOTION_CHANNELS = contract.MOTION_CHANNELS


def seen_input(channels: int) -> Tensor:
    """Input of every motion network: the picture's channels and four more, float32.

    Args:
        channels: Of the picture: 1, luminance, or 3, luminance and chroma.

    Raises:
        ValueError: If it is another number.
    """
    if channels not in (1, 3):
        raise ValueError(
            "`channels` must be 1, luminance, or 3, luminance and chroma. "
            f"Received: channels={channels}."
        )
    return keras.Input(shape=(None, None, channels + _HINTS), dtype="float32", name="seen")


def from_luminance(luminance: Tensor, signal: str) -> Tensor:
    """What a network sees of a picture whose luminance is given.

    Published networks were trained on sRGB, where greys lie elsewhere than on the scale of L.

    Args:
        luminance: Tensor of shape `(batch, height, width, 1)`, float32 in [0, 1].
        signal: `"luminance"`, as it is; `"gray"`, the sRGB value of the grey of that luminance;
            `"rgb"`, that value three times.

    Returns:
        Tensor of shape `(batch, height, width, SIGNALS[signal])`, float32 in [0, 1].

    Raises:
        ValueError: If there is no such signal.
    """
    if signal not in SIGNALS:
        raise ValueError(
            f"`signal` must be one of {', '.join(SIGNALS)}. Received: signal={signal!r}."
        )
    if signal == "luminance":
        return luminance
    return ops.repeat(color.luminance_to_gray(luminance), SIGNALS[signal], axis=-1)


def to_luminance(result: Tensor, signal: str) -> Tensor:
    """Luminance of what a network gives, float32; undoes `from_luminance`.

    sRGB beyond [0, 1] has no luminance, so it is clipped before; luminance stays as it is.
    """
    if signal == "luminance":
        return result
    result = ops.clip(ops.cast(result, "float32"), 0.0, 1.0)
    return color.gray_to_luminance(result) if signal == "gray" else color.rgb_to_luminance(result)


def _indices(x, axis):
    """Vector 0, 1, ... of the length of an axis, whatever that length is when the graph runs.

    `ops.shape` of a symbolic tensor knows no dynamic sizes, so the length comes from the data: a
    line of ones, summed up.
    """
    line = x[0, :, 0, 0] if axis == 1 else x[0, 0, :, 0]
    return ops.cumsum(ops.ones_like(line, dtype="int32")) - 1


def axis_indices(x: Tensor) -> tuple[Tensor, Tensor]:
    """Row numbers and column numbers of a tensor `(batch, height, width, channels)`, from 0.

    The pair is what `crop_to_size` needs to cut another tensor to this height and width.
    """
    return _indices(x, 1), _indices(x, 2)


def pad_to_multiple(x: Tensor, multiple: int, *, zeros: bool = False) -> tuple[Tensor, Any]:
    """Repeat the last row and column until both sides are multiples of a number.

    Clamped gather, because reflecting fails on sides of one pixel.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, height and width at least 1.
        multiple: Positive integer.
        zeros: Whether what is added is zero instead.

    Returns:
        Tuple `(padded, size)`: the padded tensor, and what `crop_to_size` needs to undo it.
    """
    size = axis_indices(x)
    if multiple > 1:
        within = ops.arange(multiple, dtype="int32")
        for axis, index in zip((1, 2), size, strict=True):
            # Every m-th index is the start of a block: ceil(length / m) of them. The key is a tuple
            # because symbolic tensors take no bare slice.
            starts = index[(slice(None, None, multiple),)]
            padded = ops.reshape(ops.expand_dims(starts, 1) + within, (-1,))
            last = ops.max(index)
            x = ops.take(x, ops.minimum(padded, last), axis=axis)
            if zeros:
                inside = ops.reshape(ops.cast(padded <= last, x.dtype), (-1,) + (1,) * (3 - axis))
                x = ops.multiply(x, inside)
    return x, size


def extend_edges(x: Tensor, margin: int) -> Tensor:
    """Repeat the outermost rows and columns `margin` times on all four sides.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, height and width at least 1.
        margin: Number of rows and columns, at least 0.

    Returns:
        Tensor of shape `(batch, height + 2 * margin, width + 2 * margin, channels)`.
    """
    before = np.zeros(margin, dtype="int32")
    for axis in (1, 2) if margin else ():
        index = _indices(x, axis)
        after = ops.add(before, ops.max(index))
        x = ops.take(x, ops.concatenate([before, index, after]), axis=axis)
    return x


def local_mean(x: Tensor, window: int) -> Tensor:
    """Mean over a square window around each position; beyond the border, the border goes on.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        window: Side of the window, odd.

    Returns:
        Tensor of the same shape.
    """
    return ops.average_pool(extend_edges(x, window // 2), window, 1)


def local_contrast(blocks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Take local mean and contrast out of luminance, which hide what blur has left.

    Local contrast normalisation (Jarrett et al. 2009) over five blocks.

    Args:
        blocks: Tensor of shape `(batch, rows, columns, pixels)`: luminance in blocks of pixels.

    Returns:
        Tuple `(normalised, contrast, mean)`: a tensor of the shape of `blocks`, and the local
        standard deviation and mean, of shape `(batch, rows, columns, 1)`.
    """
    mean = local_mean(ops.mean(blocks, axis=-1, keepdims=True), _CONTRAST_WINDOW)
    deviations = blocks - mean
    variance = ops.mean(ops.square(deviations), axis=-1, keepdims=True)
    contrast = ops.sqrt(local_mean(variance, _CONTRAST_WINDOW) + _FLAT)
    return deviations / contrast, contrast, mean


def crop_to_size(x: Tensor, size: Any) -> Tensor:
    """Cut a tensor to the top left `height` x `width` that `pad_to_multiple` saw."""
    rows, columns = size
    return ops.take(ops.take(x, rows, axis=1), columns, axis=2)


def window_mean(x: Tensor, window: int, axis: int, *, before: int | None = None) -> Tensor:
    """Mean along one axis over a window around each position, moved inwards at the borders.

    Where the axis is no longer than the window, that is the mean of the whole axis. By cumulative
    sums, so the cost does not depend on the window.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        window: Positive integer.
        axis: 1 for rows, 2 for columns.
        before: How many positions of the window lie before its own, by default half of it.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    index = _indices(x, axis)
    length = ops.add(ops.max(index), 1)
    first = ops.minimum(
        ops.maximum(ops.subtract(index, window // 2 if before is None else before), 0),
        ops.maximum(ops.subtract(length, window), 0),
    )
    last = ops.minimum(ops.add(first, window), length)
    # Sums over thousands of pixels do not fit float16.
    sums = ops.cumsum(ops.cast(x, "float32"), axis=axis)
    empty = ops.zeros_like(ops.take(sums, ops.zeros((1,), dtype="int32"), axis=axis))
    sums = ops.concatenate([empty, sums], axis=axis)
    total = ops.subtract(ops.take(sums, last, axis=axis), ops.take(sums, first, axis=axis))
    count = ops.cast(ops.minimum(length, window), "float32")
    return ops.cast(ops.divide(total, count), x.dtype)


def upsample_shuffle(
    x: Tensor, channels: int, *, use_bias: bool = True, name: str | None = None
) -> Tensor:
    """Double the size: 1x1 convolution to four times the channels, then depth to space.

    A transposed convolution of stride 2 would leave a checkerboard.
    """
    x = keras.layers.Conv2D(4 * channels, 1, use_bias=use_bias, name=name)(x)
    return ops.depth_to_space(x, 2)


def upsample_transposed(
    x: Tensor,
    channels: int,
    *,
    kernel_size: int = 4,
    activation: str | None = None,
    use_bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """Double the size by a transposed convolution, as published networks do.

    With a kernel of 4, output pixel i sees the inputs at i / 2 - 1 to i / 2 + 1.
    """
    return keras.layers.Conv2DTranspose(
        channels,
        kernel_size,
        strides=2,
        padding="same",
        activation=activation,
        use_bias=use_bias,
        name=name,
    )(x)


def convolution_relu(
    x: Tensor, channels: int, *, dilation: int = 1, name: str | None = None
) -> Tensor:
    """3x3 convolution and a ReLU, the size kept."""
    return keras.layers.Conv2D(
        channels, 3, padding="same", dilation_rate=dilation, activation="relu", name=name
    )(x)


def halve_centred(
    x: Tensor,
    channels: int,
    *,
    kernel_size: int = 3,
    use_bias: bool = True,
    name: str | None = None,
) -> Tensor:
    """Halve the size by a convolution with as many zeros before the picture as after it.

    As PyTorch pads; TensorFlow's `"same"` puts the odd zero after it.
    """
    x = keras.layers.ZeroPadding2D((kernel_size - 1) // 2)(x)
    return keras.layers.Conv2D(channels, kernel_size, strides=2, use_bias=use_bias, name=name)(x)


def enlarge_bilinear(x: Tensor, factor: int = 2) -> Tensor:
    """Enlarge by bilinear interpolation, the edges repeated.

    As `UpSampling2D` does it, which however refuses sizes that only the running graph knows (Keras
    3.15), as those of a SavedModel are, or of a second size of patches in one training.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.
        factor: Power of two; 1 gives `x` back.

    Returns:
        Tensor of shape `(batch, factor * height, factor * width, channels)`, of the dtype of `x`.
    """
    if factor == 1:
        return x
    # How far a pixel of the result lies from the centre of its old one, in old pixels.
    centres = (np.arange(factor) + 0.5) / factor
    distances = np.abs(centres - 0.5).astype("float32")
    for axis in (1, 2):
        zeros = ops.cast(ops.multiply(_indices(x, axis), 0), "float32")
        distance = ops.reshape(ops.add(ops.expand_dims(zeros, 1), distances), (-1,))
        # One number for each row, or for each column.
        for _ in range(3 - axis):
            distance = ops.expand_dims(distance, -1)
        distance = ops.cast(distance, x.dtype)
        # Two halves of each old pixel: the left one leans to the left, the right one to the right.
        halves = ops.repeat(x, 2, axis=axis)
        before, first, last, after = (
            (slice(None),) * axis + (part,)
            for part in (slice(None, -1), slice(None, 1), slice(-1, None), slice(1, None))
        )
        previous = ops.concatenate([halves[first], halves[before]], axis=axis)
        following = ops.concatenate([halves[after], halves[last]], axis=axis)
        slope = previous + following - 2.0 * halves
        if factor > 2:
            halves = ops.repeat(halves, factor // 2, axis=axis)
            slope = ops.repeat(slope, factor // 2, axis=axis)
        x = halves + distance * slope
    return x


def shrink_gaussian(x: Tensor) -> Tensor:
    """Halve the size as `skimage.transform.pyramid_gaussian` does.

    A Gaussian of 2/3 pixel, cut off beyond three pixels, over the mirrored picture; then 2x2 means.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, float32, both sides even.

    Returns:
        Tensor of shape `(batch, height / 2, width / 2, channels)`.
    """
    margin = 3
    gauss = np.exp(-0.5 * (np.arange(-margin, margin + 1) / (2.0 / 3.0)) ** 2)
    line = np.convolve(gauss / gauss.sum(), [0.5, 0.5])
    kernel = np.repeat(np.outer(line, line)[..., None, None], x.shape[-1], axis=2)
    return ops.depthwise_conv(
        _extend_mirrored(x, margin), kernel.astype("float32"), strides=2, padding="valid"
    )


def _extend_mirrored(x, margin):
    """Continue a tensor by its mirror image on all four sides, however short they are."""
    for axis in (1, 2):
        index = _indices(x, axis)
        length = ops.add(ops.max(index), 1)
        before = np.arange(-margin, 0, dtype="int32")
        after = ops.add(length, np.arange(margin, dtype="int32"))
        # The picture and its mirror image repeat every two lengths.
        places = ops.mod(ops.concatenate([before, index, after]), 2 * length)
        x = ops.take(x, ops.minimum(places, 2 * length - 1 - places), axis=axis)
    return x


def every_second(x: Tensor) -> Tensor:
    """Halve the size by leaving out every second row and column."""
    rows, columns = axis_indices(x)
    even = (slice(None, None, 2),)
    return ops.take(ops.take(x, rows[even], axis=1), columns[even], axis=2)


def enlarge_from_corner(x: Tensor) -> Tensor:
    """Double the size so that old pixels stay where `every_second` finds them, others between.

    As `tf.image.resize_images` of TensorFlow 1 does it bilinearly; the last row and column are
    repeated.
    """
    for axis in (1, 2):
        zeros = ops.cast(ops.multiply(_indices(x, axis), 0), "float32")
        share = ops.reshape(ops.add(ops.expand_dims(zeros, 1), np.float32([0.0, 0.5])), (-1,))
        for _ in range(3 - axis):
            share = ops.expand_dims(share, -1)
        first, last = (
            (slice(None),) * axis + (part,) for part in (slice(1, None), slice(-1, None))
        )
        step = ops.concatenate([x[first], x[last]], axis=axis) - x
        share = ops.cast(share, x.dtype)
        x = ops.repeat(x, 2, axis=axis) + share * ops.repeat(step, 2, axis=axis)
    return x


def residual_block(x: Tensor, channels: int, *, kernel_size: int = 3, name: str) -> Tensor:
    """Two convolutions around a ReLU, added to the input (EDSR, Lim et al. 2017, section 3.1).

    No normalisation: statistics of a training crop differ from those of a whole picture.
    """
    y = keras.layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=f"{name}_conv1",
    )(x)
    y = keras.layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        # Each block adds a tenth to the variance: without normalisation, blocks that double it
        # make activations of thousands at the end of a deep network.
        kernel_initializer=keras.initializers.VarianceScaling(0.1),
        name=f"{name}_conv2",
    )(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def u_shape(
    x: Tensor,
    *,
    widths: Sequence[int],
    depths: Sequence[int],
    decoder_depths: Sequence[int],
    hint: Tensor | None = None,
    prefix: str = "",
) -> Tensor:
    """Residual blocks at several scales, down and up again: a U-Net without its ends.

    Skips from encoder to decoder are added, not concatenated.

    Args:
        x: Tensor of shape `(batch, height, width, widths[0])`, sides multiples of
            `2 ** (len(widths) - 1)`.
        widths: Channels per scale, from fine to coarse.
        depths: Residual blocks per scale on the way down; the last entry is the bottom.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine.
        hint: Tensor that is added where the coarsest scale begins, or `None`.
        prefix: What the names of the layers begin with.

    Returns:
        Tensor of the shape of `x`.
    """
    skips = []
    for scale, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        if scale > 0:
            skips.append(x)
            x = keras.layers.Conv2D(width, 2, strides=2, name=f"{prefix}down{scale}")(x)
        if hint is not None and scale == len(widths) - 1:
            x = keras.layers.Add(name=f"{prefix}hint")([x, hint])
        for block in range(depth):
            x = residual_block(x, width, name=f"{prefix}encoder{scale}_{block}")
    for scale, depth in zip(reversed(range(len(widths) - 1)), decoder_depths, strict=True):
        x = upsample_shuffle(x, widths[scale], name=f"{prefix}up{scale}")
        x = keras.layers.Add(name=f"{prefix}skip{scale}")([x, skips[scale]])
        for block in range(depth):
            x = residual_block(x, widths[scale], name=f"{prefix}decoder{scale}_{block}")
    return x


def instance_normalization(x: Tensor, *, name: str) -> Tensor:
    """Normalise each channel of each picture, without scale and offset (Ulyanov et al. 2016).

    A bias just before it has no effect. Its statistics are those of the whole map: on a crop they
    are others than on the whole picture.
    """
    return keras.layers.GroupNormalization(
        groups=-1, epsilon=1e-5, center=False, scale=False, name=name
    )(x)


def last_convolution(
    x: Tensor, channels: int, *, kernel_size: int = 3, residual: bool = True, name: str
) -> Tensor:
    """Convolution in float32 to what a network adds to its picture; at first it adds nothing.

    Args:
        x: Tensor of shape `(batch, height, width, features)`.
        channels: Number of output channels.
        kernel_size: Side of the kernel.
        residual: Whether the result is a residual; otherwise the usual initialiser is used.
        name: Name of the layer.
    """
    return keras.layers.Conv2D(
        channels,
        kernel_size,
        padding="same",
        kernel_initializer="zeros" if residual else "glorot_uniform",
        dtype="float32",
        name=name,
    )(x)


def add_residual(picture: Tensor, residual: Tensor) -> Tensor:
    """Add what a network predicts to its input picture, in float32 under every policy."""
    return keras.layers.Add(dtype="float32", name="restored")([picture, residual])


def finish(
    picture: Tensor,
    result: Tensor,
    size: Any,
    *,
    global_skip: bool,
    offset: float = 0.0,
    signal: str = "luminance",
) -> Tensor:
    """Crop what a network predicts, and make the restored luminance of it.

    Args:
        picture: What the network saw, of the size of the input.
        result: Residual, or picture minus `offset`, of padded size.
        size: As returned by `pad_to_multiple`.
        global_skip: Whether `result` is a residual.
        offset: What was taken from the picture before the network saw it.
        signal: What `picture` and `result` are, a key of `SIGNALS`.
    """
    result = crop_to_size(result, size)
    if global_skip:
        result = add_residual(picture, result)
    else:
        result = keras.layers.Rescaling(1.0, offset=offset, dtype="float32", name="restored")(
            result
        )
    return to_luminance(result, signal)


def mark_scale(result: Tensor, factor: int, *, offset: float = 0.0) -> Tensor:
    """Let the restored picture of a coarser scale be found by `restore_at_scales`.

    Args:
        result: Restored luminance at `1 / factor` of the size, minus `offset`.
        factor: Integer of at least 2.
        offset: What was taken from the picture before the network saw it.

    Returns:
        `result`, through layers that give the luminance in between.
    """
    result = keras.layers.Rescaling(
        1.0, offset=offset, dtype="float32", name=f"restored_at_{factor}"
    )(result)
    if not offset:
        return result
    return keras.layers.Rescaling(
        1.0, offset=-offset, dtype="float32", name=f"to_centred_at_{factor}"
    )(result)


def restore_at_scales(generator: keras.Model) -> Callable[..., dict[int, Tensor]]:
    """Let a generator show what it restores at its coarser scales, where it has some.

    Args:
        generator: Model from luminance to restored luminance; its layers are shared, not copied.

    Returns:
        Callable from `(luminance, training)` to a dict from 1, 2, 4 ... to restored luminance at
        that part of the size, rounded up; `{1: ...}` alone for a generator of one scale.
    """
    found = (_SCALE_NAME.fullmatch(layer.name) for layer in generator.layers)
    factors = sorted(int(match[1]) for match in found if match)
    if not factors:
        return lambda luminance, training=False: {1: generator(luminance, training=training)}
    outputs = [generator.get_layer(f"restored_at_{factor}").output for factor in factors]
    model = keras.Model(generator.inputs[0], [generator.outputs[0], *outputs])

    def restore(luminance, training=False):
        pictures = model(luminance, training=training)
        return dict(zip([1, *factors], pictures, strict=True))

    return restore


def read_scales(
    widths: Sequence[int], depths: Sequence[int], decoder_depths: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Give the scales of a `u_shape` as tuples; raise `ValueError` unless they describe some."""
    widths, depths, decoder_depths = tuple(widths), tuple(depths), tuple(decoder_depths)
    check_positive(widths=widths, depths=depths)
    if len(decoder_depths):
        check_positive(decoder_depths=decoder_depths)
    if len(depths) != len(widths) or len(decoder_depths) != len(widths) - 1:
        raise ValueError(
            "`depths` must have as many entries as `widths`, and `decoder_depths` one fewer. "
            f"Received: widths={widths}, depths={depths}, decoder_depths={decoder_depths}."
        )
    return widths, depths, decoder_depths


def check_positive(**options: Any) -> None:
    """Raise `ValueError` unless every named option is a positive integer or a tuple of them."""
    for name, value in options.items():
        values = value if isinstance(value, (tuple, list)) else (value,)
        if not values or any(
            isinstance(v, bool) or not isinstance(v, int) or v < 1 for v in values
        ):
            raise ValueError(
                f"`{name}` must be a positive integer, or a sequence of them where the network has "
                f"several stages. Received: {name}={value!r}. Use values of 1 or more."
            )
