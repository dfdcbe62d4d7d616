"""DMPHN: a hierarchy of networks on halves and quarters of the picture."""

import keras
from keras import ops

from keras_refocus.networks import blocks


def _residuals(x, channels, name):
    for block in range(2):
        x = blocks.residual_block(x, channels, name=f"{name}_{block}")
    return x


def _encoder(widths, name):
    x = picture = keras.Input((None, None, 1), dtype="float32")
    for scale, channels in enumerate(widths):
        x = keras.layers.Conv2D(
            channels, 3, strides=1 if scale == 0 else 2, padding="same", name=f"conv{scale}"
        )(x)
        x = _residuals(x, channels, f"residual{scale}")
    return keras.Model(picture, x, name=name)


def _decoder(widths, name, *, residual=True):
    x = features = keras.Input((None, None, widths[-1]))
    for scale in reversed(range(len(widths))):
        x = _residuals(x, widths[scale], f"residual{scale}")
        if scale > 0:
            x = blocks.upsample_shuffle(x, widths[scale - 1], name=f"up{scale}")
    x = blocks.last_convolution(x, 1, residual=residual, name="residual")
    return keras.Model(features, x, name=name)


def _halve(x, axis):
    """Put the two halves of every example into the batch."""
    return ops.concatenate(ops.split(x, 2, axis=axis), axis=0)


def _join(x, axis):
    """Undo `_halve`."""
    return ops.concatenate(ops.split(x, 2, axis=0), axis=axis)


def multipatch_generator(*, widths=(32, 64, 128), global_skip=True, name="multipatch"):
    """Build DMPHN 1-2-4 (Zhang et al. 2019, "Deep Stacked Hierarchical Multi-patch Network").

    Three levels, each an encoder c3s1-32, 2xR32, d64, 2xR64, d128, 2xR128 and a decoder 2xR128,
    u64, 2xR64, u32, 2xR32, c3s1-1. Level 3 encodes the four quarters of the picture; the features
    of neighbours are joined to halves, decoded, and added to the halves that level 2 encodes; its
    features, joined, plus those of level 3, are decoded and added to the picture that level 1
    encodes; its features plus those of level 2 are decoded to the result.

    Where we differ: one channel in and out; a 1x1 convolution and depth to space instead of
    transposed convolutions; a global skip (`global_skip=False` is the paper's network, which paints
    the picture anew).

    The patches meet in the middle of whatever the network is given, so a tile is not restored as it
    would be inside the whole picture.

    Args:
        widths: Channels at full, half and quarter size.
        global_skip: Whether the result is added to the input.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, not clipped. Any height and width of at least 1.

    Raises:
        ValueError: If a width is not positive.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths)
    picture = blocks.luminance_input()
    # Half of each side still has to be halved by the encoder.
    x, size = blocks.pad_to_multiple(picture, 2 ** len(widths))
    # The paper's pictures are in [-0.5, 0.5].
    x = keras.layers.Rescaling(1.0, offset=-0.5, dtype="float32", name="to_centred")(x)

    halves = _halve(x, axis=1)
    features3 = _join(_encoder(widths, "encoder3")(_halve(halves, axis=2)), axis=2)
    residual3 = _decoder(widths, "decoder3")(features3)
    features2 = _encoder(widths, "encoder2")(ops.add(halves, residual3))
    features2 = ops.add(_join(features2, axis=1), _join(features3, axis=1))
    residual2 = _decoder(widths, "decoder2")(features2)
    features1 = _encoder(widths, "encoder1")(ops.add(x, residual2))
    residual1 = _decoder(widths, "decoder1", residual=global_skip)(ops.add(features1, features2))

    restored = blocks.finish(picture, residual1, size, global_skip=global_skip, offset=0.5)
    return keras.Model(picture, restored, name=name)
