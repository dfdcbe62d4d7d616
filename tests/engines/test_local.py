"""The engine in this process: which version runs, and what is said when something is off."""

import os
import pickle
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
import stand_in_models
from tiny_models import write_models

from keras_refocus.engines import store
from keras_refocus.engines.local import LocalEngine


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def test_results_are_those_of_the_models(models):
    engine = LocalEngine(models)
    tiles = np.random.default_rng(0).random((2, 3, 5, 1), np.float32)
    np.testing.assert_allclose(engine.restore(tiles), tiles / 2, atol=1e-6)
    np.testing.assert_allclose(engine.restore(tiles, model="restorer_gan"), tiles, atol=1e-6)
    chroma = engine.colorize(tiles)
    assert chroma.shape == (2, 3, 5, 2)
    np.testing.assert_allclose(chroma, tiles * [0.25, -0.125], atol=1e-6)
    assert engine.versions() == {"colorizer": "2", "restorer": "1", "restorer_gan": "3"}


def test_a_loaded_version_stays_until_the_engine_is_closed(models, tmp_path):
    shutil.copytree(models / "restorer", tmp_path / "restorer")
    engine = LocalEngine(tmp_path)
    tile = np.ones((1, 1, 1, 1), np.float32)
    engine.restore(tile)
    stand_in_models.export_restorer(tmp_path / "restorer" / "2", gain=0.75)
    assert engine.versions() == {"restorer": "1"}
    assert engine.restore(tile).item() == pytest.approx(0.5)
    engine.close()
    assert engine.versions() == {"restorer": "2"}
    assert engine.restore(tile).item() == pytest.approx(0.75)


def test_only_what_is_needed_is_loaded(models, monkeypatch):
    loaded = []
    load = store.open_saved_model
    monkeypatch.setattr(
        store, "open_saved_model", lambda folder: loaded.append(folder.parts[-2]) or load(folder)
    )
    engine = LocalEngine(models)
    assert loaded == []
    engine.restore(np.zeros((1, 2, 2, 1), np.float32))
    engine.restore(np.zeros((1, 3, 2, 1), np.float32))
    assert loaded == ["restorer"]


def test_a_missing_model_is_named_with_the_nearest(models):
    with pytest.raises(FileNotFoundError, match="Did you mean 'restorer_gan'"):
        LocalEngine(models).restore(np.zeros((1, 2, 2, 1), np.float32), model="restorer_gam")


def test_a_missing_colorizer_says_what_still_works(models, tmp_path):
    shutil.copytree(models / "restorer", tmp_path / "restorer")
    with pytest.raises(FileNotFoundError, match="mode 'restore' works"):
        LocalEngine(tmp_path).colorize(np.zeros((1, 2, 2, 1), np.float32))


def test_a_damaged_model_is_named(tmp_path):
    folder = tmp_path / "restorer" / "1"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"not a model")
    with pytest.raises(OSError, match="damaged or incomplete"):
        LocalEngine(tmp_path).restore(np.zeros((1, 2, 2, 1), np.float32))


def test_a_model_that_speaks_another_contract_is_refused(models, tmp_path):
    shutil.copytree(models / "colorizer", tmp_path / "restorer")
    with pytest.raises(ValueError, match="give 'restored'.*outputs=\\['chroma'\\]"):
        LocalEngine(tmp_path).restore(np.zeros((1, 2, 2, 1), np.float32))


@pytest.mark.parametrize("shape", [(2, 2, 1), (1, 2, 2, 3), (0, 2, 2, 1)])
def test_wrong_shapes_are_refused(models, shape):
    with pytest.raises(ValueError, match="images, height, width, 1"):
        LocalEngine(models).restore(np.zeros(shape, np.float32))


def test_settings_out_of_range_are_refused(models):
    with pytest.raises(ValueError, match="threads=0"):
        LocalEngine(models, threads=0)
    with pytest.raises(ValueError, match="batch_size=0"):
        LocalEngine(models, batch_size=0)


def test_threads_must_be_chosen_before_tensorflow_computes(models):
    LocalEngine(models).restore(np.zeros((1, 2, 2, 1), np.float32))
    with pytest.raises(RuntimeError, match="threads=63"):
        LocalEngine(models, threads=63).restore(np.zeros((1, 2, 2, 1), np.float32))


def test_tensorflow_is_imported_with_the_first_model_and_threads_are_set(models):
    program = f"""
import sys
import numpy as np
from keras_refocus.engines.local import LocalEngine
engine = LocalEngine({str(models)!r}, threads=3)
engine.versions()
assert "tensorflow" not in sys.modules
engine.restore(np.zeros((1, 2, 2, 1), np.float32))
import tensorflow as tf
import cv2
print(tf.config.threading.get_intra_op_parallelism_threads(), cv2.getNumThreads())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "3 3", done.stderr


def test_an_engine_can_be_pickled_with_its_settings(models):
    engine = LocalEngine(models, batch_size=3)
    engine.restore(np.zeros((1, 4, 4, 1), np.float32))
    copy = pickle.loads(pickle.dumps(engine))
    assert (copy.models_dir, copy.batch_size) == (engine.models_dir, 3)
    tiles = np.full((1, 4, 4, 1), 0.4, np.float32)
    np.testing.assert_array_equal(copy.restore(tiles), engine.restore(tiles))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_a_process_forked_after_models_ran_is_told_what_to_do(models):
    engine = LocalEngine(models)
    engine.restore(np.zeros((1, 4, 4, 1), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks beside threads, as we do.
        process = os.fork()
    if process == 0:
        status = 1
        try:
            engine.restore(np.zeros((1, 4, 4, 1), np.float32))
        except RuntimeError as error:
            status = 0 if "spawn" in str(error) else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
