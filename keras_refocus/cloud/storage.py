"""Folders and stores of objects as one kind of place: listed page by page, read and written whole.

    open_place("s3://bucket/photos")    Amazon S3 and what speaks its API (AWS_ENDPOINT_URL)
    open_place("gs://bucket/photos")    Google Cloud Storage
    open_place("az://container/photos") Azure Blob Storage
    open_place("https://host/a.jpg")    the Web: reading of single pictures
    open_place("photos")                a folder of this machine

Credentials come from the usual chain of each store (variables, profiles, the machine's role) and
never from an address. Names inside a place are relative, with forward slashes.

A result can be kept with a note: what it was made of and how. That is how a job that is run again
knows what is done. A note is a line of JSON: in the object's metadata on S3 and Google, in an
object of its own where there is no place for it, in the file `.refocus-notes.jsonl` of a folder.
"""

import argparse
import contextlib
import dataclasses
import datetime
import fnmatch
import json
import logging
import mimetypes
import os
import pathlib
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from keras_refocus.cloud import retries
from keras_refocus.pictures import images
from keras_refocus.system import extras, files

logger = logging.getLogger(__name__)

T = TypeVar("T")
Note = Mapping[str, Any]

#: Schemes of addresses, and the package that each needs beside fsspec.
SCHEMES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
    # Of fsspec itself, for tests and trials.
    "memory": "fsspec",
}

#: Files that are read are at most this long, in bytes: a body without end must not fill the memory.
LARGEST = 2 * 2**30

#: Seconds without a byte, after which a connection is given up.
PATIENCE = 60.0

