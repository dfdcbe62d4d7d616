"""One picture from its place to its place; and many of them, a few at a time.

While one picture is restored, the next ones are read and the last ones written. At most a set
number is in work at any moment, however many there are, so the memory that a job takes does not
grow with it.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import io
import json
import logging
import os
import pathlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

from keras_refocus.cloud import retries, storage
from keras_refocus.pictures import images
from keras_refocus.restoration import batch, jobs, pipeline

logger = logging.getLogger(__name__)

#: Pictures that are in work at once, read or being written ones among them.
IN_FLIGHT = 8

Status = Literal["restored", "skipped", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How pictures are restored and written.

    Attributes:
        options: What is done with each picture.
        format: Format of the results, a name of `images.FORMATS`; `None` keeps that of each
            picture where it can be written, and takes PNG where not.
        quality: 1 to 100, for JPEG and WebP.
        keep_metadata: Whether EXIF is kept, but for the position.
        keep_gps: Whether the position is kept too.
        max_pixels: Most pixels of a picture.
        compare: Whether a picture of before and after is written too.

    Raises:
        ValueError: An option is out of its range.
    """

    options: pipeline.RestoreOptions = pipeline.RestoreOptions()
    format: str | None = None
    quality: int = 95
    keep_metadata: bool = False
    keep_gps: bool = False
    max_pixels: int = 200_000_000
    compare: bool = False

    def __post_init__(self):
        if not 1 <= self.quality <= 100:
            raise ValueError(f"The quality must be 1 to 100. Received: quality={self.quality}.")
        if self.keep_gps and not self.keep_metadata:
            raise ValueError("Keeping the position needs keeping the metadata. Keep both.")

    def target(self, name: str) -> str:
        """Name of the result of a picture: its own, with the suffix of its format."""
        path = pathlib.PurePosixPath(name)
        if self.format is not None:
            suffix = images.FORMATS[self.format]
        elif path.suffix.lower() in images.SUFFIXES - images.READ_ONLY:
            suffix = path.suffix
        else:
            suffix = ".png"
        return path.with_suffix(suffix).as_posix()

    def beside(self, target: str) -> str:
        """Name of the picture of before and after that belongs to a result."""
        path = pathlib.PurePosixPath(target)
        return path.with_name(f"{path.stem}{jobs.COMPARE_SUFFIX}{path.suffix}").as_posix()

    def outputs(self, target: str) -> tuple[str, ...]:
        """Names of all that is written with a result, itself last."""
        return (self.beside(target), target) if self.compare else (target,)

    @property
    def key(self) -> str:
        """Stands for all of these settings: results of other settings are not done."""
        settings = dataclasses.asdict(self)
        if not self.compare:  # as in notes that are older than this setting
            del settings["compare"]
        said = json.dumps(settings, sort_keys=True, default=str)
        return storage.sha256(said.encode())[:16]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One picture to restore.

    Attributes:
        source: Where it is.
        entry: What the listing tells of it.
        out: Where the result goes.
        target: Name of the result there.
    """

    source: storage.Place
    entry: storage.Entry
    out: storage.Place
    target: str

    @property
    def shown(self) -> str:
        """Name of the picture for people."""
        return self.source.show(self.entry.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a picture.

    Attributes:
        task: The picture.
        status: `"restored"`; `"skipped"`, as it was done before; or `"failed"`.
        record: What is known of the work: sums, size, stages, versions of models, seconds.
        reason: Why it failed, in one line.
        temporary: Whether it may succeed later: the store failed, not the picture.
    """

    task: Task
    status: Status
    record: dict[str, Any] = dataclasses.field(default_factory=dict)
    reason: str = ""
    temporary: bool = False


