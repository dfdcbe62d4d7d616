"""What a training of the restorer has for itself: photos, pairs, networks, validation."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_refocus import networks
from keras_refocus.blur import exposure
from keras_refocus.data import sampling, workers
from keras_refocus.metrics import fidelity
from keras_refocus.pictures import catalogue, color
from keras_refocus.training import configs, initial_weights, optimizers
from keras_refocus.training.deblur_gan import DeblurGAN, validation_psnr
from keras_refocus.training.job import (
    Pictures,
    TrainingJob,
    inspect_pictures,
    log_bad,
    manifest_lines,
    usable_photos,
)

VALIDATION_PATCH = 256  # Pixels; the whole of a patch counts.
_FEWEST = 8  # Validation patches, though there be fewer pictures; of one at most five.
_SHOWN = 6  # Validation patches on the sheet of an epoch.


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestorerJob(TrainingJob):
    """A training of the restorer; see `TrainingJob`.

    Attributes:
        photos: Tuple of paths of folders of sharp photos. Photos to validate on get seeded
            synthetic blur.
        pairs: Tuple of paths of folders of pairs.
        validation_pairs: Path of a folder of pairs to validate on.
        teacher: Path of a trained restorer to learn from beside the sharp pictures, as
            `initial_weights.load_network` takes it, or `None`.
    """

    photos: tuple = ()
    pairs: tuple = ()
    validation_pairs: pathlib.Path | None = None
    teacher: pathlib.Path | None = None

    stage = "restorer"
    config_class = configs.RestorerConfig
    columns = ("blurred", "restored", "sharp")
    sides = ("blurred", "sharp")
    _paths = ("data_dir", "validation_photos", "validation_pairs", "teacher")
    _path_lists = ("photos", "pairs")
    _folder_flags = "--photos or --pairs"

    def collect(self) -> Any:
        return _collect(self)

    def build(self, pictures: Any) -> Any:
        teacher = self.teacher and initial_weights.load_network(self.teacher)
        return build_deblur_gan(self.config, teacher=teacher)

    def sampler(self, pictures: Any, phase: Any) -> Any:
        return sampling.Sampler(
            sources=pictures.sources,
            shares=pictures.shares,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
            echo=self.config.echo or sampling.default_echo(pictures.decoded_bytes),
        )

    def prepared_options(self) -> dict[str, Any]:
        from keras_refocus.data import prepared

        echo = self.config.echo or prepared.DEFAULT_ECHO
        return {"degradations": self.config.pair_degradations, "echo": echo}

    def validation(self, pictures: Any) -> tuple[np.ndarray, np.ndarray]:
        return _validation_arrays(pictures.validation, self.validation_count)

    def input_scores(self, validation: Any) -> dict[str, float]:
        return _input_scores(validation)

    def draw(self, model: Any, validation: Any) -> np.ndarray:
        return sample_sheet(model.averaged_generator, *(side[:_SHOWN] for side in validation))

    def monitored(self, row: Mapping[str, float], before: Mapping[str, float]) -> float:
        return row.get("val_psnr", -math.inf)

    def describe(self, row: Mapping[str, float], before: Mapping[str, float]) -> str:
        values = row.get("val_psnr", math.nan), row.get("val_ssim", math.nan)
        return "validation PSNR {:.2f} dB, SSIM {:.4f}".format(*values)


def _usable_pairs(folder, split):
    pairs = catalogue.list_pairs(folder, split=split)
    facts, bad = inspect_pictures([path for pair in pairs for path in pair])
    log_bad(bad)
    kept = [pair for pair in pairs if not bad.keys() & set(pair)]
    unequal = [pair for pair in kept if facts[pair[0]][1] != facts[pair[1]][1]]
    if unequal:
        blurred, sharp = unequal[0]
        raise ValueError(
            "The two sides of a pair must have the same size. Received: "
            f"{len(unequal)} unequal pairs, such as {blurred} with {facts[blurred][1]} and {sharp} "
            f"with {facts[sharp][1]} (height, width). Remove or repair them."
        )
    if not kept:
        raise ValueError(
            f"At least one pair must be readable. Received: {folder}, where none is. The messages "
            "above say why."
        )
    return kept, {path: facts[path] for pair in kept for path in pair}


def _collect(job):
    """List and check the pictures of a restorer's job."""
    config = job.config
    # A wrong name must not show after thousands of photos have been read.
    blur = exposure.settings(config.blur, **config.blur_options)
    if config.pair_degradations is not None:
        exposure.settings(config.pair_degradations)
    data_set = job.data_set()
    photos = usable_photos(job.photos)
    found = dict(photos)
    photo_paths, held_out_photos = list(photos), []
    pairs = []
    for folder in job.pairs:
        kept, facts = _usable_pairs(folder, "train")
        pairs += kept
        found.update(facts)
    held_out_pairs = []
    if job.validation_photos:
        facts = usable_photos([job.validation_photos])
        held_out_photos = list(facts)
        found.update(facts)
    if job.validation_pairs:
        held_out_pairs, facts = _usable_pairs(job.validation_pairs, "test")
        found.update(facts)
    training, validation = [], []
    if data_set is not None:
        training.append(data_set)
        if not held_out_photos and not held_out_pairs:
            validation.append(data_set)
    elif not held_out_photos and not held_out_pairs:
        if photo_paths:
            photo_paths, held_out_photos = sampling.split_hold_out(photo_paths, seed=config.seed)
        else:
            pairs, held_out_pairs = sampling.split_hold_out(
                pairs, scenes=[catalogue.scene(pair) for pair in pairs], seed=config.seed
            )
    if photo_paths:
        training.append(sampling.PhotoSource(paths=tuple(photo_paths), blur=blur))
    if pairs:
        training.append(
            sampling.PairSource(paths=tuple(pairs), degradations=config.pair_degradations)
        )
    shares = (1.0 - config.pairs_share, config.pairs_share) if len(training) == 2 else (1.0,)
    sides = [(path, sampling.PhotoSource.max_pixels) for path in photo_paths]
    sides += [(path, math.inf) for pair in pairs for path in pair]
    decoded = sum(3 * min(math.prod(found[path][1]), most) for path, most in sides)
    if held_out_pairs:
        validation.append(sampling.PairSource(paths=tuple(held_out_pairs)))
    if held_out_photos:
        validation.append(sampling.PhotoSource(paths=tuple(held_out_photos), blur=blur))
    return Pictures(
        sources=tuple(training),
        shares=shares,
        validation=tuple(validation),
        manifest=manifest_lines(found) + (data_set.manifest() if data_set else ""),
        data_set=data_set.describe() if data_set else None,
        decoded_bytes=decoded,
    )


