import dataclasses

import numpy as np
import published_layouts as layouts
import pytest
from tiny_training import (
    GENERATOR,
    preset_in_tiny_form,
    small_job,
    tiny,
    write_pairs,
    write_photos,
)

from keras_refocus import networks
from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.networks import costs
from keras_refocus.training import presets, restorer_job, run, run_folder
from keras_refocus.training.job import phases


@pytest.fixture
def pairs(tmp_path):
    return write_pairs(tmp_path / "pairs")


def test_a_job_needs_pictures(tmp_path):
    with pytest.raises(ValueError, match="--photos or --pairs"):
        restorer_job.RestorerJob(folder=tmp_path, config=tiny())
    with pytest.raises(ValueError, match="validation_count=0"):
        restorer_job.RestorerJob(
            folder=tmp_path, config=tiny(), photos=tmp_path, validation_count=0
        )


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="record.json.*without --resume"):
        restorer_job.RestorerJob.from_run(tmp_path)


def test_half_readable_pairs_are_left_out(pairs, tmp_path, caplog):
    (pairs / "blur" / "02.png").write_text("no picture")
    kept, facts = restorer_job._usable_pairs(pairs, "train")
    assert [blurred.name for blurred, _ in kept] == ["00.png", "01.png", "03.png"]
    assert len(facts) == 6
    assert "02.png" in caplog.text and "1 unreadable" in caplog.text


def test_training_on_a_published_set_keeps_to_its_training_half(tmp_path):
    root = layouts.make_hide(tmp_path / "HIDE_dataset")
    record = restorer_job.RestorerJob(
        folder=tmp_path / "run", pairs=(root,), config=tiny()
    ).collect()
    used = [
        blurred for source in (*record.sources, *record.validation) for blurred, _ in source.paths
    ]
    assert len(used) == 20
    assert {blurred.parent.name for blurred in used} == {"train"}


def test_blur_options_change_the_blur_of_photos(tmp_path):
    photos = write_photos(tmp_path / "photos")
    changed = {"blur": "clean", "blur_options": {"layers": [1.0], "noise": 0.5}}
    record = restorer_job.RestorerJob(
        folder=tmp_path / "run", photos=photos, config=tiny(**changed)
    ).collect()
    for source in (*record.sources, *record.validation):
        assert source.blur.layers == (1.0,) and source.blur.noise == 0.5
        assert source.blur.anchor == exposure.SETTINGS["clean"].anchor


def test_report_prints_the_command_that_repeats_the_run(pairs, tmp_path):
    config = tiny(flip=False, content={"l1": 1.0})
    words = small_job(tmp_path / "my run", pairs, config).command()
    assert f"--run '{tmp_path}/my run'" in words
    assert "--no-flip" in words and """--content '{"l1": 1.0}'""" in words


def test_samples_show_blurred_restored_and_sharp(pairs):
    blurred = np.full((2, 4, 5, 1), 0.2, np.float32)
    sharp = np.full((2, 4, 5, 1), 0.6, np.float32)
    sheet = restorer_job.sample_sheet(lambda x, training: x + 0.2, blurred, sharp)
    assert sheet.shape == (8, 15)
    np.testing.assert_array_equal(np.unique(sheet[:, :5]), [51])
    np.testing.assert_array_equal(np.unique(sheet[:, 5:10]), [102])
    np.testing.assert_array_equal(np.unique(sheet[:, 10:]), [153])


def test_perceptual_network_is_neither_trained_nor_saved(tmp_path):
    config = preset_in_tiny_form("deblurgan_v2", tmp_path)
    model = restorer_job.build_deblur_gan(config)
    own = sum(len(network.variables) for network in (model.generator, model.discriminator))
    own += len(model.averaged_generator.variables)
    assert len(model.trainable_variables) <= own
    model.built = True
    model.save_weights(tmp_path / "state.weights.h5")
    assert (tmp_path / "state.weights.h5").stat().st_size < 500_000