def plan(
    inputs: Iterable[str | os.PathLike],
    out: storage.Place,
    settings: Settings,
    *,
    recursive: bool = False,
    pass_by: Callable[[str], None] = lambda name: None,
) -> Iterator[Task]:
    """Yield the pictures that inputs name, as listings give them, each with its result.

    Args:
        inputs: Paths and addresses, see `storage.open_source`.
        out: Where results go, under the names of their pictures.
        settings: Decide the suffix of a result.
        recursive: Whether folders inside an input count.
        pass_by: Told the names of files that are no pictures by their names.

    Raises:
        FileNotFoundError: An input is not there, or none of them holds a picture.
        ValueError: A result would replace a picture, or two results have one name.
    """
    shown, any_there = [], False
    # A digest of each name, so that a million of them fit into the memory.
    taken: set[bytes] = set()
    for given in inputs:
        source = storage.open_source(given, recursive=recursive)
        shown.append(source.place.shown)
        inside = storage.lies_inside(out, source.place)
        if inside == "" and source.only is None:
            raise ValueError(
                "Results must not replace what they are made of. Received: "
                f"'{source.place.shown}' as an input and as --out. Choose another --out."
            )

        def told(name: str, source: storage.Source = source, inside: str | None = inside) -> None:
            if not inside or not name.startswith(inside):
                pass_by(source.place.show(name))

        for entry in source.pictures(told):
            if inside and entry.name.startswith(inside):
                continue  # a result of an earlier run
            any_there = True
            target = settings.target(entry.name)
            if inside == "" and target == entry.name:
                raise ValueError(
                    "A result must not replace its picture. Received: "
                    f"'{source.place.show(entry.name)}' with its own folder as --out. Choose "
                    "another --out."
                )
            for name in settings.outputs(target):
                key = bytes.fromhex(storage.sha256(name.encode())[:24])
                if key in taken:
                    raise ValueError(
                        "Every result needs a name of its own. Received: "
                        f"'{source.place.show(entry.name)}' and another picture, both for "
                        f"'{out.show(name)}'. Rename one, or restore them in two runs."
                    )
                taken.add(key)
            yield Task(source=source.place, entry=entry, out=out, target=target)
    if not any_there:
        raise FileNotFoundError(
            f"The inputs must hold at least one picture. Received: {', '.join(shown)}. Check the "
            "addresses, or search folders inside them with --recursive."
        )


def is_done(task: Task, settings: Settings) -> storage.Note | None:
    """The note of a result that is there and made of this picture as it is, with these settings.

    A result without a note, of another program, is not done: nobody knows what it was made of.
    """
    note = task.out.note(task.target)
    if not note or note.get("settings") != settings.key or not task.entry.tag:
        return None
    return note if note.get("source") == task.entry.tag else None


def restore_one(
    task: Task, restorer: pipeline.Restorer, settings: Settings, *, skip_done: bool = True
) -> Outcome:
    """Restore one picture; what goes wrong is told, not raised."""
    (outcome,) = restore_all([task], restorer, settings, skip_done=skip_done, in_flight=1)
    return outcome


def restore_all(
    tasks: Iterable[Task],
    restorer: pipeline.Restorer,
    settings: Settings,
    *,
    skip_done: bool = False,
    overwrite: bool = True,
    in_flight: int = IN_FLIGHT,
    progress: Callable[[Task], None] | None = None,
) -> Iterator[Outcome]:
    """Restore pictures, reading ahead and writing behind.

    Args:
        tasks: The pictures; taken one by one as there is room.
        restorer: Restores them, in the thread that iterates.
        settings: How.
        skip_done: Whether what is done is left as it is; see `is_done`.
        overwrite: Whether results that are there and not done are replaced.
        in_flight: Pictures in work at once, at least 1.
        progress: Called with each picture before it is restored.

    Yields:
        An outcome for each picture, in their order. What goes wrong with one picture is told; what
        goes wrong with the listing is raised.
    """
    if in_flight < 1:
        raise ValueError(f"At least one picture must be in work. Received: {in_flight=}.")
    work = _Work(restorer, settings, skip_done=skip_done, overwrite=overwrite)
    waiting = iter(tasks)
    reading: collections.deque = collections.deque()
    writing: collections.deque = collections.deque()
    threads = max(1, in_flight // 2)
    with contextlib.ExitStack() as stack:
        readers, writers = (
            stack.enter_context(
                concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix=name)
            )
            for name in ("reading", "writing")
        )
        # Whoever stops iterating does not wait for what was read ahead.
        stack.callback(readers.shutdown, wait=False, cancel_futures=True)
        more = True
        while more or reading or writing:
            while more and len(reading) + len(writing) < in_flight:
                task = next(waiting, None)
                if task is None:
                    more = False
                else:
                    reading.append((task, readers.submit(work.read, task)))
            if reading:
                task, future = reading.popleft()
                found = future.result()
                if not isinstance(found, Outcome):
                    if progress is not None:
                        progress(task)
                    found = work.restore(task, found)
                writing.append(
                    writers.submit(work.write, task, found)
                    if not isinstance(found, Outcome)
                    else _Ready(found)
                )
            while writing and (
                writing[0].done() or not reading or len(reading) + len(writing) >= in_flight
            ):
                yield writing.popleft().result()


