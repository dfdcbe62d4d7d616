"""Count what a network costs: parameters, multiply-accumulate operations, bytes on disk."""

import math
import pathlib
import tempfile

import keras

_COUNTED = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.EinsumDense,
    keras.layers.SeparableConv2D,
)
# Layers with weights whose arithmetic is not counted: a few operations for each value, where a
# convolution takes hundreds.
_UNCOUNTED = (
    keras.layers.BatchNormalization,
    keras.layers.GroupNormalization,
    keras.layers.LayerNormalization,
    keras.layers.PReLU,
)


def count_parameters(model: keras.Model) -> int:
    """Count trainable and frozen parameters."""
    return model.count_params()


def count_macs(model: keras.Model, height: int, width: int) -> int:
    """Count the multiply-accumulate operations for one picture.

    Convolutions, also those by `ops.conv`, and dense layers are counted, each time they are called,
    and nothing else; biases, activations, normalisation and sums are left out, as most papers do.
    One multiply-accumulate is two floating-point operations.

    Args:
        model: Functional `keras.Model` whose inputs are all `(batch, height, width, channels)`.
        height: Height of the picture in pixels.
        width: Width of the picture in pixels.

    Returns:
        Number of operations.

    Raises:
        TypeError: If the model has a layer with weights that this cannot count.
    """
    total = 0

    def count(layer, *args, **kwargs):
        nonlocal total
        outputs = layer(*args, **kwargs)
        if isinstance(layer, keras.Model):
            first, *_ = keras.tree.flatten(args)
            total += count_macs(layer, *first.shape[1:3])
        elif isinstance(layer, keras.Layer) and layer.weights:
            total += _layer_macs(layer, args[0].shape, outputs.shape)
        elif type(layer).__name__ == "Conv" and not isinstance(layer, keras.Layer):
            # `ops.conv`, whose class Keras does not export.
            total += math.prod(outputs.shape) * math.prod(args[1].shape[:-1])
        return outputs

    # A copy on an input of known size: the sizes inside are worked out anew, and the model stays
    # as it was.
    pictures = keras.tree.map_structure(
        lambda given: keras.Input(batch_shape=(1, height, width, given.shape[-1])), model.input
    )
    keras.models.clone_model(model, input_tensors=pictures, call_function=count)
    return total


def _layer_macs(layer, input_shape, output_shape):
    """Operations of one call of a layer on one picture."""
    if isinstance(layer, keras.layers.SpectralNormalization):
        layer = layer.layer
    if isinstance(layer, _UNCOUNTED):
        return 0
    if not isinstance(layer, _COUNTED):
        raise TypeError(
            "Only convolutions, dense layers and normalisation can be counted. "
            f"Received: layer={layer.name!r} of type {type(layer).__name__}. Write its formula "
            "into `networks.summary`."
        )
    # Of a single picture, the first axis too: some layers see its windows there.
    outputs = math.prod(output_shape)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return outputs * math.prod(layer.kernel_size)
    if isinstance(layer, keras.layers.SeparableConv2D):
        positions = math.prod(output_shape[:-1])
        deep = input_shape[-1] * layer.depth_multiplier
        return positions * deep * math.prod(layer.kernel_size) + outputs * deep
    if isinstance(layer, keras.layers.Conv2D):
        return outputs * math.prod(layer.kernel_size) * input_shape[-1] // layer.groups
    if isinstance(layer, keras.layers.Conv2DTranspose):
        return math.prod(input_shape) * math.prod(layer.kernel_size) * output_shape[-1]
    if isinstance(layer, keras.layers.EinsumDense):
        operands, result = layer.equation.split("->")
        letters = operands.split(",")[1]
        summed = [
            size
            for letter, size in zip(letters, layer.kernel.shape, strict=True)
            if letter not in result
        ]
        return outputs * math.prod(summed)
    return outputs * input_shape[-1]


def bytes_on_disk(model: keras.Model) -> int:
    """Size of the `.keras` file that the model is saved to."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "network.keras"
        model.save(path)
        return path.stat().st_size
