"""Who works when: places to work at, a line of those who wait, and one job a visitor.

Gradio's own queue cannot let anybody go who waits, nor say who is next; nor does it end a photo
that takes too long. Here a photo waits for its own place: a visitor with twenty photos does not
keep another one with a single photo waiting for all of them.
"""

import collections
import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any

# How long a calculation is waited for that was told to stop: the process that decodes is ended at
# once, networks stop between tiles, and colours take the longer the larger the photo is.
_GRACE_SECONDS = 5.0
# Calculations that did not stop and go on unwatched; with more of them new ones wait.
_MOST_ABANDONED = 3


class QueueFull(Exception):
    """As many wait as may. `count` is how many."""

    def __init__(self, count: int):
        super().__init__(f"The queue is full: {count} are waiting. Try again in a moment.")
        self.count = count


class TimeLimit(Exception):
    """A photo took longer than it may. `seconds` is the limit."""

    def __init__(self, seconds: float):
        super().__init__(
            f"The photo was given up after {seconds:g} seconds, the time limit of this page. Try a "
            "smaller one."
        )
        self.seconds = seconds


class WorkQueue:
    """Places to work at, and the line before them: first come, first served.

    Args:
        places: How many work at the same time.
        waiting: How many may wait.
        limit: Seconds that one piece of work may take; `None`: as long as it likes.
    """

    def __init__(self, places: int = 1, waiting: int = 20, limit: float | None = None):
        self.limit = limit
        self._places = places
        self._waiting = waiting
        self._line: list[object] = []
        self._changed = threading.Condition()
        self._abandoned = 0

    @contextlib.contextmanager
    def place(
        self,
        *,
        cancelled: threading.Event | None = None,
        again: bool = False,
        moved: Callable[[int], None] | None = None,
    ) -> Iterator[None]:
        """Wait for a place, and hold it.

        Args:
            cancelled: Set to leave the line; `wake` must then be called.
            again: Whether whoever comes has been let in before: then the line may be longer.
            moved: Told how many are ahead whenever that changes.

        Raises:
            CancelledError: `cancelled` was set.
            QueueFull: The line is as long as it may be.
        """
        ticket = object()
        with self._changed:
            waiting = len(self._line) - self._places
            if not again and waiting >= self._waiting:
                raise QueueFull(waiting)
            self._line.append(ticket)
        try:
            with self._changed:
                told = -1
                while (ahead := self._ahead(ticket)) > 0:
                    if cancelled is not None and cancelled.is_set():
                        raise CancelledError
                    if ahead != told and moved is not None:
                        moved(ahead)
                    told = ahead
                    self._changed.wait()
            yield
        finally:
            with self._changed:
                self._line.remove(ticket)
                self._changed.notify_all()

    def wake(self) -> None:
        """Let those who wait look whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def run(self, work: Callable[[Callable[[], bool]], Any], cancelled: threading.Event) -> Any:
        """Do a piece of work for as long as it may take.

        Args:
            work: What to do. It is given a function to ask now and then whether to stop; then it
                raises `CancelledError`. Once told so it must change nothing that others see.
            cancelled: Set to stop it.

        Returns:
            What the work returns.

        Raises:
            CancelledError: It was cancelled.
            TimeLimit: It took too long. If it does not stop soon it goes on unwatched; every step
                of a photo but its decoding, which is ended, ends by itself.
        """
        too_late, over = threading.Event(), threading.Event()
        outcome: dict[str, Any] = {}

        def run():
            try:
                outcome["value"] = work(lambda: cancelled.is_set() or too_late.is_set())
            except BaseException as error:
                outcome["error"] = error
            finally:
                over.set()

        threading.Thread(target=run, daemon=True).start()
        if not over.wait(self.limit):
            too_late.set()
            if not over.wait(_GRACE_SECONDS):
                self._abandon(over)
            raise TimeLimit(self.limit)
        if "error" in outcome:
            raise outcome["error"]
        return outcome["value"]

    def _abandon(self, over: threading.Event) -> None:
        with self._changed:
            while self._abandoned >= _MOST_ABANDONED:
                self._changed.wait()
            self._abandoned += 1

        def note_the_end():
            over.wait()
            with self._changed:
                self._abandoned -= 1
                self._changed.notify_all()

        threading.Thread(target=note_the_end, daemon=True).start()

    def _ahead(self, ticket: object) -> int:
        return max(self._line.index(ticket) - self._places + 1, 0)


@dataclasses.dataclass(frozen=True)
class Wish:
    """A picture, and what its visitor wants done with it."""

    picture: Any
    choices: Any


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        number: Which picture is worked on, from 1; 0 before the first.
        count: Pictures of the job.
        ahead: How many wait before it; 0 once it has its place.
        done: Steps done of the picture.
        total: Steps of the picture; 0 while that is not known.
        finished: Pictures that are through, whatever came of them.
    """

    number: int = 0
    count: int = 0
    ahead: int = 0
    done: int = 0
    total: int = 0
    finished: int = 0


