"""Each loss against numbers worked out by hand."""

import functools
import math

import keras
import numpy as np
import pytest
from keras import ops

from keras_refocus.metrics import fidelity
from keras_refocus.networks import backbones
from keras_refocus.pictures import color, color_bins
from keras_refocus.training import gan, losses

# One 2x2 picture: differences 0.3, -0.4, 0, 0.
SHARP = np.zeros((1, 2, 2, 1), "float32")
RESTORED = np.array([0.3, -0.4, 0.0, 0.0], "float32").reshape(1, 2, 2, 1)


def _value(tensor):
    return float(ops.convert_to_numpy(tensor))


def _tensor(*values):
    return ops.convert_to_tensor(np.array(values, "float32").reshape(-1, 1, 1, 1))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l1", 0.7 / 4),
        ("mse", 0.25 / 4),
        ("charbonnier", (math.hypot(0.3, 1e-3) + math.hypot(0.4, 1e-3) + 2e-3) / 4),
        ("psnr", 10 * math.log10(0.0625)),
        # Coefficients of [[0.3, -0.4], [0, 0]]: -0.1 and 0.7 in each of both rows, all real.
        ("frequency", 0.5 * (2 * 0.1 + 2 * 0.7) / 4),
    ],
)
def test_pixel_losses_by_hand(name, expected):
    assert _value(losses.content_loss(name)(SHARP, RESTORED)) == pytest.approx(expected, rel=1e-5)


def test_psnr_loss_takes_the_logarithm_per_picture():
    sharp = np.zeros((2, 2, 2, 1), "float32")
    restored = sharp + np.array([0.1, 0.01], "float32").reshape(2, 1, 1, 1)
    # 20 dB and 40 dB.
    assert _value(losses.psnr_loss(sharp, restored)) == pytest.approx(-30.0, abs=1e-2)


def test_psnr_loss_is_bounded_by_its_epsilon():
    sharp = np.zeros((1, 2, 2, 1), "float32")
    assert _value(losses.psnr_loss(sharp, sharp, epsilon=1e-5)) == pytest.approx(-50.0, abs=1e-3)
    assert _value(losses.psnr_loss(sharp, sharp)) == pytest.approx(-80.0, abs=1e-3)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (5, 3)])
def test_frequency_loss_equals_numpy(size):
    generator = np.random.default_rng(0)
    sharp, restored = generator.random((2, 2, *size, 3), dtype="float32")
    difference = np.fft.rfft2((restored - sharp).astype("float64"), axes=(1, 2))
    # rfft2 halves the last axis it is given: the width.
    expected = 0.5 * (np.abs(difference.real).mean() + np.abs(difference.imag).mean())
    assert _value(losses.frequency(sharp, restored)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["ssim", "ms_ssim"])
def test_structural_losses(name):
    generator = np.random.default_rng(0)
    sharp, restored = generator.random((2, 3, 32, 32, 1), dtype="float32")
    expected = 1.0 - getattr(fidelity, name)(sharp, restored).mean()
    assert _value(losses.content_loss(name)(sharp, restored)) == pytest.approx(expected, rel=1e-5)


def _gradient(loss, sharp, restored):
    """Gradient with respect to the restored picture, through the seam that trainers use."""
    restored = ops.convert_to_tensor(restored)
    return ops.convert_to_numpy(gan.input_gradient(lambda picture: loss(sharp, picture), restored))


@pytest.mark.parametrize("name", losses.CONTENT_LOSSES)
def test_content_losses_are_lowest_at_the_target_and_have_finite_gradients(name):
    loss = losses.content_loss(name)
    sharp = np.random.default_rng(0).random((2, 24, 24, 1), dtype="float32")
    other = np.clip(sharp + 0.1, 0, 1)
    assert _value(loss(sharp, sharp)) < _value(loss(sharp, other))
    assert np.isfinite(_gradient(loss, sharp, sharp)).all()
    gradient = _gradient(loss, sharp, other)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0


@pytest.mark.parametrize("name", losses.CONTENT_LOSSES)
def test_content_losses_are_computed_in_float32(name):
    # In float16 a sum over 300 x 300 squares of 8 overflows and the mean is infinite.
    sharp = np.zeros((1, 300, 300, 1), "float16")
    value = losses.content_loss(name)(
        ops.convert_to_tensor(sharp), ops.convert_to_tensor(sharp + 8)
    )
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert np.isfinite(_value(value))


