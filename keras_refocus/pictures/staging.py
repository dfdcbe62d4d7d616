"""Files that have their content only while they are read, as those that stand for a store.

Whoever makes such files says so here; whoever reads pictures asks for them through here. Where
nobody has made any, nothing happens.
"""

import contextlib
import os
import pathlib
import threading
from collections.abc import Callable, Iterator

from keras_refocus.system import files

Stage = Callable[[pathlib.Path], contextlib.AbstractContextManager[None]]

_lock = threading.Lock()
_stages: dict[pathlib.Path, Stage] = {}


def register(folder: str | os.PathLike, stage: Stage) -> None:
    """Say how the files below a folder get their content for a while.

    Args:
        folder: The folder.
        stage: Called with a file, gives a context in which it has its content. Called from several
            threads.
    """
    with _lock:
        _stages[pathlib.Path(folder).resolve()] = stage


def forget(folder: str | os.PathLike) -> None:
    """Take back what `register` was told of a folder."""
    with _lock:
        _stages.pop(pathlib.Path(folder).resolve(), None)


@contextlib.contextmanager
def readable(path: str | os.PathLike) -> Iterator[None]:
    """Make sure that a file has its content for a while."""
    stage = None
    if _stages:
        resolved = pathlib.Path(path).resolve()
        with _lock:
            stage = next(
                (found for folder, found in _stages.items() if resolved.is_relative_to(folder)),
                None,
            )
    if stage is None:
        yield
        return
    with stage(resolved):
        yield


def read_bytes(path: str | os.PathLike) -> bytes:
    """Read a file whole.

    Raises:
        OSError: It cannot be read.
    """
    with readable(path):
        return pathlib.Path(path).read_bytes()


def sha256(path: str | os.PathLike) -> str:
    """SHA-256 sum of a file, hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    with readable(path):
        return files.sha256(path)
