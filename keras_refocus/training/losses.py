"""Losses: pixel, frequency, structure, perceptual, colour, adversarial, as their papers write them.

Content losses map `(sharp, restored)`, tensors of shape `(batch, height, width, channels)` in
[0, 1], to a scalar: the mean over the batch. Colour losses map `(luminance, chroma, predicted)` to
a scalar: a picture's luminance `(batch, height, width, 1)` in [0, 1], its chroma and what was
predicted for it, `(batch, height, width, 2)` in [-1, 1]. Adversarial kinds are pairs of functions
of the discriminator's scores, without activation, of any shape. Everything is computed in float32
by `keras.ops`, so that float16 networks neither overflow in a sum nor lose a small difference.
"""

import collections.abc
import dataclasses
import difflib
import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from keras_refocus.metrics import fidelity
from keras_refocus.networks import backbones
from keras_refocus.pictures import color, color_bins
from keras_refocus.pictures.color import Tensor

# Under the root of a gradient norm: keeps its derivative finite where the gradient vanishes.
_NORM_EPSILON = 1e-12
_PERCEPTUAL_SCALES = {"vgg16": 1 / 12.75, "vgg19": 1 / 12.75}


def _float32(*tensors):
    return [ops.cast(tensor, "float32") for tensor in tensors]


def l1(sharp: Tensor, restored: Tensor) -> Tensor:
    """Mean absolute difference."""
    sharp, restored = _float32(sharp, restored)
    return ops.mean(ops.abs(restored - sharp))


def mse(sharp: Tensor, restored: Tensor) -> Tensor:
    """Mean squared difference."""
    sharp, restored = _float32(sharp, restored)
    return ops.mean(ops.square(restored - sharp))


def charbonnier(sharp: Tensor, restored: Tensor, *, epsilon: float = 1e-3) -> Tensor:
    """Mean of `sqrt(difference^2 + epsilon^2)` (Charbonnier et al. 1994; Lai et al. 2017)."""
    sharp, restored = _float32(sharp, restored)
    return ops.mean(ops.sqrt(ops.square(restored - sharp) + epsilon**2))


def psnr_loss(sharp: Tensor, restored: Tensor, *, epsilon: float = 1e-8) -> Tensor:
    """Negative PSNR in decibels, mean over pictures (NAFNet, Chen et al. 2022).

    The mean squared error is taken per picture before the logarithm, so easy pictures weigh as
    much as hard ones. `epsilon` inside the logarithm bounds the loss, 1e-8 at -80 dB; without a
    higher one, pictures that need no restoration outweigh all others.
    """
    sharp, restored = _float32(sharp, restored)
    errors = ops.mean(ops.square(restored - sharp), axis=(1, 2, 3))
    return ops.mean(10.0 * ops.log10(errors + epsilon))


def real_fft2(x: Tensor) -> tuple[Tensor, Tensor]:
    """Two-dimensional Fourier transform of real planes, half spectrum, not normalised.

    Args:
        x: Tensor of shape `(batch, height, width, channels)`.

    Returns:
        Tuple `(real, imaginary)` of shape `(batch, channels, width // 2 + 1, height)`.
    """
    real, imaginary = ops.rfft(ops.transpose(x, (0, 3, 1, 2)))
    return ops.fft((ops.swapaxes(real, 2, 3), ops.swapaxes(imaginary, 2, 3)))


def frequency(sharp: Tensor, restored: Tensor) -> Tensor:
    """Mean absolute difference of Fourier coefficients (MIMO-UNet, Cho et al. 2021, section 3.2).

    Real and imaginary parts count as separate values, and the transform is not normalised: the loss
    of white noise grows with the square root of the number of pixels. Where we differ: the mean is
    over the half spectrum, which holds each pair of conjugate coefficients once.
    """
    sharp, restored = _float32(sharp, restored)
    # The transform is linear: one transform of the difference is the difference of two.
    real, imaginary = real_fft2(restored - sharp)
    return 0.5 * (ops.mean(ops.abs(real)) + ops.mean(ops.abs(imaginary)))


