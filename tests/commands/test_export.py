"""Export: which network becomes which file, under which name."""

import json

import numpy as np
import pytest
import stand_in_models
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_generators import generator, run

from keras_refocus import export
from keras_refocus.deployment import formats as conversion
from keras_refocus.engines import contract
from keras_refocus.system import run_files


def test_command_line(tmp_path, capsys):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    generator().save(run_folder / run_files.AVERAGED)
    generator(seed=4).save(run_folder / run_files.BEST)
    out = tmp_path / "models"
    export.main([str(run_folder), "--out", str(out)])
    assert str(out / "restorer" / "1") in capsys.readouterr().out
    export.main([str(run_folder), "--out", str(out), "--best", "--name", "restorer_gan"])
    luminance = np.random.default_rng(0).random((1, 8, 8, 1), np.float32)
    for name, seed in (("restorer", 0), ("restorer_gan", 4)):
        np.testing.assert_allclose(
            run(out / name / "1", luminance)["restored"].numpy(),
            np.asarray(generator(seed=seed)(luminance)).clip(0, 1),
            atol=1e-5,
        )


def test_what_the_run_trained_is_kept_for_trainings_to_come(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    generator().save(folder / run_files.AVERAGED)
    config = {"generator": "unet", "generator_options": {"widths": [8]}, "epochs": 3}
    (folder / run_files.RECORD).write_text(json.dumps({"config": config}))
    export.main([str(folder), "--out", str(tmp_path / "models"), "--half"])
    version = tmp_path / "models" / "restorer" / "1"
    assert json.loads((version / contract.NETWORK_FILE).read_text()) == {
        "generator": "unet",
        "generator_options": {"widths": [8]},
    }
    variables = tf.saved_model.load(str(version))._all_variables
    assert sorted(variable.name.split("/")[1] for variable in variables) == [
        "bias:0",
        "bias:0",
        "kernel:0",
        "kernel:0",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "must hold a trained network"),
        (["run", "--number", "0"], "at least 1"),
        ([], "one of the two"),
        (["run", "--refocus"], "one of the two"),
        (["--refocus", "--models", "nowhere"], "must exist"),
        (["--refocus", "--format", "onnx"], "Convert each stage by itself"),
        (["model/1"], "a SavedModel already"),
        (["model", "--format", "litert"], "a file is never replaced unasked"),
        (["model", "--format", "onnx"], "pip install onnx"),
    ],
)
def test_mistakes_are_said_without_a_traceback(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    generator().save(tmp_path / "run" / run_files.AVERAGED)
    stand_in_models.export_sharpener(tmp_path / "model" / "1")
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "model.tflite").touch()
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as status:
        export.main(arguments)
    assert status.value.code == 2
    assert message.lower() in capsys.readouterr().err.lower()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file_format", "runtime", "suffix"),
    [("litert", "ai_edge_litert", "tflite"), ("onnx", "onnxruntime", "onnx")],
)
def test_other_formats_are_compared_with_the_savedmodel(
    tmp_path, capsys, file_format, runtime, suffix
):
    pytest.importorskip(runtime)
    if file_format == "onnx":
        pytest.importorskip("tf2onnx")
    generator().save(tmp_path / "network.keras")
    out = tmp_path / "out"
    export.main([str(tmp_path / "network.keras"), "--format", file_format, "--out", str(out)])
    assert [path.name for path in out.iterdir()] == [f"restorer.{suffix}"]
    said = capsys.readouterr().out
    assert f"restorer.{suffix}" in said and "gives what the SavedModel gives" in said


def test_the_whole_pipeline_is_joined_from_both_stages(tmp_path, capsys):
    models, out = tmp_path / "models", tmp_path / "out"
    stand_in_models.export_restorer(models / "restorer" / "2", gain=0.5)
    with pytest.raises(SystemExit):
        export.main(["--refocus", "--models", str(models), "--out", str(out)])
    assert "model='colorizer'" in capsys.readouterr().err
    stand_in_models.export_colorizer(models / "colorizer" / "1")
    export.main(["--refocus", "--models", str(models), "--out", str(out), "--tile", "128"])
    assert [path.name for path in (out / "refocus").iterdir()] == ["1"]
    signatures = tf.saved_model.load(str(out / "refocus" / "1")).signatures
    assert set(signatures) == {contract.DEFAULT_SIGNATURE, contract.IMAGE_SIGNATURE}
    (record, _) = tf.data.TFRecordDataset(
        str(out / "refocus" / "1" / contract.WARMUP_FILE)
    ).as_numpy_iterator()
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == "refocus"
