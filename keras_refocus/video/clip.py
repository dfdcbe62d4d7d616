"""Frames of a clip in, frames of the result out: the work between reading and writing.

A worker holds a few frames around the one it makes: two on each side for steadiness, one more where
frames are interpolated. What it makes of a frame depends on these alone, wherever it began to read.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_refocus.engines import contract
from keras_refocus.restoration import pipeline, tiling
from keras_refocus.video import (
    colors,
    containers,
    encoders,
    faces,
    frames,
    interpolation,
    optical_flow,
    steadiness,
)

logger = logging.getLogger(__name__)

# Frames that fail one after the other before it is no longer thought to be the frames' fault.
_FAILURES_IN_A_ROW = 24

# Pixels that neighbouring tiles of a correction share.
_CORRECTION_OVERLAP = 128


#: What the failure of a frame begins with that has no colours of its own.
UNCOLORED = "colours: "


class ClipError(RuntimeError):
    """Work on a clip cannot go on; what is done so far is kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """What to do with a clip.

    Attributes:
        restore: What to do with each frame; `mode`, `strength`, `saturation`, `blur_faces`, `best`
            and the models and tiles count.
        steady: Whether frames are fused with their neighbours.
        rate: Frame rate of the result; `None` for that of the clip.
        deinterlace: Whether interlaced frames are made whole first.
        interpolator: Model that corrects frames in between; `None`: that of the usual name if there
            is one and `restore.best` is on.
    """

    restore: pipeline.RestoreOptions = dataclasses.field(default_factory=pipeline.RestoreOptions)
    steady: bool = True
    rate: interpolation.Rate | None = None
    deinterlace: bool = False
    interpolator: str | None = None


@dataclasses.dataclass
class Made:
    """A frame of the result.

    Attributes:
        frame: The frame, with its time and duration in the time base of the result.
        source: The frame of the clip at or before it.
        failed: What went wrong, if the frame of the clip was passed on as it was; it begins with
            `UNCOLORED` if it is a key frame whose colours come from others.
        index: Of the frame of the clip.
        is_source: Whether it is that frame and not one in between.
    """

    frame: Any
    source: Any
    failed: str | None
    index: int
    is_source: bool


@dataclasses.dataclass
class _Entry:
    """A frame of the clip on its way."""

    frame: Any
    before: np.ndarray
    steadied: steadiness.Steadied | None
    failed: str | None = None
    uncolored: str | None = None
    faces: np.ndarray | None = None


def colorizes(found: containers.Survey, options: ClipOptions) -> bool:
    """Whether a clip gets colours."""
    return options.restore.colorizes(is_grayscale=found.is_gray)


def interpolator_of(options: ClipOptions, engine: contract.Engine) -> str | None:
    """Name of the model that corrects frames in between, or `None`.

    Raises:
        FileNotFoundError: One was named that the engine does not have.
    """
    if options.rate is None:
        return None
    name = options.interpolator or contract.INTERPOLATOR
    if name in engine.versions(name):
        return name if options.interpolator or options.restore.best else None
    if options.interpolator:
        raise FileNotFoundError(
            "What corrects frames in between must be one of the models. Received: "
            f"'{name}', which is not there. Train one with `refocus train interpolator`, or leave "
            "it out."
        )
    return None


