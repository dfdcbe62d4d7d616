"""The benchmark command: handing over, and the figures of a restoration."""

import json

import numpy as np
import pytest
from tiny_models import write_models

from keras_refocus import benchmark
from keras_refocus.benchmarks import restore as benchmark_restore


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("models"))


def test_help_lists_what_can_be_measured(capsys):
    assert benchmark.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "restore" in text and "refocus benchmark restore --size 1280x720" in text


def test_a_misspelt_subject_gets_a_suggestion(capsys):
    assert benchmark.main(["restor"]) == 2
    assert "did you mean 'restore'" in capsys.readouterr().err


def run(*arguments, models):
    return benchmark.main(
        ["restore", "--models", str(models), "--tile", "16", "--overlap", "4", *arguments]
    )


def test_figures_are_consistent(models, capsys):
    run("--size", "40x30", "--runs", "3", "--json", models=models)
    figures = json.loads(capsys.readouterr().out)
    assert (figures["width"], figures["height"]) == (40, 30)
    assert figures["megapixels"] == pytest.approx(0.0012)
    assert figures["models"] == {"restorer": "1"}
    assert figures["fastest"] <= figures["seconds"] <= figures["slowest"]
    assert 0 < figures["network_seconds"] < figures["slowest"]
    assert figures["megapixels_per_second"] == pytest.approx(0.0012 / figures["seconds"])
    assert figures["peak_memory_mib"] > 10


def test_the_report_is_for_people(models, capsys):
    run("--size", "40x30", "--runs", "1", "--mode", "colorize", models=models)
    text = capsys.readouterr().out
    for word in ("cores", "restorer 1, colorizer 2", "40x30 uint8", "megapixels per second", "MiB"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "40"], "size='40'"),
        (["--size", "0x30"], "size='0x30'"),
        (["--runs", "0"], "runs=0"),
        (["--model", "restorer_gam"], "restorer_gan"),
    ],
)
def test_mistakes_are_said(models, capsys, arguments, message):
    with pytest.raises(SystemExit) as status:
        run(*arguments, models=models)
    assert status.value.code == 2
    assert message in capsys.readouterr().err


def test_the_made_up_picture_is_colourful_and_seeded():
    picture = benchmark_restore.photo_like(300, 500, np.dtype(np.uint16))
    assert picture.shape == (300, 500, 3) and picture.dtype == np.uint16
    again = benchmark_restore.photo_like(300, 500, np.dtype(np.uint16))
    np.testing.assert_array_equal(picture, again)
    assert picture.std(axis=-1).mean() > 1000