def ssim(sharp: Tensor, restored: Tensor) -> Tensor:
    """One minus the mean SSIM (Zhao et al. 2017); sides of at least 11 pixels."""
    return 1.0 - ops.mean(fidelity.ssim(sharp, restored))


def ms_ssim(sharp: Tensor, restored: Tensor) -> Tensor:
    """One minus the mean multi-scale SSIM; as many of its five scales as fit, see `metrics`."""
    return 1.0 - ops.mean(fidelity.ms_ssim(sharp, restored))


def weighted(
    terms: Mapping[str, Any], kind: str, make: Callable[..., Any]
) -> dict[str, tuple[float, Any]]:
    """Read weights and options of losses.

    Args:
        terms: Dict from the name of a loss to its weight, or to a dict of its `weight` and its
            options.
        kind: Word for such losses, for the message.
        make: Callable from a name and options to the loss.

    Returns:
        Dict from the name to `(weight, callable)`.

    Raises:
        ValueError: If one has no weight, or `make` does not know it.
    """
    found = {}
    for name, value in terms.items():
        options = dict(value) if isinstance(value, dict) else {"weight": value}
        if "weight" not in options:
            raise ValueError(
                f"Every {kind} loss must have a weight. Received: {name}={value}. Add `weight` to "
                "its options."
            )
        found[name] = options.pop("weight"), make(name, **options)
    return found


CONTENT_LOSSES = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "psnr": psnr_loss,
    "frequency": frequency,
    "ssim": ssim,
    "ms_ssim": ms_ssim,
}


class PerceptualLoss:
    """Mean squared difference of features of a classification network (Johnson et al. 2016).

    DeblurGAN takes the features of the third convolution before the third pooling of VGG19, behind
    its ReLU; that is the default. Luminance is repeated to three channels and normalised as the
    network expects. Where we differ: for VGG the features are multiplied by 1/12.75, as SRGAN does
    (Ledig et al. 2017, section 3.1), because the Keras weights take 8-bit values and the loss would
    be thousands of times larger than the weights of the papers are made for.

    Args:
        weights: See `networks.backbones.feature_extractor`; the features of a random network mean
            nothing, so there must be weights.
        backbone: A key of `networks.backbones.BACKBONES`, or the name of another network of
            `keras.applications`, such as `"ResNet50"`.
        layer: Name of the layer; `None` for the usual one of this backbone, where it has one.
        scale: Factor of the features; `None` for the usual one of this backbone.

    Raises:
        FileNotFoundError: If the file of weights does not exist.
        ValueError: If there are no weights, they cannot be downloaded, or do not fit, or if the
            backbone has no usual layer.
    """

    # Whether it sees sRGB, and the flag by which it is chosen.
    _colored = False
    _flag = "--content"

    def __init__(
        self,
        *,
        weights: str | os.PathLike | None = "imagenet",
        backbone: str = "vgg19",
        layer: str | None = None,
        scale: float | None = None,
    ):
        layer = layer or backbones.find(backbone).perceptual
        if layer is None:
            raise ValueError(
                f"The perceptual loss must know a layer of {backbone}. Received: layer=None. Set "
                "`layer` to the name of one."
            )
        self.scale = _PERCEPTUAL_SCALES.get(backbone, 1.0) if scale is None else scale
        try:
            self.extractor = backbones.feature_extractor(
                backbone,
                [layer],
                weights=weights,
                required=True,
                dtype="float32",
                colored=self._colored,
            )
        except (FileNotFoundError, ValueError) as error:
            # The same error, with where this is set.
            options = {"perceptual": {"weight": 0.006, "backbone": backbone, "weights": "FILE"}}
            raise type(error)(
                f"{error} The perceptual loss asks for it: {self._flag} '{json.dumps(options)}'."
            ) from error
        self.extractor.trainable = False

    def __call__(self, sharp, restored):
        """Compare luminance `(batch, height, width, 1)` in [0, 1]; a scalar."""
        sharp, restored = _float32(sharp, restored)
        target = ops.stop_gradient(self._features(sharp))
        return ops.mean(ops.square(self.scale * (self._features(restored) - target)))

    def _features(self, picture):
        return self.extractor(picture, training=False)


