"""A whole clip: cut into segments, restored by one or several workers, put together.

Segments are the same however many workers there are, and each is a file of its own in a folder
beside the result until all of them are done. What was finished before an interruption is used again
when the same work is asked for; a result is the same to the last byte of every frame whether it was
made in one go, by several workers, or resumed.
"""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_refocus.restoration import pipeline
from keras_refocus.system import files
from keras_refocus.video import clip, containers, frames, interpolation, optical_flow

logger = logging.getLogger(__name__)

#: Frames of the clip in a segment.
LENGTH = 48

# Widest frame of a comparison, in pixels.
_COMPARE_WIDTH = 3840


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipJob:
    """One clip to restore.

    Attributes:
        source: The clip.
        folder: Where the result goes; its name is that of the clip.
        name: Of the result, without suffix.
        options: What to do with frames.
        codec: Of the result; `None` for that of the clip.
        crf: Quality of the result.
        start: Where the result begins, in seconds from the clip's beginning; `None` for there.
        end: Where it ends.
        compare: Whether a second file shows both side by side.
        keep_metadata: Whether title, date and the like are kept.
        keep_place: Whether the place is kept with them.
    """

    source: Path
    folder: Path
    name: str
    options: clip.ClipOptions
    codec: str | None = None
    crf: int | None = None
    start: float | None = None
    end: float | None = None
    compare: bool = False
    keep_metadata: bool = False
    keep_place: bool = False


@dataclasses.dataclass
class Outcome:
    """What became of a clip.

    Attributes:
        path: The result.
        compare: The comparison, if one was asked for.
        frames: Of the clip that were restored.
        scenes: Between cuts, that these frames belong to.
        written: Of the result.
        failed: Frames that were passed on as they were, by index, and why.
        resumed: Frames that an earlier run had finished.
        notes: Sentences about what could not be kept.
        survey: Of the clip.
        seconds: Time taken.
        encoder: That wrote the frames.
    """

    path: Path
    compare: Path | None
    frames: int
    scenes: int
    written: int
    failed: dict[int, str]
    resumed: int
    notes: list[str]
    survey: containers.Survey
    seconds: float
    encoder: str


def restore(
    job: ClipJob,
    restorer: pipeline.Restorer,
    *,
    workers: int = 1,
    threads: int = 1,
    resume: bool = False,
    length: int = LENGTH,
    progress: Callable[[int, int], None] | None = None,
    surveying: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
    found: containers.Survey | None = None,
) -> Outcome:
    """Restore a clip.

    Args:
        job: What to do.
        restorer: Runs the networks.
        workers: Segments that are restored at once.
        threads: Flows that each of them computes at once.
        resume: Whether segments that an earlier run of the same work finished are used.
        length: Frames of a segment.
        progress: Called with the frames of the clip done and all of them.
        surveying: Called with frames looked at, and all of them or 0, before that.
        cancel: Asked between steps; when it says yes, the work stops.
        found: Survey of the clip, as the options need it, if that was made before.

    Returns:
        What became of it.

    Raises:
        CancelledError: `cancel` said yes. Finished segments are kept.
        clip.ClipError: Work could not go on. Finished segments are kept.
        FileExistsError: `resume` is on and what lies there is of other work.
        FileNotFoundError: The clip, or a model, does not exist.
        ValueError: The clip is not one that can be restored.
    """
    began = time.perf_counter()
    optical_flow.single_thread()
    # SVT-AV1 writes to standard error unless told, and takes no such option.
    os.environ.setdefault("SVT_LOG", "1")
    options = job.options
    found = found or containers.survey(
        job.source,
        deinterlace=options.deinterlace,
        look_for_gray=options.restore.mode != "restore",
        progress=surveying,
    )
    refuse(found, options)
    first, last = _chosen(found, job)
    target = containers.choose_target(
        found, codec=job.codec, crf=job.crf, colours=clip.colorizes(found, options)
    )
    base, moments, window = _schedule(found, first, last, job)
    pieces = [(start, min(start + length, last + 1)) for start in range(first, last + 1, length)]
    pieces = [piece for piece in pieces if any(moments[piece[0] : piece[1]])]
    folder = _WorkFolder(
        job.folder / f".{job.name}{target.suffix}.refocus",
        _fingerprint(job, found, restorer, target, length),
    )
    folder.open(resume=resume)
    run = _Run(job, restorer, found, target, moments, base, folder, pieces, cancel, progress)
    run.work(workers, threads)
    segments = [folder.segment(index) for index in range(len(pieces))]
    path = job.folder / f"{job.name}{target.suffix}"
    rate = found.rate if options.rate is None else options.rate.of(found.rate)
    whole = {"rate": rate, "window": window}
    keep = {"keep_metadata": job.keep_metadata, "keep_place": job.keep_place}
    notes = containers.join(path, found, target, segments, base, **whole, **keep)
    compared = None
    if job.compare:
        compared = job.folder / f"{job.name}_compare{target.suffix}"
        sides = [folder.segment(index, compare=True) for index in range(len(pieces))]
        containers.join(compared, found, target, sides, base, **whole, without_streams=True)
    failed = {}
    for index in range(len(pieces)):
        failed |= folder.failed(index)
    folder.remove()
    if found.unreadable:
        notes.append(f"{found.unreadable} packets could not be decoded; the frame before stays")
    notes += [f"the {name} data of frames was left out" for name in found.side_data]
    return Outcome(
        path=path,
        compare=compared,
        frames=last + 1 - first,
        scenes=1 + sum(first < start <= last for start in found.scene_starts),
        written=sum(len(segment.times) for segment in segments),
        failed=failed,
        resumed=run.resumed,
        notes=notes,
        survey=found,
        seconds=time.perf_counter() - began,
        encoder=target.encoder.name,
    )


