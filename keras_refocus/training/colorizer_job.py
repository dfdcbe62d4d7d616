"""What a training of the colorizer has for itself: its photos, its networks, its validation."""

import dataclasses
import logging
import math
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from keras import ops

from keras_refocus import networks
from keras_refocus.data import sampling, workers
from keras_refocus.metrics import fidelity
from keras_refocus.pictures import color, color_bins, grayscale
from keras_refocus.restoration.chroma import WORKING_SIZE
from keras_refocus.training import configs, optimizers
from keras_refocus.training.cycle_gan import CycleGAN
from keras_refocus.training.job import Pictures, TrainingJob, manifest_lines, usable_photos

_log = logging.getLogger(__name__)

# Side of the picture whose colours are counted: about that of the chroma that is predicted.
_COUNTED_SIDE = 64
_COUNTED_EXAMPLES = 2000  # Of a prepared data set.
_SHOWN = 6  # Validation photos on the sheet of an epoch.

# Side of the validation photos in pixels: what the pipeline shows the colorizer.
VALIDATION_SIZE = WORKING_SIZE


def _count_colors(rgb):
    """How often each class of `color_bins` occurs in a picture, or `None` if it is grey."""
    if rgb.dtype != np.uint8:
        rgb = color.from_float(color.to_float(rgb), np.uint8)
    if grayscale.is_grayscale(rgb):
        return None
    small = cv2.resize(rgb, (_COUNTED_SIDE, _COUNTED_SIDE), interpolation=cv2.INTER_AREA)
    return color_bins.histogram(color.rgb_to_lab(small)[1])


def _color_photos(folders):
    """Check the photos of folders, and leave the grey ones out.

    Returns:
        Tuple `(facts, grays)`: those of `job.inspect_pictures` for each photo in colour, and the
        number of grey photos.
    """
    facts = usable_photos(folders, look=_count_colors)
    kept = {path: fact for path, fact in facts.items() if fact[2] is not None}
    grays = len(facts) - len(kept)
    if grays:
        _log.warning("%d grey photos were left out", grays)
    if not kept:
        raise ValueError(
            "At least one photo must be in colour. Received: "
            f"{', '.join(map(str, folders))} with {grays} grey photos."
        )
    return kept, grays


