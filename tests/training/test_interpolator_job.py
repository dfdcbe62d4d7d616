"""Trainings of corrections of frames in between, from clips to what is kept of them."""

import dataclasses

import numpy as np
import pytest
import tiny_clips
from tiny_networks import TINY, TINY_DISCRIMINATORS, each
from tiny_training import without_tracing

from keras_refocus.training import configs, interpolator_job, presets, run, run_folder
from keras_refocus.video import triplets


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    """Patches of a clip of two shots."""
    folder = tmp_path_factory.mktemp("clips")
    lumas = [
        frame
        for seed in (0, 1)
        for frame in tiny_clips.moving(seed, 9, height=64, width=80, step=5.0)
    ]
    clip = tiny_clips.write(folder / "clip.mkv", lumas, gray=True)
    triplets.extract([clip], folder / "patches", every=1, size=48)
    return folder / "patches"


def tiny(name="interpolator", **changes):
    base = presets.INTERPOLATOR_PRESETS[name]
    values = {
        "generator_options": TINY[base.generator],
        "discriminator_options": TINY_DISCRIMINATORS[base.discriminator],
        "patch_size": 32,
        "batch_size": 2,
        "epochs": 1,
        "adversarial_epochs": min(base.adversarial_epochs, 1),
        "steps_per_epoch": 1,
        "warmup_steps": 1,
    }
    return dataclasses.replace(base, **values | changes)


def job(folder, patches, **options):
    values = {"config": tiny(), "workers": 0, "validation_count": 4, "triplets": patches}
    return interpolator_job.InterpolatorJob(folder=folder, **values | options)


@pytest.mark.parametrize("name", each(presets.INTERPOLATOR_PRESETS, slow={"adversarial"}))
def test_every_preset_trains(name, patches, tmp_path):
    with without_tracing():
        run.run(job(tmp_path / "run", patches, config=tiny(name)))
    rows = run_folder.read_log(tmp_path / "run" / run_folder.LOG)
    assert len(rows) == tiny(name).total_epochs
    assert all(np.isfinite(row["val_psnr"]) for row in rows)
    report = (tmp_path / "run" / run_folder.REPORT).read_text()
    assert "refocus benchmark video" in report and "--fps 2x --best" in report


@pytest.fixture
def mistaken(tmp_path):
    """Patches of waves whose classical weights are all on a frame that shows something else."""
    rng = np.random.default_rng(0)
    columns = np.arange(32.0)
    (tmp_path / "mistaken").mkdir()
    for number in range(12):
        phases = rng.uniform(0, 2 * np.pi, 9)
        parts = [np.tile(0.5 + 0.3 * np.sin(columns / 3 + phase), (32, 1)) for phase in phases[:8]]
        weights = [np.full((32, 32), float(part in (0, 1)) / 2) for part in range(8)]
        # The truth is between what the first estimate makes of both frames.
        patch = np.stack([*parts, *weights, (parts[2] + parts[3]) / 2], axis=-1)
        name = f"0000_{number:04d}_000000_0.npy"
        np.save(tmp_path / "mistaken" / name, patch.astype(np.float16))
    return tmp_path / "mistaken"


def test_it_starts_as_the_classical_estimate_and_learns_what_that_does_wrong(mistaken, tmp_path):
    config = tiny(
        steps_per_epoch=60, learning_rate=3e-3, batch_size=4, average_decay=0.5, warmup_steps=5
    )
    own = job(tmp_path / "run", mistaken, config=config)
    seen, _ = own.validation(own.collect())
    classical = (seen[..., :8] * seen[..., 8:]).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(own.build(None)(seen)), classical, atol=1e-6)
    run.run(own)
    before = run_folder.read_record(tmp_path / "run")["validation"]["psnr"]
    (row,) = run_folder.read_log(tmp_path / "run" / run_folder.LOG)
    assert row["val_psnr"] > before + 3


# Quick for every kind of shell (test_deblur_gan and others) and one job (test_run).
@pytest.mark.slow
def test_stopped_and_resumed_equals_straight_through(patches, tmp_path):
    chosen = tiny(epochs=2, schedule="constant")
    with without_tracing():
        through = run.run(job(tmp_path / "through", patches, config=chosen))
        run.run(job(tmp_path / "stopped", patches, config=dataclasses.replace(chosen, epochs=1)))
        resumed = interpolator_job.InterpolatorJob.from_run(
            tmp_path / "stopped", workers=0, changes={"epochs": 2}
        )
        model = run.run(resumed, resume=True)
    for one, other in zip(through.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_scenes_are_set_aside_whole(patches, tmp_path):
    more = patches.parent / "more"
    more.mkdir()
    for scene in range(8):
        for number in range(6):
            source = next(patches.glob("*.npy"))
            (more / f"0000_{scene:04d}_{number:06d}_0.npy").write_bytes(source.read_bytes())
    pictures = job(tmp_path, more).collect()
    scenes = [
        {path.name.split("_")[1] for path in source.paths}
        for source in (*pictures.sources, *pictures.validation)
    ]
    assert not scenes[0] & scenes[1]


def test_mistakes_are_sentences(patches, tmp_path):
    with pytest.raises(ValueError, match="--videos"):
        job(tmp_path, None)
    with pytest.raises(ValueError, match="--validation-videos"):
        job(tmp_path, patches, validation_photos=tmp_path)
    with pytest.raises(ValueError, match="must hold patches"):
        job(tmp_path, tmp_path).collect()
    with pytest.raises(ValueError, match="correction_unet"):
        interpolator_job.build_interpolation_gan(configs.InterpolatorConfig(generator="unet"))
