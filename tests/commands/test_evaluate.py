import json

import keras
import numpy as np
import pytest
from PIL import Image

from keras_refocus import evaluate


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small smoothing network: it changes pictures, some for the better."""
    inputs = keras.Input((None, None, 1))
    smooth = keras.layers.Conv2D(
        1, 3, padding="same", use_bias=False, kernel_initializer=keras.initializers.Constant(1 / 9)
    )(inputs)
    path = tmp_path_factory.mktemp("model") / "smooth.keras"
    keras.Model(inputs, smooth).save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for index in range(3):
        small = np.random.default_rng(index).integers(0, 256, (6, 5 + index, 3), dtype=np.uint8)
        large = Image.fromarray(small).resize((40 + 8 * index, 48), Image.Resampling.BICUBIC)
        large.save(folder / f"{index}.png")
    return folder


def run(capsys, *arguments):
    evaluate.main(["restorer", *map(str, arguments)])
    return capsys.readouterr().out


def refusal(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        evaluate.main(["restorer", *map(str, arguments)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_report_is_equal_to_the_last_digit_when_repeated(model, photos, tmp_path, capsys):
    outputs = []
    for index in range(2):
        table = tmp_path / f"{index}.csv"
        text = run(
            capsys, model, "--photos", photos, "--blur", "evaluation", "noise", "none",
            "--csv", table, "--json", tmp_path / "report.json", "--sheet", tmp_path / "worst.png",
        )  # fmt: skip
        outputs.append((text, table.read_text()))
    assert outputs[0] == outputs[1]
    text, table = outputs[0]
    assert "blur 'evaluation', seed 0" in text and "PSNR RGB" in text and "11x11" in text
    assert "sharp photos as they are" in text and "5th pct" in text
    assert len(table.splitlines()) == 1 + 3 * 3
    report = json.loads((tmp_path / "report.json").read_text())
    assert [entry["pictures"] for entry in report["sets"]] == [3, 3, 3]
    names = {path.name for path in tmp_path.glob("*.png")}
    assert names == {"worst_evaluation.png", "worst_noise.png", "worst_none.png"}


def test_manifest_repeats_the_report(model, photos, tmp_path, capsys):
    manifest = tmp_path / "set.json"
    first = run(
        capsys, model, "--photos", photos, "--blur", "defocus", "none", "--seed", 4,
        "--write-manifest", manifest,
    )  # fmt: skip
    again = run(capsys, model, "--photos", photos, "--manifest", manifest)
    assert again == first
    assert "defocus', seed 4" in again
    one = run(capsys, model, "--photos", photos, "--manifest", manifest, "--blur", "none")
    assert "defocus" not in one and "as they are" in one
    error = refusal(capsys, model, "--photos", photos, "--manifest", manifest, "--blur", "noise")
    assert "defocus, none" in error


def test_changed_synthesis_shows(model, photos, tmp_path, capsys):
    manifest = tmp_path / "set.json"
    run(capsys, model, "--photos", photos, "--blur", "defocus", "--write-manifest", manifest)
    values = json.loads(manifest.read_text())
    values["blurs"][0]["input_psnr"] += 0.1
    manifest.write_text(json.dumps(values))
    evaluate.main(["restorer", str(model), "--photos", str(photos), "--manifest", str(manifest)])
    assert "synthesis has changed" in capsys.readouterr().err


def test_pairs_of_a_named_set_show_the_papers_figures(model, photos, tmp_path, capsys):
    pairs = tmp_path / "pairs"
    for side in ("blur", "sharp"):
        (pairs / side).mkdir(parents=True)
        for path in photos.iterdir():
            (pairs / side / path.name).write_bytes(path.read_bytes())
    text = run(capsys, model, "--pairs", pairs, "--set", "gopro", "--crop", "32", "--border", "4")
    assert "the central 32x32" in text and "4 pixels of border" in text
    assert "NAFNet-w32" in text and "not comparable: 3 pictures" in text


def test_tiles_are_said_in_the_report(model, photos, capsys):
    text = run(
        capsys, model, "--photos", photos, "--blur", "none", "--tile", "24", "--overlap", "8"
    )
    assert "in tiles of 24 that overlap by 8, no border" in text
    assert "four flips" in run(capsys, model, "--photos", photos, "--blur", "none", "--flips")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--pairs", "x", "--seed", "1"], "pairs have their own blur"),
        (["--photos", "x", "--manifest", "m", "--seed", "1"], "comes from the manifest"),
        (["--photos", "x", "--set", "gopro"], "--pairs"),
        (["--photos", "x", "--overlap", "3"], "--tile"),
        (["--photos", "x", "--pairs", "y"], "not allowed"),
        ([], "required"),
        (["--photos", "nowhere"], "nowhere"),
        (["--photos", "x", "--shake", "uniform"], "for --patient"),
        (["--photos", "x", "--patient", "--tile", "64"], "own protocol"),
        (["--pairs", "x", "--patient", "--shake", "uniform"], "for sharp photos"),
    ],
)
def test_mistakes_are_answered_with_what_to_do(arguments, message, model, capsys):
    assert message in refusal(capsys, model, *arguments)


def test_missing_model_is_named(photos, tmp_path, capsys):
    error = refusal(capsys, tmp_path / "no.keras", "--photos", photos)
    assert "no.keras" in error and ".keras file" in error


def test_patient_is_measured_beside_the_plain_result(model, tmp_path, capsys):
    """A network that smooths has nothing to gain; what is said of it is complete and repeatable."""
    folder = tmp_path / "large"
    folder.mkdir()
    small = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(small).resize((216, 180), Image.Resampling.BICUBIC).save(folder / "a.png")
    files = [tmp_path / "first.json", tmp_path / "second.json"]
    for file in files:
        arguments = ["--photos", folder, "--patient", "--shake", "uniform", "--crop", 100]
        text = run(capsys, model, *arguments, "--json", file, "--csv", tmp_path / "scores.csv")
    assert "shake 'uniform'" in text and "true kernel" in text and "similarity" in text
    reports = [json.loads(file.read_text()) for file in files]
    for report in reports:
        report["sets"][0].pop("seconds")
    assert reports[0] == reports[1]
    assert reports[0]["sets"][0]["pictures"] == 1
    assert (tmp_path / "scores.csv").read_text().count("\n") == 2
    text = run(capsys, model, "--photos", folder, "--patient", "--blur", "none", "--crop", 100)
    assert "sharp photos as they are" in text and "  kernel: similarity" not in text


def test_an_unknown_shake_is_named(model, photos, capsys):
    message = refusal(capsys, model, "--photos", photos, "--patient", "--shake", "wild")
    assert "uniform, paths, uneven" in message


def test_motion_prints_the_baselines_and_a_network(photos, tmp_path, capsys, monkeypatch):
    from tiny_networks import TINY

    from keras_refocus import networks
    from keras_refocus.engines import local

    class Echo:
        def restore(self, tiles, *, model):
            assert model == "mine"
            return tiles

    monkeypatch.setattr(local, "LocalEngine", lambda folder: Echo())
    keras.utils.set_random_seed(0)
    network = networks.build("motion_unet", **TINY["motion_unet"])
    network.save(tmp_path / "network.keras")
    report = tmp_path / "report.json"
    evaluate.main(
        ["motion", str(tmp_path / "network.keras"), "--photos", str(photos)]
        + ["--count", "2", "--size", "32", "--restorer", "mine", "--json", str(report)]
    )
    said = capsys.readouterr().out
    assert "2 exposures of 32x32" in said and "| classical lines |" in said
    rows = json.loads(report.read_text())["rows"]
    # Untrained, the network is the classical search, but for interpolation.
    assert [row["name"] for row in rows][2:4] == [
        "classical lines",
        "restored, along the true ways",
    ]
    assert rows[4]["psnr"] == pytest.approx(rows[2]["psnr"], abs=1.0)
    with pytest.raises(SystemExit):
        evaluate.main(["motion", "--photos", str(photos), "--count", "0"])
    assert "count=0" in capsys.readouterr().err
