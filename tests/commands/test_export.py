"""Export: the contract on disk, equality with the Keras model, and nothing half written."""

import json

import keras
import numpy as np
import pytest
import stand_in_models
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from keras_refocus import export
from keras_refocus.deployment import formats as conversion
from keras_refocus.engines import local as engines


def generator(channels=1, gain=1.0, seed=0):
    """A small generator of any size; random, with a gain that drives it out of range."""
    luminance = keras.Input((None, None, 1), name="luminance")
    layer = keras.layers.Conv2D(
        8, 3, padding="same", activation="relu", kernel_initializer=_initializer(seed)
    )
    head = keras.layers.Conv2D(
        channels, 3, padding="same", kernel_initializer=_initializer(seed + 1), dtype="float32"
    )
    outputs = keras.layers.Rescaling(gain)(head(layer(luminance)))
    return keras.Model(luminance, outputs, name="generator")


def _initializer(seed):
    return keras.initializers.GlorotUniform(seed)


def run(version, luminance):
    signature = tf.saved_model.load(str(version)).signatures[engines.DEFAULT_SIGNATURE]
    return signature(luminance=tf.constant(luminance))


def test_a_restorer_speaks_the_contract(tmp_path):
    model = generator(gain=4.0)
    version = export.export_restorer(model, tmp_path / "restorer")
    assert version == tmp_path / "restorer" / "1"
    signature = tf.saved_model.load(str(version)).signatures[engines.DEFAULT_SIGNATURE]
    ((), inputs) = signature.structured_input_signature
    assert inputs == {
        "luminance": tf.TensorSpec((None, None, None, 1), tf.float32, name="luminance")
    }
    assert list(signature.structured_outputs) == ["restored"]
    for shape in ((1, 1, 1, 1), (3, 7, 5, 1)):
        luminance = np.random.default_rng(0).random(shape, np.float32)
        expected = np.asarray(model(luminance))
        restored = run(version, luminance)["restored"].numpy()
        np.testing.assert_allclose(restored, expected.clip(0, 1), atol=1e-5)
    # The range is kept by the graph, not by luck: this network leaves it.
    assert expected.min() < 0 or expected.max() > 1


def test_a_request_of_the_wrong_rank_is_an_error_and_not_the_end_of_the_process(tmp_path):
    version = export.export_restorer(generator(), tmp_path / "restorer")
    graph = tf.saved_model.load(str(version)).signatures[engines.DEFAULT_SIGNATURE].graph
    nodes = [node for part in graph.as_graph_def().library.function for node in part.node_def]
    (check,) = [node for node in nodes if node.op == "EnsureShape"]
    assert check.input[0].startswith("luminance")
    assert [dimension.size for dimension in check.attr["shape"].shape.dim] == [-1, -1, -1, 1]


def test_weights_are_stored_once(tmp_path):
    model = generator()
    version = export.export_restorer(model, tmp_path / "restorer")
    names = tf.train.list_variables(str(version / "variables" / "variables"))
    assert len(names) == len(model.variables) + 1  # and the graph of objects


def test_a_colorizer_speaks_the_contract(tmp_path):
    model = generator(channels=2, gain=9.0)
    version = export.export_model(model, tmp_path / "colorizer")
    luminance = np.random.default_rng(0).random((2, 9, 11, 1), np.float32)
    chroma = run(version, luminance)["chroma"].numpy()
    expected = np.asarray(model(luminance))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(chroma, expected.clip(-1, 1), atol=1e-5)


def test_versions_count_up_and_are_not_replaced_unasked(tmp_path):
    folder = tmp_path / "restorer"
    for number in (1, 2):
        assert export.export_restorer(generator(seed=number), folder).name == str(number)
    luminance = np.full((1, 8, 8, 1), 0.5, np.float32)
    before = run(folder / "2", luminance)["restored"].numpy()
    with pytest.raises(FileExistsError, match="version=2"):
        export.export_restorer(generator(seed=5), folder, version=2)
    np.testing.assert_array_equal(run(folder / "2", luminance)["restored"].numpy(), before)
    export.export_restorer(generator(seed=5), folder, version=2, overwrite=True)
    assert not np.array_equal(run(folder / "2", luminance)["restored"].numpy(), before)
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "2", "README.md"]


def test_a_failed_export_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "restorer"
    export.export_restorer(generator(), folder)

    def refuse(*_, **__):
        raise ValueError("not equal")

    monkeypatch.setattr(export, "_compare", refuse)
    with pytest.raises(ValueError, match="not equal"):
        export.export_restorer(generator(seed=3), folder, version=1, overwrite=True)
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "README.md"]
    assert engines.newest_version(folder).name == "1"


