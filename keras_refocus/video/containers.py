"""Video files: what is in one, its frames from any place on, and a new file with nothing lost.

PyAV reads and writes. A clip is surveyed first, once, by decoding it: only then are the times of
its frames, its cuts and its faults known for certain.
"""

import contextlib
import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_refocus.system import files
from keras_refocus.video import cuts, encoders, frames

#: Suffixes of files that are taken for videos when a folder is searched.
SUFFIXES = frozenset(
    ".mp4 .m4v .mov .mkv .webm .avi .ts .m2ts .mts .mpg .mpeg .wmv .flv .3gp .ogv .mxf .vob "
    ".asf .f4v .y4m .nut".split()
)

# Files whose results have the same form; what others held goes into MP4 if it can, else Matroska.
_FORMATS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}

# `AVColorTransferCharacteristic`: PQ (SMPTE ST 2084) and HLG (ARIB STD-B67).
_HDR = {16: "PQ", 18: "HLG"}

# What frames may carry beside their samples that a player shows, and that new frames do not have.
_SIDE_DATA = {
    "SPHERICAL": "spherical",
    "STEREO3D": "stereo 3D",
    "A53_CC": "closed caption",
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
}

# `AVColorTransferCharacteristic`: not said.
_UNSAID = (0, 2)

# Keys of metadata that say where a clip was taken.
_PLACE = ("location", "gps", "geo", "xyz")

# What muxers and encoders write themselves; it is never carried over.
_TECHNICAL = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "duration",
    "vendor_id",
    "number_of_bytes",
    "number_of_frames",
    "bps",
    "filename",
    "mimetype",
}

# Codecs whose frames do not say how wide a pixel is. MP4 says it for them; Matroska could, but PyAV
# sets that of the frames only.
_SAY_NO_ASPECT = {"vp9", "av1", "prores"}

# Frames that are surveyed beyond the end of a part: its last frames are fused with them.
_BEYOND = 4

# Frames of colour that are looked at to tell whether a clip is grey: one in so many.
_GRAY_EVERY = 24


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame of a clip.

    Attributes:
        pts: Presentation time, in units of the clip's time base.
        duration: How long it is shown, in the same units.
    """

    pts: int
    duration: int


@dataclasses.dataclass
class Survey:
    """What there is to know of a clip before work on it begins.

    Attributes:
        path: The file.
        layout: How samples are coded.
        width: Of a frame, in pixels.
        height: Of a frame, in pixels.
        time_base: Of the times, in seconds.
        rate: Frames a second on the mean, as the file says.
        frames: All frames, in the order of their times.
        scene_starts: Indices of the first frames of scenes, 0 first.
        unreadable: Packets that could not be decoded.
        interlaced: Frames that are marked as interlaced.
        gray_share: Share of the frames that were looked at which are grey.
        held: Indices of frames that repeat the frame before them.
        codec: Name of the codec.
        rotation: Quarter turns by which a player turns the clip, in degrees.
        matrix: The display matrix, nine integers, `None` if there is none.
        properties: Range, matrix, primaries and transfer, as FFmpeg numbers them.
        aspect: Of a pixel, `None` if not said.
        hdr: `"PQ"`, `"HLG"`, `"Dolby Vision"` or `None`.
        side_data: Names of what frames carry beside their samples that is not carried over.
        is_regular: Whether times are such that frames can be found by them.
    """

    path: Path
    layout: frames.Layout
    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    frames: list[Frame]
    scene_starts: list[int]
    unreadable: int
    interlaced: int
    gray_share: float
    held: set[int]
    codec: str
    rotation: int
    matrix: tuple[int, ...] | None
    properties: dict[str, int]
    aspect: Fraction | None
    hdr: str | None
    side_data: tuple[str, ...]
    is_regular: bool

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        last = self.frames[-1]
        return float((last.pts + last.duration - self.frames[0].pts) * self.time_base)

    @property
    def is_gray(self) -> bool:
        """Whether nearly all of it has no colour."""
        return self.gray_share >= 0.9

    @property
    def frame_rate(self) -> float:
        """Frames a second on the mean, counted."""
        span = self.frames[-1].pts - self.frames[0].pts
        if not span:
            return float(self.rate)
        return float((len(self.frames) - 1) / (span * self.time_base))

    def scene(self, index: int) -> tuple[int, int]:
        """First frame of the scene that a frame belongs to, and the first after it."""
        import bisect

        place = bisect.bisect_right(self.scene_starts, index)
        end = self.scene_starts[place] if place < len(self.scene_starts) else len(self.frames)
        return self.scene_starts[place - 1], end


def is_video(path: Path) -> bool:
    """Whether a file's name says that it is a video."""
    return path.suffix.lower() in SUFFIXES