# Scores of two real and two fake pictures: means 2 and -1.
REAL, FAKE = _tensor(1.0, 3.0), _tensor(-2.0, 0.0)


def _softplus(x):
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("name", "discriminator", "generator"),
    [
        ("wgan_gp", -1.0 - 2.0, 1.0),
        # Half of the means of (0, 4) and (4, 0); half of the mean of (9, 1).
        ("lsgan", 0.5 * 2 + 0.5 * 2, 0.5 * 5),
        # Real scores minus the fake mean: 2, 4. Fake scores minus the real mean: -4, -2.
        (
            "ragan",
            (_softplus(-2) + _softplus(-4)) / 2 + (_softplus(-4) + _softplus(-2)) / 2,
            (_softplus(4) + _softplus(2)) / 2 + (_softplus(2) + _softplus(4)) / 2,
        ),
        # (1 + 9) / 2 + (9 + 1) / 2, and (25 + 9) / 2 + (9 + 25) / 2.
        ("ralsgan", 10.0, 34.0),
    ],
)
def test_adversarial_losses_by_hand(name, discriminator, generator):
    game = losses.adversarial(name)
    assert _value(game.discriminator_loss(REAL, FAKE)) == pytest.approx(discriminator, rel=1e-5)
    assert _value(game.generator_loss(REAL, FAKE)) == pytest.approx(generator, rel=1e-5)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_several_discriminators_count_by_their_mean(name):
    game = losses.adversarial(name)
    other = _tensor(0.5, 1.5), _tensor(2.0, 4.0)
    for loss in (game.discriminator_loss, game.generator_loss):
        expected = (_value(loss(REAL, FAKE)) + _value(loss(*other))) / 2
        both = loss([REAL, other[0]], [FAKE, other[1]])
        assert _value(both) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", losses.ADVERSARIAL)
def test_what_the_generator_loss_depends_on(name):
    game = losses.adversarial(name)
    moved = _value(game.generator_loss(REAL + 1.0, FAKE)) != _value(game.generator_loss(REAL, FAKE))
    assert moved == game.uses_real_in_generator
    if not game.uses_real_in_generator:
        assert _value(game.generator_loss(None, FAKE)) == _value(game.generator_loss(REAL, FAKE))
        assert _value(game.generator_loss(None, [FAKE, FAKE])) == pytest.approx(
            _value(game.generator_loss(REAL, FAKE))
        )


def test_gradient_penalty_of_a_linear_critic():
    # Weights 1 on 4x4 pixels: the gradient is 1 everywhere, its norm 4, the penalty (4 - 1)^2.
    picture = np.random.default_rng(0).random((3, 4, 4, 1), dtype="float32")
    gradients = gan.input_gradient(lambda x: ops.sum(x, axis=(1, 2, 3)), picture)
    assert _value(losses.gradient_penalty(gradients)) == pytest.approx(9.0, rel=1e-6)
    assert _value(losses.gradient_penalty(gradients, target=0.0)) == pytest.approx(16.0, rel=1e-6)


def test_gradient_penalty_is_per_picture():
    # Norms 0 and 2: (1 + 1) / 2. A norm over the batch would give (2 - 1)^2 too, so add a third.
    gradients = np.zeros((3, 2, 2, 1), "float32")
    gradients[1], gradients[2] = 1.0, 2.0
    # (0 - 1)^2, (2 - 1)^2, (4 - 1)^2.
    assert _value(losses.gradient_penalty(gradients)) == pytest.approx(11 / 3, rel=1e-5)


def test_gradient_penalty_of_a_flat_critic_has_a_gradient():
    flat = gan.input_gradient(losses.gradient_penalty, np.zeros((1, 2, 2, 1), "float32"))
    assert np.isfinite(ops.convert_to_numpy(flat)).all()


def test_unknown_names():
    with pytest.raises(ValueError, match="Did you mean 'charbonnier'"):
        losses.content_loss("charbonier")
    with pytest.raises(ValueError, match="'perceptual'"):
        losses.content_loss("vgg")
    with pytest.raises(ValueError, match="Did you mean 'ralsgan'"):
        losses.adversarial("ralsgann")


