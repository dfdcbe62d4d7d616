"""The page as it is laid out: what it refuses to be built with, and its examples."""

import json

import pytest

from keras_refocus.page import layout, sessions, words
from keras_refocus.pictures import images


def test_uploads_must_go_to_the_private_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "elsewhere"))
    with sessions.Sessions() as kept, pytest.raises(RuntimeError, match="GRADIO_TEMP_DIR"):
        layout.build_app(None, kept)


def test_examples_are_pictures_with_a_title_and_a_credit():
    entries = json.loads((layout.EXAMPLES / "examples.json").read_text(encoding="utf-8"))
    assert len(entries) >= 4
    for entry in entries:
        assert images.read(layout.EXAMPLES / entry["file"]).width >= 300
        assert {entry["title"], entry["about"]} <= words.SCRIPTS.keys()
        assert "CC0" in entry["credit"] or "public domain" in entry["credit"]
