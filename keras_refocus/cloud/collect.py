"""Photos for training: from Unsplash's search, from its data set, from a list of addresses.

    collect_unsplash("street at night", count=300, out="photos")

Each photo is written under the name of its source, with a line of `manifest.jsonl` that says where
it came from, who took it and under which licence. What the manifest has is not fetched again, so a
collection that was stopped goes on.

Unsplash (https://unsplash.com/documentation): 30 photos a page; a number of requests an hour, 50
for a new application, which the headers `X-Ratelimit-Limit` and `X-Ratelimit-Remaining` tell;
where a photo is taken, its download address is asked too, as the API's guidelines want; pictures
themselves do not count. The access key is that of `UNSPLASH_ACCESS_KEY`.
"""

import csv
import dataclasses
import json
import logging
import os
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from keras_refocus.cloud import retries, storage
from keras_refocus.pictures import images
from keras_refocus.system import extras

logger = logging.getLogger(__name__)

KEY_VARIABLE = "UNSPLASH_ACCESS_KEY"
MANIFEST = "manifest.jsonl"

_API = "https://api.unsplash.com"
_PAGE = 30
# Requests an hour of an application that Unsplash has not looked at.
_DEMO_LIMIT = 50
_HOUR = 3600.0
# Seconds beyond the hour, so that clocks that differ do not meet the limit once more.
_SPARE = 5.0
# Bytes of a picture, at most.
_LARGEST = 512 * 2**20
_CONNECT, _READ = 15, 60

UNSPLASH_LICENCE = "Unsplash License, https://unsplash.com/license"
LITE_LICENCE = "Unsplash Dataset, Lite, https://unsplash.com/data/lite/terms"

