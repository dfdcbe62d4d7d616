"""A training run: its folder, its phases, its callbacks, and how it goes on after a stop.

A run folder holds

    record.json          configuration, data, commit, versions: what made these weights
    manifest.txt         SHA-256 and path of every picture used
    state.weights.h5     everything that decides the future, after the last whole epoch
    averaged.keras       the averaged generator after the last whole epoch
    best.keras           the averaged generator at its best validation PSNR
    log.csv              one row for each epoch
    curves.png           the same as a picture
    samples/             before, after and truth of some validation pictures, each epoch
    tensorboard/         the same for TensorBoard (TensorFlow backend only)
"""

import concurrent.futures
import csv
import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import platform
import subprocess
import sys
import time

import keras
import numpy as np
from keras import ops
from PIL import Image
from tqdm import tqdm

from keras_refocus import color, data, gan, images, metrics, networks, sampling
from keras_refocus import config as configs
from keras_refocus.deblur_gan import DeblurGAN

RECORD, MANIFEST, STATE = "record.json", "manifest.txt", "state.weights.h5"
AVERAGED, BEST, LOG = "averaged.keras", "best.keras", "log.csv"

_log = logging.getLogger(__name__)


@keras.saving.register_keras_serializable(package="keras_refocus")
class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear rise, cosine fall, then a second cosine fall for the adversarial phase.

    Args:
        peak: Learning rate at the end of the rise.
        end: Learning rate at the end of the first fall.
        warmup_steps: Steps of the rise.
        steps: Steps of the rise and the first fall together.
        second_peak: Learning rate at the start of the second fall.
        second_steps: Steps of the second fall; 0 leaves it out.
    """

    def __init__(self, peak, end, *, warmup_steps, steps, second_peak=0.0, second_steps=0):
        self.peak, self.end = peak, end
        self.warmup_steps, self.steps = warmup_steps, steps
        self.second_peak, self.second_steps = second_peak, second_steps

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rise = self.peak * (step + 1.0) / max(1, self.warmup_steps)
        fall = self._cosine(step - self.warmup_steps, self.steps - self.warmup_steps)
        fall = self.end + (self.peak - self.end) * fall
        first = ops.where(step < self.warmup_steps, rise, fall)
        if not self.second_steps:
            return first
        second = self.second_peak * self._cosine(step - self.steps, self.second_steps)
        return ops.where(step < self.steps, first, second)

    @staticmethod
    def _cosine(step, steps):
        done = ops.clip(step / max(1, steps), 0.0, 1.0)
        return 0.5 * (1.0 + ops.cos(math.pi * done))

    def get_config(self):
        return {
            "peak": self.peak,
            "end": self.end,
            "warmup_steps": self.warmup_steps,
            "steps": self.steps,
            "second_peak": self.second_peak,
            "second_steps": self.second_steps,
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


def write_atomically(path, write):
    """Write a file under a temporary name and rename it, so that no half file is ever seen.

    Args:
        path: Path of the file.
        write: Callable that writes to the path it is given.
    """
    path = pathlib.Path(path)
    # The suffix stays last: Keras chooses the format by it.
    temporary = path.with_name(f".writing-{path.name}")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path, values):
    """Write a JSON file atomically."""
    text = json.dumps(values, indent=2) + "\n"
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def provenance():
    """Commit, versions and machine of this process, for the record of a run."""
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=pathlib.Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = None
    packages = (
        "keras_refocus",
        "keras",
        keras.backend.backend(),
        "numpy",
        "opencv-python-headless",
    )
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": commit,
        "versions": versions,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def read_log(path):
    """Read `log.csv` as a list of dicts; numbers as floats, empty cells left out."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        return [
            {key: float(value) for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]


