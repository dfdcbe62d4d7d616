"""Pictures restored from place to place: what is done, what is skipped, what fails and how."""

import threading

import numpy as np
import pytest
from PIL import Image
from tiny_pictures import encoded, scene

from keras_refocus.cloud import restoring, storage
from keras_refocus.restoration import pipeline

PLAIN = restoring.Settings()


def tasks_of(source, out, settings=PLAIN):
    return [
        restoring.Task(source=source, entry=entry, out=out, target=settings.target(entry.name))
        for entry in sorted(source.entries(), key=lambda entry: entry.name)
    ]


@pytest.fixture
def places(tmp_path):
    source, out = (storage.LocalFolder(tmp_path / name) for name in ("in", "out"))
    for number in range(3):
        source.write(f"{number}.png", encoded(scene(number, height=12, width=10)))
    return source, out


def run(places, restorer, settings=PLAIN, **options):
    tasks = tasks_of(*places, settings)
    return list(restoring.restore_all(tasks, restorer, settings, **options))


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


def test_results_are_those_of_the_pipeline_with_sums(places, restorer):
    source, out = places
    outcomes = run(places, restorer)
    assert statuses(outcomes) == ["restored"] * 3
    expected = restorer.restore(scene(1, height=12, width=10)).image
    np.testing.assert_array_equal(np.asarray(Image.open(out.path / "1.png")), expected)
    record = outcomes[1].record
    assert record["input_sha256"] == storage.sha256(source.read("1.png"))
    assert record["output_sha256"] == storage.sha256(out.read("1.png"))
    assert record["model_versions"] == {"restorer": "1"} and record["height"] == 12


def test_what_is_done_is_left_until_source_or_settings_change(places, restorer):
    source, out = places
    first = run(places, restorer, skip_done=True)
    again = run(places, restorer, skip_done=True)
    assert statuses(again) == ["skipped"] * 3
    assert [outcome.record for outcome in again] == [outcome.record for outcome in first]
    source.write("1.png", encoded(scene(9, height=12, width=10)))
    out.delete("2.png")
    assert statuses(run(places, restorer, skip_done=True)) == ["skipped", "restored", "restored"]
    softer = restoring.Settings(options=pipeline.RestoreOptions(strength=0.5))
    assert statuses(run(places, restorer, softer, skip_done=True)) == ["restored"] * 3


def test_results_of_others_are_not_taken_for_done(places, restorer):
    places[1].write("0.png", b"of somebody else")
    assert statuses(run(places, restorer, skip_done=True)) == ["restored"] * 3


def test_results_are_not_replaced_unasked(places, restorer):
    run(places, restorer)
    outcomes = run(places, restorer, overwrite=False)
    assert statuses(outcomes) == ["failed"] * 3
    assert "never replaced unasked" in outcomes[0].reason and "0.png" in outcomes[0].reason


def test_one_damaged_picture_is_named_and_the_others_are_done(places, restorer):
    source, out = places
    source.write("1.png", b"<html>no picture</html>")
    outcomes = run(places, restorer)
    assert statuses(outcomes) == ["restored", "failed", "restored"]
    assert "1.png" in outcomes[1].reason and not outcomes[1].temporary
    assert out.entry("1.png") is None


def test_the_form_of_results(restorer):
    settings = restoring.Settings()
    assert settings.target("a/b.JPG") == "a/b.JPG"
    assert settings.target("a/b.heic") == "a/b.png"
    assert restoring.Settings(format="WebP").target("a/b.JPG") == "a/b.webp"


class Counting(storage.LocalFolder):
    """Counts the pictures that are read and not yet written."""

    def __init__(self, path, counter):
        super().__init__(path)
        self.counter, self.lock = counter, threading.Lock()

    def read(self, name):
        with self.lock:
            self.counter["now"] += 1
            self.counter["most"] = max(self.counter["most"], self.counter["now"])
        return super().read(name)

    def write(self, name, content, note=None):
        super().write(name, content, note)
        with self.lock:
            self.counter["now"] -= 1


def test_no_more_are_in_work_than_asked_and_the_listing_is_taken_as_needed(tmp_path, restorer):
    counter = {"now": 0, "most": 0}
    source = Counting(tmp_path / "in", counter)
    out = Counting(tmp_path / "out", counter)
    for number in range(12):
        storage.LocalFolder(source.path).write(f"{number:02}.png", encoded(scene(1)))
    taken = []

    def listed():
        for task in tasks_of(source, out):
            taken.append(task)
            yield task

    done = 0
    for _ in restoring.restore_all(listed(), restorer, restoring.Settings(), in_flight=3):
        done += 1
        assert len(taken) - done <= 3
    assert done == 12 and 1 < counter["most"] <= 3


def test_from_bucket_to_bucket_with_faults_between(store, proxy, restorer):
    other = store.new()
    for number in range(4):
        store.put(f"in/{number}.png", encoded(scene(number, height=12, width=10)))
    places = storage.open_place(store.url + "/in"), storage.open_place(other.url)
    proxy.fail("GET", r"in/1\.png", cut=True)
    proxy.fail("PUT", r"2\.png", status=503)
    proxy.fail("GET", r"in/3\.png", times=99, status=500)
    outcomes = run(places, restorer, skip_done=True, in_flight=4)
    assert statuses(outcomes) == ["restored"] * 3 + ["failed"]
    assert outcomes[3].temporary and "in/3.png" in outcomes[3].reason
    proxy.faults.clear()
    proxy.requests.clear()
    assert statuses(run(places, restorer, skip_done=True)) == ["skipped"] * 3 + ["restored"]
    read = [path for method, path in proxy.requests if method == "GET" and "list-type" not in path]
    assert len(read) == 1, "what is done is not read"
    expected = storage.sha256(other.get("3.png"))
    assert run(places, restorer, skip_done=True)[3].record["output_sha256"] == expected