def test_options_of_a_content_loss():
    loss = losses.content_loss("charbonnier", epsilon=0.3)
    expected = (math.hypot(0.3, 0.3) + math.hypot(0.4, 0.3) + 2 * 0.3) / 4
    assert _value(loss(SHARP, RESTORED)) == pytest.approx(expected, rel=1e-5)


def _weights_file(path):
    """A stand-in for pretrained weights: random ones in the same layout."""
    keras.utils.set_random_seed(0)
    extractor = backbones.feature_extractor("mobilenet_v2", ["block_1_project_BN"], weights=None)
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    np.savez(
        path,
        **{
            f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable.value)
            for layer in trunk.layers
            for variable in layer.variables
        },
    )
    return extractor


def test_perceptual_loss_compares_features(tmp_path):
    extractor = _weights_file(tmp_path / "weights.npz")
    loss = losses.content_loss(
        "perceptual",
        weights=tmp_path / "weights.npz",
        backbone="mobilenet_v2",
        layer="block_1_project_BN",
        scale=2.0,
    )
    generator = np.random.default_rng(0)
    sharp, restored = generator.random((2, 2, 32, 32, 1), dtype="float32")
    features = [ops.convert_to_numpy(extractor(picture)) for picture in (sharp, restored)]
    expected = 4.0 * np.mean((features[0] - features[1]) ** 2)
    assert _value(loss(sharp, restored)) == pytest.approx(expected, rel=1e-4)
    assert _value(loss(sharp, sharp)) == 0.0
    assert np.abs(_gradient(loss, sharp, restored)).max() > 0
    assert not loss.extractor.trainable_variables


def test_perceptual_loss_needs_weights(monkeypatch):
    with pytest.raises(ValueError, match="weights=None"):
        losses.PerceptualLoss(weights=None, backbone="mobilenet_v2")
    with pytest.raises(ValueError, match="`backbone`.*ResNet50.*backbone='resnet'"):
        losses.PerceptualLoss(backbone="resnet")
    with pytest.raises(ValueError, match="a layer of ResNet50.*Set `layer`"):
        losses.PerceptualLoss(backbone="ResNet50")
    with pytest.raises(FileNotFoundError, match="nowhere.h5.*--content.*mobilenet_v2"):
        losses.PerceptualLoss(weights="nowhere.h5", backbone="mobilenet_v2")

    def without_connection(*, weights, **options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "VGG19", without_connection)
    with pytest.raises(ValueError, match='Give `weights` the path.*--content.*"vgg19"'):
        losses.PerceptualLoss()


def test_perceptual_loss_of_colours_sees_srgb(tmp_path):
    _weights_file(tmp_path / "weights.npz")
    chosen = {"weights": tmp_path / "weights.npz", "layer": "block_1_project_BN"}
    loss = losses.color_loss("perceptual", **chosen)
    luminance = np.full((1, 32, 32, 1), 0.5, "float32")
    red = np.broadcast_to(np.array([0.4, 0.3], "float32"), (1, 32, 32, 2))
    blue = np.broadcast_to(np.array([0.1, -0.4], "float32"), (1, 32, 32, 2))
    assert _value(loss(luminance, red, red)) == 0.0
    seen = backbones.feature_extractor(
        "mobilenet_v2",
        ["block_1_project_BN"],
        weights=tmp_path / "weights.npz",
        colored=True,
    )
    sides = [seen(np.clip(color.lab_to_rgb(luminance, side), 0.0, 1.0)) for side in (red, blue)]
    true, other = (ops.convert_to_numpy(side) for side in sides)
    expected = np.mean((true - other) ** 2)
    assert _value(loss(luminance, red, blue)) == pytest.approx(expected, rel=1e-3)
    assert expected > 0.0
    gradient = _gradient(lambda true, given: loss(luminance, true, given), red.copy(), blue.copy())
    assert np.abs(gradient).max() > 0
    with pytest.raises(FileNotFoundError, match="nowhere.h5.*--color-losses"):
        losses.color_loss("perceptual", weights="nowhere.h5")


# Two pixels: grey, answered with (0.1, 0.3); and (0.3, 0.4), of length 0.5, answered with grey.
TRUE_CHROMA = np.array([[0.0, 0.0], [0.3, 0.4]], "float32").reshape(1, 1, 2, 2)
GUESSED_CHROMA = np.array([[0.1, 0.3], [0.0, 0.0]], "float32").reshape(1, 1, 2, 2)
MIDDLE = np.full((1, 1, 2, 1), 0.5, "float32")


