"""What a web page keeps of its visitors' pictures, where, and for how long.

Uploads and results lie in one private folder, which only the user who runs the page may enter, and
are deleted when the visitor has downloaded them (if asked to), when nothing has happened for a set
time, and when the page is closed. What the networks gave stays in memory, so that a result can be
blended again; memory is bounded, the oldest goes first. Nothing here writes a name to a log.
"""

import dataclasses
import logging
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import psutil

from keras_refocus.restoration import pipeline

logger = logging.getLogger(__name__)

_PREFIX = "refocus-page-"

# A visitor whose connection is gone may be back soon: phones cut it when another app is in front.
_GONE_SECONDS = 120


@dataclasses.dataclass(eq=False)
class SharedFile:
    """A file that whoever knows its token may fetch.

    Attributes:
        path: The file.
        name: Name to download it by; `None` to show it in the page.
        pictures: What is deleted after a download, if the visitor wants that.
    """

    path: Path
    name: str | None = None
    pictures: tuple["Picture", ...] = ()


@dataclasses.dataclass(eq=False)
class Picture:
    """One picture of a visitor.

    Attributes:
        name: Name of the file as the visitor gave it, without folders.
        upload: The uploaded file.
        result: What the networks made of it; `None` before, and when memory was needed.
        faces: Boxes of the faces in the result; `None` until they are looked for.
        before: Token of the preview of the input.
        after: Token of the preview of the result.
        download: Token of the result.
        details: What the page says about it.
        seconds: Time that the networks took, reading included.
        error: Why there is no result.
    """

    name: str
    upload: Path
    result: pipeline.RestoreResult | None = None
    faces: np.ndarray | None = None
    before: str | None = None
    after: str | None = None
    download: str | None = None
    details: dict[str, str] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    error: str = ""
    # As it was when it was uploaded: another visitor's upload of the same content takes its place.
    _stamp: tuple[int, int] | None = None

    def __post_init__(self):
        self._stamp = _stamp(self.upload)

    @property
    def memory(self) -> int:
        """Bytes that the result holds."""
        if self.result is None:
            return 0
        planes = self.result.planes
        held = [self.result.image]
        if planes is not None:
            held += [planes.source, planes.restored]
        return sum(array.nbytes for array in held if array is not None)