def test_pictures_that_do_not_fit_into_memory_are_read_once_for_several_batches(tmp_path):
    write_photos(tmp_path / "photos")
    write_pairs(tmp_path / "pairs", count=3)
    for echo, expected in ((None, 8), (2, 2)):
        made = restorer_job.RestorerJob(
            config=tiny(echo=echo),
            folder=tmp_path / "run",
            photos=tmp_path / "photos",
            pairs=(tmp_path / "pairs",),
            validation_pairs=tmp_path / "pairs",
        )
        pictures = made.collect()
        assert pictures.decoded_bytes == (4 + 2 * 3) * 48 * 48 * 3
        (phase,) = phases(made.config)
        assert made.sampler(pictures, phase).echo == (echo or 1)
        large = dataclasses.replace(pictures, decoded_bytes=2 * sampling.CACHE_BYTES)
        assert made.sampler(large, phase).echo == expected


def test_photos_of_several_folders_are_learned_and_remembered(tmp_path):
    for name in ("one", "other"):
        write_photos(tmp_path / name)
    folders = (tmp_path / "one", tmp_path / "other")
    made = restorer_job.RestorerJob(config=tiny(), folder=tmp_path / "run", photos=folders)
    (source,) = made.collect().sources
    assert {path.parent.name for path in source.paths} == {"one", "other"}
    again = restorer_job.RestorerJob.pictures_of({"data": made.data_record()})
    assert again["photos"] == tuple(path.resolve() for path in folders)
    # Older records have one path, or none.
    old = made.data_record() | {"photos": str(folders[0])}
    assert restorer_job.RestorerJob.pictures_of({"data": old})["photos"] == folders[:1]
    old["photos"] = None
    assert restorer_job.RestorerJob.pictures_of({"data": old})["photos"] == ()


def test_the_teacher_of_a_run_is_kept_with_it(pairs, tmp_path):
    networks.build("unet", **GENERATOR).save(tmp_path / "teacher.keras")
    job = small_job(
        tmp_path / "run",
        pairs,
        tiny(epochs=1, steps_per_epoch=2, teacher_weight=0.3),
        teacher=tmp_path / "teacher.keras",
    )
    run.run(job)
    (row,) = run_folder.read_log(tmp_path / "run" / "log.csv")
    assert row["teacher_loss"] > 0
    resumed = restorer_job.RestorerJob.from_run(tmp_path / "run")
    assert resumed.teacher == job.teacher and resumed.config.teacher_weight == 0.3
    assert f"--teacher {job.teacher}" in resumed.command()


@pytest.mark.slow
def test_the_fast_sibling_has_a_third_of_the_operations():
    sibling, large = (
        networks.build(config.generator, **config.generator_options)
        for config in (presets.RESTORER_PRESETS[name] for name in ("fast_sibling", "pyramid"))
    )
    assert 3 * costs.count_macs(sibling, 720, 1280) < costs.count_macs(large, 720, 1280)


def test_validation_takes_several_patches_of_few_pictures(tmp_path):
    photos = write_photos(tmp_path / "photos", count=3)
    job = restorer_job.RestorerJob(
        folder=tmp_path / "run", pairs=(write_pairs(tmp_path / "pairs", 2, size=300),),
        validation_photos=photos, config=tiny(blur="clean"),
    )  # fmt: skip
    blurred, _ = job.validation(job.collect())
    assert blurred.shape == (9, 256, 256, 1) or len(blurred) == 8
    # Other parts of a picture, or other blur.
    assert len(np.unique(blurred.reshape(len(blurred), -1), axis=0)) == len(blurred)


def test_validation_is_of_scenes_that_are_not_trained_on(tmp_path):
    root = layouts.make_hide(tmp_path / "HIDE_dataset")
    pictures = restorer_job.RestorerJob(
        folder=tmp_path / "run", pairs=(root,), config=tiny()
    ).collect()
    trained, held = (
        {blurred.name.partition("from")[2] for blurred, _ in part[0].paths}
        for part in (pictures.sources, pictures.validation)
    )
    assert len(held) == 2 and not held & trained