def _color_value(name, predicted=GUESSED_CHROMA, **options):
    return _value(losses.color_loss(name, **options)(MIDDLE, TRUE_CHROMA, predicted))


def test_plain_chroma_error_by_hand():
    # Means over the two channels: 0.2 and 0.35.
    assert _color_value("chroma_l1") == pytest.approx((0.2 + 0.35) / 2)


@pytest.mark.parametrize("strength", [0.0, 4.0])
def test_coloured_pixels_weigh_more(strength):
    # Weights 1 and 1 + strength * 0.5.
    expected = (0.2 + (1.0 + 0.5 * strength) * 0.35) / 2
    assert _color_value("color_aware", strength=strength) == pytest.approx(expected)


def test_rare_colours_weigh_more():
    factors = np.ones(color_bins.COUNT, "float32")
    # 0.3 and 0.4 are 3.3 and 4.4 steps of 1/11: the class of (3, 4) steps.
    (rare,) = np.flatnonzero((np.rint(color_bins.centers() * 11) == [3, 4]).all(axis=1))
    factors[rare] = 3.0
    expected = (0.2 + 3.0 * 3.0 * 0.35) / 2
    assert _color_value("color_aware", strength=4.0, rarity=factors) == pytest.approx(expected)


def test_grey_answer_is_worse_than_the_wrong_tint_of_little_colour():
    # What the weighting is for: with it, losing the coloured pixel costs most of the loss.
    right_where_coloured = TRUE_CHROMA + [[0.2, 0.2], [0.0, 0.0]]
    grey = np.zeros_like(TRUE_CHROMA)
    for strength, ratio in ((0.0, 0.35 / 0.2), (10.0, 6 * 0.35 / 0.2)):
        values = [_color_value("color_aware", picture, strength=strength) for picture in
                  (grey, right_where_coloured)]  # fmt: skip
        assert values[0] / values[1] == pytest.approx(ratio, rel=1e-5)


def test_colourfulness_is_that_of_the_metric():
    # Grey has none: the loss is 1. A picture of two opposed colours is as the metric measures it.
    assert _color_value("colorfulness", np.zeros_like(TRUE_CHROMA)) == pytest.approx(1.0, abs=1e-4)
    rgb = color.lab_to_rgb(MIDDLE, GUESSED_CHROMA).clip(0, 1)
    expected = 1.0 - fidelity.colorfulness(rgb)[0] / 100.0
    assert _color_value("colorfulness") == pytest.approx(expected, abs=1e-4)
    grey = np.zeros_like(TRUE_CHROMA)
    loss = functools.partial(losses.color_loss("colorfulness"), MIDDLE)
    assert np.isfinite(_gradient(loss, TRUE_CHROMA, grey)).all()


def test_cross_entropy_of_an_undecided_distribution():
    logits = np.zeros((1, 1, 2, color_bins.COUNT), "float32")
    loss = losses.color_loss("cross_entropy")
    assert _value(loss(TRUE_CHROMA, logits)) == pytest.approx(math.log(313), rel=1e-5)
    factors = np.full(color_bins.COUNT, 2.0, "float32")
    rebalanced = losses.color_loss("cross_entropy", rarity=factors)
    assert _value(rebalanced(TRUE_CHROMA, logits)) == pytest.approx(2 * math.log(313), rel=1e-5)


def test_cross_entropy_of_a_colour_between_two_classes():
    first, second = (
        np.flatnonzero((np.rint(color_bins.centers() * 11) == steps).all(axis=1))[0]
        for steps in ([2, 1], [3, 1])
    )
    # A quarter of the way from the first to the second.
    chroma = np.array([2.25 / 11, 1 / 11], "float32").reshape(1, 1, 1, 2)
    logits = np.full((1, 1, 1, color_bins.COUNT), -100.0, "float32")
    logits[..., first], logits[..., second] = math.log(0.9), math.log(0.1)
    expected = -(0.75 * math.log(0.9) + 0.25 * math.log(0.1))
    assert _value(losses.color_cross_entropy(chroma, logits)) == pytest.approx(expected, rel=1e-4)


def test_unknown_colour_losses_and_options():
    with pytest.raises(ValueError, match="Did you mean 'color_aware'"):
        losses.color_loss("colour_aware")
    with pytest.raises(ValueError, match="no option 'power'"):
        losses.color_loss("color_aware", power=2.0)
