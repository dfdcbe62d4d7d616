"""DeblurGAN: paired adversarial training of a deblurring generator on luminance.

Kupyn et al., "DeblurGAN: Blind Motion Deblurring Using Conditional Adversarial Networks", CVPR
2018, and Kupyn et al., "DeblurGAN-v2: Deblurring (Orders-of-Magnitude) Faster and Better", ICCV
2019. Both train on RGB; here the networks see CIELAB lightness alone.

Where we differ from the authors' code of DeblurGAN-v2: its relativistic losses compare with the
mean of a history of scores, those of the last 50 pictures, ours with the mean of the batch, as the
paper has it: with batches of one, that is one picture. It leaves the backbone as it is for three
epochs, and so does our preset (`frozen_epochs`), whose first ten are content epochs that it does
not have. It fills pictures up to multiples of 32 with zeros, we repeat the edge
(`blocks.pad_to_multiple`).
"""

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from keras_refocus.metrics import fidelity
from keras_refocus.networks import blocks
from keras_refocus.pictures.color import Tensor
from keras_refocus.training import gan, losses


def _at_scale(sharp, restored, factor):
    """Sharp picture at a part of its size, and what was restored of it, without any padding."""
    sharp = ops.average_pool(sharp, factor, strides=factor)
    _, height, width, _ = ops.shape(sharp)
    return sharp, restored[:, :height, :width]


def validation_psnr(sharp: Tensor, restored: Tensor) -> Tensor:
    """PSNR of validation patches: at most 50 dB.

    Where the blurred side is the sharp side, it has 100 dB and the best network perhaps 55: a few
    such patches would decide the mean, though nobody sees that difference.
    """
    return fidelity.psnr(sharp, restored, highest=50.0)


