"""What arrives is restored once it has stopped growing, once, and across restarts."""

import threading
import time

import pytest
from tiny_pictures import encoded, scene

from keras_refocus.cloud import restoring, storage, watch

QUICK = watch.Timing(settle=0.3, poll=0.5)
SETTINGS = restoring.Settings()


class Watching:
    """A watcher in a thread, and what it told."""

    def __init__(self, source, out, restorer, timing=QUICK):
        self.outcomes, self.stop = [], threading.Event()
        self.source, self.out = (
            place if isinstance(place, storage.ObjectFolder) else storage.open_place(place)
            for place in (source, out)
        )
        watcher = watch.Watcher(self.source, self.out, restorer, SETTINGS, timing)
        self.thread = threading.Thread(
            target=watcher.run, kwargs={"stop": self.stop, "tell": self.outcomes.append}
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def wait_for(self, count, seconds=30):
        deadline = time.monotonic() + seconds
        while len(self.outcomes) < count:
            assert time.monotonic() < deadline, self.outcomes
            time.sleep(0.02)
        return [(o.task.entry.name, o.status) for o in self.outcomes]


def picture(seed):
    return encoded(scene(seed, height=12, width=10))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


def test_what_is_there_and_what_arrives_is_restored(folders, restorer):
    source, out = folders
    (source / "a.png").write_bytes(picture(1))
    (source / "notes.txt").write_text("no picture")
    with Watching(source, out, restorer) as watching:
        watching.wait_for(1)
        (source / "deep").mkdir()
        (source / "deep" / "b.png").write_bytes(picture(2))
        told = watching.wait_for(2)
    assert told == [("a.png", "restored"), ("deep/b.png", "restored")]
    assert sorted(e.name for e in watching.out.entries()) == ["a.png", "deep/b.png"]


def test_a_file_is_taken_when_it_has_stopped_growing(folders, restorer):
    source, out = folders
    content = picture(1)
    timing = watch.Timing(settle=1.0, poll=0.2)
    with Watching(source, out, restorer, timing) as watching:
        with (source / "a.png").open("wb") as file:
            for start in range(0, len(content), len(content) // 8):
                file.write(content[start : start + len(content) // 8])
                file.flush()
                time.sleep(0.15)
                assert watching.outcomes == []
        assert watching.wait_for(1) == [("a.png", "restored")]


def test_what_cannot_be_read_is_rejected_with_one_line(folders, restorer):
    source, out = folders
    (source / "deep").mkdir()
    (source / "deep" / "page.jpg").write_bytes(b"<html>")
    with Watching(source, out, restorer) as watching:
        assert watching.wait_for(1) == [("deep/page.jpg", "failed")]
    assert (out / "rejected" / "deep" / "page.jpg").read_bytes() == b"<html>"
    reason = (out / "rejected" / "deep" / "page.jpg.reason.txt").read_text()
    assert reason.count("\n") == 1 and "none of these" in reason
    assert (source / "deep" / "page.jpg").exists(), "what belongs to others stays"


def test_nothing_is_done_twice_after_a_restart_but_what_has_changed(folders, restorer):
    source, out = folders
    (source / "a.png").write_bytes(picture(1))
    (source / "b.jpg").write_bytes(b"<html>")
    with Watching(source, out, restorer) as watching:
        watching.wait_for(2)
    times = [(out / name).stat().st_mtime_ns for name in ("a.png", "rejected/b.jpg")]
    with Watching(source, out, restorer) as watching:
        assert watching.wait_for(2) == [("a.png", "skipped"), ("b.jpg", "skipped")]
        assert times == [(out / name).stat().st_mtime_ns for name in ("a.png", "rejected/b.jpg")]
        (source / "a.png").write_bytes(picture(2))
        assert watching.wait_for(3)[2] == ("a.png", "restored")


def test_once_ends_when_all_is_done(folders, restorer):
    source, out = folders
    (source / "a.png").write_bytes(picture(1))
    places = storage.open_place(source), storage.open_place(out)
    watch.Watcher(*places, restorer, SETTINGS, QUICK).run(once=True)
    assert (out / "a.png").exists()


def test_results_inside_what_is_watched_are_refused(folders, restorer):
    source, _ = folders
    for first, second in (
        (source, source / "out"),
        (source, source),
        ("memory://bucket/in", "memory://bucket/in/out"),
    ):
        places = storage.open_place(first), storage.open_place(second)
        with pytest.raises(ValueError, match="outside of what is watched"):
            watch.Watcher(*places, restorer, SETTINGS)


def test_a_bucket_is_watched_by_polling_through_failures(store, proxy, restorer):
    store.put("in/a.png", picture(1))
    places = storage.open_place(store.url + "/in"), storage.open_place(store.url + "/out")
    proxy.fail("GET", "list-type=2", status=503)
    with Watching(*places, restorer) as watching:
        watching.wait_for(1)
        store.put("in/b.png", picture(2))
        store.put("in/c.png", b"<html>")
        watching.wait_for(3)
    assert store.keys("out/") == [
        "out/a.png",
        "out/b.png",
        "out/rejected/c.png",
        "out/rejected/c.png.reason.txt",
    ]
    with Watching(*places, restorer) as watching:
        assert {status for _, status in watching.wait_for(3)} == {"skipped"}
