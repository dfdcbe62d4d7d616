"""What a visitor waits for: every figure is measured, and nothing is left."""

import json
import os
import tempfile

import pytest
import tiny_models

from keras_refocus.benchmarks import page


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tiny_models.write_models(tmp_path_factory.mktemp("models"))


def test_every_wait_is_measured(models, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    options = ("--models", str(models), "--runs", "1")
    page.main(["--megapixels", "0.01", "0.6", *options, "--json"])
    told = json.loads(capsys.readouterr().out)["photos"]
    assert [round(row["megapixels"], 2) for row in told] == [0.01, 0.6]
    for row in told:
        names = "screen preview closeup download hint reading region".split()
        assert all(row[name] > 0 for name in names)
    page.main(["--megapixels", "0.01", *options])
    assert "| megapixels | strength, on the screen |" in capsys.readouterr().out
    assert not any(files for _, _, files in os.walk(tmp_path))


def test_nonsense_is_refused(models, capsys):
    with pytest.raises(SystemExit):
        page.main(["--megapixels", "0", "--models", str(models)])
    assert "above 0" in capsys.readouterr().err
