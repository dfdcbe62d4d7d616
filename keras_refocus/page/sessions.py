"""What a web page keeps of its visitors' pictures, where, and for how long.

Uploads and results lie in one private folder, which only the user who runs the page may enter, and
are deleted when the visitor has downloaded them (if asked to), when nothing has happened for a set
time, and when the page is closed. What the networks gave stays in memory, so that a result can be
blended again; memory is bounded, and the oldest goes to a file of the same folder. Nothing here
writes a name to a log.
"""

import collections
import contextlib
import dataclasses
import logging
import os
import pickle
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline, regions
from keras_refocus.restoration.deconvolution.finding import Finding
from keras_refocus.restoration.hints import ColorHints

logger = logging.getLogger(__name__)

_PREFIX = "refocus-page-"

# A visitor whose connection is gone may be back soon: phones cut it when another app is in front.
_GONE_SECONDS = 120
# Work for such a visitor goes on for less: others wait.
_WORK_GONE_SECONDS = 30


@dataclasses.dataclass(eq=False)
class SharedFile:
    """A file that whoever knows its token may fetch.

    Attributes:
        path: The file.
        name: Name to download it by; `None` to show it in the page.
        pictures: What it was made of.
        clip: The clip that it was made of.
    """

    path: Path
    name: str | None = None
    pictures: tuple["Picture", ...] = ()
    clip: "Clip | None" = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Moments:
    """What happened while a picture was exposed.

    Attributes:
        sheet: Token of its frames, one below the other.
        download: Token of the clip of them.
        wanted: What it was made with: name of the restorer, and whether faces are blurred.
        count: How many frames.
        size: Width and height of a frame in pixels.
        length: Longest way that something went, in pixels of a frame.
        method: What told the motion, as of `unblur.Clip`.
    """

    sheet: str
    download: str
    wanted: tuple
    count: int
    size: tuple[int, int]
    length: float
    method: str


@dataclasses.dataclass(eq=False)
class Picture:
    """One picture of a visitor.

    Attributes:
        name: Name of the file as the visitor gave it, without folders.
        upload: The uploaded file.
        id: What the browser calls it.
        example: Whether it is one of the page's own.
        region: The only part to restore, as `RestoreOptions` has it; or `None`.
        hints: What the visitor says of its colours.
        size: Width and height in pixels, as far as the file's head tells; or `None`.
        photo: The photo where it has been read ahead of its restoration.
        reading: Held by whoever reads it.
        result: What the networks made of it; `None` before, and while it is stored.
        stored: File that holds the result while memory is needed elsewhere.
        small: `result` at screen size.
        medium: `result` at the size of the largest preview.
        faces: Boxes of the faces in the result; `None` until they are looked for.
        before: Token of the preview of the input.
        after: Token of the preview of the result.
        thumbnail: Token of a small preview of the result.
        shown: What the previews were made with.
        download: Token of the result.
        written: What the result was written with; `None` if it has to be written first.
        details: What the page says about it.
        record: What the report says about it.
        seconds: Time that the networks took, reading included.
        shake: What was found of heavy shake; `None` if it was not looked for.
        error: Why there is no result.
        asked: What the networks were asked for.
        moments: What happened while it was exposed; `None` until it is asked for.
        work: Held by whoever makes files of it.
    """

    name: str
    upload: Path
    id: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(9))
    example: bool = False
    region: regions.Region | None = None
    hints: ColorHints = dataclasses.field(default_factory=ColorHints)
    size: tuple[int, int] | None = None
    photo: images.Photo | None = None
    reading: Any = dataclasses.field(default_factory=threading.Lock)
    result: pipeline.RestoreResult | None = None
    stored: Path | None = None
    small: pipeline.RestoreResult | None = None
    medium: pipeline.RestoreResult | None = None
    faces: np.ndarray | None = None
    before: str | None = None
    after: str | None = None
    thumbnail: str | None = None
    shown: Any = None
    download: str | None = None
    written: Any = None
    details: dict[str, str] = dataclasses.field(default_factory=dict)
    record: dict[str, Any] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    shake: Finding | None = None
    error: str = ""
    asked: Any = None
    moments: Moments | None = None
    work: Any = dataclasses.field(default_factory=threading.RLock)

    @property
    def is_done(self) -> bool:
        """Whether there is a result."""
        return self.result is not None or self.stored is not None

    @property
    def memory(self) -> int:
        """Bytes that the result holds, or the photo that was read ahead."""
        held = [] if self.photo is None else [self.photo.rgb]
        if self.result is not None:
            planes = self.result.planes
            held += [self.result.image]
            if planes is not None:
                held += [planes.source, planes.restored]
        return sum(array.nbytes for array in held if array is not None)