@dataclasses.dataclass(frozen=True, kw_only=True)
class ColorizerJob(TrainingJob):
    """A training of the colorizer; see `TrainingJob`.

    Attributes:
        photos: Tuple of paths of folders of colour photos.
    """

    photos: tuple = ()

    stage = "colorizer"
    config_class = configs.ColorizerConfig
    columns = ("grey", "coloured", "photo")
    sides = ("luminance", "chroma")
    _folder_flags = "--photos"
    _path_lists = ("photos",)

    def __post_init__(self):
        super().__post_init__()
        if self.data is not None and not self.config.paired:
            raise ValueError(
                "A data set gives pairs. Received: "
                f"data={self.data!r}, paired=False. Train unpaired on folders: --photos."
            )
        if self.data is not None and self.config.old_prints:
            raise ValueError(
                "Old prints are made of photos in RGB, which a prepared data set does not hold. "
                f"Received: data={self.data!r}, old_prints={self.config.old_prints}. Train on "
                "folders: --photos."
            )
        if self.strategy is not None:
            raise ValueError(
                "A colorizer is trained on one device: each of its discriminators has one history "
                f"of pictures. Received: strategy={self.strategy!r}. Leave --strategy out."
            )

    def collect(self) -> Any:
        """Find and check the photos; see `TrainingJob`."""
        data_set = self.data_set()
        if data_set is not None:
            return self._collect_prepared(data_set)
        found, grays = _color_photos(self.photos)
        paths = list(found)
        everything = dict(found)
        if self.validation_photos:
            facts, more = _color_photos([self.validation_photos])
            held_out = list(facts)
            everything |= facts
            grays += more
        else:
            paths, held_out = sampling.split_hold_out(paths, seed=self.config.seed)
        halves = (paths,)
        if not self.config.paired:
            if len(paths) < 2:
                raise ValueError(
                    "Unpaired training needs at least two photos, one of them to be grey. "
                    f"Received: {len(paths)}. Add photos."
                )
            halves = (paths[::2], paths[1::2])
        return Pictures(
            sources=tuple(self._source(half) for half in halves),
            shares=(1.0,),
            validation=(self._source(held_out),),
            manifest=manifest_lines(everything),
            notes=(f"{grays} grey photos were left out.",) if grays else (),
            color_counts=sum(found[path][2] for path in paths),
        )

    def _collect_prepared(self, data_set):
        """The same of a prepared data set, whose builder has left grey pictures out."""
        facts, grays = {}, 0
        if self.validation_photos:
            facts, grays = _color_photos([self.validation_photos])
        counts = None
        if self.config.rebalance is not None:
            # Stored in a random order, so the first are a fair sample.
            _, chroma = data_set.arrays(
                split="train", size=_COUNTED_SIDE, count=_COUNTED_EXAMPLES, whole=True
            )
            counts = color_bins.histogram(chroma)
        return Pictures(
            sources=(data_set,),
            shares=(1.0,),
            validation=(self._source(facts) if facts else data_set,),
            manifest=manifest_lines(facts) + data_set.manifest(),
            notes=(f"{grays} grey photos were left out.",) if grays else (),
            color_counts=counts,
            data_set=data_set.describe(),
        )

    def _source(self, paths):
        return sampling.ColorSource(paths=tuple(paths), smallest_part=self.config.smallest_part)

    def build(self, pictures: Any) -> Any:
        """Build and compile the model; see `TrainingJob`."""
        return build_cycle_gan(self.config, color_counts=pictures.color_counts)

    def sampler(self, pictures: Any, phase: Any) -> Any:
        """Examples of a phase; see `TrainingJob`."""
        photos, *gray = pictures.sources
        return sampling.ColorSampler(
            sources=(photos,),
            shares=pictures.shares,
            gray=gray[0] if gray else None,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
            tone=self.config.tone,
            # Discriminators judge the whole picture, which is to be one of today.
            old_prints=0.0 if phase.adversarial else self.config.old_prints,
        )

    def prepared_options(self) -> dict[str, Any]:
        """What a prepared data set is asked for; see `TrainingJob`."""
        return {"smallest_part": self.config.smallest_part, "tone": self.config.tone}

    def validation(self, pictures: Any) -> tuple[np.ndarray, np.ndarray]:
        """Whole photos as the pipeline shows them; see `TrainingJob`."""
        (source,) = pictures.validation
        if not isinstance(source, sampling.ColorSource):
            return source.arrays(size=VALIDATION_SIZE, count=self.validation_count, whole=True)
        sampler = sampling.ColorSampler(
            sources=(source,),
            shares=(1.0,),
            size=VALIDATION_SIZE,
            batch_size=1,
            seed=0,
            crop="center",
            flip=False,
        )
        return workers.validation_arrays(sampler, min(len(source), self.validation_count))

    def input_scores(self, validation: Any) -> dict[str, float]:
        """What the grey picture scores, and the photo itself; see `TrainingJob`."""
        luminance, chroma = validation
        gray, true = (_to_rgb(luminance, side) for side in (np.zeros_like(chroma), chroma))
        return {
            "psnr": float(np.mean(fidelity.psnr(true, gray))),
            "chroma_error": float(np.mean(fidelity.chroma_error(chroma, np.zeros_like(chroma)))),
            "colorfulness": 0.0,
            "truth": {"colorfulness": float(np.mean(fidelity.colorfulness(true)))},
        }

    def draw(self, model: Any, validation: Any) -> np.ndarray:
        """Rows of grey, coloured and true; see `TrainingJob`."""
        luminance, chroma = (side[:_SHOWN] for side in validation)
        predicted = model.averaged_generator(ops.convert_to_tensor(luminance), training=False)
        sides = (np.zeros_like(chroma), ops.convert_to_numpy(predicted), chroma)
        rows = np.concatenate([_to_rgb(luminance, side) for side in sides], axis=2)
        return color.from_float(rows.reshape(-1, *rows.shape[2:]), np.uint8)

    def monitored(self, row: Mapping[str, float], before: Mapping[str, float]) -> float:
        """Minus the chroma error, plus what is missing of the colours, as shares; higher is better.

        Nothing but grey has a small error, so an epoch whose pictures have too little colour pays
        for it: one hundredth of the photos' colourfulness below the target weighs as much as one
        hundredth of the grey picture's error.
        """
        if "val_chroma_error" not in row or "val_colorfulness" not in row:
            return -math.inf
        error = row["val_chroma_error"] / max(before["chroma_error"], 1e-6)
        share = row["val_colorfulness"] / max(before["truth"]["colorfulness"], 1e-6)
        return -error - max(0.0, self.config.colorfulness_target - share)

    def describe(self, row: Mapping[str, float], before: Mapping[str, float]) -> str:
        """The validation of an epoch in words; see `TrainingJob`."""
        return (
            f"chroma error {row.get('val_chroma_error', math.nan):.2f} "
            f"(grey {before['chroma_error']:.2f}), "
            f"colourfulness {row.get('val_colorfulness', math.nan):.1f} "
            f"(photos {before['truth']['colorfulness']:.1f}), "
            f"PSNR {row.get('val_psnr', math.nan):.2f} dB (grey {before['psnr']:.2f})"
        )


