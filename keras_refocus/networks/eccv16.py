"""The colorizer of Zhang et al. 2016, which chooses among classes of colours."""

from collections.abc import Sequence

import keras

from keras_refocus.networks import blocks

_MULTIPLE = 8


def eccv16_colorizer(
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    classes: int = 313,
    name: str = "eccv16_colorizer",
) -> keras.Model:
    """Build the colorizer of Zhang, Isola and Efros 2016 ("Colorful Image Colorization").

    c3s1-64, d64, b; c3s1-128, d128, b; 2xc3s1-256, d256, b; 3xc3s1-512, b; twice 3xc3s1-512 of
    dilation 2, b; 3xc3s1-512, b; u256, 2xc3s1-256, c1s1-313 and a softmax: a share for each class
    of colours, of which the last convolution makes their mean chroma, enlarged four times. `dk` is
    a 3x3 convolution of stride 2 padded alike on all sides, `uk` a transposed one of 4x4, `b` a
    batch normalisation, after the ReLU that follows each convolution but the last two.

    Args:
        widths: Channels at full, half, quarter and eighth size.
        classes: Number of classes of colours.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to chroma
        `(batch, height, width, 2)`. Any height and width of at least 1; trained on squares of 256.

    Raises:
        ValueError: If an option is not positive, or there are not four widths.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths, classes=classes)
    if len(widths) != 4:
        raise ValueError(f"`widths` must have four entries. Received: widths={widths}.")
    luminance = blocks.luminance_input()
    padded, size = blocks.pad_to_multiple(luminance, _MULTIPLE)
    x = keras.layers.Rescaling(1.0, offset=-0.5, dtype="float32", name="to_centred")(padded)
    deepest = widths[-1]
    stages = (
        *((width, 3 if index == 2 else 2, 1, True) for index, width in enumerate(widths[:3])),
        (deepest, 3, 1, False),
        (deepest, 3, 2, False),
        (deepest, 3, 2, False),
        (deepest, 3, 1, False),
    )
    for stage, (width, depth, dilation, halve) in enumerate(stages, 1):
        for layer in range(depth):
            conv = f"conv{stage}_{layer + 1}"
            if halve and layer == depth - 1:
                x = blocks.halve_centred(x, width, name=conv)
                x = keras.layers.ReLU(name=f"{conv}_relu")(x)
            else:
                x = blocks.convolution_relu(x, width, dilation=dilation, name=conv)
        x = keras.layers.BatchNormalization(epsilon=1e-5, name=f"norm{stage}")(x)
    x = blocks.upsample_transposed(x, widths[2], activation="relu", name="up8")
    for layer in range(2):
        x = blocks.convolution_relu(x, widths[2], name=f"conv8_{layer + 1}")
    x = keras.layers.Conv2D(classes, 1, dtype="float32", name="classes")(x)
    x = keras.layers.Softmax(dtype="float32", name="shares")(x)
    x = keras.layers.Conv2D(2, 1, use_bias=False, dtype="float32", name="colors")(x)
    chroma = blocks.crop_to_size(blocks.enlarge_bilinear(x, 4), size)
    return keras.Model(luminance, chroma, name=name)
