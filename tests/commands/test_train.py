import importlib.util
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import keras
import numpy as np
import pytest
from tiny_training import DISCRIMINATOR, GENERATOR, without_tracing, write_pairs

from keras_refocus import train
from keras_refocus.training import keeper, restorer_job, run_folder

ROOT = pathlib.Path(__file__).parents[2]
TINY = [
    *("--generator", "unet", "--generator-options"),
    json.dumps(GENERATOR),
    "--discriminator-options",
    json.dumps(DISCRIMINATOR),
    *"--patch-size 32 --batch-size 2 --steps-per-epoch 2 --warmup-steps 1 --workers 0".split(),
    *"--validation-count 2 --epochs 1".split(),
]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(restorer_job, "VALIDATION_PATCH", 32)
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())
    with without_tracing():
        yield


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


@pytest.fixture
def no_training(monkeypatch):
    """Jobs that would be run."""
    jobs = []
    monkeypatch.setattr(
        "keras_refocus.training.run.run", lambda job, resume: jobs.append((job, resume))
    )
    return jobs


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        train.main(["restorer", *map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def train_restorer(*arguments):
    train.main(["restorer", *map(str, arguments)])


def test_flags_and_preset_make_the_job(no_training, tmp_path):
    train_restorer(
        "--run", tmp_path / "run", "--photos", "p", "q", "--photos", "r",
        "--pairs", "a", "--pairs", "b",
        "--preset", "quick_test", "--epochs", 7, "--no-flip", "--data-license", "CC0",
        "--validation-pairs", "v", "--workers", 3,
    )  # fmt: skip
    ((job, resume),) = no_training
    assert not resume
    assert job.pairs == (pathlib.Path("a"), pathlib.Path("b"))
    assert job.photos == tuple(map(pathlib.Path, "pqr"))
    assert job.validation_pairs == pathlib.Path("v")
    assert (job.config.epochs, job.config.flip, job.config.patch_size) == (7, False, 64)
    assert (job.data_license, job.workers, job.strategy) == ("CC0", 3, None)


def test_the_command_in_the_report_makes_the_same_job(no_training, tmp_path):
    train_restorer(
        "--run", tmp_path / "my run", "--pairs", "a b", "--preset", "deblurgan_v2", *TINY
    )
    import shlex

    words = shlex.split(no_training[0][0].command())
    assert words[:2] == ["refocus", "train"]
    train.main([*words[2:], "--workers", "0"])
    assert no_training[1][0] == no_training[0][0]


def test_training_resuming_and_starting_from_a_run(pairs, tmp_path, capsys):
    run, other = tmp_path / "run", tmp_path / "other"
    train_restorer("--run", run, "--pairs", pairs, *TINY)
    assert len(run_folder.read_log(run / "log.csv")) == 1
    train_restorer("--run", run, "--resume", "--workers", 0)
    assert "holds a run" in refusal(capsys, "--run", run, "--pairs", pairs, *TINY)
    # The generator comes from what is started from; nothing has to be repeated.
    options = TINY[4:]
    train_restorer(
        "--run", other, "--pairs", pairs, *options, "--init-from", run, "--preset", "fine_tune",
        "--learning-rate", 0, "--weight-decay", 0,
    )  # fmt: skip
    record = run_folder.read_record(other)
    assert record["config"]["generator"] == "unet"
    assert record["config"]["generator_options"] == GENERATOR
    assert record["init_from"] == [str(run)]
    # A resumed run still knows what it started from: the report's command needs it.
    assert f"--init-from {run}" in restorer_job.RestorerJob.from_run(other).command()
    first, second = (
        keras.saving.load_model(folder / name, compile=False).get_weights()
        for folder, name in ((run, "best.keras"), (other, "averaged.keras"))
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # The last learning rate is not quite 0.


def test_a_preset_that_grows_from_a_network_stays_its_own(no_training, tmp_path):
    for name, options in (("blind_wiener", {"planes": 2}), ("unet", GENERATOR)):
        (tmp_path / name).mkdir()
        config = {"generator": name, "generator_options": options}
        run_folder.write_json(tmp_path / name / "record.json", {"config": config})
    for start in ("blind_wiener", "unet"):
        train_restorer(
            "--run", "r", "--photos", "p", "--preset", "pyramid", "--init-from", tmp_path / start,
            "--teacher", "t",
        )  # fmt: skip
    first, second = (job for job, _ in no_training)
    assert (first.config.generator, first.config.generator_options) == ("pyramid", {"scales": 3})
    # Of another kind it is what is started from, as always.
    assert (second.config.generator, second.config.generator_options) == ("unet", GENERATOR)
    assert first.teacher == pathlib.Path("t")


def test_a_resumed_run_refuses_to_change(pairs, tmp_path, capsys):
    run = tmp_path / "run"
    train_restorer("--run", run, "--pairs", pairs, *TINY)
    error = refusal(capsys, "--run", run, "--resume", "--epochs", 9, "--pairs", pairs, "--seed", 1)
    for part in ("length (--epochs", "Received: --seed, --pairs.", f"--init-from {run}"):
        assert part in error
    train_restorer("--run", run, "--resume", "--epochs", 2, "--workers", 0)
    assert len(run_folder.read_log(run / "log.csv")) == 2


def test_ctrl_c_says_how_to_go_on(pairs, tmp_path, capsys, monkeypatch):
    def interrupt(keeper, batch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(keeper.RunKeeper, "on_train_batch_end", interrupt)
    with pytest.raises(SystemExit) as stop:
        train_restorer("--run", tmp_path / "run", "--pairs", pairs, *TINY)
    assert stop.value.code == 130
    assert f"--run {tmp_path / 'run'} --resume" in capsys.readouterr().err
    # Before the record is written there is nothing to go on with.
    monkeypatch.setattr(restorer_job.RestorerJob, "collect", lambda job: interrupt(None, 0))
    with pytest.raises(SystemExit):
        train_restorer("--run", tmp_path / "other", "--pairs", pairs, *TINY)
    assert "nothing was kept" in capsys.readouterr().err


def test_a_file_gives_the_configuration_and_flags_win_over_it(no_training, tmp_path, capsys):
    file = tmp_path / "mine.toml"
    file.write_text(
        'preset = "quick_test"\nepochs = 5\nclip_norm = "none"\nlearning_rate = 1\n'
        "[content]\nl1 = 1.0\n"
    )
    train_restorer("--run", "r", "--photos", "p", "--config", file, "--epochs", 6)
    ((job, _),) = no_training
    assert (job.config.epochs, job.config.clip_norm, job.config.learning_rate) == (6, None, 1.0)
    assert (job.config.content, job.config.patch_size) == ({"l1": 1.0}, 64)
    for text, message in (
        ("epochz = 5", "Did you mean 'epochs'"),
        ('epochs = "many"', "must be of type int"),
        ("flip = 1", "must be of type bool"),
        ("epochs = ", "whole TOML or JSON"),
        ('adversarial = "wgan"', "must be one of none, wgan_gp"),
    ):
        file.write_text(text)
        assert message in refusal(capsys, "--run", "r", "--photos", "p", "--config", file)
    assert "must exist" in refusal(capsys, "--run", "r", "--config", tmp_path / "no.toml")


def test_the_record_of_a_run_repeats_it(no_training, tmp_path, capsys):
    (tmp_path / "start").mkdir()
    run_folder.write_json(
        tmp_path / "start" / "record.json",
        {"config": {"generator": "unet", "generator_options": GENERATOR}},
    )
    train_restorer(
        "--run", tmp_path / "run", "--pairs", "a", "--validation-pairs", "v", *TINY,
        "--init-from", tmp_path / "start", "--data-license", "CC0",
    )  # fmt: skip
    first = no_training[0][0]
    from keras_refocus.training import run
    from keras_refocus.training.job import Pictures

    record = run.new_record(first, Pictures(sources=(), shares=(), validation=(), manifest=""))
    file = tmp_path / "record.json"
    run_folder.write_json(file, record)
    train_restorer("--run", tmp_path / "run", "--config", file, "--workers", 0)
    again = no_training[1][0]
    assert again.config == first.config and again.init_from == first.init_from
    assert again.data_record() == first.data_record()
    train_restorer("--run", tmp_path / "run", "--config", file, "--photos", "p")
    other = no_training[2][0]
    assert (other.photos, other.pairs) == ((pathlib.Path("p"),), ())
    assert other.config == first.config
    with pytest.raises(SystemExit):
        train.main(["colorizer", "--run", "r", "--config", str(file)])
    assert "that of a restorer" in capsys.readouterr().err


def test_a_backend_that_cannot_train_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "KERAS_BACKEND=torch" in refusal(capsys, "--run", tmp_path / "run", "--photos", "p")


def test_the_window_of_nafnet_follows_the_patches(no_training):
    for options, window in (
        (("--patch-size", 128, "--final-patch-size", 192, "--final-epochs", 1), 288),
        (("--generator-options", '{"local_window": 64}'), 64),
        (("--generator-options", '{"local_window": null}'), None),
    ):
        train_restorer("--run", "r", "--photos", "p", "--generator", "nafnet", *options)
        assert no_training[-1][0].config.generator_options["local_window"] == window


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "r"], "--photos or --pairs"),
        (["--photos", "p"], "--run"),
        (["--run", "r", "--photos", "nowhere"], "nowhere"),
        (["--run", "r", "--photos", "p", "--preset", "fats"], "Did you mean 'fast'"),
        (["--run", "r", "--photos", "p", "--preset", "fine_tune"], "--init-from"),
        (["--run", "r", "--resume"], "record.json"),
        (["--run", "r", "--photos", "p", "--generator", "unte"], "'unet'"),
        (["--run", "r", "--photos", "p", "--strategy", "magic"], "invalid choice"),
        (["--run", "r", "--photos", "p", "--patience", "0"], "patience"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "p", 2)
    assert message in refusal(capsys, *arguments)


def command(*arguments):
    return [sys.executable, "-m", "keras_refocus.train", "restorer", *map(str, arguments)]


def environment(**changes):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    return os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"} | changes


def stored(path):
    """Arrays of an HDF5 file by name."""
    arrays = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, item: arrays.update({name: item[()]} if hasattr(item, "shape") else {})
        )
    return arrays


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_killed_and_resumed_equals_straight_through(pairs, tmp_path):
    """The whole way: processes, worker processes, a kill at any moment."""
    options = [*TINY, "--epochs", 4, "--adversarial-epochs", 2, "--steps-per-epoch", 10]
    options += ["--workers", 2, "--adversarial", "wgan_gp", "--discriminator", "critic"]
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    subprocess.run(
        command("--run", straight, "--pairs", pairs, *options), check=True, env=environment()
    )
    with subprocess.Popen(
        command("--run", killed, "--pairs", pairs, *options), env=environment()
    ) as training_process:
        while not (killed / "state.weights.h5").exists():
            assert training_process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        training_process.send_signal(signal.SIGKILL)
    done = len(run_folder.read_log(killed / "log.csv"))
    assert 1 <= done < 6
    subprocess.run(command("--run", killed, "--resume"), check=True, env=environment())
    first, second = (stored(folder / "state.weights.h5") for folder in (straight, killed))
    assert first.keys() == second.keys() and len(first) > 50
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_the_same_command_trains_under_torch(pairs, tmp_path):
    """Both backends train on the same batches, and read each other's files."""
    pytest.importorskip("tensorflow")
    options = [*TINY, "--adversarial-epochs", 1, "--discriminator", "critic"]
    options += ["--adversarial", "wgan_gp", "--pairs", pairs]
    for backend, other in (("torch", "tensorflow"), ("tensorflow", "torch")):
        run = tmp_path / backend
        subprocess.run(
            command("--run", run, *options), check=True, env=environment(KERAS_BACKEND=backend)
        )
        subprocess.run(
            command("--run", tmp_path / f"after_{backend}", "--init-from", run, *options),
            check=True,
            env=environment(KERAS_BACKEND=other),
        )
    first, second = (
        run_folder.read_log(tmp_path / name / "log.csv") for name in ("torch", "tensorflow")
    )
    # Their initial weights differ, but the output starts as the input: the first loss is the same.
    assert first[0]["loss"] == pytest.approx(second[0]["loss"], rel=0.05)
    luminance = np.random.default_rng(0).random((1, 20, 24, 1), np.float32)
    np.save(tmp_path / "luminance.npy", luminance)
    program = (
        "import keras, numpy, sys\n"
        "model = keras.saving.load_model(sys.argv[1], compile=False)\n"
        "output = model(numpy.load(sys.argv[2]), training=False)\n"
        "numpy.save(sys.argv[3], keras.ops.convert_to_numpy(output))\n"
    )
    outputs = []
    for backend in ("torch", "tensorflow"):
        target = tmp_path / f"{backend}.npy"
        subprocess.run(
            [sys.executable, "-c", program, tmp_path / "torch" / "averaged.keras",
             tmp_path / "luminance.npy", target],
            check=True,
            env=environment(KERAS_BACKEND=backend),
        )  # fmt: skip
        outputs.append(np.load(target))
    np.testing.assert_allclose(*outputs, atol=1e-5)


def test_sharp_frames_of_videos_are_learned_from_as_photos(tmp_path, monkeypatch):
    import tiny_clips

    lumas = tiny_clips.moving(0, 3) + tiny_clips.moving(1, 3)
    (tmp_path / "clips").mkdir()
    tiny_clips.write(tmp_path / "clips" / "clip.mkv", lumas)
    jobs = []
    monkeypatch.setattr("keras_refocus.training.run.run", lambda job, resume: jobs.append(job))
    videos = ["--videos", str(tmp_path / "clips"), "--run", str(tmp_path / "run")]
    train.main(["restorer", *videos, *TINY])
    assert jobs[0].photos == (tmp_path / "run" / "frames",)
    assert len(list(jobs[0].photos[0].glob("*.png"))) == 2
    with pytest.raises(SystemExit):
        train.main(["restorer", *videos, "--photos", str(tmp_path), *TINY])


def test_a_correction_is_trained_exported_and_used(tmp_path):
    import tiny_clips
    from tiny_models import write_models
    from tiny_networks import TINY as tiny_networks

    from keras_refocus import export, restore_video

    clip = tiny_clips.write(
        tmp_path / "clip.mkv", tiny_clips.moving(0, 8, height=144, width=160, step=4.0), gray=True
    )
    run, models = tmp_path / "run", write_models(tmp_path / "models")
    options = json.dumps(tiny_networks["correction_unet"])
    sizes = "--patch-size 32 --batch-size 2 --steps-per-epoch 2 --epochs 1 --workers 0".split()
    train.main(
        ["interpolator", "--videos", str(clip), "--every", "2", "--run", str(run), *sizes]
        + ["--generator-options", options, "--learning-rate", "0.05", "--warmup-steps", "1"]
    )
    assert list((run / "triplets").glob("*.npy"))
    command = json.loads((run / "record.json").read_text())["data"]
    assert command["triplets"] == str(run / "triplets")
    export.main([str(run), "--out", str(models)])
    card = (models / "interpolator" / "README.md").read_text()
    assert "`corrections` | float32 [N,H,W,9]" in card

    def made(out, *more):
        values = [str(clip), "--fps", "2x", "--strength", "0", "--models", str(models)]
        assert restore_video.main([*values, "--out", str(tmp_path / out), *more]) == 0
        return [planes[0] for planes in tiny_clips.planes(tmp_path / out / "clip.mkv")]

    plain, best = made("plain"), made("best", "--best")
    named = made("named", "--interpolator", "interpolator")
    assert len(plain) == len(best) == 16
    for index, frames in enumerate(zip(plain, best, named, strict=True)):
        same = np.array_equal(frames[0], frames[1])
        # Frames of the clip are as they were; after the last one it is repeated.
        assert same == (index % 2 == 0 or index == 15)
        assert np.array_equal(frames[1], frames[2])
    with pytest.raises(SystemExit):
        made("wrong", "--interpolator", "nothing")


def test_resume_if_there_begins_and_goes_on_with_the_same_command(pairs, tmp_path, capsys):
    run, model = tmp_path / "run", tmp_path / "model"
    command = ["--pairs", pairs, "--run", run, *TINY, "--resume-if-there", "--model-dir", model]
    train.main(["restorer", *map(str, command)])
    record = json.loads((model / "record.json").read_text())
    assert (model / "averaged.keras").exists() and len(record["sessions"]) == 1
    train.main(["restorer", *map(str, command)])
    assert len(json.loads((run / "record.json").read_text())["sessions"]) == 2
    assert "goes on with its own" in refusal(capsys, *command, "--batch-size", "1")
