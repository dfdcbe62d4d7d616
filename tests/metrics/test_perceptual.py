import keras
import numpy as np
import pytest

from keras_refocus.metrics import perceptual as perceptual_metrics


def lpips_file(path, **changes):
    """Weights under which a bright picture is one unit vector and a dark one another."""
    arrays = {}
    shapes = {1: (11, 3, 2), 2: (5, 2, 2), 3: (3, 2, 2), 4: (3, 2, 2), 5: (3, 2, 2)}
    for index, (side, inputs, outputs) in shapes.items():
        arrays[f"conv{index}/kernel"] = np.zeros((side, side, inputs, outputs), "float32")
        arrays[f"conv{index}/bias"] = np.zeros(outputs, "float32")
        arrays[f"lin{index}"] = np.array([0.25, 0.5], "float32")
    # The first sees the pixel in its middle: one channel is positive where the other is negative.
    arrays["conv1/kernel"][5, 5, :, 0] = 1.0
    arrays["conv1/kernel"][5, 5, :, 1] = -1.0
    np.savez(path, **arrays | changes)
    return path


def test_lpips_by_hand(tmp_path):
    distance = perceptual_metrics.LPIPS(lpips_file(tmp_path / "lpips.npz"))
    white, black = np.full((64, 80, 3), 255, np.uint8), np.zeros((300, 280, 3), np.uint8)
    # Unit vectors (1, 0) and (0, 1): the squared difference is 1 in both channels. The other
    # layers answer nothing.
    assert distance(white, black) == pytest.approx(0.25 + 0.5, rel=1e-4)
    assert distance(white, white) == 0.0
    assert "256x256" in distance.protocol


def lpips_by_its_definition(pictures, arrays):
    """Zhang et al. 2018 on AlexNet as torchvision has it, by sums over explicit windows."""
    distance = 0.0
    # The mean and deviation of ImageNet's pictures.
    units = [(picture - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225) for picture in pictures]
    for layer, (side, stride, pad) in enumerate(
        [(11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1)], start=1
    ):
        if layer in (2, 3):
            units = [windows(x, 3, 2).max(axis=(-2, -1)) for x in units]
        units = [np.pad(x, ((pad, pad), (pad, pad), (0, 0))) for x in units]
        kernel, bias = arrays[f"conv{layer}/kernel"], arrays[f"conv{layer}/bias"]
        units = [
            np.maximum(np.einsum("hwcij,ijco->hwo", windows(x, side, stride), kernel) + bias, 0)
            for x in units
        ]
        first, second = (x / (np.linalg.norm(x, axis=-1, keepdims=True) + 1e-10) for x in units)
        distance += ((first - second) ** 2 @ arrays[f"lin{layer}"]).mean()
    return distance


def windows(x, side, stride):
    return np.lib.stride_tricks.sliding_window_view(x, (side, side), (0, 1))[::stride, ::stride]


def test_lpips_is_the_papers_definition(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for layer, (side, inputs) in enumerate(zip((11, 5, 3, 3, 3), (3, 4, 5, 4, 3), strict=True), 1):
        outputs = (4, 5, 4, 3, 2)[layer - 1]
        kernel = rng.standard_normal((side, side, inputs, outputs)) / (side * inputs)
        arrays[f"conv{layer}/kernel"] = kernel.astype("float32")
        arrays[f"conv{layer}/bias"] = rng.random(outputs, dtype="float32")
        arrays[f"lin{layer}"] = rng.random(outputs, dtype="float32")
    np.savez(tmp_path / "lpips.npz", **arrays)
    pictures = rng.random((2, 256, 256, 3), dtype="float32")
    found = perceptual_metrics.LPIPS(tmp_path / "lpips.npz")(*pictures)
    assert found == pytest.approx(lpips_by_its_definition(pictures, arrays), rel=1e-4)


def test_lpips_needs_its_weights(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere.npz"):
        perceptual_metrics.LPIPS(tmp_path / "nowhere.npz")
    np.savez(tmp_path / "part.npz", **{"conv1/kernel": np.zeros((11, 11, 3, 2))})
    with pytest.raises(ValueError, match="no 'conv1/bias'"):
        perceptual_metrics.LPIPS(tmp_path / "part.npz")


def test_distance_of_two_gaussians_by_hand():
    # Independent features: means differ by 3 and 0, deviations are 1 and 2, and 2 and 2.
    first = np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, -2.0], [-1.0, 2.0]]) * np.sqrt(3 / 4)
    second = np.array([[2.0, 2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0]]) * np.sqrt(3 / 4)
    second += [3.0, 0.0]
    # 3^2 + (1 - 2)^2 + (2 - 2)^2.
    assert perceptual_metrics.frechet_distance(first, second) == pytest.approx(10.0)
    assert perceptual_metrics.frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_distance_is_the_papers_formula():
    rng = np.random.default_rng(0)
    first = rng.standard_normal((9, 4)) @ rng.standard_normal((4, 4))
    second = rng.standard_normal((7, 4)) + 1.0
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    roots = np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum()
    mean = np.square(first.mean(axis=0) - second.mean(axis=0)).sum()
    expected = mean + np.trace(a) + np.trace(b) - 2.0 * roots
    assert perceptual_metrics.frechet_distance(first, second) == pytest.approx(expected)


def test_distance_needs_two_pictures():
    with pytest.raises(ValueError, match="at least two pictures"):
        perceptual_metrics.frechet_distance(np.zeros((1, 3)), np.zeros((2, 3)))


def test_inception_sees_signed_squares(monkeypatch):
    def tiny(*, include_top, weights, pooling):
        assert not include_top and pooling == "avg" and weights == "some.h5"
        picture = keras.Input((299, 299, 3))
        return keras.Model(picture, keras.layers.GlobalAveragePooling2D()(picture))

    monkeypatch.setattr(keras.applications, "InceptionV3", tiny)
    features = perceptual_metrics.InceptionFeatures("some.h5")
    found = features(np.full((40, 50, 3), (255, 0, 51), np.uint8))
    np.testing.assert_allclose(found, [1.0, -1.0, -0.6], atol=1e-3)
