"""The residual generator of DeblurGAN."""

import keras

from keras_refocus.networks import blocks


def resnet_generator(*, filters=64, residual_blocks=9, normalization="instance", name="resnet"):
    """Build the DeblurGAN generator (Kupyn et al. 2018, figure 3, after Johnson et al. 2016).

    c7s1-64, d128, d256, 9xR256, u128, u64, c7s1-1, tanh, global skip. `dk` is a 3x3 convolution of
    stride 2, `Rk` two 3x3 convolutions around a ReLU with a skip, `uk` a nearest-neighbour
    enlargement and a 3x3 convolution; every convolution but the last is followed by instance
    normalisation without scale and offset, and all of those outside `Rk` by a ReLU.

    Where we differ: one channel in and out; enlargement and convolution instead of transposed
    convolutions, which leave a checkerboard; zero instead of reflection padding inside, which fails
    on sides of one pixel; no dropout (the paper keeps it at test time, which gives another picture
    at each run); the output is not clipped.

    Instance normalisation sees the whole picture: a network trained on crops of 256 pixels behaves
    differently on a large photo. Restore in tiles of about the training size, or build with
    `normalization="none"`.

    Args:
        filters: Channels at full size.
        residual_blocks: Number of `R` blocks.
        normalization: `"instance"` or `"none"`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    blocks.check_positive(filters=filters, residual_blocks=residual_blocks)
    if normalization not in ("instance", "none"):
        raise ValueError(
            "`normalization` must be 'instance' or 'none'. "
            f"Received: normalization={normalization!r}."
        )

    def convolution(x, channels, kernel_size, name, *, strides=1, relu=True):
        x = keras.layers.Conv2D(
            channels,
            kernel_size,
            strides=strides,
            padding="same",
            # Normalisation takes the mean away, so a bias before it would never be trained.
            use_bias=normalization == "none",
            name=name,
        )(x)
        if normalization == "instance":
            x = keras.layers.GroupNormalization(
                groups=-1, center=False, scale=False, name=f"{name}_norm"
            )(x)
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x

    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, 4)
    # The paper's pictures are in [-1, 1].
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_signed")(x)
    x = convolution(x, filters, 7, "stem")
    x = convolution(x, 2 * filters, 3, "down1", strides=2)
    x = convolution(x, 4 * filters, 3, "down2", strides=2)
    for block in range(residual_blocks):
        y = convolution(x, 4 * filters, 3, f"residual{block}_conv1")
        y = convolution(y, 4 * filters, 3, f"residual{block}_conv2", relu=False)
        x = keras.layers.Add(name=f"residual{block}_add")([x, y])
    x = convolution(keras.layers.UpSampling2D(2, name="enlarge2")(x), 2 * filters, 3, "up2")
    x = convolution(keras.layers.UpSampling2D(2, name="enlarge1")(x), filters, 3, "up1")
    residual = keras.layers.Conv2D(
        1, 7, padding="same", activation="tanh", dtype="float32", name="residual"
    )(x)
    # In the paper's range the tanh reaches half of the pictures' range either way.
    residual = keras.layers.Rescaling(0.5, dtype="float32", name="to_unit")(residual)
    restored = blocks.add_residual(picture, blocks.crop_to_size(residual, size))
    return keras.Model(picture, restored, name=name)
