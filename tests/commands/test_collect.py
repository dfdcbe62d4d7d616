"""The collect command: what it says, its status, and that the key is never shown."""

import pytest
from photo_server import PhotoServer

from keras_refocus import collect
from keras_refocus.cloud import collect as collecting

KEY = "the-access-key-of-the-tests"


@pytest.fixture
def server(monkeypatch):
    found = PhotoServer(key=KEY)
    monkeypatch.setenv("UNSPLASH_ACCESS_KEY", KEY)
    monkeypatch.setattr(collecting.collect_unsplash, "__kwdefaults__", _with(api=found.url))
    yield found
    found.close()


def _with(**changes):
    return {**collecting.collect_unsplash.__kwdefaults__, **changes}


def test_unsplash_is_collected_and_goes_on(server, tmp_path, capsys):
    command = ["unsplash", "street at night", "--count", "3", "--out", str(tmp_path), "--verbose"]
    assert collect.main(command) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 3 collected, 0 were there, 0 failed\n"
    assert "query=street+at+night" in server.asked[0]
    assert collect.main([*command[:3], "4", *command[4:]]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path}: 1 collected, 3 were there, 0 failed\n"
    assert KEY not in said.out + said.err + (tmp_path / "manifest.jsonl").read_text()


def test_photos_that_cannot_be_had_make_the_status_1(server, tmp_path, capsys):
    (tmp_path / "list.txt").write_text(f"{server.url}/picture/1\n{server.url}/picture/2\tCC0\n")
    server.failures["/picture/1"] = [b"<!DOCTYPE html>"]
    command = ["urls", str(tmp_path / "list.txt"), "--out", str(tmp_path / "out")]
    assert collect.main(command) == 1
    said = capsys.readouterr()
    assert "1 collected, 0 were there, 1 failed" in said.out and "none of these" in said.err


def test_time_until_the_next_hour_is_said_without_a_terminal(server, tmp_path, capsys, monkeypatch):
    server.remaining, server.limit = 2, 50
    clock = {"now": 0.0}

    def sleep(seconds):
        clock["now"] += seconds
        server.remaining = 50

    limit = collecting.Limit(clock=lambda: clock["now"], sleep=sleep)
    monkeypatch.setattr(
        collecting.collect_unsplash, "__kwdefaults__", _with(api=server.url, limit=limit)
    )
    assert collect.main(["unsplash", "dog", "--count", "3", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "of 3, next request in 1:00:0" in said and "all in 1:00:0" in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["unsplash", "dog", "--count", "0"], "--count must be at least 1"),
        (["urls", "gone.txt"], "gone.txt"),
        (["unsplash-lite", "gone.tsv"], "gone.tsv"),
    ],
)
def test_mistakes_are_named(command, said, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        collect.main([*command, "--out", str(tmp_path)])
    assert stop.value.code == 2 and said in capsys.readouterr().err


def test_a_missing_or_wrong_key_is_named(server, tmp_path, capsys, monkeypatch):
    for key in ("", "a-wrong-key-of-the-tests"):
        monkeypatch.setenv("UNSPLASH_ACCESS_KEY", key)
        with pytest.raises(SystemExit):
            collect.main(["unsplash", "dog", "--out", str(tmp_path)])
        said = capsys.readouterr().err
        assert "UNSPLASH_ACCESS_KEY" in said and "a-wrong-key" not in said
