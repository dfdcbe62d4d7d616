"""CycleGAN between grey and colour pictures, with losses that know which colours are worth it.

Zhu, Park, Isola and Efros, "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks", ICCV 2017. The paper's X is grey, its Y colour; G is `to_color`, F `to_gray`, D_Y
`color_discriminator` and D_X `gray_discriminator` here.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.metrics import fidelity
from keras_refocus.pictures import color
from keras_refocus.pictures.color import Tensor
from keras_refocus.training import gan, losses

# What a generator predicts its distribution over quantised colours in, where it has one.
_LOGITS = "color_logits"


@keras.saving.register_keras_serializable(package="keras_refocus")
class HistoryPool(keras.layers.Layer):
    """Generated pictures of earlier steps, shown to a discriminator with new ones.

    Of every new picture, with probability one half, an old one is shown instead, whose place the
    new one takes; until the pool is full, new pictures are shown and kept (Zhu et al. 2017, section
    4, after Shrivastava et al. 2017). The pictures are variables, so a checkpoint holds them.

    Where we differ: the pictures of one batch exchange with different places, and a batch in which
    the pool becomes full exchanges nothing.

    Args:
        size: Number of pictures; 0 shows every new one.
        picture_shape: Tuple `(height, width, channels)`.
    """

    def __init__(self, size: int, picture_shape: tuple[int, ...], *, name: str = "history_pool"):
        super().__init__(name=name, dtype="float32", trainable=False)
        if size < 0:
            raise ValueError(f"`size` must not be negative. Received: size={size}.")
        self.size = size
        self.picture_shape = tuple(picture_shape)
        self.pictures = self.add_weight(
            name="pictures", shape=(size, *self.picture_shape), initializer="zeros", trainable=False
        )
        self.filled = self.add_weight(
            name="filled", shape=(), dtype="int32", initializer="zeros", trainable=False
        )
        self.built = True

    def exchange(self, pictures: Tensor, seed: Any) -> Tensor:
        """Keep new pictures and choose what to show.

        Args:
            pictures: Float tensor of shape `(batch, height, width, channels)`, outside any
                gradient; a batch of at most `size`.
            seed: `keras.random.SeedGenerator`.

        Returns:
            Tensor of the same shape.
        """
        if self.size == 0:
            return pictures
        count = ops.shape(pictures)[0]
        places = ops.arange(self.size, dtype="int32")
        order = ops.argsort(keras.random.uniform((self.size,), seed=seed))
        coins = keras.random.uniform((self.size,), seed=seed) < 0.5
        is_full = self.filled >= self.size
        # All places of a batch differ, so that no picture is stored over another.
        next_places = ops.mod(places + self.filled, self.size)
        slots = ops.where(is_full, ops.cast(order, "int32"), next_places)[:count]
        swap = ops.logical_and(is_full, coins)[:count]
        keep = ops.logical_or(swap, (places + self.filled < self.size)[:count])
        swap, keep = (ops.reshape(choice, (-1, 1, 1, 1)) for choice in (swap, keep))
        old = ops.take(self.pictures, slots, axis=0)
        stored = ops.where(keep, pictures, old)
        slots = ops.expand_dims(slots, axis=1)
        self.pictures.assign(ops.scatter_update(self.pictures, slots, stored))
        self.filled.assign(ops.minimum(self.filled + ops.cast(count, "int32"), self.size))
        return ops.where(swap, old, pictures)

    def get_config(self) -> dict[str, Any]:
        return {"size": self.size, "picture_shape": self.picture_shape, "name": self.name}


def _with_logits(network):
    """Callable that runs a colorizer, to `(chroma, logits)`, and the pixels of a logit's side.

    Logits are `None`, and their side 1, where it predicts no distribution.
    """
    if _LOGITS not in {layer.name for layer in network.layers}:
        return lambda luminance, training: (network(luminance, training=training), None), 1
    both = keras.Model(network.input, [network.output, network.get_layer(_LOGITS).output])
    side = 64
    logits = both(np.zeros((1, side, side, 1), "float32"))[1]
    # Behind a function, so that the shell does not save the same network twice.
    return lambda luminance, training: both(luminance, training=training), side // logits.shape[1]


def _weighted_losses(terms, rarity):
    """Colour losses and their weights; see `losses.weighted`."""

    def make(name, **options):
        if rarity is not None and name in losses.REBALANCED:
            options["rarity"] = rarity
        return losses.color_loss(name, **options)

    return losses.weighted(terms, "colour", make)


def _check_opponents(to_gray, color_discriminator, gray_discriminator, color_losses):
    missing = [network is None for network in (to_gray, color_discriminator, gray_discriminator)]
    if any(missing) != all(missing):
        raise ValueError(
            "The adversarial phase needs `to_gray` and both discriminators; without it there "
            f"must be none of them. Received: to_gray={to_gray}, "
            f"color_discriminator={color_discriminator}, "
            f"gray_discriminator={gray_discriminator}."
        )
    if to_gray is None and not color_losses:
        raise ValueError(
            "There must be something to minimise. Received: color_losses={} without an "
            "adversarial phase."
        )


@keras.saving.register_keras_serializable(package="keras_refocus")
class CycleGAN(gan.GAN):
    """Train a colorizer on colour photos alone, or against its inverse and two discriminators.

    Data are pairs `(luminance, chroma)` of colour photos: float32 tensors of shapes
    `(batch, height, width, 1)` in [0, 1] and `(batch, height, width, 2)` in [-1, 1]. Where `paired`
    is off they are `(gray, picture)` of different scenes instead: luminance, and the luminance and
    chroma of another photo in three channels.

    The colour phase minimises `color_losses`: of a colour photo the luminance is its own grey
    picture, so pairs cost nothing. The adversarial phase adds what the paper has: both adversarial
    losses, the cycle loss, and the identity loss. A picture's lightness is always the one it came
    with: `to_color` predicts chroma, and a coloured picture is its input with that chroma.
    Therefore the paper's ||G(y) - y|| compares chroma, and uses the pair, too.

    The colour discriminator sees sRGB, in which a colour no screen can show stands out; the grey
    one sees luminance.

    Args:
        to_color: Model from luminance to chroma.
        to_gray: Model from luminance and chroma, three channels, to luminance; `None`, with both
            discriminators, trains on `color_losses` alone.
        color_discriminator: Model from sRGB to scores.
        gray_discriminator: Model from luminance to scores.
        color_losses: Dict from a key of `losses.COLOR_LOSSES` to its weight, or to a dict of its
            `weight` and its options. Empty: unpaired training, as the paper has it.
        rarity: Array of shape `(313,)` that rebalances those losses that can be, see
            `color_bins.rarity`; `None` does not.
        paired: Whether grey and colour picture of a step show the same scene.
        adversarial: Name of an entry of `losses.ADVERSARIAL` without gradient penalty.
        adversarial_weight: Weight of the generators' adversarial losses. `lsgan` has a half in it
            that the paper's does not.
        cycle_weight: Weight of the cycle loss.
        identity_weight: Weight of the identity loss, as a share of `cycle_weight`.
        pool_size: Pictures in the history of each discriminator; at least a batch, or 0.
        patch_size: Side of the pictures of the adversarial phase in pixels.
        gradient_accumulation: Parts in which a batch is computed, one after the other, for one step
            of them all.
        average_decay: See `gan.GAN`.
        seed: See `gan.GAN`.
    """

    network_names = ("to_color", "to_gray", "color_discriminator", "gray_discriminator")
    pair_names = ("luminance", "chroma")
    _loss_argument = "CycleGAN(..., color_losses={'color_aware': 1.0})"

    def __init__(
        self,
        to_color: keras.Model,
        to_gray: keras.Model | None = None,
        color_discriminator: keras.Model | None = None,
        gray_discriminator: keras.Model | None = None,
        *,
        color_losses: Mapping[str, Any],
        rarity: Any = None,
        paired: bool = True,
        adversarial: str = "lsgan",
        adversarial_weight: float = 1.0,
        cycle_weight: float = 10.0,
        identity_weight: float = 0.5,
        pool_size: int = 50,
        patch_size: int = 128,
        gradient_accumulation: int = 1,
        average_decay: float = 0.999,
        seed: int = 0,
        name: str = "cycle_gan",
    ):
        _check_opponents(to_gray, color_discriminator, gray_discriminator, color_losses)
        rarity = None if rarity is None else np.asarray(rarity, "float32")
        # Unknown names are refused here, not in the middle of the first step.
        terms = _weighted_losses(color_losses, rarity)
        if losses.adversarial(adversarial).gradient_penalty:
            raise ValueError(
                "The adversarial loss must be one without gradient penalty. "
                f"Received: adversarial={adversarial!r}."
            )
        predict, logit_side = _with_logits(to_color)
        if "cross_entropy" in terms and logit_side == 1:
            raise ValueError(
                "The cross entropy needs a generator that predicts a distribution over colours, in "
                f"a layer {_LOGITS!r}. Received: to_color={to_color.name!r}. Choose another "
                "generator or its head 'bins', or leave the cross entropy out."
            )
        names = ["loss", *(f"{term}_loss" for term in terms), "psnr", "chroma_error"]
        names += ["colorfulness"]
        if to_gray is not None:
            names += ["adversarial_loss", "cycle_loss", "identity_loss", "discriminator_loss"]
        super().__init__(metric_names=names, average_decay=average_decay, seed=seed, name=name)
        self._terms, self._predict, self._logit_side = terms, predict, logit_side
        self.to_color = to_color
        self.averaged_generator = gan.averaged_copy(to_color)
        self._predict_average, _ = _with_logits(self.averaged_generator)
        self.to_gray = to_gray
        self.color_discriminator = color_discriminator
        self.gray_discriminator = gray_discriminator
        self.color_losses = dict(color_losses)
        self.rarity = rarity
        self.paired = paired
        self.adversarial = adversarial
        self.adversarial_weight = adversarial_weight
        self.cycle_weight = cycle_weight
        self.identity_weight = identity_weight
        self.pool_size = pool_size
        self.patch_size = patch_size
        self.gradient_accumulation = gradient_accumulation
        if to_gray is not None:
            side = (patch_size, patch_size)
            self.color_pool = HistoryPool(pool_size, (*side, 3), name="color_pool")
            self.gray_pool = HistoryPool(pool_size, (*side, 1), name="gray_pool")
        self.adversarial_phase = to_gray is not None
        self.built = True  # All that it holds is.

    @property
    def generator(self) -> keras.Model:
        """The network that is exported, as trained; `averaged_generator` is its average."""
        return self.to_color

    @property
    def adversarial_phase(self) -> bool:
        """Whether the adversarial game is played; the colour losses are always there."""
        return self._adversarial_phase

    @adversarial_phase.setter
    def adversarial_phase(self, value: bool) -> bool:
        if value and self.to_gray is None:
            raise ValueError(
                "The adversarial phase needs `to_gray` and both discriminators. Received: None."
            )
        if not value and not self._terms:
            raise ValueError("Without colour losses there is only the adversarial phase.")
        self._adversarial_phase = value
        # A step is traced once; another phase is another graph.
        self.train_function = self.test_function = None

    @property
    def players(self) -> tuple[list[keras.Model], list[keras.Model]]:
        if self.to_gray is None:
            return [self.to_color], []
        return [self.to_color, self.to_gray], [self.color_discriminator, self.gray_discriminator]

    def call(self, luminance: Tensor, training: bool = False) -> Tensor:
        """Predict chroma with the averaged generator."""
        return self.averaged_generator(luminance, training=False)

    def _color_terms(self, luminance, chroma, predicted, logits):
        """Each colour loss, and their weighted sum."""
        values, total = {}, 0.0
        for name, (weight, loss) in self._terms.items():
            if name == "cross_entropy":
                value = loss(ops.average_pool(chroma, self._logit_side), logits)
            else:
                value = loss(luminance, chroma, predicted)
            values[f"{name}_loss"] = value
            total += weight * value
        return values, total

    def _discriminate(self, discriminator, real, fake, training):
        scores = [
            keras.tree.map_structure(
                lambda score: ops.cast(score, "float32"), discriminator(side, training=training)
            )
            if side is not None
            else None
            for side in (real, fake)
        ]
        return scores

    def _fool(self, discriminator, real, fake):
        """Adversarial loss of a generator."""
        game = losses.adversarial(self.adversarial)
        # The real side costs a pass that most games do not need.
        real = real if game.uses_real_in_generator else None
        return game.generator_loss(*self._discriminate(discriminator, real, fake, False))

    def _update_generators(self, gray, picture):
        """Step of `to_color` and `to_gray`; also returns what they made, for the discriminators."""

        def translate(gray_picture):
            predicted, logits = self._predict(gray_picture, training=True)
            return ops.cast(predicted, "float32"), logits

        def decolorize(color_picture):
            return ops.cast(self.to_gray(color_picture, training=True), "float32")

        def generator_loss(gray, picture):
            luminance, chroma = picture[..., :1], picture[..., 1:]
            values, total = {}, 0.0
            predicted = logits = None
            if self._terms or self.identity_weight or self.paired:
                predicted, logits = translate(luminance)
                values, total = self._color_terms(luminance, chroma, predicted, logits)
            if not self.adversarial_phase:
                return total, ({"loss": total} | values, ())
            made_chroma = predicted if self.paired else translate(gray)[0]
            made_color = ops.concatenate([gray, made_chroma], axis=-1)
            made_gray = decolorize(picture)
            rgb, made_rgb = (color.lab_to_rgb(*_split(side)) for side in (picture, made_color))

            adversarial = self._fool(self.color_discriminator, rgb, made_rgb)
            adversarial += self._fool(self.gray_discriminator, gray, made_gray)
            back = ops.concatenate([made_gray, translate(made_gray)[0]], axis=-1)
            cycle = losses.l1(gray, decolorize(made_color)) + losses.l1(picture, back)
            total += self.adversarial_weight * adversarial + self.cycle_weight * cycle
            values |= {"adversarial_loss": adversarial, "cycle_loss": cycle}
            if self.identity_weight:
                own = ops.concatenate([luminance, predicted], axis=-1)
                colorless = ops.pad(gray, ((0, 0), (0, 0), (0, 0), (0, 2)))
                identity = losses.l1(picture, own) + losses.l1(gray, decolorize(colorless))
                total += self.cycle_weight * self.identity_weight * identity
                values["identity_loss"] = identity
            return total, ({"loss": total} | values, (rgb, made_rgb, made_gray))

        networks = [self.to_color] + [self.to_gray] * self.adversarial_phase
        variables = [variable for network in networks for variable in network.trainable_variables]
        found = gan.minimize(
            generator_loss,
            self.generator_optimizer,
            variables,
            clip_norm=self.clip_norm,
            parts=gan.split_batch((gray, picture), self.gradient_accumulation),
        )
        values, made = zip(*found, strict=True)
        return gan.means(values), [ops.concatenate(side) for side in zip(*made, strict=True)]

    def _update_discriminators(self, rgb, made_rgb, gray, made_gray):
        game = losses.adversarial(self.adversarial)
        made_rgb = self.color_pool.exchange(made_rgb, self.seed_generator)
        made_gray = self.gray_pool.exchange(made_gray, self.seed_generator)

        def discriminator_loss(rgb, made_rgb, gray, made_gray):
            loss = 0.0
            for network, real, fake in (
                (self.color_discriminator, rgb, made_rgb),
                (self.gray_discriminator, gray, made_gray),
            ):
                loss += game.discriminator_loss(*self._discriminate(network, real, fake, True))
            return loss, loss

        networks = (self.color_discriminator, self.gray_discriminator)
        variables = [variable for network in networks for variable in network.trainable_variables]
        batch = (rgb, made_rgb, gray, made_gray)
        found = gan.minimize(
            discriminator_loss,
            self.discriminator_optimizer,
            variables,
            parts=gan.split_batch(batch, self.gradient_accumulation),
        )
        return sum(found) / len(found)

    def update_networks(self, data: Any) -> dict[str, Tensor]:
        gray, picture = data
        if self.paired:
            picture = ops.concatenate([gray, picture], axis=-1)
        values, made = self._update_generators(gray, picture)
        if made:
            rgb, made_rgb, made_gray = made
            loss = self._update_discriminators(rgb, made_rgb, gray, made_gray)
            values["discriminator_loss"] = loss
        return values

    @property
    def averages(self) -> list[tuple[keras.Model, keras.Model]]:
        return [(self.averaged_generator, self.to_color)]

    def validation_metrics(self, luminance: Tensor, chroma: Tensor) -> dict[str, Tensor]:
        """Score the averaged generator: a dict from metric name to one value per picture.

        PSNR is that of sRGB, against the photo; the chroma error is in units of a* and b*.
        """
        # What a user sees is clipped, so that is what is measured.
        predicted, logits = self._predict_average(luminance, training=False)
        predicted = ops.clip(ops.cast(predicted, "float32"), -1.0, 1.0)
        rgb, true_rgb = (
            ops.clip(color.lab_to_rgb(luminance, side), 0.0, 1.0) for side in (predicted, chroma)
        )
        values = {
            "psnr": fidelity.psnr(true_rgb, rgb),
            "chroma_error": fidelity.chroma_error(chroma, predicted),
            "colorfulness": fidelity.colorfulness(rgb),
        }
        if self._terms:
            _, loss = self._color_terms(luminance, chroma, predicted, logits)
            values["loss"] = ops.broadcast_to(loss, ops.shape(values["psnr"]))
        return values

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "to_color": serialize(self.to_color),
            "to_gray": serialize(self.to_gray),
            "color_discriminator": serialize(self.color_discriminator),
            "gray_discriminator": serialize(self.gray_discriminator),
            "color_losses": self.color_losses,
            "rarity": None if self.rarity is None else self.rarity.tolist(),
            "paired": self.paired,
            "adversarial": self.adversarial,
            "adversarial_weight": self.adversarial_weight,
            "cycle_weight": self.cycle_weight,
            "identity_weight": self.identity_weight,
            "pool_size": self.pool_size,
            "patch_size": self.patch_size,
            "gradient_accumulation": self.gradient_accumulation,
            "average_decay": self.average_decay,
            "seed": self.seed,
            "name": self.name,
        }


def _split(picture):
    """Luminance and chroma of a picture of three channels."""
    return picture[..., :1], picture[..., 1:]
