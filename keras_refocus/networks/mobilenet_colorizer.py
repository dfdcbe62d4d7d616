"""Fast colorizer: a MobileNetV2 encoder and a light decoder to chroma at a part of the size."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.networks import backbones, blocks
from keras_refocus.pictures import color_bins

_HEADS = ("bins", "regression")
# What `_smoothed` puts behind the logits, as one layer.
_CHOICE = "choice"
# Variance of luminance in a window above which smoothed shares follow its edges, as in
# `restoration.chroma`; and the share that a class keeps at least.
_EDGE = 1e-3
_LEAST_SHARE = 1e-6
# The layer that divides the logits by the temperature.
_SHARPEN = "sharpen"
# The layer that knows the chroma of the classes.
_COLORS = "colors"
# Last layer of MobileNetV2 at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
_SCALES = (
    "expanded_conv_project_BN",
    "block_2_add",
    "block_5_add",
    "block_12_add",
    "out_relu",
)


def mobilenet_v2_colorizer(
    *,
    weights: str = "imagenet",
    alpha: float = 1.0,
    widths: Sequence[int] = (256, 192, 128, 64, 32),
    depths: Sequence[int] = (1, 1, 1, 1, 1),
    chroma_scale: int = 4,
    head: str = "bins",
    temperature: float = 0.38,
    frozen_scales: int = 0,
    freeze_batch_normalization: bool | None = None,
    name: str = "mobilenet_v2_colorizer",
) -> keras.Model:
    """Build the efficient colorizer.

    What a thing is decides its colour, so most of the work is done at 1/32 and 1/16 of the size, on
    features of a network that knows a thousand things. Bottom: c1s1-256 of the encoder's last map,
    plus a linear map of its mean over the picture (the scene, after Iizuka et al. 2016), and R256.
    Each scale above: c1s1-k, bilinear enlargement, plus c1s1-k of the encoder's map, Rk. `Rk` is
    two 3x3 convolutions around a ReLU with a skip; there is no normalisation in the decoder.

    Head `"regression"`: c3s1-2. Head `"bins"` (Zhang et al. 2016): c1s1-313, logits over the
    quantised colours of `color_bins` (layer `color_logits`), and their annealed mean, the softmax
    at a temperature below 1 times the colours of the bins. It can be trained on the logits, and a
    doubtful colour does not fade to the brown mean of all that it might be.

    Args:
        weights: Weights of the encoder: see `backbones.feature_extractor`.
        alpha: Width multiplier of the encoder; the weights must be made for it.
        widths: Channels of the decoder at 1/32, 1/16, 1/8, 1/4 and 1/2 of the size; the last is
            used only where chroma is predicted at 1/2.
        depths: Number of `R` blocks at each of these scales; 0 leaves a scale with its sum.
        chroma_scale: 4 or 2: chroma is predicted at a quarter or at half of the size.
        head: `"bins"` or `"regression"`.
        temperature: Temperature of the annealed mean, in (0, 1]: 1 is the mean, smaller values
            are more saturated. The paper has 0.38.
        frozen_scales: How many scales of the encoder, finest first, stay as they are: edges are
            edges in colour or without, and their maps are the large ones whose gradients take time.
        freeze_batch_normalization: See `backbones.feature_extractor`.
        name: Name of the model.

    Returns:
        `keras.Model` from luminance `(batch, height, width, 1)` float32 in [0, 1] to chroma
        `(batch, height, width, 2)`, float32 about [-1, 1], not clipped. Any height and width of at
        least 1.

    Raises:
        ValueError: If an option has no meaning.
    """
    widths, depths = tuple(widths), tuple(depths)
    _check(widths, depths, chroma_scale, head, temperature, frozen_scales)

    def to_width(x, width, name):
        return keras.layers.Conv2D(width, 1, name=name)(x)

    picture = blocks.luminance_input()
    x, size = blocks.pad_to_multiple(picture, 32)
    extractor = backbones.feature_extractor(
        "mobilenet_v2",
        _SCALES,
        weights=weights,
        freeze_batch_normalization=freeze_batch_normalization,
        alpha=alpha,
    )
    _freeze(extractor, frozen_scales)
    encoded = extractor(x)

    scene = keras.layers.GlobalAveragePooling2D(keepdims=True, name="scene_mean")(encoded[4])
    scene = to_width(scene, widths[0], "scene")
    x = to_width(encoded[4], widths[0], "bottom")
    x = keras.layers.Add(name="bottom_add")([x, scene])
    scales = range(5 if chroma_scale == 2 else 4)
    for scale in scales:
        if scale > 0:
            x = blocks.enlarge_bilinear(to_width(x, widths[scale], f"up{scale}"))
            side = to_width(encoded[4 - scale], widths[scale], f"lateral{scale}")
            x = keras.layers.Add(name=f"lateral{scale}_add")([x, side])
        for block in range(depths[scale]):
            x = blocks.residual_block(x, widths[scale], name=f"decoder{scale}_{block}")
    x = keras.layers.ReLU(name="features")(x)

    if head == "bins":
        x = keras.layers.Conv2D(color_bins.COUNT, 1, dtype="float32", name=color_bins.LOGITS)(x)
        x = _choose(x, temperature)
    else:
        x = blocks.last_convolution(x, 2, name="small_chroma")
    for _ in range(chroma_scale // 2):
        x = blocks.enlarge_bilinear(x)
    return keras.Model(picture, blocks.crop_to_size(x, size), name=name)


def tune_colors(
    model: keras.Model,
    *,
    temperature: float | None = None,
    gain: float | None = None,
    smoothing: float | None = None,
    several_views: bool = False,
) -> keras.Model:
    """Choose how much colour a trained colorizer gives, and how even.

    None of these is trained: they are chosen afterwards. More colour is more wrong colour, too.

    Args:
        model: Colorizer with the head `"bins"`. It shares its weights with the one returned.
        temperature: See `mobilenet_v2_colorizer`; `None` keeps it.
        gain: Factor on the chroma of every class, above 0; `None` keeps it.
        smoothing: Radius in pixels of the predicted chroma, of windows in which the shares of the
            classes are evened out before one of them wins; edges of luminance are kept. A plain
            surface for which two colours are likely takes one of them then, not patches of both.
            0 or `None`: as the network was built.
        several_views: Take the mean of the shares over the picture, its mirror image, and both at
            three quarters of the size: what the network says of all of them is more often right,
            and takes three times as long. The signature of shares (`saved_model`) stays that of
            the picture alone.

    Returns:
        The network to use: `model` itself, changed, or another where `smoothing` or
        `several_views` is given.

    Raises:
        ValueError: If the network has no such head, or a value has no meaning.
    """
    if temperature is None and gain is None and smoothing is None and not several_views:
        return model
    layers = {layer.name: layer for layer in model.layers}
    if _CHOICE in layers:
        layers |= {layer.name: layer for layer in layers[_CHOICE].layers}
    if _SHARPEN not in layers or _COLORS not in layers:
        raise ValueError(
            "Temperature, gain, smoothing and views are for colorizers that predict a distribution "
            f"over colours (head 'bins'). Received: temperature={temperature}, gain={gain}, "
            f"smoothing={smoothing}, several_views={several_views} for {model.name!r}. Leave them "
            "out."
        )
    if temperature is not None:
        _check_temperature(temperature)
        layers[_SHARPEN].scale = 1.0 / temperature
    if gain is not None:
        if not gain > 0.0:
            raise ValueError(f"`gain` must be above 0. Received: gain={gain}.")
        layers[_COLORS].set_weights([_color_kernel() * np.float32(gain)])
    if smoothing is not None:
        _check_smoothing(smoothing)
    if not smoothing and not several_views:
        return model
    return _chosen_anew(model, layers, smoothing, several_views)


def _chosen_anew(model, layers, radius, several_views):
    """The same network with another choice; it has the same weights in the same order."""
    # A network of its own: names of operations that were loaded may return in new ones.
    picture, logits = blocks.luminance_input(), keras.Input((None, None, color_bins.COUNT))
    padded, size = blocks.pad_to_multiple(picture, 32)
    # The finest scale of the decoder is there only where chroma is predicted at a half.
    chroma_scale = 2 if "lateral4" in layers else 4
    shares = ops.softmax(logits, axis=-1)
    if radius:
        guide = ops.average_pool(padded, chroma_scale, chroma_scale)
        shares = _even_out(shares, guide, radius)
    x = _choose(
        ops.log(ops.maximum(shares, _LEAST_SHARE)),
        temperature=1.0 / layers[_SHARPEN].scale,
        kernel=layers[_COLORS].get_weights()[0],
    )
    for _ in range(chroma_scale // 2):
        x = blocks.enlarge_bilinear(x)
    choice = keras.Model([picture, logits], blocks.crop_to_size(x, size), name=_CHOICE)
    found = layers[color_bins.LOGITS].output
    if several_views:
        found = MeanOfViews(keras.Model(model.input, found))([model.input, found])
    return keras.Model(model.input, choice([model.input, found]), name=model.name)


@keras.saving.register_keras_serializable(package="keras_refocus")
class MeanOfViews(keras.layers.Layer):
    """Mean of shares over a picture, its mirror image, and both at three quarters of the size.

    Args:
        network: `keras.Model` from luminance (batch, height, width, 1) to logits.
    """

    # Three quarters of these are multiples of what the network pads to.
    _MULTIPLE = 128

    def __init__(self, network: keras.Model, *, name: str = "views", **options: Any):
        super().__init__(name=name, **options)
        self.network = network

    def call(self, inputs: Sequence[Any]) -> Any:
        """From luminance and its logits to the logarithm of the mean shares, as of the logits."""
        picture, logits = inputs
        padded, _ = blocks.pad_to_multiple(picture, self._MULTIPLE)
        count, height, width = (ops.shape(padded)[axis] for axis in range(3))
        small = _resized(padded, height * 3 // 4, width * 3 // 4)
        total = _mirrored(self._shares(_mirrored(padded)))
        both = self._shares(ops.concatenate([small, _mirrored(small)], axis=0))
        both = both[:count] + _mirrored(both[count:])
        total = total + _resized(both, ops.shape(total)[1], ops.shape(total)[2])
        total = total[:, : ops.shape(logits)[1], : ops.shape(logits)[2]]
        mean = (total + ops.softmax(logits, axis=-1)) / 4.0
        return ops.log(ops.maximum(mean, _LEAST_SHARE))

    def _shares(self, picture):
        return ops.softmax(self.network(picture), axis=-1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[1]

    def get_config(self) -> dict[str, Any]:
        network = keras.saving.serialize_keras_object(self.network)
        return super().get_config() | {"network": network}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MeanOfViews":
        options = dict(config)
        return cls(keras.saving.deserialize_keras_object(options.pop("network")), **options)


def _mirrored(x):
    return ops.flip(x, axis=2)


def _resized(x, height, width):
    """Bilinear; `ops.image.resize` wants to know sizes before there is a batch."""
    for axis, size in ((1, height), (2, width)):
        last = ops.shape(x)[axis] - 1
        places = ops.cast(ops.arange(size), "float32") + 0.5
        places = places * (ops.cast(last + 1, "float32") / ops.cast(size, "float32")) - 0.5
        lower = ops.floor(ops.maximum(places, 0.0))
        share = ops.reshape(ops.maximum(places, 0.0) - lower, (-1,) + (1,) * (3 - axis))
        lower = ops.cast(lower, "int32")
        upper = ops.minimum(lower + 1, last)
        x = ops.take(x, lower, axis) * (1.0 - share) + ops.take(x, upper, axis) * share
    return x


def _choose(logits, temperature, *, kernel=None):
    """Annealed mean of the classes, at the size of the logits."""
    x = keras.layers.Rescaling(1.0 / temperature, dtype="float32", name=_SHARPEN)(logits)
    x = keras.layers.Softmax(dtype="float32", name="shares")(x)
    colors = keras.layers.Conv2D(
        2, 1, use_bias=False, trainable=False, dtype="float32", name=_COLORS
    )
    x = colors(x)
    colors.set_weights([_color_kernel() if kernel is None else kernel])
    return x


def _even_out(x, guide, radius):
    """Guided filter (He et al. 2010) in which flat windows count for more, as in `chroma`."""

    def mean(plane):
        return blocks.local_mean(plane, 2 * radius + 1)

    mean_guide, mean_x = mean(guide), mean(x)
    flatness = 1.0 / (mean(guide * guide) - mean_guide * mean_guide + _EDGE)
    slope = (mean(guide * x) - mean_guide * mean_x) * flatness
    offset = mean_x - slope * mean_guide
    return (mean(flatness * slope) * guide + mean(flatness * offset)) / mean(flatness)


def _color_kernel():
    """Kernel from shares of the classes to chroma."""
    return color_bins.centers()[np.newaxis, np.newaxis]


def _check_temperature(temperature):
    if not 0.0 < temperature <= 1.0:
        raise ValueError(f"`temperature` must be in (0, 1]. Received: temperature={temperature}.")


def _check_smoothing(smoothing):
    if isinstance(smoothing, bool) or not isinstance(smoothing, int) or smoothing < 0:
        raise ValueError(
            "`smoothing` must be a radius in whole pixels, 0 for none. "
            f"Received: smoothing={smoothing!r}."
        )


def _check(widths, depths, chroma_scale, head, temperature, frozen_scales):
    blocks.check_positive(widths=widths)
    if len(widths) != 5 or len(depths) != 5 or any(depth < 0 for depth in depths):
        raise ValueError(
            "`widths` and `depths` must have one entry for each of five scales, depths of at least "
            f"0. Received: widths={widths}, depths={depths}."
        )
    if chroma_scale not in (2, 4):
        raise ValueError(f"`chroma_scale` must be 2 or 4. Received: chroma_scale={chroma_scale}.")
    if head not in _HEADS:
        raise ValueError(f"`head` must be one of {_HEADS}. Received: head={head!r}.")
    _check_temperature(temperature)
    if frozen_scales not in range(6):
        raise ValueError(
            f"`frozen_scales` must be 0 to 5. Received: frozen_scales={frozen_scales}."
        )


def _freeze(extractor, scales):
    """Make the layers of the finest scales of an encoder untrainable."""
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    last = _SCALES[scales - 1] if scales else None
    for layer in trunk.layers if last else ():
        layer.trainable = False
        if layer.name == last:
            break
