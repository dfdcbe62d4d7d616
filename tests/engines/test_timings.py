"""Seconds of a model hold for the machine and the version they were measured on."""

import os

import pytest

from keras_refocus.engines import timings
from keras_refocus.system import machine


@pytest.fixture
def version(tmp_path, monkeypatch):
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))
    version = tmp_path / "restorer" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"first")
    return version


def test_seconds_are_forgotten_with_the_machine_and_the_version(version, monkeypatch):
    assert timings.recall(version) is None
    timings.remember(version, 1.5)
    assert timings.recall(version) == 1.5
    with monkeypatch.context() as patch:
        patch.setattr(machine, "describe", lambda: "another machine")
        assert timings.recall(version) is None
    os.utime(version / "saved_model.pb", ns=(1, 1))
    assert timings.recall(version) is None


def test_a_cache_that_cannot_be_used_is_none(version, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "file"))
    timings.remember(version, 1.5)
    assert timings.recall(version) is None
