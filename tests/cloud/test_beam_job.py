"""Batches on Beam's own runner: results, manifest, failures, and a worker that is killed."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time

import psutil
import pyarrow.parquet
import pytest
from object_store import SECRET, free_port, running
from tiny_pictures import encoded, scene

from keras_refocus import batch as command_of_batches
from keras_refocus.cloud import beam_job, restoring, storage


def fill(place, count):
    for number in range(count):
        place.write(f"{number % 7}/{number:03}.png", encoded(scene(number, height=12, width=10)))


def batch(source, out, models, **options):
    return beam_job.Batch(
        source=str(source),
        out=str(out),
        settings=restoring.Settings(),
        models=str(models),
        threads=1,
        **options,
    )


def rows(out):
    return pyarrow.parquet.read_table(out / "manifest").to_pylist()


@pytest.mark.slow
def test_a_batch_its_manifest_its_failures_and_a_second_run(tmp_path, models):
    source, out = storage.LocalFolder(tmp_path / "in"), storage.LocalFolder(tmp_path / "out")
    fill(source, 6)
    source.write("page.png", b"<html>")
    work = batch(source.path, out.path, models, shards=2)
    assert beam_job.run(work) == beam_job.Summary(restored=6, skipped=0, failed=1)
    found = rows(out.path)
    assert len(found) == 6 and len(list((out.path / "manifest").iterdir())) == 2
    for row in found:
        name = os.path.relpath(row["source"], source.path)
        assert row["source_sha256"] == storage.sha256(source.read(name))
        assert row["result_sha256"] == storage.sha256(out.read(name))
        assert dict(row["model_versions"]) == {"restorer": "1"} and row["seconds"] >= 0
    (failed,) = map(json.loads, (out.path / "failed.jsonl").read_text().splitlines())
    assert failed["source"].endswith("page.png") and "none of these" in failed["reason"]
    (source.path / "page.png").unlink()
    assert beam_job.run(work) == beam_job.Summary(restored=0, skipped=6, failed=0)
    assert not (out.path / "failed.jsonl").exists()
    key = lambda row: row["source"]  # noqa: E731
    assert sorted(rows(out.path), key=key) == sorted(found, key=key)


@pytest.mark.slow
def test_no_secret_is_told_by_a_batch_or_its_workers(store, proxy, models, capfd):
    source = storage.open_place(f"{store.url}/in")
    fill(source, 2)
    store.put("in/page.png", b"<html>")
    proxy.fail("GET", "in/1/001.png", times=99, status=403)
    command = [f"{store.url}/in", "--out", f"{store.url}/out", "--models", str(models)]
    assert command_of_batches.main([*command, "--threads", "1", "--verbose"]) == 1
    said, failed = capfd.readouterr(), store.get("out/failed.jsonl").decode()
    assert "1 restored, 0 were done, 2 failed" in said.out and "001.png" in failed
    for text in (said.out, said.err, failed):
        assert SECRET not in text


@pytest.mark.slow
def test_a_worker_killed_in_the_middle_costs_no_picture(tmp_path, models):
    source, out = storage.LocalFolder(tmp_path / "in"), tmp_path / "out"
    fill(source, 200)
    killed, ended = [], threading.Event()

    def kill():
        while not ended.is_set():
            done = len(list(out.glob("*/*.png")))
            if 40 <= done < 200:
                workers = [
                    process
                    for process in psutil.Process().children(recursive=True)
                    if "sdk_worker_main" in " ".join(process.cmdline())
                    and "python" in process.name()
                ]
                if workers:
                    workers[-1].send_signal(signal.SIGKILL)
                    killed.append(done)
                    return
            time.sleep(0.02)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        summary = beam_job.run(batch(source.path, out, models), workers=2)
    finally:
        ended.set()
        killer.join()
    assert killed and summary.attempts == 2
    assert summary.restored + summary.skipped == 200 and summary.failed == 0
    results = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*.png"))
    assert results == sorted(entry.name for entry in source.entries())
    sources = [row["source"] for row in rows(out)]
    assert len(sources) == len(set(sources)) == 200


@pytest.fixture
def job_service():
    """Beam's own service for jobs, in a process of its own, as Flink and Spark have theirs."""
    port = free_port()
    service = "apache_beam.runners.portability.local_job_service_main"
    with running([sys.executable, "-m", service, "--port", str(port)], port) as address:
        yield address.removeprefix("http://")


@pytest.mark.slow
@pytest.mark.parametrize("runner", ["portable", "flink", "spark"])
def test_batches_go_over_the_service_of_jobs(tmp_path, models, job_service, runner):
    source, out = storage.LocalFolder(tmp_path / "in"), tmp_path / "out"
    fill(source, 3)
    source.write("page.png", b"<html>")
    options = [f"--job_endpoint={job_service}", "--environment_type=LOOPBACK"]
    # The workers are threads of this process, which has chosen its threads long ago.
    work = dataclasses.replace(batch(source.path, out, models), threads=None)
    summary = beam_job.run(work, runner=runner, options=options)
    assert summary == beam_job.Summary(restored=3, skipped=0, failed=1)
    assert len(rows(out)) == 3 and (out / "failed.jsonl").read_text().count("\n") == 1


def test_what_a_runner_says_is_told_in_one_line(tmp_path, models):
    (tmp_path / "in").mkdir()
    work = batch(tmp_path / "in", tmp_path / "out", models)
    options = [f"--job_endpoint=127.0.0.1:{free_port()}", "--job_server_timeout=1"]
    with pytest.raises(OSError, match="Received from the runner: .*behind --") as raised:
        beam_job.run(work, runner="portable", options=options)
    assert "\n" not in str(raised.value)


def test_wrong_options_are_refused_before_anything_runs(tmp_path):
    work = batch(tmp_path, tmp_path / "out", tmp_path)
    with pytest.raises(ValueError, match="direct, flink"):
        beam_job.run(work, runner="ray")
    with pytest.raises(ValueError, match="at least one worker"):
        beam_job.run(work, workers=0)
    with pytest.raises(ValueError, match="at least one shard"):
        batch(tmp_path, tmp_path, tmp_path, shards=0)


def test_other_runners_are_named_as_beam_knows_them():
    from apache_beam.options.pipeline_options import StandardOptions

    known = {path.rpartition(".")[2] for path in StandardOptions.ALL_KNOWN_RUNNERS}
    assert set(beam_job._RUNNER_NAMES.values()) <= known
    assert {"direct", *beam_job._RUNNER_NAMES} == set(beam_job.RUNNERS)
