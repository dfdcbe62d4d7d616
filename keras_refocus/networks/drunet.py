"""DRUNet: a U-Net of residual blocks that is told how noisy the picture is."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks
from keras_refocus.pictures import color


def drunet_generator(
    *,
    widths: Sequence[int] = (64, 128, 256, 512),
    depth: int = 4,
    noise: float = 15.0,
    use_bias: bool = False,
    signal: str = "luminance",
    name: str = "drunet",
) -> keras.Model:
    """Build DRUNet (Zhang et al. 2021, "Plug-and-Play Image Restoration with Deep Denoiser Prior").

    c3s1-64; at three scales 4xR64 and a 2x2 convolution of stride 2; 4xR512; at three scales the
    map of the way down added, a 2x2 transposed convolution of stride 2 and 4xR; c3s1-1, no global
    skip. Beside the picture it sees a map of the noise level, here one number.

    Args:
        widths: Channels per scale, from fine to coarse.
        depth: Residual blocks per scale.
        noise: Standard deviation of the noise, of 255: how much to remove.
        use_bias: Whether convolutions have one; the authors' have none.
        signal: What the network sees, see `blocks.from_luminance`; the authors' grey network sees
            `"gray"`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option is not positive, the noise not between 0 and 255, or there is no
            such signal.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths, depth=depth)
    if not 0.0 <= noise <= color.EIGHT_BIT:
        raise ValueError(f"`noise` must be in [0, 255]. Received: noise={noise}.")

    def residuals(x, channels, name):
        for block in range(depth):
            y = keras.layers.Conv2D(
                channels,
                3,
                padding="same",
                activation="relu",
                use_bias=use_bias,
                name=f"{name}_{block}_conv1",
            )(x)
            y = keras.layers.Conv2D(
                channels, 3, padding="same", use_bias=use_bias, name=f"{name}_{block}_conv2"
            )(y)
            x = ops.add(x, y)
        return x

    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    x, size = blocks.pad_to_multiple(picture, 2 ** (len(widths) - 1))
    # The level has the scale of the picture.
    level = ops.full_like(x[..., :1], noise / color.EIGHT_BIT)
    x = ops.concatenate([x, level], axis=-1)
    x = keras.layers.Conv2D(widths[0], 3, padding="same", use_bias=use_bias, name="head")(x)
    maps = [x]
    for scale, (width, coarser) in enumerate(zip(widths, widths[1:], strict=False)):
        x = residuals(x, width, f"encoder{scale}")
        x = keras.layers.Conv2D(coarser, 2, strides=2, use_bias=use_bias, name=f"down{scale}")(x)
        maps.append(x)
    x = residuals(x, widths[-1], "middle")
    for scale in reversed(range(len(widths) - 1)):
        x = blocks.upsample_transposed(
            ops.add(x, maps[scale + 1]),
            widths[scale],
            kernel_size=2,
            use_bias=use_bias,
            name=f"up{scale}",
        )
        x = residuals(x, widths[scale], f"decoder{scale}")
    result = keras.layers.Conv2D(
        blocks.SIGNALS[signal],
        3,
        padding="same",
        use_bias=use_bias,
        dtype="float32",
        name="tail",
    )(ops.add(x, maps[0]))
    restored = blocks.finish(picture, result, size, global_skip=False, signal=signal)
    return keras.Model(luminance, restored, name=name)