@dataclasses.dataclass(eq=False)
class Clip:
    """The clip of a visitor.

    Attributes:
        name: Name of the file as the visitor gave it, without folders.
        upload: The uploaded file.
        size: Width and height of a frame in pixels.
        seconds: How long it is, as far as the file's head tells; or `None`.
        rate: Frames a second.
        id: What the browser calls it.
        work: What is under way for it, or was; see `clips.Work`.
        before: Token of the input as browsers play it.
        after: Token of the result as browsers play it.
        download: Token of the result; `None` of a preview.
        folder: Where what was made of it lies.
        details: What the page says about it.
        error: Why there is no result.
        cost: Seconds that a frame took.
    """

    name: str
    upload: Path
    size: tuple[int, int]
    seconds: float | None
    rate: float
    id: str = dataclasses.field(default_factory=lambda: secrets.token_urlsafe(9))
    work: Any = None
    before: str | None = None
    after: str | None = None
    download: str | None = None
    folder: Path | None = None
    details: dict[str, str] = dataclasses.field(default_factory=dict)
    error: str = ""
    cost: float = 0.0

    @property
    def is_working(self) -> bool:
        """Whether work is under way for it."""
        return self.work is not None and not self.work.is_over


class Session:
    """The pictures of one visitor. Made by `Sessions`.

    Attributes:
        pictures: The visitor's pictures, in the order they came.
        clip: The visitor's clip.
        delete_after_download: Whether a download of pictures deletes what it was made of.
        delete_clip_after_download: The same of a clip.
        finish: What results are to be made with.
        job: What is under way for the visitor.
        finding: Stops the search for what happened during an exposure; `None`: none is under way.
        chosen: The picture that the visitor looks at.
        turn: Whoever speaks to the visitor last counts it up; who spoke before falls silent.
        clip_turn: The same of the Video tab.
        archive: Token of the file of all results, which is made whenever it is fetched.
        preparing: How far a download is that has to be made first: files done and all.
        is_renewed: Whether the visitor had pictures before that were kept for long enough.
    """

    def __init__(self, sessions: "Sessions", folder: Path, *, is_renewed: bool = False):
        self._sessions = sessions
        self._folder = folder
        self._files: dict[str, SharedFile] = {}
        self.pictures: list[Picture] = []
        self.clip: Clip | None = None
        self.delete_after_download = True
        self.delete_clip_after_download = True
        self.finish: Any = None
        self.job: Any = None
        self.finding: threading.Event | None = None
        self.chosen: Picture | None = None
        self.turn = 0
        self.clip_turn = 0
        self.preparing: tuple[int, int] | None = None
        self.archive: str | None = None
        self.expires = 0.0
        self.gone_since: float | None = None
        self.is_over = False
        self.is_renewed = is_renewed

    @property
    def is_working(self) -> bool:
        """Whether work is under way for the visitor."""
        restores = self.job is not None and not self.job.is_over
        return (
            restores
            or self.finding is not None
            or self.preparing is not None
            or (self.clip is not None and self.clip.is_working)
        )

    def touch(self) -> None:
        """Start the time anew after which everything is deleted."""
        self.expires = time.monotonic() + self._sessions.keep_seconds
        self.gone_since = None

    def leave(self) -> None:
        """Note that the visitor seems to be gone."""
        self.gone_since = time.monotonic()

    def come_back(self) -> None:
        """Note that the visitor is there after all."""
        self.gone_since = None

    @property
    def remaining(self) -> float:
        """Seconds until everything is deleted."""
        return self.ends - time.monotonic()

    @property
    def ends(self) -> float:
        """When everything is deleted, by the monotonic clock."""
        if self.gone_since is None:
            return self.expires
        return min(self.expires, self.gone_since + min(_GONE_SECONDS, self._sessions.keep_seconds))

    def say_turn(self) -> int:
        """Begin to speak to the visitor; returns the turn to compare `turn` with."""
        self.turn += 1
        return self.turn

    def say_clip_turn(self) -> int:
        """The same for the Video tab."""
        self.clip_turn += 1
        return self.clip_turn

    def reserve(self, suffix: str = ".upload") -> Path:
        """Give the path of a new file for an upload."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder / f"{secrets.token_urlsafe(24)}{suffix}"

    def add(self, upload: Path, name: str, **attributes: Any) -> Picture:
        """Make a file of `reserve` one more of the visitor's pictures."""
        picture = Picture(name, upload, **attributes)
        self.pictures = [*self.pictures, picture]
        return picture

    def set_clip(self, clip: Clip) -> None:
        """Make this the visitor's clip, in place of an earlier one."""
        self.drop_clip()
        self.clip = clip

    def drop_clip(self) -> None:
        """Stop work on the visitor's clip and delete all of it."""
        clip, self.clip = self.clip, None
        if clip is not None:
            self.delete_clip(clip)

    def delete_clip(self, clip: Clip) -> None:
        """Stop work on a clip and delete its upload and what was made of it."""
        if clip.work is not None:
            clip.work.cancel()
        self.forget_clip_result(clip)
        clip.upload.unlink(missing_ok=True)

    def forget_clip_result(self, clip: Clip) -> None:
        """Delete what was made of a clip."""
        self.drop_files([clip.before, clip.after, clip.download])
        clip.before = clip.after = clip.download = None
        clip.details = {}
        if clip.folder is not None:
            shutil.rmtree(clip.folder, ignore_errors=True)
            clip.folder = None

    def settle_clip(self, clip: Clip) -> None:
        """Delete what was just made if its clip, or the visitor, has gone meanwhile."""
        if self.is_over:
            self.end()
        if self.clip is not clip:
            self.delete_clip(clip)

    @contextlib.contextmanager
    def clip_folder(self) -> Iterator[Path]:
        """Give a folder to make something of a clip in; what is not shown then is deleted."""
        folder = self._folder / secrets.token_hex(16)
        folder.mkdir(mode=0o700, parents=True)
        try:
            yield folder
        finally:
            if self.clip is None or self.clip.folder != folder:
                shutil.rmtree(folder, ignore_errors=True)

    def show_clip(
        self,
        clip: Clip,
        folder: Path,
        *,
        before: Path,
        after: Path,
        result: Path | None = None,
        name: str = "",
    ) -> None:
        """Let files of a folder be fetched, in place of what was made of the clip earlier.

        Args:
            clip: The clip.
            folder: The folder, of `clip_folder`.
            before: The input as browsers play it.
            after: The result as browsers play it.
            result: The result, if all of the clip was restored.
            name: Name to download the result by.
        """
        self.forget_clip_result(clip)
        clip.folder = folder
        shared = {"before": SharedFile(before), "after": SharedFile(after)}
        if result is not None:
            shared["download"] = SharedFile(result, name, clip=clip)
        for kind, file in shared.items():
            token = secrets.token_urlsafe(24)
            self._files[token] = file
            setattr(clip, kind, token)

    def picture(self, picture_id: Any) -> Picture | None:
        """Find a picture by what the browser calls it."""
        return next((one for one in self.pictures if one.id == picture_id), None)

    def delete(self, pictures: Iterable[Picture] | None = None) -> None:
        """Delete pictures of the visitor, uploads, results and previews; by default all."""
        gone = list(self.pictures if pictures is None else pictures)
        self.pictures = [picture for picture in self.pictures if picture not in gone]
        if self.job is not None:
            self.job.drop(gone)
        if self.chosen in gone:
            self.chosen = None
        for picture in gone:
            self.forget_result(picture)
            self.show_moments(picture, None)
            picture.upload.unlink(missing_ok=True)
        if pictures is None:
            self.drop_files(list(self._files))

    def new_file(
        self,
        suffix: str,
        name: str | None = None,
        *,
        pictures: Iterable[Picture] = (),
    ) -> tuple[str, Path]:
        """Give the token and the path of a file to be written, which may then be fetched."""
        token = secrets.token_urlsafe(24)
        path = self._folder / f"{token}{suffix}"
        # Deleting the session may have won the race.
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._files[token] = SharedFile(path, name, tuple(pictures))
        return token, path

    def show_moments(self, picture: Picture, moments: Moments | None) -> None:
        """Let what happened during an exposure be fetched, in place of an earlier answer."""
        if picture.moments is not None:
            self.drop_files([picture.moments.sheet, picture.moments.download])
        picture.moments = moments

    def drop_download(self, picture: Picture) -> None:
        """Delete the result of a picture, wherever it is in, but not what is shown of it."""
        self.drop_files([picture.download])
        picture.download = picture.written = None
        archive = self.find(self.archive)
        if archive is not None:
            archive.path.unlink(missing_ok=True)

    def drop_result(self, picture: Picture) -> None:
        """Delete the result of a picture and what is shown of it."""
        self.drop_download(picture)
        self.drop_files([picture.before, picture.after, picture.thumbnail])
        picture.before = picture.after = picture.thumbnail = picture.shown = None
        picture.details, picture.record = {}, {}

    def forget_result(self, picture: Picture) -> None:
        """Delete the result of a picture and what the networks gave."""
        self.drop_result(picture)
        picture.result = picture.small = picture.faces = picture.shake = None
        picture.medium = picture.photo = None
        if picture.stored is not None:
            picture.stored.unlink(missing_ok=True)
            picture.stored = None

    def store(self, picture: Picture) -> None:
        """Put what the networks gave into a file, so that its memory is free."""
        result = picture.result
        if result is None or result.planes is None or picture not in self.pictures:
            return
        path = self._folder / f"{secrets.token_urlsafe(24)}.result"
        try:
            with path.open("wb") as file:
                # The picture itself is blended anew when it is needed.
                without = dataclasses.replace(result, image=result.image[:0])
                pickle.dump(without, file, protocol=5)
        except OSError:  # The disk is full: then it is made again when it is needed.
            path.unlink(missing_ok=True)
            path = None
        picture.result, picture.stored = None, path

    def recall(self, picture: Picture) -> pipeline.RestoreResult | None:
        """Give what the networks made of a picture, from its file if need be."""
        if picture.result is None and picture.stored is not None:
            # Written by `store` into a folder that only this user may enter.
            with picture.stored.open("rb") as file:
                stored = pickle.load(file)
            picture.result = pipeline.reblend(stored)
            picture.stored.unlink(missing_ok=True)
            picture.stored = None
        return picture.result

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

    def find(self, token: str | None) -> SharedFile | None:
        """Find a file by its token."""
        return self._files.get(token)

    def end(self) -> None:
        """Delete everything and stop the work under way."""
        self.is_over = True
        if self.job is not None:
            self.job.cancel()
        if self.finding is not None:
            self.finding.set()
        self.delete()
        self.drop_clip()
        shutil.rmtree(self._folder, ignore_errors=True)


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
        # Uploads of programs, which Gradio names by their content: how many arrived of each.
        self._arrived: collections.Counter[Path] = collections.Counter()
        self._arriving = 0
        # Visitors whose time was up, and what they upload by, the last few thousand.
        self._expired: dict[str, None] = {}
        self._doors: dict[str, str] = {}
        self._lock = threading.RLock()
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
        """Delete what was downloaded, if its visitor wants that; an archive in any case."""
        if shared is session.find(session.archive):
            shared.path.unlink(missing_ok=True)
        if shared.clip is not None:
            if session.delete_clip_after_download and session.clip is shared.clip:
                session.drop_clip()
        elif shared.name is not None and session.delete_after_download:
            session.delete(shared.pictures)

    def door(self, visitor: str) -> str:
        """Give the token by which a visitor's page uploads and asks how things stand."""
        with self._lock:
            for door, owner in self._doors.items():
                if owner == visitor:
                    return door
            door = secrets.token_urlsafe(24)
            self._doors[door] = visitor
            for oldest in list(self._doors)[:-5000]:
                if self._doors[oldest] not in self._sessions:
                    del self._doors[oldest]
        return door

    def behind(self, door: str) -> str | None:
        """Give the visitor whose token this is."""
        with self._lock:
            return self._doors.get(door)

    def existing(self, visitor: str) -> Session | None:
        """Give the session of a visitor who has one, and leave its time as it is."""
        with self._lock:
            return self._sessions.get(visitor)

    @contextlib.contextmanager
    def arriving(self) -> Iterator[Callable[[Iterable[str]], None]]:
        """Count what one upload of a program brings; gives a function to name the files.

        Gradio names uploads by their content: two of the same picture are one file. It is deleted
        when it has been claimed as often as it arrived.
        """
        with self._lock:
            self._arriving += 1

        def arrived(paths: Iterable[str]) -> None:
            with self._lock:
                self._arrived.update(Path(path).resolve() for path in paths)

        try:
            yield arrived
        finally:
            with self._lock:
                self._arriving -= 1
                self._delete_claimed()

    def claim(
        self, upload: str | os.PathLike, session: Session, name: str | None = None
    ) -> Picture:
        """Make an upload of a program a picture of its own, refusing any other file.

        Raises:
            ValueError: The file is not an upload.
        """
        path = Path(upload).resolve()
        with self._lock:
            if not path.is_relative_to(self.uploads) or not path.is_file():
                raise ValueError("The file must be one that was just uploaded. Upload it again.")
            own = session.reserve()
            try:
                os.link(path, own)
            except OSError:  # A file system without links.
                shutil.copy(path, own)
            self._arrived[path] -= 1
            self._delete_claimed()
        return session.add(own, name or path.name)

    def _delete_claimed(self) -> None:
        """Delete what has been claimed as often as it arrived, unless more is just arriving."""
        if self._arriving:
            return
        for path in [path for path, count in self._arrived.items() if count <= 0]:
            del self._arrived[path]
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent)

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

    def make_room(self, needed: int, keep: Picture | None = None) -> None:
        """Put the oldest results into files until new ones of `needed` bytes fit the memory."""
        with self._lock:
            sessions = sorted(self._sessions.values(), key=lambda session: session.expires)
        held = [(session, picture) for session in sessions for picture in session.pictures]
        total = sum(picture.memory for _, picture in held)
        for session, picture in held:
            if total + needed <= self._memory:
                return
            # One that is worked on just now stays.
            if picture is not keep and picture.memory and picture.work.acquire(blocking=False):
                try:
                    total -= picture.memory
                    picture.photo = None
                    session.store(picture)
                finally:
                    picture.work.release()

    def sweep(self) -> None:
        """Delete what has been kept for as long as was promised."""
        now = time.monotonic()
        with self._lock:
            for session in self._sessions.values():
                gone = session.gone_since
                if gone is not None and gone + _WORK_GONE_SECONDS <= now:
                    if session.job is not None:
                        session.job.cancel()
                    if session.clip is not None and session.clip.work is not None:
                        session.clip.work.cancel()
            # Work under way is action, too; it ends or is cancelled.
            over = {
                visitor: session
                for visitor, session in self._sessions.items()
                if session.ends <= now and not session.is_working
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
        # Folders come and go meanwhile, which `os.walk` passes over.
        for folder, _, names in os.walk(self.uploads, topdown=False):
            for path in (Path(folder, name) for name in names):
                try:
                    if _age(path) > self.keep_seconds:
                        path.unlink()
                        with self._lock:
                            self._arrived.pop(path, None)
                            self._handed_out.discard(path)
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
