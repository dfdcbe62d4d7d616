"""Metrics against numbers worked out by hand, and against scikit-image."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus.metrics import fidelity as metrics


def _pair(height=24, width=20, channels=1, batch=2):
    generator = np.random.default_rng(0)
    first = generator.random((batch, height, width, channels), dtype="float32")
    second = np.clip(first + 0.1 * generator.standard_normal(first.shape), 0, 1).astype("float32")
    return first, second


def test_psnr_by_hand():
    black = np.zeros((2, 4, 4, 1), "float32")
    other = black.copy()
    other[0] = 0.1  # Mean squared error 0.01: 20 dB.
    other[1, 0, 0] = 1.0  # One pixel in 16 wrong by 1: 10 log10(16) dB.
    np.testing.assert_allclose(metrics.psnr(black, other), [20.0, 12.0412], atol=1e-3)


def test_psnr_range():
    black = np.zeros((1, 4, 4, 1), "float32")
    np.testing.assert_allclose(
        metrics.psnr(black, black + 25.5, max_value=255.0), [20.0], atol=1e-4
    )


def test_psnr_has_a_highest_value():
    black = np.zeros((1, 4, 4, 1), "float32")
    found = [metrics.psnr(black, black + error, highest=50.0)[0] for error in (0.0, 1e-3, 0.1)]
    np.testing.assert_allclose(found, [50.0, 50.0, 20.0], atol=1e-4)


def test_psnr_border_and_channel():
    first = np.full((1, 6, 6, 2), 0.5, "float32")
    second = first + np.array([0.1, 0.01], "float32")
    second[:, 0] = second[:, :, -1] = 1.0
    np.testing.assert_allclose(metrics.psnr(first, second, border=1, channel=0), [20], atol=1e-3)
    np.testing.assert_allclose(metrics.psnr(first, second, border=1, channel=1), [40], atol=1e-3)


def test_equal_pictures_have_a_finite_psnr():
    first, _ = _pair()
    np.testing.assert_allclose(metrics.psnr(first, first), [100.0, 100.0], atol=1e-4)


def test_ssim_of_two_greys_by_hand():
    # No contrast: only the luminance term is left, (2 * 0.2 * 0.4 + C1) / (0.04 + 0.16 + C1).
    first, second = np.full((1, 16, 16, 1), 0.2, "float32"), np.full((1, 16, 16, 1), 0.4, "float32")
    np.testing.assert_allclose(metrics.ssim(first, second), [0.1601 / 0.2001], rtol=1e-4)


def test_ssim_of_a_negative_by_hand():
    # x and 1 - x in one window: covariance is minus the variance, and both follow from the weights.
    picture, _ = _pair(11, 11, batch=1)
    negative = 1.0 - picture
    line = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    mean = (weights * picture[0, ..., 0]).sum()
    variance = (weights * (picture[0, ..., 0] - mean) ** 2).sum()
    luminance = (2 * mean * (1 - mean) + 1e-4) / (mean**2 + (1 - mean) ** 2 + 1e-4)
    contrast = (9e-4 - 2 * variance) / (9e-4 + 2 * variance)
    np.testing.assert_allclose(metrics.ssim(picture, negative), [luminance * contrast], rtol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("power", [1, 8], ids=["noise", "lights in the dark"])
def test_ssim_equals_scikit_image(channels, power):
    structural = pytest.importorskip("skimage.metrics").structural_similarity
    # With few lights in the dark, the variance is above the square of the mean.
    first, second = (picture**power for picture in _pair(channels=channels))
    expected = [
        structural(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0,
            channel_axis=-1,
        )
        for a, b in zip(first, second, strict=True)
    ]  # fmt: skip
    np.testing.assert_allclose(metrics.ssim(first, second), expected, atol=1e-5)


def test_ssim_border_and_channel():
    first, second = _pair(30, 30, 2)
    inner, other = first[:, 4:-4, 4:-4, 1:], second[:, 4:-4, 4:-4, 1:]
    expected = metrics.ssim(inner, other)
    np.testing.assert_allclose(metrics.ssim(first, second, border=4, channel=1), expected, 1e-6)
    both = [metrics.ssim(first, second, channel=channel) for channel in (0, 1)]
    np.testing.assert_allclose(metrics.ssim(first, second), np.mean(both, axis=0), rtol=1e-5)


def test_ssim_does_not_depend_on_the_unit():
    first, second = _pair()
    expected = metrics.ssim(first, second)
    np.testing.assert_allclose(
        metrics.ssim(first * 255, second * 255, max_value=255.0), expected, rtol=1e-4
    )


def test_ms_ssim_of_one_scale_is_ssim():
    first, second = _pair(20, 20)
    np.testing.assert_allclose(metrics.ms_ssim(first, second), metrics.ssim(first, second), 1e-5)


def test_ms_ssim_by_its_definition():
    # Two scales fit: contrast of the fine one, everything of the coarse one, weights renormalised.
    first, second = _pair(32, 40)
    halves = [picture.reshape(2, 16, 2, 20, 2, 1).mean(axis=(2, 4)) for picture in (first, second)]
    weights = np.array([0.0448, 0.2856]) / (0.0448 + 0.2856)
    # A picture of equal local means has a luminance term of 1, so SSIM is the contrast term there.
    contrast = _contrast(first, second)
    expected = contrast ** weights[0] * metrics.ssim(*halves) ** weights[1]
    np.testing.assert_allclose(metrics.ms_ssim(first, second), expected, rtol=1e-4)


def _contrast(first, second):
    """Mean contrast and structure term, by sums over explicit windows."""
    line = np.exp(-((np.arange(11) - 5.0) ** 2) / (2 * 1.5**2))
    weights = np.outer(line, line) / line.sum() ** 2
    windows = [
        np.lib.stride_tricks.sliding_window_view(
            picture[..., 0].astype("float64"), (11, 11), (1, 2)
        )
        for picture in (first, second)
    ]
    means = [(window * weights).sum(axis=(-2, -1), keepdims=True) for window in windows]
    centred = [window - mean for window, mean in zip(windows, means, strict=True)]
    variances = sum((weights * window**2).sum(axis=(-2, -1)) for window in centred)
    covariance = (weights * centred[0] * centred[1]).sum(axis=(-2, -1))
    return ((2 * covariance + 9e-4) / (variances + 9e-4)).mean(axis=(1, 2))


def test_ms_ssim_equals_tensorflow_on_five_scales():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("compares with TensorFlow")
    import tensorflow as tf

    first, second = _pair(176, 192, batch=1)
    expected = tf.image.ssim_multiscale(first, second, 1.0).numpy()
    np.testing.assert_allclose(metrics.ms_ssim(first, second), expected, atol=1e-5)


def test_ms_ssim_of_a_negative_is_finite():
    first, _ = _pair(48, 48)
    values = metrics.ms_ssim(first, 1.0 - first)
    assert np.isfinite(values).all() and (values > 0).all() and (values < 0.1).all()


def test_chroma_error_by_hand():
    grey = np.zeros((2, 2, 2, 2), "float32")
    colour = grey.copy()
    colour[0] = (0.3, 0.4)  # Distance 0.5 in chroma, 55 in CIELAB.
    colour[1, 0, 0] = (-1.0, 0.0)  # One pixel in four, 110 units away.
    np.testing.assert_allclose(metrics.chroma_error(grey, colour), [55.0, 27.5], rtol=1e-4)


def test_colorfulness_by_hand():
    picture = np.zeros((2, 2, 2, 3), "float32")
    picture[0, ..., :] = 0.5
    picture[1, 0] = (1.0, 0.0, 0.0)
    # Half red, half black. R - G is 255 or 0: mean 127.5, variance 127.5^2. (R + G) / 2 - B is
    # 127.5 or 0: mean 63.75, variance 63.75^2.
    expected = 1.3 * np.hypot(127.5, 63.75)
    np.testing.assert_allclose(metrics.colorfulness(picture), [0.0, expected], atol=1e-3)


def test_colorfulness_of_two_colours():
    # Half red (255, 0, 0), half blue (0, 0, 255): R - G is 255 and 0, (R + G) / 2 - B is 127.5 and
    # -255, so the deviations are 127.5 and 191.25, the means 127.5 and -63.75.
    picture = np.zeros((1, 2, 4, 3), "float32")
    picture[:, :, :2, 0] = 1.0
    picture[:, :, 2:, 2] = 1.0
    expected = np.hypot(127.5, 191.25) + 0.3 * np.hypot(127.5, 63.75)
    np.testing.assert_allclose(metrics.colorfulness(picture), [expected], rtol=1e-5)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_tensors_in_tensors_out(metric):
    first, second = _pair()
    value = metric(ops.convert_to_tensor(first), ops.convert_to_tensor(second))
    assert not isinstance(value, np.ndarray)
    expected = metric(first, second)
    assert isinstance(expected, np.ndarray) and expected.shape == (2,)
    np.testing.assert_allclose(ops.convert_to_numpy(value), expected, rtol=1e-6)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_pictures_that_cannot_be_compared(metric):
    first, second = _pair()
    with pytest.raises(ValueError, match="same shape"):
        metric(first, second[:, :-1])
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        metric(first[0], second[0])
    with pytest.raises(ValueError, match="border=12"):
        metric(first, second, border=12)
    with pytest.raises(TypeError, match="uint8"):
        metric((first * 255).astype("uint8"), (second * 255).astype("uint8"))


def test_ssim_of_small_pictures():
    first, second = _pair(10, 30)
    with pytest.raises(ValueError, match="at least 11 pixels"):
        metrics.ssim(first, second)


def test_colorfulness_needs_three_channels():
    with pytest.raises(ValueError, match="3"):
        metrics.colorfulness(_pair()[0])


def test_ssim_of_a_wider_range_of_values_is_the_same():
    # So dark that both constants count, of which the range is a factor.
    first = 0.02 * np.random.default_rng(0).random((2, 16, 14, 1), dtype="float32")
    expected = metrics.ssim(first, 0.5 * first)
    found = metrics.ssim(255 * first, 127.5 * first, max_value=255.0)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_arrays_give_an_array_and_a_tensor_among_them_a_tensor():
    picture = np.full((1, 4, 4, 1), 0.5, "float32")
    assert isinstance(metrics.psnr(picture, picture), np.ndarray)
    for pair in (
        (ops.convert_to_tensor(picture), picture),
        (picture, ops.convert_to_tensor(picture)),
    ):
        assert not isinstance(metrics.psnr(*pair), np.ndarray)
