"""What a training is made of: its pictures, its phases, and what every stage's job has."""

import concurrent.futures
import dataclasses
import logging
import os
import pathlib
import shlex
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from keras_refocus.data import workers
from keras_refocus.pictures import catalogue, images
from keras_refocus.system import files
from keras_refocus.training import configs, run_folder

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Phase:
    """Consecutive epochs with the same patches, losses and trained networks."""

    first_epoch: int
    last_epoch: int  # Exclusive, as in `range`.
    patch_size: int
    batch_size: int
    adversarial: bool
    frozen: bool = False


def phases(config: Any) -> list[Phase]:
    """Split the epochs of a configuration into phases."""
    frozen = getattr(config, "frozen_epochs", 0)
    result = []
    for epoch in range(config.total_epochs):
        kind = (*config.patches(epoch), epoch >= config.epochs, epoch < frozen)
        if result and (result[-1][2:]) == kind:
            result[-1] = (result[-1][0], epoch + 1, *kind)
        else:
            result.append((epoch, epoch + 1, *kind))
    return [Phase(*values) for values in result]


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


def manifest_lines(facts: Mapping[pathlib.Path, tuple[Any, ...]]) -> str:
    """Write SHA-256 and path of pictures, by path.

    Args:
        facts: Dict from path to `(sha256, ...)`.
    """
    return "".join(f"{facts[path][0]}  {path.resolve()}\n" for path in sorted(facts))


def _inspect(path, look):
    """SHA-256 and size of a picture and what else is seen, or the reason why it cannot be read."""
    try:
        content = path.read_bytes()
        rgb = images.read(content).rgb
        seen = look(rgb) if look else None
    except (OSError, ValueError) as error:
        return None, str(error)
    return (files.sha256(content), rgb.shape[:2], seen), None


def inspect_pictures(
    paths: Iterable[pathlib.Path], *, look: Callable[..., Any] | None = None
) -> tuple[dict[pathlib.Path, Any], Any]:
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


def log_bad(bad: Mapping[pathlib.Path, str]) -> None:
    for path, reason in bad.items():
        _log.warning("left out: %s: %s", path, reason)
    if bad:
        _log.warning("%d unreadable files were left out", len(bad))


