"""SavedModels: the contract on disk, equality with the Keras model, nothing half written."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_generators import generator, initializer, run

from keras_refocus.deployment import saved_model
from keras_refocus.engines import contract, store


def test_a_restorer_speaks_the_contract(tmp_path):
    model = generator(gain=4.0)
    version = saved_model.export_restorer(model, tmp_path / "restorer")
    assert version == tmp_path / "restorer" / "1"
    signature = tf.saved_model.load(str(version)).signatures[contract.DEFAULT_SIGNATURE]
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
    version = saved_model.export_restorer(generator(), tmp_path / "restorer")
    graph = tf.saved_model.load(str(version)).signatures[contract.DEFAULT_SIGNATURE].graph
    nodes = [node for part in graph.as_graph_def().library.function for node in part.node_def]
    (check,) = [node for node in nodes if node.op == "EnsureShape"]
    assert check.input[0].startswith("luminance")
    assert [dimension.size for dimension in check.attr["shape"].shape.dim] == [-1, -1, -1, 1]


def test_weights_are_stored_once(tmp_path):
    model = generator()
    version = saved_model.export_restorer(model, tmp_path / "restorer")
    names = tf.train.list_variables(str(version / "variables" / "variables"))
    assert len(names) == len(model.variables) + 1  # and the graph of objects


def test_a_colorizer_speaks_the_contract(tmp_path):
    model = generator(channels=2, gain=9.0)
    version = saved_model.export_model(model, tmp_path / "colorizer")
    luminance = np.random.default_rng(0).random((2, 9, 11, 1), np.float32)
    chroma = run(version, luminance)["chroma"].numpy()
    expected = np.asarray(model(luminance))
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(chroma, expected.clip(-1, 1), atol=1e-5)


def test_versions_count_up_and_are_not_replaced_unasked(tmp_path):
    folder = tmp_path / "restorer"
    for number in (1, 2):
        assert saved_model.export_restorer(generator(seed=number), folder).name == str(number)
    luminance = np.full((1, 8, 8, 1), 0.5, np.float32)
    before = run(folder / "2", luminance)["restored"].numpy()
    with pytest.raises(FileExistsError, match="version=2"):
        saved_model.export_restorer(generator(seed=5), folder, version=2)
    np.testing.assert_array_equal(run(folder / "2", luminance)["restored"].numpy(), before)
    saved_model.export_restorer(generator(seed=5), folder, version=2, overwrite=True)
    assert not np.array_equal(run(folder / "2", luminance)["restored"].numpy(), before)
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "2", "README.md"]


def test_a_failed_export_leaves_what_was_there(tmp_path, monkeypatch):
    folder = tmp_path / "restorer"
    saved_model.export_restorer(generator(), folder)

    def refuse(*_, **__):
        raise ValueError("not equal")

    monkeypatch.setattr(saved_model, "_compare", refuse)
    with pytest.raises(ValueError, match="not equal"):
        saved_model.export_restorer(generator(seed=3), folder, version=1, overwrite=True)
    assert sorted(entry.name for entry in folder.iterdir()) == ["1", "README.md"]
    assert store.newest_version(folder).name == "1"


def test_a_savedmodel_that_differs_is_refused(tmp_path):
    model = generator()
    saved_model._write(model, tmp_path / "1", contract.RESTORED, half=False)
    saved_model._compare(model, tmp_path / "1", contract.RESTORED, half=False)
    with pytest.raises(ValueError, match="must equal the Keras model"):
        saved_model._compare(generator(seed=9), tmp_path / "1", contract.RESTORED, half=False)


def test_half_precision_weights_are_half_the_size_and_nearly_equal(tmp_path):
    luminance = keras.Input((None, None, 1))
    outputs = luminance
    for seed in range(3):
        layer = keras.layers.Conv2D(
            64, 3, padding="same", activation="relu", kernel_initializer=initializer(seed)
        )
        outputs = layer(outputs)
    # The mean is within the range, where rounding shows.
    head = keras.layers.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1 / 64))
    model = keras.Model(luminance, head(outputs))
    sizes = []
    results = []
    picture = np.random.default_rng(0).random((1, 20, 30, 1), np.float32)
    for half in (False, True):
        version = saved_model.export_restorer(model, tmp_path / "restorer", half=half)
        sizes.append(sum(file.stat().st_size for file in (version / "variables").iterdir()))
        results.append(run(version, picture)["restored"].numpy())
    assert sizes[1] < 0.55 * sizes[0]
    np.testing.assert_allclose(results[1], results[0], atol=1e-3)
    assert not np.array_equal(results[1], results[0])


def identity(weight):
    """Two convolutions that sum to the identity; of their weights only the first is rounded."""
    luminance = keras.Input((None, None, 1))
    layers = [keras.layers.Conv2D(1, 1, use_bias=False) for _ in range(2)]
    model = keras.Model(luminance, layers[0](luminance) + layers[1](luminance))
    model.set_weights([np.full((1, 1, 1, 1), value) for value in (weight, 1.0 - weight)])
    return model


def test_half_precision_may_cost_no_more_than_eight_bits_do(tmp_path):
    # 8 + 2 ** -8 becomes 8: luminance loses 0.4 percent. 1 - 2 ** -12 becomes 1: it gains 0.02.
    version = saved_model.export_restorer(identity(1 - 2**-12), tmp_path / "fine", half=True)
    luminance = np.full((1, 1, 1, 1), 0.5, np.float32)
    np.testing.assert_allclose(run(version, luminance)["restored"], 0.5 * (1 + 2**-12), rtol=1e-6)
    saved_model.export_restorer(identity(8 + 2**-8), tmp_path / "coarse")
    with pytest.raises(ValueError, match="without --half"):
        saved_model.export_restorer(identity(8 + 2**-8), tmp_path / "coarse", half=True)


def test_a_network_trained_in_mixed_precision_is_exported_in_float32(tmp_path):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = generator()
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.layers[1].compute_dtype == "float16"
    version = saved_model.export_restorer(model, tmp_path / "restorer")
    reference = generator()
    reference.set_weights(model.get_weights())
    luminance = np.random.default_rng(0).random((1, 16, 16, 1), np.float32)
    np.testing.assert_allclose(
        run(version, luminance)["restored"].numpy(),
        np.asarray(reference(luminance)).clip(0, 1),
        atol=1e-5,
    )


def test_warm_up_requests_are_what_the_client_sends(tmp_path):
    version = saved_model.export_restorer(generator(), tmp_path / "restorer_gan", tile=48)
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    assert file.stat().st_size < 1000
    (record,) = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
    assert request.model_spec.name == "restorer_gan"
    assert request.model_spec.signature_name == contract.DEFAULT_SIGNATURE
    assert list(request.inputs) == ["luminance"]
    luminance = tf.make_ndarray(request.inputs["luminance"])
    assert luminance.shape == (1, 48, 48, 1)
    assert run(version, luminance)["restored"].shape == (1, 48, 48, 1)


def test_a_model_card_is_begun_but_never_overwritten(tmp_path):
    folder = tmp_path / "restorer"
    saved_model.export_restorer(generator(), folder)
    card = folder / "README.md"
    assert "`luminance`" in card.read_text() and "`restored`" in card.read_text()
    card.write_text("mine")
    saved_model.export_restorer(generator(), folder)
    assert card.read_text() == "mine"


def test_unfit_networks_are_refused(tmp_path):
    color = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match="one channel"):
        saved_model.export_model(keras.Model(color, keras.layers.Conv2D(1, 1)(color)), tmp_path)
    model = generator()
    model.layers[1].bias.assign(np.full(8, np.nan))
    with pytest.raises(ValueError, match="finite"):
        saved_model.export_restorer(model, tmp_path / "restorer")
    gray = keras.Input((None, None, 1))
    halved = keras.layers.Conv2D(1, 2, strides=2, padding="same")(gray)
    with pytest.raises(ValueError, match="the size that it takes"):
        saved_model.export_restorer(keras.Model(gray, halved), tmp_path / "restorer")
    # Whoever serves passes by a folder of 2^63, and so does what comes next.
    (tmp_path / "restorer" / str(2**63)).mkdir(parents=True)
    with saved_model.new_version(tmp_path / "restorer", None, overwrite=False) as (draft, target):
        draft.mkdir()
        assert target.name == "1"
    with pytest.raises(ValueError, match="below 2\\^63.*version=9223372036854775808"):
        saved_model.export_restorer(generator(), tmp_path / "restorer", version=2**63)
    with pytest.raises(ValueError, match="version=0"):
        saved_model.export_restorer(generator(), tmp_path / "restorer", version=0)
