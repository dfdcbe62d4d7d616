"""A training run: its pictures, its phases, its callbacks, and how it goes on after a stop."""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import math
import pathlib
import shlex
import sys
import time
import typing

import keras
import numpy as np
from keras import ops
from PIL import Image
from tqdm import tqdm

from keras_refocus import networks
from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.data import workers as data
from keras_refocus.engines import local as engines
from keras_refocus.metrics import fidelity as metrics
from keras_refocus.pictures import color, images
from keras_refocus.training import config as configs
from keras_refocus.training import devices as replication
from keras_refocus.training import gan, run_folder
from keras_refocus.training.deblur_gan import DeblurGAN, validation_psnr

_log = logging.getLogger(__name__)


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
        peak,
        end,
        *,
        warmup_steps,
        steps,
        second_peak=0.0,
        second_end=0.0,
        second_steps=0,
        kind="cosine",
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

    def get_config(self):
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


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive epochs with the same patches and the same losses."""

    first_epoch: int
    last_epoch: int  # Exclusive, as in `range`.
    patch_size: int
    batch_size: int
    adversarial: bool


def phases(config):
    """Split the epochs of a configuration into phases."""
    result = []
    for epoch in range(config.total_epochs):
        kind = (*config.patches(epoch), epoch >= config.epochs)
        if result and (result[-1][2:]) == kind:
            result[-1] = (result[-1][0], epoch + 1, *kind)
        else:
            result.append((epoch, epoch + 1, *kind))
    return [Phase(*values) for values in result]


def sample_sheet(generator, blurred, sharp):
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


class _Events:
    """Curves and pictures for TensorBoard, whichever backend trains.

    Args:
        folder: Path of the folder.
    """

    def __init__(self, folder):
        self._writer = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(folder))
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            _log.info("no TensorBoard files: `pip install tensorboard` to have them")
        else:
            self._writer = SummaryWriter(str(folder))

    def write(self, epoch, row, sheet, title):
        """Write the row of an epoch, and its samples as a uint8 picture, grey or RGB."""
        if self._writer is None:
            return
        scalars = {
            f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}": value
            for name, value in row.items()
            if name != "epoch"
        }
        picture = sheet.reshape(1, *sheet.shape[:2], -1)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            with self._writer.as_default(step=epoch):
                for name, value in scalars.items():
                    tf.summary.scalar(name, value)
                tf.summary.image(title, picture)
        else:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, epoch)
            self._writer.add_images(title, picture, epoch, dataformats="NHWC")
        self._writer.flush()


class RunKeeper(keras.callbacks.Callback):
    """Keep the run folder true after every epoch: state, best weights, log, curves, samples.

    Args:
        job: `Job`: says where the folder is, how many epochs there are, what an epoch is worth.
        record: Dict of `record.json`.
        draw: Callable that draws samples of the model in training: uint8 array of shape
            `(height, width)` or `(height, width, 3)`.
        rows: Rows of the log so far.
        write: Whether this process keeps the folder; the others of a strategy only follow.
    """

    # A check costs a wait for the device.
    _NAN_INTERVAL = 50

    def __init__(self, job, record, *, draw, rows=(), write=True):
        super().__init__()
        self._job = job
        self._folder = pathlib.Path(job.folder)
        self._record = record
        self._total_epochs = job.config.total_epochs
        self._draw = draw
        self._rows = list(rows)
        self._patience = job.config.patience
        self.writes = write
        self._events = _Events(self._folder / run_folder.TENSORBOARD) if write else None
        self._started = None
        self.stopped_on_nan = False

    @property
    def rows(self):
        return list(self._rows)

    def _score(self, row):
        return self._job.score(row, self._record["validation"])

    @property
    def _best(self):
        """The row of the best epoch so far, the first of equals, or `None`."""
        return max(self._rows, key=self._score, default=None)

    @property
    def out_of_patience(self):
        """Whether validation has not become better for too long."""
        if self._patience is None or not self._rows:
            return False
        return len(self._rows) - 1 - self._rows.index(self._best) >= self._patience

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if (batch + 1) % self._NAN_INTERVAL == 0:
            self._check(logs)

    def _check(self, logs):
        """Stop at a number that is not finite; the files of the last good epoch stay."""
        if not all(math.isfinite(float(value)) for value in (logs or {}).values()):
            self.stopped_on_nan = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._check(logs)
        if self.stopped_on_nan:
            return
        row = {"epoch": epoch + 1, **logs}
        row["seconds"] = time.perf_counter() - self._started
        is_best = self._best is None or self._score(row) > self._score(self._best)
        self._rows.append(row)
        if self.out_of_patience:
            self.model.stop_training = True
        if self.writes:
            self._keep(row, is_best)
        left = (self._total_epochs - epoch - 1) * np.median([row["seconds"] for row in self._rows])
        _log.info(
            "epoch %d/%d: %s (best in epoch %d); about %s left",
            epoch + 1,
            self._total_epochs,
            self._job.describe(row, self._record["validation"]),
            self._best["epoch"],
            run_folder.duration(left),
        )

    def _room(self):
        """Bytes that an epoch writes at most: every weight with Adam's two, networks, pictures."""
        weights = sum(math.prod(variable.shape) for variable in self.model.variables)
        return 5_000_000 + 4 * 4 * weights

    def _keep(self, row, is_best):
        folder, epoch = self._folder, row["epoch"]
        averaged = self.model.averaged_generator
        run_folder.check_room(folder, self._room())
        # The state comes last: if a write fails, the run goes on from the epoch before.
        run_folder.write_atomically(folder / run_folder.AVERAGED, averaged.save)
        if is_best:
            run_folder.write_atomically(folder / run_folder.BEST, averaged.save)
        run_folder.write_log(folder / run_folder.LOG, self._rows)
        run_folder.draw_curves(folder / run_folder.CURVES, self._rows)
        samples = folder / run_folder.SAMPLES
        samples.mkdir(exist_ok=True)
        sheet = self._draw()
        run_folder.write_atomically(
            samples / f"epoch_{epoch:04d}.png", lambda path: Image.fromarray(sheet).save(path)
        )
        status = f"Epoch {epoch} of {self._total_epochs}"
        if self.out_of_patience:
            status += f", ended after {self._patience} epochs without a better score"
        run_folder.write_report(
            folder,
            self._record,
            self._rows,
            status=f"{status}.",
            command=self._job.command(),
            next_steps=self._job.next_steps(),
            best=self._best,
            columns=self._job.columns,
        )
        run_folder.write_atomically(folder / run_folder.STATE, self.model.save_weights)
        self._events.write(epoch, row, sheet, ", ".join(self._job.columns))


