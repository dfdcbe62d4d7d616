"""Measures of restored pictures: PSNR, SSIM, multi-scale SSIM, chroma error, colourfulness.

Pictures are `(batch, height, width, channels)`; every function returns one value for each example.
Numpy arrays in give a numpy array out; tensors give a tensor and may be differentiated.
"""

import numpy as np
from keras import ops

from keras_refocus.pictures import color
from keras_refocus.pictures.color import Tensor

# Wang et al. 2004: an 11x11 Gaussian window of sigma 1.5 pixels, K1 = 0.01, K2 = 0.03.
_WINDOW = 11
_SIGMA = 1.5
_K1 = 0.01
_K2 = 0.03
# Wang et al. 2003, section 3.2: exponents of the five scales, fine to coarse.
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# PSNR of equal pictures is infinite; a cap keeps means over pictures finite.
HIGHEST_PSNR = 100.0  # decibels, of equal pictures
# Under a root whose argument can be 0, where its derivative would be infinite.
_ROOT_EPSILON = 1e-12


def _prepare(image_true, image_test, border, channel):
    """Check a pair, cut the border, choose the channel; float32 tensors."""
    numpy = isinstance(image_true, np.ndarray) and isinstance(image_test, np.ndarray)
    for picture in (image_true, image_test):
        if isinstance(picture, np.ndarray) and not np.issubdtype(picture.dtype, np.floating):
            raise TypeError(
                f"Pictures must be floating point. Received: dtype={picture.dtype}. "
                "Convert integers with `color.to_float` first."
            )
    image_true = ops.cast(image_true, "float32")
    image_test = ops.cast(image_test, "float32")
    if len(image_true.shape) != 4 or len(image_test.shape) != 4:
        raise ValueError(
            "Pictures must have shape (batch, height, width, channels). "
            f"Received: shapes {tuple(image_true.shape)} and {tuple(image_test.shape)}."
        )
    if any(
        a is not None and b is not None and a != b
        for a, b in zip(image_true.shape, image_test.shape, strict=True)
    ):
        raise ValueError(
            "Both pictures must have the same shape. "
            f"Received: shapes {tuple(image_true.shape)} and {tuple(image_test.shape)}."
        )
    if border < 0 or any(
        side is not None and side <= 2 * border
        for side in (image_true.shape[1], image_true.shape[2])
    ):
        raise ValueError(
            "`border` must leave pixels to compare. "
            f"Received: border={border} for shape {tuple(image_true.shape)}."
        )
    if border:
        image_true = image_true[:, border:-border, border:-border]
        image_test = image_test[:, border:-border, border:-border]
    if channel is not None:
        image_true = image_true[..., channel : channel + 1]
        image_test = image_test[..., channel : channel + 1]
    return image_true, image_test, numpy


def _finish(values, numpy):
    return ops.convert_to_numpy(values) if numpy else values


def psnr(
    image_true: Tensor,
    image_test: Tensor,
    *,
    max_value: float = 1.0,
    border: int = 0,
    channel: int | None = None,
    highest: float = HIGHEST_PSNR,
) -> Tensor:
    """Peak signal-to-noise ratio in decibels, over all pixels and channels of a picture.

    Args:
        image_true: Floating-point pictures `(batch, height, width, channels)`.
        image_test: Pictures of the same shape.
        max_value: Width of the range of values: 1 for [0, 1].
        border: Pixels left out on each side.
        channel: Index of the only channel to compare; `None` compares all.
        highest: Value of equal pictures, and of all that would be above it.

    Returns:
        Shape `(batch,)`, at most `highest`.

    Raises:
        TypeError: If an array is of integers.
        ValueError: If the shapes differ, or nothing is left inside the border.
    """
    image_true, image_test, numpy = _prepare(image_true, image_test, border, channel)
    errors = ops.mean(ops.square((image_true - image_test) / max_value), axis=(1, 2, 3))
    values = -10.0 * ops.log10(ops.maximum(errors, 10.0 ** (-highest / 10.0)))
    return _finish(values, numpy)


