"""What the input side delivers beside what training consumes."""

import itertools
import json
import time

import numpy as np
import pytest
import tiny_data_sets
import tiny_training as tiny

from keras_refocus.benchmarks import input as benchmark_input
from keras_refocus.data import prepared as tfds_batches
from keras_refocus.data import sampling
from keras_refocus.pictures import catalogue
from keras_refocus.training import configs, presets


@pytest.fixture
def small_presets(monkeypatch):
    """Toy networks under the names of the presets."""
    small = {"discriminator": "patchgan", "patch_size": 32, "batch_size": 2}
    fast = configs.RestorerConfig(generator="unet", generator_options=tiny.GENERATOR, **small)
    monkeypatch.setitem(presets.RESTORER_PRESETS, "fast", fast)
    color = configs.ColorizerConfig(
        generator="resnet_colorizer",
        generator_options={"filters": 2, "residual_blocks": 1},
        rebalance=0.8,
        **small,
    )
    monkeypatch.setitem(presets.COLORIZER_PRESETS, "cyclegan_color_aware", color)


class Paced:
    """A training of known speed."""

    def rate(self, seconds):
        return 100.0, 3.0


def test_rates_and_ratio_are_those_of_the_clock():
    def batches():
        while True:
            time.sleep(0.01)
            yield np.zeros((5, 2, 2, 1)), None

    figures = benchmark_input.measure(batches(), Paced(), seconds=0.2, rounds=3)
    # 5 in 10 ms and a little, beside 100 a second.
    assert 50 < figures["delivered"] < 500
    assert (figures["consumed"], figures["training_milliseconds"]) == (100, 3)
    assert figures["ratio"] == pytest.approx(figures["delivered"] / 100)
    assert figures["milliseconds"] < 5


def test_a_training_counts_its_steps():
    class Model:
        def fit(self, batches, *, steps_per_epoch, callbacks, **options):
            for number, _ in enumerate(itertools.islice(batches, steps_per_epoch)):
                time.sleep(0.01 if number else 0.3)  # The first is traced.
                callbacks[0].on_train_batch_end(number, {})
            callbacks[0].on_epoch_end(0, {})

    pytest.importorskip("keras")
    training = benchmark_input.Training(Model(), (np.zeros((4, 2)),))
    rate, milliseconds = training.rate(0.1)
    assert 150 < rate < 400 and 0 <= milliseconds < 4


def test_every_kind_is_measured_in_one_run(small_presets, monkeypatch, tmp_path, capsys):
    tiny.write_photos(tmp_path / "photos")
    tiny.write_pairs(tmp_path / "pairs")
    places = ["--photos", str(tmp_path / "photos"), "--pairs", str(tmp_path / "pairs")]
    brief = ["--seconds", "0.05", "--rounds", "1", "--workers", "0", "--json"]
    benchmark_input.main([*places, *brief])
    rows = json.loads(capsys.readouterr().out)["rows"]
    kinds = [row["input"].partition(",")[0] for row in rows]
    assert list(dict.fromkeys(kinds)) == ["photos", "pairs", "prepared pairs", "color"]
    assert all(row["ratio"] > 0 and row["milliseconds"] >= 0 for row in rows)
    assert {row["stage"] for row in rows if row["input"].startswith("color")} == {"colorizer"}
    text = benchmark_input.table(rows)
    assert "cores" in text and "| pairs, read each time, echo 8 |" in text


@pytest.mark.slow
def test_prepared_sets_of_both_stages_are_measured(small_presets, tmp_path, capsys):
    prepared_sets = tiny_data_sets.prepare(tmp_path)
    names = ["deblur_pairs/folder", "coco_lab/small"]
    brief = ["--seconds", "0.05", "--rounds", "1", "--workers", "1", "--json"]
    places = ["--data", *names, "--data-dir", str(prepared_sets)]
    capsys.readouterr()  # What the builders said.
    benchmark_input.main(["prepared", *places, *brief])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["input"], row["stage"]) for row in rows] == [
        ("prepared deblur_pairs/folder, echo 4", "restorer"),
        ("prepared coco_lab/small, echo 1", "colorizer"),
    ]
    assert all(row["ratio"] > 0 for row in rows)


def test_the_made_pictures_can_be_trained_on(tmp_path):
    photos = catalogue.list_photos(benchmark_input.make_photos(tmp_path / "photos", 1))
    assert sampling.read_rgb(photos[0]).shape == (960, 1280, 3)
    pairs = catalogue.list_pairs(benchmark_input.make_pairs(tmp_path / "pairs", 1))
    name = benchmark_input.prepare(tmp_path / "data", pairs)
    batches = tfds_batches.TfdsBatches(
        name, size=64, batch_size=1, seed=0, first=0, count=1, data_dir=tmp_path / "data"
    )
    ((blurred, sharp),) = batches
    assert blurred.shape == (1, 64, 64, 1) and not np.array_equal(blurred, sharp)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fotos"], "photos, pairs, prepared, color"),
        (["photos", "--rounds", "0"], "at least 1"),
        (["photos", "--preset", "fats"], "'fast'"),
        (["prepared", "--data", "no_such_set"], "tfds build"),
    ],
)
def test_mistakes_are_said(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark_input, "_training", lambda *arguments: None)
    with pytest.raises(SystemExit) as status:
        benchmark_input.main([*arguments, "--data-dir", str(tmp_path)])
    assert status.value.code == 2 and message in capsys.readouterr().err