def refuse(found: containers.Survey, options: clip.ClipOptions) -> None:
    """Refuse a clip that would come out wrong.

    Raises:
        ValueError: It is interlaced, or HDR, or its colours cannot be made.
    """
    if found.hdr:
        raise ValueError(
            f"A clip must have a standard dynamic range. Received: '{found.path}', which is HDR "
            f"({found.hdr}): restored as it is, its brightness would be wrong. Convert it to SDR "
            "first."
        )
    if found.interlaced > len(found.frames) // 10 and not options.deinterlace:
        raise ValueError(
            f"Frames must be whole pictures. Received: '{found.path}', which is interlaced. Add "
            "--deinterlace."
        )
    if clip.colorizes(found, options) and found.layout.is_rgb:
        raise ValueError(
            "Colours are put into YUV or grey clips. "
            f"Received: '{found.path}', which is RGB. Convert it first."
        )


def _chosen(found: containers.Survey, job: ClipJob) -> tuple[int, int]:
    """Indices of the first and the last frame that are restored."""
    base, begin = found.time_base, found.frames[0].pts
    inside = [
        index
        for index, frame in enumerate(found.frames)
        if (job.start is None or (frame.pts - begin) * base >= Fraction(job.start))
        and (job.end is None or (frame.pts - begin) * base < Fraction(job.end))
    ]
    if not inside:
        raise ValueError(
            f"Start and end must leave at least one frame. Received: start={job.start}, "
            f"end={job.end} for '{found.path}', which lasts {found.seconds:.2f} seconds."
        )
    return inside[0], inside[-1]


def _schedule(
    found: containers.Survey, first: int, last: int, job: ClipJob
) -> tuple[Fraction, list[list[interpolation.Moment]], containers.Window]:
    """Unit of the result's times, the moments made of each frame, and the part of the file."""
    base, moments = interpolation.schedule(
        [(frame.pts, frame.duration) for frame in found.frames[: last + 1]],
        found.time_base,
        job.options.rate,
        [start for start in found.scene_starts if start <= last],
        found.held,
    )
    window, shift = _window(found, first, last, base, job)
    moved = [[dataclasses.replace(m, pts=m.pts - shift) for m in ms] for ms in moments]
    return base, moved, window


def _window(
    found: containers.Survey, first: int, last: int, base: Fraction, job: ClipJob
) -> tuple[containers.Window, int]:
    """The part of the file that is taken, and by how much times of frames are moved back."""
    start = end = None
    shift = 0
    if job.start is not None and first > 0:
        start = found.frames[first].pts * found.time_base
        shift = round(start / base)
    if job.end is not None and last < len(found.frames) - 1:
        frame = found.frames[last]
        end = (frame.pts + frame.duration) * found.time_base
    return containers.Window(start, end), shift


