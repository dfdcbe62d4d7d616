"""Trainings of motion networks, from folders to what is kept of them."""

import dataclasses
import types

import numpy as np
import pytest
from published_layouts import make_high_speed
from tiny_networks import TINY, each
from tiny_training import without_tracing, write_photos

from keras_refocus.training import configs, motion_job, presets, run, run_folder


class Echo:
    """Stands for an engine: the restored picture is the blurred one."""

    def restore(self, tiles, *, model):
        return tiles


@pytest.fixture(autouse=True)
def no_models(monkeypatch):
    engines = types.SimpleNamespace(LocalEngine=lambda folder: Echo())
    monkeypatch.setattr(motion_job, "local", engines)
    monkeypatch.setattr(motion_job, "VALIDATION_SIZE", 32)
    with without_tracing():
        yield


def tiny(name="motion", **changes):
    base = presets.MOTION_PRESETS[name]
    values = {
        "generator_options": TINY[base.generator],
        "patch_size": 24,
        "batch_size": 2,
        "epochs": 1,
        "steps_per_epoch": 1,
        "warmup_steps": 1,
        "parts": 3,
        "blur_options": base.blur_options | {"blur_length": [2.0, 6.0]},
    }
    return configs.settled(dataclasses.replace(base, **values | changes))


def job(folder, **options):
    values = {"config": tiny(), "workers": 0, "validation_count": 2}
    return motion_job.MotionJob(folder=folder, **values | options)


@pytest.mark.parametrize("name", each(presets.MOTION_PRESETS, slow={"standard", "coded", "jin"}))
def test_every_preset_trains(name, tmp_path):
    photos = write_photos(tmp_path / "photos", count=5)
    run.run(job(tmp_path / "run", config=tiny(name), photos=photos))
    rows = run_folder.read_log(tmp_path / "run" / run_folder.LOG)
    assert [row["epoch"] for row in rows] == [1]
    assert all(np.isfinite(row["val_others_psnr"]) for row in rows)
    before = run_folder.read_record(tmp_path / "run")["validation"]
    assert before["psnr"] > 5 and before["classical"]["psnr"] > 5
    report = (tmp_path / "run" / run_folder.REPORT).read_text()
    assert "refocus evaluate motion" in report and "refocus unblur" in report


# Quick for every kind of shell (test_deblur_gan and others) and one job (test_run).
@pytest.mark.slow
def test_stopped_and_resumed_equals_straight_through(tmp_path):
    photos = write_photos(tmp_path / "photos", count=5)
    chosen = tiny(epochs=2, schedule="constant")
    through = run.run(job(tmp_path / "through", photos=photos, config=chosen))
    stopped = dataclasses.replace(chosen, epochs=1)
    run.run(job(tmp_path / "stopped", photos=photos, config=stopped))
    resumed = motion_job.MotionJob.from_run(tmp_path / "stopped", workers=0, changes={"epochs": 2})
    model = run.run(resumed, resume=True)
    for one, other in zip(through.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_kept_examples_are_made_once(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "photos", count=5)
    kept = {"photos": photos, "examples": tmp_path / "kept", "example_count": 3}
    looks = []
    look = motion_job.from_blur.look
    monkeypatch.setattr(
        motion_job.from_blur, "look", lambda *a, **o: looks.append(1) or look(*a, **o)
    )
    first = job(tmp_path / "first", **kept)
    through = run.run(first)
    assert len(looks) == 3 + 2
    words = first.command()
    assert "--examples" in words and "--example-count 3" in words
    again = run.run(job(tmp_path / "again", **kept))
    assert len(looks) == 3 + 2 + 2
    for one, other in zip(through.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    back = motion_job.MotionJob.from_run(tmp_path / "first")
    assert back.examples == (tmp_path / "kept").resolve() and back.example_count == 3
    with pytest.raises(ValueError, match="seed differ"):
        run.run(job(tmp_path / "other", config=tiny(seed=1), **kept))
    with pytest.raises(ValueError, match="example_count=0"):
        job(tmp_path, photos=photos, example_count=0)


def test_clips_are_cut_into_exposures(tmp_path):
    make_high_speed(tmp_path / "clips", ("a", "b"), frames=30)
    own = job(tmp_path / "run", clips=tmp_path / "clips", config=tiny("coded"))
    pictures = own.collect()
    assert sum(len(source) for source in (*pictures.sources, *pictures.validation)) == 8
    assert pictures.sources[0].coded_parts == 3
    seen, frames = own.validation(pictures)
    assert seen.shape == (2, 32, 32, 7) and frames.shape == (2, 32, 32, 11)
    run.run(own)


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(ValueError, match="--photos or --clips"):
        job(tmp_path)
    with pytest.raises(ValueError, match="--strategy"):
        job(tmp_path, photos=tmp_path, strategy="mirrored")
    with pytest.raises(ValueError, match="picture='luminance'"):
        configs.MotionConfig(coded=True)
    with pytest.raises(ValueError, match="no opponent"):
        configs.MotionConfig(adversarial_epochs=1)
    with pytest.raises(ValueError, match="motion_unet, jin"):
        motion_job.build_motion_model(configs.MotionConfig(generator="unet"))
    write_photos(tmp_path / "few", count=3)
    with pytest.raises(ValueError, match="seven frames|at least 7 pictures"):
        job(tmp_path / "run", clips=tmp_path / "few").collect()