def _write_log(path, rows):
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(target):
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def draw_curves(path, rows):
    """Draw losses and validation scores over epochs as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in rows[-1] if name not in ("epoch", "seconds")]
    panels = {
        "losses": [name for name in names if "loss" in name and not name.startswith("val_")],
        "validation PSNR (dB)": [name for name in names if name == "val_psnr"],
        "validation SSIM": [name for name in names if name == "val_ssim"],
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(15, 4), layout="constrained")
    for axis, (title, members) in zip(axes, panels.items(), strict=True):
        for name in members:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points, strict=True), label=name.removeprefix("val_"), linewidth=1)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if title == "losses":
            axis.set_yscale("log")
            axis.legend(fontsize=8)
    write_atomically(path, lambda target: figure.savefig(target, dpi=110))
    pyplot.close(figure)


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


class RunKeeper(keras.callbacks.Callback):
    """Keep the run folder true after every epoch: state, best weights, log, curves, samples.

    Args:
        folder: Path of the run folder.
        model: The GAN in training.
        total_epochs: Epochs of the whole run, for the time left.
        samples: Tuple `(blurred, sharp)` of validation arrays to draw.
        rows: Rows of the log so far.
    """

    def __init__(self, folder, *, total_epochs, samples, rows=()):
        super().__init__()
        self._folder = pathlib.Path(folder)
        self._total_epochs = total_epochs
        self._samples = samples
        self._rows = list(rows)
        self._best = max((row.get("val_psnr", -math.inf) for row in rows), default=-math.inf)
        self._started = None
        self.stopped_on_nan = False

    @property
    def rows(self):
        return list(self._rows)

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        logs = {name: float(value) for name, value in (logs or {}).items()}
        if not all(math.isfinite(value) for value in logs.values()):
            # The files of the last good epoch stay as they are.
            self.stopped_on_nan = True
            self.model.stop_training = True
            return
        row = {"epoch": epoch + 1, **logs}
        row["seconds"] = time.perf_counter() - self._started
        self._rows.append(row)
        averaged = self.model.averaged_generator
        # The state comes last: if a write fails, the run goes on from the epoch before.
        write_atomically(self._folder / AVERAGED, averaged.save)
        if row.get("val_psnr", -math.inf) > self._best:
            self._best = row["val_psnr"]
            write_atomically(self._folder / BEST, averaged.save)
        _write_log(self._folder / LOG, self._rows)
        draw_curves(self._folder / "curves.png", self._rows)
        samples = self._folder / "samples"
        samples.mkdir(exist_ok=True)
        sheet = sample_sheet(averaged, *self._samples)
        write_atomically(
            samples / f"epoch_{epoch + 1:04d}.png", lambda path: Image.fromarray(sheet).save(path)
        )
        write_atomically(self._folder / STATE, self.model.save_weights)
        left = (self._total_epochs - epoch - 1) * np.median([row["seconds"] for row in self._rows])
        _log.info(
            "epoch %d/%d: validation PSNR %.2f dB (best %.2f), SSIM %.4f; about %s left",
            epoch + 1,
            self._total_epochs,
            row.get("val_psnr", math.nan),
            self._best,
            row.get("val_ssim", math.nan),
            _duration(left),
        )


def _duration(seconds):
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def _inspect(path):
    """SHA-256 and size of a picture, or the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        height, width = images.read(content).rgb.shape[:2]
    except (OSError, ValueError) as error:
        return None, None, str(error)
    return hashlib.sha256(content).hexdigest(), (height, width), None


def survey(paths):
    """Read every picture once, so that training meets no bad file after hours.

    Args:
        paths: List of paths.

    Returns:
        Tuple `(facts, bad)`: dict from path to `(sha256, (height, width))`, and dict from path to
        the reason why it cannot be used.
    """
    facts, bad = {}, {}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        results = tqdm(
            pool.map(_inspect, paths),
            total=len(paths),
            desc="checking pictures",
            unit="file",
            disable=not sys.stderr.isatty(),
        )
        for path, (digest, size, reason) in zip(paths, results, strict=True):
            if reason is None:
                facts[path] = (digest, size)
            else:
                bad[path] = reason
    return facts, bad