def _inspect(path, look):
    """SHA-256 and size of a picture and what else is seen, or the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        rgb = images.read(content).rgb
        seen = look(rgb) if look else None
    except (OSError, ValueError) as error:
        return None, str(error)
    return (hashlib.sha256(content).hexdigest(), rgb.shape[:2], seen), None


def survey(paths, *, look=None):
    """Read every picture once, so that training meets no bad file after hours.

    Args:
        paths: List of paths.
        look: Callable from RGB to what else shall be known of a picture.

    Returns:
        Tuple `(facts, bad)`: dict from path to `(sha256, (height, width), seen)`, and dict from
        path to the reason why it cannot be used.
    """
    facts, bad = {}, {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = tqdm(
            pool.map(lambda path: _inspect(path, look), paths),
            total=len(paths),
            desc="checking pictures",
            unit="file",
            disable=not sys.stderr.isatty(),
        )
        for path, (fact, reason) in zip(paths, results, strict=True):
            if reason is None:
                facts[path] = fact
            else:
                bad[path] = reason
    return facts, bad


def _log_bad(bad):
    for path, reason in bad.items():
        _log.warning("left out: %s: %s", path, reason)
    if bad:
        _log.warning("%d unreadable files were left out", len(bad))


def usable_photos(folder, *, look=None):
    """Survey the photos of a folder, and say which are left out.

    Raises:
        ValueError: If none can be read.
    """
    facts, bad = survey(sampling.list_photos(folder), look=look)
    _log_bad(bad)
    if not facts:
        raise ValueError(
            f"At least one picture must be readable. Received: {folder}, where none of {len(bad)} "
            "is. The messages above say why."
        )
    return facts


def _usable_pairs(folder):
    pairs = sampling.list_pairs(folder)
    facts, bad = survey([path for pair in pairs for path in pair])
    _log_bad(bad)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a job trains and validates on, checked.

    Attributes:
        sources: Tuple of sources, see `sampling`.
        shares: Tuple of the probability of each.
        validation: Tuple of sources to validate on.
        manifest: Text of `manifest.txt`.
        notes: Tuple of sentences about them for the record.
        color_counts: How often each colour of `color_bins` occurs, or `None`.
        data_set: Facts of the prepared data set that they come from, ready for JSON, or `None`.
        decoded_bytes: Memory that those of folders take when all of them are decoded.
    """

    sources: tuple
    shares: tuple
    validation: tuple
    manifest: str
    notes: tuple = ()
    color_counts: np.ndarray | None = None
    data_set: dict | None = None
    decoded_bytes: int = 0


