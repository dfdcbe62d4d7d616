"""A clip as browsers play it: H.264 in MP4, of the size of a screen, every frame at its own time.

For looking at, not for keeping: two clips of the same times, written this way, run side by side.
"""

import heapq
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from fractions import Fraction
from pathlib import Path
from typing import Any

from keras_refocus.system import files as system_files
from keras_refocus.video import containers

#: Longest side of a frame, in pixels.
SIDE = 1280

# Sounds that browsers play, which need not be written anew.
_SOUNDS = {"aac", "mp3"}

_Packets = Iterator[tuple[Fraction, int, Any]]


def write(
    source: Path,
    target: Path,
    *,
    side: int = SIDE,
    seconds: float | None = None,
    sound: bool = True,
    cancel: Callable[[], bool] | None = None,
) -> None:
    """Write a clip so that a browser plays it.

    Args:
        source: The clip.
        target: The file, MP4; it appears under this name when it is whole.
        side: Longest side of a frame, in pixels; smaller frames stay as they are.
        seconds: Only what begins earlier than this after the first frame is taken; `None`: all.
        sound: Whether the first track of sound goes along, if browsers play it.
        cancel: Asked between frames; when it says yes, the work stops.

    Raises:
        CancelledError: `cancel` said yes.
        FileNotFoundError: There is no such file.
        ValueError: It is no video.
    """
    import av

    # The head says that it is a video, before av is asked for its sound.
    head = containers.look(source)
    options = {"movflags": "+faststart"}
    with (
        system_files.replacing(target) as part,
        av.open(str(source), metadata_errors="replace") as heard,
        av.open(str(part), "w", format="mp4", options=options) as result,
    ):
        frames = _frames(source, seconds, cancel)
        first = next(frames)
        writer = _Writer(result, head, first, side)
        end = None
        if seconds is not None:
            end = first.pts * first.time_base + Fraction(seconds)
        streams = [writer.packets(first, frames)]
        if sound and (track := _track(heard)) is not None:
            copy = result.add_stream_from_template(track, opaque=True)
            streams.append(_copied(heard, track, copy, end))
        for _, _, packet in heapq.merge(*streams, key=lambda entry: entry[:2]):
            result.mux(packet)


def _frames(
    source: Path, seconds: float | None, cancel: Callable[[], bool] | None
) -> Iterator[Any]:
    """Frames in the order of their times, each with one."""
    begin = last = None
    for _, frame in containers.each_frame(source):
        if cancel is not None and cancel():
            raise CancelledError("The clip is not wanted any more.")
        if frame.pts is None:
            step = frame.duration or 1
            frame.pts = 0 if last is None else last + step
        if last is not None and frame.pts <= last:  # Of a file whose times go back.
            continue
        begin = frame.pts if begin is None else begin
        if seconds is not None and (frame.pts - begin) * frame.time_base >= seconds:
            return
        last = frame.pts
        yield frame


class _Writer:
    """Scales frames and encodes them at their own times."""

    def __init__(self, result: Any, head: containers.Look, first: Any, side: int):
        # Pixels that are not square are made so: players of browsers differ in what they do.
        wide = first.width * max(head.aspect, Fraction(1))
        high = first.height / min(head.aspect, Fraction(1))
        scale = min(Fraction(1), Fraction(side) / max(wide, high))
        self._size = [max(round(number * scale / 2) * 2, 2) for number in (wide, high)]
        self._stream = result.add_stream(
            "libx264",
            rate=head.rate,
            options={"preset": "veryfast", "crf": "18", "bf": "0"},
        )
        context = self._stream.codec_context
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.time_base = self._stream.time_base = first.time_base
        if first.rotation:
            self._stream.set_display_rotation(first.rotation)

    def packets(self, first: Any, frames: Iterator[Any]) -> _Packets:
        for frame in _chained(first, frames):
            width, height = self._size
            small = frame.reformat(width=width, height=height, format="yuv420p")
            small.pts, small.time_base, small.pict_type = frame.pts, frame.time_base, 0
            yield from self._entries(self._stream.encode(small))
        yield from self._entries(self._stream.encode(None))

    def _entries(self, packets: list[Any]) -> _Packets:
        for packet in packets:
            yield packet.dts * packet.time_base, 0, packet


def _chained(first: Any, frames: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from frames


def _track(container: Any) -> Any | None:
    """The first track of sound that browsers play."""
    for stream in container.streams.audio:
        if stream.codec_context.codec.canonical_name in _SOUNDS:
            return stream
    return None


def _copied(container: Any, track: Any, copy: Any, end: Fraction | None) -> _Packets:
    last = Fraction(0)
    for packet in container.demux(track):
        if packet.dts is None or packet.pts is None:
            continue
        if end is not None and packet.pts * packet.time_base >= end:
            return
        packet.stream = copy
        last = max(packet.dts * packet.time_base, last)
        yield last, 1, packet