def _log_bad(bad):
    for path, reason in bad.items():
        _log.warning("left out: %s: %s", path, reason)
    if bad:
        _log.warning("%d unreadable files were left out", len(bad))


def _usable_photos(folder):
    facts, bad = survey(sampling.list_photos(folder))
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
class RestorerJob:
    """A training of the restorer: what to train, on what, and where it is kept.

    Attributes:
        folder: Path of the run folder.
        config: `config.RestorerConfig`.
        photos: Path of a folder of sharp photos, or `None`.
        pairs: Tuple of paths of folders of pairs.
        validation_photos: Path of a folder of photos to validate on, with seeded synthetic blur.
        validation_pairs: Path of a folder of pairs to validate on. Without either, some of the
            training pictures are held out.
        validation_count: Largest number of pictures to validate on.
        data_license: Licence of the pictures, for the record.
        init_from: Run folder or weights file to start from.
        workers: Number of data processes; `None` chooses.
    """

    folder: pathlib.Path
    config: configs.RestorerConfig
    photos: pathlib.Path | None = None
    pairs: tuple = ()
    validation_photos: pathlib.Path | None = None
    validation_pairs: pathlib.Path | None = None
    validation_count: int = 64
    data_license: str | None = None
    init_from: pathlib.Path | None = None
    workers: int | None = None

    def __post_init__(self):
        if self.photos is None and not self.pairs:
            raise ValueError(
                "Training needs pictures. Received: neither photos nor pairs. Name a folder with "
                "--photos or --pairs."
            )
        if self.validation_count < 1:
            raise ValueError(
                "`validation_count` must be at least 1. "
                f"Received: validation_count={self.validation_count}."
            )

    @classmethod
    def from_run(cls, folder, *, workers=None):
        """Read a job back from its run folder.

        Raises:
            FileNotFoundError: If the folder holds no run that can go on.
        """
        folder = pathlib.Path(folder)
        for name in (RECORD, STATE):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"A run that goes on must have finished an epoch. Received: {folder}, which "
                    f"holds no {name}. Start it without --resume."
                )
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        values = record["data"]

        def path(name):
            return pathlib.Path(values[name]) if values[name] else None

        return cls(
            folder=folder,
            config=configs.from_json(configs.RestorerConfig, record["config"]),
            photos=path("photos"),
            pairs=tuple(pathlib.Path(pair) for pair in values["pairs"]),
            validation_photos=path("validation_photos"),
            validation_pairs=path("validation_pairs"),
            validation_count=values["validation_count"],
            data_license=values["license"],
            workers=workers,
        )

    def data_record(self):
        """The data part of the record, without what only reading the files can tell."""

        def text(path):
            return None if path is None else str(pathlib.Path(path).resolve())

        return {
            "photos": text(self.photos),
            "pairs": [text(pair) for pair in self.pairs],
            "validation_photos": text(self.validation_photos),
            "validation_pairs": text(self.validation_pairs),
            "validation_count": self.validation_count,
            "license": self.data_license,
        }


def _collect(job):
    """List and check the pictures of a job: `(sources, shares, validation sources, manifest)`."""
    config = job.config
    photos = _usable_photos(job.photos) if job.photos else {}
    manifest = dict(photos)
    photo_paths, held_out_photos = list(photos), []
    pairs = []
    for folder in job.pairs:
        kept, facts = _usable_pairs(folder)
        pairs += kept
        manifest.update(facts)
    held_out_pairs = []
    if job.validation_photos:
        facts = _usable_photos(job.validation_photos)
        held_out_photos = list(facts)
        manifest.update(facts)
    if job.validation_pairs:
        held_out_pairs, facts = _usable_pairs(job.validation_pairs)
        manifest.update(facts)
    if not held_out_photos and not held_out_pairs:
        if photo_paths:
            photo_paths, held_out_photos = sampling.split_hold_out(photo_paths, seed=config.seed)
        else:
            pairs, held_out_pairs = sampling.split_hold_out(pairs, seed=config.seed)
    training = []
    if photo_paths:
        training.append(sampling.PhotoSource(paths=tuple(photo_paths), blur=config.blur))
    if pairs:
        training.append(sampling.PairSource(paths=tuple(pairs)))
    shares = (1.0 - config.pairs_share, config.pairs_share) if len(training) == 2 else (1.0,)
    validation = []
    if held_out_pairs:
        validation.append(sampling.PairSource(paths=tuple(held_out_pairs)))
    if held_out_photos:
        validation.append(sampling.PhotoSource(paths=tuple(held_out_photos), blur=config.blur))
    lines = [f"{digest}  {path.resolve()}" for path, (digest, _) in sorted(manifest.items())]
    return tuple(training), shares, validation, "\n".join(lines) + "\n"