def format_of(path: Path) -> str:
    """FFmpeg's name for the form of a result, by its suffix.

    Raises:
        ValueError: It is none of those that are written.
    """
    try:
        return _FORMATS[path.suffix.lower()]
    except KeyError:
        raise ValueError(
            f"A video is written as one of {', '.join(_FORMATS)}. Received: '{path}'."
        ) from None


def possible_suffixes(path: Path) -> set[str]:
    """Suffixes that the result of a clip may have; which one is known once it was looked at."""
    suffix = path.suffix.lower()
    if suffix == ".webm":
        return {".webm", ".mkv"}
    if suffix == ".mkv":
        return {".mkv"}
    if suffix in (".mp4", ".m4v", ".mov"):
        # With a codec that such a file cannot hold it becomes Matroska.
        return {suffix, ".mkv"}
    return {".mp4", ".mov", ".mkv"}


@dataclasses.dataclass(frozen=True)
class Look:
    """What the head of a file says of a clip, before it is decoded.

    Attributes:
        width: Of a frame, in pixels.
        height: Of a frame, in pixels.
        seconds: How long it is; `None` if the file does not say.
        rate: Frames a second on the mean.
        aspect: Of a pixel.
        hdr: `"PQ"`, `"HLG"` or `None`.
        format: FFmpeg's names for the form of the file.
        has_sound: Whether there is any.
    """

    width: int
    height: int
    seconds: float | None
    rate: Fraction
    aspect: Fraction
    hdr: str | None
    format: str
    has_sound: bool


def look(path: Path) -> Look:
    """Look at the head of a clip.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no video.
    """
    with _opened(path) as container:
        stream = _stream(container, path)
        context = stream.codec_context
        seconds = None
        if stream.duration is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / 1e6
        return Look(
            width=context.width,
            height=context.height,
            seconds=seconds,
            rate=stream.average_rate or stream.guessed_rate or Fraction(25),
            aspect=stream.sample_aspect_ratio or context.sample_aspect_ratio or Fraction(1),
            hdr=_HDR.get(int(context.color_trc)),
            format=container.format.name,
            has_sound=bool(container.streams.audio),
        )


