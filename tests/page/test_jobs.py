"""Who works when: the line, one job a visitor, and the end of what takes too long."""

import threading
import time
from concurrent.futures import CancelledError

import pytest

from keras_refocus.page import jobs
from keras_refocus.page.jobs import Job, QueueFull, TimeLimit, Wish, WorkQueue

WAIT = 10


class Work:
    """Work that goes on until it is let go; notes what was begun and done."""

    def __init__(self):
        self.begun, self.done, self.failed = [], [], []
        self.go = threading.Event()
        self.started = threading.Semaphore(0)

    def __call__(self, wish, stop, progress):
        self.begun.append(wish.picture)
        self.started.release()
        progress(1, 2)
        while not self.go.is_set():
            if stop.is_set():
                raise CancelledError
            time.sleep(0.005)
        if wish.choices == "bad":
            raise ValueError("no")
        self.done.append(wish.picture)

    def note(self, wish, error):
        self.failed.append((wish.picture, str(error)))


def same(one, other):
    return one == other


def wishes(*pictures, choices=None):
    return [Wish(picture, choices) for picture in pictures]


def until(condition):
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def queue():
    return WorkQueue(places=1, waiting=1)


def begin(queue, *pictures, choices=None):
    work = Work()
    job = Job(queue, work, work.note)
    job.wish(wishes(*pictures, choices=choices), same)
    return job, work


def test_photos_are_worked_on_in_turn_and_a_bad_one_does_not_end_the_others(queue):
    work = Work()
    job = Job(queue, work, work.note)
    work.go.set()
    job.wish([Wish("a", "good"), Wish("b", "bad"), Wish("c", "good")], same)
    job.join(WAIT)
    assert job.is_over and work.done == ["a", "c"] and work.failed == [("b", "no")]
    assert job.progress.finished == job.progress.count == 3


def test_visitors_take_turns_photo_by_photo():
    queue = WorkQueue(places=1, waiting=5)
    first, one = begin(queue, "a1", "a2")
    one.started.acquire(timeout=WAIT)
    second, other = begin(queue, "b1")
    until(lambda: second.progress.ahead == 1)
    assert second.state_of("b1") == "waiting" and first.state_of("a1") == "working"
    other.go.set()
    one.go.set()
    first.join(WAIT)
    second.join(WAIT)
    # The second visitor's only photo did not wait for both of the first's.
    assert one.done == ["a1", "a2"] and other.done == ["b1"]
    assert other.begun and one.begun == ["a1", "a2"]


def test_a_full_line_refuses_and_lets_in_again_later(queue):
    first, one = begin(queue, "a")
    one.started.acquire(timeout=WAIT)
    second, _ = begin(queue, "b")
    until(lambda: second.progress.ahead == 1)
    third, other = begin(queue, "c")
    third.join(WAIT)
    assert isinstance(third.refusal, QueueFull) and third.refusal.count == 1
    second.cancel()
    second.join(WAIT)
    third.wish(wishes("c"), same)
    until(lambda: third.progress.ahead == 1)
    assert third.refusal is None
    one.go.set()
    other.go.set()
    third.join(WAIT)
    assert other.done == ["c"]


def test_who_cancels_while_waiting_leaves_the_line(queue):
    first, one = begin(queue, "a")
    one.started.acquire(timeout=WAIT)
    second, other = begin(queue, "b")
    until(lambda: second.progress.ahead == 1)
    assert second.cancel()
    second.join(WAIT)
    assert second.was_waiting and second.was_cancelled and other.begun == []
    one.go.set()
    first.join(WAIT)
    assert one.done == ["a"] and not second.cancel()


def test_the_last_wish_wins(queue):
    job, work = begin(queue, "a")
    work.started.acquire(timeout=WAIT)
    job.wish(wishes("b"), same)
    work.started.acquire(timeout=WAIT)
    work.go.set()
    job.join(WAIT)
    assert work.begun == ["a", "b"] and work.done == ["b"] and not work.failed


def test_what_is_wished_again_goes_on(queue):
    job, work = begin(queue, "a")
    work.started.acquire(timeout=WAIT)
    job.wish(wishes("a", "b"), same)
    work.go.set()
    job.join(WAIT)
    assert work.begun == work.done == ["a", "b"] and job.progress.finished == 2


def test_a_photo_that_is_removed_is_not_worked_on(queue):
    job, work = begin(queue, "a", "b", "c")
    work.started.acquire(timeout=WAIT)
    job.drop(["a", "b"])
    work.started.acquire(timeout=WAIT)
    work.go.set()
    job.join(WAIT)
    assert work.begun == ["a", "c"] and work.done == ["c"]


def test_work_that_takes_too_long_is_stopped():
    queue = WorkQueue(limit=0.05)

    def work(must_stop):
        while not must_stop():
            time.sleep(0.005)
        raise CancelledError

    with pytest.raises(TimeLimit, match="0.05 seconds") as limit:
        queue.run(work, threading.Event())
    assert limit.value.seconds == 0.05


def test_work_that_does_not_stop_does_not_hold_its_place(monkeypatch):
    monkeypatch.setattr(jobs, "_GRACE_SECONDS", 0.05)
    queue = WorkQueue(limit=0.05)
    end = threading.Event()
    with pytest.raises(TimeLimit), queue.place():
        queue.run(lambda must_stop: end.wait(WAIT), threading.Event())
    with queue.place():
        assert queue.run(lambda must_stop: 7, threading.Event()) == 7
    end.set()
    until(lambda: queue._abandoned == 0)


def test_what_work_raises_is_raised():
    queue = WorkQueue()

    def work(must_stop):
        raise KeyError("x")

    with pytest.raises(KeyError):
        queue.run(work, threading.Event())