def usable_photos(
    folders: Iterable[pathlib.Path], *, look: Callable[..., Any] | None = None
) -> dict[pathlib.Path, Any]:
    """Inspect the photos of folders, and say which are left out.

    Args:
        folders: Paths of folders.
        look: As for `inspect_pictures`.

    Returns:
        Dict from path to `(sha256, (height, width), seen)`.

    Raises:
        ValueError: If none can be read in one of the folders.
    """
    facts = {}
    for folder in folders:
        found, bad = inspect_pictures(catalogue.list_photos(folder), look=look)
        log_bad(bad)
        if not found:
            raise ValueError(
                f"At least one picture must be readable. Received: {folder}, where none of "
                f"{len(bad)} is. The messages above say why."
            )
        facts |= found
    return facts


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """A training: what to train, on what, and where it is kept.

    A subclass has the constants below and writes what is its own:

    - `collect()`: find and check the pictures; returns `Pictures`;
    - `build(pictures)`: build and compile the `gan.GAN`;
    - `sampler(pictures, phase)`: `sampling.Sampler` of a `Phase`;
    - `prepared_options()`: what `prepared.TfdsBatches` takes from the configuration;
    - `validation(pictures)`: tuple of arrays `(input, target)`;
    - `input_scores(validation)`: JSON-ready dict of what the input itself scores;
    - `draw(model, validation)`: samples as a uint8 array;
    - `monitored(row, before)`: what makes an epoch the best, higher is better, out of its row of
      the log and the input's scores;
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
        strategy: Name of a `devices.STRATEGIES`, or `None` for one device.
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
    # Fields that are a path or `None`, and those that are tuples of paths, for which one path or
    # `None` may be given.
    _paths: typing.ClassVar[tuple] = ("data_dir", "validation_photos")
    _path_lists: typing.ClassVar[tuple] = ()
    # Other fields that a command line repeats.
    _options: typing.ClassVar[tuple] = ()

    def __post_init__(self):
        for name in self._path_lists:
            object.__setattr__(self, name, as_paths(getattr(self, name)))
        folders = [
            name for name in ("photos", "pairs", "clips", "triplets") if getattr(self, name, None)
        ]
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
    def from_run(
        cls,
        folder: pathlib.Path,
        *,
        workers: int | None = None,
        strategy: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Read a job back from its run folder.

        Args:
            folder: Path of the run folder.
            workers: See `TrainingJob`.
            strategy: See `TrainingJob`.
            changes: Dict of the fields of the configuration that make the run another length, see
                `config.LENGTHS`.

        Raises:
            FileNotFoundError: If the folder holds no run.
            ValueError: If it holds a run of another stage, or cannot have that length.
        """
        folder = pathlib.Path(folder)
        if not (folder / run_folder.RECORD).is_file():
            raise FileNotFoundError(
                f"A run that goes on must have begun. Received: {folder}, which holds no "
                f"{run_folder.RECORD}. Start it without --resume."
            )
        record = run_folder.read_record(folder)
        stage = record.get("stage", "restorer")
        if stage != cls.stage:
            raise ValueError(
                f"The run must be that of a {cls.stage}. Received: {folder}, that of a {stage}. "
                f"Go on with: refocus train {stage} --run {folder} --resume"
            )
        config = configs.from_json(cls.config_class, record["config"])
        return cls(
            folder=folder,
            config=dataclasses.replace(config, **changes or {}),
            **cls.pictures_of(record),
            # It is in the weights by now; the report's command still needs it.
            init_from=as_paths(record.get("init_from")),
            workers=workers,
            strategy=strategy,
        )

    @classmethod
    def pictures_of(cls, record: Mapping[str, Any]) -> dict[str, Any]:
        """What a record says about pictures, as arguments of the job."""
        values = record["data"]
        # Records of older runs know no data sets.
        given = {name: values.get(name) for name in cls._paths}
        paths = {name: path and pathlib.Path(path) for name, path in given.items()}
        lists = {name: as_paths(values.get(name)) for name in cls._path_lists}
        return {
            "data": values.get("data"),
            **paths,
            **lists,
            "validation_count": values["validation_count"],
            "data_license": values["license"],
        }

    def data_set(self) -> Any:
        """`prepared.PreparedSet` of `data`, or `None`."""
        if self.data is None:
            return None
        # Imported here: folders need neither TensorFlow Datasets nor the seconds that it takes.
        from keras_refocus.data import prepared

        return prepared.PreparedSet(self.data, keys=self.sides, data_dir=self.data_dir)

    def batches(self, pictures: Any, phase: Any, **place: Any) -> Any:
        """Batches of a phase.

        Args:
            pictures: `Pictures`.
            phase: `Phase`.
            **place: `first`, `count` and `part` of `workers.Batches`.
        """
        if self.data is None:
            return workers.Batches(self.sampler(pictures, phase), workers=self.workers, **place)
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

    def data_record(self) -> dict[str, Any]:
        """The data part of the record, without what only reading the files can tell."""

        def text(path):
            return None if path is None else str(pathlib.Path(path).resolve())

        return (
            {"data": self.data}
            | {name: text(getattr(self, name)) for name in self._paths}
            | {name: [text(path) for path in getattr(self, name)] for name in self._path_lists}
            | {"validation_count": self.validation_count, "license": self.data_license}
        )

    def command(self) -> str:
        """Command line that repeats this run from its start."""
        words = ["refocus", "train", self.stage, "--run", str(self.folder)]
        for name in self._path_lists:
            for path in getattr(self, name):
                words += [f"--{name}", str(path)]
        if self.init_from:
            words += ["--init-from", *map(str, self.init_from)]
        options = ("data", "validation_count", "data_license", "strategy")
        for name in (*self._paths, *options, *self._options):
            if getattr(self, name) is not None:
                words += ["--" + name.replace("_", "-"), str(getattr(self, name))]
        return shlex.join(words + configs.to_arguments(self.config, self.config_class()))

    def next_steps(self) -> list[tuple[str, str]]:
        """What to do with the run: list of `(what, command line)`."""
        run = shlex.quote(str(self.folder))
        pictures = "--pairs" if getattr(self, "pairs", ()) else "--photos"
        if self.stage == "motion":
            return _next_steps_of_motion(run)
        if self.stage == "interpolator":
            return _next_steps_of_interpolator(run)
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


def _next_steps_of_motion(run):
    return [
        ("Look at it in TensorBoard", f"tensorboard --logdir {run}"),
        ("Measure it", f"refocus evaluate motion {run} --photos ..."),
        ("Export it", f"refocus export {run} --out my_models"),
        (
            "Use it, beside the restorer that it was trained with",
            "refocus unblur photo.jpg --models my_models --out clip.mp4",
        ),
    ]


def _next_steps_of_interpolator(run):
    return [
        ("Look at it in TensorBoard", f"tensorboard --logdir {run}"),
        ("Export it", f"refocus export {run} --out my_models"),
        (
            "Measure it",
            "refocus benchmark video --clips other_clips --models my_models --interpolator",
        ),
        (
            "Use it, beside a restorer",
            "refocus video clip.mp4 --fps 2x --best --models my_models --out restored",
        ),
    ]


def as_paths(given: str | os.PathLike | Iterable[str | os.PathLike] | None) -> tuple:
    """Tuple of paths of what is given: several, one (as in older records), or `None`."""
    given = [given] if isinstance(given, str | os.PathLike) else given or ()
    return tuple(map(pathlib.Path, given))
