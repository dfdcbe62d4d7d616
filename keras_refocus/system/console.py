"""What the commands share at a terminal: a quiet TensorFlow, progress bars.

For entry points only; the library itself never writes to the terminal.
"""

import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
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
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, force=True)
    logging.getLogger("keras_refocus").setLevel(logging.DEBUG if verbose else logging.WARNING)


def claim_streams() -> None:
    """Put the null device where a standard stream is closed.

    The next file that is opened would take its number, and get what libraries print. Call it before
    anything is opened.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free is that of the stream.
            os.open(os.devnull, os.O_RDWR)


def say(text: str) -> None:
    """Print a line to standard output; nothing that is wrong with it ends the program.

    What its encoding lacks is written as the bytes of a file name that it came from, or else as
    `\\u1234`. A pipe that nobody reads any more is left in silence, any other fault is said once.
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
            _print_bytes(text, stream)
        stream.flush()
    except ValueError:  # It was closed.
        return
    except OSError as error:
        _give_up(stream)
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):
            warn(f"standard output cannot be written ({error.strerror}); the work goes on")


def _print_bytes(text: str, stream: TextIO) -> None:
    encoding = stream.encoding or "ascii"
    try:
        content = text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        content = text.encode(encoding, "backslashreplace")
    if hasattr(stream, "buffer"):
        stream.flush()
        stream.buffer.write(content + b"\n")
    else:
        stream.write(content.decode(encoding, "replace") + "\n")


def _give_up(stream: TextIO) -> None:
    """Let a stream that fails end in the null device, or its rest would fail at the very end."""
    try:
        number = stream.fileno()
        sink = os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):
        return
    os.dup2(sink, number)
    os.close(sink)


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
