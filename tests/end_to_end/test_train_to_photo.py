"""From a folder of pictures to a restored photo, by the commands alone."""

import json

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_networks import TINY_GENERATORS
from tiny_training import defocus, texture, write_pairs

from keras_refocus import evaluate, export, restore, train
from keras_refocus.engines import contract
from keras_refocus.training import restorer_job, run_folder
from keras_refocus.training.configs import RestorerConfig

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="SavedModels are written by TensorFlow"
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Small validation patches, no curves: they take longer than the training."""
    monkeypatch.setattr(restorer_job, "VALIDATION_PATCH", 32)
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs", 4)


def train_restorer(run, pairs, *arguments):
    """`refocus train restorer`; its few steps are done before TensorFlow would have traced one."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        train.main(
            [
                *("restorer", "--run", str(run), "--pairs", str(pairs), *arguments),
                *"--steps-per-epoch 2 --batch-size 2 --patch-size 32 --warmup-steps 1".split(),
                *"--validation-count 2 --workers 0".split(),
            ]
        )
    finally:
        tf.config.run_functions_eagerly(False)
    return run_folder.read_log(run / "log.csv")


def train_two_epochs(run, pairs, name):
    options = json.dumps(TINY_GENERATORS[name])
    return train_restorer(
        *(run, pairs, "--generator", name, "--generator-options", options),
        *"--epochs 2 --learning-rate 1e-2".split(),
    )


def export_and_restore(run, models, tmp_path):
    """`refocus export` and `refocus restore`: the picture before and after."""
    export.main([str(run), "--out", str(models), "--tile", "64"])
    photo = tmp_path / "photo.png"
    Image.fromarray(defocus(texture(7, 72))).save(photo)
    restore.main(
        [str(photo), "--out", str(tmp_path / "out"), "--models", str(models), "--mode", "restore"]
    )
    return np.asarray(Image.open(photo)), np.asarray(Image.open(tmp_path / "out" / "photo.png"))


def network_of(models):
    return json.loads((models / "restorer" / "1" / contract.NETWORK_FILE).read_text())["generator"]


def test_pictures_to_restored_photo_and_on_to_another_training(pairs, tmp_path, capsys):
    run, models = tmp_path / "run", tmp_path / "models"
    first, second = train_two_epochs(run, pairs, "unet")
    assert np.isfinite([first["loss"], second["loss"], second["val_psnr"]]).all()
    assert "coarse_loss" not in first
    assert "Epoch 2 of 2." in (run / "report.md").read_text()

    photo, restored = export_and_restore(run, models, tmp_path)
    assert network_of(models) == "unet"
    assert restored.shape == (72, 72, 3)
    assert (restored != photo).any()

    # The export scores like its run.
    capsys.readouterr()
    for model in (run, models / "restorer"):
        evaluate.main(["restorer", str(model), "--pairs", str(pairs)])
    scores = [text.splitlines()[1:] for text in capsys.readouterr().out.split("model: ")[1:]]
    assert scores[0] == scores[1]

    # The SavedModel says which network it is; with no learning rate it stays what it was.
    (row,) = train_restorer(
        *(tmp_path / "tuned", pairs, "--preset", "fine_tune", "--init-from"),
        *f"{models / 'restorer'} --epochs 1 --learning-rate 0 --weight-decay 0".split(),
    )
    assert row["val_psnr"] == pytest.approx(second["val_psnr"], abs=1e-2)


# What differs between networks is tested on the networks alone, every day.
@pytest.mark.slow
@pytest.mark.parametrize("name", [RestorerConfig().generator, "pyramid"])
def test_pictures_to_restored_photo_with_larger_networks(name, pairs, tmp_path):
    run, models = tmp_path / "run", tmp_path / "models"
    first, second = train_two_epochs(run, pairs, name)
    assert np.isfinite([first["loss"], second["loss"], second["val_psnr"]]).all()
    # Results at coarser scales are learned from too.
    assert ("coarse_loss" in first) == (name == "pyramid")
    photo, restored = export_and_restore(run, models, tmp_path)
    assert network_of(models) == name
    assert (restored != photo).any()
