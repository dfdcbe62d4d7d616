"""The residual generators of DeblurGAN and of CycleGAN: one trunk, three uses."""

import keras

from keras_refocus.networks import blocks

# The trunk halves the size twice and doubles it twice.
_MULTIPLE = 4


def _trunk(x, filters, residual_blocks, normalization):
    """c7s1-64, d128, d256, 9xR256, u128, u64 (with the usual numbers) at the size of `x`."""
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
            x = blocks.instance_normalization(x, name=f"{name}_norm")
        return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x

    x = convolution(x, filters, 7, "stem")
    x = convolution(x, 2 * filters, 3, "down1", strides=2)
    x = convolution(x, 4 * filters, 3, "down2", strides=2)
    for block in range(residual_blocks):
        y = convolution(x, 4 * filters, 3, f"residual{block}_conv1")
        y = convolution(y, 4 * filters, 3, f"residual{block}_conv2", relu=False)
        x = keras.layers.Add(name=f"residual{block}_add")([x, y])
    x = convolution(keras.layers.UpSampling2D(2, name="enlarge2")(x), 2 * filters, 3, "up2")
    return convolution(keras.layers.UpSampling2D(2, name="enlarge1")(x), filters, 3, "up1")


def resnet_generator(
    *,
    filters: int = 64,
    residual_blocks: int = 9,
    normalization: str = "instance",
    name: str = "resnet",
) -> keras.Model:
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
    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, _MULTIPLE)
    # The paper's pictures are in [-1, 1].
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_signed")(x)
    x = _trunk(x, filters, residual_blocks, normalization)
    residual = keras.layers.Conv2D(
        1, 7, padding="same", activation="tanh", dtype="float32", name="residual"
    )(x)
    # In the paper's range the tanh reaches half of the pictures' range either way.
    residual = keras.layers.Rescaling(0.5, dtype="float32", name="to_unit")(residual)
    restored = blocks.add_residual(picture, blocks.crop_to_size(residual, size))
    return keras.Model(picture, restored, name=name)


def resnet_colorizer(
    *,
    filters: int = 64,
    residual_blocks: int = 9,
    normalization: str = "instance",
    name: str = "resnet_colorizer",
) -> keras.Model:
    """Build the generator of CycleGAN from grey to colour (Zhu et al. 2017, section 7.2).

    c7s1-64, d128, d256, 9xR256, u128, u64, c7s1-2, tanh. Where we differ: it predicts chroma alone,
    because the lightness of a grey picture is known; and see `resnet_generator` for enlargement and
    padding. The paper takes 9 blocks from 256 pixels on, 6 below.

    Args:
        filters: See `resnet_generator`.
        residual_blocks: See `resnet_generator`.
        normalization: See `resnet_generator`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to chroma
        `(batch, height, width, 2)` float32 in [-1, 1]. Any height and width of at least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, _MULTIPLE)
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_signed")(x)
    x = _trunk(x, filters, residual_blocks, normalization)
    chroma = keras.layers.Conv2D(
        2, 7, padding="same", activation="tanh", dtype="float32", name="chroma"
    )(x)
    return keras.Model(picture, blocks.crop_to_size(chroma, size), name=name)


def resnet_decolorizer(
    *,
    filters: int = 64,
    residual_blocks: int = 9,
    normalization: str = "instance",
    name: str = "resnet_decolorizer",
) -> keras.Model:
    """Build the generator of CycleGAN from colour to grey (Zhu et al. 2017, section 7.2).

    As `resnet_colorizer`, from three channels to one.

    Args:
        filters: See `resnet_generator`.
        residual_blocks: See `resnet_generator`.
        normalization: See `resnet_generator`.
        name: Name of the model.

    Returns:
        `keras.Model` from a picture `(batch, height, width, 3)` float32, luminance in [0, 1] and
        chroma in [-1, 1], to luminance `(batch, height, width, 1)` float32 in [0, 1]. Any height
        and width of at least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    picture = keras.Input(shape=(None, None, 3), dtype="float32", name="lab")
    x, size = blocks.pad_to_multiple(picture, _MULTIPLE)
    x = _trunk(x, filters, residual_blocks, normalization)
    luminance = keras.layers.Conv2D(
        1, 7, padding="same", activation="tanh", dtype="float32", name="signed"
    )(x)
    luminance = keras.layers.Rescaling(0.5, offset=0.5, dtype="float32", name="luminance")(
        luminance
    )
    return keras.Model(picture, blocks.crop_to_size(luminance, size), name=name)
