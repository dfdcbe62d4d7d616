"""Training of a motion network: frames of an exposure out of one blurred picture."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus.pictures.color import Tensor
from keras_refocus.training import gan, motion_losses
from keras_refocus.video import from_blur

_MIDDLE = from_blur.FRAMES // 2


def render(seen: Tensor, motion: Tensor) -> Tensor:
    """Frames out of what a network saw and what it gave.

    The restored picture is corrected and moved along the trajectories, bilinearly, and the
    residuals are added.

    Args:
        seen: Tensor (batch, height, width, channels + 4), in the order of `from_blur.see`.
        motion: Tensor (batch, height, width, 12): trajectories, correction and residuals; see
            `from_blur.Motion`.

    Returns:
        Tensor (batch, height, width, 7), luminance, not clipped.
    """
    motion = ops.cast(motion, "float32")
    restored = seen[..., -4:-3] + motion[..., 4:5]
    times = from_blur.moments(from_blur.FRAMES).astype("float32")
    bends = times * times - np.float32(from_blur.MEAN_SQUARE)
    shifts = [
        motion[..., axis : axis + 1] * times + motion[..., axis + 2 : axis + 3] * bends
        for axis in (0, 1)
    ]
    return _sample(restored, *shifts) + motion[..., 5:]


def _sample(picture, right, down):
    """Move a picture by several shifts of each pixel, bilinearly; beyond borders they go on.

    Args:
        picture: Tensor (batch, height, width, 1).
        right: Shifts along rows in pixels, tensor (batch, height, width, count).
        down: Shifts along columns.

    Returns:
        Tensor (batch, height, width, count).
    """
    shape = ops.shape(right)
    batch, height, width = shape[0], shape[1], shape[2]
    columns = ops.cast(ops.arange(width), "float32")[None, None, :, None]
    rows = ops.cast(ops.arange(height), "float32")[None, :, None, None]
    x = ops.clip(columns - right, 0.0, ops.cast(width - 1, "float32"))
    y = ops.clip(rows - down, 0.0, ops.cast(height - 1, "float32"))
    left, top = ops.floor(x), ops.floor(y)
    across, along = x - left, y - top
    left, top = ops.cast(left, "int32"), ops.cast(top, "int32")
    next_left, next_top = ops.minimum(left + 1, width - 1), ops.minimum(top + 1, height - 1)
    flat = ops.reshape(picture, (batch, -1))

    def at(row, column):
        index = ops.reshape(row * width + column, (batch, -1))
        return ops.reshape(ops.take_along_axis(flat, index, axis=1), shape)

    upper = at(top, left) * (1.0 - across) + at(top, next_left) * across
    lower = at(next_top, left) * (1.0 - across) + at(next_top, next_left) * across
    return upper * (1.0 - along) + lower * along


def _psnr(errors):
    return -10.0 * ops.log10(ops.maximum(errors, 1e-5))  # At most 50 dB, as of the restorer.


def scores(frames: Tensor, predicted: Tensor, *, either_direction: bool) -> dict[str, Tensor]:
    """PSNR of sequences, of each picture.

    Args:
        frames: Tensor (batch, height, width, 7).
        predicted: Tensor of the same shape, clipped here.
        either_direction: Whether the better of both directions counts.

    Returns:
        Dict of tensors (batch,): `psnr` of the mean squared error of all seven frames,
        `others_psnr` of the six without the middle one, `middle_psnr`, and `forward`, 1 where the
        direction given is the better one.
    """
    predicted = ops.clip(predicted, 0.0, 1.0)
    forward, backward = (
        ops.mean(ops.square(one - frames), axis=(1, 2))
        for one in (predicted, motion_losses.reversed_frames(predicted))
    )
    first = ops.mean(forward, axis=1) <= ops.mean(backward, axis=1)
    errors = ops.where(first[:, None], forward, backward) if either_direction else forward
    middle = errors[:, _MIDDLE]
    others = (ops.sum(errors, axis=1) - middle) / (from_blur.FRAMES - 1)
    return {
        "psnr": _psnr(ops.mean(errors, axis=1)),
        "others_psnr": _psnr(others),
        "middle_psnr": _psnr(middle),
        "forward": ops.cast(first, "float32"),
    }


@keras.saving.register_keras_serializable(package="keras_refocus")
class MotionModel(gan.GAN):
    """Train a motion network.

    Data are pairs `(seen, frames)`: float32 tensors (batch, height, width, channels + 4), as
    `from_blur.see` makes them, and (batch, height, width, 11): luminance of the seven frames in
    order, and the four coefficients of the true trajectories (`from_blur.true_trajectories`).
    `averaged_generator` is what is validated and exported.

    Args:
        generator: A network of `networks.MOTIONS`.
        loss_name: `"sequence"` or `"jin"`, see `motion_losses`; or `"trajectories"`, that of
            trajectories alone, with which nothing is rendered in training: a step takes less than
            half as long, and what the frames' pixels tell of motion only where they nearly fit
            already, optical flow between the true frames tells everywhere.
        either_direction: Whether the direction of time cannot be known, so that the better of both
            counts.
        frequency_weight: See `motion_losses.distance`.
        reblur_weight: Weight of `motion_losses.reblurred`.
        trajectory_weight: Weight of `motion_losses.trajectories` beside the loss of frames, which
            alone says nothing of a way that is wrong by more than what is seen is wide.
        gradient_accumulation: Parts in which a batch is computed.
        average_decay: See `gan.GAN`.
        seed: See `gan.GAN`.
    """

    network_names = ("generator",)
    pair_names = ("seen", "frames")
    _loss_argument = "MotionModel(..., loss_name='sequence')"
    adversarial_phase = False

    def __init__(
        self,
        generator: keras.Model,
        *,
        loss_name: str = "sequence",
        either_direction: bool = True,
        frequency_weight: float = 0.03,
        reblur_weight: float = 0.1,
        trajectory_weight: float = 0.0,
        gradient_accumulation: int = 1,
        average_decay: float = 0.999,
        seed: int = 0,
        name: str = "motion_model",
    ):
        if loss_name not in ("sequence", "jin", "trajectories"):
            raise ValueError(
                "The loss must be sequence, jin or trajectories. Received: "
                f"loss_name={loss_name!r}."
            )
        names = ["loss", "sequence_loss", "reblur_loss", "trajectory_loss"]
        names += ["psnr", "others_psnr", "middle_psnr", "forward"]
        super().__init__(metric_names=names, average_decay=average_decay, seed=seed, name=name)
        self.generator = generator
        self.averaged_generator = gan.averaged_copy(generator)
        self.loss_name = loss_name
        self.either_direction = either_direction
        self.frequency_weight = frequency_weight
        self.reblur_weight = reblur_weight
        self.trajectory_weight = trajectory_weight
        self.gradient_accumulation = gradient_accumulation
        self.built = True

    @property
    def players(self) -> tuple[list[keras.Model], list[keras.Model]]:
        return [self.generator], []

    @property
    def averages(self) -> list[tuple[keras.Model, keras.Model]]:
        return [(self.averaged_generator, self.generator)]

    def call(self, seen: Tensor, training: bool = False) -> Tensor:
        """Frames as the averaged network gives them."""
        return render(seen, self.averaged_generator(seen, training=False))

    def _loss_parts(self, seen, frames, predicted):
        """Total loss and its parts, one value for each picture."""
        if self.loss_name == "jin":
            own = motion_losses.jin(frames, predicted)
        else:
            own = motion_losses.sequence(
                frames,
                predicted,
                either_direction=self.either_direction,
                frequency_weight=self.frequency_weight,
            )
        reblur = motion_losses.reblurred(seen[..., :1], predicted)
        return {
            "loss": own + self.reblur_weight * reblur,
            "sequence_loss": own,
            "reblur_loss": reblur,
        }

    def _trajectory_loss(self, true, given):
        forward = motion_losses.trajectories(true, given)
        if not self.either_direction:
            return forward
        return ops.minimum(forward, motion_losses.trajectories(true, given, reverse=True))

    def update_networks(self, data: Any) -> dict[str, Tensor]:
        def trajectory_loss(seen, frames):
            motion = self.generator(seen, training=True)
            own = self._trajectory_loss(frames[..., from_blur.FRAMES :], motion[..., :4])
            # What is added to the light is left at zero, with a gradient of zero.
            mean, zero = ops.mean(own), 0.0 * ops.mean(motion[..., 4:])
            parts = {"sequence_loss": zero, "reblur_loss": zero, "trajectory_loss": mean}
            return mean + zero, {"loss": mean} | parts

        def loss(seen, frames):
            motion = self.generator(seen, training=True)
            parts = self._loss_parts(seen, frames[..., : from_blur.FRAMES], render(seen, motion))
            ways = self._trajectory_loss(frames[..., from_blur.FRAMES :], motion[..., :4])
            parts["loss"] = parts["loss"] + self.trajectory_weight * ways
            parts["trajectory_loss"] = ways
            means = {name: ops.mean(values) for name, values in parts.items()}
            return means["loss"], means

        return gan.means(
            gan.minimize(
                trajectory_loss if self.loss_name == "trajectories" else loss,
                self.generator_optimizer,
                self.generator.trainable_variables,
                clip_norm=self.clip_norm,
                parts=gan.split_batch(data, self.gradient_accumulation),
            )
        )

    def validation_metrics(self, seen: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Score the averaged network: dict from metric name to one value for each picture."""
        frames = frames[..., : from_blur.FRAMES]
        predicted = self(seen)
        found = self._loss_parts(seen, frames, predicted)
        either = self.either_direction or self.loss_name == "jin"
        return {"loss": found["loss"]} | scores(frames, predicted, either_direction=either)

    def get_config(self) -> dict[str, Any]:
        return {
            "generator": keras.saving.serialize_keras_object(self.generator),
            "loss_name": self.loss_name,
            "either_direction": self.either_direction,
            "frequency_weight": self.frequency_weight,
            "reblur_weight": self.reblur_weight,
            "trajectory_weight": self.trajectory_weight,
            "gradient_accumulation": self.gradient_accumulation,
            "average_decay": self.average_decay,
            "seed": self.seed,
            "name": self.name,
        }
