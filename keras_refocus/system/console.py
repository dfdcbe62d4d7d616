"""What the commands share at a terminal: a quiet TensorFlow, progress bars.

For entry points only; the library itself never writes to the terminal.
"""

import codecs
import contextlib
import importlib
import io
import logging
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from tqdm import tqdm


def import_tensorflow() -> None:
    """Import TensorFlow without the notices that its C++ code prints while it is loaded.

    They are written to the process's standard error before any log level is read, so that stream
    is turned away until the import is over; a failing import still raises. Call it from the main
    thread of a command, before anything else needs TensorFlow.
    """
    _import("tensorflow")


def import_keras() -> None:
    """Import Keras and whichever backend it is set to; see `import_tensorflow`."""
    _import("keras")


def _import(name: str) -> None:
    # What matters of the rest comes as exceptions; lower levels complain of a missing GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if name in sys.modules:
        return
    with _standard_error_closed():
        importlib.import_module(name)


def start_logging(*, verbose: bool = False) -> None:
    """Send warnings of the library, or everything it says, to standard error."""
    claim_streams()
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, force=True)
    logging.getLogger("keras_refocus").setLevel(logging.DEBUG if verbose else logging.WARNING)


def claim_streams() -> None:
    """Let nothing that is wrong with the standard streams end the program.

    The null device is put where one is closed: the next file that is opened would take its number,
    and get what libraries print. What an encoding lacks is written as the bytes of a file name that
    it came from, or else as `\\u1234`. A pipe that nobody reads any more is left in silence, any
    other fault of standard output is said once. Call it before anything is opened; the streams of
    who runs a command inside a program stay as they are.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is that of the stream.
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        # Progress bars, warnings and handlers of logs all write to it without asking.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if type(stream) is io.TextIOWrapper:
            setattr(sys, name, _Lasting(stream))


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what an encoding lacks, as a handler of `codecs`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    try:
        return lacking.encode("ascii", "surrogateescape"), error.end
    except UnicodeEncodeError:
        return lacking.encode("ascii", "backslashreplace"), error.end


_ESCAPED = "keras_refocus.escaped"
codecs.register_error(_ESCAPED, _escape)


class _Lasting(io.TextIOWrapper):
    """A standard stream in place of another, which takes anything and fails never."""

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=_ESCAPED,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self._before = stream  # Its end would close what both write to.

    def write(self, text: str) -> int:
        with self._failing():
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            super().flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _give_up(self, error)


def say(text: str) -> None:
    """Print a line to standard output; nothing that is wrong with it ends the program.

    As `claim_streams` has it, also where that was not called.
    """
    _print(text, sys.stdout)


def warn(text: str) -> None:
    """Print a line to standard error; nothing that is wrong with it ends the program."""
    _print(text, sys.stderr)


def _print(text: str, stream: TextIO | None) -> None:
    if stream is None:
        return
    try:
        try:
            stream.write(f"{text}\n")
        except UnicodeEncodeError:
            content = text.encode(stream.encoding or "ascii", _ESCAPED)
            if hasattr(stream, "buffer"):
                stream.flush()
                stream.buffer.write(content + b"\n")
            else:
                stream.write(content.decode(stream.encoding or "ascii", "replace") + "\n")
        stream.flush()
    except ValueError:  # It was closed.
        return
    except OSError as error:
        _give_up(stream, error)


def _give_up(stream: TextIO, error: OSError) -> None:
    """Let a stream that fails end in the null device, or its rest would fail at the very end."""
    with contextlib.suppress(OSError, ValueError):
        number = stream.fileno()
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, number)
        os.close(sink)
    if stream is sys.stdout and not isinstance(error, BrokenPipeError):
        warn(f"standard output cannot be written ({error.strerror}); the work goes on")


@contextlib.contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM raise `Terminated`, a `KeyboardInterrupt`, so that what is done is kept."""

    def interrupt(*_):
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # Only the main thread may say what signals do.
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Terminated(KeyboardInterrupt):
    """The program was asked to end, by SIGTERM."""


def progress_bar(total: int | None = None, *, label: str = "", unit: str = "") -> tqdm:
    """Make a progress bar on standard error, invisible unless that is a terminal."""
    return tqdm(total=total, desc=label, unit=unit, disable=None, leave=False, dynamic_ncols=True)


@contextlib.contextmanager
def _standard_error_closed() -> Iterator[None]:
    try:
        saved = os.dup(2)
    except OSError:  # there is none, as in a program without a console
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stderr.flush()
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(sink)
