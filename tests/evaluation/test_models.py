import keras
import numpy as np
import pytest

from keras_refocus.evaluation import models


def brighter_model():
    inputs = keras.Input((None, None, 1))
    return keras.Model(inputs, keras.layers.Rescaling(1.0, offset=0.25)(inputs))


def test_models_load_from_a_file_and_from_a_run(tmp_path):
    brighter_model().save(tmp_path / "averaged.keras")
    keras.Sequential([keras.Input((None, None, 1)), keras.layers.Identity()]).save(
        tmp_path / "best.keras"
    )
    luminance = np.random.default_rng(0).random((1, 5, 7, 1), np.float32)
    for path in (tmp_path, tmp_path / "averaged.keras"):
        restore, file = models.load_restorer(path)
        np.testing.assert_allclose(restore(luminance), luminance + 0.25, atol=1e-6)
        assert file == tmp_path / "averaged.keras"
        assert restore.parameters == 0
    restore, _ = models.load_restorer(tmp_path, best=True)
    np.testing.assert_array_equal(restore(luminance), luminance)


def test_saved_models_load_by_version_and_by_name(tmp_path):
    from keras_refocus.deployment import saved_model

    version = saved_model.export_restorer(brighter_model(), tmp_path / "restorer", version=3)
    luminance = 0.5 * np.random.default_rng(0).random((1, 5, 7, 1), np.float32)
    for path in (tmp_path / "restorer", version):
        restore, file = models.load_restorer(path)
        np.testing.assert_allclose(restore(luminance), luminance + 0.25, atol=1e-6)
        assert file == version


def test_what_is_no_restorer_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="SavedModel folder.*nowhere"):
        models.load_restorer(tmp_path / "nowhere")
    inputs = keras.Input((None, None, 1))
    outputs = keras.layers.Concatenate()([inputs, inputs])
    keras.Model(inputs, outputs).save(tmp_path / "chroma.keras")
    with pytest.raises(ValueError, match="one channel.*2"):
        models.load_restorer(tmp_path / "chroma.keras")
