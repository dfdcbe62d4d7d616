"""SRN: one encoder and decoder run over three scales, coarse to fine."""

from collections.abc import Sequence

import keras
from keras import ops

from keras_refocus.networks import blocks


class _SharedLayers:
    """The layers of one scale, made once and called at every scale."""

    def __init__(self, widths, depth, kernel_size, global_skip, channels, as_published):
        self._channels = channels
        self._as_published = as_published
        self._widths = widths
        self._depth = depth
        self._kernel_size = kernel_size
        self._global_skip = global_skip
        self._layers = {}

    def convolution(self, x, channels, name, *, kernel_size=None, strides=1, relu=True, **options):
        if name not in self._layers:
            self._layers[name] = keras.layers.Conv2D(
                channels,
                kernel_size or self._kernel_size,
                strides=strides,
                padding="same",
                activation="relu" if relu else None,
                name=name,
                **options,
            )
        return self._layers[name](x)

    def residuals(self, x, channels, name):
        for block in range(self._depth):
            y = self.convolution(x, channels, f"{name}_{block}_conv1")
            y = self.convolution(
                y,
                channels,
                f"{name}_{block}_conv2",
                relu=False,
                # See `blocks.residual_block`.
                kernel_initializer=keras.initializers.VarianceScaling(0.1),
            )
            x = ops.add(x, y)
        return x

    def encode(self, x):
        """Feature maps at full, half and quarter size."""
        maps = []
        for scale, channels in enumerate(self._widths):
            strides = 1 if scale == 0 else 2
            x = self.convolution(x, channels, f"encoder{scale}", strides=strides)
            x = self.residuals(x, channels, f"encoder{scale}")
            maps.append(x)
        return maps

    def remember(self, x, state):
        """One step of a convolutional LSTM; `state` is `(memory, hidden)`."""
        memory, hidden = state
        gates = self.convolution(
            ops.concatenate([x, hidden], axis=-1),
            4 * self._widths[-1],
            "lstm",
            kernel_size=3,
            relu=False,
            # The paper's code; with large kernels the gates would start saturated.
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=1e-3),
        )
        enter, new, forget, leave = ops.split(gates, 4, axis=-1)
        memory = ops.add(
            ops.multiply(memory, ops.sigmoid(ops.add(forget, 1.0))),
            ops.multiply(ops.sigmoid(enter), ops.tanh(new)),
        )
        return memory, ops.multiply(ops.tanh(memory), ops.sigmoid(leave))

    def double(self, x, scale):
        channels, name = self._widths[scale - 1], f"up{scale}"
        if not self._as_published:
            return ops.depth_to_space(self.convolution(x, 4 * channels, name, kernel_size=1), 2)
        if name not in self._layers:
            self._layers[name] = keras.layers.Conv2DTranspose(
                channels, 4, strides=2, padding="same", activation="relu", name=name
            )
        return self._layers[name](x)

    def decode(self, x, maps):
        for scale in reversed(range(len(self._widths))):
            x = self.residuals(x, self._widths[scale], f"decoder{scale}")
            if scale > 0:
                x = ops.add(self.double(x, scale), maps[scale - 1])
        return self.convolution(
            x,
            self._channels,
            "residual",
            relu=False,
            kernel_initializer="zeros" if self._global_skip else "glorot_uniform",
            dtype="float32",
        )


def scale_recurrent_generator(
    *,
    widths: Sequence[int] = (32, 64, 128),
    depth: int = 3,
    kernel_size: int = 5,
    scales: int = 3,
    recurrent: bool = True,
    global_skip: bool = True,
    signal: str = "luminance",
    as_published: bool = False,
    name: str = "scale_recurrent",
) -> keras.Model:
    """Build the scale-recurrent network SRN-DeblurNet (Tao et al. 2018).

    The same encoder c5s1-32, 3xR32, d64, 3xR64, d128, 3xR128, convolutional LSTM, and decoder
    3xR128, u64, 3xR64, u32, 3xR32, c5s1-1 (with the encoder's maps added after each u) run on the
    picture at 1/4, 1/2 and full size. At each scale they see the picture and the enlarged result of
    the scale before; the LSTM's state is enlarged and handed on. All kernels are 5x5.

    Where we differ: one channel in and out; a 1x1 convolution and depth to space instead of
    transposed convolutions; scales by 2x2 means and bilinear enlargement; a global skip at each
    scale; the gradient flows through the results of the scales before, where the authors stop it.
    `global_skip=False, as_published=True` is the authors' network, whose `signal` is `"gray"` or,
    for the one they call color, `"rgb"`: its smaller pictures are every second pixel, and between
    the pixels of a smaller result lie means, as TensorFlow 1 resized. The training compares every
    scale, as they do, see `scale_weight` of `DeblurGAN`; what is exported gives the last alone.

    Args:
        widths: Channels at full, half and quarter size of a scale.
        depth: Residual blocks at each of them.
        kernel_size: Side of the kernels.
        scales: Number of scales.
        recurrent: Whether the LSTM is there; the authors' best published colour model is without.
        global_skip: Whether the result of a scale is added to its picture.
        signal: What the network sees, see `blocks.from_luminance`.
        as_published: Whether sizes change as in the authors' code.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to restored
        luminance of the same shape, clipped only where `signal` is sRGB. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option is not positive, or there is no such signal.
    """
    widths = tuple(widths)
    blocks.check_positive(widths=widths, depth=depth, kernel_size=kernel_size, scales=scales)
    luminance = blocks.luminance_input()
    picture = blocks.from_luminance(luminance, signal)
    padded, size = blocks.pad_to_multiple(picture, 2 ** (scales - 1 + len(widths) - 1))
    shared = _SharedLayers(
        widths, depth, kernel_size, global_skip, blocks.SIGNALS[signal], as_published
    )
    enlarge = blocks.enlarge_from_corner if as_published else blocks.enlarge_bilinear

    pictures = [padded]
    for _ in range(scales - 1):
        finer = pictures[-1]
        pictures.append(
            blocks.every_second(finer) if as_published else ops.average_pool(finer, 2, strides=2)
        )
    result, state = pictures[-1], None
    for scale in reversed(range(scales)):
        if scale < scales - 1:
            result = enlarge(result)
        maps = shared.encode(ops.concatenate([pictures[scale], result], axis=-1))
        x = maps[-1]
        if recurrent:
            if state is None:
                state = (ops.zeros_like(x), ops.zeros_like(x))
            else:
                state = tuple(enlarge(part) for part in state)
            state = shared.remember(x, state)
            x = state[1]
        result = shared.decode(x, maps)
        if scale > 0:
            if global_skip:
                result = ops.add(result, pictures[scale])
            if signal == "luminance":
                result = blocks.mark_scale(result, 2**scale)

    restored = blocks.finish(picture, result, size, global_skip=global_skip, signal=signal)
    return keras.Model(luminance, restored, name=name)
