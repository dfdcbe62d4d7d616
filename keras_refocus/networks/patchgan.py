"""Patch discriminators: PatchGAN, its critic variant, and the double-scale pair."""

import keras

from keras_refocus.networks import blocks

# Slope of the discriminators of pix2pix.
_LEAKY_SLOPE = 0.2

_NORMALIZATIONS = ("none", "instance", "spectral")


def _check_normalization(normalization):
    if normalization not in _NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {_NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}."
        )


def _convolution(x, filters, *, strides, normalization, name, use_bias=True, dtype=None):
    """4x4 convolution with the padding of the paper's code: one pixel on each side."""
    x = keras.layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
    convolution = keras.layers.Conv2D(
        filters,
        4,
        strides=strides,
        use_bias=use_bias,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.02),
        dtype=dtype,
        name=name,
    )
    if normalization == "spectral":
        convolution = keras.layers.SpectralNormalization(
            convolution, dtype=dtype, name=f"{name}_spectral"
        )
    return convolution(x)


def patch_discriminator(
    *,
    channels: int = 1,
    filters: int = 64,
    layers: int = 3,
    normalization: str = "instance",
    name: str = "patchgan",
) -> keras.Model:
    """Build the PatchGAN discriminator (Isola et al. 2017; 70x70 pixels with the defaults).

    C64-C128-C256-C512 and a convolution to one channel, all 4x4; stride 2 but for the last two;
    leaky ReLU of slope 0.2; no normalisation in the first and the last. Where we differ: instance
    normalisation instead of batch normalisation, as CycleGAN does, because a gradient penalty needs
    examples that do not mix and inference must not depend on the batch.

    Args:
        channels: Channels of the input.
        filters: Channels of the first convolution; doubled up to eight times.
        layers: Convolutions of stride 2. Receptive field in pixels: 1 -> 16, 2 -> 34, 3 -> 70,
            4 -> 142, 5 -> 286.
        normalization: `"none"` (for a critic with gradient penalty, Gulrajani et al. 2017,
            section 4), `"instance"` or `"spectral"` (Miyato et al. 2018).
        name: Name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` float32 in [0, 1] to scores
        `(batch, rows, columns, 1)` float32 without activation, one for each patch. With L layers
        of stride 2, a side must be at least `3 * 2**L` pixels.

    Raises:
        ValueError: If an option has no meaning.
    """
    _check_normalization(normalization)
    blocks.check_positive(channels=channels, filters=filters, layers=layers)
    picture = keras.Input(shape=(None, None, channels), dtype="float32", name="picture")
    # The paper's networks see [-1, 1].
    x = keras.layers.Rescaling(2.0, offset=-1.0, name="to_signed")(picture)
    for index in range(layers + 1):
        normalized = normalization == "instance" and index > 0
        x = _convolution(
            x,
            filters * min(2**index, 8),
            strides=2 if index < layers else 1,
            normalization=normalization,
            # Normalisation takes the mean away, so a bias before it would never be trained.
            use_bias=not normalized,
            name=f"conv{index}",
        )
        if normalized:
            x = blocks.instance_normalization(x, name=f"norm{index}")
        x = keras.layers.LeakyReLU(negative_slope=_LEAKY_SLOPE, name=f"activation{index}")(x)
    scores = _convolution(
        x, 1, strides=1, normalization=normalization, name="scores", dtype="float32"
    )
    return keras.Model(picture, scores, name=name)


def critic(
    *, channels: int = 1, filters: int = 64, layers: int = 3, name: str = "critic"
) -> keras.Model:
    """Build the critic of DeblurGAN: a PatchGAN for WGAN-GP, without normalisation.

    The gradient penalty is a property of single pictures, so no layer may mix or normalise them
    (Gulrajani et al. 2017, section 4). Where we differ from Kupyn et al. 2018: their critic has
    instance normalisation.

    Args:
        channels: See `patch_discriminator`.
        filters: See `patch_discriminator`.
        layers: See `patch_discriminator`.
        name: Name of the model.

    Returns:
        `keras.Model`, see `patch_discriminator`.
    """
    return patch_discriminator(
        channels=channels, filters=filters, layers=layers, normalization="none", name=name
    )


def double_scale_discriminator(
    *,
    channels: int = 1,
    filters: int = 64,
    layers: int = 3,
    global_layers: int = 5,
    normalization: str = "instance",
    name: str = "double_scale",
) -> keras.Model:
    """Build the local and the global discriminator of DeblurGAN-v2 (Kupyn et al. 2019, 3.3).

    Two PatchGANs without shared weights on the same picture: one sees patches of 70x70 pixels, one
    of 286x286, more than the whole of a training patch.

    Args:
        channels: See `patch_discriminator`.
        filters: See `patch_discriminator`.
        layers: Convolutions of stride 2 of the local one.
        global_layers: Convolutions of stride 2 of the global one.
        normalization: See `patch_discriminator`.
        name: Name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, channels)` float32 in [0, 1] to a list of two
        maps of scores; `losses.ADVERSARIAL` takes such lists. Sides of at least
        `3 * 2**global_layers` pixels.

    Raises:
        ValueError: If an option has no meaning.
    """
    picture = keras.Input(shape=(None, None, channels), dtype="float32", name="picture")
    scores = [
        patch_discriminator(
            channels=channels, filters=filters, layers=count, normalization=normalization, name=part
        )(picture)
        for part, count in (("local", layers), ("global", global_layers))
    ]
    return keras.Model(picture, scores, name=name)
