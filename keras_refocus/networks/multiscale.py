"""The multi-scale residual network of Nah et al. 2017."""

import keras
from keras import ops

from keras_refocus.networks import blocks


def multiscale_generator(
    *,
    width: int = 64,
    residual_blocks: int = 19,
    kernel_size: int = 5,
    scales: int = 3,
    global_skip: bool = True,
    signal: str = "luminance",
    as_published: bool = False,
    name: str = "multiscale",
) -> keras.Model:
    """Build the multi-scale network (Nah et al. 2017, "Deep Multi-scale Convolutional Neural
    Network for Dynamic Scene Deblurring").

    At each of the scales 1/4, 1/2 and 1 a network of its own: c5s1-64, 19xR64 with 5x5 kernels,
    c5s1-1. The two finer ones see their picture and the result of the scale before, enlarged by
    c5s1-4 and depth to space.

    Where we differ: one channel in and out; scales by 2x2 means; a global skip at each scale.
    `signal="rgb", global_skip=False, as_published=True` is the authors' network, whose scales are a
    Gaussian pyramid. The training compares every scale, as the authors
    do, see `scale_weight` of `DeblurGAN`; what is exported gives the last alone.

    Args:
        width: Channels inside.
        residual_blocks: Residual blocks at each scale.
        kernel_size: Side of the kernels.
        scales: Number of scales.
        global_skip: Whether the result of a scale is added to its picture.
        signal: What the network sees, see `blocks.from_luminance`.
        as_published: Whether the scales are those of the authors' code.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option is not positive, or there is no such signal.
    """
    blocks.check_positive(
        width=width, residual_blocks=residual_blocks, kernel_size=kernel_size, scales=scales
    )
    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    channels = blocks.SIGNALS[signal]
    padded, size = blocks.pad_to_multiple(picture, 2 ** (scales - 1))
    # The paper's pictures are centred on zero.
    padded = keras.layers.Rescaling(1.0, offset=-0.5, dtype="float32", name="to_centred")(padded)
    pictures = [padded]
    for _ in range(scales - 1):
        finer = pictures[-1]
        pictures.append(
            blocks.shrink_gaussian(finer) if as_published else ops.average_pool(finer, 2, strides=2)
        )

    result = None
    for scale in reversed(range(scales)):
        x = pictures[scale]
        if result is not None:
            enlarged = keras.layers.Conv2D(
                4 * channels, kernel_size, padding="same", dtype="float32", name=f"up{scale}"
            )(result)
            x = ops.concatenate([x, ops.depth_to_space(enlarged, 2)], axis=-1)
        x = keras.layers.Conv2D(width, kernel_size, padding="same", name=f"stem{scale}")(x)
        for block in range(residual_blocks):
            x = blocks.residual_block(
                x, width, kernel_size=kernel_size, name=f"residual{scale}_{block}"
            )
        result = blocks.last_convolution(
            x, channels, kernel_size=kernel_size, residual=global_skip, name=f"result{scale}"
        )
        if scale > 0:
            if global_skip:
                result = ops.add(result, pictures[scale])
            if signal == "luminance":
                result = blocks.mark_scale(result, 2**scale, offset=0.5)

    restored = blocks.finish(
        picture, result, size, global_skip=global_skip, offset=0.5, signal=signal
    )
    return keras.Model(luminance, restored, name=name)
