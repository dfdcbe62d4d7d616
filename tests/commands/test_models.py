"""`refocus models`: what is installed, and that only what may be removed is."""

import origins
import pytest
import tiny_models

from keras_refocus import models
from keras_refocus.engines import store


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REFOCUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tiny_models.write_models(tmp_path_factory.mktemp("models"))
    origins.write_origin(folder / "restorer_gan" / "3")
    return folder


def test_models_with_size_licence_and_source(folder, capsys):
    models.main(["--models", str(folder)])
    _, heads, *rows = capsys.readouterr().out.splitlines()
    assert heads.split()[:4] == ["name", "version", "kind", "MB"]
    assert [row.split()[:3] for row in rows] == [
        ["colorizer", "2", "colorizer"],
        ["restorer", "1", "restorer"],
        ["restorer_gan", "3", "restorer"],
    ]
    assert "this project" in rows[1] and "closest to the truth" in rows[1]
    assert "unstated: none stated" in rows[2] and "DMPHN, for strong motion blur" in rows[2]


def test_times_of_restorers(folder, capsys):
    models.main(["--models", str(folder), "--time"])
    timed = capsys.readouterr().out
    _, heads, colorizer, restorer, _ = timed.splitlines()
    assert "s at 720p" in heads
    assert float(restorer.split()[4]) >= 0.0
    assert colorizer.split()[4] == "-"
    models.main(["--models", str(folder)])
    assert capsys.readouterr().out == timed  # remembered


def test_a_model_is_removed_when_it_is_named_and_one_s_own(tmp_path, capsys):
    folder = tiny_models.write_models(tmp_path / "models")
    models.main(["--models", str(folder), "--remove", "restorer_gan"])
    assert store.servables(folder) == ["colorizer", "restorer"]
    for arguments, message in (
        (["--models", str(folder), "--remove", "restorr"], "Did you mean 'restorer'"),
        (["--models", str(folder / "nothing")], "must exist"),
        (["--models", str(store.installed_models()), "--remove", "restorer"], "stay"),
    ):
        capsys.readouterr()
        with pytest.raises(SystemExit):
            models.main(arguments)
        assert message in " ".join(capsys.readouterr().err.split())
    assert store.servables(folder) == ["colorizer", "restorer"]
    assert "restorer" in store.servables(store.installed_models())
