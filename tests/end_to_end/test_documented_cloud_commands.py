"""The commands that docs/cloud.md prints, run as printed and in their order against stand-ins."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from object_store import free_port, running, s3_server, store  # noqa: F401
from photo_server import PhotoServer
from tiny_models import write_models
from tiny_pictures import encoded, scene

from keras_refocus import __main__ as command
from keras_refocus.benchmarks import cloud as benchmark
from keras_refocus.cloud import collect

DOCUMENT = Path(__file__).parents[2] / "docs" / "cloud.md"
KEY = "the-access-key-of-the-tests"


def documented():
    """Every command of the document, in its order, without its comment."""
    text = DOCUMENT.read_text("utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S))
    inline = re.findall(r"`((?:[A-Z_]+=\S+ )?refocus [a-z]+ [^`]*)`", text)
    lines = [line for line in blocks.splitlines() if re.match(r"([A-Z_]+=\S+ )?refocus ", line)]
    # In the prose some are named with `IN` and `OUT` only.
    complete = [line for line in inline if "://" in line]
    # Those of blocks first: what the table names they do before.
    return list(dict.fromkeys(lines + complete))


# What needs another machine, and what is a measurement.
NOT_HERE = ("--runner dataflow", "refocus benchmark")


@pytest.fixture
def world(tmp_path, monkeypatch, store):  # noqa: F811
    """What the reader has: photos, buckets, models, a key, a service for jobs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))
    models = write_models(tmp_path / "saved_models")
    monkeypatch.setenv("REFOCUS_MODELS", str(models))
    for name in ("bucket", "raw", "prepared", "models"):
        store.client.create_bucket(Bucket=name)
    photos = [encoded(scene(number, height=520, width=640)) for number in range(3)]
    for number, photo in enumerate(photos):
        for folder in ("in", "incoming"):
            store.client.put_object(Bucket="bucket", Key=f"{folder}/{number}.png", Body=photo)
        for folder in ("photos", "incoming"):
            Path(folder).mkdir(exist_ok=True)
            Path(folder, f"{folder}{number}.png").write_bytes(photo)
    for path in models.rglob("*"):
        if path.is_file():
            key = f"models/{path.relative_to(models).as_posix()}"
            store.client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
    Path("photo.jpg").write_bytes(encoded(scene(9), "JPEG"))
    server = PhotoServer(key=KEY, photos=400)
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", KEY)
    defaults = {**collect.collect_unsplash.__kwdefaults__, "api": server.url}
    monkeypatch.setattr(collect.collect_unsplash, "__kwdefaults__", defaults)
    Path("list.txt").write_text(f"{server.url}/picture/1\n# of mine\n{server.url}/picture/2\tCC0\n")
    columns = ("photo_id", "photo_url", "photo_image_url")
    row = ("id1", "https://unsplash.com/photos/id1", f"{server.url}/picture/7")
    Path("photos.tsv000").write_text("".join("\t".join(line) + "\n" for line in (columns, row)))
    yield server
    server.close()


def test_every_command_is_known_and_its_options_are():
    lines = documented()
    verbs = {re.search(r"refocus (\w+)", line).group(1) for line in lines}
    assert verbs == {
        *("restore", "curate", "evaluate", "watch", "collect", "batch", "export", "benchmark")
    }
    for line in lines:
        if "refocus benchmark cloud" in line:
            benchmark._parser().parse_args(shlex.split(line, comments=True)[3:])


@pytest.mark.slow
def test_the_commands_run_as_printed(world, monkeypatch, capsys):
    port = free_port()
    service = ["-m", "apache_beam.runners.portability.local_job_service_main", "--port", str(port)]
    stands_for = {
        "https://host/photo.jpg": f"{world.url}/picture/3",
        "--flink_master=host:8081": f"--job_endpoint=127.0.0.1:{port}",
        "--job_endpoint=host:8099": f"--job_endpoint=127.0.0.1:{port}",
    }
    with running([sys.executable, *service], port):
        for line in documented():
            if any(part in line for part in NOT_HERE):
                continue
            words = [stands_for.get(word, word) for word in shlex.split(line, comments=True)]
            with monkeypatch.context() as variables:
                while "=" in words[0]:
                    variables.setenv(*words.pop(0).split("=", 1))
                assert words.pop(0) == "refocus"
                if words[0] == "watch" and "--once" not in words:
                    words.append("--once")  # or it would watch until it is stopped
                    words += ["--settle", "0.1"]
                status = command.main(words)
            said = capsys.readouterr()
            assert not status, f"{line}\n{said.out}\n{said.err}"
            assert KEY not in said.out + said.err
            assert os.environ["AWS_SECRET_ACCESS_KEY"] not in said.out + said.err
    assert {path.name for path in Path("restored").glob("incoming*")} == {
        f"incoming{number}.png" for number in range(3)
    }
    assert Path("model.tar.gz").exists()
