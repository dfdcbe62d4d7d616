"""Trajectories and residuals of an exposure: what a blurred picture tells of how things moved."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.engines import contract
from keras_refocus.networks import blocks

# Of trajectories: first and second, x and y.
_COEFFICIENTS = 4


def motion_unet(
    *,
    channels: int = 1,
    widths: Sequence[int] = (32, 64, 96),
    depths: Sequence[int] = (1, 2, 3),
    decoder_depths: Sequence[int] = (1, 1),
    scale: float = 4.0,
    name: str = "motion_unet",
) -> keras.Model:
    """Build the network that corrects the classical estimate of an exposure's motion.

    A U-Net (Ronneberger et al. 2015) of plain residual blocks at half the size and below. It sees
    the picture, what a restorer made of it, and the straight motion that was found by trying lines
    with how well it fits; it gives what to add to that motion, its bend, what to add to the
    restored picture before it moves, and small corrections of the seven frames. The last
    convolutions start at zero: an untrained network gives the classical estimate. No normalisation,
    no global pooling: a part is seen as in the whole.

    Args:
        channels: Of the picture: 1, luminance, or 3, luminance and chroma, in which the code of a
            phase-coded aperture is.
        widths: Channels per scale, from half size to coarse.
        depths: Residual blocks per scale on the way down.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine.
        scale: Pixels that 1 stands for in what is added to trajectories. Large ones make the first
            steps of a training tear the picture apart: an optimizer like Adam moves every weight by
            its learning rate, however small the gradient.
        name: Name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, channels + 4)` float32, in the order of
        `video.from_blur.see`, to `(batch, height, width, 12)`: four coefficients of trajectories in
        pixels, first x and y of time, then x and y of its square; what is added to the restored
        luminance before it moves; and seven residuals of luminance. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    widths, depths, decoder_depths = blocks.read_scales(widths, depths, decoder_depths)
    seen = blocks.seen_input(channels)
    x, size = blocks.pad_to_multiple(seen, 2 ** len(widths))
    x = ops.space_to_depth(x, 2)
    x = keras.layers.Conv2D(widths[0], 3, padding="same", name="stem")(x)
    x = blocks.u_shape(x, widths=widths, depths=depths, decoder_depths=decoder_depths)
    bends = blocks.last_convolution(x, 4 * _COEFFICIENTS, name="trajectories")
    bends = blocks.crop_to_size(ops.depth_to_space(bends, 2), size) * scale
    light = blocks.last_convolution(x, 4 * blocks.MOTION_CHANNELS - 4 * _COEFFICIENTS, name="light")
    light = blocks.crop_to_size(ops.depth_to_space(light, 2), size)
    way = seen[..., channels + 1 : channels + 3] * contract.MOTION_UNIT
    first = way + bends[..., :2]
    result = keras.layers.Concatenate(dtype="float32", name="motion")(
        [first, bends[..., 2:], light]
    )
    return keras.Model(seen, result, name=name)