def manifest(facts):
    """Write SHA-256 and path of pictures, by path.

    Args:
        facts: Dict from path to `(sha256, ...)`.
    """
    return "".join(f"{facts[path][0]}  {path.resolve()}\n" for path in sorted(facts))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training: what to train, on what, and where it is kept.

    A subclass has the constants below and writes what is its own:

    - `collect()`: find and check the pictures; returns `Pictures`;
    - `build(pictures)`: build and compile the `gan.GAN`;
    - `sampler(pictures, phase)`: `sampling.Sampler` of a `Phase`;
    - `prepared_options()`: what `tfds_batches.TfdsBatches` takes from the configuration;
    - `validation(pictures)`: tuple of arrays `(input, target)`;
    - `input_scores(validation)`: JSON-ready dict of what the input itself scores;
    - `draw(model, validation)`: samples as a uint8 array;
    - `score(row, before)`: what makes an epoch the best, higher is better, out of its row of the
      log and the input's scores;
    - `describe(row, before)`: the validation of an epoch in words.

    Attributes:
        folder: Path of the run folder.
        config: `config.TrainingConfig` of the stage.
        data: Name of a prepared data set to train on instead of folders, such as "hide" or
            "deblur_pairs/gopro"; its validation split is validated on.
        data_dir: Where data sets are; `None`: where TensorFlow Datasets keeps them.
        validation_photos: Path of a folder of photos to validate on. Without validation pictures
            some of the training pictures are held out.
        validation_count: Largest number of pictures to validate on.
        data_license: Licence of the pictures, for the record.
        init_from: Run folders, SavedModels or weights files to start from: one with the weights of
            the whole generator, or several with those of its parts.
        workers: Number of data processes; `None` chooses.
        strategy: Name of a `replication.STRATEGIES`, or `None` for one device.
    """

    folder: pathlib.Path
    config: configs.TrainingConfig
    data: str | None = None
    data_dir: pathlib.Path | None = None
    validation_photos: pathlib.Path | None = None
    validation_count: int = 64
    data_license: str | None = None
    init_from: tuple[pathlib.Path, ...] = ()
    workers: int | None = None
    strategy: str | None = None

    # The verb's word for it, its configurations, and what its samples show from left to right.
    stage: typing.ClassVar[str]
    config_class: typing.ClassVar[type]
    columns: typing.ClassVar[tuple]
    # What the two sides of a prepared data set must be, and the flags of folders.
    sides: typing.ClassVar[tuple]
    _folder_flags: typing.ClassVar[str]
    # Fields that are a path or `None`, and those that are tuples of paths.
    _paths: typing.ClassVar[tuple] = ("data_dir", "validation_photos")
    _path_lists: typing.ClassVar[tuple] = ()

    def __post_init__(self):
        folders = [name for name in ("photos", "pairs") if getattr(self, name, None)]
        if self.data is not None and folders:
            raise ValueError(
                "Training is on folders or on a data set. Received: "
                f"data={self.data!r} and {' and '.join(folders)}. Leave one of them out."
            )
        if self.data is None and not folders:
            raise ValueError(
                "Training needs pictures. Received: neither folders nor a data set. Name a folder "
                f"with {self._folder_flags}, or a prepared data set with --data."
            )
        if self.data is None and self.data_dir is not None:
            raise ValueError(
                f"`data_dir` is where the data set is. Received: data_dir={self.data_dir}, "
                "data=None. Name the data set with --data."
            )
        if self.validation_count < 1:
            raise ValueError(
                "`validation_count` must be at least 1. "
                f"Received: validation_count={self.validation_count}."
            )

    @classmethod
    def from_run(cls, folder, *, workers=None, strategy=None):
        """Read a job back from its run folder.

        Raises:
            FileNotFoundError: If the folder holds no run that can go on.
            ValueError: If it holds a run of another stage.
        """
        folder = pathlib.Path(folder)
        for name in (run_folder.RECORD, run_folder.STATE):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"A run that goes on must have finished an epoch. Received: {folder}, which "
                    f"holds no {name}. Start it without --resume."
                )
        record = run_folder.read_record(folder)
        stage = record.get("stage", "restorer")
        if stage != cls.stage:
            raise ValueError(
                f"The run must be that of a {cls.stage}. Received: {folder}, that of a {stage}. "
                f"Go on with: refocus train {stage} --run {folder} --resume"
            )
        values = record["data"]
        # Records of older runs know no data sets.
        given = {name: values.get(name) for name in cls._paths}
        paths = {name: path and pathlib.Path(path) for name, path in given.items()}
        lists = {name: tuple(map(pathlib.Path, values[name])) for name in cls._path_lists}
        return cls(
            folder=folder,
            config=configs.from_json(cls.config_class, record["config"]),
            data=values.get("data"),
            **paths,
            **lists,
            validation_count=values["validation_count"],
            data_license=values["license"],
            # It is in the weights by now; the report's command still needs it.
            init_from=_as_paths(record.get("init_from")),
            workers=workers,
            strategy=strategy,
        )

    def data_set(self):
        """`tfds_batches.PreparedSet` of `data`, or `None`."""
        if self.data is None:
            return None
        # Imported here: folders need neither TensorFlow Datasets nor the seconds that it takes.
        from keras_refocus.data import prepared as tfds_batches

        return tfds_batches.PreparedSet(self.data, keys=self.sides, data_dir=self.data_dir)

    def batches(self, pictures, phase, **place):
        """Batches of a phase.

        Args:
            pictures: `Pictures`.
            phase: `Phase`.
            **place: `first`, `count` and `part` of `data.Batches`.
        """
        if self.data is None:
            return data.Batches(self.sampler(pictures, phase), workers=self.workers, **place)
        (data_set,) = pictures.sources
        return data_set.batches(
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
            workers=self.workers,
            **self.prepared_options(),
            **place,
        )

    def data_record(self):
        """The data part of the record, without what only reading the files can tell."""

        def text(path):
            return None if path is None else str(pathlib.Path(path).resolve())

        return (
            {"data": self.data}
            | {name: text(getattr(self, name)) for name in self._paths}
            | {name: [text(path) for path in getattr(self, name)] for name in self._path_lists}
            | {"validation_count": self.validation_count, "license": self.data_license}
        )

    def command(self):
        """Command line that repeats this run from its start."""
        words = ["refocus", "train", self.stage, "--run", str(self.folder)]
        for name in self._path_lists:
            for path in getattr(self, name):
                words += [f"--{name}", str(path)]
        if self.init_from:
            words += ["--init-from", *map(str, self.init_from)]
        options = ("data", "validation_count", "data_license", "strategy")
        for name in (*self._paths, *options):
            if getattr(self, name) is not None:
                words += ["--" + name.replace("_", "-"), str(getattr(self, name))]
        return shlex.join(words + configs.to_arguments(self.config, self.config_class()))

    def next_steps(self):
        """What to do with the run: list of `(what, command line)`."""
        run = shlex.quote(str(self.folder))
        pictures = "--pairs" if getattr(self, "pairs", ()) else "--photos"
        mode = "" if self.stage == "restorer" else " --mode colorize"
        return [
            ("Look at it in TensorBoard", f"tensorboard --logdir {run}"),
            ("Measure it", f"refocus evaluate {self.stage} {run} {pictures} ..."),
            ("Export it", f"refocus export {run} --out my_models"),
            (
                "Restore with it",
                f"refocus restore photo.jpg{mode} --models my_models --out restored",
            ),
        ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestorerJob(Job):
    """A training of the restorer; see `Job`.

    Attributes:
        photos: Path of a folder of sharp photos, or `None`. Photos to validate on get seeded
            synthetic blur.
        pairs: Tuple of paths of folders of pairs.
        validation_pairs: Path of a folder of pairs to validate on.
    """

    photos: pathlib.Path | None = None
    pairs: tuple = ()
    validation_pairs: pathlib.Path | None = None

    stage = "restorer"
    config_class = configs.RestorerConfig
    columns = ("blurred", "restored", "sharp")
    sides = ("blurred", "sharp")
    _paths = ("data_dir", "photos", "validation_photos", "validation_pairs")
    _path_lists = ("pairs",)
    _folder_flags = "--photos or --pairs"

    def collect(self):
        return _collect(self)

    def build(self, pictures):
        return build_deblur_gan(self.config)

    def sampler(self, pictures, phase):
        return sampling.Sampler(
            sources=pictures.sources,
            shares=pictures.shares,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=self.config.seed,
            flip=self.config.flip,
            echo=self.config.echo or sampling.default_echo(pictures.decoded_bytes),
        )

    def prepared_options(self):
        from keras_refocus.data import prepared as tfds_batches

        echo = self.config.echo or tfds_batches.DEFAULT_ECHO
        return {"degradations": self.config.pair_degradations, "echo": echo}

    def validation(self, pictures):
        return _validation_arrays(pictures.validation, self.validation_count)

    def input_scores(self, validation):
        return _input_scores(validation)

    def draw(self, model, validation):
        return sample_sheet(model.averaged_generator, *(side[:6] for side in validation))

    def score(self, row, before):
        return row.get("val_psnr", -math.inf)

    def describe(self, row, before):
        values = row.get("val_psnr", math.nan), row.get("val_ssim", math.nan)
        return "validation PSNR {:.2f} dB, SSIM {:.4f}".format(*values)


def _collect(job):
    """List and check the pictures of a restorer's job."""
    config = job.config
    # A wrong name must not show after thousands of photos have been read.
    blur = exposure.settings(config.blur, **config.blur_options)
    if config.pair_degradations is not None:
        exposure.settings(config.pair_degradations)
    data_set = job.data_set()
    photos = usable_photos(job.photos) if job.photos else {}
    found = dict(photos)
    photo_paths, held_out_photos = list(photos), []
    pairs = []
    for folder in job.pairs:
        kept, facts = _usable_pairs(folder)
        pairs += kept
        found.update(facts)
    held_out_pairs = []
    if job.validation_photos:
        facts = usable_photos(job.validation_photos)
        held_out_photos = list(facts)
        found.update(facts)
    if job.validation_pairs:
        held_out_pairs, facts = _usable_pairs(job.validation_pairs)
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
            pairs, held_out_pairs = sampling.split_hold_out(pairs, seed=config.seed)
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
        manifest=manifest(found) + (data_set.manifest() if data_set else ""),
        data_set=data_set.describe() if data_set else None,
        decoded_bytes=decoded,
    )


