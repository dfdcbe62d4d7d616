"""The colorizer of Zhang et al. 2017, without the hints of its user."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks

_MULTIPLE = 8


def siggraph17_colorizer(
    *, widths: Sequence[int] = (64, 128, 256, 512), name: str = "siggraph17_colorizer"
) -> keras.Model:
    """Build the colorizer of Zhang et al. 2017 ("Real-Time User-Guided Image Colorization").

    2xc3s1-64, b; 2xc3s1-128, b; 3xc3s1-256, b; 3xc3s1-512, b, each on every second pixel of what
    the one before gave; twice 3xc3s1-512 of dilation 2, b; 3xc3s1-512, b; then up again, at each
    scale a transposed 4x4 convolution plus a 3x3 one of the map on the way down, a ReLU and c3s1:
    two of 256 and b, one of 128 and b, one of 128 and a leaky ReLU; c1s1-2, tanh. `b` is a batch
    normalisation after a ReLU.

    Where we differ: luminance alone goes in, the authors' colours and places of hints are zero;
    their classes of colours, which only their training looks at, are not computed.

    Args:
        widths: Channels at full, half, quarter and eighth size.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to chroma
        `(batch, height, width, 2)` in [-1, 1]. Any height and width of at least 1; trained on
        squares of 256.

    Raises:
        ValueError: If a width is not positive, or there are not four.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths)
    if len(widths) != 4:
        raise ValueError(f"`widths` must have four entries. Received: widths={widths}.")
    luminance = blocks.luminance_input()
    padded, size = blocks.pad_to_multiple(luminance, _MULTIPLE)
    x = keras.layers.Rescaling(1.0, offset=-0.5, dtype="float32", name="to_centred")(padded)

    def stage(x, number, width, depth, *, dilation=1):
        for layer in range(depth):
            x = blocks.convolution_relu(x, width, dilation=dilation, name=f"conv{number}_{layer}")
        return keras.layers.BatchNormalization(epsilon=1e-5, name=f"norm{number}")(x)

    maps = []
    for number, width in enumerate(widths[:3], 1):
        maps.append(stage(x, number, width, 3 if number == 3 else 2))
        x = blocks.every_second(maps[-1])
    for number, dilation in ((4, 1), (5, 2), (6, 2), (7, 1)):
        x = stage(x, number, widths[3], 3, dilation=dilation)

    def up(x, number, width):
        beside = keras.layers.Conv2D(width, 3, padding="same", name=f"skip{number}")(maps.pop())
        x = ops.add(blocks.upsample_transposed(x, width, name=f"up{number}"), beside)
        return keras.layers.ReLU(name=f"up{number}_relu")(x)

    x = stage(up(x, 8, widths[2]), 8, widths[2], 2)
    x = stage(up(x, 9, widths[1]), 9, widths[1], 1)
    # The last scale is as wide as the one before.
    x = up(x, 10, widths[1])
    x = keras.layers.Conv2D(widths[1], 3, padding="same", name="conv10")(x)
    x = keras.layers.LeakyReLU(negative_slope=0.2, name="conv10_relu")(x)
    x = keras.layers.Conv2D(2, 1, activation="tanh", dtype="float32", name="chroma")(x)
    return keras.Model(luminance, blocks.crop_to_size(x, size), name=name)