class ColorPerceptualLoss(PerceptualLoss):
    """The same of coloured pictures: features of the result in sRGB against the photo's.

    A colour that makes a thing look like another thing costs more than one that it could have. With
    the weights that the colorizer's encoder starts from, the network compared is that encoder as it
    was, which stays as it is. Colours count as far as sRGB goes.
    """

    _colored = True
    _flag = "--color-losses"

    def __init__(self, *, backbone: str = "mobilenet_v2", **options: Any):
        """Arguments of `PerceptualLoss`, of another backbone by default."""
        super().__init__(backbone=backbone, **options)

    def __call__(self, luminance, chroma, predicted):
        """Compare chroma `(batch, height, width, 2)` on the same luminance; a scalar."""
        luminance, chroma, predicted = _float32(luminance, chroma, predicted)
        true, result = (
            ops.clip(color.lab_to_rgb(luminance, side), 0.0, 1.0) for side in (chroma, predicted)
        )
        return super().__call__(true, result)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial:
    """One kind of adversarial game.

    Scores are a tensor, or a list of tensors from several discriminators whose losses are averaged.

    Attributes:
        generator_loss: Callable from `(real_scores, fake_scores)` to the generator's loss, a
            scalar.
        discriminator_loss: Callable from `(real_scores, fake_scores)` to the discriminator's.
        gradient_penalty: Whether the discriminator also needs `gradient_penalty`.
        uses_real_in_generator: Whether the generator's loss depends on `real_scores`; when it does
            not, `None` may be passed for them.
    """

    generator_loss: collections.abc.Callable
    discriminator_loss: collections.abc.Callable
    gradient_penalty: bool = False
    uses_real_in_generator: bool = False


def _over_scales(loss):
    """Let a loss take lists of scores, one of each discriminator, and average over them."""

    @functools.wraps(loss)
    def mean_loss(real_scores, fake_scores):
        if not isinstance(fake_scores, (list, tuple)):
            return loss(real_scores, fake_scores)
        real_scores = real_scores or [None] * len(fake_scores)
        values = [loss(*pair) for pair in zip(real_scores, fake_scores, strict=True)]
        return sum(values) / len(values)

    return mean_loss


@_over_scales
def _wgan_generator(real_scores, fake_scores):
    (fake_scores,) = _float32(fake_scores)
    return -ops.mean(fake_scores)


@_over_scales
def _wgan_discriminator(real_scores, fake_scores):
    real_scores, fake_scores = _float32(real_scores, fake_scores)
    return ops.mean(fake_scores) - ops.mean(real_scores)


@_over_scales
def _lsgan_generator(real_scores, fake_scores):
    (fake_scores,) = _float32(fake_scores)
    return 0.5 * ops.mean(ops.square(fake_scores - 1.0))


@_over_scales
def _lsgan_discriminator(real_scores, fake_scores):
    real_scores, fake_scores = _float32(real_scores, fake_scores)
    return 0.5 * ops.mean(ops.square(real_scores - 1.0)) + 0.5 * ops.mean(ops.square(fake_scores))


def _relative(real_scores, fake_scores):
    """Scores of each side relative to the mean of the other."""
    real_scores, fake_scores = _float32(real_scores, fake_scores)
    return real_scores - ops.mean(fake_scores), fake_scores - ops.mean(real_scores)


