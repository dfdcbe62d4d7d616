"""The names of a store as a folder of this machine, and its pictures while they are looked at.

What lists folders, matches pairs and reads files works on a mirror as it does on any folder: every
picture of the store is there as an empty file, and has its content while it is read
(`pictures.staging`). So a set of any size is checked or measured with no more on this disk than the
pictures in work.
"""

import collections
import contextlib
import os
import pathlib
import tempfile
import threading
from collections.abc import Iterator

from keras_refocus.cloud import storage
from keras_refocus.pictures import staging

_LISTS, _LONGEST_LIST = (".txt", ".csv", ".json", ".sha256"), 2**24


class Mirror:
    """A folder that stands for a store; use it as a context manager.

    Args:
        address: Of the store, or a path, which stands for itself.

    Attributes:
        path: The folder.
        shown: Name of the store for people.

    Raises:
        FileNotFoundError: The store holds no picture.
    """

    def __init__(self, address: str | os.PathLike):
        self._lock = threading.Lock()
        self._users: collections.Counter[pathlib.Path] = collections.Counter()
        self._folder: tempfile.TemporaryDirectory | None = None
        if not storage.is_url(address):
            self.path, self.shown = pathlib.Path(address), os.fspath(address)
            return
        self._place = storage.open_place(address)
        self.shown = self._place.shown
        self._folder = tempfile.TemporaryDirectory(prefix="refocus-")
        # Named as the store, which reports show.
        self.path = pathlib.Path(self._folder.name, self.shown.rpartition("/")[2] or "store")
        self.path.mkdir()
        self.path = self.path.resolve()
        count = 0
        for entry in self._place.entries():
            path = self.path / storage.checked(entry.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            if storage.is_picture(entry.name):
                path.touch()
                count += 1
            elif path.suffix in _LISTS and (entry.size or 0) <= _LONGEST_LIST:
                # Lists of halves, manifests: what layouts are known by.
                path.write_bytes(self._place.read(entry.name))
        if not count:
            self.close()
            raise FileNotFoundError(
                f"The store must hold at least one picture. Received: {self.shown}. Check the "
                "address."
            )

        staging.register(self.path, self._staged)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self) -> None:
        """Remove the folder."""
        if self._folder is not None:
            staging.forget(self.path)
            self._folder.cleanup()

    @contextlib.contextmanager
    def _staged(self, path: pathlib.Path) -> Iterator[None]:
        """Give a file of the folder its content for a while; for several threads at once too."""
        name = path.relative_to(self.path).as_posix()
        with self._lock:
            needed = not self._users[path]
        # Not under the lock: threads read at the same time.
        content = self._place.read(name) if needed else None
        with self._lock:
            self._users[path] += 1
            if content is not None and self._users[path] == 1:
                path.write_bytes(content)
        try:
            yield
        finally:
            with self._lock:
                self._users[path] -= 1
                if not self._users[path]:
                    del self._users[path]
                    os.truncate(path, 0)


class Outgoing:
    """A folder of this machine whose files go to a store as they are written.

    Args:
        address: Of the store, or a path, which is the folder itself.

    Attributes:
        path: The folder.
    """

    def __init__(self, address: str | os.PathLike):
        self._folder: tempfile.TemporaryDirectory | None = None
        if storage.is_url(address):
            self._place = storage.open_place(address)
            self._folder = tempfile.TemporaryDirectory(prefix="refocus-")
            self.path = pathlib.Path(self._folder.name)
        else:
            self.path = pathlib.Path(address)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._folder is not None:
            self._folder.cleanup()

    def send(self, path: pathlib.Path, name: str) -> None:
        """Send a file that was written to its store, and remove it here.

        Args:
            path: The file.
            name: Its name in the store.
        """
        if self._folder is not None:
            self._place.write(name, path.read_bytes())
            path.unlink()


@contextlib.contextmanager
def incoming(name: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Give a file of this machine with the content of one whose name is a path or an address.

    Raises:
        FileNotFoundError: It is not there.
    """
    text = os.fspath(name)
    if not storage.is_url(text):
        yield pathlib.Path(text)
        return
    folder, _, last = text.rpartition("/")
    content = storage.open_place(folder).read(last)
    with tempfile.TemporaryDirectory(prefix="refocus-") as place:
        path = pathlib.Path(place, last)
        path.write_bytes(content)
        yield path


@contextlib.contextmanager
def outgoing(name: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Give a path of this machine for a file whose name is a path or an address.

    Of an address, the file goes to its store when the block has ended well, with others that were
    written beside it.

    Raises:
        OSError: It cannot be written there.
    """
    text = os.fspath(name)
    if not storage.is_url(text):
        yield pathlib.Path(text)
        return
    folder, _, last = text.rpartition("/")
    place = storage.open_place(folder)
    with tempfile.TemporaryDirectory(prefix="refocus-") as own:
        yield pathlib.Path(own, storage.checked(last))
        for path in sorted(pathlib.Path(own).iterdir()):
            place.write(path.name, path.read_bytes())


def write_file(name: str | os.PathLike, content: bytes) -> None:
    """Write a file whose name is a path or an address.

    Raises:
        OSError: It cannot be written.
    """
    text = os.fspath(name)
    if storage.is_url(text):
        folder, _, last = text.rpartition("/")
        storage.open_place(folder).write(last, content)
    else:
        path = pathlib.Path(text)
        storage.LocalFolder(path.parent).write(path.name, content)