VALIDATION_PATCH = 256  # Pixels; the whole of a patch counts.


def _validation_arrays(sources, count):
    """Central patches of the first pictures of each source, blurred with a fixed seed."""
    parts = []
    for source in sources:
        sampler = sampling.Sampler(
            sources=(source,),
            shares=(1.0,),
            size=VALIDATION_PATCH,
            batch_size=1,
            seed=0,
            crop="center",
            flip=False,
        )
        share = max(1, min(len(source), count // len(sources)))
        parts.append(data.validation_arrays(sampler, share))
    return tuple(np.concatenate(side) for side in zip(*parts, strict=True))


def _load_initial(generator, path):
    """Load the weights of a run folder or a file into a generator."""
    path = pathlib.Path(path)
    if path.is_dir():
        names = [name for name in (BEST, AVERAGED) if (path / name).is_file()]
        if not names:
            raise FileNotFoundError(
                f"The folder to start from must be a run with {BEST} or {AVERAGED}. Received: "
                f"{path}, which has neither."
            )
        path = path / names[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights to start from must exist. Received: {path}. Check the path."
        )
    try:
        if path.suffix == ".keras":
            generator.set_weights(keras.saving.load_model(path, compile=False).get_weights())
        else:
            generator.load_weights(path)
    except ValueError as error:
        raise ValueError(
            "The weights to start from must be of the configured generator. Received: "
            f"{path} for {generator.name!r}. Choose the same generator and options. ({error})"
        ) from error
    _log.info("started from %s", path)


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
        adversarial=config.adversarial,
        adversarial_weight=config.adversarial_weight,
        gradient_penalty_weight=config.gradient_penalty_weight,
        critic_steps=config.critic_steps,
        average_decay=config.average_decay,
        seed=config.seed,
    )
    adversarial_steps = config.adversarial_epochs * config.steps_per_epoch
    generator_optimizer = keras.optimizers.AdamW(
        WarmupCosine(
            config.learning_rate,
            config.final_learning_rate,
            warmup_steps=config.warmup_steps,
            steps=config.epochs * config.steps_per_epoch,
            second_peak=config.adversarial_learning_rate,
            second_steps=adversarial_steps,
        ),
        weight_decay=config.weight_decay,
        # (0.9, 0.9): the restoration recipe of NAFNet (Chen 2022).
        beta_1=0.9,
        beta_2=0.9,
        global_clipnorm=config.clip_norm,
        name="generator_optimizer",
    )
    generator_optimizer.exclude_from_weight_decay(var_names=["bias"])
    discriminator_optimizer = None
    if discriminator is not None:
        discriminator_optimizer = keras.optimizers.Adam(
            WarmupCosine(
                config.adversarial_learning_rate,
                0.0,
                warmup_steps=0,
                steps=adversarial_steps * config.critic_steps,
            ),
            beta_1=0.5,
            beta_2=0.999,
            name="discriminator_optimizer",
        )
    model.compile(
        generator_optimizer=generator_optimizer, discriminator_optimizer=discriminator_optimizer
    )
    return model


def _deterministic_kernels():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    else:
        import torch

        torch.use_deterministic_algorithms(True)


def _tensorboard(folder):
    if keras.backend.backend() != "tensorflow":
        _log.info("TensorBoard files are written under the TensorFlow backend only")
        return []
    return [keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False)]


