"""What tests of the page share: where the pictures of visitors are kept."""

import tempfile

import pytest

from keras_refocus.page import sessions


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with sessions.Sessions() as kept:
        yield kept


@pytest.fixture
def session(kept):
    return kept.of("a")