@_over_scales
def _ragan_discriminator(real_scores, fake_scores):
    real, fake = _relative(real_scores, fake_scores)
    # -log(sigmoid(x)) = softplus(-x), and -log(1 - sigmoid(x)) = softplus(x).
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(fake))


@_over_scales
def _ralsgan_discriminator(real_scores, fake_scores):
    real, fake = _relative(real_scores, fake_scores)
    return ops.mean(ops.square(real - 1.0)) + ops.mean(ops.square(fake + 1.0))


def _swapped(discriminator):
    """Loss of a relativistic generator: the discriminator's, with real and fake exchanged."""

    def generator(real_scores, fake_scores):
        return discriminator(fake_scores, real_scores)

    return generator


ADVERSARIAL = {
    # Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017.
    "wgan_gp": Adversarial(
        generator_loss=_wgan_generator,
        discriminator_loss=_wgan_discriminator,
        gradient_penalty=True,
    ),
    # Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017, equation 9. The
    # CycleGAN paper writes the same without the two halves.
    "lsgan": Adversarial(generator_loss=_lsgan_generator, discriminator_loss=_lsgan_discriminator),
    # Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, algorithm 2 and section
    # 4.1.2 of the preprint: relativistic average, standard and least squares. DeblurGAN-v2 uses
    # the latter.
    "ragan": Adversarial(
        generator_loss=_swapped(_ragan_discriminator),
        discriminator_loss=_ragan_discriminator,
        uses_real_in_generator=True,
    ),
    "ralsgan": Adversarial(
        generator_loss=_swapped(_ralsgan_discriminator),
        discriminator_loss=_ralsgan_discriminator,
        uses_real_in_generator=True,
    ),
}


def _look_up(table, name, kind, *, also=()):
    if name not in table:
        names = sorted([*table, *also])
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"The {kind} must be one of {names}. Received: {name!r}.{hint}")
    return table[name]


def content_loss(name: str, **options: Any) -> Callable[..., Tensor]:
    """Look a content loss up, or build the perceptual one.

    Args:
        name: A key of `CONTENT_LOSSES`, or `"perceptual"`.
        **options: Options of that loss, such as the `weights` of `PerceptualLoss`.

    Returns:
        Callable from `(sharp, restored)` to a scalar.

    Raises:
        ValueError: If there is none of that name; the message lists them. See `PerceptualLoss`.
    """
    if name == "perceptual":
        return PerceptualLoss(**options)
    loss = _look_up(CONTENT_LOSSES, name, "content loss", also=["perceptual"])
    return functools.partial(loss, **options) if options else loss


def adversarial(name: str) -> Any:
    """Look an adversarial game up.

    Raises:
        ValueError: If there is none of that name; the message lists them.
    """
    return _look_up(ADVERSARIAL, name, "adversarial loss")


def gradient_penalty(gradients: Tensor, *, target: float = 1.0) -> Tensor:
    """Mean of `(norm - target)^2` over pictures (Gulrajani et al. 2017, equation 3).

    The norm runs over all pixels and channels of one picture: taken over the channel axis alone it
    would constrain nothing.

    Args:
        gradients: Gradient of each picture's score with respect to the picture, shape
            `(batch, height, width, channels)`. A PatchGAN's score is the sum over its patches when
            the gradient comes from `gan.input_gradient`.
        target: The norm that costs nothing.

    Returns:
        Scalar; its weight in the critic's loss is 10 in the paper.
    """
    (gradients,) = _float32(gradients)
    norms = ops.sqrt(ops.sum(ops.square(gradients), axis=(1, 2, 3)) + _NORM_EPSILON)
    return ops.mean(ops.square(norms - target))


def chroma_l1(luminance: Tensor, chroma: Tensor, predicted: Tensor) -> Tensor:
    """Mean absolute difference of chroma."""
    return l1(chroma, predicted)


