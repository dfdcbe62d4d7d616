"""What the commands share at a terminal: a quiet TensorFlow, progress bars.

For entry points only; the library itself never writes to the terminal.
"""

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator

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
