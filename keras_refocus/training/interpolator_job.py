"""What a training of a correction of frames in between has for itself: triplets, scores."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_refocus import networks
from keras_refocus.data import sampling, triplets, workers
from keras_refocus.pictures import color
from keras_refocus.system import files
from keras_refocus.training import configs, optimizers
from keras_refocus.training.deblur_gan import DeblurGAN, validation_psnr
from keras_refocus.training.job import Pictures, TrainingJob
from keras_refocus.video import interpolation

_SHOWN = 6  # Validation patches on the sheet of an epoch.


@keras.saving.register_keras_serializable(package="keras_refocus")
class InterpolationGAN(DeblurGAN):
    """Train a correction of frames in between, against content losses and perhaps an opponent.

    Data are pairs `(seen, frame)`: float32 tensors (batch, height, width, 2 PARTS), parts and
    weights as `video.interpolation` makes them, and (batch, height, width, 1), luma of the frame
    that was left out.
    """

    pair_names = ("seen", "frame")
    _loss_argument = "InterpolationGAN(..., content={'charbonnier': 1.0})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InterpolatorJob(TrainingJob):
    """A training of a correction of frames in between; see `TrainingJob`.

    Attributes:
        triplets: Path of a folder of patches that `video.triplets.extract` wrote.
        validation_triplets: Path of another one to validate on, or `None`: some scenes are set
            aside.
    """

    triplets: pathlib.Path | None = None
    validation_triplets: pathlib.Path | None = None

    stage = "interpolator"
    config_class = configs.InterpolatorConfig
    columns = ("classical", "corrected", "true")
    sides = ("seen", "frame")
    _paths = ("data_dir", "triplets", "validation_triplets")
    _folder_flags = "--videos"

    def __post_init__(self):
        super().__post_init__()
        if self.data is not None or self.validation_photos is not None:
            raise ValueError(
                "Frames in between are learned from videos. Received: "
                f"data={self.data!r}, validation_photos={self.validation_photos}. Name clips with "
                "--videos, and others with --validation-videos."
            )

    def collect(self) -> Any:
        """Find the patches; see `TrainingJob`."""
        paths = _patches(self.triplets)
        found = list(paths)
        if self.validation_triplets:
            held_out = _patches(self.validation_triplets)
            found += held_out
        else:
            scenes = ["_".join(path.name.split("_")[:2]) for path in paths]
            paths, held_out = sampling.split_hold_out(paths, scenes=scenes, seed=self.config.seed)
        manifest = "".join(f"{files.sha256(path)}  {path.resolve()}\n" for path in sorted(found))
        return Pictures(
            sources=(_source(paths),),
            shares=(1.0,),
            validation=(_source(held_out),),
            manifest=manifest,
            decoded_bytes=sum(path.stat().st_size for path in found),
        )

    def build(self, pictures: Any) -> Any:
        """Build and compile the model; see `TrainingJob`."""
        return build_interpolation_gan(self.config)

    def sampler(self, pictures: Any, phase: Any) -> Any:
        """Examples of a phase; see `TrainingJob`."""
        return triplets.TripletSampler(
            sources=pictures.sources,
            shares=pictures.shares,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
        )

    def validation(self, pictures: Any) -> tuple[np.ndarray, np.ndarray]:
        """Whole patches that were set aside; see `TrainingJob`."""
        (source,) = pictures.validation
        sampler = triplets.TripletSampler(
            sources=(source,),
            shares=(1.0,),
            size=np.load(source.paths[0], mmap_mode="r").shape[0],
            batch_size=1,
            seed=0,
            crop="center",
            flip=False,
        )
        return workers.validation_arrays(sampler, min(self.validation_count, len(source)))

    def input_scores(self, validation: Any) -> dict[str, float]:
        """What the classical estimate and a blend of both frames score; see `TrainingJob`."""
        seen, frame = validation
        blend = (seen[..., :1] + seen[..., 1:2]) / 2
        classical, still = (
            float(np.mean(ops.convert_to_numpy(validation_psnr(frame, one))))
            for one in (_classical(seen), blend)
        )
        return {"psnr": classical, "blend": {"psnr": still}}

    def draw(self, model: Any, validation: Any) -> np.ndarray:
        """Rows of the classical, the corrected and the true frame; see `TrainingJob`."""
        seen, frame = (side[:_SHOWN] for side in validation)
        corrected = ops.convert_to_numpy(model(ops.convert_to_tensor(seen)))
        rows = np.concatenate([_classical(seen), np.clip(corrected, 0, 1), frame], axis=2)
        return color.from_float(rows.reshape(-1, rows.shape[2]), np.uint8)

    def monitored(self, row: Mapping[str, float], before: Mapping[str, float]) -> float:
        """PSNR; see `TrainingJob`."""
        return row.get("val_psnr", -math.inf)

    def describe(self, row: Mapping[str, float], before: Mapping[str, float]) -> str:
        """The validation of an epoch in words; see `TrainingJob`."""
        return (
            f"validation PSNR {row.get('val_psnr', math.nan):.2f} dB (classical "
            f"{before['psnr']:.2f}, blend {before['blend']['psnr']:.2f})"
        )


def _patches(folder):
    paths = sorted(pathlib.Path(folder).glob("*.npy"))
    if not paths:
        raise ValueError(
            f"A folder of triplets must hold patches. Received: {folder}, without any. Name clips "
            "with --videos."
        )
    return paths


def _source(paths):
    return triplets.TripletPatches(paths=tuple(paths), backwards=interpolation.BACKWARDS)


def _classical(seen):
    parts, weights = np.split(seen, 2, axis=-1)
    return np.clip((parts * weights).sum(axis=-1, keepdims=True), 0, 1)


def build_interpolation_gan(config: Any) -> InterpolationGAN:
    """Build and compile the model of a configuration.

    Args:
        config: `config.InterpolatorConfig`.

    Returns:
        `InterpolationGAN`.

    Raises:
        ValueError: If the network is no correction.
    """
    if config.generator not in networks.CORRECTIONS:
        raise ValueError(
            f"The generator must be one of {', '.join(networks.CORRECTIONS)}. "
            f"Received: generator={config.generator!r}."
        )
    discriminator = opponent = None
    if config.adversarial_epochs:
        discriminator = networks.build(config.discriminator, **config.discriminator_options)
        opponent = optimizers.discriminator_optimizer(config, repeats=config.critic_steps)
    model = InterpolationGAN(
        networks.build(config.generator, **config.generator_options),
        discriminator,
        content=config.content,
        scale_weight=0.0,
        adversarial=config.adversarial,
        adversarial_weight=config.adversarial_weight,
        gradient_penalty_weight=config.gradient_penalty_weight,
        critic_steps=config.critic_steps,
        gradient_accumulation=config.gradient_accumulation,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    model.compile(
        generator_optimizer=optimizers.generator_optimizer(config),
        discriminator_optimizer=opponent,
        clip_norm=config.clip_norm,
    )
    return model