def _to_rgb(luminance, chroma):
    return np.clip(color.lab_to_rgb(luminance, chroma), 0.0, 1.0)


def _check_kind(name, kind, table):
    if name not in table:
        raise ValueError(
            f"The {kind} must be one of {', '.join(table)}. Received: {kind}={name!r}."
        )


def build_cycle_gan(config: Any, *, color_counts: np.ndarray | None = None) -> CycleGAN:
    """Build and compile the GAN of a configuration.

    Args:
        config: `config.ColorizerConfig`.
        color_counts: How often each class of `color_bins` occurs in the training photos; needed
            where the configuration rebalances.

    Returns:
        `CycleGAN`; without opponents if there are no adversarial epochs.

    Raises:
        ValueError: If a network of the configuration is none of its kind.
    """
    _check_kind(config.generator, "generator", networks.COLORIZERS)
    generator = networks.build(config.generator, **config.generator_options)
    opponents = ()
    if config.adversarial_epochs:
        _check_kind(config.decolorizer, "decolorizer", networks.DECOLORIZERS)
        _check_kind(config.discriminator, "discriminator", networks.DISCRIMINATORS)
        options = config.discriminator_options
        opponents = (
            networks.build(config.decolorizer, **config.decolorizer_options),
            networks.build(
                config.discriminator, **{"channels": 3, "name": "color_discriminator"} | options
            ),
            networks.build(
                config.discriminator,
                **{"channels": 1, "name": "gray_discriminator"}
                | options
                | config.gray_discriminator_options,
            ),
        )
    rarity = None
    if config.rebalance is not None:
        rarity = color_bins.rarity(color_counts, uniform=config.rebalance)
    model = CycleGAN(
        generator,
        *opponents,
        color_losses=config.color_losses,
        rarity=rarity,
        paired=config.paired,
        adversarial=config.adversarial if opponents else "lsgan",
        adversarial_weight=config.adversarial_weight,
        cycle_weight=config.cycle_weight,
        identity_weight=config.identity_weight,
        pool_size=config.pool_size,
        patch_size=config.patches(config.epochs)[0],
        gradient_accumulation=config.gradient_accumulation,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    model.compile(
        generator_optimizer=optimizers.generator_optimizer(config),
        discriminator_optimizer=optimizers.discriminator_optimizer(config) if opponents else None,
        clip_norm=config.clip_norm,
    )
    return model
