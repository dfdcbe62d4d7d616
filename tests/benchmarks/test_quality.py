"""Quality beside time and size: figures worked out by hand, the oracle, and the command."""

import csv
import functools

import keras
import numpy as np
import pytest
from PIL import Image
from tiny_models import write_models

from keras_refocus.benchmarks import quality
from keras_refocus.evaluation import classical, restorer, sets
from keras_refocus.pictures import color


def _gray(level):
    return np.full((24, 32, 3), level, np.uint8)


@pytest.fixture
def pairs(tmp_path):
    """Two even pairs: the blurred sides are too bright by a known amount."""
    for index, (blurred, sharp) in enumerate([(140, 100), (160, 120)]):
        for side, level in (("blur", blurred), ("sharp", sharp)):
            path = tmp_path / "pairs" / side / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(_gray(level)).save(path)
    return tmp_path / "pairs"


def _luminance(level):
    return color.rgb_to_luminance(_gray(level))[0, 0, 0]


def _measured(folder, *methods):
    picture_set = sets.PictureSet(folder=folder, items=sets.pair_items(folder))
    return quality.measure(picture_set, methods, restorer.Protocol())


def _method(restore):
    return quality.Method(name="method", settings="", restore=restore)


def test_gains_by_hand(pairs):
    same, darker = _measured(pairs, _method(lambda x: x), _method(lambda x: x - np.float32(0.05)))
    assert same["gain_psnr_l"] == same["gain_ssim_l"] == 0 and same["worse"] == 0
    errors = [_luminance(140) - _luminance(100), _luminance(160) - _luminance(120)]
    expected = [20 * np.log10(error / (error - 0.05)) for error in errors]
    assert darker["gain_psnr_l"] == pytest.approx(np.mean(expected), abs=1e-3)
    assert darker["gain_ssim_l"] > 0 and darker["pictures"] == 2
    assert same["input_psnr_l"] == pytest.approx(np.mean(-20 * np.log10(errors)), abs=1e-3)
    (brighter,) = _measured(pairs, _method(lambda x: x + np.float32(0.05)))
    assert brighter["worse"] == 2


def test_the_oracle_finds_the_kernel_that_blurred():
    rng = np.random.default_rng(0)
    sharp = np.kron(rng.random((12, 16)), np.ones((4, 4))).astype(np.float32)[..., np.newaxis]
    # Nine places along the rows, in a row that repeats: the motion of the kernel.
    blurred = np.mean([np.roll(sharp, step, axis=1) for step in range(-4, 5)], axis=0)
    grid = [
        quality._wiener(kernel, balance)
        for kernel in ("motion:9:90", "motion:9:0", "disk:3")
        for balance in (1e-2, 1e2)
    ]
    chosen = quality.choose(grid, [(blurred.astype(np.float32), sharp)])
    assert chosen.name == "Wiener, oracle" and chosen.kind == "oracle"
    assert chosen.settings == "motion:9:0, balance 0.01"


def test_the_grids_hold_what_can_be_run():
    plane = np.full((12, 12, 1), 0.5, np.float32)
    for grid in quality.oracle_grids():
        assert len({method.settings for method in grid}) == len(grid)
        assert len({method.name for method in grid}) == 1
        assert grid[0].restore(plane).shape == plane.shape


def test_networks_say_what_they_weigh(tmp_path):
    inputs = keras.Input((None, None, 1))
    path = tmp_path / "smooth.keras"
    keras.Model(inputs, keras.layers.Conv2D(1, 3, padding="same")(inputs)).save(path)
    models = write_models(tmp_path / "models")
    protocol = restorer.Protocol()
    methods = quality.networks(
        [("a", path), ("b", models / "restorer")], protocol, best=False, flips=True
    )
    assert [method.name for method in methods] == ["a", "a", "b", "b"]
    assert [method.settings for method in methods[:2]] == ["one pass", "mean over four flips"]
    assert methods[0].parameters == 10
    assert methods[2].parameters == 1  # The gain; its kernel is not read by the signature.
    assert methods[0].megabytes == path.stat().st_size / 1e6
    files = [file for file in (models / "restorer" / "1").rglob("*") if file.is_file()]
    assert methods[2].megabytes == sum(file.stat().st_size for file in files) / 1e6
    plane = np.full((5, 7, 1), 0.8, np.float32)
    np.testing.assert_allclose(methods[3].restore(plane), 0.4, atol=1e-6)
    with pytest.raises(ValueError, match="'a' more than once"):
        quality.networks([("a", path), ("a", path)], protocol, best=False, flips=False)


