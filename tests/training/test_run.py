import contextlib
import dataclasses
import errno
import math
import os
import shutil

import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import (
    GENERATOR,
    ON_TENSORFLOW,
    preset_in_tiny_form,
    save,
    small_job,
    texture,
    without_tracing,
    write_pairs,
    write_photos,
)
from tiny_training import tiny as tiny_config

from keras_refocus import networks
from keras_refocus.system import files
from keras_refocus.training import (
    configs,
    keeper,
    optimizers,
    presets,
    restorer_job,
    run,
    run_folder,
)

# What a run does with its folder has nothing to do with how large its network is.
SMALLEST = {"widths": [4], "depths": [1], "decoder_depths": []}


def tiny(base=None, **changes):
    values = {"generator_options": SMALLEST, "steps_per_epoch": 2} | changes
    return tiny_config(base, **values)


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Validate on small patches, and leave out the curves, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restorer_job, "VALIDATION_PATCH", 32)
        patch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())
        yield


@pytest.fixture(autouse=True)
def _without_tracing(request):
    """The slow tests trace."""
    traced = "traced" in request.node.name
    with contextlib.nullcontext() if traced else without_tracing():
        yield


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


def state(model):
    """Everything that decides the future, by name."""
    values = {"steps": model.steps, "seeds": model.seed_generator.state}
    for name in ("generator", "averaged_generator", "discriminator"):
        network = getattr(model, name)
        for variable in network.variables if network else []:
            values[f"{name}/{variable.path}"] = variable
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        for index, variable in enumerate(optimizer.variables if optimizer else []):
            values[f"{optimizer.name}/{index}"] = variable
    return {name: np.array(ops.convert_to_numpy(value.value)) for name, value in values.items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


class Stop:
    """Raise an exception after some steps of a training, wherever in an epoch that is."""

    def __init__(self, monkeypatch, after, error=KeyboardInterrupt):
        self.left = after

        def on_train_batch_end(keeper, batch, logs=None):
            self.left -= 1
            if self.left == 0:
                raise error

        monkeypatch.setattr(keeper.RunKeeper, "on_train_batch_end", on_train_batch_end)


# What is refused, and what is left out


def test_empty_folder_is_named(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match="at least one picture.*photos"):
        run.run(small_job(tmp_path / "run", photos=tmp_path / "photos"))
    assert not (tmp_path / "run").exists()


def test_unreadable_photos_are_named_skipped_and_counted(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos")
    content = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(content[: len(content) // 2])
    (photos / "note.jpg").write_text("no picture")
    with caplog.at_level("INFO", logger="keras_refocus"):
        run.run(small_job(tmp_path / "run", config=tiny(epochs=1), photos=photos))
    for part in ("1.png", "note.jpg", "2 unreadable files were left out"):
        assert part in caplog.text
    record = run_folder.read_record(tmp_path / "run")
    assert record["data"]["files"] == 3
    assert record["data"]["training_pictures"] == 2  # One more is held out.
    manifest = (tmp_path / "run" / "manifest.txt").read_text()
    assert "0.png" in manifest and "1.png" not in manifest


def test_a_folder_of_unreadable_photos_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("no picture")
    with pytest.raises(ValueError, match="At least one picture must be readable"):
        run.run(small_job(tmp_path / "run", photos=tmp_path / "photos"))


def test_unequal_pairs_are_named_with_their_sizes(pairs, tmp_path):
    save(pairs / "blur" / "01.png", texture(1, 40))
    with pytest.raises(ValueError, match=r"1 unequal.*01.png with \(40, 40\).*with \(48, 48\)"):
        run.run(small_job(tmp_path / "run", pairs))


def test_a_folder_with_a_run_is_refused(pairs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a run.*--resume"):
        run.run(small_job(tmp_path / "run", pairs))


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open file from being replaced")
def test_a_folder_is_trained_in_by_one_program_at_a_time(pairs, tmp_path):
    job = small_job(tmp_path / "run", pairs, tiny(epochs=1))
    (tmp_path / "run").mkdir()
    with (tmp_path / "run" / run_folder.LOCK).open("ab") as other:
        assert files.lock(other)
        with pytest.raises(ValueError, match=r"another is at work\. Wait for it or stop it"):
            run.run(job)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [run_folder.LOCK]
    run.run(job)
    state = (tmp_path / "run" / run_folder.STATE).read_bytes()
    longer = dataclasses.replace(job, config=tiny(epochs=2))
    with (tmp_path / "run" / run_folder.LOCK).open("ab") as other:
        assert files.lock(other)
        with pytest.raises(ValueError, match="another is at work"):
            run.run(longer, resume=True)
    assert (tmp_path / "run" / run_folder.STATE).read_bytes() == state
    run.run(longer, resume=True)
    assert len(run_folder.read_log(tmp_path / "run" / run_folder.LOG)) == 2


def test_unknown_blur_is_said_before_pictures_are_read(pairs, tmp_path):
    for options, message in (
        ({"blur": "fog"}, "one of mixed.*'fog'"),
        ({"blur_options": {"fog": 1.0}}, "settings untouched.*Received: fog"),
        ({"blur_options": {"noise": 2.0}}, "between 0 and 1.*noise=2.0"),
        ({"pair_degradations": "fog"}, "one of mixed.*'fog'"),
    ):
        with pytest.raises(ValueError, match=message):
            run.run(small_job(tmp_path / "run", tmp_path / "nowhere", tiny(**options)))


# A run


def test_run_folder_holds_the_whole_story(pairs, tmp_path):
    folder = tmp_path / "run"
    photos = write_photos(tmp_path / "photos")
    config = tiny(blur="clean", pairs_share=0.5)
    model = run.run(
        small_job(
            folder, pairs, config, photos=photos, data_license="CC0", validation_photos=photos
        )
    )
    record = run_folder.read_record(folder)
    assert configs.from_json(configs.RestorerConfig, record["config"]) == config
    assert record["data"]["photos"] == [str(photos.resolve())]
    assert record["data"]["license"] == "CC0"
    assert record["data"]["files"] == 4 + 8
    assert record["validation"]["pictures"] == 2
    (session,) = record["sessions"]
    assert session["first_epoch"] == 1 and "keras" in session["versions"]
    rows = run_folder.read_log(folder / "log.csv")
    assert [row["epoch"] for row in rows] == [1, 2]
    assert {"loss", "charbonnier_loss", "val_psnr", "val_ssim", "seconds"} <= set(rows[0])
    assert sorted(path.name for path in (folder / "samples").iterdir()) == [
        "epoch_0001.png",
        "epoch_0002.png",
    ]
    assert "Epoch 2 of 2." in (folder / "report.md").read_text()
    assert list((folder / "tensorboard").rglob("*tfevents*"))
    averaged = keras.saving.load_model(folder / "averaged.keras", compile=False)
    for a, b in zip(averaged.get_weights(), model.averaged_generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_tensorboard_has_curves_and_pictures(pairs, tmp_path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    run.run(small_job(tmp_path / "run", pairs, tiny(epochs=1)))
    events = event_accumulator.EventAccumulator(
        str(tmp_path / "run" / "tensorboard"), size_guidance={"tensors": 0, "images": 0}
    ).Reload()
    tags = {tag for kind in ("tensors", "scalars", "images") for tag in events.Tags()[kind]}
    assert {"training/loss", "validation/psnr", "blurred, restored, sharp"} <= tags


# Stopping and going on


def interrupted_equals_straight(config, pairs, tmp_path, monkeypatch, *, stops=()):
    """Stop a training after numbers of steps, each counted from the last start, and go on."""
    straight = state(run.run(small_job(tmp_path / "straight", pairs, config)))
    job, resume = small_job(tmp_path / "stopped", pairs, config), False
    for after in stops or [config.steps_per_epoch + 1]:
        with monkeypatch.context() as patch:
            Stop(patch, after=after)
            with pytest.raises(KeyboardInterrupt):
                run.run(job, resume=resume)
        job, resume = restorer_job.RestorerJob.from_run(tmp_path / "stopped", workers=0), True
        assert job.config == config
    resumed = run.run(job, resume=True)
    assert_equal(state(resumed), straight)
    rows = [run_folder.read_log(tmp_path / name / "log.csv") for name in ("straight", "stopped")]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    # The logged sum may differ in its last bit: another trace may add in another order.
    for one, other in zip(*rows, strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    sessions = run_folder.read_record(tmp_path / "stopped")["sessions"]
    return [session["first_epoch"] for session in sessions]


def test_resumed_equals_uninterrupted_bit_for_bit(pairs, tmp_path, monkeypatch):
    config = tiny(
        epochs=1, adversarial_epochs=1, adversarial="wgan_gp", discriminator="critic",
        critic_steps=1,
    )  # fmt: skip
    # Once before there is a checkpoint, then in the second epoch.
    stops = [1, config.steps_per_epoch + 1]
    firsts = interrupted_equals_straight(config, pairs, tmp_path, monkeypatch, stops=stops)
    assert firsts == [1, 1, 2]


def test_a_finished_run_becomes_longer(pairs, tmp_path):
    folder = tmp_path / "run"
    before = state(run.run(small_job(folder, pairs, tiny(epochs=1, steps_per_epoch=1))))

    def again(**changes):
        job = restorer_job.RestorerJob.from_run(folder, workers=0, changes=changes)
        return run.run(job, resume=True)

    # Unasked it trains nothing.
    assert_equal(state(again()), before)
    # Learning rates fall over the whole length.
    rate = again(epochs=2).generator_optimizer.learning_rate
    longer = optimizers.generator_optimizer(tiny(epochs=2, steps_per_epoch=1))
    expected = ops.convert_to_numpy(longer._learning_rate(2))
    assert float(ops.convert_to_numpy(rate)) == pytest.approx(float(expected))
    assert [row["epoch"] for row in run_folder.read_log(folder / "log.csv")] == [1, 2]
    assert run_folder.read_record(folder)["config"]["epochs"] == 2
    with pytest.raises(ValueError, match="become no shorter.*epochs=1.*2 epochs that it has"):
        again(epochs=1)
    with pytest.raises(ValueError, match="discriminator is one.*adversarial_epochs=1.*--init-from"):
        again(adversarial_epochs=1)


def test_content_epochs_cannot_follow_adversarial_ones(pairs, tmp_path):
    folder = tmp_path / "run"
    config = tiny(epochs=0, adversarial_epochs=1, steps_per_epoch=1)
    run.run(small_job(folder, pairs, config))
    job = restorer_job.RestorerJob.from_run(folder, workers=0, changes={"epochs": 1})
    with pytest.raises(ValueError, match="come before the adversarial.*--adversarial-epochs"):
        run.run(job, resume=True)


def test_a_backend_that_cannot_train_is_refused_before_there_is_a_folder(
    pairs, tmp_path, monkeypatch
):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="KERAS_BACKEND='jax'.*KERAS_BACKEND=torch"):
        run.run(small_job(tmp_path / "run", pairs))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resumed_equals_uninterrupted_when_traced(pairs, tmp_path, monkeypatch):
    config = preset_in_tiny_form("deblurgan", tmp_path)
    interrupted_equals_straight(config, pairs, tmp_path, monkeypatch)


def test_resuming_needs_the_same_pictures(pairs, tmp_path):
    run.run(small_job(tmp_path / "run", pairs, tiny(epochs=1)))
    save(pairs / "blur" / "00.png", texture(9))
    with pytest.raises(ValueError, match="pictures that it began with.*--init-from"):
        run.run(restorer_job.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)


def test_a_run_goes_on_after_the_disk_was_full(pairs, tmp_path, monkeypatch):
    file = "state.weights.h5"
    config = tiny(steps_per_epoch=1)
    straight = state(run.run(small_job(tmp_path / "straight", pairs, config)))
    write = run_folder.write_atomically
    calls = []

    def full(path, writer):
        calls.append(path)
        if path.name == file and len([call for call in calls if call.name == file]) == 2:

            def writer(target):
                target.write_text("half")
                raise OSError(errno.ENOSPC, "No space left on device")

        write(path, writer)

    with monkeypatch.context() as patch:
        patch.setattr(run_folder, "write_atomically", full)
        with pytest.raises(OSError, match=f"must have room.*{file}"):
            run.run(small_job(tmp_path / "run", pairs, config))
    resumed = run.run(restorer_job.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)
    assert_equal(state(resumed), straight)


def test_no_room_for_an_epoch_is_said_before_anything_is_written(pairs, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="must have room"):
        run.run(small_job(tmp_path / "full", pairs, tiny(epochs=1)))
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == [
        ".lock",
        "manifest.txt",
        "record.json",
        "tensorboard",
    ]


def test_nan_keeps_the_last_good_weights(pairs, tmp_path, monkeypatch):
    good = run.run(small_job(tmp_path / "good", pairs, tiny(epochs=1)))
    monkeypatch.setattr(keeper.RunKeeper, "_NAN_INTERVAL", 2)
    begin = keeper.RunKeeper.on_epoch_begin

    def spoil(keeper, epoch, logs=None):
        begin(keeper, epoch, logs)
        if epoch == 1:
            network = keeper.model.generator
            network.set_weights([np.full_like(value, np.nan) for value in network.get_weights()])

    monkeypatch.setattr(keeper.RunKeeper, "on_epoch_begin", spoil)
    with pytest.raises(ValueError, match="NaN.*smaller learning rate"):
        # The same learning rates in the first epoch: they do not fall.
        run.run(small_job(tmp_path / "run", pairs, tiny(epochs=1, adversarial_epochs=1)))
    kept = keras.saving.load_model(tmp_path / "run" / "averaged.keras", compile=False)
    for a, b in zip(kept.get_weights(), good.averaged_generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(run_folder.read_log(tmp_path / "run" / "log.csv")) == 1


def test_warm_up_has_losses_of_its_own(pairs, tmp_path):
    config = tiny(
        epochs=1, adversarial_epochs=1, warm_up_content={"ssim": 1.0}, content={"mse": 1.0}
    )
    run.run(small_job(tmp_path / "run", pairs, config))
    first, second = run_folder.read_log(tmp_path / "run" / "log.csv")
    assert "ssim_loss" in first and "mse_loss" not in first
    assert "mse_loss" in second and "ssim_loss" not in second


@pytest.mark.parametrize(
    "precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_mixed_precision_trains_in_float32_weights(precision, pairs, tmp_path):
    config = tiny(precision=precision, adversarial_epochs=1, epochs=0, steps_per_epoch=2)
    before = networks.build("unet", **SMALLEST)
    model = run.run(small_job(tmp_path / "run", pairs, config))
    assert model.generator.compute_dtype == precision.removeprefix("mixed_")
    assert {value.dtype.name for value in model.generator.get_weights()} == {"float32"}
    assert all(math.isfinite(value.sum()) for value in model.generator.get_weights())
    assert keras.config.dtype_policy().name == "float32"
    assert [a.shape for a in before.get_weights()] == [
        a.shape for a in model.generator.get_weights()
    ]


@pytest.mark.skipif(not ON_TENSORFLOW, reason="PyTorch has a switch of its own")
def test_deterministic_mode_asks_for_deterministic_kernels(pairs, tmp_path, monkeypatch):
    import tensorflow as tf

    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(1))
    config = tiny(epochs=1, steps_per_epoch=1)
    run.run(small_job(tmp_path / "usual", pairs, config))
    assert not asked
    run.run(small_job(tmp_path / "same", pairs, dataclasses.replace(config, deterministic=True)))
    assert asked


@pytest.mark.slow
def test_twenty_pairs_improve_held_out_pairs_of_the_same_folder(tmp_path):
    """The preset `fine_tune`: what one camera does to pictures is learned from a few of them."""
    write_pairs(tmp_path / "mine", 20)
    write_pairs(tmp_path / "held_out", 6, first=100)
    keras.utils.set_random_seed(0)
    networks.build("unet", **GENERATOR).save(tmp_path / "start.keras")
    config = tiny(
        presets.RESTORER_PRESETS["fine_tune"],
        generator_options=GENERATOR,
        epochs=4,
        steps_per_epoch=30,
        batch_size=4,
        learning_rate=5e-3,
        average_decay=0.9,
    )
    run.run(
        small_job(
            tmp_path / "run",
            tmp_path / "mine",
            config,
            init_from=(tmp_path / "start.keras",),
            validation_pairs=tmp_path / "held_out",
            validation_count=6,
        )
    )
    before = run_folder.read_record(tmp_path / "run")["validation"]
    rows = run_folder.read_log(tmp_path / "run" / "log.csv")
    assert before["pictures"] == 6
    assert rows[-1]["val_psnr"] > before["psnr"] + 1.0
    assert rows[-1]["val_ssim"] > before["ssim"]
