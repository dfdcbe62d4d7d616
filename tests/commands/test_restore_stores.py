"""The restore command over stores: from bucket to bucket, again, with faults, and killed."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from object_store import SECRET, proxy, s3_server, store  # noqa: F401
from PIL import Image
from tiny_models import write_models
from tiny_pictures import encoded, scene

from keras_refocus import restore
from keras_refocus.cloud import retries
from keras_refocus.restoration import reports


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def bucket(store, monkeypatch):  # noqa: F811
    monkeypatch.setattr(retries, "FIRST_WAIT", 0.02)
    for number in range(3):
        store.put(f"in/{number}.png", encoded(scene(number, height=12, width=10)))
    store.put("in/deep/3.png", encoded(scene(3, height=12, width=10)))
    return store


def run(store, *arguments):  # noqa: F811
    given = [f"{store.url}/in", "--out", f"{store.url}/out", *map(str, arguments)]
    return restore.main(given)


def test_from_bucket_to_bucket_and_again(bucket, models, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--models", models, "--recursive", "--report", report, "--verbose"]
    assert run(bucket, *options) == 0
    said = capsys.readouterr()
    assert said.out.split() == [f"{bucket.url}/out/{n}.png" for n in ("0", "1", "2", "deep/3")]
    found = json.loads(report.read_text())
    assert found["finished"] and len(found["files"]) == 4
    assert run(bucket, "--models", models, "--recursive") == 1
    assert capsys.readouterr().err.count("never replaced unasked") == 4
    bucket.put("in/1.png", encoded(scene(9)))
    assert run(bucket, *options, "--skip-done") == 0
    again = capsys.readouterr()
    assert again.out.split() == [f"{bucket.url}/out/1.png"] and "3 were done before" in again.err
    assert len(json.loads(report.read_text())["files"]) == 4
    assert (gone := f"{bucket.url}/in/0.png") in report.read_text()
    bucket.client.delete_object(Bucket=bucket.bucket, Key="in/0.png")
    assert run(bucket, *options, "--skip-done") == 0
    inputs = [record["input"] for record in json.loads(report.read_text())["files"]]
    assert len(inputs) == 4 and gone in inputs, "what an earlier run did is not forgotten"
    assert SECRET not in said.out + said.err + again.out + again.err + report.read_text()


def test_folders_of_this_machine_and_pictures_of_the_web_go_with_stores(bucket, models, tmp_path):
    assert restore.main([f"{bucket.url}/in", "--out", str(tmp_path), "--models", str(models)]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["0.png", "1.png", "2.png"]
    given = [str(tmp_path / "0.png"), f"{bucket.address}/{bucket.bucket}/in/1.png?signature=abc"]
    out = ["--out", f"{bucket.url}/mixed", "--models", str(models)]
    bucket.client.put_bucket_acl(Bucket=bucket.bucket, ACL="public-read")
    bucket.client.put_object_acl(Bucket=bucket.bucket, Key="in/1.png", ACL="public-read")
    assert restore.main([*given, *out]) == 0
    assert bucket.keys("mixed/") == ["mixed/0.png", "mixed/1.png"]


def test_what_is_no_picture_is_counted_and_named(bucket, models, capsys):
    for number in range(12):
        bucket.put(f"in/{number:02}.txt", b"x")
    bucket.put("in/.hidden", b"x")
    assert run(bucket, "--models", models) == 0
    said = capsys.readouterr().err
    assert f"passed by 12, no pictures by their names: {bucket.url}/in/00.txt, " in said
    assert "and 2 more" in said and ".hidden" not in said


def test_a_report_that_cannot_be_written_ends_no_work(
    bucket, models, tmp_path, capsys, monkeypatch
):
    def full(self, record):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reports.Report, "add", full)
    assert run(bucket, "--models", models, "--report", tmp_path / "report.json") == 1
    said = capsys.readouterr()
    assert len(said.out.split()) == 3
    assert "the report lacks something: [Errno 28] No space" in said.err


def test_before_and_after_beside_each_other(bucket, models, tmp_path, capsys):
    report = tmp_path / "report.json"
    options = ["--models", models, "--compare"]
    assert run(bucket, *options, "--report", report) == 0
    names = [f"out/{n}{end}.png" for n in range(3) for end in ("", "_compare")]
    assert bucket.keys("out/") == names
    result, beside = (image_of(bucket.get(f"out/1{end}.png")) for end in ("", "_compare"))
    np.testing.assert_array_equal(beside[:, :10], image_of(bucket.get("in/1.png")))
    np.testing.assert_array_equal(beside[:, -10:], result)
    assert json.loads(report.read_text())["files"][1]["compare"].endswith("/out/1_compare.png")
    bucket.client.delete_object(Bucket=bucket.bucket, Key="out/1.png")
    assert run(bucket, *options) == 1
    assert f"'{bucket.url}/out/1_compare.png'" in capsys.readouterr().err
    assert run(bucket, *options, "--skip-done") == 0
    assert capsys.readouterr().out.split() == [f"{bucket.url}/out/1.png"]
    assert run(bucket, *options[:2], "--skip-done") == 0
    assert len(capsys.readouterr().out.split()) == 3, "other options"


def image_of(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def test_a_name_of_before_and_after_that_another_result_has_is_refused(bucket, models, capsys):
    bucket.put("in/1_compare.png", bucket.get("in/1.png"))
    with pytest.raises(SystemExit):
        run(bucket, "--models", models, "--compare")
    assert "needs a name of its own" in capsys.readouterr().err


def test_a_picture_that_fails_is_named_and_the_others_are_done(bucket, proxy, models, capsys):  # noqa: F811
    bucket.put("in/2.png", b"<html>")
    proxy.fail("GET", "/in/0.png", cut=True)
    proxy.fail("GET", "/in/1.png", times=99, status=403)
    assert run(bucket, "--models", models) == 1
    said = capsys.readouterr()
    assert said.out.split() == [f"{bucket.url}/out/0.png"]
    assert f"{bucket.url}/in/1.png: " in said.err and f"{bucket.url}/in/2.png: " in said.err
    assert "1 done, 2 failed" in said.err and SECRET not in said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["s3://bucket/in"], "add --out"),
        (["ftp://host/a.png", "--out", "x"], "must begin with"),
        (["s3://bucket/in", "-", "--out", "x"], "neither with --hints nor with -"),
        (["s3://bucket/in", "--out", "x", "--report", "s3://b/r.json"], "of this machine"),
    ],
)
def test_mistakes_are_named_before_anything_is_asked(arguments, said, capsys):
    with pytest.raises(SystemExit):
        restore.main(arguments)
    assert said in capsys.readouterr().err


def test_a_place_for_results_that_replaces_pictures_is_refused(bucket, models, capsys):
    given = [f"{bucket.url}/in", "--models", str(models), "--out"]
    for out, said in ((f"{bucket.url}/in", "must not replace"),):
        with pytest.raises(SystemExit):
            restore.main([*given, out])
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        restore.main([f"{bucket.url}/nothing", *given[1:], f"{bucket.url}/out"])
    assert "at least one picture" in capsys.readouterr().err
    # Below the pictures is allowed: what lies there is not restored once more.
    for _ in range(2):
        out = [f"{bucket.url}/in/restored", "--recursive", "--skip-done"]
        assert restore.main([*given, *out]) == 0
    assert len(bucket.keys("in/restored/")) == 4


def test_models_may_lie_in_a_store(bucket, models, tmp_path, monkeypatch):
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))
    for path in models.rglob("*"):
        if path.is_file():
            bucket.put(f"models/{path.relative_to(models).as_posix()}", path.read_bytes())
    assert run(bucket, "--models", f"{bucket.url}/models") == 0
    assert len(bucket.keys("out/")) == 3


@pytest.mark.slow
def test_a_job_killed_in_the_middle_goes_on_and_nothing_is_lost_or_torn(bucket, models):
    for number in range(200):
        bucket.put(f"in/many/{number:03}.png", encoded(scene(number, height=12, width=10)))
    command = [sys.executable, "-m", "keras_refocus", "restore", f"{bucket.url}/in/many"]
    command += ["--out", f"{bucket.url}/out", "--skip-done", "--models", str(models)]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with contextlib.closing(first.stdout) as told:
        for _ in range(60):
            told.readline()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    done = {key: bucket.head(key)["LastModified"] for key in bucket.keys("out/")}
    assert 60 <= len(done) < 200
    time.sleep(1.1)  # S3 tells whole seconds
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert f"{len(done)} were done before" in second.stderr
    keys = bucket.keys("out/")
    assert keys == [f"out/{number:03}.png" for number in range(200)]
    assert all(bucket.head(key)["LastModified"] == when for key, when in done.items())
    third = subprocess.run([*command[:-2], "--models", str(models)], capture_output=True, text=True)
    assert third.stdout == "" and "200 were done before" in third.stderr
    assert SECRET not in second.stdout + second.stderr + third.stderr