def _validation_arrays(sources, count):
    """Central patches of the first pictures of each source, blurred with a fixed seed.

    Where there are few pictures, patches of their corners make up for it.
    """
    parts = []
    for source in sources:
        share = max(1, count // len(sources))
        if not isinstance(source, sampling.PhotoSource | sampling.PairSource):
            patches = max(1, min(len(source), share))
            parts.append(source.arrays(size=VALIDATION_PATCH, count=patches))
            continue
        left = min(share, max(len(source), _FEWEST))
        for number, crop in enumerate(sampling.WINDOWS):
            patches = min(len(source), left)
            if not patches:
                break
            sampler = sampling.Sampler(
                sources=(source,),
                shares=(1.0,),
                size=VALIDATION_PATCH,
                batch_size=1,
                # Blur of its own for each window of a photo; the same pictures in any order.
                seed=number,
                crop=crop,
                flip=False,
            )
            parts.append(workers.validation_arrays(sampler, patches))
            left -= patches
    return tuple(np.concatenate(side) for side in zip(*parts, strict=True))


def _input_scores(validation):
    """Mean scores of the blurred side of the validation set."""
    blurred, sharp = validation
    return {
        "psnr": float(np.mean(validation_psnr(sharp, blurred))),
        "ssim": float(np.mean(fidelity.ssim(sharp, blurred))),
    }


def sample_sheet(generator: Any, blurred: np.ndarray, sharp: np.ndarray) -> np.ndarray:
    """Draw rows of blurred, restored and sharp luminance.

    Args:
        generator: Model from blurred to restored luminance.
        blurred: float32 array of shape `(count, height, width, 1)` in [0, 1].
        sharp: Array of the same shape.

    Returns:
        uint8 array of shape `(count * height, 3 * width)`.
    """
    restored = ops.convert_to_numpy(generator(ops.convert_to_tensor(blurred), training=False))
    rows = np.concatenate([blurred, restored, sharp], axis=2)
    return color.from_float(rows.reshape(-1, rows.shape[2]), np.uint8)


def build_deblur_gan(config: Any, *, teacher: Any = None) -> DeblurGAN:
    """Build and compile the GAN of a configuration.

    Args:
        config: `config.RestorerConfig`.
        teacher: See `DeblurGAN`.

    Returns:
        `DeblurGAN`.
    """
    generator = networks.build(config.generator, **config.generator_options)
    discriminator = None
    if config.adversarial_epochs:
        discriminator = networks.build(config.discriminator, **config.discriminator_options)
    model = DeblurGAN(
        generator,
        discriminator,
        content=config.content,
        warm_up_content=config.warm_up_content,
        scale_weight=config.scale_weight,
        teacher=teacher,
        teacher_weight=config.teacher_weight,
        adversarial=config.adversarial,
        adversarial_weight=config.adversarial_weight,
        gradient_penalty_weight=config.gradient_penalty_weight,
        critic_steps=config.critic_steps,
        gradient_accumulation=config.gradient_accumulation,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    opponent = discriminator and optimizers.discriminator_optimizer(
        config, repeats=config.critic_steps
    )
    model.compile(
        generator_optimizer=optimizers.generator_optimizer(config),
        discriminator_optimizer=opponent,
        clip_norm=config.clip_norm,
    )
    return model
