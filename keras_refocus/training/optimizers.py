"""Optimizers of a training, and how their learning rates rise and fall."""

import math
from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_refocus")
class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise, a fall over the content epochs, and another over the adversarial ones.

    Args:
        peak: Learning rate at the end of the rise.
        end: Learning rate at the end of the first fall.
        warmup_steps: Steps of the rise.
        steps: Steps of the rise and the first fall together.
        second_peak: Learning rate at the start of the second fall.
        second_end: Learning rate at the end of the second fall.
        second_steps: Steps of the second fall; 0 leaves it out.
        kind: How it falls, one of `config.Schedule`: "cosine"; "linear", constant for the first
            half and then straight down, as in the DeblurGAN papers; "constant", not at all.
    """

    def __init__(
        self,
        peak: float,
        end: float,
        *,
        warmup_steps: int,
        steps: int,
        second_peak: float = 0.0,
        second_end: float = 0.0,
        second_steps: int = 0,
        kind: str = "cosine",
    ):
        self.peak, self.end = peak, end
        self.warmup_steps, self.steps = warmup_steps, steps
        self.second_peak, self.second_end = second_peak, second_end
        self.second_steps = second_steps
        self.kind = kind

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = self.peak * (step + 1.0) / max(1, self.warmup_steps)
        left = self._left(step - self.warmup_steps, self.steps - self.warmup_steps)
        fall = self.end + (self.peak - self.end) * left
        first = ops.where(step < self.warmup_steps, rise, fall)
        if not self.second_steps:
            return first
        left = self._left(step - self.steps, self.second_steps)
        second = self.second_end + (self.second_peak - self.second_end) * left
        return ops.where(step < self.steps, first, second)

    def _left(self, step, steps):
        """Share of the fall that is still to come: from 1 to 0."""
        done = ops.clip(step / max(1, steps), 0.0, 1.0)
        if self.kind == "constant":
            return ops.ones_like(done)
        if self.kind == "linear":
            return ops.minimum(1.0, 2.0 * (1.0 - done))
        return 0.5 * (1.0 + ops.cos(math.pi * done))

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "end": self.end,
            "warmup_steps": self.warmup_steps,
            "steps": self.steps,
            "second_peak": self.second_peak,
            "second_end": self.second_end,
            "second_steps": self.second_steps,
            "kind": self.kind,
        }


def generator_optimizer(config: Any) -> keras.optimizers.Optimizer:
    """AdamW over all epochs of a `config.TrainingConfig`."""
    optimizer = keras.optimizers.AdamW(
        LearningRate(
            config.learning_rate,
            config.final_learning_rate,
            warmup_steps=config.warmup_steps if config.epochs else 0,
            steps=config.epochs * config.steps_per_epoch,
            second_peak=config.adversarial_learning_rate,
            second_end=config.adversarial_final_learning_rate,
            second_steps=config.adversarial_epochs * config.steps_per_epoch,
            kind=config.schedule,
        ),
        weight_decay=config.weight_decay,
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        name="generator_optimizer",
    )
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def discriminator_optimizer(config: Any, *, repeats: int = 1) -> keras.optimizers.Optimizer:
    """Adam over the adversarial epochs of a `config.TrainingConfig`.

    Args:
        config: The configuration.
        repeats: Discriminator steps for each generator step.
    """
    return keras.optimizers.Adam(
        LearningRate(
            config.adversarial_learning_rate,
            config.adversarial_final_learning_rate,
            warmup_steps=0,
            steps=config.adversarial_epochs * config.steps_per_epoch * repeats,
            kind=config.schedule,
        ),
        beta_1=0.5,
        beta_2=0.999,
        name="discriminator_optimizer",
    )
