"""What is kept of each epoch, and when a run ends, on a network of one layer."""

import errno
import types

import keras
import numpy as np
import pytest
from tiny_training import tiny

from keras_refocus.training import configs, restorer_job, run_folder
from keras_refocus.training.keeper import RunKeeper


@pytest.fixture(autouse=True)
def _without_curves(monkeypatch):
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())


def begin(folder, *, rows=(), **changes):
    """A keeper, and the network whose epochs it keeps."""
    config = tiny(epochs=6, steps_per_epoch=1, **changes)
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    record = {
        "config": configs.to_json(config),
        "data": {"files": 2, "training_pictures": 1, "manifest_sha256": "abc", "license": None},
        "validation": {"pictures": 1, "psnr": 19.0, "ssim": 0.5},
        "sessions": [{"commit": None, "versions": {}, "platform": "here"}],
    }
    keeper = RunKeeper(
        restorer_job.RestorerJob(folder=folder, config=config, photos=folder),
        record,
        draw=lambda: np.zeros((4, 12), np.uint8),
        rows=rows,
    )
    keeper.set_model(
        types.SimpleNamespace(
            averaged_generator=network,
            variables=network.variables,
            save_weights=network.save_weights,
            stop_training=False,
        )
    )
    return keeper, network


def epoch(keeper, network, number, **logs):
    """Let an epoch end whose weight is its number."""
    network.set_weights([np.full((1, 1), number, "float32")])
    keeper.on_epoch_begin(number - 1)
    keeper.on_epoch_end(number - 1, {"loss": 1.0, **logs})


def weight(path):
    return float(keras.saving.load_model(path, compile=False).get_weights()[0][0, 0])


def test_a_run_ends_when_patience_does(tmp_path):
    keeper, network = begin(tmp_path, patience=2)
    for number, score in enumerate([20.0, 21.0, 20.5, 20.9], 1):
        assert not keeper.model.stop_training
        epoch(keeper, network, number, val_psnr=score)
    assert keeper.model.stop_training
    assert "ended after 2 epochs" in (tmp_path / "report.md").read_text()
    # A resumed run is as impatient as it was.
    again, _ = begin(tmp_path, patience=2, rows=run_folder.read_log(tmp_path / "log.csv"))
    assert again.out_of_patience


def test_best_is_kept_apart_from_last(tmp_path):
    keeper, network = begin(tmp_path)
    for number, score in ((1, 20.0), (2, 21.0), (3, 20.0)):
        epoch(keeper, network, number, val_psnr=score)
    assert (weight(tmp_path / "best.keras"), weight(tmp_path / "averaged.keras")) == (2.0, 3.0)
    assert [row["val_psnr"] for row in run_folder.read_log(tmp_path / "log.csv")] == [20, 21, 20]


@pytest.mark.parametrize("logs", [{"loss": float("nan")}, {"val_psnr": float("inf")}])
def test_what_is_not_finite_ends_the_run_and_is_not_kept(logs, tmp_path):
    keeper, network = begin(tmp_path)
    epoch(keeper, network, 1, val_psnr=20.0)
    epoch(keeper, network, 2, **{"val_psnr": 20.0} | logs)
    assert keeper.stopped_on_nan and keeper.model.stop_training
    assert weight(tmp_path / "averaged.keras") == 1.0
    assert len(run_folder.read_log(tmp_path / "log.csv")) == 1


@pytest.mark.parametrize("file", ["averaged.keras", "log.csv", "state.weights.h5"])
def test_a_full_disk_leaves_the_state_of_the_last_epoch(file, tmp_path, monkeypatch):
    keeper, network = begin(tmp_path)
    epoch(keeper, network, 1, val_psnr=20.0)
    before = (tmp_path / "state.weights.h5").read_bytes()
    write = run_folder.write_atomically

    def full(path, writer):
        def half(target):
            target.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

        write(path, half if path.name == file else writer)

    monkeypatch.setattr(run_folder, "write_atomically", full)
    with pytest.raises(OSError, match=f"must have room.*{file}"):
        epoch(keeper, network, 2, val_psnr=21.0)
    assert (tmp_path / "state.weights.h5").read_bytes() == before
    assert not list(tmp_path.glob(".writing-*"))
