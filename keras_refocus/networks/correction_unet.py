"""The learned correction of a frame in between: what of both frames to take where, and what else.

A small network that is trained by frames that were left out, as the fpsGAN of the game's frame
rates; here it begins with the classical estimate and needs no adversary, though it can have one.
"""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.engines import contract
from keras_refocus.networks import blocks

# What a frame is mixed of; see `video.interpolation`.
_PARTS = contract.PARTS_CHANNELS // 2


def correction_unet(
    *,
    widths: Sequence[int] = (24, 32, 48),
    depths: Sequence[int] = (1, 1, 2),
    decoder_depths: Sequence[int] = (1, 1),
    name: str = "correction_unet",
) -> keras.Model:
    """Build the network that corrects the classical estimate of a frame between two.

    A U-Net (Ronneberger et al. 2015) of plain residual blocks at half the size and below. It sees
    both frames as they are and as three estimates of motion move them, and the weight that the
    classical estimate gives to each, in which occlusions, holes and failing flow show. It gives
    changes of these weights and a small residual. The last convolution starts at zero: an untrained
    network gives the classical estimate. No normalisation, no global pooling: a part is seen as in
    the whole.

    Args:
        widths: Channels per scale, from half size to coarse.
        depths: Residual blocks per scale on the way down.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine.
        name: Name of the model.

    Returns:
        `keras.Model` from `(batch, height, width, 2 PARTS)` float32, parts in [0, 1] and their
        weights, which sum to 1, to luma of the frame, `(batch, height, width, 1)`, not clipped. Its
        layer `corrections`, `(batch, height, width, PARTS + 1)`, is what is exported: with it other
        planes can be mixed in the same way. Any height and width of at least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    widths, depths, decoder_depths = blocks.read_scales(widths, depths, decoder_depths)
    seen = keras.Input(shape=(None, None, 2 * _PARTS), dtype="float32", name="seen")
    parts, weights = seen[..., :_PARTS], seen[..., _PARTS:]
    estimate = ops.sum(parts * weights, axis=-1, keepdims=True)
    apart = parts - estimate
    # Differences of parts are small; in these units they are as large as the weights.
    x = keras.layers.Concatenate(name="shown")([8.0 * apart, weights, estimate - 0.5])
    x, size = blocks.pad_to_multiple(x, 2 ** len(widths))
    x = ops.space_to_depth(x, 2)
    x = keras.layers.Conv2D(widths[0], 3, padding="same", name="stem")(x)
    x = blocks.u_shape(x, widths=widths, depths=depths, decoder_depths=decoder_depths)
    x = blocks.last_convolution(x, 4 * (_PARTS + 1), name="changes")
    x = blocks.crop_to_size(ops.depth_to_space(x, 2), size)
    x = keras.layers.Identity(dtype="float32", name=contract.CORRECTIONS)(x)
    shifted = estimate + ops.sum(x[..., :_PARTS] * apart, axis=-1, keepdims=True)
    frame = keras.layers.Add(dtype="float32", name="frame")([shifted, x[..., _PARTS:]])
    return keras.Model(seen, frame, name=name)
