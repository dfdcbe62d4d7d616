"""The watch command: once, and until it is interrupted."""

import logging
import os
import signal
import threading
import time

import pytest
from object_store import SECRET, proxy, s3_server, store  # noqa: F401
from tiny_models import write_models
from tiny_pictures import encoded, scene

from keras_refocus import watch


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return str(write_models(tmp_path_factory.mktemp("models")))


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(encoded(scene(1, height=12, width=10)))
    return tmp_path / "in", tmp_path / "out"


def run(folders, models, *options):
    source, out = map(str, folders)
    return watch.main([source, "--out", out, "--models", models, "--settle", "0.2", *options])


def test_once_does_what_is_there(folders, models, capsys):
    source, out = folders
    (source / "page.png").write_bytes(b"<html>")
    assert run(folders, models, "--once", "--format", "JPEG") == 0
    said = capsys.readouterr()
    assert said.out == f"{out / 'a.jpg'}\n" and f"{source / 'page.png'}: " in said.err
    assert (out / "rejected" / "page.png.reason.txt").exists()
    assert run(folders, models, "--once", "--format", "JPEG") == 0
    assert capsys.readouterr().out == ""


def test_an_interrupt_ends_it_after_the_picture_in_work(folders, models, capsys):
    def interrupt():
        until = time.monotonic() + 60
        while not (folders[1] / "a.png").exists() and time.monotonic() < until:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt).start()
    assert run(folders, models) == 0
    said = capsys.readouterr()
    assert said.out == f"{folders[1] / 'a.png'}\n" and "ending after the picture" in said.err
    assert signal.getsignal(signal.SIGINT) == before


def test_no_secret_is_told_whatever_the_store_answers(store, proxy, models, capfd, caplog):  # noqa: F811
    for name, content in (("a", encoded(scene(1))), ("b", encoded(scene(2))), ("c", b"<html>")):
        store.put(f"in/{name}.png", content)
    proxy.fail("GET", "list-type=2", status=503)
    proxy.fail("GET", "in/a.png", times=99, status=403)
    proxy.fail("GET", "in/b.png", cut=True)
    caplog.set_level(logging.DEBUG, logger="keras_refocus")
    command = [f"{store.url}/in", "--out", f"{store.url}/out", "--models", models, "--verbose"]
    assert watch.main([*command, "--once", "--settle", "0.2"]) == 0
    said = capfd.readouterr()
    assert "in/a.png" in said.err and "in/c.png" in said.err and "out/b.png" in said.out
    reasons = [store.get(key).decode() for key in store.keys("out/") if key.endswith(".txt")]
    assert len(reasons) == 2
    for text in (said.out, said.err, caplog.text, *reasons):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--out", "in/out"], "outside of what is watched"),
        (["--out", "out", "--poll", "0"], "above 0"),
        (["--out", "ftp://host/a"], "must begin with"),
        (["--out", "out", "--strength", "2"], "strength"),
    ],
)
def test_mistakes_are_named(folders, monkeypatch, options, said, capsys):
    monkeypatch.chdir(folders[0].parent)
    with pytest.raises(SystemExit) as stop:
        watch.main(["in", *options])
    assert stop.value.code == 2 and said in capsys.readouterr().err
