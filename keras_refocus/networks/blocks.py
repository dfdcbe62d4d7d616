"""Parts that several networks share: padding for any picture size, upsampling without checkerboard.

Everything here is a composition of built-in layers and `keras.ops`, so that a saved network loads
without custom objects, and everything works on symbolic tensors whose height and width are unknown.
"""

import keras
from keras import ops


def luminance_input():
    """Input of every restoration network: `(batch, height, width, 1)`, float32 in [0, 1].

    The dtype is fixed because under a 16-bit policy the picture itself must keep its precision:
    networks here add a residual to it.
    """
    return keras.Input(shape=(None, None, 1), dtype="float32", name="luminance")


def _indices(x, axis):
    """Vector 0, 1, ... of the length of an axis, whatever that length is when the graph runs.

    `ops.shape` of a symbolic tensor knows no dynamic sizes, so the length comes from the data: a
    line of ones, summed up.
    """
    line = x[0, :, 0, 0] if axis == 1 else x[0, 0, :, 0]
    return ops.cumsum(ops.ones_like(line, dtype="int32")) - 1


def pad_to_multiple(x, multiple):
    """Repeat the last row and column until both sides are multiples of a number.

    Clamped gather, because reflecting fails on sides of one pixel.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`, height and width at least 1.
        multiple: Positive integer.

    Returns:
        Tuple `(padded, size)`: the padded tensor, and what `crop_to_size` needs to undo it.
    """
    size = (_indices(x, 1), _indices(x, 2))
    if multiple > 1:
        within = ops.arange(multiple, dtype="int32")
        for axis, index in zip((1, 2), size, strict=True):
            # Every m-th index is the start of a block: ceil(length / m) of them. The key is a tuple
            # because symbolic tensors take no bare slice.
            starts = index[(slice(None, None, multiple),)]
            padded = ops.reshape(ops.expand_dims(starts, 1) + within, (-1,))
            x = ops.take(x, ops.minimum(padded, ops.max(index)), axis=axis)
    return x, size


def crop_to_size(x, size):
    """Cut a tensor to the top left `height` x `width` that `pad_to_multiple` saw."""
    rows, columns = size
    return ops.take(ops.take(x, rows, axis=1), columns, axis=2)


def upsample_shuffle(x, channels, *, name=None):
    """Double the size: 1x1 convolution to four times the channels, then depth to space.

    A transposed convolution of stride 2 would leave a checkerboard.
    """
    x = keras.layers.Conv2D(4 * channels, 1, name=name)(x)
    return ops.depth_to_space(x, 2)


def residual_block(x, channels, *, name):
    """Two 3x3 convolutions around a ReLU, added to the input (EDSR, Lim et al. 2017, section 3.1).

    No normalisation: statistics of a training crop differ from those of a whole picture.
    """
    y = keras.layers.Conv2D(
        channels,
        3,
        padding="same",
        activation="relu",
        kernel_initializer="he_normal",
        name=f"{name}_conv1",
    )(x)
    y = keras.layers.Conv2D(channels, 3, padding="same", name=f"{name}_conv2")(y)
    return keras.layers.Add(name=f"{name}_add")([x, y])


def add_residual(picture, residual, *, name="restored"):
    """Add what a network predicts to its input picture, in float32 under every policy."""
    return keras.layers.Add(dtype="float32", name=name)([picture, residual])


def check_positive(**options):
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