def run(job, *, resume=False):
    """Train to the end, or go on from the last whole epoch.

    Args:
        job: `RestorerJob`.
        resume: Whether to go on with the run in `job.folder`.

    Returns:
        The trained `DeblurGAN`.

    Raises:
        ValueError: If the pictures or the configuration cannot be used, if the folder already
            holds a run, or if a resumed run's pictures have changed.
        OSError: If a file cannot be read or written; the last whole epoch stays.
    """
    config, folder = job.config, pathlib.Path(job.folder)
    if not resume and (folder / RECORD).exists():
        raise ValueError(
            f"A new run needs a folder without one. Received: {folder}, which holds a run. Choose "
            "another folder, or go on with --resume."
        )
    sources, shares, validation_sources, manifest = _collect(job)
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    if resume:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["data"]["manifest_sha256"] != digest:
            raise ValueError(
                "A resumed run needs the pictures that it began with. Received: a folder whose "
                f"list of files differs from {folder / MANIFEST}. Restore the pictures, or start "
                f"another run with --init-from {folder}."
            )
    else:
        record = {
            "config": configs.to_json(config),
            "data": job.data_record()
            | {
                "files": manifest.count("\n"),
                "training_pictures": sum(len(source) for source in sources),
                "manifest_sha256": digest,
            },
            "init_from": str(job.init_from) if job.init_from else None,
            "sessions": [],
        }
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        _deterministic_kernels()
    validation = _validation_arrays(validation_sources, job.validation_count)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        model = build_deblur_gan(config)
    finally:
        keras.config.set_dtype_policy(policy)
    rows, done = [], 0
    if resume:
        model.load_weights(folder / STATE)
        done = int(ops.convert_to_numpy(model.steps)) // config.steps_per_epoch
        rows = [row for row in read_log(folder / LOG) if row["epoch"] <= done]
    elif job.init_from:
        _load_initial(model.generator, job.init_from)
        gan.update_average(model.averaged_generator, model.generator, 0.0)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / MANIFEST, lambda path: path.write_text(manifest, encoding="utf-8"))
    record["sessions"].append({"first_epoch": done + 1} | provenance())
    write_json(folder / RECORD, record)
    keeper = RunKeeper(
        folder,
        total_epochs=config.total_epochs,
        samples=tuple(side[:6] for side in validation),
        rows=rows,
    )
    callbacks = [keeper, *_tensorboard(folder)]
    blurred = np.mean(ops.convert_to_numpy(metrics.psnr(validation[1], validation[0])))
    _log.info(
        "%d training pictures, %d validation patches whose blurred side has %.2f dB",
        sum(len(source) for source in sources),
        len(validation[0]),
        blurred,
    )
    for phase in phases(config):
        if phase.last_epoch <= done or keeper.stopped_on_nan:
            continue
        first_epoch = max(phase.first_epoch, done)
        model.adversarial_phase = phase.adversarial
        sampler = sampling.Sampler(
            sources=sources,
            shares=shares,
            size=phase.patch_size,
            batch_size=phase.batch_size,
            seed=config.seed,
        )
        with data.Batches(
            sampler,
            steps=config.steps_per_epoch,
            first=first_epoch * config.steps_per_epoch,
            workers=job.workers,
        ) as batches:
            model.fit(
                batches,
                initial_epoch=first_epoch,
                epochs=phase.last_epoch,
                shuffle=False,  # The sampler shuffles, as a function of the batch number.
                validation_data=validation,
                validation_batch_size=8,
                callbacks=callbacks,
                verbose=1 if sys.stderr.isatty() else 0,
            )
    if keeper.stopped_on_nan:
        raise ValueError(
            "The loss must stay finite. Received: NaN or infinity; the files of the last good "
            f"epoch are in {folder}. Start again with a smaller learning rate."
        )
    return model