def _gaussian(sigma, size):
    positions = np.arange(size) - (size - 1) / 2
    weights = np.exp(-(positions**2) / (2 * sigma**2))
    return (weights / weights.sum()).astype("float32")


def _window_means(planes):
    """Gaussian mean over each window that lies inside; planes `(n, height, width, 1)`."""
    weights = _gaussian(_SIGMA, _WINDOW)
    planes = ops.conv(planes, ops.reshape(weights, (_WINDOW, 1, 1, 1)), padding="valid")
    return ops.conv(planes, ops.reshape(weights, (1, _WINDOW, 1, 1)), padding="valid")


def _similarity(x, y, max_value):
    """Mean over windows of SSIM and of its contrast-structure part, each `(batch, channels)`."""
    channels = x.shape[-1]
    size = (x.shape[1], x.shape[2])
    if any(side is not None and side < _WINDOW for side in size):
        raise ValueError(
            f"SSIM needs sides of at least {_WINDOW} pixels inside the border. "
            f"Received: height={size[0]}, width={size[1]}. Use larger pictures."
        )
    c1, c2 = (_K1 * max_value) ** 2, (_K2 * max_value) ** 2
    # Each channel is a picture of its own. All five means in one convolution.
    products = (x, y, x * x, y * y, x * y)
    planes = ops.concatenate(
        [product[..., c : c + 1] for product in products for c in range(channels)], axis=0
    )
    means = ops.split(_window_means(planes), 5 * channels, axis=0)
    similarities, contrasts = [], []
    for c in range(channels):
        mean1, mean2, square1, square2, product = means[c::channels]
        variances = square1 - mean1**2 + square2 - mean2**2
        covariance = product - mean1 * mean2
        contrast = (2.0 * covariance + c2) / (variances + c2)
        luminance = (2.0 * mean1 * mean2 + c1) / (mean1**2 + mean2**2 + c1)
        similarities.append(ops.mean(luminance * contrast, axis=(1, 2, 3)))
        contrasts.append(ops.mean(contrast, axis=(1, 2, 3)))
    return ops.stack(similarities, axis=1), ops.stack(contrasts, axis=1)


def ssim(
    image_true: Tensor,
    image_test: Tensor,
    *,
    max_value: float = 1.0,
    border: int = 0,
    channel: int | None = None,
) -> Tensor:
    """Structural similarity (Wang et al. 2004), the mean over windows and channels.

    An 11x11 Gaussian window of sigma 1.5 pixels, K1 = 0.01, K2 = 0.03, weighted population
    variances, only windows inside the picture: equal to `tf.image.ssim`, and to
    `skimage.metrics.structural_similarity(gaussian_weights=True, use_sample_covariance=False)`.

    Args:
        image_true: Floating-point pictures `(batch, height, width, channels)`.
        image_test: Pictures of the same shape.
        max_value: Width of the range of values: 1 for [0, 1].
        border: Pixels left out on each side.
        channel: Index of the only channel to compare; `None` averages over all.

    Returns:
        Shape `(batch,)`, at most 1.

    Raises:
        TypeError: If an array is of integers.
        ValueError: If the shapes differ, or a side inside the border is under 11 pixels.
    """
    image_true, image_test, numpy = _prepare(image_true, image_test, border, channel)
    similarity, _ = _similarity(image_true, image_test, max_value)
    return _finish(ops.mean(similarity, axis=1), numpy)


