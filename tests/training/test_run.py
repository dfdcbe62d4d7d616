import contextlib
import dataclasses
import errno
import json
import math
import re
import shutil

import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import (
    DISCRIMINATOR,
    GENERATOR,
    ON_TENSORFLOW,
    save,
    texture,
    tiny,
    without_tracing,
    write_pairs,
    write_photos,
)

from keras_refocus import networks
from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.training import config as configs
from keras_refocus.training import gan, run_folder
from keras_refocus.training import run as training


@pytest.fixture(autouse=True, scope="module")
def _small():
    """Validate on small patches, and leave out the curves, which take longer than the training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "VALIDATION_PATCH", 32)
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


def job(folder, pairs=None, config=None, **options):
    values = {"pairs": (pairs,) if pairs else (), "workers": 0, "validation_count": 2} | options
    return training.RestorerJob(folder=folder, config=config or tiny(), **values)


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

        monkeypatch.setattr(training.RunKeeper, "on_train_batch_end", on_train_batch_end)


# Learning rates and phases


def rate(schedule, step):
    return float(ops.convert_to_numpy(schedule(step)))


def test_learning_rate_rises_and_falls_as_worked_out_by_hand():
    schedule = training.LearningRate(
        1.0, 0.1, warmup_steps=10, steps=110, second_peak=0.5, second_end=0.1, second_steps=40
    )
    for step, expected in (
        (0, 0.1),
        (9, 1.0),
        (10, 1.0),
        (60, 0.55),  # Half of the cosine: halfway between 1 and 0.1.
        (110, 0.5),
        (130, 0.3),
        (150, 0.1),
        (1000, 0.1),
    ):
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-6)


def test_linear_rate_is_constant_for_half_of_the_time():
    schedule = training.LearningRate(1.0, 0.0, warmup_steps=0, steps=100, kind="linear")
    for step, expected in ((0, 1.0), (50, 1.0), (75, 0.5), (90, 0.2), (100, 0.0)):
        assert rate(schedule, step) == pytest.approx(expected, abs=1e-6)


def test_constant_rate_does_not_fall():
    schedule = training.LearningRate(1.0, 0.0, warmup_steps=4, steps=100, kind="constant")
    assert [rate(schedule, step) for step in (1, 4, 99)] == pytest.approx([0.5, 1.0, 1.0])


def test_learning_rate_round_trip():
    schedule = training.LearningRate(
        1.0, 0.1, warmup_steps=3, steps=9, second_peak=0.5, second_steps=4, kind="linear"
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(schedule))
    assert [rate(copy, step) for step in range(13)] == [rate(schedule, step) for step in range(13)]


def test_phases_split_epochs_by_patches_and_game():
    config = tiny(
        epochs=5, adversarial_epochs=2, final_epochs=2, final_patch_size=48, final_batch_size=1
    )
    assert training.phases(config) == [
        training.Phase(0, 3, 32, 2, False),
        training.Phase(3, 5, 48, 1, False),
        training.Phase(5, 7, 48, 1, True),
    ]


# What is refused, and what is left out


def test_a_job_needs_pictures(tmp_path):
    with pytest.raises(ValueError, match="--photos or --pairs"):
        training.RestorerJob(folder=tmp_path, config=tiny())
    with pytest.raises(ValueError, match="validation_count=0"):
        training.RestorerJob(folder=tmp_path, config=tiny(), photos=tmp_path, validation_count=0)


def test_empty_folder_is_named(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(FileNotFoundError, match="at least one picture.*photos"):
        training.run(job(tmp_path / "run", photos=tmp_path / "photos"))
    assert not (tmp_path / "run").exists()


def test_unreadable_photos_are_named_skipped_and_counted(tmp_path, caplog):
    photos = write_photos(tmp_path / "photos")
    content = (photos / "1.png").read_bytes()
    (photos / "1.png").write_bytes(content[: len(content) // 2])
    (photos / "note.jpg").write_text("no picture")
    with caplog.at_level("INFO", logger="keras_refocus"):
        training.run(job(tmp_path / "run", config=tiny(epochs=1), photos=photos))
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
        training.run(job(tmp_path / "run", photos=tmp_path / "photos"))


def test_half_readable_pairs_are_left_out(pairs, tmp_path, caplog):
    (pairs / "blur" / "02.png").write_text("no picture")
    kept, facts = training._usable_pairs(pairs)
    assert [blurred.name for blurred, _ in kept] == ["00.png", "01.png", "03.png"]
    assert len(facts) == 6
    assert "02.png" in caplog.text and "1 unreadable" in caplog.text


def test_unequal_pairs_are_named_with_their_sizes(pairs, tmp_path):
    save(pairs / "blur" / "01.png", texture(1, 40))
    with pytest.raises(ValueError, match=r"1 unequal.*01.png with \(40, 40\).*with \(48, 48\)"):
        training.run(job(tmp_path / "run", pairs))


def test_a_folder_with_a_run_is_refused(pairs, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "record.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a run.*--resume"):
        training.run(job(tmp_path / "run", pairs))


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="record.json.*without --resume"):
        training.RestorerJob.from_run(tmp_path)


def test_unknown_blur_is_said_before_pictures_are_read(pairs, tmp_path):
    for options, message in (
        ({"blur": "fog"}, "one of mixed.*'fog'"),
        ({"blur_options": {"fog": 1.0}}, "settings untouched.*Received: fog"),
        ({"blur_options": {"noise": 2.0}}, "between 0 and 1.*noise=2.0"),
        ({"pair_degradations": "fog"}, "one of mixed.*'fog'"),
    ):
        with pytest.raises(ValueError, match=message):
            training.run(job(tmp_path / "run", tmp_path / "nowhere", tiny(**options)))


def test_blur_options_change_the_blur_of_photos(tmp_path):
    photos = write_photos(tmp_path / "photos")
    changed = {"blur": "clean", "blur_options": {"layers": [1.0], "noise": 0.5}}
    record = training.RestorerJob(
        folder=tmp_path / "run", photos=photos, config=tiny(**changed)
    ).collect()
    for source in (*record.sources, *record.validation):
        assert source.blur.layers == (1.0,) and source.blur.noise == 0.5
        assert source.blur.anchor == exposure.SETTINGS["clean"].anchor


# A run


def test_run_folder_holds_the_whole_story(pairs, tmp_path):
    folder = tmp_path / "run"
    photos = write_photos(tmp_path / "photos")
    config = tiny(blur="clean", pairs_share=0.5)
    model = training.run(
        job(folder, pairs, config, photos=photos, data_license="CC0", validation_photos=photos)
    )
    record = run_folder.read_record(folder)
    assert configs.from_json(configs.RestorerConfig, record["config"]) == config
    assert record["data"]["photos"] == str(photos.resolve())
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


def test_report_prints_the_command_that_repeats_the_run(pairs, tmp_path):
    config = tiny(flip=False, content={"l1": 1.0})
    words = job(tmp_path / "my run", pairs, config).command()
    assert f"--run '{tmp_path}/my run'" in words
    assert "--no-flip" in words and """--content '{"l1": 1.0}'""" in words


def test_tensorboard_has_curves_and_pictures(pairs, tmp_path):
    event_accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    training.run(job(tmp_path / "run", pairs))
    events = event_accumulator.EventAccumulator(
        str(tmp_path / "run" / "tensorboard"), size_guidance={"tensors": 0, "images": 0}
    ).Reload()
    tags = {tag for kind in ("tensors", "scalars", "images") for tag in events.Tags()[kind]}
    assert {"training/loss", "validation/psnr", "blurred, restored, sharp"} <= tags


def test_samples_show_blurred_restored_and_sharp(pairs):
    blurred = np.full((2, 4, 5, 1), 0.2, np.float32)
    sharp = np.full((2, 4, 5, 1), 0.6, np.float32)
    sheet = training.sample_sheet(lambda x, training: x + 0.2, blurred, sharp)
    assert sheet.shape == (8, 15)
    np.testing.assert_array_equal(np.unique(sheet[:, :5]), [51])
    np.testing.assert_array_equal(np.unique(sheet[:, 5:10]), [102])
    np.testing.assert_array_equal(np.unique(sheet[:, 10:]), [153])


# Stopping and going on


def interrupted_equals_straight(config, pairs, tmp_path, monkeypatch):
    straight = state(training.run(job(tmp_path / "straight", pairs, config)))
    with monkeypatch.context() as patch:
        Stop(patch, after=config.steps_per_epoch + 2)
        with pytest.raises(KeyboardInterrupt):
            training.run(job(tmp_path / "stopped", pairs, config))
    resumed_job = training.RestorerJob.from_run(tmp_path / "stopped", workers=0)
    assert resumed_job.config == config
    resumed = training.run(resumed_job, resume=True)
    assert_equal(state(resumed), straight)
    rows = [run_folder.read_log(tmp_path / name / "log.csv") for name in ("straight", "stopped")]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    # The logged sum may differ in its last bit: another trace may add in another order.
    for one, other in zip(*rows, strict=True):
        assert one == pytest.approx(other, rel=1e-6)
    sessions = run_folder.read_record(tmp_path / "stopped")["sessions"]
    assert [session["first_epoch"] for session in sessions] == [1, 2]


def perceptual_weights(path):
    """A stand-in for pretrained weights: random ones in the same layout."""
    from keras_refocus.networks import backbones

    keras.utils.set_random_seed(0)
    extractor = backbones.feature_extractor("mobilenet_v2", ["Conv1_relu"], weights=None)
    trunk = next(layer for layer in extractor.layers if isinstance(layer, keras.Model))
    arrays = {
        f"{layer.name}/{variable.name}": ops.convert_to_numpy(variable.value)
        for layer in trunk.layers
        for variable in layer.variables
    }
    np.savez(path, **arrays)
    return {"backbone": "mobilenet_v2", "layer": "Conv1_relu", "weights": str(path)}


def preset_in_tiny_form(name, tmp_path):
    base = configs.RESTORER_PRESETS[name]
    content = dict(base.content)
    if "perceptual" in content:
        weights = perceptual_weights(tmp_path / "weights.npz")
        content["perceptual"] = {"weight": content["perceptual"]["weight"], **weights}
    return tiny(base, content=content)


def test_resumed_equals_uninterrupted_bit_for_bit(pairs, tmp_path, monkeypatch):
    config = tiny(adversarial_epochs=1, adversarial="wgan_gp", discriminator="critic")
    interrupted_equals_straight(
        dataclasses.replace(config, epochs=1, critic_steps=2), pairs, tmp_path, monkeypatch
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", configs.RESTORER_PRESETS)
def test_every_preset_resumes_bit_for_bit(name, pairs, tmp_path, monkeypatch):
    config = preset_in_tiny_form(name, tmp_path)
    interrupted_equals_straight(config, pairs, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", "deblurgan"])
def test_resumed_equals_uninterrupted_when_traced(name, pairs, tmp_path, monkeypatch):
    config = preset_in_tiny_form(name, tmp_path)
    interrupted_equals_straight(config, pairs, tmp_path, monkeypatch)


def test_resuming_needs_the_same_pictures(pairs, tmp_path):
    training.run(job(tmp_path / "run", pairs, tiny(epochs=1)))
    save(pairs / "blur" / "00.png", texture(9))
    with pytest.raises(ValueError, match="pictures that it began with.*--init-from"):
        training.run(training.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)


def test_resuming_a_finished_run_trains_nothing(pairs, tmp_path):
    before = state(training.run(job(tmp_path / "run", pairs, tiny(epochs=1))))
    again = training.run(training.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)
    assert_equal(state(again), before)


@pytest.mark.parametrize(
    "file", [pytest.param("averaged.keras", marks=pytest.mark.slow), "state.weights.h5"]
)
def test_full_disk_leaves_the_last_good_state(file, pairs, tmp_path, monkeypatch):
    config = tiny(steps_per_epoch=1)
    straight = state(training.run(job(tmp_path / "straight", pairs, config)))
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
            training.run(job(tmp_path / "run", pairs, config))
    resumed = training.run(training.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)
    assert_equal(state(resumed), straight)


def test_no_room_for_an_epoch_is_said_before_anything_is_written(pairs, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(run_folder.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="must have room"):
        training.run(job(tmp_path / "full", pairs, tiny(epochs=1)))
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == [
        "manifest.txt",
        "record.json",
        "tensorboard",
    ]


@pytest.mark.parametrize(
    "where", ["in the epoch", pytest.param("in validation", marks=pytest.mark.slow)]
)
def test_nan_keeps_the_last_good_weights(where, pairs, tmp_path, monkeypatch):
    good = training.run(job(tmp_path / "good", pairs, tiny(epochs=1)))
    if where == "in the epoch":
        monkeypatch.setattr(training.RunKeeper, "_NAN_INTERVAL", 2)
    begin = training.RunKeeper.on_epoch_begin

    def spoil(keeper, epoch, logs=None):
        begin(keeper, epoch, logs)
        if epoch == 1:
            network = keeper.model.generator
            if where == "in validation":
                network = keeper.model.averaged_generator
            network.set_weights([np.full_like(value, np.nan) for value in network.get_weights()])

    monkeypatch.setattr(training.RunKeeper, "on_epoch_begin", spoil)
    with pytest.raises(ValueError, match="NaN.*smaller learning rate"):
        # The same learning rates in the first epoch: they do not fall.
        training.run(job(tmp_path / "run", pairs, tiny(epochs=1, adversarial_epochs=1)))
    kept = keras.saving.load_model(tmp_path / "run" / "averaged.keras", compile=False)
    for a, b in zip(kept.get_weights(), good.averaged_generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(run_folder.read_log(tmp_path / "run" / "log.csv")) == 1


def test_run_ends_when_patience_does(pairs, tmp_path, monkeypatch):
    config = tiny(epochs=6, steps_per_epoch=1, patience=2, learning_rate=1e-9)
    scores = iter([20.0, 21.0, 20.5, 20.9, 30.0, 30.0])
    end = training.RunKeeper.on_epoch_end

    def scored(keeper, epoch, logs=None):
        end(keeper, epoch, {**logs, "val_psnr": next(scores)})

    monkeypatch.setattr(training.RunKeeper, "on_epoch_end", scored)
    training.run(job(tmp_path / "run", pairs, config))
    assert len(run_folder.read_log(tmp_path / "run" / "log.csv")) == 4
    assert "ended after 2 epochs" in (tmp_path / "run" / "report.md").read_text()
    # A resumed run is as impatient as it was.
    training.run(training.RestorerJob.from_run(tmp_path / "run", workers=0), resume=True)
    assert len(run_folder.read_log(tmp_path / "run" / "log.csv")) == 4


def test_best_is_kept_apart_from_last(pairs, tmp_path, monkeypatch):
    scores = iter([21.0, 20.0])
    end = training.RunKeeper.on_epoch_end

    def scored(keeper, epoch, logs=None):
        end(keeper, epoch, {**logs, "val_psnr": next(scores)})

    monkeypatch.setattr(training.RunKeeper, "on_epoch_end", scored)
    training.run(job(tmp_path / "run", pairs, tiny(learning_rate=1e-2)))
    first, last = (
        keras.saving.load_model(tmp_path / "run" / name, compile=False).get_weights()
        for name in ("best.keras", "averaged.keras")
    )
    assert any((a != b).any() for a, b in zip(first, last, strict=True))


# Parts


def test_perceptual_network_is_neither_trained_nor_saved(tmp_path):
    config = preset_in_tiny_form("deblurgan_v2", tmp_path)
    model = training.build_deblur_gan(config)
    own = sum(len(network.variables) for network in (model.generator, model.discriminator))
    own += len(model.averaged_generator.variables)
    assert len(model.trainable_variables) <= own
    model.built = True
    model.save_weights(tmp_path / "state.weights.h5")
    assert (tmp_path / "state.weights.h5").stat().st_size < 500_000


def test_warm_up_has_losses_of_its_own(pairs, tmp_path):
    config = tiny(
        epochs=1, adversarial_epochs=1, warm_up_content={"ssim": 1.0}, content={"mse": 1.0}
    )
    training.run(job(tmp_path / "run", pairs, config))
    first, second = run_folder.read_log(tmp_path / "run" / "log.csv")
    assert "ssim_loss" in first and "mse_loss" not in first
    assert "mse_loss" in second and "ssim_loss" not in second


@pytest.mark.parametrize(
    "precision", ["mixed_float16", pytest.param("mixed_bfloat16", marks=pytest.mark.slow)]
)
def test_mixed_precision_trains_in_float32_weights(precision, pairs, tmp_path):
    config = tiny(precision=precision, adversarial_epochs=1, epochs=0, steps_per_epoch=2)
    before = networks.build("unet", **GENERATOR)
    model = training.run(job(tmp_path / "run", pairs, config))
    assert model.generator.compute_dtype == precision.removeprefix("mixed_")
    assert {value.dtype.name for value in model.generator.get_weights()} == {"float32"}
    assert all(math.isfinite(value.sum()) for value in model.generator.get_weights())
    assert keras.config.dtype_policy().name == "float32"
    assert [a.shape for a in before.get_weights()] == [
        a.shape for a in model.generator.get_weights()
    ]


def test_gradients_are_clipped_to_the_global_norm():
    tensor = ops.convert_to_tensor
    gradients = [tensor(np.float32([3.0, 0.0])), None, tensor(np.float32([[4.0]]))]
    clipped = gan._clip(gradients, 1.0, keras.optimizers.SGD())
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[0]), [0.6, 0.0], rtol=1e-6)
    assert clipped[1] is None
    np.testing.assert_allclose(ops.convert_to_numpy(clipped[2]), [[0.8]], rtol=1e-6)
    for norm in (10.0, None):
        same = gan._clip(gradients, norm, keras.optimizers.SGD())
        np.testing.assert_array_equal(ops.convert_to_numpy(same[0]), [3.0, 0.0])


def test_scaled_gradients_are_clipped_by_their_true_norm():
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(), initial_scale=1024.0)
    optimizer.build([keras.Variable(np.zeros(2, "float32"))])
    scaled = [ops.convert_to_tensor(np.float32([3.0, 4.0]) * 1024.0)]
    (clipped,) = gan._clip(scaled, 1.0, optimizer)
    np.testing.assert_allclose(ops.convert_to_numpy(clipped) / 1024.0, [0.6, 0.8], rtol=1e-6)
    (same,) = gan._clip(scaled, 10.0, optimizer)
    np.testing.assert_array_equal(ops.convert_to_numpy(same), ops.convert_to_numpy(scaled[0]))


@pytest.mark.skipif(not ON_TENSORFLOW, reason="PyTorch has a switch of its own")
def test_deterministic_mode_asks_for_deterministic_kernels(pairs, tmp_path, monkeypatch):
    import tensorflow as tf

    asked = []
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: asked.append(1))
    config = tiny(epochs=1, steps_per_epoch=1)
    training.run(job(tmp_path / "usual", pairs, config))
    assert not asked
    training.run(job(tmp_path / "same", pairs, dataclasses.replace(config, deterministic=True)))
    assert asked


# Starting from what there is


@pytest.fixture
def trained(tmp_path):
    """A generator with weights of its own, as `.keras` file."""
    keras.utils.set_random_seed(5)
    generator = networks.build("unet", **GENERATOR)
    rng = np.random.default_rng(0)
    generator.set_weights(
        [
            0.05 * rng.standard_normal(value.shape).astype("float32")
            for value in generator.get_weights()
        ]
    )
    generator.save(tmp_path / "trained.keras")
    return generator


def initial(*paths):
    keras.utils.set_random_seed(1)
    generator = networks.build("unet", **GENERATOR)
    training._load_initial(generator, paths, {"generator": "unet", "generator_options": GENERATOR})
    return generator.get_weights()


def assert_weights(found, generator):
    for a, b in zip(found, generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_init_from_a_file_or_a_run(trained, tmp_path):
    assert_weights(initial(tmp_path / "trained.keras"), trained)
    trained.save_weights(tmp_path / "only.weights.h5")
    assert_weights(initial(tmp_path / "only.weights.h5"), trained)
    (tmp_path / "run").mkdir()
    trained.save(tmp_path / "run" / "averaged.keras")
    assert_weights(initial(tmp_path / "run"), trained)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are written by TensorFlow")
def test_init_from_a_saved_model(trained, tmp_path):
    from keras_refocus.deployment import saved_model

    for half, tolerance in ((False, 0.0), (True, 1e-3)):
        version = saved_model.export_restorer(trained, tmp_path / "restorer", half=half)
        for path in (version, tmp_path / "restorer"):
            for a, b in zip(initial(path), trained.get_weights(), strict=True):
                np.testing.assert_allclose(a, b, atol=tolerance)


def test_init_from_parts(tmp_path, caplog):
    parts = {
        "wiener": {"window": 8, "features": 4, "width": 4, "gates": 1},
        "bank": {"widths": (8,), "depths": (1,), "decoder_depths": (), "filter_size": 5},
    }
    keras.utils.set_random_seed(1)
    alone = networks.build("blind_wiener", refine=False, **parts["wiener"])
    alone.save(tmp_path / "alone.keras")
    bank = networks.build("filter_bank", **parts["bank"])
    bank.save(tmp_path / "bank.keras")
    whole = networks.build("blind_wiener", refine_options=parts["bank"], **parts["wiener"])
    with caplog.at_level("INFO", "keras_refocus"):
        training._load_initial(whole, [tmp_path / "alone.keras", tmp_path / "bank.keras"], None)
    # What tells the two of each other.
    missing = {v.path for v in whole.trainable_variables}
    missing -= {v.path for part in (alone, bank) for v in part.variables}
    assert {name.split("/")[0].split("_")[0] for name in missing} == {"context", "estimate"}
    assert f"{len(missing)} of {len(whole.trainable_variables)} trained" in caplog.text
    assert re.search("start afresh, such as (context|estimate)", caplog.text)
    values = {variable.path: ops.convert_to_numpy(variable) for variable in whole.variables}
    for part in (alone, bank):
        for variable in part.variables:
            np.testing.assert_array_equal(values[variable.path], ops.convert_to_numpy(variable))
    # The whole is not a part of a part.
    whole.save(tmp_path / "whole.keras")
    with pytest.raises(ValueError, match="'edges_.* is not in there"):
        training._load_initial(bank, [tmp_path / "whole.keras"], None)


def test_init_from_a_part_alone_needs_to_be_known_as_another_network(trained, tmp_path):
    options = GENERATOR | {"depths": [2, 1]}
    larger = networks.build("unet", **options)
    wanted = {"generator": "unet", "generator_options": options}
    (tmp_path / "run").mkdir()
    trained.save(tmp_path / "run" / "best.keras")
    with pytest.raises(ValueError, match="it has no 'encoder0_1_conv1"):
        training._load_initial(larger, [tmp_path / "run"], wanted)
    record = {"config": configs.to_json(tiny(discriminator_options=DISCRIMINATOR))}
    run_folder.write_json(tmp_path / "run" / "record.json", record)
    training._load_initial(larger, [tmp_path / "run"], wanted)
    for layer in trained.layers:
        for a, b in zip(
            larger.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_init_from_something_else_is_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        initial(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither"):
        initial(tmp_path)
    networks.build("unet", widths=[8], depths=[1], decoder_depths=[]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="of the configured generator.*other.keras.*'unet'"):
        initial(tmp_path / "other.keras")


def test_network_of_a_run_and_of_a_saved_model(tmp_path):
    assert training.network_of(tmp_path / "nothing.keras") is None
    expected = {"generator": "unet", "generator_options": GENERATOR}
    (tmp_path / "run").mkdir()
    record = {"config": configs.to_json(tiny(discriminator_options=DISCRIMINATOR))}
    run_folder.write_json(tmp_path / "run" / "record.json", record)
    assert training.network_of(tmp_path / "run") == expected
    assert training.network_of(tmp_path / "run" / "best.keras") == expected
    version = tmp_path / "restorer" / "2"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    assert training.network_of(tmp_path / "restorer") is None
    (version / "assets.extra" / "network.json").write_text(json.dumps(expected))
    assert training.network_of(tmp_path / "restorer") == expected


@pytest.mark.slow
def test_twenty_pairs_improve_held_out_pairs_of_the_same_folder(tmp_path):
    """The preset `fine_tune`: what one camera does to pictures is learned from a few of them."""
    write_pairs(tmp_path / "mine", 20)
    write_pairs(tmp_path / "held_out", 6, first=100)
    keras.utils.set_random_seed(0)
    networks.build("unet", **GENERATOR).save(tmp_path / "start.keras")
    config = tiny(
        configs.RESTORER_PRESETS["fine_tune"],
        epochs=4,
        steps_per_epoch=30,
        batch_size=4,
        learning_rate=5e-3,
        average_decay=0.9,
    )
    training.run(
        job(
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


def test_pictures_that_do_not_fit_into_memory_are_read_once_for_several_batches(tmp_path):
    write_photos(tmp_path / "photos")
    write_pairs(tmp_path / "pairs", count=3)
    for echo, expected in ((None, 8), (2, 2)):
        made = training.RestorerJob(
            config=tiny(echo=echo),
            folder=tmp_path / "run",
            photos=tmp_path / "photos",
            pairs=(tmp_path / "pairs",),
            validation_pairs=tmp_path / "pairs",
        )
        pictures = made.collect()
        assert pictures.decoded_bytes == (4 + 2 * 3) * 48 * 48 * 3
        (phase,) = training.phases(made.config)
        assert made.sampler(pictures, phase).echo == (echo or 1)
        large = dataclasses.replace(pictures, decoded_bytes=2 * sampling.CACHE_BYTES)
        assert made.sampler(large, phase).echo == expected
