"""Other formats give what the SavedModel gives."""

import numpy as np
import pytest
import tensorflow as tf
from stand_in_models import PLANE, export_painter, export_sharpener

from keras_refocus.deployment import formats as conversion


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_sharpener(folder / "restorer" / "1")
    export_painter(folder / "colorizer" / "1")
    return folder


def expected(version, luminance):
    model = tf.saved_model.load(str(version))
    (output,) = model.signatures["serving_default"](luminance=tf.constant(luminance)).values()
    return output.numpy()


X = np.random.default_rng(0).random((2, 31, 45, 1), np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["restorer", "colorizer"])
def test_onnx(models, tmp_path, model):
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package)
    import onnxruntime

    version, file = models / model / "1", tmp_path / "deep" / "model.onnx"
    assert conversion.convert(version, file, file_format="onnx")
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [tensor.name for tensor in session.get_inputs()] == ["luminance"]
    names = {"restorer": "restored", "colorizer": "chroma"}
    assert [tensor.name for tensor in session.get_outputs()] == [names[model]]
    (output,) = session.run(None, {"luminance": X})
    assert np.abs(output - expected(version, X)).max() < 1e-4
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("model", ["restorer", "colorizer"])
def test_litert(models, tmp_path, model):
    interpreter = pytest.importorskip("ai_edge_litert.interpreter")
    version, file = models / model / "1", tmp_path / "model.tflite"
    assert conversion.convert(version, file, file_format="litert")
    runner = interpreter.Interpreter(str(file)).get_signature_runner("serving_default")
    names = {"restorer": "restored", "colorizer": "chroma"}
    output = runner(luminance=X)[names[model]]
    assert np.abs(output - expected(version, X)).max() < 1e-4


def test_without_the_runtime_nothing_is_compared_and_that_is_said(
    models, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(
        conversion,
        "_write_litert",
        lambda version, file, attempt: file.write_bytes(b"whatever"),
    )
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: None)
    file = tmp_path / "model.tflite"
    assert not conversion.convert(models / "restorer" / "1", file, file_format="litert")
    assert "was not compared with the SavedModel" in caplog.text
    assert "pip install 'ai-edge-litert>=2.3'" in caplog.text
    with pytest.raises(ImportError, match="onnx and tf2onnx, not installed here. Run: pip install"):
        conversion.convert(models / "restorer" / "1", tmp_path / "m.onnx", file_format="onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    "answer, message",
    [
        (lambda x: x + 0.01, "a difference of"),
        (lambda x: x[:, :-1], "must give the shape"),
        (lambda x: x * np.nan, "a difference of nan"),
    ],
)
def test_a_file_that_differs_is_refused(models, tmp_path, monkeypatch, answer, message):
    original = conversion._original(models / "restorer" / "1")
    monkeypatch.setattr(conversion, "_write_onnx", lambda version, file, _: file.write_bytes(b"x"))
    monkeypatch.setattr(conversion, "_load_onnx", lambda file: lambda x: answer(original(x)))
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(ValueError, match=message):
        conversion.convert(models / "restorer" / "1", tmp_path / "model.onnx", file_format="onnx")
    assert not list(tmp_path.iterdir())


def test_wrong_requests_are_refused(models, tmp_path):
    with pytest.raises(ValueError, match="one of onnx, litert"):
        conversion.convert(models / "restorer" / "1", tmp_path / "m", file_format="torch")
    with pytest.raises(FileNotFoundError, match="no saved_model.pb"):
        conversion.convert(models / "restorer", tmp_path / "m", file_format="onnx")
    module = tf.Module()
    tf.saved_model.save(
        module,
        str(tmp_path / "two"),
        signatures=tf.function(
            lambda luminance: {"a": luminance, "b": luminance}
        ).get_concrete_function(PLANE),
    )
    with pytest.raises(ValueError, match="Only a restorer or a colorizer"):
        conversion.convert(tmp_path / "two", tmp_path / "m", file_format="litert")