def test_a_savedmodel_that_differs_is_refused(tmp_path):
    model = generator()
    export._write(model, tmp_path / "1", engines.RESTORED, half=False)
    export._compare(model, tmp_path / "1", engines.RESTORED, tolerance=1e-5)
    with pytest.raises(ValueError, match="must equal the Keras model"):
        export._compare(generator(seed=9), tmp_path / "1", engines.RESTORED, tolerance=1e-5)


def test_half_precision_weights_are_half_the_size_and_nearly_equal(tmp_path):
    luminance = keras.Input((None, None, 1))
    outputs = luminance
    for seed in range(3):
        layer = keras.layers.Conv2D(
            64, 3, padding="same", activation="relu", kernel_initializer=_initializer(seed)
        )
        outputs = layer(outputs)
    # The mean is within the range, where rounding shows.
    head = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1 / 64))
    model = keras.Model(luminance, head(outputs))
    sizes = []
    results = []
    picture = np.random.default_rng(0).random((1, 20, 30, 1), np.float32)
    for half in (False, True):
        version = export.export_restorer(model, tmp_path / "restorer", half=half)
        sizes.append(sum(file.stat().st_size for file in (version / "variables").iterdir()))
        results.append(run(version, picture)["restored"].numpy())
    assert sizes[1] < 0.55 * sizes[0]
    np.testing.assert_allclose(results[1], results[0], atol=1e-3)
    assert not np.array_equal(results[1], results[0])


def test_a_network_trained_in_mixed_precision_is_exported_in_float32(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = generator()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.layers[1].compute_dtype == "float16"
    version = export.export_restorer(model, tmp_path / "restorer")
    reference = generator()
    reference.set_weights(model.get_weights())
    luminance = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(
        run(version, luminance)["restored"].numpy(),
        np.asarray(reference(luminance)).clip(0, 1),
        atol=1e-5,
    )


def test_warm_up_requests_are_what_the_client_sends(tmp_path):
    version = export.export_restorer(generator(), tmp_path / "restorer_gan", tile=48)
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    assert file.stat().st_size < 1000
    (record,) = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == "restorer_gan"
    assert request.model_spec.signature_name == engines.DEFAULT_SIGNATURE
    assert list(request.inputs) == ["luminance"]
    luminance = tf.make_ndarray(request.inputs["luminance"])
    assert luminance.shape == (1, 48, 48, 1)
    assert run(version, luminance)["restored"].shape == (1, 48, 48, 1)


def test_a_model_card_is_begun_but_never_overwritten(tmp_path):
    folder = tmp_path / "restorer"
    export.export_restorer(generator(), folder)
    card = folder / "README.md"
    assert "`luminance`" in card.read_text() and "`restored`" in card.read_text()
    card.write_text("mine")
    export.export_restorer(generator(), folder)
    assert card.read_text() == "mine"


def test_unfit_networks_are_refused(tmp_path):
    color = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="one channel"):
        export.export_model(keras.Model(color, keras.layers.Conv2D(1, 1)(color)), tmp_path)
    model = generator()
    model.layers[1].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match="finite"):
        export.export_restorer(model, tmp_path / "restorer")
    gray = keras.Input((None, None, 1))
    halved = keras.layers.Conv2D(1, 2, strides=2, padding="same")(gray)
    with pytest.raises(ValueError, match="the size that it takes"):
        export.export_restorer(keras.Model(gray, halved), tmp_path / "restorer")
    with pytest.raises(ValueError, match="version=0"):
        export.export_restorer(generator(), tmp_path / "restorer", version=0)


def test_command_line(tmp_path, capsys):
    run_folder = tmp_path / "run"
    run_folder.mkdir()
    generator().save(run_folder / export.AVERAGED_FILE)
    generator(seed=4).save(run_folder / export.BEST_FILE)
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
    generator().save(folder / export.AVERAGED_FILE)
    config = {"generator": "unet", "generator_options": {"widths": [8]}, "epochs": 3}
    (folder / export.RECORD_FILE).write_text(json.dumps({"config": config}))
    export.main([str(folder), "--out", str(tmp_path / "models"), "--half"])
    version = tmp_path / "models" / "restorer" / "1"
    assert json.loads((version / engines.NETWORK_FILE).read_text()) == {
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
    generator().save(tmp_path / "run" / export.AVERAGED_FILE)
    stand_in_models.export_sharpener(tmp_path / "model" / "1")
    (tmp_path / "saved_models").mkdir()
    (tmp_path / "saved_models" / "model.tflite").touch()
    monkeypatch.setattr(conversion.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as status:
        export.main(arguments)
    assert status.value.code == 2
    assert message.lower() in capsys.readouterr().err.lower()


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
    assert set(signatures) == {engines.DEFAULT_SIGNATURE, engines.IMAGE_SIGNATURE}
    (record, _) = tf.data.TFRecordDataset(
        str(out / "refocus" / "1" / engines.WARMUP_FILE)
    ).as_numpy_iterator()
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == "refocus"
