"""Fast U-shaped restoration network on pixel-unshuffled input."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks


def unet_generator(
    *,
    widths: Sequence[int] = (48, 96, 192),
    depths: Sequence[int] = (1, 2, 4),
    decoder_depths: Sequence[int] = (1, 1),
    stem_factor: int = 4,
    name: str = "unet",
) -> keras.Model:
    """Build the fast plain generator.

    With the default options, in the notation of the CycleGAN paper: space-to-depth 4, c3s1-48,
    R48, d96, 2xR96, d192, 4xR192, u96, R96, u48, R48, c3s1-16, depth-to-space 4, global skip.
    `dk` is a 2x2 convolution of stride 2, `uk` a 1x1 convolution and depth to space, `Rk` two 3x3
    convolutions around a ReLU. Skips from encoder to decoder are added, not concatenated.

    The shape is a U-Net (Ronneberger et al. 2015) with the plain residual blocks of EDSR (Lim et
    al. 2017) and the pixel-unshuffled input of FFDNet (Zhang et al. 2018): on a CPU almost all time
    goes into full-resolution layers, so there are none. There is no normalisation and no global
    pooling: a tile is restored as it would be inside the whole picture. The last convolution
    starts at zero, so an untrained network returns its input.

    A slower variant with a finer stem: `widths=(32, 64, 128), depths=(2, 2, 8),
    decoder_depths=(2, 2), stem_factor=2`.

    Args:
        widths: Channels per scale, from fine to coarse.
        depths: Residual blocks per scale on the way down; the last entry is the bottom.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine: one entry
            fewer than `widths`.
        stem_factor: Side in pixels of the blocks that become channels at the input; 1 works on
            single pixels.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If the numbers of scales disagree or an option is not positive.
    """
    widths, depths, decoder_depths = blocks.read_scales(widths, depths, decoder_depths)
    blocks.check_positive(stem_factor=stem_factor)

    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, stem_factor * 2 ** (len(widths) - 1))
    if stem_factor > 1:
        x = ops.space_to_depth(x, stem_factor)
    x = keras.layers.Conv2D(widths[0], 3, padding="same", name="stem")(x)
    x = blocks.u_shape(x, widths=widths, depths=depths, decoder_depths=decoder_depths)

    residual = blocks.last_convolution(x, stem_factor**2, name="residual")
    if stem_factor > 1:
        residual = ops.depth_to_space(residual, stem_factor)
    restored = blocks.add_residual(picture, blocks.crop_to_size(residual, size))
    return keras.Model(picture, restored, name=name)