def survey(
    path: Path,
    *,
    deinterlace: bool = False,
    look_for_gray: bool = False,
    until: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """Decode a clip once and note what work on it depends on.

    Args:
        path: The file.
        deinterlace: Whether frames go through a deinterlacer, here and when they are read.
        look_for_gray: Whether it is found out whether the clip is grey.
        until: Seconds from the first frame after which the survey ends, a few frames later; `None`
            for all of the clip.
        progress: Called with frames done and frames in all, 0 where the file does not say.

    Returns:
        The survey. It holds a few numbers a frame.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no video, or holds frames that are not restored.
    """
    with _opened(path) as container:
        stream = _stream(container, path)
        found = _Surveyor(path, stream, look_for_gray)
        total = stream.frames
        for frame in _decoded(stream, container, found.unreadable, deinterlace=deinterlace):
            found.add(frame)
            if progress is not None:
                progress(len(found.times), total)
            if until is not None and found.reaches_beyond(until):
                break
        return found.result(stream)


class _Surveyor:
    """Gathers what a survey says, frame by frame."""

    def __init__(self, path: Path, stream: Any, look_for_gray: bool):
        self.path = path
        self.times: list[tuple[int | None, int]] = []
        self.unreadable: list[int] = []
        self._layout: frames.Layout | None = None
        self._size = (0, 0)
        self._first: Any = None
        self._scene_starts: list[int] = []
        self._held: set[int] = set()
        self._previous = self._luma = None
        self._interlaced = 0
        self._grays: list[bool] = []
        self._looks = look_for_gray
        self._side_data: set[str] = set()
        self._time_base = stream.time_base
        self._rate = stream.average_rate or stream.guessed_rate or Fraction(25)

    def add(self, frame: Any) -> None:
        layout = frames.layout_of(frame)
        if self._layout is None:
            self._layout, self._size = layout, (frame.width, frame.height)
            self._first = (frame.rotation, _matrix(frame), _properties(frame))
        elif (layout.format, frame.width, frame.height) != (self._layout.format, *self._size):
            raise ValueError(
                "All frames of a clip must have one size and one pixel format. Received: "
                f"'{self.path}', {self._size[0]}x{self._size[1]} {self._layout.format} and from "
                f"frame {len(self.times)} on {frame.width}x{frame.height} {layout.format}. Cut it "
                "there first."
            )
        index = len(self.times)
        planar = frames.in_planes(frame, layout)
        luma = frames.luma_codes(planar, layout)
        if self._luma is not None and np.abs(luma - self._luma).mean() < 0.002 * layout.top:
            self._held.add(index)
        self._luma = luma
        scaled = np.clip((luma - layout.black) / layout.scale, 0.0, 1.0)
        small = cuts.shrink(scaled)
        if self._previous is None or cuts.is_cut(self._previous, small):
            self._scene_starts.append(index)
        self._previous = small
        self._interlaced += bool(frame.interlaced_frame)
        if self._looks and index % _GRAY_EVERY == 0:
            self._grays.append(layout.is_gray or _is_gray(frame))
        self._side_data |= {_name(data.type) for data in frame.side_data}
        self.times.append((frame.pts, frame.duration or 0))

    def reaches_beyond(self, seconds: float) -> bool:
        """Whether the last frames are later than this, counted from the first."""
        if len(self.times) <= _BEYOND:
            return False
        first, last = self.times[0][0], self.times[-_BEYOND][0]
        if first is None or last is None:  # A raw stream: by the count.
            return len(self.times) * float(1 / self._rate) > seconds + 1
        return float((last - first) * self._time_base) >= seconds

    def _hdr(self, transfer: int) -> str | None:
        # Dolby Vision of profile 5 has colours of its own, and says no transfer; in its other
        # profiles a picture that says what it is lies below, which may well be an SDR one.
        if transfer in _UNSAID and "DOVI_RPU_BUFFER" in self._side_data:
            return "Dolby Vision"
        return _HDR.get(transfer)

    def result(self, stream: Any) -> Survey:
        if self._layout is None:
            raise ValueError(
                "A video must have at least one frame that can be decoded. "
                f"Received: '{self.path}', none."
            )
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        end = None
        if stream.duration is not None and stream.start_time is not None:
            end = stream.start_time + stream.duration
        listed, is_regular = _listed(self.times, rate, self._time_base, end)
        rotation, matrix, properties = self._first
        return Survey(
            path=self.path,
            layout=self._layout,
            width=self._size[0],
            height=self._size[1],
            time_base=self._time_base,
            rate=rate,
            frames=listed,
            scene_starts=self._scene_starts,
            unreadable=len(self.unreadable),
            interlaced=self._interlaced,
            gray_share=sum(self._grays) / max(len(self._grays), 1),
            held=self._held,
            codec=stream.codec_context.codec.canonical_name,
            rotation=rotation,
            matrix=matrix,
            properties=properties,
            aspect=stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio,
            hdr=self._hdr(properties["color_trc"]),
            side_data=tuple(name for kind, name in _SIDE_DATA.items() if kind in self._side_data),
            is_regular=is_regular,
        )


def _listed(
    times: list[tuple[int | None, int]], rate: Fraction, time_base: Fraction, end: int | None
) -> tuple[list[Frame], bool]:
    """Times of all frames, made up where the file has none, and whether they ascend.

    Args:
        times: Time and duration of each as it was decoded.
        rate: Frames a second on the mean.
        time_base: Of the times.
        end: When the stream ends; `None` if the file does not say. Of a part that was looked at
            it is far away, and does not count.
    """
    step = max(round(1 / (rate * time_base)), 1)
    known = [pts for pts, _ in times]
    is_regular = None not in known and all(a < b for a, b in itertools.pairwise(known))
    if not is_regular:
        # Raw streams have no times; a frame whose time is missing, or that of another, follows the
        # one before it at the mean rate.
        for index, pts in enumerate(known):
            previous = known[index - 1] if index else None
            if pts is None or (previous is not None and pts <= previous):
                known[index] = 0 if previous is None else previous + step
    durations = [b - a for a, b in itertools.pairwise(known)]
    usual = sorted(durations)[len(durations) // 2] if durations else step
    # Some files count durations in the order of decoding: that of the last frame may be another's.
    said = [times[-1][1]] if end is None else [end - known[-1], times[-1][1]]
    durations.append(next((one for one in said if usual / 4 <= one <= 4 * usual), usual))
    return [Frame(*pair) for pair in zip(known, durations, strict=True)], is_regular


def each_frame(path: Path) -> Iterator[tuple[int, Any]]:
    """Decode a clip from its beginning, as it is: yields `(index, frame)`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no video.
    """
    with _opened(path) as container:
        yield from enumerate(_decoded(_stream(container, path), container, [], deinterlace=False))


def read(
    found: Survey, start: int, end: int, *, deinterlace: bool = False
) -> Iterator[tuple[int, Any]]:
    """Decode some frames of a clip.

    Args:
        found: Survey of the clip.
        start: Index of the first frame.
        end: Index after the last one.
        deinterlace: As in `survey`.

    Yields:
        `(index, frame)`, in planes, its `pts` and `duration` those of the survey.

    Raises:
        ValueError: The clip no longer has these frames.
    """
    with _opened(found.path) as container:
        stream = _stream(container, found.path)
        first = 0
        if found.is_regular and start > 0:
            first = _seek(container, stream, found, start)
        count = first
        # After seeking the first frames are known by their times, once one was found by order.
        by_time = {found.frames[i].pts: i for i in range(start, end)} if first is None else {}
        wanted = start
        for frame in _decoded(stream, container, [], deinterlace=deinterlace):
            if first is None:
                index = by_time.get(frame.pts)
            else:
                index = count
                count += 1
            if index is None or index < start:
                continue
            if index >= end:
                break
            planar = frames.in_planes(frame, found.layout)
            planar.pts, planar.duration = found.frames[index].pts, found.frames[index].duration
            planar.time_base = found.time_base
            wanted = index + 1
            yield index, planar
            if wanted == end:
                return
        if wanted < end:
            raise ValueError(
                f"The clip must stay as it is while it is restored. Received: '{found.path}', "
                f"which now ends before frame {end}."
            )


def _seek(container: Any, stream: Any, found: Survey, start: int) -> int | None:
    """Go to a place from which frame `start` decodes as it does from the beginning.

    Returns:
        0 if that is the beginning, `None` if frames are to be known by their times.
    """
    # What follows a key frame may still refer to frames before it, so decoding begins at the key
    # frame before the last one; a deinterlacer wants frames before the first one anyway.
    target = found.frames[max(start - 4, 0)].pts
    for _ in range(2):
        try:
            container.seek(target, stream=stream, backward=True)
        except OSError:
            container.seek(found.frames[0].pts, stream=stream, backward=True)
            return None
        packet = next((p for p in container.demux(stream) if p.size and p.pts is not None), None)
        if packet is None or packet.pts <= found.frames[0].pts:
            target = found.frames[0].pts
            break
        target = packet.pts - 1
    try:
        container.seek(target, stream=stream, backward=True)
    except OSError:
        container.seek(found.frames[0].pts, stream=stream, backward=True)
    return None


def _decoded(
    stream: Any, container: Any, unreadable: list[int], *, deinterlace: bool
) -> Iterator[Any]:
    """Frames of a stream from where it stands; packets that cannot be decoded are noted."""
    import av

    stream.thread_type = "AUTO"
    filters = _Deinterlacer(stream) if deinterlace else None
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError:
            unreadable.append(packet.pts or 0)
            continue
        for frame in decoded:
            yield from filters.put(frame) if filters else (frame,)
    if filters:
        yield from filters.put(None)


class _Deinterlacer:
    """FFmpeg's bwdif, one frame for a frame, so that times stay."""

    def __init__(self, stream: Any):
        import av

        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(template=stream)
        filtered = self._graph.add("bwdif", "mode=send_frame:deint=all")
        sink = self._graph.add("buffersink")
        source.link_to(filtered)
        filtered.link_to(sink)
        self._graph.configure()
        self._time_base = stream.time_base

    def put(self, frame: Any) -> Iterator[Any]:
        import av

        self._graph.push(frame)
        while True:
            try:
                whole = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            # The filter counts in halves, for fields that become frames.
            ratio = whole.time_base / self._time_base
            if whole.pts is not None:
                whole.pts = round(whole.pts * ratio)
            whole.duration, whole.time_base = round(whole.duration * ratio), self._time_base
            yield whole


@dataclasses.dataclass(frozen=True)
class Target:
    """How a result is written.

    Attributes:
        format: Of the file, as FFmpeg names it.
        suffix: Of its name.
        encoder: Of the frames.
        notes: Sentences about what the file cannot hold.
    """

    format: str
    suffix: str
    encoder: encoders.Encoder
    notes: tuple[str, ...] = ()


def choose_target(
    found: Survey, *, codec: str | None = None, crf: int | None = None, colours: bool = False
) -> Target:
    """Choose the form of a result: that of the input where it can be written.

    Args:
        found: Survey of the clip.
        codec: A name of `encoders.CODECS`; `None` takes that of the input where it can be written.
        crf: Quality, of the codec's own scale; `None` takes one at which nothing is seen.
        colours: Whether the result has colours, whatever the input has.

    Raises:
        ValueError: The codec cannot hold such frames.
    """
    layout = found.layout
    pixels = encoders.colored(layout.format) if colours and layout.is_gray else layout.format
    encoder = encoders.choose(found.codec, pixels, asked=codec, crf=crf)
    suffix = found.path.suffix.lower()
    format = _FORMATS.get(suffix)
    notes = []
    with _opened(found.path) as container:
        names = {
            stream.codec_context.name
            for stream in container.streams
            if stream.type in ("audio", "subtitle") and stream.codec_context is not None
        }
        attached = any(stream.type == "attachment" for stream in container.streams)
    wanted = {*names}
    if format in ("mp4", "mov") and encoder.codec not in encoders.HELD_BY[format]:
        format = None
    if format == "webm" and encoder.codec not in encoders.HELD_BY["webm"]:
        format = "matroska"
    if format is None:
        fits = encoder.codec in encoders.HELD_BY["mp4"] and not attached
        format = "mp4" if fits and wanted <= encoders.MP4_STREAMS else "matroska"
        if encoder.codec == "prores" and not attached and suffix not in (".mkv", ".webm"):
            format = "mov"
    kept = next((s for s, name in _FORMATS.items() if name == format), ".mkv")
    suffix = suffix if _FORMATS.get(suffix) == format else kept
    if format in ("matroska", "webm") and found.aspect not in (None, 1):
        if encoder.codec in _SAY_NO_ASPECT:
            encoder = _encoder_that_says_the_aspect(found, encoder, pixels, codec, crf)
            format, suffix = "matroska", ".mkv"
            notes.append(f"pixels are not square, which {encoder.codec} says in such a file")
        elif encoder.codec == "ffv1":
            notes.append(
                f"pixels are {found.aspect} as wide as high, which ffv1 cannot say in {suffix} here"
            )
    if format in ("matroska", "webm") and (1000 * found.time_base).denominator > 1:
        exact = all((1000 * f.pts * found.time_base).denominator == 1 for f in found.frames)
        if not exact:
            notes.append(f"{suffix} files round times to milliseconds")
    return Target(format=format, suffix=suffix, encoder=encoder, notes=tuple(notes))


def _encoder_that_says_the_aspect(
    found: Survey, encoder: encoders.Encoder, pixels: str, asked: str | None, crf: int | None
) -> encoders.Encoder:
    if asked is not None:
        raise ValueError(
            f"{encoder.codec} in a Matroska file must have square pixels here: PyAV cannot write "
            f"others. Received: '{found.path}', whose pixels are {found.aspect} as wide as high. "
            "Choose the codec h264 or hevc."
        )
    return encoders.choose("h264", pixels, crf=crf)


class SegmentWriter:
    """Writes frames to a file of their own, from which `join` takes them.

    A context manager: the file appears under its name when the block ends, and not at all if an
    error ends it.

    Args:
        path: The file.
        target: How it is encoded.
        found: Survey of the clip.
        time_base: Of the frames' times.
        origin: Time of the first frame, which becomes 0.
        size: Width and height; `None` for those of the clip.
    """

    def __init__(
        self,
        path: Path,
        target: Target,
        found: Survey,
        time_base: Fraction,
        origin: int,
        *,
        size: tuple[int, int] | None = None,
    ):
        import av

        self._origin = origin
        self._time_base = time_base
        self._target = target
        encoder = target.encoder
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(files.replacing(path))
            self._container = av.open(
                str(temporary),
                "w",
                format=encoder.segment_format,
                options={"movie_timescale": str(min(time_base.denominator, 2**31 - 1))},
            )
            stack.push(self._finish)
            self._open_stream(found, time_base, size)
            self._stack = stack.pop_all()

    def _open_stream(
        self, found: Survey, time_base: Fraction, size: tuple[int, int] | None
    ) -> None:
        encoder = self._target.encoder
        self._stream = self._container.add_stream(
            encoder.name, rate=found.rate, options=dict(encoder.options)
        )
        width, height = size or (found.width, found.height)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = width, height, encoder.pixels
        context.time_base = self._stream.time_base = time_base
        context.thread_count = encoder.threads
        context.sample_aspect_ratio = found.aspect or Fraction(0, 1)
        for name, value in found.properties.items():
            setattr(context, name, value)
        if found.layout.is_full and not found.layout.is_rgb:
            context.color_range = frames.FULL
        self._properties = {name: getattr(context, name) for name in found.properties}
        self._format = encoder.pixels

    def write(self, frame: Any) -> None:
        """Encode a frame; its `pts` and `duration` count."""
        pts, duration = frame.pts, frame.duration
        if frame.format.name != self._format:
            frame = _same_samples(frame, self._format)
        frame.pts, frame.time_base, frame.duration = pts - self._origin, self._time_base, duration
        for name, value in self._properties.items():
            setattr(frame, name, value)
        frame.pict_type = 0
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> "SegmentWriter":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _finish(self, kind: Any, *_: Any) -> None:
        """Write what the encoder still holds, unless an error has ended the work."""
        if kind is None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
        else:
            with contextlib.suppress(Exception):
                self._container.close()


@dataclasses.dataclass(frozen=True)
class Segment:
    """Encoded frames on disk.

    Attributes:
        path: The file.
        times: `(pts, duration)` of its frames in the order of time, in units of the result.
    """

    path: Path
    times: list[tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Window:
    """The part of a clip that goes into the result, in seconds of the file's own time.

    Attributes:
        start: Where the result begins; `None` keeps the clip's own beginning.
        end: Where it ends; `None` for the clip's own end.
    """

    start: Fraction | None = None
    end: Fraction | None = None


def join(
    path: Path,
    found: Survey,
    target: Target,
    segments: Sequence[Segment],
    time_base: Fraction,
    *,
    rate: Fraction | None = None,
    window: Window | None = None,
    keep_metadata: bool = False,
    keep_place: bool = False,
    without_streams: bool = False,
) -> list[str]:
    """Put encoded frames and everything else of the input into one file.

    Args:
        path: The file; it appears under this name when it is whole.
        found: Survey of the input.
        target: How the segments were written.
        segments: In the order of time.
        time_base: Of their times.
        rate: Frames a second that the file says; `None` for those that the input says.
        window: The part of the input that is taken.
        keep_metadata: Whether title, date, camera and the like are kept, but not the place.
        keep_place: With `keep_metadata`: whether the place is kept too.
        without_streams: Whether only frames and audio go in.

    Returns:
        Sentences about what could not be kept.
    """
    import av

    window = window or Window()
    options = {}
    if target.format in ("mp4", "mov"):
        options["movflags"] = "+faststart" + ("+use_metadata_tags" if keep_metadata else "")
        options["movie_timescale"] = str(min(time_base.denominator, 2**31 - 1))
        options["write_tmcd"] = "0"
    notes = list(target.notes)
    with files.replacing(path) as part, _opened(found.path) as source:
        with av.open(str(part), "w", format=target.format, options=options) as result:
            # Matroska would number a file at random; the same work gives the same file.
            result.flags |= av.container.Flags.bitexact.value
            streams, own = _add_streams(
                source, result, found, segments, without_streams, target, notes
            )
            if keep_metadata:
                result.metadata.update(_kept_metadata(source.metadata, keep_place=keep_place))
            if not without_streams:
                result.set_chapters(_chapters(source, window))
            own.time_base = time_base
            own.codec_context.framerate = rate or found.rate
            queues = [
                _video_packets(segments, time_base, own),
                _copied_packets(source, streams, window),
            ]
            for _, _, packet in heapq.merge(*queues, key=lambda entry: entry[:2]):
                result.mux(packet)
    return notes


def _add_streams(
    source: Any,
    result: Any,
    found: Survey,
    segments: Sequence[Segment],
    without_streams: bool,
    target: Target,
    notes: list[str],
) -> tuple[dict[int, Any], Any]:
    """Add streams in the order of the input; returns the copied ones and that of the frames."""
    import av

    own_index = _stream(source, found.path).index
    streams: dict[int, Any] = {}
    own = None
    for stream in source.streams:
        if stream.index == own_index:
            with av.open(str(segments[0].path)) as first:
                encoded = first.streams.video[0]
                own = result.add_stream_from_template(encoded, opaque=True)
            added = own
            if found.matrix is not None:
                own.set_display_matrix(found.matrix)
        elif stream.type == "attachment":
            if not without_streams:
                name = stream.metadata.get("filename", f"attachment{stream.index}")
                result.add_attachment(name, stream.mimetype or "", stream.data)
            continue
        elif stream.type == "data" or (without_streams and stream.type != "audio"):
            if not without_streams and stream.type == "data" and not _is_chapters(stream):
                notes.append("a track of data, which may hold the place, was left out")
            continue
        else:
            try:
                added = result.add_stream_from_template(stream, opaque=True)
            except (ValueError, OSError) as error:
                raise ValueError(
                    f"A {target.suffix} file cannot hold the {stream.type} of this clip. Received: "
                    f"stream {stream.index} of '{found.path}'. Rename the input to .mkv after "
                    "remuxing it, or leave the stream out."
                ) from error
            streams[stream.index] = added
        added.metadata.update(_stream_metadata(stream.metadata))
        added.disposition = stream.disposition
    return streams, own


def _video_packets(
    segments: Sequence[Segment], time_base: Fraction, stream: Any
) -> Iterator[tuple[Fraction, int, Any]]:
    """Packets of all segments with the times of the result, each with what it is sorted by.

    Decoding times are made anew: the n-th packet may be decoded when the frame was shown that lies
    as many places back as frames are reordered by, so they ascend across segments too.
    """
    import av

    orders = [_decoded_order(segment) for segment in segments]
    delay = max(delay for delay, _ in orders)
    times = [pts for segment in segments for pts, _ in segment.times]
    early = _head_start(times, delay, segments[-1], orders[-1][1])
    count = 0
    for segment in segments:
        origin = segment.times[0][0]
        durations = dict(segment.times)
        with av.open(str(segment.path)) as container:
            for packet in container.demux(container.streams.video[0]):
                if not packet.size:
                    continue
                pts = origin + round(packet.pts * packet.time_base / time_base)
                place = count - delay
                dts = times[place] if place >= 0 else times[0] + place * early // delay
                packet.pts, packet.dts, packet.duration = pts, dts, durations[pts]
                packet.time_base = time_base
                packet.stream = stream
                count += 1
                yield dts * time_base, 0, packet


def _decoded_order(segment: Segment) -> tuple[int, int]:
    """By how many places frames of a segment are decoded before they are shown.

    Returns:
        That, and which place among the shown the frame has that is decoded last.
    """
    import av

    with av.open(str(segment.path)) as container:
        shown = [p.pts for p in container.demux(container.streams.video[0]) if p.size]
    place = {pts: index for index, pts in enumerate(sorted(shown))}
    return max(index - place[pts] for index, pts in enumerate(shown)), place[shown[-1]]


def _head_start(times: list[int], delay: int, last: Segment, decoded_last: int) -> int:
    """How long before the first frame is shown the first one is decoded.

    MP4 takes the sum of what lies between decoding times for the length of a track, and the
    duration of the frame that is decoded last: the start is such that it is what is shown.
    """
    if delay == 0:
        return 0
    smallest = min((b - a for a, b in itertools.pairwise(times)), default=1)
    if delay >= len(times):
        return delay * smallest
    end = sum(last.times[-1])
    start = end - times[-1 - delay] - last.times[decoded_last][1]
    return start if start >= delay else delay * smallest


def _copied_packets(
    source: Any, streams: dict[int, Any], window: Window
) -> Iterator[tuple[Fraction, int, Any]]:
    """Packets of the other streams, as they are, each with what it is sorted by."""
    if not streams:
        return
    shift = window.start or Fraction(0)
    last = Fraction(0)
    for packet in source.demux([source.streams[index] for index in streams]):
        if not packet.size and packet.pts is None:
            continue
        stream = streams[packet.stream.index]
        moment = packet.pts if packet.pts is not None else packet.dts
        if moment is not None:
            when = moment * packet.time_base
            if window.start is not None and when < window.start:
                continue
            if window.end is not None and when >= window.end:
                continue
            if shift:
                units = round(shift / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - units
                packet.dts = None if packet.dts is None else packet.dts - units
            decoded = packet.dts if packet.dts is not None else packet.pts
            last = decoded * packet.time_base
        packet.stream = stream
        # Merging needs what is sorted; the streams of a file are nearly so.
        yield last, 1, packet


def _chapters(source: Any, window: Window) -> list[dict[str, Any]]:
    kept = []
    for chapter in source.chapters():
        base = chapter["time_base"] or Fraction(1, 1000)
        start, end = chapter["start"] * base, chapter["end"] * base
        low, high = window.start or start, window.end or end
        if window.start is not None or window.end is not None:
            start, end = max(start, low), min(end, high)
            if start >= end:
                continue
            shift = window.start or Fraction(0)
            start, end = start - shift, end - shift
        kept.append(
            {
                "id": chapter["id"],
                "start": round(start / base),
                "end": round(end / base),
                "time_base": base,
                "metadata": chapter["metadata"],
            }
        )
    return kept


def _stream_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Language and title of a stream; QuickTime keeps the title under another key."""
    kept = {}
    for key in ("language", "title", "handler_name"):
        if metadata.get(key):
            kept[key] = metadata[key]
    if metadata.get("name") and "title" not in kept:
        kept["title"] = metadata["name"]
    return kept


def _kept_metadata(metadata: dict[str, str], *, keep_place: bool) -> dict[str, str]:
    return {
        key: value
        for key, value in metadata.items()
        if key.lower() not in _TECHNICAL
        and (keep_place or not any(word in key.lower() for word in _PLACE))
    }


def _same_samples(frame: Any, format: str) -> Any:
    """The same samples under the name that an encoder knows them by."""
    if format == frame.format.name.replace("yuvj", "yuv") or (
        frame.format.name == format.replace("yuvj", "yuv")
    ):
        result = frames.blank_like(frame, format=format)
        for plane in range(len(frame.planes)):
            frames.view(result, plane)[...] = frames.view(frame, plane)
        return result
    result = frame.reformat(format=format)
    return result


def _opened(path: Path) -> Any:
    import av

    if not path.exists():
        raise FileNotFoundError(f"The clip must exist. Received: '{path}'. Check the path.")
    try:
        return av.open(str(path), metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        raise ValueError(
            f"A video must be one that FFmpeg reads. Received: '{path}', of which it says: "
            f"{error}. Check the file."
        ) from error


def _stream(container: Any, path: Path) -> Any:
    """The stream of frames to restore: not a picture of the cover."""
    moving = [
        stream
        for stream in container.streams.video
        if not int(stream.disposition) & _ATTACHED_PICTURE
    ]
    if not moving:
        raise ValueError(f"A video must have a stream of frames. Received: '{path}', without one.")
    default = [stream for stream in moving if int(stream.disposition) & 1]
    return (default or moving)[0]


_ATTACHED_PICTURE = 0x400


def _is_chapters(stream: Any) -> bool:
    """Whether a track is that of chapter titles, which is written anew, or of time code."""
    handler = stream.metadata.get("handler_name", "")
    names_chapters = any(word in handler for word in ("Subtitle", "Text", "Chapter"))
    return names_chapters or "timecode" in stream.metadata


def _is_gray(frame: Any) -> bool:
    from keras_refocus.pictures import grayscale

    scale = min(1.0, 320 / max(frame.width, frame.height))
    size = (max(round(frame.width * scale), 1), max(round(frame.height * scale), 1))
    return grayscale.is_grayscale(
        frame.reformat(width=size[0], height=size[1], format="rgb24").to_ndarray()
    )


def _matrix(frame: Any) -> tuple[int, ...] | None:
    for data in frame.side_data:
        if _name(data.type) == "DISPLAYMATRIX":
            return tuple(int(number) for number in np.frombuffer(bytes(data), np.int32))
    return None


def _name(kind: Any) -> str:
    return getattr(kind, "name", str(kind))


def _properties(frame: Any) -> dict[str, int]:
    return {
        name: int(getattr(frame, name))
        for name in ("color_range", "colorspace", "color_primaries", "color_trc")
    }