VALIDATION_PATCH = 256  # Pixels; the whole of a patch counts.


def _validation_arrays(sources, count):
    """Central patches of the first pictures of each source, blurred with a fixed seed."""
    parts = []
    for source in sources:
        share = max(1, min(len(source), count // len(sources)))
        if not isinstance(source, sampling.PhotoSource | sampling.PairSource):
            parts.append(source.arrays(size=VALIDATION_PATCH, count=share))
            continue
        sampler = sampling.Sampler(
            sources=(source,),
            shares=(1.0,),
            size=VALIDATION_PATCH,
            batch_size=1,
            seed=0,
            crop="center",
            flip=False,
        )
        parts.append(data.validation_arrays(sampler, share))
    return tuple(np.concatenate(side) for side in zip(*parts, strict=True))


def network_of(path):
    """Tell which generator a run, a weights file inside one, or a SavedModel holds.

    Args:
        path: Run folder, `.keras` file, or folder of a SavedModel.

    Returns:
        Dict of the fields `generator` and `generator_options` of a configuration, or `None` if it
        is not recorded.
    """
    path = pathlib.Path(path)
    version = _saved_model(path)
    if version is not None:
        file = version / engines.NETWORK_FILE
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        return found and _network(found)
    folder = path if path.is_dir() else path.parent
    if not (folder / run_folder.RECORD).is_file():
        return None
    config = run_folder.read_record(folder)["config"]
    return _network(config)


def _network(config):
    """The generator of a configuration, without the file that its weights began with."""
    name, options = config["generator"], config["generator_options"]
    return {"generator": name, "generator_options": networks.architecture(name, options)}


def _saved_model(path):
    """Folder of the SavedModel that a path names, or `None`."""
    if (path / "saved_model.pb").is_file():
        return path
    return engines.newest_version(path)


def _as_paths(recorded):
    """Tuple of paths of what a record holds: a list, in older records one path, or `None`."""
    recorded = [recorded] if isinstance(recorded, str) else recorded or ()
    return tuple(map(pathlib.Path, recorded))


def _load_initial(generator, paths, network):
    """Load weights of run folders, SavedModels or files into a generator or its parts.

    One source must hold the whole generator, unless it says that it is another network: who starts
    from that has chosen so.
    """
    found = set()
    for path in map(pathlib.Path, paths):
        whole = len(paths) == 1 and network_of(path) in (None, network)
        found |= _load_part(generator, path, whole=whole)
        _log.info("started from %s", path)
    missing = [v.path for v in generator.trainable_variables if v.path not in found]
    if missing:
        _log.info(
            "%d of %d trained weights start afresh, such as %s",
            len(missing),
            len(generator.trainable_variables),
            missing[0],
        )


def _load_part(generator, path, *, whole):
    """Load the weights that one source holds; return the set of their names."""
    version = _saved_model(path)
    if version is None and path.is_dir():
        names = [name for name in (run_folder.BEST, run_folder.AVERAGED) if (path / name).is_file()]
        if not names:
            raise FileNotFoundError(
                f"The folder to start from must be a run with {run_folder.BEST} or "
                f"{run_folder.AVERAGED}, or a SavedModel. Received: {path}, which has neither."
            )
        path = path / names[0]
    if version is None and not path.is_file():
        raise FileNotFoundError(
            f"The weights to start from must exist. Received: {path}. Check the path."
        )
    variables = {variable.path: variable for variable in generator.variables}
    try:
        if version is None and path.suffix != ".keras":
            generator.load_weights(path)
            return set(variables)
        values = _saved_weights(version) if version else _file_weights(path)
        for name, value in values.items():
            if name not in variables or variables[name].shape != value.shape:
                raise ValueError(f"its {name!r} of shape {value.shape} is not in there")
        if whole and len(values) < len(variables):
            missing = next(name for name in variables if name not in values)
            raise ValueError(f"it has no {missing!r}")
        for name, value in values.items():
            variables[name].assign(value)
    except ValueError as error:
        raise ValueError(
            "The weights to start from must be of the configured generator, or of a part of it. "
            f"Received: {path} for {generator.name!r}. Choose the same generator and options. "
            f"({error})"
        ) from error
    return set(values)


def _file_weights(path):
    """Dict from the name of a variable to its value, of a `.keras` file."""
    model = keras.saving.load_model(path, compile=False)
    return {v.path: keras.ops.convert_to_numpy(v.value) for v in model.variables}


def _saved_weights(version):
    """Dict from the name of a variable to its value, of a SavedModel."""
    import tensorflow as tf

    # The archive keeps its variables in a list without order; their names are those of the network.
    variables = getattr(tf.saved_model.load(str(version)), "_all_variables", [])
    if not variables:
        raise ValueError("it has no variables")
    return {v.name.split(":")[0]: np.asarray(v.numpy(), "float32") for v in variables}


def generator_optimizer(config):
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


def discriminator_optimizer(config, *, repeats=1):
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


def build_deblur_gan(config):
    """Build and compile the GAN of a configuration.

    Args:
        config: `config.RestorerConfig`.

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
        adversarial=config.adversarial,
        adversarial_weight=config.adversarial_weight,
        gradient_penalty_weight=config.gradient_penalty_weight,
        critic_steps=config.critic_steps,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    opponent = discriminator and discriminator_optimizer(config, repeats=config.critic_steps)
    model.compile(
        generator_optimizer=generator_optimizer(config),
        discriminator_optimizer=opponent,
        clip_norm=config.clip_norm,
    )
    return model


def _deterministic_kernels():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    else:
        import torch

        torch.use_deterministic_algorithms(True)


def _build(job, pictures, strategy):
    """Build the model under the strategy and the precision of a job."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(job.config.precision)
    try:
        with strategy.scope() if strategy else contextlib.nullcontext():
            return job.build(pictures)
    finally:
        keras.config.set_dtype_policy(policy)


def _digest(pictures):
    return hashlib.sha256(pictures.manifest.encode()).hexdigest()


def _new_record(job, pictures):
    return {
        "stage": job.stage,
        "config": configs.to_json(job.config),
        "data": job.data_record()
        | {
            "files": pictures.manifest.count("\n"),
            "training_pictures": sum(len(source) for source in pictures.sources),
            "manifest_sha256": _digest(pictures),
            "notes": list(pictures.notes),
            "data_set": pictures.data_set,
        },
        "init_from": [str(path) for path in job.init_from] or None,
        "sessions": [],
    }


def _record_to_resume(folder, pictures):
    record = run_folder.read_record(folder)
    if record["data"]["manifest_sha256"] != _digest(pictures):
        raise ValueError(
            "A resumed run needs the pictures that it began with. Received: a folder whose "
            f"list of files differs from {folder / run_folder.MANIFEST}. Restore the pictures, or "
            f"start another run with --init-from {folder}."
        )
    return record


def run(job, *, resume=False):
    """Train to the end, or go on from the last whole epoch.

    Args:
        job: `Job`.
        resume: Whether to go on with the run in `job.folder`.

    Returns:
        The trained `gan.GAN`.

    Raises:
        ValueError: If the pictures or the configuration cannot be used, if the folder already
            holds a run, or if a resumed run's pictures have changed.
        OSError: If a file cannot be read or written; the last whole epoch stays.
    """
    config, folder = job.config, pathlib.Path(job.folder)
    # Before anything else: `multi-worker` must come before TensorFlow has done any work.
    strategy = replication.open_strategy(job.strategy)
    index, processes = replication.place(strategy)
    if not resume and index == 0 and (folder / run_folder.RECORD).exists():
        raise ValueError(
            f"A new run needs a folder without one. Received: {folder}, which holds a run. Choose "
            "another folder, or go on with --resume."
        )
    if strategy:
        replication.check_batches(strategy, {phase.batch_size for phase in phases(config)})
    pictures = job.collect()
    record = _record_to_resume(folder, pictures) if resume else _new_record(job, pictures)
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        _deterministic_kernels()
    validation = job.validation(pictures)
    model = _build(job, pictures, strategy)
    rows, done = [], 0
    if resume:
        model.load_weights(folder / run_folder.STATE)
        done = int(ops.convert_to_numpy(model.steps)) // config.steps_per_epoch
        rows = run_folder.read_log(folder / run_folder.LOG)
        rows = [row for row in rows if row["epoch"] <= done]
    elif job.init_from:
        _load_initial(model.generator, job.init_from, _network(dataclasses.asdict(config)))
        gan.update_average(model.averaged_generator, model.generator, 0.0)
    record["validation"] = {"pictures": len(validation[0])} | job.input_scores(validation)
    record["sessions"].append(
        {"first_epoch": done + 1, "strategy": job.strategy} | run_folder.environment()
    )
    if index == 0:
        folder.mkdir(parents=True, exist_ok=True)
        run_folder.write_text(folder / run_folder.MANIFEST, pictures.manifest)
        run_folder.write_json(folder / run_folder.RECORD, record)
    keeper = RunKeeper(
        job, record, draw=lambda: job.draw(model, validation), rows=rows, write=index == 0
    )
    _log.info(
        "%d training pictures, %d validation patches whose %s side has %.2f dB",
        record["data"]["training_pictures"],
        len(validation[0]),
        job.columns[0],
        record["validation"]["psnr"],
    )
    if done == config.total_epochs or keeper.out_of_patience:
        _log.info("nothing is left to do: the run has ended after %d epochs", done)
    for phase in phases(config):
        first_epoch = max(phase.first_epoch, done)
        if phase.last_epoch <= first_epoch or keeper.stopped_on_nan or keeper.out_of_patience:
            continue
        model.adversarial_phase = phase.adversarial
        with job.batches(
            pictures,
            phase,
            first=first_epoch * config.steps_per_epoch,
            count=(phase.last_epoch - first_epoch) * config.steps_per_epoch,
            part=(index, processes),
        ) as batches:
            epochs = range(first_epoch, phase.last_epoch)
            if strategy:
                _fit_replicated(model, strategy, batches, epochs, validation, keeper)
            else:
                _fit(model, batches, epochs, validation, keeper)
    if keeper.stopped_on_nan:
        raise ValueError(
            "The loss must stay finite. Received: NaN or infinity; the files of the last good "
            f"epoch are in {folder}. Start another run with a smaller learning rate, from them "
            f"if they are good: --init-from {folder}."
        )
    return model


def _input_scores(validation):
    """Mean scores of the blurred side of the validation set."""
    blurred, sharp = validation
    return {
        "psnr": float(np.mean(validation_psnr(sharp, blurred))),
        "ssim": float(np.mean(metrics.ssim(sharp, blurred))),
    }


def _fit(model, batches, epochs, validation, keeper):
    model.fit(
        iter(batches),
        steps_per_epoch=len(batches) // len(epochs),
        initial_epoch=epochs.start,
        epochs=epochs.stop,
        shuffle=False,  # The sampler shuffles, as a function of the batch number.
        validation_data=validation,
        validation_batch_size=8,
        callbacks=[keeper],
        verbose=1 if sys.stderr.isatty() else 0,
    )


def _fit_replicated(model, strategy, batches, epochs, validation, keeper):
    """What `_fit` does, on every replica of a strategy."""
    trainer = replication.Trainer(model, strategy)
    keeper.set_model(model)
    model.stop_training = False
    stream = iter(batches)
    for epoch in epochs:
        keeper.on_epoch_begin(epoch)
        steps = tqdm(
            itertools.islice(stream, len(batches) // len(epochs)),
            total=len(batches) // len(epochs),
            desc=f"epoch {epoch + 1}",
            disable=not (keeper.writes and sys.stderr.isatty()),
        )
        logs = trainer.train_epoch(steps, after_step=keeper.on_train_batch_end)
        if not keeper.stopped_on_nan:
            logs |= replication.validate(model, *validation)
        keeper.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