@keras.saving.register_keras_serializable(package="keras_refocus")
class DeblurGAN(gan.GAN):
    """Train a generator against a content loss and, when asked, a discriminator.

    Data are pairs `(blurred, sharp)`: float32 tensors of shape `(batch, height, width, 1)`,
    luminance in [0, 1]. `averaged_generator` is what is validated and exported.

    Args:
        generator: Model from blurred to restored luminance.
        discriminator: Model from luminance to scores without activation, or to a list of such
            (the local and global pair of DeblurGAN-v2), whose losses are averaged; `None` trains on
            the content loss alone.
        content: Dict from a name that `losses.content_loss` takes to its weight, or to a dict of
            its `weight` and its options, such as `{"weight": 100.0, "weights": "imagenet"}` of
            `"perceptual"`.
        warm_up_content: The same for the content phase before the adversarial one; empty: as
            `content`.
        scale_weight: Weight of the content losses at the coarser scales of generators that have
            them (`multiscale`, `scale_recurrent`): each is compared with the sharp picture, shrunk
            by means, and the losses are added up (Tao et al. 2018; Nah et al. 2017 take the mean of
            the scales). 0 compares the finest alone.
        teacher: Callable from blurred luminance to restored luminance, which the generator learns
            from beside the sharp pictures (Hinton et al. 2015; for restoration Hui et al. 2019), or
            `None`. It is no part of the model: neither its weights nor its configuration are kept.
        teacher_weight: Share of the content losses, at every scale, that compare with what the
            teacher restores, in [0, 1]; the rest compare with the sharp pictures.
        adversarial: Name of an entry of `losses.ADVERSARIAL`.
        adversarial_weight: Weight of the adversarial loss in the generator's total.
        gradient_penalty_weight: Weight of the gradient penalty, for kinds that have one.
        critic_steps: Discriminator steps for each generator step.
        gradient_accumulation: Parts in which a batch is computed, one after the other, for one step
            of them all.
        average_decay: See `gan.GAN`.
        seed: See `gan.GAN`.
    """

    network_names = ("generator", "discriminator")
    pair_names = ("blurred", "sharp")
    _loss_argument = "DeblurGAN(..., content={'charbonnier': 1.0})"

    def __init__(
        self,
        generator: keras.Model,
        discriminator: keras.Model | None = None,
        *,
        content: Mapping[str, Any],
        warm_up_content: Mapping[str, Any] | None = None,
        scale_weight: float = 1.0,
        teacher: keras.Model | None = None,
        teacher_weight: float = 0.5,
        adversarial: str = "ralsgan",
        adversarial_weight: float = 0.01,
        gradient_penalty_weight: float = 10.0,
        critic_steps: int = 1,
        gradient_accumulation: int = 1,
        average_decay: float = 0.999,
        seed: int = 0,
        name: str = "deblur_gan",
    ):
        content, warm_up_content = dict(content), dict(warm_up_content or {})
        if discriminator is None and warm_up_content:
            raise ValueError(
                "A warm-up comes before an adversarial phase, which needs a discriminator. "
                f"Received: warm_up_content={warm_up_content}, discriminator=None. Name these "
                "losses in `content`."
            )
        # Unknown names are refused here, not in the middle of the first step.
        terms = losses.weighted(content, "content", losses.content_loss)
        warm_up_terms = losses.weighted(warm_up_content, "content", losses.content_loss) or terms
        losses.adversarial(adversarial)
        loss_names = dict.fromkeys(f"{term}_loss" for term in [*terms, *warm_up_terms])
        names = ["loss", *loss_names, "coarse_loss", "teacher_loss", "psnr", "ssim"]
        if discriminator is not None:
            names += ["adversarial_loss", "discriminator_loss", "gradient_penalty"]
        super().__init__(metric_names=names, average_decay=average_decay, seed=seed, name=name)
        self._terms, self._warm_up_terms = terms, warm_up_terms
        self.generator = generator
        self.averaged_generator = gan.averaged_copy(generator)
        self.discriminator = discriminator
        self.content = content
        self.warm_up_content = warm_up_content
        self.scale_weight = scale_weight
        # In a function: a model that is an attribute would be kept with this one's weights.
        self._teach = teacher and (lambda blurred: ops.clip(teacher(blurred), 0.0, 1.0))
        self.teacher_weight = teacher_weight
        self._restore = blocks.restore_at_scales(generator)
        self.adversarial = adversarial
        self.adversarial_weight = adversarial_weight
        self.gradient_penalty_weight = gradient_penalty_weight
        self.critic_steps = critic_steps
        self.gradient_accumulation = gradient_accumulation
        self.adversarial_phase = discriminator is not None
        # Its networks are; Keras loads no weights into a model that is not.
        self.built = True

    @property
    def adversarial_phase(self) -> bool:
        """Whether `train_step` plays the adversarial game; the content loss is always there."""
        return self._adversarial_phase

    @adversarial_phase.setter
    def adversarial_phase(self, value: bool) -> bool:
        if value and self.discriminator is None:
            raise ValueError("The adversarial phase needs a discriminator. Received: None.")
        self._adversarial_phase = value
        # A step is traced once; another phase is another graph.
        self.train_function = self.test_function = None

    @property
    def players(self) -> tuple[list[keras.Model], list[keras.Model]]:
        return [self.generator], [] if self.discriminator is None else [self.discriminator]

    def call(self, blurred: Tensor, training: bool = False) -> Tensor:
        """Restore with the averaged generator."""
        return self.averaged_generator(blurred, training=False)

    def _content_terms(self, sharp, restored):
        """Each content loss, and their weighted sum."""
        values, total = {}, 0.0
        terms = self._terms if self.adversarial_phase else self._warm_up_terms
        for name, (weight, loss) in terms.items():
            values[f"{name}_loss"] = loss(sharp, restored)
            total += weight * values[f"{name}_loss"]
        return values, total

    def _update_discriminator(self, blurred, sharp):
        game = losses.adversarial(self.adversarial)

        def discriminator_loss(blurred, sharp):
            restored = ops.stop_gradient(
                ops.cast(self.generator(blurred, training=True), "float32")
            )
            loss = game.discriminator_loss(
                self.discriminator(sharp, training=True),
                self.discriminator(restored, training=True),
            )
            values = {"discriminator_loss": loss}
            if game.gradient_penalty:
                penalty = self._gradient_penalty(sharp, restored)
                values["gradient_penalty"] = penalty
                loss = loss + self.gradient_penalty_weight * penalty
            return loss, values

        return gan.means(
            gan.minimize(
                discriminator_loss,
                self.discriminator_optimizer,
                self.discriminator.trainable_variables,
                parts=gan.split_batch((blurred, sharp), self.gradient_accumulation),
            )
        )

    def _gradient_penalty(self, sharp, restored):
        """WGAN-GP (Gulrajani 2017, equation 3): one point per image between real and generated."""
        position = keras.random.uniform(
            (ops.shape(sharp)[0], 1, 1, 1), seed=self.seed_generator, dtype="float32"
        )
        between = position * sharp + (1.0 - position) * restored

        def critic_score(pictures):
            # One score for each picture: the mean over patches, and over discriminators where
            # there are several, as the critic's loss takes it.
            scores = self.discriminator(pictures, training=True)
            scores = scores if isinstance(scores, (list, tuple)) else [scores]
            means = [
                ops.mean(
                    ops.reshape(ops.cast(one, "float32"), (ops.shape(pictures)[0], -1)), axis=1
                )
                for one in scores
            ]
            return sum(means) / len(means)

        return losses.gradient_penalty(gan.input_gradient(critic_score, between))

    def _restore_to_train(self, blurred):
        """Restored pictures, and `(restored, factor)` of each coarser scale that counts."""
        if not self.scale_weight:
            return ops.cast(self.generator(blurred, training=True), "float32"), []
        scales = self._restore(blurred, training=True)
        restored = ops.cast(scales.pop(1), "float32")
        return restored, [(ops.cast(one, "float32"), factor) for factor, one in scales.items()]

    def _compare(self, target, restored, coarser):
        """Content losses of all scales against a target, and their weighted sum."""
        values, total = self._content_terms(target, restored)
        if coarser:
            scales = [_at_scale(target, *one) for one in coarser]
            values["coarse_loss"] = sum(self._content_terms(*pair)[1] for pair in scales)
            total += self.scale_weight * values["coarse_loss"]
        return values, total

    def _update_generator(self, blurred, sharp):
        def generator_loss(blurred, sharp):
            taught = None
            if self._teach:
                taught = ops.stop_gradient(ops.cast(self._teach(blurred), "float32"))
            restored, coarser = self._restore_to_train(blurred)
            values, total = self._compare(sharp, restored, coarser)
            if taught is not None:
                _, values["teacher_loss"] = self._compare(taught, restored, coarser)
                share = self.teacher_weight
                total = (1.0 - share) * total + share * values["teacher_loss"]
            if self.adversarial_phase:
                game = losses.adversarial(self.adversarial)
                real = None
                if game.uses_real_in_generator:
                    real = self.discriminator(sharp, training=False)
                loss = game.generator_loss(real, self.discriminator(restored, training=False))
                values["adversarial_loss"] = loss
                total += self.adversarial_weight * loss
            return total, {"loss": total} | values

        return gan.means(
            gan.minimize(
                generator_loss,
                self.generator_optimizer,
                self._trained_variables(),
                clip_norm=self.clip_norm,
                parts=gan.split_batch((blurred, sharp), self.gradient_accumulation),
            )
        )

    def _trained_variables(self):
        """Variables of the generator that a step changes: without its backbone while frozen."""
        variables = self.generator.trainable_variables
        if not self.frozen:
            return variables
        backbones = [layer for layer in self.generator.layers if isinstance(layer, keras.Model)]
        frozen = {id(variable) for layer in backbones for variable in layer.variables}
        return [variable for variable in variables if id(variable) not in frozen]

    @property
    def averages(self) -> list[tuple[keras.Model, keras.Model]]:
        return [(self.averaged_generator, self.generator)]

    def update_networks(self, data: Any) -> dict[str, Tensor]:
        blurred, sharp = data
        values = {}
        if self.adversarial_phase:
            for _ in range(self.critic_steps):
                values = self._update_discriminator(blurred, sharp)
        return values | self._update_generator(blurred, sharp)

    def validation_metrics(self, blurred: Tensor, sharp: Tensor) -> dict[str, Tensor]:
        """Score the averaged generator: dict from metric name to one value for each picture."""
        # What a user sees is clipped, so that is what is measured.
        restored = ops.clip(self(blurred), 0.0, 1.0)
        _, loss = self._content_terms(sharp, restored)
        psnr = validation_psnr(sharp, restored)
        return {
            "loss": ops.broadcast_to(loss, ops.shape(psnr)),
            "psnr": psnr,
            "ssim": fidelity.ssim(sharp, restored),
        }

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "generator": serialize(self.generator),
            "discriminator": serialize(self.discriminator),
            "content": dict(self.content),
            "warm_up_content": dict(self.warm_up_content),
            "scale_weight": self.scale_weight,
            "teacher_weight": self.teacher_weight,
            "adversarial": self.adversarial,
            "adversarial_weight": self.adversarial_weight,
            "gradient_penalty_weight": self.gradient_penalty_weight,
            "critic_steps": self.critic_steps,
            "gradient_accumulation": self.gradient_accumulation,
            "average_decay": self.average_decay,
            "seed": self.seed,
            "name": self.name,
        }
