"""Restore files one after the other; what is wrong with one does not keep the others from it."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from keras_refocus.engines import installed, store
from keras_refocus.pictures import color, images
from keras_refocus.restoration.deconvolution import kernels
from keras_refocus.restoration.jobs import STREAM, FileJob
from keras_refocus.restoration.pipeline import RestoreOptions, Restorer, RestoreResult
from keras_refocus.system import files

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]

# Width of a side-by-side picture in pixels: for looking, and inside what every format can hold.
COMPARE_WIDTH = 4096
COMPARE_GAP = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileSettings:
    """How files are read and written; see `images.read` and `images.write`.

    Attributes:
        quality: Of JPEG and WebP, 1 to 100.
        overwrite: Whether results may replace files.
        skip_done: Whether jobs whose target exists are passed by.
        keep_metadata: Whether EXIF is kept.
        keep_gps: Whether the position is kept too.
        max_pixels: Larger pictures are refused.
        sums: Whether records hold the SHA-256 of inputs and outputs.
    """

    quality: int = 95
    overwrite: bool = False
    skip_done: bool = False
    keep_metadata: bool = False
    keep_gps: bool = False
    max_pixels: int = 200_000_000
    sums: bool = False


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: The job.
        record: What the report says of it; `None` if it was passed by, being done already.
        error: In one line what went wrong; empty if nothing did.
    """

    job: FileJob
    record: dict[str, Any] | None
    error: str = ""


def run(
    jobs: Sequence[FileJob],
    restorer: Restorer,
    options: RestoreOptions,
    settings: FileSettings,
    *,
    progress: Callable[[int], Progress] = lambda index: lambda done, total: None,
) -> Iterator[Outcome]:
    """Restore files, one whenever the next outcome is asked for.

    Args:
        jobs: What is to be done.
        restorer: Who does it.
        options: What to do with each picture.
        settings: How files are read and written.
        progress: Gives, for the number of a job, what is called with the steps done of it and all
            of its steps.

    Yields:
        The outcome of each job, in their order.
    """
    for index, job in enumerate(jobs):
        if settings.skip_done and is_done(job):
            yield Outcome(job, None)
            continue
        try:
            record = restore_file(job, restorer, options, settings, progress(index))
        except Exception as error:
            # Whatever is wrong with one file, the others are done.
            logger.debug("%s failed", job.source, exc_info=True)
            message = say(error)
            yield Outcome(job, {"input": str(job.source), "error": message}, message)
        else:
            yield Outcome(job, record)


def is_done(job: FileJob) -> bool:
    """Tell whether the result of a job exists; it is written last and appears complete."""
    return job.target != STREAM and job.target.exists()


def restore_file(
    job: FileJob,
    restorer: Restorer,
    options: RestoreOptions,
    settings: FileSettings,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Restore one file; returns what the report says of it.

    Raises:
        OSError: A file cannot be read or written.
        ValueError: The picture cannot be read or restored, or its format cannot hold the result.
    """
    content = sys.stdin.buffer.read() if job.source == STREAM else None
    photo = images.read(job.source if content is None else content, max_pixels=settings.max_pixels)
    result = restorer.restore(photo, options, progress=progress)
    record = {"input": str(job.source), "output": str(job.target)}
    if job.compare is not None:
        job.compare.parent.mkdir(parents=True, exist_ok=True)
        compared = images.Photo(rgb=side_by_side(photo.rgb, result.image))
        # Without its result it is what a killed run left.
        replaces = settings.overwrite or settings.skip_done
        images.write(job.compare, compared, quality=settings.quality, overwrite=replaces)
        record["compare"] = str(job.compare)
    if job.kernel is not None and result.shake is not None and result.shake.kernel is not None:
        job.kernel.parent.mkdir(parents=True, exist_ok=True)
        drawn = images.Photo(rgb=kernels.picture(result.shake.kernel))
        images.write(job.kernel, drawn, overwrite=settings.overwrite or settings.skip_done)
        record["kernel"] = str(job.kernel)
    if job.target == STREAM:
        written = _write_to_stream(job, result, settings)
    else:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        _save(result, job.target, settings)
        written = None
    if settings.sums:
        record["input_sha256"] = files.sha256(job.source if content is None else content)
        record["output_sha256"] = files.sha256(job.target if written is None else written)
    if result.shake is not None:
        record["shake"] = result.shake.record()
    height, width = result.image.shape[:2]
    return record | {
        "width": width,
        "height": height,
        "is_grayscale": result.is_grayscale,
        "stages": result.stages,
        "model_versions": result.versions,
        "seconds": round(result.seconds, 3),
    }


def side_by_side(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Put two pictures of one size beside each other, 8 bits, small enough to look at.

    Args:
        before: RGB of shape (height, width, 3), uint8 or uint16.
        after: The same, or grey of shape (height, width).

    Returns:
        RGB of shape (rows, columns, 3), uint8, at most `COMPARE_WIDTH` in both.
    """
    height, width = before.shape[:2]
    scale = min(1.0, (COMPARE_WIDTH - COMPARE_GAP) / 2 / width, COMPARE_WIDTH / height)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    halves = [
        color.from_float(
            color.to_float(cv2.resize(picture, size, interpolation=cv2.INTER_AREA)), np.uint8
        )
        for picture in (before, after)
    ]
    # Grey results have no channels.
    halves = [half if half.ndim == 3 else np.stack([half] * 3, axis=2) for half in halves]
    gap = np.full((size[1], COMPARE_GAP, 3), 255, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=1)


def say(error: Exception) -> str:
    """An error in one line; its type too where the message was not written for people."""
    message = " ".join(str(error).split())
    if isinstance(error, OSError | ValueError | TypeError) and message:
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def origins(models: Path, names: Collection[str]) -> dict[str, dict]:
    """Whose weights these models have, of those with published weights, and under which licence."""
    versions = {name: store.newest_version(models / name) for name in names}
    found = {name: installed.read_origin(version) for name, version in versions.items() if version}
    return {
        name: {
            "network": origin.title,
            "licence": origin.licence,
            "accepted": origin.accepted,
            "from": origin.address,
            "files": origin.files,
        }
        for name, origin in found.items()
        if origin is not None
    }


def _save(result: RestoreResult, path: Path, settings: FileSettings) -> None:
    result.save(
        path,
        quality=settings.quality,
        overwrite=settings.overwrite,
        keep_metadata=settings.keep_metadata,
        keep_gps=settings.keep_gps,
    )


def _write_to_stream(job: FileJob, result: RestoreResult, settings: FileSettings) -> bytes:
    """Write a result to standard output, whole; returns its content."""
    known = result.photo.format if result.photo is not None else None
    name = job.format or (known if known in images.FORMATS else "PNG")
    content = result.encode(
        format=name,
        quality=settings.quality,
        keep_metadata=settings.keep_metadata,
        keep_gps=settings.keep_gps,
    )
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
    return content
