import argparse
import dataclasses
import json

import keras
import numpy as np
import pytest
from keras import ops
from tiny_training import save, texture, without_tracing

from keras_refocus import networks, train
from keras_refocus.pictures import color_bins
from keras_refocus.training import (
    colorizer_job,
    configs,
    keeper,
    optimizers,
    presets,
    run,
    run_folder,
)
from keras_refocus.training.job import phases

RESNET = {"filters": 2, "residual_blocks": 1}
PATCHGAN = {"filters": 2, "layers": 1}
MOBILENET = {"weights": None, "alpha": 0.35, "widths": [4] * 5, "depths": [1] * 5}


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """Validate on small photos, without tracing and without curves, which take longer."""
    monkeypatch.setattr(colorizer_job, "VALIDATION_SIZE", 32)
    monkeypatch.setattr(run_folder, "draw_curves", lambda path, rows: path.touch())
    with without_tracing():
        yield


@pytest.fixture
def photos(tmp_path):
    for index in range(6):
        save(tmp_path / "photos" / f"{index}.png", texture(index, 40))
    return tmp_path / "photos"


def tiny(base=None, **changes):
    """A configuration of either preset on toy networks, both kinds of epochs if it can be."""
    base = base or presets.COLORIZER_PRESETS["cyclegan_color_aware"]
    values = {
        "generator": "resnet_colorizer",
        "generator_options": RESNET,
        "decolorizer_options": RESNET,
        "discriminator_options": PATCHGAN,
        "color_losses": {"color_aware": 1.0} if base.paired else {},
        "patch_size": 16,
        "batch_size": 2,
        "final_patch_size": None,
        "final_batch_size": None,
        "final_epochs": 0,
        "epochs": 1 if base.paired else 0,
        "adversarial_epochs": 1 if base.paired else 2,
        "steps_per_epoch": 2,
        "warmup_steps": 2,
        "pool_size": 4,
    }
    return dataclasses.replace(base, **values | changes)


def job(folder, photos, config=None, **options):
    values = {"workers": 0, "validation_count": 2} | options
    return colorizer_job.ColorizerJob(
        folder=folder, photos=(photos,), config=config or tiny(), **values
    )


def state(model):
    """Everything that decides the future, by name."""
    values = {"steps": model.steps, "seeds": model.seed_generator.state}
    parts = {
        "averaged": model.averaged_generator,
        "to_color": model.to_color,
        "to_gray": model.to_gray,
        "color_discriminator": model.color_discriminator,
        "gray_discriminator": model.gray_discriminator,
        "color_pool": model.color_pool,
        "gray_pool": model.gray_pool,
        "generator_optimizer": model.generator_optimizer,
        "discriminator_optimizer": model.discriminator_optimizer,
    }
    for name, part in parts.items():
        for index, variable in enumerate(part.variables):
            values[f"{name}/{index}"] = variable
    return {name: np.array(ops.convert_to_numpy(value.value)) for name, value in values.items()}