class Job:
    """What one visitor wants done, one picture after another; the last wish wins.

    Args:
        queue: Where the job waits for its places.
        work: Does one wish; `work(wish, must_stop, progress)`. What it raises is given to `failed`.
        failed: Told of what a wish ended with instead of a result: `failed(wish, error)`.
    """

    def __init__(
        self,
        queue: WorkQueue,
        work: Callable[[Wish, Callable[[], bool], Callable[[int, int], None]], None],
        failed: Callable[[Wish, Exception], None],
    ):
        self._queue = queue
        self._work = work
        self._failed = failed
        self._lock = threading.Lock()
        self._pending: collections.deque[Wish] = collections.deque()
        self._current: Wish | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress = Progress()
        self._all: list[Wish] = []
        self.was_cancelled = False
        self.was_waiting = False
        self.refusal: QueueFull | None = None

    def wish(self, wishes: Iterable[Wish], same: Callable[[Wish, Wish], bool]) -> None:
        """Do these next, in place of what was to be done.

        What is under way goes on if it is one of them.

        Args:
            wishes: What to do.
            same: Whether two wishes need the same of the networks.
        """
        wishes = list(wishes)
        with self._lock:
            self.was_cancelled = self.was_waiting = False
            self.refusal = None
            current = self._current
            goes_on = current is not None and not self._stop.is_set()
            kept = [w for w in wishes if goes_on and same(w, current)]
            self._pending = collections.deque(w for w in wishes if w not in kept)
            if current is not None and not kept:
                self._stop.set()
            if current is None:
                self._progress = Progress(count=len(wishes))
            else:
                self._progress = dataclasses.replace(
                    self._progress, finished=0, number=len(kept), count=len(wishes)
                )
            self._all = wishes
            if self._thread is None and wishes:
                self._thread = threading.Thread(target=self._run, daemon=True)
                self._thread.start()
        self._queue.wake()

    def cancel(self) -> bool:
        """Stop; returns whether anything was under way."""
        with self._lock:
            if self._thread is None:
                return False
            self.was_cancelled = True
            self.was_waiting = self._progress.ahead > 0 and self._progress.finished == 0
            self._pending.clear()
            self._stop.set()
        self._queue.wake()
        return True

    def drop(self, pictures: Iterable[Any]) -> None:
        """Do nothing more for these pictures."""
        gone = list(pictures)
        with self._lock:
            self._pending = collections.deque(w for w in self._pending if w.picture not in gone)
            if self._current is not None and self._current.picture in gone:
                self._stop.set()
        self._queue.wake()

    @property
    def is_over(self) -> bool:
        """Whether nothing is under way."""
        with self._lock:
            return self._thread is None

    @property
    def pending(self) -> list[Wish]:
        """What is under way and what is still to be done."""
        with self._lock:
            current = [] if self._current is None or self._stop.is_set() else [self._current]
            return [*current, *self._pending]

    @property
    def progress(self) -> Progress:
        """How far it is."""
        with self._lock:
            return self._progress

    def state_of(self, picture: Any) -> str | None:
        """Say of a picture whether it is `working`, `waiting` or neither."""
        with self._lock:
            current = self._current
            if current is not None and current.picture is picture and not self._stop.is_set():
                return "waiting" if self._progress.ahead else "working"
            if any(wish.picture is picture for wish in self._pending):
                return "waiting"
        return None

    def join(self, timeout: float | None = None) -> None:
        """Wait until nothing is under way."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        again = False
        while (wish := self._next()) is not None:
            stop = self._stop
            try:
                with self._queue.place(cancelled=stop, again=again, moved=self._moved):
                    self._moved(0)
                    again = True
                    self._work(wish, stop, self._stepped)
            except CancelledError:
                pass
            except QueueFull as error:
                with self._lock:
                    self.refusal = error
                    self._pending.clear()
            except Exception as error:
                if not stop.is_set():
                    self._failed(wish, error)
            with self._lock:
                finished = self._progress.finished + (not stop.is_set())
                self._progress = dataclasses.replace(self._progress, finished=finished)

    def _next(self) -> Wish | None:
        with self._lock:
            if not self._pending:
                self._thread = self._current = None
                return None
            self._current = self._pending.popleft()
            self._stop = threading.Event()
            number = len(self._all) - len(self._pending)
            self._progress = dataclasses.replace(
                self._progress, number=number, ahead=0, done=0, total=0
            )
            return self._current

    def _moved(self, ahead: int) -> None:
        with self._lock:
            self._progress = dataclasses.replace(self._progress, ahead=ahead)

    def _stepped(self, done: int, total: int) -> None:
        with self._lock:
            self._progress = dataclasses.replace(self._progress, done=done, total=total)