# An object of twice this length or more is sent in parts, of this many bytes.
_PART = 16 * 2**20
# Objects of one request of a listing, as S3 allows.
_PAGE = 1000
_NOTES = ".refocus-notes.jsonl"
_NOTE_FOLDER = ".refocus-notes"
# Key of the note in an object's metadata, where S3 puts x-amz-meta- in front.
_NOTE_KEY = "refocus"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or an object.

    Attributes:
        name: Relative name in its place.
        size: Length in bytes, `None` where it is not told.
        tag: What changes with the content: the ETag of an object, size and time of a file. Empty
            where nothing is told.
        modified: When it was last written, in seconds since 1970; `None` where it is not told.
    """

    name: str
    size: int | None
    tag: str
    modified: float | None


class Place(Protocol):
    """Where pictures come from or go to. May be used from several threads.

    Attributes:
        shown: Its name for people, without secrets.
    """

    shown: str

    def entries(self, *, recursive: bool = True, start: str = "") -> Iterator[Entry]:
        """Yield what is there, hidden files left out, as it is found.

        Args:
            recursive: Whether folders inside the place count.
            start: What the names begin with.
        """

    def entry(self, name: str) -> Entry | None:
        """Describe one file, `None` if it is not there."""

    def read(self, name: str) -> bytes:
        """Read one file whole.

        Raises:
            OSError: It is not there or cannot be read.
        """

    def write(self, name: str, content: bytes, note: Note | None = None) -> None:
        """Write one file, all of it or nothing, in place of one that is there.

        Raises:
            OSError: It cannot be written; nothing is left behind.
            ValueError: The name leads out of the place.
        """

    def note(self, name: str) -> Note | None:
        """What was noted of a file that is there, `None` if nothing was."""

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""

    def show(self, name: str) -> str:
        """The full name of a file for people, without secrets."""


def is_url(name: str | os.PathLike) -> bool:
    """Tell whether a name is an address of a store, and not a path.

    Raises:
        ValueError: It is an address of a kind that is not known.
    """
    text = os.fspath(name)
    scheme, separator, _ = text.partition("://")
    if not separator or not scheme.replace("+", "").replace("-", "").isalnum():
        return False
    if scheme.lower() not in SCHEMES:
        raise ValueError(
            f"An address must begin with {', '.join(f'{known}://' for known in SCHEMES)}. "
            f"Received: '{retries.redact(text)}'. Name a path, or one of these."
        )
    return True


def path_or_address(text: str) -> pathlib.Path | str:
    """Tell a path from an address, as a `type` of argparse."""
    try:
        return text if is_url(text) else pathlib.Path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def open_place(name: str | os.PathLike) -> Place:
    """Open a folder or a store.

    Raises:
        MissingPackageError: A package of the extra `cloud` is not installed.
        ValueError: The address is not one.
    """
    if not is_url(name):
        return LocalFolder(name)
    return ObjectFolder(os.fspath(name))


@dataclasses.dataclass(frozen=True)
class Source:
    """Pictures that one input names.

    Attributes:
        place: Where they are.
        pattern: Pattern that their names must match, `None` for all.
        only: Name of the one picture, if the input names one.
        recursive: Whether folders inside the place count.
    """

    place: Place
    pattern: str | None = None
    only: str | None = None
    recursive: bool = True

    def pictures(self, pass_by: Callable[[str], None] = lambda name: None) -> Iterator[Entry]:
        """Yield the pictures, as the listing gives them.

        Args:
            pass_by: Told the names of files that are no pictures by their names.

        Raises:
            FileNotFoundError: The one picture is not there.
        """
        if self.only is not None:
            found = self.place.entry(self.only)
            if found is None:
                raise FileNotFoundError(
                    f"The picture must exist. Received: '{self.place.show(self.only)}'. Check the "
                    "address."
                )
            yield found
            return
        for found in self.place.entries(recursive=self.recursive):
            if self.pattern is not None and not fnmatch.fnmatchcase(found.name, self.pattern):
                continue
            if is_picture(found.name):
                yield found
            else:
                pass_by(found.name)


def open_source(name: str | os.PathLike, *, recursive: bool = False) -> Source:
    """Open what an input names: a place, one picture, or a pattern with `*` or `?`.

    Args:
        name: A path or an address. In patterns of addresses `*` also matches slashes.
        recursive: Whether folders inside a place count.
    """
    text = os.fspath(name)
    if not is_url(text):
        path = pathlib.Path(text)
        if path.is_file():
            return Source(LocalFolder(path.parent), only=path.name)
        return Source(LocalFolder(path), recursive=recursive)
    scheme, _, rest = text.partition("://")
    if scheme.lower() in ("http", "https"):
        return Source(open_place(text), only=_name_in_address(text))
    parts = rest.split("/")
    for index, part in enumerate(parts):
        if "*" in part or "?" in part:
            root = "/".join(parts[:index])
            return Source(open_place(f"{scheme}://{root}"), pattern="/".join(parts[index:]))
    if len(parts) > 1 and is_picture(parts[-1]):
        return Source(open_place(f"{scheme}://{'/'.join(parts[:-1])}"), only=parts[-1])
    return Source(open_place(text), recursive=recursive)


def lies_inside(inner: Place, outer: Place) -> str | None:
    """Where one place lies in another.

    Returns:
        The beginning of its names there, such as `restored/`; empty if it is the same place; `None`
        if it lies elsewhere.
    """
    inside, outside = (
        place.path.resolve().as_posix() if isinstance(place, LocalFolder) else place.shown
        for place in (inner, outer)
    )
    inside, outside = f"{inside.rstrip('/')}/", f"{outside.rstrip('/')}/"
    return inside.removeprefix(outside) if inside.startswith(outside) else None


def is_picture(name: str) -> bool:
    """Tell whether the suffix of a name is one of a picture."""
    return pathlib.PurePosixPath(name).suffix.lower() in images.SUFFIXES


def checked(name: str) -> str:
    """A relative name, or an error for one that leads out of its place.

    Keys of objects may hold anything, and results are written under names made of them.
    """
    path = pathlib.PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(
            "The name of a file must stay inside its place: relative, without '..' or backslashes. "
            f"Received: {name[:200]!r}. Rename the object."
        )
    return path.as_posix()


def sha256(content: bytes) -> str:
    """SHA-256 sum of bytes, hexadecimal."""
    return files.sha256(content)


class LocalFolder:
    """A folder of this machine as a `Place`; it is made when something is written."""

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self.shown = str(path)
        self._lock = threading.Lock()
        self._notes: dict[str, Note] | None = None
        self._read_to = 0

    def entries(self, *, recursive: bool = True, start: str = "") -> Iterator[Entry]:
        if not self.path.is_dir():
            raise FileNotFoundError(
                f"The folder must exist. Received: '{self.path}'. Check the path."
            )
        top = self.path / pathlib.PurePosixPath(f"{start}_").parent
        for folder, folders, names in os.walk(top):
            folders[:] = sorted(name for name in folders if recursive and name[0] != ".")
            for name in sorted(names):
                if name.startswith("."):
                    continue
                place = pathlib.Path(folder, name).relative_to(self.path).as_posix()
                found = self.entry(place) if place.startswith(start) else None
                if found is not None:
                    yield found

    def entry(self, name: str) -> Entry | None:
        try:
            found = (self.path / checked(name)).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        tag = f"{found.st_size}-{found.st_mtime_ns}"
        return Entry(name=name, size=found.st_size, tag=tag, modified=found.st_mtime)

    def read(self, name: str) -> bytes:
        path = self.path / checked(name)
        _refuse_long(path.stat().st_size, str(path))
        return path.read_bytes()

    def write(self, name: str, content: bytes, note: Note | None = None) -> None:
        path = self.path / checked(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(path, content)
        if note is not None:
            self._keep(name, note)

    def note(self, name: str) -> Note | None:
        if not (self.path / checked(name)).is_file():
            return None
        with self._lock:
            return self._known().get(name)

    def delete(self, name: str) -> None:
        (self.path / checked(name)).unlink(missing_ok=True)

    def show(self, name: str) -> str:
        return str(self.path / name)

    def _keep(self, name: str, note: Note) -> None:
        line = json.dumps({"name": name, "note": note}) + "\n"
        # One write to the end of a file is not torn by that of another process.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with self._lock:
            descriptor = os.open(self.path / _NOTES, flags, 0o644)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    def _known(self) -> dict[str, Note]:
        """Notes by name; what was written since the last look is read."""
        if self._notes is None:
            self._notes = {}
        with contextlib.suppress(FileNotFoundError), (self.path / _NOTES).open("rb") as file:
            file.seek(self._read_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # another process is about to write the rest, or was killed
                self._read_to += len(line)
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    found = json.loads(line)
                    self._notes[found["name"]] = found["note"]
        return self._notes


class ObjectFolder:
    """Objects of a store whose keys begin with a prefix, through fsspec, as a `Place`.

    Args:
        url: Address of the prefix.
        attempts: How often a request that fails for a while is tried.
        page: Objects of one request of a listing (S3).
    """

    def __init__(self, url: str, *, attempts: int = retries.ATTEMPTS, page: int = _PAGE):
        self._attempts = attempts
        self._page = page
        scheme, _, rest = url.partition("://")
        self._scheme = scheme = scheme.lower()
        extras.require("cloud", f"{scheme}:// ", "fsspec", SCHEMES[scheme])
        self.shown = retries.redact(url).rstrip("/")
        self._single = url if scheme in ("http", "https") else None
        self._root = rest.rstrip("/")
        if not self._root.split("/")[0]:
            raise ValueError(
                f"An address must name a bucket or a host. Received: '{self.shown}'. Write "
                f"{scheme}://bucket/folder."
            )
        if "@" in self._root.split("/")[0] and scheme not in ("az", "abfs", "abfss"):
            raise ValueError(
                "An address must not hold a user or a password. Received: one with '@' before the "
                f"host, '{self.shown}'. Give credentials as the store's own tools take them."
            )
        import fsspec

        self._store = fsspec.filesystem(scheme, **_options(scheme))
        if scheme == "s3":
            self._store.retries = 1  # `_asked` tries again

    # What S3 and Google keep with the object itself.
    @property
    def _keeps_notes(self) -> bool:
        return self._scheme in ("s3", "gs", "gcs")

    def entries(self, *, recursive: bool = True, start: str = "") -> Iterator[Entry]:
        if self._single is not None:
            raise ValueError(
                "The Web has no folders that could be listed. Received: "
                f"'{self.shown}'. Name single pictures, or collect a list of them with "
                "`refocus collect urls`."
            )
        pages = self._pages_of_s3 if self._scheme == "s3" else self._pages_of_folders
        for found in pages(recursive, start):
            if found.get("type", "file") != "file":
                continue
            name = found["name"][len(self._root) + 1 :]
            # Keys that end in a slash stand for folders; hidden ones are ours or nobody's.
            if not name or name.endswith("/") or any(part[:1] == "." for part in name.split("/")):
                continue
            if not name.startswith(start):
                continue
            yield _entry(name, found)

    def _pages_of_s3(self, recursive: bool, start: str) -> Iterator[dict]:
        bucket, _, prefix = f"{self._root}/{start}".partition("/")
        request: dict[str, Any] = {"Bucket": bucket, "MaxKeys": self._page}
        if prefix:
            request["Prefix"] = prefix
        if not recursive:
            request["Delimiter"] = "/"
        while True:
            page = self._asked(
                lambda request=dict(request): self._store.call_s3("list_objects_v2", **request),
                f"listing {self.shown}",
            )
            for found in page.get("Contents", ()):
                yield {**found, "name": f"{bucket}/{found['Key']}", "size": found["Size"]}
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _pages_of_folders(self, recursive: bool, start: str) -> Iterator[dict]:
        waiting = [f"{self._root}/{start}".rpartition("/")[0]]
        while waiting:
            folder = waiting.pop()
            listed = self._asked(
                lambda folder=folder: self._store.ls(folder, detail=True), f"listing {self.shown}"
            )
            for found in listed:
                found = {**found, "name": found["name"].lstrip("/")}
                if found["type"] == "directory" and recursive:
                    if found["name"].rstrip("/") != folder:
                        waiting.append(found["name"].rstrip("/"))
                else:
                    yield found

    def entry(self, name: str) -> Entry | None:
        try:
            found = self._asked(lambda: self._store.info(self._key(name)), self.show(name))
        except FileNotFoundError:
            return None
        return _entry(name, found) if found.get("type", "file") == "file" else None

    def read(self, name: str) -> bytes:
        def read():
            key = self._key(name)
            if self._scheme in ("s3", "memory"):
                # One request for the whole: fsspec would ask for the length first.
                options = {"max_concurrency": 1} if self._scheme == "s3" else {}
                return self._store.cat_file(key, **options)
            return self._read_bounded(key, name)

        return self._asked(read, self.show(name))

    def _read_bounded(self, key: str, name: str) -> bytes:
        if self._single is None:
            _refuse_long(self._store.info(key).get("size"), self.show(name))
            return self._store.cat_file(key)
        # Whoever answers on the Web may send without end.
        with self._store.open(key, "rb", block_size=0) as file:
            _refuse_long(getattr(file, "size", None), self.show(name))
            content = bytearray()
            while block := file.read(2**20):
                content += block
                _refuse_long(len(content), self.show(name))
        if file.size is not None and len(content) < file.size:
            raise ConnectionError(f"{len(content)} of {file.size} bytes came")
        return bytes(content)

    def write(self, name: str, content: bytes, note: Note | None = None) -> None:
        if self._single is not None:
            raise ValueError(
                f"The Web is only read from. Received: '{self.show(name)}'. Write to s3://, gs:// "
                "or az://, or to a folder."
            )
        key = self._key(checked(name))
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        options: dict[str, Any] = {}
        kept = {_NOTE_KEY: json.dumps(note, ensure_ascii=True)} if note is not None else {}
        if self._scheme == "s3":
            options = {"ContentType": kind, "chunksize": _PART, "max_concurrency": 4}
            options |= {"Metadata": kept} if kept else {}
        elif self._scheme in ("gs", "gcs"):
            options = {"content_type": kind, "metadata": kept or None}

        def write():
            # Of stores that take an object whole, it appears whole or not at all; parts of one
            # that fails are given up by fsspec.
            self._store.pipe_file(key, content, **options)
            if kept and not self._keeps_notes:
                self._store.pipe_file(self._note_key(name), kept[_NOTE_KEY].encode())

        try:
            self._asked(write, self.show(name))
        except Exception:
            if self._scheme == "s3":
                self._give_up_parts(key)
            raise

    def _give_up_parts(self, key: str) -> None:
        """Have S3 forget the parts of an object that could not be written: they are paid for.

        fsspec gives up those it knows of. Where the answer to its request was lost, or that of
        giving up was, they are only found in the list.
        """
        bucket, path, _ = self._store.split_path(key)
        with contextlib.suppress(Exception):  # What is told is why it could not be written.
            for upload in self._store.list_multipart_uploads(bucket):
                if upload["Key"] == path:
                    given_up = {"Bucket": bucket, "Key": path, "UploadId": upload["UploadId"]}
                    self._store.call_s3("abort_multipart_upload", **given_up)

    def note(self, name: str) -> Note | None:
        try:
            if self._scheme == "s3":
                text = self._asked(
                    lambda: self._store.metadata(self._key(name)), self.show(name)
                ).get(_NOTE_KEY)
            elif self._keeps_notes:
                found = self._asked(lambda: self._store.info(self._key(name)), self.show(name))
                text = (found.get("metadata") or {}).get(_NOTE_KEY)
            else:
                if not self._asked(lambda: self._store.exists(self._key(name)), self.show(name)):
                    return None
                text = self._asked(
                    lambda: self._store.cat_file(self._note_key(name)), self.show(name)
                ).decode()
        except FileNotFoundError:
            return None
        try:
            found = json.loads(text) if text else None
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def delete(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._asked(lambda: self._store.rm_file(self._key(name)), self.show(name))

    def show(self, name: str) -> str:
        return self.shown if self._single is not None else f"{self.shown}/{name}"

    def _key(self, name: str) -> str:
        return self._single if self._single is not None else f"{self._root}/{name}"

    def _note_key(self, name: str) -> str:
        return f"{self._root}/{_NOTE_FOLDER}/{name}.json"

    def _asked(self, work: Callable[[], T], what: str) -> T:
        try:
            return retries.retrying(work, what, attempts=self._attempts)
        except Exception as error:
            raise _failure(error, what) from error


def _failure(error: Exception, what: str) -> Exception:
    """What a store said, as an error that people and callers understand."""
    if isinstance(error, ValueError):  # of ours
        return ValueError(retries.say(error))
    status = retries.status_of(error) or retries.status_of(error.__cause__ or error)
    said = f"{what}: {retries.say(error)}"
    if status == 404 or isinstance(error, FileNotFoundError):
        return FileNotFoundError(said)
    refused = isinstance(error, PermissionError) or "credentials" in str(error).lower()
    # Of Google's, gcsfs raises an OSError without a status.
    refused = refused or str(error).startswith("Forbidden")
    if status in (401, 403) or refused:
        return PermissionError(
            f"{said}. The store refused: check the credentials, and that they allow it."
        )
    if retries.is_temporary(error):
        return TemporaryError(f"{said}. It was tried several times; try again later.")
    return OSError(said)


class TemporaryError(OSError):
    """A store failed for a while, longer than was waited for; later it may work."""

    status_code = 503


def _entry(name: str, found: Mapping[str, Any]) -> Entry:
    tag = next((found[key] for key in ("ETag", "etag", "md5Hash") if found.get(key)), "")
    modified = next(
        (
            found[key]
            for key in ("LastModified", "updated", "last_modified", "mtime", "created")
            if found.get(key)
        ),
        None,
    )
    if isinstance(modified, str):
        try:
            modified = datetime.datetime.fromisoformat(modified)
        except ValueError:
            modified = None
    if isinstance(modified, datetime.datetime):
        modified = modified.timestamp()
    size = found.get("size")
    tag = str(tag).strip('"') or (f"{size}-{modified}" if modified is not None else "")
    return Entry(name=name, size=size, tag=tag, modified=modified)


def _options(scheme: str) -> dict[str, Any]:
    """Options of a store: nothing is cached, and no connection waits for ever."""
    options: dict[str, Any] = {}
    if scheme == "s3":
        # A cached listing of a million objects fills the memory, and hides what arrives.
        options["use_listings_cache"] = False
        options["config_kwargs"] = {
            "connect_timeout": PATIENCE / 4,
            "read_timeout": PATIENCE,
            # Attempts are counted here, not once more below.
            "retries": {"mode": "standard", "total_max_attempts": 1},
            "user_agent_extra": "keras_refocus",
        }
        options["default_fill_cache"] = False
    elif scheme in ("gs", "gcs", "az", "abfs", "abfss"):
        options["use_listings_cache"] = False
    elif scheme in ("http", "https"):
        import aiohttp

        options["client_kwargs"] = {
            "timeout": aiohttp.ClientTimeout(total=None, connect=PATIENCE / 4, sock_read=PATIENCE)
        }
    return options


def _refuse_long(size: int | None, name: str) -> None:
    if size is not None and size > LARGEST:
        raise ValueError(
            f"A file must be at most {LARGEST / 2**30:.0f} GiB long. Received: '{name}', "
            f"{size / 2**30:.1f} GiB. Restore it from a folder of this machine."
        )


def _name_in_address(url: str) -> str:
    """The file name that an address of the Web ends in."""
    name = pathlib.PurePosixPath(unquote(urlsplit(url).path)).name
    return name.replace("\\", "_") or "picture"
