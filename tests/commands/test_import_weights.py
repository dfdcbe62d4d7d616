"""`refocus import`: from a file of weights to a restored photo, and under which licence."""

import json

import numpy as np
import published_weights
import pytest
import tensorflow as tf

from keras_refocus import import_weights
from keras_refocus.engines import contract, installed, local
from keras_refocus.networks.imported import registry


def refused(arguments, capsys):
    with pytest.raises(SystemExit):
        import_weights.main([str(argument) for argument in arguments])
    return " ".join(capsys.readouterr().err.split())


def test_a_file_becomes_a_model_that_the_pipeline_loads(tmp_path, capsys):
    file = published_weights.write("dncnn", tmp_path / "dncnn_25.h5")
    out = tmp_path / "models"
    import_weights.main([str(file), "--out", str(out)])
    captured = capsys.readouterr()
    assert str(out / "dncnn" / "1") in captured.out and "MIT" in captured.out
    engine = local.LocalEngine(out)
    for picture, expected in published_weights.pictures("dncnn"):
        restored = engine.restore(picture[np.newaxis, ..., np.newaxis], model="dncnn")
        np.testing.assert_allclose(restored[0, ..., 0], expected, atol=1e-5)
    engine.close()
    card = (out / "dncnn" / "README.md").read_text()
    assert "dncnn_25.h5" in card and "Licence of the weights: MIT" in card


@pytest.mark.parametrize("family", ["deepdeblur", pytest.param("hinet", marks=pytest.mark.slow)])
def test_weights_that_are_not_permissive_have_to_be_accepted(family, tmp_path, capsys):
    file = published_weights.write(family, tmp_path / "GoPro.h5")
    out = tmp_path / "models"
    message = refused([file, "--out", out], capsys)
    assert "--accept-licence" in message
    assert registry.FAMILIES[family].address in message
    assert not out.exists()
    import_weights.main([str(file), "--out", str(out), "--name", "sharp", "--accept-licence"])
    (model,) = installed.list_models(out)
    assert (model.name, model.version) == ("sharp", "1")
    assert model.origin.accepted and model.origin.licence.startswith("unstated: ")
    assert [entry["name"] for entry in model.origin.files] == ["GoPro.h5"]
    network = json.loads((model.folder / contract.NETWORK_FILE).read_text())
    assert network["generator"] == registry.FAMILIES[family].generator
    assert network["generator_options"]["width"] == {"deepdeblur": 3, "hinet": 2}[family]
    assert "accepted that" in (out / "sharp" / "README.md").read_text()


@pytest.mark.parametrize(
    ("family", "half"),
    [("eccv16", True), pytest.param("ddcolor", False, marks=pytest.mark.slow)],
)
def test_a_colorizer_becomes_one_of_the_pipeline(family, half, tmp_path, capsys):
    file = published_weights.write(family, tmp_path / "colorization.h5")
    out = tmp_path / "models"
    import_weights.main([str(file), "--out", str(out), "--accept-licence"] + ["--half"] * half)
    assert f"--mode colorize --colorizer {family}" in capsys.readouterr().err
    (model,) = installed.list_models(out)
    assert installed.kind_of(model.name, model.origin) == "colorizer"
    engine = local.LocalEngine(out)
    for picture, expected in published_weights.pictures(family):
        chroma = engine.colorize(picture[np.newaxis, ..., np.newaxis], model=family)
        # The golden weights are numbers that half precision has, too.
        np.testing.assert_allclose(chroma[0], expected, atol=1e-5)
    engine.close()
    stored = tf.train.load_checkpoint(str(model.folder / "variables" / "variables"))
    assert (tf.float16 in stored.get_variable_to_dtype_map().values()) == half
    assert "a guess of the chroma out" in (out / family / "README.md").read_text()


def test_what_cannot_be_imported_is_told_without_a_traceback(tmp_path, capsys):
    file = published_weights.write("dncnn", tmp_path / "dncnn.h5")
    out = ["--out", tmp_path / "models"]
    assert "name the files" in refused([], capsys)
    assert "missing.pth" in refused([tmp_path / "missing.pth", *out], capsys)
    assert "complete" in refused([file, *out, "--as", "nafnet"], capsys)
    assert "Did you mean 'nafnet'" in refused([file, *out, "--as", "nafnett"], capsys)
    assert "settings none" in refused([file, *out, "--noise", "5"], capsys)
    assert not (tmp_path / "models").exists()


def test_the_list_names_every_family_with_its_licence(capsys):
    import_weights.main(["--list"])
    text = capsys.readouterr().out
    for name in (
        "nafnet",
        "dmphn",
        "srn",
        "deepdeblur",
        "dncnn",
        "drunet",
        "hinet",
        "eccv16",
        "ddcolor",
    ):
        assert f"\n{name}: " in f"\n{text}"
    assert "none stated" in text and "--noise" in text and "https://github.com/cszn/KAIR" in text
