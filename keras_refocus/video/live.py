"""A stream restored at the rate that the machine gives: frames are dropped, never late.

    with live.Source("/dev/video0") as source:
        report = live.restore(source, restorer, options, "live.mkv")

One thread reads; only the newest frame waits. When the frame before it is done, the newest one is
restored, whatever came in between is dropped, and what is seen lags by the time of one frame. Each
frame is restored alone: neighbours on the far side of it are not there yet.
"""

import contextlib
import dataclasses
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from keras_refocus.restoration import pipeline
from keras_refocus.system import files
from keras_refocus.video import containers, frames

# How devices are named, and FFmpeg's name for what opens them.
_DEVICES = {"/dev/": "v4l2", "avfoundation:": "avfoundation", "dshow:": "dshow"}

# Of the result's times, in seconds.
_TIME_BASE = Fraction(1, 90000)


@dataclasses.dataclass
class Report:
    """What became of a stream.

    Attributes:
        read: Frames that came.
        restored: Frames that were restored and written.
        seconds: From the first frame to the end.
        width: Of the result, in pixels.
        height: Of the result.
    """

    read: int = 0
    restored: int = 0
    seconds: float = 0.0
    width: int = 0
    height: int = 0

    @property
    def dropped(self) -> int:
        """Frames that were left out."""
        return self.read - self.restored

    @property
    def rate(self) -> float:
        """Restored frames a second."""
        return self.restored / self.seconds if self.seconds else 0.0


class Source:
    """A device, or a file played at its own speed, read by a thread of its own.

    Args:
        name: Of a device, as `/dev/video0`, `avfoundation:0` or `dshow:video=Camera`, or a file or
            address that FFmpeg reads.

    Raises:
        ValueError: It cannot be read.
    """

    def __init__(self, name: str):
        import av

        kind = next((kind for start, kind in _DEVICES.items() if name.startswith(start)), None)
        opened = name
        if kind is not None and not name.startswith("/dev/"):
            opened = name.partition(":")[2]
        try:
            self._container = av.open(opened, format=kind)
        except (av.error.FFmpegError, ValueError) as error:
            raise ValueError(
                "A live source must be a device (/dev/video0, avfoundation:0, dshow:video=NAME), "
                f"a file or an address. Received: '{name}', of which FFmpeg says: {error}."
            ) from error
        if not self._container.streams.video:
            self._container.close()
            raise ValueError(f"A live source must have frames. Received: '{name}', without any.")
        self.name = name
        self.count = 0
        # Devices wait for their next frame by themselves.
        self._is_paced = kind is not None
        self._newest: Any = None
        self._condition = threading.Condition()
        self._ended = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "Source":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        with self._condition:
            self._ended = True
        self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._container.close()

    def newest(self) -> tuple[float, Any] | None:
        """Wait for a frame that was not taken yet.

        Returns:
            Its time in seconds since the first one, and the frame; `None` after the last one.
        """
        with self._condition:
            while self._newest is None and not self._ended:
                self._condition.wait(0.1)
            found, self._newest = self._newest, None
            if found is None and self._error is not None:
                raise self._error
            return found

    def _read(self) -> None:
        import av

        began = first = None
        try:
            for frame in self._container.decode(video=0):
                now = time.monotonic()
                when = frame.time if frame.time is not None else now
                if began is None:
                    began, first = now, when
                moment = when - first
                if not self._is_paced and moment > now - began:
                    time.sleep(moment - (now - began))
                with self._condition:
                    if self._ended:
                        return
                    self.count += 1
                    self._newest = (moment, frame)
                    self._condition.notify()
        except (av.error.FFmpegError, OSError) as error:
            self._error = ValueError(f"The live source '{self.name}' broke off: {error}.")
        finally:
            with self._condition:
                self._ended = True
                self._condition.notify()


def restore(
    source: Source,
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    out: str | Path,
    *,
    size: tuple[int, int] | None = None,
    progress: Callable[[Report], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Report:
    """Restore a stream until it ends.

    Args:
        source: Opened.
        restorer: Runs the networks.
        options: Of them the restorer, tiles, flips and strength count.
        out: File or address of the result, H.264; `"-"` writes Matroska to standard output, for a
            player.
        size: Width and height to which frames are brought first; `None` leaves them.
        progress: Called after each frame.
        cancel: Asked after each frame; when it says yes, the stream ends there.

    Returns:
        How many frames came and how many were restored.

    Raises:
        ValueError: The source broke off, or its frames are none that are restored.
    """
    report = Report()
    began = time.monotonic()
    writer = None
    with contextlib.ExitStack() as stack, contextlib.suppress(CancelledError):
        while True:
            found = source.newest()
            if found is None or (cancel is not None and cancel()):
                break
            moment, frame = found
            if size is not None and (frame.width, frame.height) != size:
                frame = frame.reformat(width=size[0], height=size[1])
            layout = frames.layout_of(frame)
            planar = frames.in_planes(frame, layout)
            luma = frames.luma(planar, layout)
            result = restorer.restore_luminance(luma[np.newaxis, ..., np.newaxis], options)
            shown = frames.with_luma(planar, layout, luma, result[0, ..., 0])
            if writer is None:
                report.width, report.height = shown.width, shown.height
                writer = stack.enter_context(_Writer(out, shown, layout))
            writer.write(shown, moment)
            report.read, report.restored = source.count, report.restored + 1
            report.seconds = time.monotonic() - began
            if progress is not None:
                progress(report)
    report.read = source.count
    report.seconds = time.monotonic() - began
    return report


class _Writer:
    """H.264 without delay, each frame at the time at which it was taken."""

    def __init__(self, out: str | Path, frame: Any, layout: frames.Layout):
        import av

        self._file = contextlib.ExitStack()
        target: Any = str(out)
        format = None
        if target == "-":
            target, format = sys.stdout.buffer, "matroska"
        elif "://" in target:
            format = "mpegts"
        else:
            path = Path(out)
            format = containers.format_of(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            target = str(self._file.enter_context(files.replacing(path)))
        self._container = av.open(target, "w", format=format)
        options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        self._stream = self._container.add_stream("libx264", rate=30, options=options)
        context = self._stream.codec_context
        context.width, context.height = frame.width, frame.height
        # What every player shows.
        context.pix_fmt = "yuv420p"
        self._stream.time_base = context.time_base = _TIME_BASE
        frames.copy_color_properties(frame, context)
        context.color_range = frames.FULL if layout.is_full else frames.LIMITED
        self._last = -1

    def write(self, frame: Any, moment: float) -> None:
        shown = frame.reformat(format="yuv420p") if frame.format.name != "yuv420p" else frame
        self._last = max(round(moment / _TIME_BASE), self._last + 1)
        shown.pts, shown.time_base, shown.pict_type = self._last, _TIME_BASE, 0
        self._container.mux(self._stream.encode(shown))

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_) -> None:
        # What was taken before an error is whole, and nobody can take it again.
        with self._file:
            self._container.mux(self._stream.encode(None))
            self._container.close()
