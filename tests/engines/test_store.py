"""Models in folders: which are found, which version counts, and what is said when one is off."""

import pytest
from tiny_models import write_models

from keras_refocus.engines import contract, store


def fake_version(folder):
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"not a model")


def test_newest_version_counts_as_numbers_and_skips_the_rest(tmp_path):
    # A number of 2^63 is none, as for TensorFlow Serving.
    for name in ("2", "10", "9", ".export-x", "latest", str(2**63), "9" * 200):
        fake_version(tmp_path / "restorer" / name)
    (tmp_path / "restorer" / "11").mkdir()  # a copy that never finished
    (tmp_path / "restorer" / "README.md").write_text("card")
    assert store.newest_version(tmp_path / "restorer").name == "10"
    (tmp_path / "empty").mkdir()
    assert store.servables(tmp_path) == ["restorer"]
    assert store.servables(tmp_path / "nowhere") == []


def test_find_models_prefers_the_option_then_the_variable(tmp_path, monkeypatch):
    for name in ("option", "variable"):
        fake_version(tmp_path / name / "restorer" / "1")
    monkeypatch.setenv(store.MODELS_VARIABLE, str(tmp_path / "variable"))
    assert store.find_models(tmp_path / "option") == tmp_path / "option"
    assert store.find_models() == tmp_path / "variable"


def test_find_models_in_an_installation_and_in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.delenv(store.MODELS_VARIABLE, raising=False)
    monkeypatch.setattr(store, "__file__", str(tmp_path / "keras_refocus" / "engines" / "store.py"))
    with pytest.raises(FileNotFoundError, match="REFOCUS_MODELS"):
        store.find_models()
    fake_version(tmp_path / "saved_models" / "restorer" / "1")
    assert store.find_models() == tmp_path / "saved_models"
    fake_version(tmp_path / "keras_refocus" / "saved_models" / "restorer" / "1")
    assert store.find_models() == tmp_path / "keras_refocus" / "saved_models"


def test_find_models_names_a_wrong_folder_and_where_it_came_from(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="must exist.*the models option"):
        store.find_models(tmp_path / "missing")
    monkeypatch.setenv(store.MODELS_VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="saved_model.pb.*REFOCUS_MODELS"):
        store.find_models()


def test_only_a_version_can_be_opened(tmp_path):
    fake_version(tmp_path / "restorer" / "1")
    with pytest.raises(FileNotFoundError, match="version.*no saved_model.pb"):
        store.open_saved_model(tmp_path / "restorer")
    with pytest.raises(OSError, match="damaged or incomplete"):
        store.open_saved_model(tmp_path / "restorer" / "1")


def test_an_opened_model_is_asked_for_its_tensors(tmp_path):
    models = write_models(tmp_path)
    model = store.open_saved_model(models / "restorer" / "1", contract.RESTORED)
    assert store.tensor_names(model) == (["luminance"], ["restored"])
    with pytest.raises(ValueError, match="give 'chroma'.*outputs=.'restored'"):
        store.open_saved_model(models / "restorer" / "1", contract.CHROMA)
