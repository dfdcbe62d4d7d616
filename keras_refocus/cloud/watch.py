"""A folder or a store that is watched for what arrives.

A folder of this machine tells by events of its file system (watchfiles); a store is listed from
time to time. A picture is taken when it has stopped growing: nothing of it has changed for a while.
What is done, and what was rejected, is known from the notes that results and reasons carry, so
nothing is done twice after a restart.
"""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator

from keras_refocus.cloud import restoring, retries, storage
from keras_refocus.restoration import pipeline

logger = logging.getLogger(__name__)

#: Folder of what could not be read, below that of the results, and the suffix of the reasons.
REJECTED = "rejected"
REASON_SUFFIX = ".reason.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """How often is looked, in seconds.

    Attributes:
        settle: How long a picture must not have changed before it is taken.
        poll: Time between two listings of a store; and between two looks at a folder that are not
            asked for by events, which some file systems (of networks, of containers) do not send.
    """

    settle: float = 2.0
    poll: float = 30.0

    def __post_init__(self):
        if self.settle < 0 or self.poll <= 0:
            raise ValueError(
                f"Times must be above 0 seconds. Received: settle={self.settle}, poll={self.poll}."
            )


class Watcher:
    """Restores what arrives in one place into another.

    Args:
        source: Where pictures arrive, with sub-folders.
        out: Where results go, outside of `source`.
        restorer: Restores them.
        settings: How.
        timing: How often is looked.

    Raises:
        ValueError: The results would arrive in what is watched.
    """

    def __init__(
        self,
        source: storage.Place,
        out: storage.Place,
        restorer: pipeline.Restorer,
        settings: restoring.Settings,
        timing: Timing | None = None,
    ):
        refuse_nesting(source, out)
        self._source, self._out = source, out
        self._restorer, self._settings = restorer, settings
        self._timing = timing or Timing()
        # What was seen, and since when it has been as it is: {name: (tag, first seen)}.
        self._seen: dict[str, tuple[str, float]] = {}
        # What nothing is left to do for: {name: tag}.
        self._settled: dict[str, str] = {}

    def run(
        self,
        *,
        stop: threading.Event | None = None,
        once: bool = False,
        tell: Callable[[restoring.Outcome], None] = lambda outcome: None,
    ) -> None:
        """Watch until `stop` is set; the picture in work is finished.

        Args:
            stop: Set from another thread or a signal's handler.
            once: Whether to end when all that is there is done.
            tell: Called with what became of each picture.
        """
        stop = stop or threading.Event()
        with _Changes(self._source, self._timing, stop) as changes:
            while not stop.is_set():
                try:
                    waiting = self._look(stop, tell)
                except Exception as error:
                    # A store that cannot be listed for a while is listed again.
                    if not retries.is_temporary(error):
                        raise
                    logger.warning("%s", retries.say(error))
                    waiting = True
                if once and not waiting:
                    return
                changes.wait(self._timing.settle if waiting else self._timing.poll)

    def _look(self, stop: threading.Event, tell: Callable[[restoring.Outcome], None]) -> bool:
        """Take what is ready; tell whether something is about to be."""
        waiting = False
        there = set()
        for entry in self._source.entries():
            if stop.is_set():
                return False
            if not storage.is_picture(entry.name):
                continue
            there.add(entry.name)
            if self._settled.get(entry.name) == entry.tag:
                continue
            if not self._is_still(entry):
                waiting = True
                continue
            outcome = self._take(entry)
            if outcome.status == "failed" and outcome.temporary:
                waiting = True
            else:
                self._settled[entry.name] = entry.tag
                self._seen.pop(entry.name, None)
            tell(outcome)
        for known in (self._seen, self._settled):
            for name in known.keys() - there:
                del known[name]
        return waiting

    def _is_still(self, entry: storage.Entry) -> bool:
        """Whether a picture has not changed for long enough."""
        now = time.monotonic()
        tag, since = self._seen.get(entry.name, ("", now))
        if tag != entry.tag:
            self._seen[entry.name] = (entry.tag, now)
            since = now
            if not isinstance(self._source, storage.LocalFolder):
                return True  # objects appear whole
        if now - since >= self._timing.settle:
            return True
        # Old files that are there at the start need not be looked at twice.
        return entry.modified is not None and time.time() - entry.modified >= max(
            10 * self._timing.settle, 60
        )

    def _take(self, entry: storage.Entry) -> restoring.Outcome:
        task = restoring.Task(
            source=self._source,
            entry=entry,
            out=self._out,
            target=self._settings.target(entry.name),
        )
        reasons = f"{REJECTED}/{entry.name}{REASON_SUFFIX}"
        try:
            note = self._out.note(reasons)
            if note and note.get("source") == entry.tag and note.get("settings") == self._key:
                return restoring.Outcome(task=task, status="skipped", reason="rejected before")
            outcome = restoring.restore_one(task, self._restorer, self._settings)
            if outcome.status == "failed" and not outcome.temporary:
                self._reject(entry, reasons, outcome.reason)
        except Exception as error:
            return restoring.Outcome(
                task=task,
                status="failed",
                reason=retries.say(error),
                temporary=retries.is_temporary(error),
            )
        return outcome

    @property
    def _key(self) -> str:
        return self._settings.key

    def _reject(self, entry: storage.Entry, reasons: str, reason: str) -> None:
        try:
            content = self._source.read(entry.name)
        except (OSError, ValueError):
            content = None  # it cannot even be read; the reason says so
        if content is not None:
            self._out.write(f"{REJECTED}/{entry.name}", content)
        note = {"source": entry.tag, "settings": self._key}
        self._out.write(reasons, f"{reason}\n".encode(), note)


def refuse_nesting(source: storage.Place, out: storage.Place) -> None:
    """Refuse results that would arrive where pictures are taken from.

    Raises:
        ValueError: One place lies in the other.
    """
    if storage.lies_inside(out, source) is not None:
        raise ValueError(
            "Results must lie outside of what is watched or listed, or they would be restored in "
            f"turn. Received: '{source.shown}' and --out '{out.shown}'. Choose another --out."
        )


class _Changes:
    """Waits for something to happen in a folder, or for time to pass."""

    def __init__(self, place: storage.Place, timing: Timing, stop: threading.Event):
        self._path = place.path if isinstance(place, storage.LocalFolder) else None
        self._stop = stop
        self._ended = threading.Event()
        self._happened = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self):
        if self._path is not None:
            self._path.mkdir(parents=True, exist_ok=True)
            self._thread = threading.Thread(target=self._listen, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *exception):
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def wait(self, seconds: float) -> None:
        """Return when something happened, when it is time, or when all is to stop."""
        until = time.monotonic() + seconds
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            # Short waits: a signal that stops must not wait for the next listing.
            if self._happened.wait(min(left, 0.2)):
                break
        self._happened.clear()

    def _listen(self) -> None:
        for _ in self._events():
            self._happened.set()

    def _events(self) -> Iterator[object]:
        import watchfiles

        try:
            yield from watchfiles.watch(
                self._path,
                stop_event=self._ended,
                step=50,
                debounce=500,
                rust_timeout=500,
                yield_on_timeout=False,
                raise_interrupt=False,
                ignore_permission_denied=True,
            )
        except Exception as error:  # no more watches to be had, a file system without them
            logger.warning(
                "the folder sends no events (%s); it is looked at from time to time",
                retries.say(error),
            )