class _WorkFolder:
    """Finished segments, and of what work they are."""

    def __init__(self, path: Path, fingerprint: dict[str, Any]):
        self.path = path
        self._fingerprint = fingerprint

    def open(self, *, resume: bool) -> None:
        record = self.path / "job.json"
        if self.path.exists():
            if not resume:
                shutil.rmtree(self.path)
            elif _read_json(record) != self._fingerprint:
                raise FileExistsError(
                    "What is resumed must be the same work: clip, options, models. Received: "
                    f"'{self.path}', of other work. Leave --resume out to begin anew."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        files.write_json(record, self._fingerprint)

    def is_done(self, index: int) -> bool:
        return self._record(index).exists()

    def file(self, index: int, *, compare: bool = False) -> Path:
        return self.path / f"{index:06d}{'_compare' if compare else ''}.segment"

    def finish(self, index: int, times: list[tuple[int, int]], failed: dict[int, str]) -> None:
        """Note that a segment is whole; its files must be there."""
        files.write_json(self._record(index), {"times": times, "failed": failed})

    def segment(self, index: int, *, compare: bool = False) -> containers.Segment:
        times = [tuple(pair) for pair in _read_json(self._record(index))["times"]]
        return containers.Segment(self.file(index, compare=compare), times)

    def failed(self, index: int) -> dict[int, str]:
        return {int(k): v for k, v in _read_json(self._record(index))["failed"].items()}

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def _record(self, index: int) -> Path:
        return self.path / f"{index:06d}.json"


class Waiting:
    """Segments that wait, dealt so that each worker does neighbours one after the other.

    Frames on both sides of a border are restored for two segments; who does both of them does these
    frames once.

    Args:
        indices: Of the segments, ascending.
        workers: How many there are.
    """

    def __init__(self, indices: Sequence[int], workers: int):
        self._lock = threading.Lock()
        edges = [len(indices) * number // workers for number in range(workers + 1)]
        self._shares = [
            collections.deque(indices[start:end]) for start, end in itertools.pairwise(edges)
        ]

    def take(self, worker: int) -> int | None:
        """The next segment of a worker, or `None`; one without takes half of another's."""
        with self._lock:
            own = self._shares[worker]
            if not own:
                longest = max(self._shares, key=len)
                own.extendleft([longest.pop() for _ in range((len(longest) + 1) // 2)])
            return own.popleft() if own else None


class _Run:
    """Segments being restored by several workers."""

    def __init__(
        self, job, restorer, found, target, moments, base, folder, pieces, cancel, progress
    ):
        self._job, self._restorer, self._found, self._target = job, restorer, found, target
        self._moments, self._base = moments, base
        self._folder, self._pieces = folder, pieces
        self._asked = cancel or (lambda: False)
        self._progress = progress
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []
        self._done = 0
        self._total = sum(end - start for start, end in pieces)
        self.resumed = 0

    def work(self, workers: int, threads: int) -> None:
        missing = []
        for index, (start, end) in enumerate(self._pieces):
            if self._folder.is_done(index):
                self.resumed += end - start
            else:
                missing.append(index)
        self._count(self.resumed)
        workers = min(workers, max(len(missing), 1))
        waiting = Waiting(missing, workers)
        several = [
            threading.Thread(target=self._worker, args=(waiting, number, threads), daemon=True)
            for number in range(workers)
        ]
        for thread in several:
            thread.start()
        try:
            for thread in several:
                # With a time limit an interrupt from the keyboard gets through.
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException:
            self._stop.set()
            for thread in several:
                thread.join()
            raise
        if self._errors:
            raise self._errors[0]

    def _worker(self, waiting: Waiting, number: int, threads: int) -> None:
        worker = clip.Worker(
            self._found,
            self._restorer,
            self._job.options,
            self._moments,
            threads=threads,
            cancel=self._cancelled,
        )
        try:
            while not self._cancelled():
                index = waiting.take(number)
                if index is None:
                    return
                self._restore(worker, index)
            raise CancelledError("The restoration was cancelled.")
        except BaseException as error:
            with self._lock:
                self._errors.append(error)
            self._stop.set()
        finally:
            worker.close()

    def _restore(self, worker: clip.Worker, index: int) -> None:
        start, end = self._pieces[index]
        origin = next(m.pts for ms in self._moments[start:end] for m in ms)
        times, failed = [], {}
        with contextlib.ExitStack() as stack:
            writer = stack.enter_context(self._writer(index, origin))
            if self._job.compare:
                sides = stack.enter_context(self._writer(index, origin, compare=True))
            reached = start
            for made in worker.make(start, end):
                times.append((made.frame.pts, made.frame.duration))
                if made.failed:
                    failed[made.index] = made.failed
                if self._job.compare:
                    sides.write(_side_by_side(made.source, made.frame))
                writer.write(made.frame)
                self._count(made.index - reached)
                reached = made.index
        self._folder.finish(index, times, failed)
        self._count(end - reached)

    def _writer(
        self, index: int, origin: int, *, compare: bool = False
    ) -> containers.SegmentWriter:
        size = None
        if compare:
            size = _compared_size(self._found)
        return containers.SegmentWriter(
            self._folder.file(index, compare=compare),
            self._target,
            self._found,
            self._base,
            origin,
            size=size,
        )

    def _cancelled(self) -> bool:
        return self._stop.is_set() or self._asked()

    def _count(self, frames_done: int) -> None:
        with self._lock:
            self._done += frames_done
            if self._progress is not None and frames_done:
                self._progress(self._done, self._total)


def _compared_size(found: containers.Survey) -> tuple[int, int]:
    width, height = _half_size(found)
    return 2 * width, height


def _half_size(found: containers.Survey) -> tuple[int, int]:
    scale = min(1.0, _COMPARE_WIDTH / 2 / found.width)
    # Even, so that chroma planes of both halves meet where luma does.
    return max(int(found.width * scale) // 2 * 2, 2), max(int(found.height * scale) // 2 * 2, 2)


def _side_by_side(before: Any, after: Any) -> Any:
    """Both frames beside each other, with the times of the second."""
    import av

    scale = min(1.0, _COMPARE_WIDTH / 2 / after.width)
    width = max(int(after.width * scale) // 2 * 2, 2)
    height = max(int(after.height * scale) // 2 * 2, 2)
    halves = []
    for frame in (before, after):
        if frame.format.name != after.format.name or (frame.width, frame.height) != (width, height):
            frame = frame.reformat(width=width, height=height, format=after.format.name)
        halves.append(frame)
    result = av.VideoFrame(2 * width, height, after.format.name)
    for plane in range(len(result.planes)):
        frames.view(result, plane)[...] = np.concatenate(
            [frames.view(half, plane) for half in halves], axis=1
        )
    result.pts, result.time_base, result.duration = after.pts, after.time_base, after.duration
    frames.copy_color_properties(after, result)
    return result


def _fingerprint(
    job: ClipJob,
    found: containers.Survey,
    restorer: pipeline.Restorer,
    target: containers.Target,
    length: int,
) -> dict[str, Any]:
    """What a segment depends on, in a form that JSON gives back as it is."""
    needed = [job.options.restore.restorer] * (job.options.restore.strength > 0)
    needed += [job.options.restore.colorizer] * clip.colorizes(found, job.options)
    interpolator = clip.interpolator_of(job.options, restorer.engine)
    needed += [interpolator] * (interpolator is not None)
    status = job.source.stat()
    said = {
        "form": 2,
        "clip": [str(job.source.resolve()), status.st_size, status.st_mtime_ns],
        "frames": len(found.frames),
        "options": repr(job.options),
        "part": [job.start, job.end],
        "compare": job.compare,
        "encoder": [target.encoder.name, target.encoder.pixels, dict(target.encoder.options)],
        "versions": restorer.engine.versions(*needed) if needed else {},
        "length": length,
    }
    text = json.dumps(said, sort_keys=True)
    return {**said, "sum": hashlib.sha256(text.encode()).hexdigest()}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