class Session:
    """The pictures of one visitor. Made by `Sessions`.

    Attributes:
        pictures: The visitor's pictures, in the order they came.
        delete_after_download: Whether a download deletes what it was made of.
        work: Held by whoever works on the pictures.
        cancelled: Set to stop the work under way.
        is_renewed: Whether the visitor had pictures before that were kept for long enough.
    """

    def __init__(self, sessions: "Sessions", folder: Path, *, is_renewed: bool = False):
        self._sessions = sessions
        self._folder = folder
        self._files: dict[str, SharedFile] = {}
        self.pictures: list[Picture] = []
        self.delete_after_download = True
        self.work = threading.Lock()
        self.cancelled = threading.Event()
        self.expires = 0.0
        self.is_over = False
        self.is_renewed = is_renewed

    def touch(self) -> None:
        """Start the time anew after which everything is deleted."""
        self.expires = time.monotonic() + self._sessions.keep_seconds

    def leave(self) -> None:
        """Note that the visitor seems to be gone."""
        soon = time.monotonic() + min(_GONE_SECONDS, self._sessions.keep_seconds)
        self.expires = min(self.expires, soon)

    def use(self, uploads: Iterable[str | os.PathLike]) -> None:
        """Make these uploads the visitor's pictures; what is known already keeps its result.

        Raises:
            ValueError: One of the files is not an upload.
        """
        paths = [self._sessions.checked_upload(upload) for upload in uploads]
        known = {picture.upload: picture for picture in self.pictures}
        pictures = []
        for path in dict.fromkeys(paths):
            picture = known.get(path)
            if picture is None or picture._stamp != _stamp(path):
                picture = Picture(path.name, path)
            pictures.append(picture)
        gone = [picture for picture in self.pictures if picture not in pictures]
        self.pictures = pictures
        self._forget(gone)

    def delete(self, pictures: Iterable[Picture] | None = None) -> None:
        """Delete pictures of the visitor, uploads, results and previews; by default all."""
        gone = list(self.pictures if pictures is None else pictures)
        self.pictures = [picture for picture in self.pictures if picture not in gone]
        self._forget(gone)
        if pictures is None:
            self.drop_files(list(self._files))

    def new_file(self, suffix: str, name: str | None = None, *, pictures=()) -> tuple[str, Path]:
        """Give the token and the path of a file to be written, which may then be fetched."""
        token = secrets.token_urlsafe(24)
        path = self._folder / f"{token}{suffix}"
        # Deleting the session may have won the race.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._files[token] = SharedFile(path, name, tuple(pictures))
        return token, path

    def drop_download(self, picture: Picture) -> None:
        """Delete the result of a picture, wherever it is in, but not what is shown of it."""
        self.drop_files(
            [token for token, file in self._files.copy().items() if picture in file.pictures]
        )
        picture.download = None

    def drop_result(self, picture: Picture) -> None:
        """Delete the result of a picture and what is shown of it."""
        self.drop_download(picture)
        self.drop_files([picture.before, picture.after])
        picture.before = picture.after = None
        picture.details = {}

    def settle(self, picture: Picture) -> None:
        """Delete what was just made if its picture, or the visitor, has gone meanwhile."""
        if self.is_over:
            self.end()
        elif picture not in self.pictures:
            self.delete([picture])

    def drop_files(self, tokens: Iterable[str | None]) -> None:
        """Delete files of this visitor."""
        for token in tokens:
            shared = self._files.pop(token, None)
            if shared is not None:
                shared.path.unlink(missing_ok=True)

    def find(self, token: str) -> SharedFile | None:
        """Find a file by its token."""
        return self._files.get(token)

    def end(self) -> None:
        """Delete everything and stop the work under way."""
        self.is_over = True
        self.cancelled.set()
        self.delete()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _forget(self, pictures: Iterable[Picture]) -> None:
        for picture in pictures:
            picture.result = picture.faces = None
            self.drop_result(picture)
            self._sessions.release(picture)


