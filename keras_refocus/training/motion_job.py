"""What a training of a motion network has for itself: exposures, what is seen of them, scores."""

import dataclasses
import logging
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from keras_refocus import networks
from keras_refocus.blur import exposure
from keras_refocus.data import exposures, kept_exposures, sampling, workers
from keras_refocus.engines import contract, local
from keras_refocus.pictures import color
from keras_refocus.system import files
from keras_refocus.training import configs, motion_model, optimizers
from keras_refocus.training.job import (
    Pictures,
    TrainingJob,
    inspect_pictures,
    log_bad,
    manifest_lines,
    usable_photos,
)
from keras_refocus.video import from_blur

_log = logging.getLogger(__name__)

#: Side of the validation pictures and of kept examples in pixels.
VALIDATION_SIZE = 192
_SHOWN = 6  # Validation pictures on the sheet of an epoch.


class _SeenBatches:
    """Batches of a sampler with what is seen of them and the true motion; see `workers.Batches`."""

    def __init__(self, batches, see):
        self._batches, self._see = batches, see

    def __len__(self):
        return len(self._batches)

    def __iter__(self):
        for pictures, frames in self._batches:
            yield self._see(pictures), _with_trajectories(frames)

    def __enter__(self):
        self._batches.__enter__()
        return self

    def __exit__(self, *exception):
        self._batches.__exit__(*exception)


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionJob(TrainingJob):
    """A training of a motion network; see `TrainingJob`.

    Attributes:
        photos: Tuple of paths of folders of sharp photos, which are exposed while they move.
        clips: Path of a folder of high-speed clips, each a folder of frames, or `None`.
        validation_clips: Path of a folder of clips to validate on.
        models: Folder with the restorer, or `None`: that which came with the installation.
        restorer: Name of the restorer.
        examples: Path of a folder that keeps what the network sees, or `None`: exposures are then
            made, restored and searched for lines anew at every step. Kept, they are made once, and
            steps see windows of them, turned.
        example_count: How many exposures are kept there.
    """

    photos: tuple = ()
    clips: pathlib.Path | None = None
    validation_clips: pathlib.Path | None = None
    models: pathlib.Path | None = None
    restorer: str = contract.RESTORER
    examples: pathlib.Path | None = None
    example_count: int = 600

    stage = "motion"
    config_class = configs.MotionConfig
    columns = ("blurred", "restored", "first", "middle", "last", "true first", "true last")
    sides = ("blurred", "frames")
    _paths = ("data_dir", "clips", "validation_photos", "validation_clips", "models")
    _paths += ("examples",)
    _path_lists = ("photos",)
    _options = ("restorer", "example_count")
    _folder_flags = "--photos or --clips"

    def __post_init__(self):
        super().__post_init__()
        if self.data is not None:
            raise ValueError(
                "Motion is learned from folders. Received: "
                f"data={self.data!r}. Name the folder that it was made of: --clips."
            )
        if self.strategy is not None:
            raise ValueError(
                "A motion network is trained on one device. Received: "
                f"strategy={self.strategy!r}. Leave --strategy out."
            )
        if self.example_count < 1:
            raise ValueError(
                "There must be at least one example. Received: "
                f"example_count={self.example_count}. Choose hundreds."
            )
        # Not a field: models are neither compared nor kept.
        object.__setattr__(self, "_engines", [])

    def see(self, pictures: np.ndarray) -> np.ndarray:
        """What the network sees of pictures; the restorer is opened when it is first needed."""
        if not self._engines:
            self._engines.append(local.LocalEngine(self.models))
        coded = self.config.coded
        return from_blur.look(pictures, self._engines[0], self.restorer, coded=coded)

    def data_record(self) -> dict[str, Any]:
        """See `TrainingJob`."""
        return super().data_record() | {name: getattr(self, name) for name in self._options}

    @classmethod
    def pictures_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """See `TrainingJob`."""
        found = {name: record["data"][name] for name in cls._options if name in record["data"]}
        return super().pictures_of(record) | found

    def collect(self) -> Any:
        """Find and check photos and clips; see `TrainingJob`."""
        blur = exposure.settings(self.config.blur, **self.config.blur_options)
        photos = usable_photos(self.photos)
        found, training, validation = dict(photos), [], []
        paths, windows, scenes = list(photos), [], []
        if self.clips:
            windows, scenes, facts = _usable_windows(self.clips)
            found |= facts
        held_out_photos, held_out = [], []
        if self.validation_photos:
            facts = usable_photos([self.validation_photos])
            held_out_photos = list(facts)
            found |= facts
        if self.validation_clips:
            held_out, _, facts = _usable_windows(self.validation_clips)
            found |= facts
        if not held_out_photos and not held_out:
            seed = self.config.seed
            if paths:
                paths, held_out_photos = sampling.split_hold_out(paths, seed=seed)
            else:
                windows, held_out = sampling.split_hold_out(windows, scenes=scenes, seed=seed)
        for chosen, (some, others) in (
            (training, (paths, windows)),
            (validation, (held_out_photos, held_out)),
        ):
            if some:
                chosen.append(self._photos(some, blur))
            if others:
                chosen.append(self._clips(others))
        return Pictures(
            sources=tuple(training),
            shares=(1 / len(training),) * len(training),
            validation=tuple(validation),
            manifest=manifest_lines(found),
            decoded_bytes=sum(3 * math.prod(fact[1]) for fact in found.values()),
        )

    def _coded_parts(self):
        return self.config.parts if self.config.coded else 0

    def _photos(self, paths, blur):
        return exposures.ExposedPhotos(
            paths=tuple(paths), blur=blur, coded_parts=self._coded_parts()
        )

    def _clips(self, windows):
        return exposures.ExposedClips(paths=tuple(windows), coded_parts=self._coded_parts())

    def build(self, pictures: Any) -> Any:
        """Build and compile the model; see `TrainingJob`."""
        return build_motion_model(self.config)

    def sampler(self, pictures: Any, phase: Any) -> Any:
        """Examples of a phase; see `TrainingJob`."""
        if self.examples is not None:
            kept = kept_exposures.KeptExposures(paths=self._kept(pictures))
            return kept_exposures.KeptSampler(
                sources=(kept,),
                shares=(1.0,),
                size=phase.patch_size,
                batch_size=phase.batch_size,
                seed=self.config.seed,
                flip=self.config.flip,
            )
        return exposures.ExposureSampler(
            sources=pictures.sources,
            shares=pictures.shares,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
            echo=sampling.default_echo(pictures.decoded_bytes),
            picture=self.config.picture,
        )

    def batches(self, pictures: Any, phase: Any, **place: Any) -> Any:
        """Batches of a phase; see `TrainingJob`."""
        # Of kept examples the sampler gives what is seen itself.
        see = self.see if self.examples is None else lambda seen: seen
        return _SeenBatches(super().batches(pictures, phase, **place), see)

    def _kept(self, pictures):
        """Paths of the kept examples; those that are missing are made."""
        sampler = exposures.ExposureSampler(
            sources=pictures.sources,
            shares=pictures.shares,
            size=VALIDATION_SIZE,
            batch_size=1,
            seed=self.config.seed,
            flip=False,
            picture=self.config.picture,
        )

        def make(number):
            picture, frames = sampler.example(number)
            return self.see(picture[None])[0], frames

        def tell(number):
            if (number + 1) % 50 == 0:
                _log.info("kept %d of %d examples", number + 1, self.example_count)

        return kept_exposures.keep(
            self.examples, self.example_count, make, self._facts(pictures), progress=tell
        )

    def _facts(self, pictures):
        """What decides the kept examples, as JSON."""
        hashes = [line.split()[0] for line in pictures.manifest.splitlines()]
        names = ("blur", "blur_options", "picture", "coded", "parts", "seed")
        return {name: getattr(self.config, name) for name in names} | {
            "size": VALIDATION_SIZE,
            "restorer": self.restorer,
            "training_pictures": [len(source) for source in pictures.sources],
            "pictures": files.sha256("\n".join(hashes).encode()),
        }

    def validation(self, pictures: Any) -> tuple[np.ndarray, np.ndarray]:
        """Central parts of pictures to validate on, exposed with a fixed seed: `TrainingJob`."""
        seen, frames = [], []
        share = max(1, self.validation_count // len(pictures.validation))
        for source in pictures.validation:
            sampler = exposures.ExposureSampler(
                sources=(source,),
                shares=(1.0,),
                size=VALIDATION_SIZE,
                batch_size=1,
                seed=0,
                crop="center",
                flip=False,
                picture=self.config.picture,
            )
            # Of few pictures several exposures each.
            count = min(share, max(len(source), 8))
            one, other = workers.validation_arrays(sampler, count)
            seen += [self.see(picture[None])[0] for picture in one]
            frames.append(other)
        return np.stack(seen), _with_trajectories(np.concatenate(frames))

    def input_scores(self, validation: Any) -> dict[str, float]:
        """What seven times the blurred picture and the classical estimate score: `TrainingJob`."""
        seen, frames = validation
        frames = frames[..., : from_blur.FRAMES]
        channels = self.config.channels
        still = np.repeat(seen[..., :1], from_blur.FRAMES, axis=-1)
        motion = np.zeros((*seen.shape[:3], contract.MOTION_CHANNELS), np.float32)
        motion[..., :2] = seen[..., channels + 1 : channels + 3] * from_blur.SCALE
        moved = np.stack(
            [
                ops.convert_to_numpy(motion_model.render(a[None], b[None]))[0]
                for a, b in zip(seen, motion, strict=True)
            ]
        )
        result = {"psnr": _mean_psnr(frames, still)}
        result["classical"] = {"psnr": _mean_psnr(frames, moved)}
        return result

    def draw(self, model: Any, validation: Any) -> np.ndarray:
        """Rows of blurred, restored, predicted and true frames; see `TrainingJob`."""
        seen, frames = (side[:_SHOWN] for side in validation)
        frames = frames[..., : from_blur.FRAMES]
        predicted = np.clip(ops.convert_to_numpy(model(ops.convert_to_tensor(seen))), 0, 1)
        parts = [seen[..., 0], seen[..., -4]]
        parts += [predicted[..., 0], predicted[..., 3], predicted[..., 6]]
        parts += [frames[..., 0], frames[..., 6]]
        rows = np.concatenate(parts, axis=2)
        return color.from_float(rows.reshape(-1, rows.shape[2]), np.uint8)

    def monitored(self, row: Mapping[str, float], before: Mapping[str, float]) -> float:
        """PSNR of the six frames that are not the middle one; see `TrainingJob`."""
        return row.get("val_others_psnr", -math.inf)

    def describe(self, row: Mapping[str, float], before: Mapping[str, float]) -> str:
        """The validation of an epoch in words; see `TrainingJob`."""
        words = (
            f"validation PSNR {row.get('val_psnr', math.nan):.2f} dB of seven frames (blurred "
            f"{before['psnr']:.2f}, classical {before['classical']['psnr']:.2f}), "
            f"{row.get('val_others_psnr', math.nan):.2f} without the middle one"
        )
        if self.config.coded:
            words += f", direction right in {100 * row.get('val_forward', math.nan):.0f}%"
        return words


def _with_trajectories(frames):
    return np.concatenate([frames, from_blur.true_trajectories(frames)], axis=-1)


def _usable_windows(folder):
    """Windows of clips whose frames can be read and are of one size, their clips, and facts."""
    windows, clips = exposures.find_windows(folder)
    facts, bad = inspect_pictures([path for window in windows for path in window])
    log_bad(bad)
    kept = [
        (window, clip)
        for window, clip in zip(windows, clips, strict=True)
        if not bad.keys() & set(window) and len({facts[path][1] for path in window}) == 1
    ]
    if not kept:
        raise ValueError(
            "At least seven frames in a row must be readable and of one size. Received: "
            f"{folder}, where none are. The messages above say why."
        )
    return [window for window, _ in kept], [clip for _, clip in kept], facts


def _mean_psnr(frames, predicted):
    found = motion_model.scores(
        ops.convert_to_tensor(frames), ops.convert_to_tensor(predicted), either_direction=True
    )
    return float(ops.convert_to_numpy(found["psnr"]).mean())


def build_motion_model(config: Any) -> Any:
    """Build and compile the model of a configuration.

    Args:
        config: `config.MotionConfig`.

    Returns:
        `MotionModel`.

    Raises:
        ValueError: If the network is no motion network.
    """
    if config.generator not in networks.MOTIONS:
        raise ValueError(
            f"The generator must be one of {', '.join(networks.MOTIONS)}. "
            f"Received: generator={config.generator!r}."
        )
    options = {"channels": config.channels} | config.generator_options
    model = motion_model.MotionModel(
        networks.build(config.generator, **options),
        loss_name=config.loss,
        either_direction=not config.coded,
        frequency_weight=config.frequency_weight,
        reblur_weight=config.reblur_weight,
        trajectory_weight=config.trajectory_weight,
        gradient_accumulation=config.gradient_accumulation,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    model.compile(
        generator_optimizer=optimizers.generator_optimizer(config), clip_norm=config.clip_norm
    )
    return model
