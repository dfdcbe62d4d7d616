"""DMPHN: a hierarchy of networks on halves and quarters of the picture."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks


def _residuals(x, channels, name):
    for block in range(2):
        x = blocks.residual_block(x, channels, name=f"{name}_{block}")
    return x


def _encoder(channels, widths, name, *, as_published):
    x = picture = keras.Input((None, None, channels), dtype="float32")
    for scale, width in enumerate(widths):
        if scale > 0 and as_published:
            x = blocks.halve_centred(x, width, name=f"conv{scale}")
        else:
            strides = 1 if scale == 0 else 2
            x = keras.layers.Conv2D(width, 3, strides=strides, padding="same", name=f"conv{scale}")(
                x
            )
        x = _residuals(x, width, f"residual{scale}")
    return keras.Model(picture, x, name=name)


def _decoder(channels, widths, name, *, as_published, residual=True):
    x = features = keras.Input((None, None, widths[-1]))
    upsample = blocks.upsample_transposed if as_published else blocks.upsample_shuffle
    for scale in reversed(range(len(widths))):
        x = _residuals(x, widths[scale], f"residual{scale}")
        if scale > 0:
            x = upsample(x, widths[scale - 1], name=f"up{scale}")
    x = blocks.last_convolution(x, channels, residual=residual, name="residual")
    return keras.Model(features, x, name=name)


def _halve(x, axis):
    """Put the two halves of every example into the batch."""
    return ops.concatenate(ops.split(x, 2, axis=axis), axis=0)


def _join(x, axis):
    """Undo `_halve`."""
    return ops.concatenate(ops.split(x, 2, axis=0), axis=axis)


def _axis(level):
    """Along which axis the patches of a level are halves of those of the level before."""
    return 1 if level % 2 == 0 else 2


def multipatch_generator(
    *,
    widths: Sequence[int] = (32, 64, 128),
    levels: int = 3,
    stacks: int = 1,
    global_skip: bool = True,
    signal: str = "luminance",
    as_published: bool = False,
    name: str = "multipatch",
) -> keras.Model:
    """Build DMPHN 1-2-4 (Zhang et al. 2019, "Deep Stacked Hierarchical Multi-patch Network").

    Three levels, each an encoder c3s1-32, 2xR32, d64, 2xR64, d128, 2xR128 and a decoder 2xR128,
    u64, 2xR64, u32, 2xR32, c3s1-1. Level 3 encodes the four quarters of the picture; the features
    of neighbours are joined to halves, decoded, and added to the halves that level 2 encodes; its
    features, joined, plus those of level 3, are decoded and added to the picture that level 1
    encodes; its features plus those of level 2 are decoded to the result. Four levels are the
    paper's 1-2-4-8. Stacked, the same is done again to the result, with each level's features added
    to those of the stack before, and the first stack's result to what level 2 decodes.

    Where we differ: one channel in and out; a 1x1 convolution and depth to space instead of
    transposed convolutions; the odd zero of a strided convolution after the picture; a global skip.
    `signal="rgb", as_published=True, global_skip=False` is the authors' network, which paints the
    picture anew.

    The patches meet in the middle of whatever the network is given, so a tile is not restored as it
    would be inside the whole picture.

    Args:
        widths: Channels at full, half and quarter size.
        levels: Number of levels.
        stacks: How often the picture goes through a hierarchy, each with weights of its own.
        global_skip: Whether the result is added to the input.
        signal: What the network sees, see `blocks.from_luminance`.
        as_published: Whether sizes change as in the authors' code: strided convolutions padded
            alike on all sides, transposed convolutions with kernels of 4.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If a width is not positive, or there is no such signal.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths, levels=levels, stacks=stacks)
    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    channels = blocks.SIGNALS[signal]
    # A patch of the deepest level still has to be halved by the encoder.
    multiple = 2 ** (len(widths) - 1 + levels // 2)
    x, size = blocks.pad_to_multiple(picture, multiple)
    # The paper's pictures are in [-0.5, 0.5].
    x = keras.layers.Rescaling(1.0, offset=-0.5, dtype="float32", name="to_centred")(x)

    before, first = {}, None
    for stack in range(stacks):
        prefix = f"stack{stack + 1}_" if stack else ""
        patches = {1: x}
        for level in range(2, levels + 1):
            patches[level] = _halve(patches[level - 1], _axis(level))
        below, decoded = {}, None
        for level in reversed(range(1, levels + 1)):
            seen = patches[level] if decoded is None else ops.add(patches[level], decoded)
            encoder = _encoder(
                channels, widths, f"{prefix}encoder{level}", as_published=as_published
            )
            found = encoder(seen)
            if level < levels:
                # Joined, what lies deeper has the layout of these patches.
                found = ops.add(found, below[level + 1])
            if level > 1:
                found = _join(found, _axis(level))
            if level in before:
                found = ops.add(found, before[level])
            below[level] = found
            decoded = _decoder(
                channels,
                widths,
                f"{prefix}decoder{level}",
                as_published=as_published,
                residual=level > 1 or global_skip,
            )(found)
            if level == 2 and first is not None:
                decoded = ops.add(decoded, first)
        x = ops.add(x, decoded) if global_skip and stack < stacks - 1 else decoded
        first = x if first is None else first
        before = below

    restored = blocks.finish(picture, x, size, global_skip=global_skip, offset=0.5, signal=signal)
    return keras.Model(luminance, restored, name=name)