# What a configuration may say


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paired": False}, "Unpaired training has adversarial epochs alone"),
        ({"color_losses": {}}, "Paired training needs colour losses"),
        ({"smallest_part": 0.0}, "smallest_part=0.0"),
        ({"tone": -1.0}, "tone=-1.0"),
        ({"old_prints": 1.5}, "old_prints=1.5"),
        ({"adversarial_epochs": 1, "pool_size": 3, "batch_size": 4}, "pool_size=3, batches of 4"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        configs.ColorizerConfig(**changes)


def test_configurations_survive_files_and_command_lines():
    for preset in presets.COLORIZER_PRESETS.values():
        text = json.dumps(configs.to_json(preset))
        assert configs.from_json(configs.ColorizerConfig, json.loads(text)) == preset
        parser = argparse.ArgumentParser()
        configs.add_arguments(parser, configs.ColorizerConfig)
        base = configs.ColorizerConfig()
        given = parser.parse_args(configs.to_arguments(preset, base))
        assert configs.from_arguments(base, given) == preset


def test_cyclegan_preset_is_the_papers():
    preset = presets.COLORIZER_PRESETS["cyclegan"]
    assert not preset.paired and not preset.color_losses
    # The paper's game has no half; ours has.
    assert (preset.adversarial, preset.adversarial_weight) == ("lsgan", 2.0)
    assert (preset.cycle_weight, preset.identity_weight, preset.pool_size) == (10.0, 0.5, 50)
    assert (preset.patch_size, preset.batch_size, preset.beta_1) == (256, 1, 0.5)
    rate = optimizers.generator_optimizer(preset)._learning_rate
    steps = preset.steps_per_epoch
    rates = [float(ops.convert_to_numpy(rate(epoch * steps))) for epoch in (0, 99, 150, 200)]
    assert rates == pytest.approx([2e-4, 2e-4, 1e-4, 0.0])
    options = networks.options(preset.generator)
    assert options["residual_blocks"] == 9 and options["normalization"] == "instance"


def test_old_prints_are_shown_until_discriminators_judge(photos, tmp_path):
    work = job(tmp_path / "run", photos, tiny(old_prints=0.4))
    pictures = work.collect()
    shares = [work.sampler(pictures, phase).old_prints for phase in phases(work.config)]
    assert shares == [0.4, 0.0]
    with pytest.raises(ValueError, match=r"old_prints=0\.4"):
        colorizer_job.ColorizerJob(folder=tmp_path / "run", data="coco_lab", config=work.config)


def test_networks_of_another_kind_are_refused():
    for changes in ({"generator": "unet"}, {"decolorizer": "unet"}, {"discriminator": "unet"}):
        with pytest.raises(ValueError, match="must be one of"):
            colorizer_job.build_cycle_gan(tiny(**changes))


# Photos


def test_grey_photos_are_left_out_and_counted(photos, tmp_path, caplog):
    gray = np.repeat(texture(0, 40)[..., :1], 3, axis=-1)
    save(photos / "gray.png", gray)
    found = job(tmp_path / "run", photos).collect()
    assert "1 grey photos were left out" in caplog.text
    assert "1 grey photos were left out." in found.notes
    assert "gray.png" not in found.manifest and "0.png" in found.manifest
    assert found.manifest.count("\n") == 6
    (source,) = found.sources
    assert len(source) == 5  # One more is held out.
    assert found.color_counts.shape == (color_bins.COUNT,)
    assert found.color_counts.sum() == 5 * 64 * 64


def test_photos_that_are_all_grey_are_refused(tmp_path):
    save(tmp_path / "photos" / "gray.png", np.full((20, 20, 3), 90, np.uint8))
    with pytest.raises(ValueError, match="At least one photo must be in colour.*1 grey"):
        job(tmp_path / "run", tmp_path / "photos").collect()


def test_unpaired_photos_are_of_different_scenes(photos, tmp_path):
    config = tiny(presets.COLORIZER_PRESETS["cyclegan"])
    found = job(tmp_path / "run", photos, config, validation_photos=photos).collect()
    colored, gray = (set(source.paths) for source in found.sources)
    assert len(colored) == len(gray) == 3 and not colored & gray


def test_rare_colours_reach_the_losses(photos, tmp_path):
    config = tiny(rebalance=0.5)
    this = job(tmp_path / "run", photos, config)
    found = this.collect()
    expected = color_bins.rarity(found.color_counts, uniform=0.5)
    np.testing.assert_array_equal(this.build(found).rarity, expected)


# Jobs


def test_a_job_needs_photos_and_one_device(tmp_path):
    with pytest.raises(ValueError, match="--photos"):
        colorizer_job.ColorizerJob(folder=tmp_path, config=tiny())
    with pytest.raises(ValueError, match="strategy='mirrored'.*--strategy"):
        job(tmp_path, tmp_path, strategy="mirrored")


def test_the_best_epoch_has_colours_and_few_wrong_ones(tmp_path):
    this = job(tmp_path, tmp_path, tiny(colorfulness_target=0.6))
    before = {"chroma_error": 10.0, "truth": {"colorfulness": 40.0}}

    def score(error, colorfulness):
        return this.monitored({"val_chroma_error": error, "val_colorfulness": colorfulness}, before)

    assert score(9.5, 24.0) == pytest.approx(-0.95)
    assert score(9.5, 36.0) == pytest.approx(-0.95)  # Enough is enough.
    # A fifth of the colours, less than 60% by 0.4.
    assert score(9.0, 8.0) == pytest.approx(-0.9 - 0.4)
    assert this.monitored({}, before) == -np.inf


def test_grey_scores_and_samples(photos, tmp_path):
    this = job(tmp_path, photos)
    validation = this.validation(this.collect())
    luminance, chroma = validation
    assert luminance.shape == (1, 32, 32, 1) and chroma.shape == (1, 32, 32, 2)
    scores = this.input_scores(validation)
    lengths = 110.0 * np.linalg.norm(chroma, axis=-1)
    assert scores["chroma_error"] == pytest.approx(lengths.mean(), rel=1e-4)
    assert scores["colorfulness"] == 0.0 and scores["truth"]["colorfulness"] > 20.0
    model = this.build(this.collect())
    sheet = this.draw(model, validation)
    assert sheet.shape == (32, 96, 3) and sheet.dtype == np.uint8
    assert np.ptp(sheet[:, :32].astype(int), axis=-1).max() <= 1  # Grey goes in.
    assert np.ptp(sheet[:, 64:].astype(int), axis=-1).max() > 50


# Runs


def interrupted_equals_straight(config, photos, tmp_path, monkeypatch):
    straight = state(run.run(job(tmp_path / "straight", photos, config)))
    left = [config.steps_per_epoch + 1]

    def stop(keeper, batch, logs=None):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeper.RunKeeper, "on_train_batch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run.run(job(tmp_path / "stopped", photos, config))
    again = colorizer_job.ColorizerJob.from_run(tmp_path / "stopped", workers=0)
    assert again.config == config
    resumed = state(run.run(again, resume=True))
    assert straight.keys() == resumed.keys()
    for name, values in straight.items():
        np.testing.assert_array_equal(values, resumed[name], err_msg=name)
    rows = [run_folder.read_log(tmp_path / name / "log.csv") for name in ("straight", "stopped")]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    assert rows[0] == rows[1] and len(rows[0]) == 2


@pytest.mark.slow  # How a run goes on is the same for both stages: `test_run`; the shell: here.
def test_resumed_equals_uninterrupted_bit_for_bit(photos, tmp_path, monkeypatch):
    interrupted_equals_straight(tiny(), photos, tmp_path, monkeypatch)


def command(run, photos, *options):
    words = ["colorizer", "--run", run, "--photos", photos, "--workers", 0, *options]
    train.main([str(word) for word in words])


@pytest.mark.slow
def test_the_shipped_recipe_trains_from_the_command_line(photos, tmp_path, capsys):
    run = tmp_path / "run"
    options = [
        *("--generator-options", json.dumps(MOBILENET), "--validation-count", 2),
        *"--patch-size 32 --batch-size 2 --epochs 2 --steps-per-epoch 2 --final-epochs 0".split(),
        *"--adversarial-epochs 0 --warmup-steps 1 --precision float32".split(),
    ]
    command(run, photos, *options)
    record = run_folder.read_record(run)
    assert record["stage"] == "colorizer"
    assert record["data"]["photos"] == [str(photos.resolve())]
    rows = run_folder.read_log(run / "log.csv")
    names = {"loss", "val_psnr", "val_chroma_error", "val_colorfulness", "cross_entropy_loss"}
    assert names <= set(rows[1])
    report = (run / "report.md").read_text()
    for part in ("| grey input |", "| photo |", "chroma error", "colourfulness", "coloured"):
        assert part in report
    assert (run / "samples" / "epoch_0002.png").is_file()
    network = keras.saving.load_model(run / "best.keras", compile=False)
    assert network(np.zeros((1, 20, 30, 1), "float32")).shape == (1, 20, 30, 2)

    # Another training may begin with it, and needs no options.
    command(tmp_path / "other", photos, "--init-from", run, *options[2:], "--epochs", 1)
    assert run_folder.read_record(tmp_path / "other")["config"]["generator_options"] == MOBILENET
    for words, message in (
        (["restorer", "--run", run, "--resume"], "that of a colorizer"),
        (["colorizer", "--run", run, "--resume", "--photos", photos], "keeps its configuration"),
        (["colorizer", "--run", tmp_path / "x"], "neither folders nor a data set"),
    ):
        with pytest.raises(SystemExit):
            train.main([str(word) for word in words])
        assert message in capsys.readouterr().err


def test_cyclegan_trains_unpaired_from_the_command_line(photos, tmp_path):
    run = tmp_path / "run"
    options = (json.dumps(RESNET), "--discriminator-options", json.dumps(PATCHGAN))
    command(
        run, photos, "--preset", "cyclegan", "--decolorizer-options", json.dumps(RESNET),
        "--generator-options", *options, "--patch-size", 16, "--adversarial-epochs", 1,
        "--steps-per-epoch", 3, "--pool-size", 2,
    )  # fmt: skip
    (row,) = run_folder.read_log(run / "log.csv")
    assert {"adversarial_loss", "cycle_loss", "identity_loss", "discriminator_loss"} <= set(row)
    assert "color_aware_loss" not in row