def test_methods_are_told_what_the_command_says():
    unsharp, *others = quality.classical_methods(
        ["motion:5:0", "disk:2"], radius=1, amount=2, iterations=3, balance=0.2
    )
    plane = np.random.default_rng(0).random((20, 24, 1), np.float32)
    np.testing.assert_array_equal(
        unsharp.restore(plane), classical.unsharp_mask(plane, radius=1, amount=2)
    )
    assert [(method.name, method.settings) for method in others] == [
        ("Richardson-Lucy", "motion:5:0, 3 iterations"),
        ("Richardson-Lucy", "disk:2, 3 iterations"),
        ("Wiener", "motion:5:0, balance 0.2"),
        ("Wiener", "disk:2, balance 0.2"),
    ]
    told = functools.partial(classical.wiener, point_spread=classical.disk_kernel(2))
    np.testing.assert_array_equal(others[-1].restore(plane), told(plane, balance=0.2))


def test_command_prints_writes_and_draws(pairs, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(quality, "_KERNELS", ["motion:3:0", "disk:1"])
    models = write_models(tmp_path / "models")
    tables = []
    for index in range(2):
        quality.main(
            [
                f"half={models / 'restorer'}", f"same={models / 'restorer_gan'}",
                "--pairs", str(pairs), "--flips", "--oracle", "--size", "20x12", "--runs", "1",
                "--csv", str(tmp_path / f"{index}.csv"), "--plot", str(tmp_path / "plot.png"),
            ]
        )  # fmt: skip
        with (tmp_path / f"{index}.csv").open(newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    text = capsys.readouterr().out
    assert "TensorFlow" in text and "| same | one pass | +0.00 | +0.0000 | 0 of 2 |" in text
    assert "seconds 20x12" in text and "sight of their truth" in text
    rows = tables[0]
    # Two networks twice, the mask, two methods with two kernels each, two bounds, three oracles.
    assert len(rows) == 4 + 1 + 4 + 2 + 3
    bounds = [row for row in rows if row["kind"] == "bound"]
    assert [row["settings"] for row in bounds] == ["symmetric", "any"]
    assert bounds[0]["seconds"] == ""
    assert float(rows[0]["seconds"]) > 0 and float(rows[0]["megabytes"]) > 0
    for first, second in zip(*tables, strict=True):
        for row in (first, second):
            del row["seconds"], row["processor_seconds"]
        assert first == second
    assert Image.open(tmp_path / "plot.png").size[0] > 800


def test_without_timing_and_without_the_classical_methods(pairs, tmp_path, capsys):
    models = write_models(tmp_path / "models")
    quality.main(
        [
            str(models / "restorer"), "--pairs", str(pairs), "--runs", "0", "--no-classical",
            "--plot", str(tmp_path / "plot.svg"),
        ]
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "| restorer | one pass |" in text and "Wiener" not in text
    # Matplotlib draws letters as shapes, and says beside them in a comment what they spell.
    drawing = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    assert "MB on disk" in drawing and "seconds" not in drawing


def test_photos_are_blurred_for_it(pairs, capsys):
    models = write_models(pairs / "models")
    quality.main(
        [
            str(models / "restorer"), "--photos", str(pairs / "sharp"), "--blur", "noise", "none",
            "--runs", "0", "--no-classical",
        ]
    )  # fmt: skip
    text = capsys.readouterr().out
    assert "photos of 'sharp', 2 pictures, blur 'noise', seed 0" in text
    assert "sharp photos as they are: input 100.00 dB" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--pairs"),
        (["--photos", "nowhere"], "nowhere"),
        (["--pairs", "nowhere", "--blur", "noise"], "--blur without --photos"),
        (["--photos", "nowhere", "--blur", "fog"], "fog"),
        (["--pairs", "nowhere"], "nowhere"),
        (["--pairs", "nowhere", "--kernel", "star"], "kernel='star'"),
        (["--pairs", "nowhere", "--iterations", "0"], "iterations=0"),
        (["--pairs", "nowhere", "--balance", "-1"], "balance=-1"),
        (["--pairs", "nowhere", "--runs", "-1"], "--runs"),
        (["--pairs", "nowhere", "--no-classical", "--oracle"], "--no-classical"),
        (["--pairs", "a/x", "b/x"], "different names"),
        (["--pairs", "nowhere", "--csv", "no_folder/a.csv"], "no_folder"),
        (["--pairs", "nowhere", "--plot", "a.gif"], ".svg"),
        (["=x", "--pairs", "nowhere"], "LABEL=PATH"),
        (["no_model", "--pairs", "nowhere"], "no_model"),
        (["--pairs", "nowhere", "--size", "big"], "1280x720"),
    ],
)
def test_mistakes_are_said(arguments, message, capsys):
    with pytest.raises(SystemExit) as status:
        quality.main(arguments)
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert message in error and "refocus benchmark quality: error" in error
