"""The cascade of Jin, Meishvili and Favaro 2018: one network a frame, from the middle outwards.

Jin, Meishvili and Favaro, "Learning to Extract a Video Sequence from a Single Motion-Blurred
Image", CVPR 2018. The middle frame is restored from the blurred picture; each frame further out
from the blurred picture and the frames between it and the middle, on its side. Trained with their
loss of pairs, which does not care in which direction time goes.

Where we differ: all seven networks are trained at once and from luminance; each is a small U-Net of
plain residual blocks where theirs has residual blocks at a quarter of the size. So that it is
served as the other motion networks are, it gives the frames as differences from the restored
picture, with trajectories of zero.
"""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks

_FRAMES = 7


def jin_cascade(
    *,
    channels: int = 1,
    widths: Sequence[int] = (16, 32, 48),
    depths: Sequence[int] = (1, 1, 2),
    decoder_depths: Sequence[int] = (1, 1),
    name: str = "jin",
) -> keras.Model:
    """Build the cascade of seven networks.

    Args:
        channels: Of the picture: 1, luminance, or 3, luminance and chroma.
        widths: Channels per scale of each network, from half size to coarse.
        depths: Residual blocks per scale on the way down.
        decoder_depths: Residual blocks per scale on the way up, from coarse to fine.
        name: Name of the model.

    Returns:
        `keras.Model` with inputs and outputs as of `motion_unet`; of the inputs it sees the picture
        alone, and trajectories are zero.

    Raises:
        ValueError: If an option has no meaning.
    """
    widths, depths, decoder_depths = blocks.read_scales(widths, depths, decoder_depths)
    seen = blocks.seen_input(channels)
    padded, size = blocks.pad_to_multiple(seen, 2 ** len(widths))
    picture, restored = padded[..., :channels], padded[..., channels : channels + 1]
    scales = {"widths": widths, "depths": depths, "decoder_depths": decoder_depths}
    middle = _FRAMES // 2
    frames = {middle: _frame(middle, picture, [], scales)}
    for step in range(1, middle + 1):
        for index in (middle - step, middle + step):
            side = range(middle, index, 1 if index > middle else -1)
            frames[index] = _frame(index, picture, [frames[known] for known in side], scales)
    residuals = [frames[index] - restored for index in range(_FRAMES)]
    still = ops.zeros_like(
        ops.concatenate([restored] * (blocks.MOTION_CHANNELS - _FRAMES), axis=-1)
    )
    result = keras.layers.Concatenate(dtype="float32", name="motion")([still, *residuals])
    return keras.Model(seen, blocks.crop_to_size(result, size), name=name)


def _frame(index, picture, known, scales):
    """A frame out of the picture and the frames that are known on the way to the middle."""
    prefix = f"frame{index}_"
    x = ops.concatenate([picture, *known], axis=-1) if known else picture
    x = ops.space_to_depth(x, 2)
    x = keras.layers.Conv2D(scales["widths"][0], 3, padding="same", name=f"{prefix}stem")(x)
    x = blocks.u_shape(x, prefix=prefix, **scales)
    x = ops.depth_to_space(blocks.last_convolution(x, 4, name=f"{prefix}residual"), 2)
    nearest = known[-1] if known else picture[..., :1]
    return keras.layers.Add(dtype="float32", name=f"{prefix}frame")([nearest, x])
