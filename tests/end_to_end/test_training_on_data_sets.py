"""Both stages trained on data sets by name: `refocus train ... --data NAME`."""

import json
import re

import keras
import numpy as np
import pytest
import tiny_data_sets
from keras import ops
from tiny_networks import each
from tiny_training import GENERATOR, save, texture, without_tracing

from keras_refocus import train
from keras_refocus.training import colorizer_job, keeper, restorer_job, run_folder

ALIKE = "--batch-size 2 --steps-per-epoch 3 --warmup-steps 1 --workers 1 --validation-count 2"
STAGES = {
    "restorer": (
        "deblur_pairs/folder",
        [
            *("--generator", "unet", "--generator-options", json.dumps(GENERATOR)),
            *("--patch-size", "32", "--epochs", "2"),
        ],
    ),
    "colorizer": (
        "coco_lab/small",
        [
            *("--generator", "resnet_colorizer", "--patch-size", "16", "--epochs", "2"),
            *("--generator-options", json.dumps({"filters": 2, "residual_blocks": 1})),
            *("--adversarial-epochs", "0", "--final-epochs", "0", "--rebalance", "0.5"),
            *("--color-losses", json.dumps({"color_aware": 1.0})),
        ],
    ),
}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return tiny_data_sets.prepare(tmp_path_factory.mktemp("data"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(restorer_job, "VALIDATION_PATCH", 32)
    monkeypatch.setattr(colorizer_job, "VALIDATION_SIZE", 32)
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())


def run(stage, *arguments):
    # Few steps are done before TensorFlow would have traced one.
    with without_tracing():
        train.main([stage, *map(str, arguments)])


def weights(folder):
    model = keras.saving.load_model(folder / run_folder.AVERAGED, compile=False)
    return [ops.convert_to_numpy(value) for value in model.weights]


@pytest.mark.parametrize("stage", each(STAGES, slow={"colorizer"}))
def test_a_data_set_by_name_feeds_training_and_resumes_exactly(
    stage, data_dir, tmp_path, monkeypatch
):
    name, options = STAGES[stage]
    given = ["--data", name, "--data-dir", data_dir, *ALIKE.split(), *options]
    run(stage, "--run", tmp_path / "straight", *given)

    stopping = pytest.MonkeyPatch()
    steps = []

    def stop(keeper, batch, logs=None):
        steps.append(batch)
        if len(steps) == 4:  # In the second epoch.
            raise KeyboardInterrupt

    stopping.setattr(keeper.RunKeeper, "on_train_batch_end", stop)
    with pytest.raises(SystemExit):
        run(stage, "--run", tmp_path / "stopped", *given)
    stopping.undo()
    run(stage, "--run", tmp_path / "stopped", "--resume", "--workers", 2)
    straight, resumed = (weights(tmp_path / folder) for folder in ("straight", "stopped"))
    for left, right in zip(straight, resumed, strict=True):
        np.testing.assert_array_equal(left, right)

    record = run_folder.read_record(tmp_path / "straight")["data"]
    assert record["data"] == name and record["data_dir"] == str(data_dir)
    assert "/".join((record["data_set"]["name"], record["data_set"]["config"])) == name
    assert record["data_set"]["version"] == "1.0.0"
    assert record["training_pictures"] == record["data_set"]["examples"]["train"] >= 12
    manifest = (tmp_path / "straight" / run_folder.MANIFEST).read_text()
    assert "dataset_info.json" in manifest

    # A set that was built again of other pictures is not what the run began with.
    monkeypatch.setattr("keras_refocus.data.prepared.PreparedSet.manifest", lambda self: "other")
    with pytest.raises(SystemExit):
        run(stage, "--run", tmp_path / "stopped", "--resume")


def test_other_pictures_can_validate(data_dir, tmp_path):
    for index in range(3):
        save(tmp_path / "photos" / f"{index}.png", texture(index))
    name, options = STAGES["restorer"]
    given = ["--data", name, "--data-dir", data_dir, *ALIKE.split(), *options, "--epochs", 1]
    run("restorer", "--run", tmp_path / "run", *given, "--validation-photos", tmp_path / "photos")
    record = run_folder.read_record(tmp_path / "run")
    assert record["validation"]["pictures"] == 2 and record["data"]["files"] == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["restorer", "--data", "hide"], "tfds build tfds_builders/hide --data_dir"),
        (["restorer", "--data", "coco_lab/small"], "blurred and sharp. Received: 'coco_lab/small'"),
        (["colorizer", "--data", "deblur_pairs/folder"], "train the other stage"),
        (["restorer", "--data", "hide", "--photos", "p"], "data='hide' and photos"),
        (["restorer", "--photos", "p"], "Name the data set with --data"),
        (["colorizer"], "prepared data set with --data"),
    ],
)
def test_mistakes_are_said(arguments, message, data_dir, tmp_path, capsys):
    with pytest.raises(SystemExit) as status:
        place = [] if arguments == ["colorizer"] else ["--data-dir", data_dir]
        run(*arguments, *place, "--run", tmp_path / "run")
    assert status.value.code == 2
    assert re.search(message, capsys.readouterr().err)
