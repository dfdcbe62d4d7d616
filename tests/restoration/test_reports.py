"""The report: whole at every moment, of one run at a time, continued where a run stopped."""

import json
import subprocess
import sys

import pytest

from keras_refocus.restoration import reports
from keras_refocus.restoration.pipeline import RestoreOptions

DONE = {"input": "a.png", "output": "out/a.png", "model_versions": {"restorer": "1"}}
FAILED = {"input": "b.png", "error": "it is damaged"}
KEYS = {"program", "models", "options", "files", "finished", "published_weights"}


def open_report(path, options=None, **settings):
    return reports.Report(
        path,
        options=options or RestoreOptions(),
        models="models",
        origins=lambda names: {name: {"licence": "MIT"} for name in names},
        **settings,
    )


def read(path):
    return json.loads(path.read_bytes())


def test_it_is_whole_at_every_moment(tmp_path):
    path = tmp_path / "deep" / "report.json"
    with open_report(path) as report:
        assert set(read(path)) == KEYS and read(path)["files"] == []
        assert read(path)["finished"] is None
        for count in range(1, 4):
            report.add(DONE if count % 2 else FAILED)
            assert len(read(path)["files"]) == count
            assert read(path)["finished"] is None
    found = read(path)
    assert found["files"] == [DONE, FAILED, DONE]
    assert found["finished"].endswith("+00:00")
    assert found["published_weights"] == {"restorer": {"licence": "MIT"}}
    assert found["options"]["strength"] == 1.0
    # As it was written before it grew: indented by two.
    assert path.read_text() == json.dumps(found, indent=2) + "\n"


def test_existing_files_are_kept_or_replaced(tmp_path):
    path = tmp_path / "report.json"
    path.write_text("x" * 10_000)
    with pytest.raises(FileExistsError, match="--overwrite"):
        open_report(path)
    assert path.read_text() == "x" * 10_000
    with open_report(path, overwrite=True) as report:
        report.add(DONE)
    assert read(path)["files"] == [DONE]


def test_the_report_of_a_run_that_was_killed_is_continued(tmp_path):
    path = tmp_path / "report.json"
    program = (
        "import os, pathlib, sys\n"
        "from keras_refocus.restoration import pipeline, reports\n"
        "report = reports.Report(pathlib.Path(sys.argv[1]), options=pipeline.RestoreOptions(),"
        " models='models', origins=lambda names: {})\n"
        f"report.add({DONE!r}); report.add({FAILED!r})\n"
        "os._exit(9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert read(path)["files"] == [DONE, FAILED] and read(path)["finished"] is None
    again = {**DONE, "input": "b.png"}
    with open_report(path, goes_on=True, anew={"b.png", "c.png"}) as report:
        assert read(path)["files"] == [DONE]
        report.add(again)
    assert read(path)["files"] == [DONE, again]
    assert read(path)["published_weights"] == {"restorer": {"licence": "MIT"}}


def test_going_on_needs_a_report_of_the_same_options(tmp_path):
    path = tmp_path / "report.json"
    open_report(path, goes_on=True).close()  # There is none: a new one.
    before = path.read_bytes()
    with pytest.raises(ValueError, match="whose strength differ"):
        open_report(path, RestoreOptions(strength=0.5), goes_on=True)
    assert path.read_bytes() == before
    for content in ("no report", "[1, 2]", '{"files": [1], "options": {}}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="which is none"):
            open_report(path, goes_on=True)
        assert path.read_text() == content


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_two_runs_cannot_write_one_report(tmp_path):
    path = tmp_path / "report.json"
    with open_report(path) as report:
        report.add(DONE)
        for settings in ({}, {"overwrite": True}, {"goes_on": True}):
            with pytest.raises(FileExistsError):
                open_report(path, **settings)
        with pytest.raises(FileExistsError, match="another run is writing"):
            open_report(path, overwrite=True)
    assert read(path)["files"] == [DONE]


def test_a_full_disk_leaves_what_was_written(tmp_path, monkeypatch):
    path = tmp_path / "report.json"
    report = open_report(path)
    report.add(DONE)
    before = path.read_bytes()

    class Full:
        """A disk on which nothing new fits: what is written beyond the end is lost."""

        def __init__(self, file):
            self.file = file

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, content):
            room = len(before) - self.file.tell()
            self.file.write(content[:room])
            if len(content) > room:
                raise OSError(28, "No space left on device")
            return len(content)

    monkeypatch.setattr(report, "_file", Full(report._file))
    with pytest.raises(OSError, match="No space"):
        report.add(FAILED)
    assert path.read_bytes() == before
    monkeypatch.undo()
    report.close()
    assert read(path)["files"] == [DONE]


def test_what_an_earlier_run_said_is_replaced_where_it_was_done_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(reports, "_BLOCK", 7)
    path = tmp_path / "report.json"
    records = [{**DONE, "input": f"{number}.png"} for number in range(5)]
    with open_report(path) as report:
        for record in records:
            report.add(record)
    # The first two, so that gaps meet at the beginning, one in the middle, and one as it was.
    others = [{"input": f"{number}.png", "error": "it, too"} for number in (0, 1, 3)]
    with open_report(path, goes_on=True) as report:
        for count, record in enumerate([*others, records[4]], 1):
            report.add(record)
            found = read(path)["files"]
            assert len(found) == 5 and found[-1] == others[min(count, 3) - 1]
    expected = [records[2], records[4], *others]
    assert read(path)["files"] == expected
    with open_report(path, goes_on=True):
        pass
    text = path.read_text()
    assert text == json.dumps(json.loads(text), indent=2) + "\n", "no gap is left"
    assert json.loads(text)["files"] == expected


def test_of_two_records_about_one_input_the_later_holds(tmp_path):
    path = tmp_path / "report.json"
    with open_report(path) as report:
        for record in (DONE, FAILED, {**DONE, "output": "later.png"}):
            report.add(record)
    with open_report(path, goes_on=True):
        pass
    found = {record["input"]: record for record in read(path)["files"]}
    assert len(read(path)["files"]) == 2 and found["a.png"]["output"] == "later.png"