def ms_ssim(
    image_true: Tensor,
    image_test: Tensor,
    *,
    max_value: float = 1.0,
    border: int = 0,
    channel: int | None = None,
) -> Tensor:
    """Multi-scale SSIM (Wang et al. 2003), the mean over channels.

    Five scales need sides of 176 pixels. Smaller pictures use as many scales as fit, with the
    weights of those scales divided by their sum; halving drops an odd last row or column. Negative
    contrast terms count as 1e-6, so that their powers and the derivatives of these are finite.

    Args:
        image_true: Floating-point pictures `(batch, height, width, channels)`, of known size.
        image_test: Pictures of the same shape.
        max_value: Width of the range of values: 1 for [0, 1].
        border: Pixels left out on each side.
        channel: Index of the only channel to compare; `None` averages over all.

    Returns:
        Shape `(batch,)`, in (0, 1].

    Raises:
        TypeError: If an array is of integers.
        ValueError: If the shapes differ, a side inside the border is under 11 pixels, or the size
            is not known when the graph is built.
    """
    image_true, image_test, numpy = _prepare(image_true, image_test, border, channel)
    side = min((side for side in image_true.shape[1:3] if side is not None), default=None)
    if None in tuple(image_true.shape[1:3]):
        raise ValueError(
            "Multi-scale SSIM needs pictures whose size is known when the graph is built. "
            f"Received: shape {tuple(image_true.shape)}. Use patches of one size, or `ssim`."
        )
    scales = 1
    while scales < len(_SCALE_WEIGHTS) and side // 2**scales >= _WINDOW:
        scales += 1
    weights = np.array(_SCALE_WEIGHTS[:scales], "float32")
    if scales < len(_SCALE_WEIGHTS):
        weights /= weights.sum()
    terms = []
    for scale in range(scales):
        if scale > 0:
            image_true, image_test = (
                ops.average_pool(picture, 2, strides=2, padding="valid")
                for picture in (image_true, image_test)
            )
        similarity, contrast = _similarity(image_true, image_test, max_value)
        term = similarity if scale == scales - 1 else contrast
        terms.append(ops.maximum(term, 1e-6) ** weights[scale])
    values = ops.mean(ops.prod(ops.stack(terms, axis=0), axis=0), axis=1)
    return _finish(values, numpy)


def chroma_error(image_true: Tensor, image_test: Tensor, *, border: int = 0) -> Tensor:
    """Mean Euclidean distance of colours in the a*b* plane, in CIELAB units.

    Args:
        image_true: Chroma `(batch, height, width, 2)`, float in [-1, 1].
        image_test: Chroma of the same shape.
        border: Pixels left out on each side.

    Returns:
        Shape `(batch,)`, at least 0.

    Raises:
        TypeError: If an array is of integers.
        ValueError: If the shapes differ, or nothing is left inside the border.
    """
    image_true, image_test, numpy = _prepare(image_true, image_test, border, None)
    distances = ops.sqrt(ops.sum(ops.square(image_true - image_test), axis=-1) + _ROOT_EPSILON)
    return _finish(color.LAB_PER_CHROMA * ops.mean(distances, axis=(1, 2)), numpy)


def colorfulness(rgb: Tensor) -> Tensor:
    """Measure how colourful pictures are: 0 for grey, about 15 slightly, 45 quite, 80 very.

    Reference: Hasler and Suesstrunk, Measuring colourfulness in natural images, 2003; with R, G
    and B in 0..255 as there.

    Args:
        rgb: Pictures `(batch, height, width, 3)`, floating point in [0, 1].

    Returns:
        Shape `(batch,)`. The derivative is finite everywhere.

    Raises:
        TypeError: If an array is of integers.
        ValueError: If the shape is another.
    """
    rgb, _, numpy = _prepare(rgb, rgb, 0, None)
    if rgb.shape[-1] != 3:
        raise ValueError(
            "Pictures must have shape (batch, height, width, 3). "
            f"Received: shape {tuple(rgb.shape)}."
        )
    red, green, blue = (color.EIGHT_BIT * rgb[..., band] for band in range(3))
    opponents = ops.stack([red - green, 0.5 * (red + green) - blue], axis=-1)
    means = ops.mean(opponents, axis=(1, 2))
    variances = ops.mean(ops.square(opponents - means[:, None, None]), axis=(1, 2))
    spread, offset = (
        ops.sqrt(ops.sum(values, axis=-1) + _ROOT_EPSILON) for values in (variances, means**2)
    )
    return _finish(spread + 0.3 * offset, numpy)
