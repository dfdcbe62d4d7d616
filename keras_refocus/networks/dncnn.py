"""DnCNN: a plain chain of convolutions that predicts the noise of a picture."""

import keras
from keras import ops

from keras_refocus.networks import blocks


def dncnn_generator(
    *, width: int = 64, depth: int = 17, signal: str = "luminance", name: str = "dncnn"
) -> keras.Model:
    """Build DnCNN (Zhang et al. 2017, "Beyond a Gaussian Denoiser").

    c3s1-64 and a ReLU, `depth` - 2 times c3s1-64 and a ReLU, c3s1-1: the noise, which is taken from
    the picture.

    Where we differ: no batch normalisation, whose statistics at inference are part of the
    convolution before it: the same functions, less to compute.

    Args:
        width: Channels inside.
        depth: Number of convolutions.
        signal: What the network sees, see `blocks.from_luminance`; the authors' grey networks see
            `"gray"`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option is not positive, or there is no such signal.
    """
    blocks.check_positive(width=width, depth=depth)
    luminance = blocks.luminance_input()
    x = picture = blocks.from_luminance(luminance, signal)
    for layer in range(depth - 1):
        x = keras.layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"conv{layer}",
        )(x)
    noise = blocks.last_convolution(x, blocks.SIGNALS[signal], name="noise")
    restored = blocks.to_luminance(ops.subtract(picture, noise), signal)
    return keras.Model(luminance, restored, name=name)