@dataclasses.dataclass(frozen=True)
class _Ready:
    """An outcome that nothing needs to be done for any more, in the form of a future."""

    outcome: Outcome

    def done(self) -> bool:
        return True

    def result(self) -> Outcome:
        return self.outcome


@dataclasses.dataclass(frozen=True)
class _Work:
    """The three steps of one picture; each gives what the next one takes, or an outcome."""

    restorer: pipeline.Restorer
    settings: Settings
    skip_done: bool
    overwrite: bool

    def read(self, task: Task) -> tuple[images.Photo, str] | Outcome:
        try:
            # A name that leads out of the place is refused before anything is read.
            storage.checked(task.target)
            if self.skip_done:
                note = is_done(task, self.settings)
                if note is not None:
                    record = note.get("record", {})
                    return Outcome(task=task, status="skipped", record=record)
            elif not self.overwrite:
                self._refuse_existing(task)
            content = task.source.read(task.entry.name)
            photo = images.read(_Named(content, task.shown), max_pixels=self.settings.max_pixels)
            return photo, storage.sha256(content)
        except Exception as error:
            return _failed(task, error)

    def _refuse_existing(self, task: Task) -> None:
        for name in self.settings.outputs(task.target):
            if task.out.entry(name) is not None:
                raise FileExistsError(
                    f"A result is never replaced unasked. Received: '{task.out.show(name)}', which "
                    "exists. Choose another --out, or add --skip-done or --overwrite."
                )

    def restore(self, task: Task, read: tuple[images.Photo, str]):
        photo, sha256 = read
        try:
            result = self.restorer.restore(photo, self.settings.options)
        except Exception as error:
            return _failed(task, error)
        return result, sha256

    def write(self, task: Task, restored: tuple[pipeline.RestoreResult, str]) -> Outcome:
        try:
            record = _write(task, *restored, self.settings)
        except Exception as error:
            return _failed(task, error)
        return Outcome(task=task, status="restored", record=record)


def restore_content(
    task: Task, content: bytes, restorer: pipeline.Restorer, settings: Settings
) -> dict[str, Any]:
    """Restore a picture whose content was read, and write it.

    Returns:
        What `Outcome.record` tells.

    Raises:
        ValueError: It is not a picture, or cannot be restored.
        OSError: The result cannot be written.
    """
    photo = decode(content, task.shown, settings.max_pixels)
    result = restorer.restore(photo, settings.options)
    return _write(task, result, storage.sha256(content), settings)


def decode(content: bytes, name: str, max_pixels: int) -> images.Photo:
    """Read a photo from the content of its file; messages have the name."""
    return images.read(_Named(content, name), max_pixels=max_pixels)


def _write(
    task: Task, result: pipeline.RestoreResult, sha256: str, settings: Settings
) -> dict[str, Any]:
    content = result.encode(
        format=pathlib.PurePosixPath(task.target).suffix,
        quality=settings.quality,
        keep_metadata=settings.keep_metadata,
        keep_gps=settings.keep_gps,
    )
    height, width = result.image.shape[:2]
    record = {
        "input_sha256": sha256,
        "output_sha256": storage.sha256(content),
        "width": width,
        "height": height,
        "is_grayscale": bool(result.is_grayscale),
        "stages": list(result.stages),
        "model_versions": result.versions,
        "seconds": round(result.seconds, 3),
    }
    if settings.compare and result.photo is not None:
        compared = images.Photo(rgb=batch.side_by_side(result.photo.rgb, result.image))
        # Before the result, which says that all is done.
        name = settings.beside(task.target)
        form = pathlib.PurePosixPath(name).suffix
        task.out.write(name, images.encode(compared, format=form, quality=settings.quality))
    note = {"source": task.entry.tag, "settings": settings.key, "record": record}
    task.out.write(task.target, content, note)
    return record


class _Named(io.BytesIO):
    """Content in memory with the name that messages about it should have."""

    def __init__(self, content: bytes, name: str):
        super().__init__(content)
        self.name = name


def _failed(task: Task, error: Exception) -> Outcome:
    logger.debug(
        "%s failed\n%s",
        task.shown,
        retries.redact("".join(traceback.format_exception(error))),
    )
    return Outcome(
        task=task,
        status="failed",
        reason=retries.say(error),
        temporary=retries.is_temporary(error),
    )
