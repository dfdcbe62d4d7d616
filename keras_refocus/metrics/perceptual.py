"""Measures that need the weights of other networks: LPIPS and FID.

Neither is downloaded unasked, and figures of other weights, sizes or numbers of pictures do not
compare; both say what they did.
"""

import os
import pathlib

import cv2
import numpy as np
from keras import ops

from keras_refocus.pictures import color

# Zhang et al. 2018, the code's scaling of pictures in [-1, 1] to what AlexNet was trained on.
_LPIPS_SHIFT = np.array([-0.030, -0.088, -0.188], "float32")
_LPIPS_SCALE = np.array([0.458, 0.448, 0.450], "float32")
_LPIPS_SIZE = 256
# Stride and padding of AlexNet's convolutions; before the second and the third, max pooling.
_ALEXNET = ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))
_POOLED = (1, 2)

_INCEPTION_SIZE = 299


def _square(rgb, size):
    """Resize a picture to a square, floats in [0, 1]; the mean of what a pixel covers."""
    shrinks = size <= min(rgb.shape[:2])
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(color.to_float(rgb), (size, size), interpolation=method).clip(0, 1)


class LPIPS:
    """Learned perceptual distance of pictures (Zhang et al. 2018), version 0.1, AlexNet.

    The weights are those of the authors' package `lpips`, written once with PyTorch:

        import lpips, numpy, torch
        network = lpips.LPIPS(net="alex")
        convolutions = [m for m in network.net.modules() if isinstance(m, torch.nn.Conv2d)]
        arrays = {}
        for index, (convolution, line) in enumerate(zip(convolutions, network.lins), start=1):
            arrays[f"conv{index}/kernel"] = convolution.weight.detach().permute(2, 3, 1, 0).numpy()
            arrays[f"conv{index}/bias"] = convolution.bias.detach().numpy()
            arrays[f"lin{index}"] = line.model[-1].weight.detach().flatten().numpy()
        numpy.savez("lpips_alex.npz", **arrays)

    Args:
        path: Path of that file.

    Raises:
        FileNotFoundError: If it does not exist.
        ValueError: If it lacks an array.
    """

    protocol = f"LPIPS 0.1, AlexNet, pictures resized to {_LPIPS_SIZE}x{_LPIPS_SIZE}"

    def __init__(self, path: str | os.PathLike):
        path = pathlib.Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"The weights of LPIPS must exist. Received: {path}.")
        with np.load(path) as arrays:
            self._layers = []
            for index in range(1, 6):
                names = (f"conv{index}/kernel", f"conv{index}/bias", f"lin{index}")
                missing = [name for name in names if name not in arrays]
                if missing:
                    raise ValueError(
                        "The weights must be made as `perceptual_metrics.LPIPS` describes. "
                        f"Received: {path}, which has no {missing[0]!r}."
                    )
                self._layers.append([arrays[name].astype("float32") for name in names])

    def __call__(self, image_true, image_test):
        """Distance of two pictures `(height, width, 3)`, uint8 or float in [0, 1]; a float."""
        pictures = np.stack([_square(rgb, _LPIPS_SIZE) for rgb in (image_true, image_test)])
        x = ops.convert_to_tensor((2.0 * pictures - 1.0 - _LPIPS_SHIFT) / _LPIPS_SCALE)
        distance = 0.0
        for index, (kernel, bias, line) in enumerate(self._layers):
            if index in _POOLED:
                x = ops.max_pool(x, 3, strides=2, padding="valid")
            stride, pad = _ALEXNET[index]
            x = ops.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
            x = ops.relu(ops.conv(x, kernel, strides=stride, padding="valid") + bias)
            length = ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))
            unit = x / (length + 1e-10)
            difference = ops.square(unit[0] - unit[1])
            distance += ops.mean(ops.sum(difference * line, axis=-1))
        return float(ops.convert_to_numpy(distance))


class InceptionFeatures:
    """Features of InceptionV3 for FID: the mean of its last map, 2,048 numbers.

    Args:
        weights: `"imagenet"`, which Keras downloads, or the path of a weights file of
            `keras.applications.InceptionV3(include_top=False)`.
    """

    protocol = (
        f"InceptionV3 of keras.applications, pictures resized to {_INCEPTION_SIZE}x"
        f"{_INCEPTION_SIZE}; papers use other weights of it and thousands of pictures"
    )

    def __init__(self, weights: str | os.PathLike):
        import keras

        self._network = keras.applications.InceptionV3(
            include_top=False, weights=str(weights), pooling="avg"
        )

    def __call__(self, rgb):
        """Features of a picture `(height, width, 3)`, uint8 or float in [0, 1]; `(2048,)`."""
        picture = 2.0 * _square(rgb, _INCEPTION_SIZE)[np.newaxis] - 1.0
        return ops.convert_to_numpy(self._network(picture, training=False))[0]


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Fréchet distance of two sets of features, taken as Gaussian (Heusel et al. 2017).

    Args:
        first: Array of shape `(pictures, features)`, at least two pictures.
        second: Array of shape `(pictures, features)`.

    Returns:
        float, at least 0 but for rounding.

    Raises:
        ValueError: If a set has fewer than two pictures.
    """
    means, deviations = [], []
    for features in (first, second):
        features = np.asarray(features, "float64")
        if len(features) < 2:
            raise ValueError(
                "The distance of two sets needs at least two pictures in each. "
                f"Received: {len(features)}."
            )
        means.append(features.mean(axis=0))
        deviations.append((features - means[-1]) / np.sqrt(len(features) - 1))
    # The covariances are A'A and B'B; the trace of the root of their product is the sum of the
    # singular values of AB', which is small where there are fewer pictures than features.
    common = np.linalg.svd(deviations[0] @ deviations[1].T, compute_uv=False).sum()
    spread = sum(np.square(deviation).sum() for deviation in deviations)
    return float(np.square(means[0] - means[1]).sum() + spread - 2.0 * common)