_SUFFIXES = {
    "JPEG": ".jpg",
    "PNG": ".png",
    "WebP": ".webp",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "GIF": ".gif",
    "AVIF": ".avif",
    "HEIC": ".heic",
    "JPEG 2000": ".jp2",
    "JPEG XL": ".jxl",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Photo:
    """A photo to fetch.

    Attributes:
        id: What tells it from all others of its source.
        address: Where its file is.
        about: What the manifest says of it: photographer, links, licence.
        announce: Address to ask when the photo is taken, or `None`.
    """

    id: str
    address: str
    about: dict[str, Any]
    announce: str | None = None


@dataclasses.dataclass
class Progress:
    """How far a collection is, for whoever watches.

    Attributes:
        done: Photos that are there, those of earlier runs among them.
        total: Photos asked for, `None` if that is not known.
        waits: Seconds until the next request is allowed, 0 while working.
        left: Seconds until all are there, as far as the limit of requests decides; `None` where
            there is no limit.
    """

    done: int = 0
    total: int | None = None
    waits: float = 0.0
    left: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a collection came to.

    Attributes:
        collected: Photos fetched now.
        there: Photos that an earlier run had fetched.
        failed: `(id, reason)` of those that could not be had.
    """

    collected: int
    there: int
    failed: list[tuple[str, str]]


class _Refused(Exception):
    """The answer of a server that does not help; `status` is its status of HTTP."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class _OverLimit(Exception):
    """Too many requests in this hour."""


class Limit:
    """Requests an hour, as the headers of the answers tell.

    Args:
        requests: How many an hour, until an answer says.
        clock: Tells seconds.
        sleep: Waits for some.
        tell: Called about once a second of waiting with the seconds that are left.
    """

    def __init__(
        self,
        requests: int = _DEMO_LIMIT,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        tell: Callable[[float], None] = lambda seconds: None,
    ):
        self._limit = self._remaining = requests
        self._clock, self._sleep, self.tell = clock, sleep, tell
        self._started = clock()

    def wait(self) -> None:
        """Wait until a request is allowed."""
        if self._clock() >= self._started + _HOUR:
            self._begin()
        if self._remaining > 0:
            self._remaining -= 1
            return
        # The limit counts by clock hours or by sliding ones; an hour after the first request of
        # this hour both allow another.
        while (left := self._started + _HOUR + _SPARE - self._clock()) > 0:
            self.tell(left)
            self._sleep(min(left, 1.0))
        self.tell(0.0)
        self._begin()
        self._remaining -= 1

    def learn(self, headers: Any) -> None:
        """Take over what an answer says."""
        for name, attribute in (("Limit", "_limit"), ("Remaining", "_remaining")):
            text = headers.get(f"X-Ratelimit-{name}", "")
            if text.isdecimal():
                setattr(self, attribute, int(text))

    def exhausted(self) -> None:
        """Take over that a request was refused because there were too many."""
        self._remaining = 0

    def seconds_for(self, requests: int) -> float:
        """Estimate how long a number of requests takes, as far as the limit decides."""
        beyond = requests - self._remaining
        if beyond <= 0:
            return 0.0
        first = max(self._started + _HOUR + _SPARE - self._clock(), 0.0)
        return first + (_HOUR + _SPARE) * ((beyond - 1) // max(self._limit, 1))

    def _begin(self) -> None:
        self._started, self._remaining = self._clock(), self._limit


class Collection:
    """A folder or a store of photos with its manifest, which is added to.

    Args:
        out: Path or address. In a folder the manifest grows line by line; in a store it is written
            again from time to time, and at the end.
    """

    _EVERY = 50

    def __init__(self, out: str | os.PathLike):
        self.place = storage.open_place(out)
        self._lines: list[str] = []
        self._unwritten = 0
        try:
            text = self.place.read(MANIFEST).decode()
        except FileNotFoundError:
            text = ""
        self.ids: set[str] = set()
        self.sums: set[str] = set()
        for line in text.splitlines():
            try:
                found = json.loads(line)
                known, sha256, file = found["id"], found["sha256"], found["file"]
            except (ValueError, KeyError, TypeError):
                continue  # torn by a stop; its photo is fetched again
            if not found.get("copy_of") and self.place.entry(file) is None:
                continue  # somebody removed it; it is fetched again
            self._lines.append(line)
            self.ids.add(known)
            self.sums.add(sha256)
        if text and len(self._lines) != len(text.splitlines()):
            self._write()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._unwritten:
            self._write()

    def add(self, photo: Photo, content: bytes) -> bool:
        """Keep a photo that was fetched; a copy of one that is there is only noted.

        Returns:
            Whether it was new.

        Raises:
            ValueError: It is not a picture.
        """
        found = images.read(content)
        sha256 = storage.sha256(content)
        file = f"{_file_name(photo.id)}{_SUFFIXES.get(found.format or '', '.jpg')}"
        record = {
            "id": photo.id,
            "file": file,
            "sha256": sha256,
            "width": found.width,
            "height": found.height,
            **photo.about,
        }
        is_new = sha256 not in self.sums
        if is_new:
            self.place.write(file, content)
        else:
            record["copy_of"] = sha256
        self._lines.append(json.dumps(record, ensure_ascii=False))
        self.ids.add(photo.id)
        self.sums.add(sha256)
        self._unwritten += 1
        if isinstance(self.place, storage.LocalFolder):
            self.place.path.mkdir(parents=True, exist_ok=True)
            with (self.place.path / MANIFEST).open("a", encoding="utf-8") as manifest:
                manifest.write(self._lines[-1] + "\n")
            self._unwritten = 0
        elif self._unwritten >= self._EVERY:
            self._write()
        return is_new

    def _write(self) -> None:
        self.place.write(MANIFEST, "".join(f"{line}\n" for line in self._lines).encode())
        self._unwritten = 0


class Unsplash:
    """The search of Unsplash, within its limit.

    Args:
        key: Access key of the application.
        limit: Counts requests.
        api: Address of the API.

    Raises:
        ValueError: There is no key.
    """

    def __init__(self, key: str, limit: Limit, *, api: str = _API):
        if not key:
            raise ValueError(
                f"Unsplash needs the access key of your application in {KEY_VARIABLE}. Received: "
                "none. Register one on https://unsplash.com/developers, and set the variable."
            )
        self._session = _session()
        self._headers = {"Authorization": f"Client-ID {key}", "Accept-Version": "v1"}
        self._limit, self._api = limit, api

    def search(self, query: str) -> Iterator[Photo]:
        """Yield what a search finds, page by page as it is read.

        Raises:
            OSError: Unsplash refuses the key, or cannot be reached.
        """
        page, pages = 1, 1
        while page <= pages:
            answer = self.ask(
                f"{self._api}/search/photos",
                {"query": query, "page": page, "per_page": _PAGE},
            )
            pages = int(answer.get("total_pages", 0))
            for found in answer.get("results", ()):
                yield _photo_of_unsplash(found, query)
            page += 1

    def ask(self, address: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the API, when the limit allows it, and again where it was over or failed."""
        while True:
            try:
                return retries.retrying(lambda: self._ask(address, parameters), "asking Unsplash")
            except _OverLimit:
                continue  # to where the next hour is waited for
            except _Refused as refused:
                kind = PermissionError if refused.status in (401, 403) else OSError
                raise kind(str(refused)) from None

    def _ask(self, address: str, parameters: dict[str, Any] | None) -> dict[str, Any]:
        self._limit.wait()
        answer = self._session.get(
            address, params=parameters, headers=self._headers, timeout=(_CONNECT, _READ)
        )
        self._limit.learn(answer.headers)
        if answer.status_code == 200:
            return answer.json()
        over = answer.status_code == 429 or (
            answer.status_code == 403 and "rate limit" in answer.text.lower()
        )
        if over:
            self._limit.exhausted()
            raise _OverLimit
        hint = f" Check {KEY_VARIABLE}." if answer.status_code in (401, 403) else ""
        raise _Refused(
            f"Unsplash answered {answer.status_code}: "
            f"{retries.redact(' '.join(answer.text.split())[:200])}.{hint}",
            answer.status_code,
        )


def collect_unsplash(
    query: str,
    *,
    count: int,
    out: str | os.PathLike,
    key: str | None = None,
    limit: Limit | None = None,
    api: str = _API,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Collect photos that a search on Unsplash finds.

    Args:
        query: What is searched for.
        count: How many photos there should be of it, those of earlier runs among them.
        out: Path or address.
        key: Access key; `None` takes that of `UNSPLASH_ACCESS_KEY`.
        limit: Counts requests.
        api: Address of the API.
        tell: Called as the collection goes on, also while it waits.

    Raises:
        OSError: Unsplash cannot be asked, or `out` not written to.
        ValueError: There is no key.
    """
    limit = limit or Limit()
    key = key if key is not None else os.environ.get(KEY_VARIABLE, "")
    unsplash = Unsplash(key, limit, api=api)
    progress = Progress(total=count)

    def waiting(seconds):
        progress.waits = seconds
        progress.left = _requests_left(progress, limit)
        tell(progress)

    limit.tell = waiting
    return _collect(
        unsplash.search(query),
        count=count,
        out=out,
        progress=progress,
        tell=tell,
        announce=unsplash.ask,
        limit=limit,
    )


def _requests_left(progress: Progress, limit: Limit) -> float:
    photos = max((progress.total or 0) - progress.done, 0)
    # One for each photo, one for each page.
    return limit.seconds_for(photos + -(-photos // _PAGE))


def collect_lite(
    table: str | os.PathLike,
    *,
    count: int | None = None,
    width: int | None = None,
    out: str | os.PathLike,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Collect photos of the data set that Unsplash releases for machine learning.

    Args:
        table: A file `photos.tsv000` of the data set.
        count: How many photos there should be; `None` for all.
        width: Width in pixels in which they are asked for; `None` for the original.
        out: Path or address.
        tell: Called as the collection goes on.

    Raises:
        OSError: The table cannot be read, or `out` not written to.
        ValueError: It is not a table of photos.
    """
    with pathlib.Path(table).open(encoding="utf-8", newline="") as file:
        return _collect(
            _photos_of_lite(file, os.fspath(table), width),
            count=count,
            out=out,
            progress=Progress(total=count),
            tell=tell,
        )


def collect_urls(
    listed: str | os.PathLike,
    *,
    count: int | None = None,
    licence: str = "not stated",
    out: str | os.PathLike,
    tell: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Collect photos from a list of addresses, one a line; `#` begins a comment.

    Args:
        listed: The file. A tab and text behind an address are the licence of that photo.
        count: How many photos there should be; `None` for all.
        licence: Of the photos without one of their own.
        out: Path or address.
        tell: Called as the collection goes on.

    Raises:
        OSError: The list cannot be read, or `out` not written to.
        ValueError: A line is no address of http or https.
    """
    photos = []
    lines = pathlib.Path(listed).read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        address, _, own = (part.strip() for part in line.partition("\t"))
        if not re.match(r"https?://[^/\s]+", address):
            raise ValueError(
                "Every line must be an address that begins with http:// or https://. Received: "
                f"{listed}, line {number}: {retries.redact(line[:100])!r}. Correct it, or begin it "
                "with #."
            )
        shown = retries.redact(address)
        about = {"source": shown, "licence": own or licence}
        # Of two addresses with other queries both are wanted; neither query is kept.
        known = f"{pathlib.PurePosixPath(urlsplit(address).path).stem or 'photo'}-"
        known += storage.sha256(address.encode())[:12]
        photos.append(Photo(id=known, address=address, about=about))
    return _collect(
        iter(photos),
        count=count,
        out=out,
        progress=Progress(total=count if count is not None else len(photos)),
        tell=tell,
    )


def _collect(
    photos: Iterator[Photo],
    *,
    count: int | None,
    out: str | os.PathLike,
    progress: Progress,
    tell: Callable[[Progress], None],
    announce: Callable[[str], Any] | None = None,
    limit: Limit | None = None,
) -> Summary:
    if count is not None and count < 1:
        raise ValueError(f"The count must be at least 1. Received: count={count}.")
    extras.require("cloud", "Collecting", "requests")
    session = _session()
    collected, there, failed, seen = 0, 0, [], set()
    with Collection(out) as collection:
        for photo in photos:
            if photo.id in seen:
                continue
            seen.add(photo.id)
            if photo.id in collection.ids:
                there += 1
            else:
                try:
                    content = retries.retrying(
                        lambda photo=photo: _fetch(session, photo.address),
                        retries.redact(photo.address),
                    )
                    if collection.add(photo, content):
                        collected += 1
                    else:
                        there += 1
                except Exception as error:
                    if isinstance(error, OSError) and not _is_of_the_web(error):
                        raise  # the folder cannot be written to, and will not for the next either
                    failed.append((photo.id, retries.say(error)))
                    continue
                if announce is not None and photo.announce is not None:
                    announce(photo.announce)
            progress.done, progress.waits = collected + there, 0.0
            progress.left = _requests_left(progress, limit) if limit else None
            tell(progress)
            if count is not None and progress.done >= count:
                break
    return Summary(collected=collected, there=there, failed=failed)


def _is_of_the_web(error: OSError) -> bool:
    import requests

    return isinstance(error, requests.RequestException)


def _fetch(session: Any, address: str) -> bytes:
    with session.get(address, stream=True, timeout=(_CONNECT, _READ)) as answer:
        if answer.status_code != 200:
            raise _Refused(f"the server answered {answer.status_code}", answer.status_code)
        expected = answer.headers.get("Content-Length", "")
        encoded = answer.headers.get("Content-Encoding", "")
        content = bytearray()
        for block in answer.iter_content(2**18):
            content += block
            if len(content) > _LARGEST:
                raise ValueError(f"the file is longer than {_LARGEST / 2**20:.0f} MiB")
    if expected.isdecimal() and not encoded and len(content) != int(expected):
        raise ConnectionError(f"{len(content)} of {expected} bytes came")
    return bytes(content)


def _session() -> Any:
    extras.require("cloud", "Collecting", "requests")
    import requests

    import keras_refocus

    session = requests.Session()
    session.headers["User-Agent"] = f"keras_refocus/{keras_refocus.__version__}"
    return session


def _photo_of_unsplash(found: dict[str, Any], query: str) -> Photo:
    user, links = found.get("user", {}), found.get("links", {})
    return Photo(
        id=str(found["id"]),
        # The address as it was given: Unsplash counts views by it.
        address=found["urls"]["full"],
        announce=links.get("download_location"),
        about={
            "source": "unsplash",
            "query": query,
            "page": links.get("html"),
            "photographer": user.get("name"),
            "photographer_page": user.get("links", {}).get("html"),
            "description": found.get("description") or found.get("alt_description"),
            "licence": UNSPLASH_LICENCE,
        },
    )


def _photos_of_lite(file: Any, name: str, width: int | None) -> Iterator[Photo]:
    # Descriptions may be long.
    csv.field_size_limit(2**20)
    rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    needed = {"photo_id", "photo_url", "photo_image_url"}
    if not needed <= set(rows.fieldnames or ()):
        raise ValueError(
            f"The table must have the columns {', '.join(sorted(needed))}. Received: {name} with "
            f"{', '.join((rows.fieldnames or ['nothing'])[:8])}. Name photos.tsv000 of the data "
            "set."
        )
    for row in rows:
        if not row.get("photo_id") or not row.get("photo_image_url"):
            continue
        names = (row.get("photographer_first_name"), row.get("photographer_last_name"))
        username = row.get("photographer_username")
        address = row["photo_image_url"]
        if width is not None:
            address += f"{'&' if '?' in address else '?'}w={width}&fm=jpg&q=90&fit=max"
        yield Photo(
            id=row["photo_id"],
            address=address,
            about={
                "source": "unsplash-lite",
                "page": row["photo_url"],
                "photographer": " ".join(part for part in names if part) or username,
                "photographer_page": f"https://unsplash.com/@{username}" if username else None,
                "description": row.get("photo_description") or row.get("ai_description"),
                "licence": LITE_LICENCE,
            },
        )


def _file_name(name: str) -> str:
    """A name that every file system takes, and that two ids do not share."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:80] or "photo"
    return safe if safe == name else f"{safe}-{storage.sha256(name.encode())[:8]}"