def color_aware(
    luminance: Tensor,
    chroma: Tensor,
    predicted: Tensor,
    *,
    strength: float = 10.0,
    rarity: Tensor | None = None,
) -> Tensor:
    """Absolute difference of chroma, weighted by how coloured the pixel is in truth.

    Most pixels of most photos are nearly grey, so the plain mean is best served by sepia. Here a
    pixel counts `1 + strength * c` times, c being the length of its true chroma: with the default,
    grey counts once and 55 units of a*, b* six times.

    Args:
        luminance: See the head of this module; not used.
        chroma: True chroma.
        predicted: Predicted chroma.
        strength: Weight of colour, at least 0.
        rarity: Array of shape `(313,)`, factors by how rare the true colour is in photos (Zhang et
            al. 2016), see `color_bins.rarity`; `None` treats all alike.

    Returns:
        Scalar, not divided by the sum of the weights: a grey picture says little about colours, and
        counts little.
    """
    chroma, predicted = _float32(chroma, predicted)
    weights = 1.0 + strength * ops.sqrt(ops.sum(ops.square(chroma), axis=-1))
    if rarity is not None:
        weights = weights * ops.take(rarity, color_bins.nearest(chroma))
    return ops.mean(weights * ops.mean(ops.abs(predicted - chroma), axis=-1))


def colorfulness_loss(luminance: Tensor, chroma: Tensor, predicted: Tensor) -> Tensor:
    """One minus a hundredth of the colourfulness of the result (DDColor, Kang et al. 2023, eq. 7).

    The true chroma does not matter: every picture is to be more colourful, so this needs a small
    weight beside losses that know better. Colours count as far as sRGB goes.
    """
    luminance, predicted = _float32(luminance, predicted)
    rgb = ops.clip(color.lab_to_rgb(luminance, predicted), 0.0, 1.0)
    return 1.0 - ops.mean(fidelity.colorfulness(rgb)) / 100.0


def color_cross_entropy(chroma: Tensor, logits: Tensor, *, rarity: Tensor | None = None) -> Tensor:
    """Cross entropy of a distribution over quantised colours (Zhang et al. 2016, equations 2, 3).

    Args:
        chroma: True chroma `(batch, height, width, 2)`.
        logits: Scores `(batch, height, width, 313)` of the classes of `color_bins`.
        rarity: As in `color_aware`.

    Returns:
        Scalar.
    """
    chroma, logits = _float32(chroma, logits)
    classes, shares = color_bins.neighbors(chroma)
    scores = ops.take_along_axis(ops.log_softmax(logits, axis=-1), classes, axis=-1)
    values = -ops.sum(shares * scores, axis=-1)
    if rarity is not None:
        values = values * ops.take(rarity, color_bins.nearest(chroma))
    return ops.mean(values)


# The last one compares logits, and needs no luminance.
COLOR_LOSSES = {
    "chroma_l1": chroma_l1,
    "color_aware": color_aware,
    "colorfulness": colorfulness_loss,
    "cross_entropy": color_cross_entropy,
}
# These can be rebalanced by the rarity of colours.
REBALANCED = ("color_aware", "cross_entropy")


def color_loss(name: str, **options: Any) -> Callable[..., Tensor]:
    """Look a colour loss up.

    Args:
        name: A key of `COLOR_LOSSES`, or `"perceptual"`.
        **options: Options of that loss, such as the `strength` of `color_aware`.

    Returns:
        Callable from `(luminance, chroma, predicted)` to a scalar; that of `"cross_entropy"` is
        from `(chroma, logits)`.

    Raises:
        ValueError: If there is none of that name or it has no such option.
    """
    if name == "perceptual":
        return ColorPerceptualLoss(**options)
    loss = _look_up(COLOR_LOSSES, name, "colour loss", also=["perceptual"])
    unknown = sorted(options.keys() - inspect.signature(loss).parameters.keys())
    if unknown:
        raise ValueError(f"The colour loss {name!r} has no option {unknown[0]!r}.")
    return functools.partial(loss, **options) if options else loss