class Sessions:
    """All visitors' pictures and the private folder they lie in.

    Use it as a context manager; the folder is gone afterwards.

    Args:
        keep_seconds: After this time without any action a visitor's pictures are deleted.
        memory: Bytes that results kept for blending may take, all visitors together.

    Attributes:
        folder: The private folder.
        uploads: The folder in it that uploads must be put in.
    """

    def __init__(self, *, keep_seconds: float = 600, memory: int = 2 * 2**30):
        if not keep_seconds > 0:
            raise ValueError(
                f"Pictures must be kept for more than 0 seconds. Received: {keep_seconds=}."
            )
        self.keep_seconds = keep_seconds
        self._memory = memory
        _delete_abandoned()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")).resolve()
        self.uploads = self.folder / "uploads"
        self.uploads.mkdir(mode=0o700)
        self._sessions: dict[str, Session] = {}
        self._handed_out: set[Path] = set()
        # Visitors whose time was up, the last few thousand.
        self._expired: dict[str, None] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep_now_and_then, daemon=True)
        self._sweeper.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Delete everything."""
        self._closed.set()
        with self._lock:
            sessions, self._sessions = list(self._sessions.values()), {}
        for session in sessions:
            session.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def of(self, visitor: str) -> Session:
        """Give the session of a visitor, a new one if need be."""
        with self._lock:
            if visitor not in self._sessions:
                folder = self.folder / secrets.token_hex(16)
                folder.mkdir(mode=0o700)
                renewed = visitor in self._expired
                self._sessions[visitor] = Session(self, folder, is_renewed=renewed)
            session = self._sessions[visitor]
            session.touch()
        return session

    def end(self, visitor: str) -> None:
        """Delete all that is a visitor's."""
        with self._lock:
            session = self._sessions.pop(visitor, None)
        if session is not None:
            session.end()

    def leave(self, visitor: str) -> None:
        """Note that a visitor seems to be gone."""
        with self._lock:
            session = self._sessions.get(visitor)
        if session is not None:
            session.leave()

    def find(self, token: str) -> tuple[Session, SharedFile] | None:
        """Find a file and whose it is by its token."""
        with self._lock:
            sessions = list(self._sessions.values())
        for session in sessions:
            shared = session.find(token)
            if shared is not None:
                return session, shared
        return None

    def downloaded(self, session: Session, shared: SharedFile) -> None:
        """Delete what was downloaded, if its visitor wants that."""
        if shared.name is not None and session.delete_after_download:
            session.delete(shared.pictures)

    def checked_upload(self, upload: str | os.PathLike) -> Path:
        """Give the path of an upload, refusing any other file of this machine."""
        path = Path(upload).resolve()
        if not path.is_relative_to(self.uploads) or not path.is_file():
            raise ValueError("The file must be one that was just uploaded. Upload it again.")
        return path

    def import_file(self, content: bytes, name: str) -> Path:
        """Put a file of ours among the uploads."""
        path = self._new_folder() / name
        path.write_bytes(content)
        return path

    def hand_out(self, shared: SharedFile) -> Path:
        """Move a file to where Gradio serves it, under its own name, to be fetched once."""
        path = self._new_folder() / shared.name
        shared.path.rename(path)
        with self._lock:
            self._handed_out.add(path)
        return path

    def fetched(self, path: str | os.PathLike) -> None:
        """Delete a file that was handed out, now that it has been fetched."""
        path = Path(path)
        with self._lock:
            if path not in self._handed_out:
                return
            self._handed_out.discard(path)
        path.unlink(missing_ok=True)
        _remove_if_empty(path.parent)

    def _new_folder(self) -> Path:
        folder = self.uploads / secrets.token_hex(16)
        folder.mkdir(mode=0o700)
        return folder

    def release(self, picture: Picture) -> None:
        """Delete an upload unless another visitor has uploaded the very same file."""
        with self._lock:
            used = {
                other.upload
                for session in self._sessions.values()
                for other in session.pictures
                if other is not picture
            }
        if picture.upload in used or picture._stamp != _stamp(picture.upload):
            return
        picture.upload.unlink(missing_ok=True)
        _remove_if_empty(picture.upload.parent)

    def make_room(self, needed: int, keep: Picture | None = None) -> None:
        """Forget the oldest results until new ones of `needed` bytes fit the memory."""
        with self._lock:
            sessions = sorted(self._sessions.values(), key=lambda session: session.expires)
        held = [picture for session in sessions for picture in session.pictures]
        total = sum(picture.memory for picture in held)
        for picture in held:
            if total + needed <= self._memory:
                return
            if picture is not keep:
                total -= picture.memory
                picture.result = None

    def sweep(self) -> None:
        """Delete what has been kept for as long as was promised."""
        now = time.monotonic()
        with self._lock:
            # Work under way is action, too; it ends or is cancelled.
            over = {
                visitor: session
                for visitor, session in self._sessions.items()
                if session.expires <= now and not session.work.locked()
            }
            for visitor in over:
                del self._sessions[visitor]
                self._expired[visitor] = None
            for visitor in list(self._expired)[:-5000]:
                del self._expired[visitor]
        for session in over.values():
            session.end()
        self._delete_strays()

    def _delete_strays(self) -> None:
        """Delete uploads that never reached a session, and leavings of the upload itself."""
        with self._lock:
            used = {
                picture.upload
                for session in self._sessions.values()
                for picture in session.pictures
            }
        # Folders come and go meanwhile, which `os.walk` passes over.
        for folder, _, names in os.walk(self.uploads, topdown=False):
            for path in (Path(folder, name) for name in names):
                try:
                    if path not in used and _age(path) > self.keep_seconds:
                        path.unlink()
                except OSError:  # Gone already.
                    continue
            # A folder that was just made is about to receive its file.
            if Path(folder) != self.uploads and _age(Path(folder)) > 60:
                _remove_if_empty(Path(folder))

    def _sweep_now_and_then(self) -> None:
        while not self._closed.wait(min(self.keep_seconds / 4, 15)):
            _quietly(self.sweep)


def _quietly(action: Callable[[], None]) -> None:
    """Keep a thread alive that has promises to keep."""
    try:
        action()
    except Exception as error:
        logger.error("deleting old pictures failed: %s", type(error).__name__)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return


def _delete_abandoned() -> None:
    """Delete folders of pages that were killed before they could tidy up."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).split("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
