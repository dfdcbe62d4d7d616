"""Pictures one by one from a list of addresses: cached, polite, and resumed where it stopped."""

import dataclasses
import email.utils
import logging
import pathlib
import posixpath
import random
import threading
import time
import urllib.parse

import requests
import tensorflow_datasets as tfds

from keras_refocus.data import integrity
from keras_refocus.pictures import images
from keras_refocus.system import files
from tfds_builders import sources

NOT_DOWNLOADED = "not downloaded"

_log = logging.getLogger(__name__)

# Answers after which asking again may help. 404 and the like are final.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manners:
    """How hard to press a server.

    Attributes:
        connections: Requests under way at once.
        attempts: Times an address is asked.
        timeout: Seconds without an answer after which an attempt has failed.
        pause: Seconds before the second attempt; doubled for each further one. A server that names
            a time (Retry-After) is given that, up to `longest_pause`.
        longest_pause: Seconds.
        give_up_after: Addresses in a row without an answer after which the server is taken to be
            out of reach.
        tolerated: Share of the addresses that may fail; more, and the list is not taken for
            downloaded.
    """

    connections: int = 8
    attempts: int = 5
    timeout: float = 30.0
    pause: float = 1.0
    longest_pause: float = 60.0
    give_up_after: int = 32
    tolerated: float = 0.01


class _NoAnswer(Exception):
    """The server cannot be reached or has no time: ask again."""

    retry_after = None


class _Damaged(Exception):
    """Something else than a whole picture arrived: ask again."""

    retry_after = None


class _Refused(Exception):
    """The server does not have it: final."""


def read_list(file: sources.File) -> list[str]:
    """Read a list of addresses, one a line; empty lines and those that start with # do not count.

    Raises:
        ValueError: If a line is no address of a picture, or two have the same file name.
    """
    addresses, names = [], {}
    for number, line in enumerate(file.read().decode("utf-8-sig").splitlines(), start=1):
        address = line.strip()
        if not address or address.startswith("#"):
            continue
        name = file_name(address)
        parts = urllib.parse.urlsplit(address)
        if (
            parts.scheme not in ("http", "https")
            or not parts.netloc
            or not name.lower().endswith(sources.PICTURE_SUFFIXES)
        ):
            raise ValueError(
                "Every line must be the http or https address of a picture. Received: "
                f"{file.path}, line {number}: {address!r}."
            )
        if names.setdefault(name, address) != address:
            raise ValueError(
                "Pictures are kept under their file names, so these must differ. Received: "
                f"{file.path}, where {names[name]} and {address} end alike."
            )
        addresses.append(address)
    return list(dict.fromkeys(addresses))


def file_name(address: str) -> str:
    """File name at the end of an address."""
    return posixpath.basename(urllib.parse.unquote(urllib.parse.urlsplit(address).path))


def fetch(
    addresses: list[str],
    folder: pathlib.Path,
    *,
    failures: integrity.Findings,
    manners: Manners = Manners(),
) -> dict[str, sources.File]:
    """Download what is not in a folder yet.

    A file appears under its name when it is whole and can be read as a picture, so whatever is in
    the folder need not be asked for again: an interrupted download goes on where it stopped.

    Args:
        addresses: From `read_list`.
        folder: Where the pictures are kept.
        failures: Takes the addresses that gave no picture.
        manners: How hard to press the server.

    Returns:
        The pictures by file name.

    Raises:
        ConnectionError: If the server is out of reach, or more addresses failed than are
            tolerated. What was downloaded stays.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files.remove_left_overs(folder)
    there = {path.name for path in folder.iterdir()}
    wanted = [address for address in addresses if file_name(address) not in there]
    _log.info("%d of %d pictures are in %s", len(addresses) - len(wanted), len(addresses), folder)
    fetcher = _Fetcher(folder, manners)
    failed = in_a_row = 0
    bar = tfds.core.utils.tqdm(
        integrity.map_in_threads(fetcher, wanted, threads=manners.connections),
        total=len(wanted),
        desc="Downloading pictures",
        unit=" pictures",
    )
    for address, error in zip(wanted, bar, strict=True):
        in_a_row = in_a_row + 1 if isinstance(error, _NoAnswer) else 0
        if in_a_row >= manners.give_up_after:
            fetcher.stop()
            raise ConnectionError(
                f"The server must answer. Received: no answer for {in_a_row} addresses in a row, "
                f"the last being {address} ({error}). What was downloaded is kept in {folder}; run "
                "the same command again when the network is back."
            )
        if error is not None:
            failed += 1
            failures.add(NOT_DOWNLOADED, address, str(error))
    if failed > manners.tolerated * len(addresses):
        raise ConnectionError(
            f"At most {manners.tolerated:.0%} of the addresses may fail. Received: {failed:,} of "
            f"{len(addresses):,}, such as {failures.names(NOT_DOWNLOADED)[0]}. Run the same "
            f"command again to ask for those only (the rest is kept in {folder}), or take the dead "
            "addresses out of the list."
        )
    lost = {file_name(address) for address in failures.names(NOT_DOWNLOADED)}
    names = (file_name(address) for address in addresses)
    return {name: sources.File(str(folder / name)) for name in names if name not in lost}


class _Fetcher:
    """Downloads one address; called by several threads."""

    def __init__(self, folder, manners):
        self._folder = folder
        self._manners = manners
        self._local = threading.local()
        self._stopped = threading.Event()

    def stop(self):
        """Make no further requests."""
        self._stopped.set()

    def __call__(self, address):
        """Return `None`, or why there is no picture."""
        pause = self._manners.pause
        for attempt in range(self._manners.attempts):
            if self._stopped.is_set():
                return _NoAnswer("stopped")
            try:
                self._download(address)
                return None
            except _Refused as refused:
                return refused
            except (_NoAnswer, _Damaged) as passing:
                error = passing
            if attempt + 1 < self._manners.attempts:
                seconds = error.retry_after
                if seconds is None:
                    # Spread out, so that threads turned away together do not come back together.
                    seconds = pause * random.uniform(0.75, 1.25)
                self._stopped.wait(min(seconds, self._manners.longest_pause))
                pause *= 2
        return error

    def _download(self, address):
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.headers["User-Agent"] = "keras_refocus coco_lab builder"
        try:
            response = self._local.session.get(address, timeout=self._manners.timeout)
        except requests.RequestException as error:
            raise _NoAnswer(str(error)) from error
        if response.status_code in _PASSING:
            error = _NoAnswer(f"status {response.status_code}")
            error.retry_after = _retry_after(response.headers.get("Retry-After"))
            raise error
        if response.status_code != 200:
            raise _Refused(f"status {response.status_code}")
        content = response.content
        try:
            # `requests` takes a connection that broke half way for a whole, shorter answer.
            images.read(content)
        except (ValueError, ImportError) as error:
            raise _Damaged(f"no whole picture: {error}") from error
        path = self._folder / file_name(address)
        files.write_bytes(path, content)


def _retry_after(value):
    """Seconds that a server asks to wait, given as such or as a date; `None` if it does not."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