class Worker:
    """Makes the frames of a clip, segment after segment.

    What it read and restored at the end of a segment is used for the next one, if that follows.

    Args:
        found: Survey of the clip.
        restorer: Runs the networks; it may be shared by several workers.
        options: What to do.
        moments: For each frame of the clip the frames of the result, of
            `interpolation.schedule`.
        pixels: Pixel format of coloured results.
        threads: Flows that are computed at once.
        cancel: Asked between steps; when it says yes, the work stops.
    """

    def __init__(
        self,
        found: containers.Survey,
        restorer: pipeline.Restorer,
        options: ClipOptions,
        moments: list[list[interpolation.Moment]],
        *,
        threads: int = 1,
        cancel: Callable[[], bool] | None = None,
    ):
        self._found = found
        self._restorer = restorer
        self._options = options
        self._moments = moments
        self._cancel = cancel or (lambda: False)
        self._pool = ThreadPoolExecutor(threads)
        self._colorizes = colorizes(found, options)
        self._interpolator = interpolator_of(options, restorer.engine)
        self._failures = self._color_failures = 0
        self._uncolored = ""
        self._limit = 0
        self._forget()

    def close(self) -> None:
        """Let go of the threads and of the file."""
        self._forget()
        self._pool.shutdown(cancel_futures=True)

    def make(self, start: int, end: int) -> Iterator[Made]:
        """Make the frames of the result that belong to some frames of the clip.

        Args:
            start: Index of the first frame of the clip.
            end: Index after the last one.

        Yields:
            The frames, in the order of their times.

        Raises:
            CancelledError: `cancel` said yes.
            ClipError: Frame after frame failed.
            ValueError: The clip changed while it was restored.
        """
        self._limit = self._needed(end)
        for index in range(start, end):
            for moment in self._moments[index]:
                if self._cancel():
                    raise CancelledError("The restoration was cancelled.")
                yield self._at(moment, index)
            self._drop(index + 1)

    def _needed(self, end: int) -> int:
        """Index after the last frame that frames before `end` depend on."""
        reach = steadiness.REACH * self._options.steady
        last = max((m.second for ms in self._moments[:end][-8:] for m in ms), default=end - 1)
        last = max(last, end - 1)
        return min(last + reach + 1, self._found.scene(last)[1])

    def _at(self, moment: interpolation.Moment, index: int) -> Made:
        first = self._final(moment.first)
        entry = self._entry(moment.first)
        if moment.first == moment.second:
            frame = first if moment.place == 0 else frames.copied(first)
            if len(self._moments[index]) > 1:
                frame = frames.copied(first)
        else:
            frame = self._between(moment)
        frame.pts, frame.duration = moment.pts, moment.duration
        is_source = moment.place == 0 and moment is self._moments[index][0]
        failed = entry.failed or entry.uncolored
        return Made(frame, self._entry(index).frame, failed, index, is_source)

    # Frames between frames.

    def _between(self, moment: interpolation.Moment) -> Any:
        first, second = self._final(moment.first), self._final(moment.second)
        sides = _as_planes(first), _as_planes(second)
        pair = (moment.first, moment.second)
        if self._between_flows[0] != pair:
            ways = [(sides[0][0], sides[1][0]), (sides[1][0], sides[0][0])]
            flows = self._pool.map(
                lambda way: optical_flow.estimate(*way, interpolation.FLOW), ways
            )
            self._between_flows = (pair, *flows)
        planes = interpolation.between(
            *sides,
            *self._between_flows[1:],
            moment.place,
            correct=self._correct if self._interpolator else None,
        )
        result = frames.blank_like(first)
        top = self._found.layout.top
        for index, plane in enumerate(planes):
            frames.view(result, index)[...] = np.rint(plane * top)
        return result

    def _correct(self, seen: np.ndarray) -> np.ndarray:
        """What a network changes of a frame in between; large frames in tiles."""
        height, width = seen.shape[:2]
        tile = tiling.fitting_tile(height, width, _CORRECTION_OVERLAP)
        tiles = tiling.Tiles(height, width, tile, _CORRECTION_OVERLAP)

        def given(window: tiling.Window) -> np.ndarray:
            if self._cancel():
                raise CancelledError("The restoration was cancelled.")
            cut = tiles.cut(seen, window, fill=False)
            return self._restorer.engine.correct(cut[np.newaxis], model=self._interpolator)[0]

        changes = np.concatenate([band for _, band in tiles.blend(map(given, tiles))])
        if not np.isfinite(changes).all():
            raise ValueError(
                "A model must give finite numbers. Received: NaN or infinity from "
                f"'{self._interpolator}'. Export a good checkpoint, or leave it out."
            )
        return changes

    # The steps of one frame, each done once and kept while it is needed.

    def _final(self, index: int) -> Any:
        """The frame of the clip as it leaves, but for its time."""
        if index not in self._finals:
            entry = self._entry(index)
            frame = self._composed(index, entry)
            if self._options.restore.blur_faces:
                frame = faces.anonymize(frame, self._found.layout, self._faces_near(index))
            self._finals[index] = frame
        return self._finals[index]

    def _composed(self, index: int, entry: _Entry) -> Any:
        layout = self._found.layout
        luma = entry.before if entry.failed else self._steady(index)
        if self._colorizes:
            small, chroma = self._chroma_of(index)
            if self._colors.is_without_guess(index):
                entry.uncolored = f"{UNCOLORED}{self._uncolored}"
            return colors.put_on(
                entry.frame,
                layout,
                luma,
                small,
                chroma,
                self._colored_format(),
                self._options.restore.saturation,
            )
        if luma is entry.before:
            return frames.copied(entry.frame)
        return frames.with_luma(entry.frame, layout, entry.before, luma)

    def _colored_format(self) -> str:
        layout = self._found.layout
        return encoders.colored(layout.format) if layout.is_gray else layout.format

    def _steady(self, index: int) -> np.ndarray:
        entry = self._entry(index)
        if not self._options.steady or entry.steadied is None:
            return entry.before if entry.steadied is None else entry.steadied.restored
        start, end = self._found.scene(index)
        near = range(max(index - steadiness.REACH, start), min(index + steadiness.REACH + 1, end))
        neighbours = {}
        for other in near:
            found = self._entry(other)
            if other != index and found.steadied is not None:
                neighbours[other - index] = found.steadied
        pairs = [(index, index + distance) for distance in neighbours]
        self._prepare_flows(pairs)
        flows = {distance: self._flows(index, index + distance) for distance in neighbours}
        return steadiness.fuse(entry.steadied, neighbours, flows)

    def _prepare_flows(self, pairs: list[tuple[int, int]]) -> None:
        """Compute flows that are missing, several at once."""
        wanted = {key for a, b in pairs for key in ((a, b), (b, a)) if key not in self._motion}
        if len(wanted) > 1:
            for key, motion in zip(wanted, self._pool.map(self._flow, wanted), strict=True):
                self._motion[key] = motion

    def _flows(self, first: int, second: int) -> tuple[np.ndarray, np.ndarray]:
        self._prepare_flows([(first, second)])
        return self._motion[first, second], self._motion[second, first]

    def _flow(self, pair: tuple[int, int]) -> np.ndarray:
        planes = []
        for index in pair:
            entry = self._entries[index]
            restored = entry.before if entry.steadied is None else entry.steadied.restored
            planes.append(optical_flow.as_bytes(restored))
        return optical_flow.estimate(*planes)

    def _entry(self, index: int) -> _Entry:
        """A frame, restored alone."""
        if index not in self._entries:
            if self._source is None or index != self._next:
                self._forget()
                self._source = containers.read(
                    self._found,
                    index,
                    len(self._found.frames),
                    deinterlace=self._options.deinterlace,
                )
                self._next = index
            for entry in self._restored(self._read_batch()):
                self._entries[self._next] = entry
                self._next += 1
        return self._entries[index]

    def _read_batch(self) -> list[_Entry]:
        """The next frames, as many as the engine takes at once."""
        count = min(self._batch_size(), max(self._limit - self._next, 1))
        batch = []
        while len(batch) < count:
            _, frame = next(self._source)
            batch.append(_Entry(frame, frames.luma(frame, self._found.layout), None))
        return batch

    def _batch_size(self) -> int:
        engine = self._restorer.engine
        if engine.batch_size <= 1:
            return 1
        size = np.empty((self._found.height, self._found.width))
        tiles = pipeline.choose_tiles(size, self._options.restore, engine)
        return max(engine.batch_size // len(tiles), 1)

    def _restored(self, batch: list[_Entry]) -> list[_Entry]:
        options = self._options.restore
        if options.strength == 0:
            return batch
        try:
            planes = np.stack([entry.before for entry in batch])[..., np.newaxis]
            results = self._restorer.restore_luminance(planes, options, cancel=self._cancel)
            for entry, result in zip(batch, results, strict=True):
                entry.steadied = steadiness.prepare(entry.before, result[..., 0])
            self._failures = 0
        except (CancelledError, FileNotFoundError):
            raise
        except Exception as error:
            logger.debug("frame %d failed", self._next, exc_info=True)
            if len(batch) > 1:
                return [entry for one in batch for entry in self._restored([one])]
            _stop_if_gone(error)
            self._failures += 1
            batch[0].failed = _said(error)
            if self._failures >= _FAILURES_IN_A_ROW:
                raise ClipError(
                    f"{self._failures} frames in a row could not be restored, the last one "
                    f"because of {batch[0].failed}"
                ) from error
        return batch

    # Colour.

    def _chroma_of(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """What the colorizer saw of a frame, and its chroma."""
        scene = self._found.scene(index)
        if self._colors is None or self._colors.scene != scene:
            self._colors = colors.SceneColors(scene, self._small_luminances, self._colorize)
        return self._colors.of(index)

    def _colorize(self, luminance: np.ndarray) -> np.ndarray | None:
        """What the colorizer says of a small picture; `None` if it fails."""
        if self._cancel():
            raise CancelledError("The restoration was cancelled.")
        model = self._options.restore.colorizer
        try:
            chroma = self._restorer.engine.colorize(luminance[np.newaxis], model=model)[0]
        except (CancelledError, FileNotFoundError):
            raise
        except Exception as error:
            logger.debug("a key frame could not be coloured", exc_info=True)
            self._uncolored = _said(error)
            self._color_failures += 1
            _stop_if_gone(error)
            if self._color_failures >= _FAILURES_IN_A_ROW:
                raise ClipError(
                    f"{self._color_failures} key frames in a row could not be coloured, the last "
                    f"one because of {self._uncolored}"
                ) from error
            return None
        self._color_failures = 0
        return chroma

    def _small_luminances(self, start: int) -> Iterator[np.ndarray]:
        """What the colorizer sees of each frame from one on to the end of its scene."""
        end = self._found.scene(start)[1]
        for _, frame in containers.read(
            self._found, start, end, deinterlace=self._options.deinterlace
        ):
            yield colors.small_luminance(frames.luma(frame, self._found.layout))

    # Faces.

    def _faces_near(self, index: int) -> np.ndarray:
        """Faces of a frame and of its neighbours: a face that is missed once is blurred too."""
        start, end = self._found.scene(index)
        near = range(max(index - steadiness.REACH, start), min(index + steadiness.REACH + 1, end))
        boxes = []
        for other in near:
            entry = self._entry(other)
            if entry.faces is None:
                entry.faces = faces.detect(entry.frame)
            boxes.append(entry.faces)
        return np.concatenate(boxes)

    def _drop(self, index: int) -> None:
        """Forget what frames from `index` on do not depend on."""
        oldest = (
            min((m.first for m in self._moments[index]), default=index)
            if (index < len(self._moments))
            else index
        )
        oldest -= steadiness.REACH
        self._entries = {i: entry for i, entry in self._entries.items() if i >= oldest}
        self._finals = {i: frame for i, frame in self._finals.items() if i >= index - 1}
        self._motion = {k: motion for k, motion in self._motion.items() if min(k) >= oldest}

    def _forget(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._finals: dict[int, Any] = {}
        self._motion: dict[tuple[int, int], np.ndarray] = {}
        # Of the last two frames between which others were made.
        self._between_flows: tuple[Any, ...] = (None,)
        self._source: Iterator[tuple[int, Any]] | None = None
        self._next = 0
        self._colors: colors.SceneColors | None = None


def _said(error: Exception) -> str:
    """An error in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _stop_if_gone(error: Exception) -> None:
    """Stop where it is no frame's fault: the server is gone."""
    if getattr(getattr(error, "status", None), "name", "") == "UNAVAILABLE":
        raise ClipError(str(error)) from error


def _as_planes(frame: Any) -> list[np.ndarray]:
    bits = max(component.bits for component in frame.format.components)
    top = np.float32(2**bits - 1)
    return [frames.view(frame, plane) / top for plane in range(len(frame.planes))]
