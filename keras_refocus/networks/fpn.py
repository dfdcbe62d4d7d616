"""Feature pyramid generators of DeblurGAN-v2."""

import functools

import keras

from keras_refocus.networks import backbones, blocks

_NORMALIZATIONS = ("none", "instance")


def _fpn_generator(
    backbone,
    *,
    weights,
    filters,
    pyramid_filters,
    separable,
    normalization,
    freeze_batch_normalization,
    name,
    **backbone_options,
):
    _check_options(filters, pyramid_filters, normalization)
    convolution = functools.partial(
        keras.layers.SeparableConv2D if separable else keras.layers.Conv2D,
        kernel_size=3,
        padding="same",
    )

    def lateral(x, channels, name):
        return keras.layers.Conv2D(channels, 1, use_bias=False, name=name)(x)

    def block(x, channels, name):
        # Normalisation takes the mean away, so a bias before it would never be trained.
        x = convolution(channels, use_bias=normalization == "none", name=f"{name}_conv")(x)
        if normalization == "instance":
            x = blocks.instance_normalization(x, name=f"{name}_norm")
        return keras.layers.ReLU(name=f"{name}_relu")(x)

    def head(x, scale):
        for layer in (0, 1):
            x = convolution(
                filters, use_bias=False, activation="relu", name=f"head{scale}_conv{layer}"
            )(x)
        return enlarge(x, 2 ** (scale - 1), f"head{scale}_up")

    def enlarge(x, factor, name):
        return keras.layers.UpSampling2D(factor, name=name)(x) if factor > 1 else x

    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, 32)
    extractor = backbones.feature_extractor(
        backbone,
        backbones.BACKBONES[backbone].pyramid,
        weights=weights,
        freeze_batch_normalization=freeze_batch_normalization,
        **backbone_options,
    )
    encoded = extractor(x)

    pyramid = {4: lateral(encoded[4], pyramid_filters, "lateral4")}
    for scale in (3, 2, 1):
        above = enlarge(pyramid[scale + 1], 2, f"top_down{scale}_up")
        side = lateral(encoded[scale], pyramid_filters, f"lateral{scale}")
        summed = keras.layers.Add(name=f"top_down{scale}_add")([side, above])
        pyramid[scale] = block(summed, pyramid_filters, f"top_down{scale}")
    x = keras.layers.Concatenate(name="heads")(
        [head(pyramid[scale], scale) for scale in (4, 3, 2, 1)]
    )
    x = enlarge(block(x, filters, "smooth1"), 2, "smooth1_up")
    x = keras.layers.Add(name="smooth1_add")([x, lateral(encoded[0], filters, "lateral0")])
    x = enlarge(block(x, filters // 2, "smooth2"), 2, "smooth2_up")
    residual = keras.layers.Conv2D(
        1, 3, padding="same", activation="tanh", dtype="float32", name="residual"
    )(x)
    # The paper's pictures are in [-1, 1]: the tanh reaches half of the range either way.
    residual = keras.layers.Rescaling(0.5, dtype="float32", name="to_unit")(residual)
    restored = blocks.add_residual(picture, blocks.crop_to_size(residual, size))
    return keras.Model(picture, restored, name=name)


def _check_options(filters, pyramid_filters, normalization):
    blocks.check_positive(filters=filters, pyramid_filters=pyramid_filters)
    if filters % 2:
        raise ValueError(f"`filters` must be even. Received: filters={filters}.")
    if normalization not in _NORMALIZATIONS:
        raise ValueError(
            f"`normalization` must be one of {_NORMALIZATIONS}. "
            f"Received: normalization={normalization!r}."
        )


def fpn_inception_resnet_v2_generator(
    *,
    weights: str = "imagenet",
    filters: int = 128,
    pyramid_filters: int = 256,
    normalization: str = "instance",
    freeze_batch_normalization: bool | None = None,
    name: str = "fpn_inception_resnet_v2",
) -> keras.Model:
    """Build the DeblurGAN-v2 generator with the Inception-ResNet-v2 backbone (Kupyn et al. 2019).

    A feature pyramid (Lin et al. 2017): the backbone's maps at 1/2 to 1/32 of the size; 1x1 lateral
    connections to `pyramid_filters` channels; top-down sums of nearest-neighbour enlargements, each
    smoothed by c3s1-256; a head of two c3s1-128 on each of the four coarser levels, enlarged to 1/4
    and concatenated; c3s1-128, enlarged to 1/2, plus the lateral map of 1/2; c3s1-64, enlarged;
    c3s1-1, tanh, global skip.

    Where we differ: one channel in and out; the backbone's unpadded convolutions are padded, where
    the authors pad their feature maps afterwards; the output is not clipped; batch normalisation of
    the backbone uses its stored statistics at inference (the authors' code the batch's), and is
    frozen when pretrained.

    Instance normalisation sees the whole picture: a network trained on crops of 256 pixels behaves
    differently on a large photo. Restore in tiles of about the training size, or build with
    `normalization="none"`.

    Args:
        weights: Weights of the backbone: see `backbones.feature_extractor`. With `"imagenet"` and
            no connection they are random, and a warning says so.
        filters: Channels of the heads and of the smoothing; even.
        pyramid_filters: Channels of the pyramid.
        normalization: `"instance"` or `"none"`.
        freeze_batch_normalization: See `backbones.feature_extractor`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.
    """
    return _fpn_generator(
        "inception_resnet_v2",
        weights=weights,
        filters=filters,
        pyramid_filters=pyramid_filters,
        separable=False,
        normalization=normalization,
        freeze_batch_normalization=freeze_batch_normalization,
        name=name,
    )


def fpn_mobilenet_v2_generator(
    *,
    weights: str = "imagenet",
    alpha: float = 1.0,
    filters: int = 64,
    pyramid_filters: int = 128,
    normalization: str = "instance",
    freeze_batch_normalization: bool | None = None,
    name: str = "fpn_mobilenet_v2",
) -> keras.Model:
    """Build the DeblurGAN-v2 generator with the MobileNetV2 backbone.

    As `fpn_inception_resnet_v2_generator`, with half the channels in pyramid and heads.

    Args:
        weights: Weights of the backbone: see `backbones.feature_extractor`.
        alpha: Width multiplier of the backbone; the weights must be made for it.
        filters: See `fpn_inception_resnet_v2_generator`.
        pyramid_filters: See `fpn_inception_resnet_v2_generator`.
        normalization: See `fpn_inception_resnet_v2_generator`.
        freeze_batch_normalization: See `backbones.feature_extractor`.
        name: Name of the model.

    Returns:
        `keras.Model`, see `fpn_inception_resnet_v2_generator`.
    """
    return _fpn_generator(
        "mobilenet_v2",
        weights=weights,
        filters=filters,
        pyramid_filters=pyramid_filters,
        separable=False,
        normalization=normalization,
        freeze_batch_normalization=freeze_batch_normalization,
        name=name,
        alpha=alpha,
    )


def fpn_mobilenet_dsc_generator(
    *,
    weights: str = "imagenet",
    alpha: float = 1.0,
    filters: int = 64,
    pyramid_filters: int = 128,
    normalization: str = "instance",
    freeze_batch_normalization: bool | None = None,
    name: str = "fpn_mobilenet_dsc",
) -> keras.Model:
    """Build the DeblurGAN-v2 generator with MobileNetV2 and depthwise separable convolutions.

    As `fpn_mobilenet_v2_generator`, every 3x3 convolution outside the backbone but the last being a
    depthwise 3x3 and a 1x1 one (Kupyn et al. 2019, section 3.2.2).

    Args:
        weights: Weights of the backbone: see `backbones.feature_extractor`.
        alpha: Width multiplier of the backbone; the weights must be made for it.
        filters: See `fpn_inception_resnet_v2_generator`.
        pyramid_filters: See `fpn_inception_resnet_v2_generator`.
        normalization: See `fpn_inception_resnet_v2_generator`.
        freeze_batch_normalization: See `backbones.feature_extractor`.
        name: Name of the model.

    Returns:
        `keras.Model`, see `fpn_inception_resnet_v2_generator`.
    """
    return _fpn_generator(
        "mobilenet_v2",
        weights=weights,
        filters=filters,
        pyramid_filters=pyramid_filters,
        separable=True,
        normalization=normalization,
        freeze_batch_normalization=freeze_batch_normalization,
        name=name,
        alpha=alpha,
    )
