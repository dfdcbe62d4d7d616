import json
import re

import keras
import numpy as np
import pytest
from keras import ops
from tiny_networks import TINY
from tiny_training import (
    DISCRIMINATOR,
    GENERATOR,
    ON_TENSORFLOW,
    tiny,
)

from keras_refocus import networks
from keras_refocus.training import (
    configs,
    initial_weights,
    run_folder,
)


@pytest.fixture
def trained(tmp_path):
    """A generator with weights of its own, as `.keras` file."""
    keras.utils.set_random_seed(5)
    generator = networks.build("unet", **GENERATOR)
    rng = np.random.default_rng(0)
    generator.set_weights(
        [
            0.05 * rng.standard_normal(value.shape).astype("float32")
            for value in generator.get_weights()
        ]
    )
    generator.save(tmp_path / "trained.keras")
    return generator


def initial(*paths):
    keras.utils.set_random_seed(1)
    generator = networks.build("unet", **GENERATOR)
    initial_weights.load(generator, paths, {"generator": "unet", "generator_options": GENERATOR})
    return generator.get_weights()


def assert_weights(found, generator):
    for a, b in zip(found, generator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_init_from_a_file_or_a_run(trained, tmp_path):
    assert_weights(initial(tmp_path / "trained.keras"), trained)
    trained.save_weights(tmp_path / "only.weights.h5")
    assert_weights(initial(tmp_path / "only.weights.h5"), trained)
    (tmp_path / "run").mkdir()
    trained.save(tmp_path / "run" / "averaged.keras")
    assert_weights(initial(tmp_path / "run"), trained)


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are written by TensorFlow")
def test_init_from_a_saved_model(trained, tmp_path):
    from keras_refocus.deployment import saved_model

    for half, tolerance in ((False, 0.0), (True, 1e-3)):
        version = saved_model.export_restorer(trained, tmp_path / "restorer", half=half)
        for path in (version, tmp_path / "restorer"):
            for a, b in zip(initial(path), trained.get_weights(), strict=True):
                np.testing.assert_allclose(a, b, atol=tolerance)


def test_init_from_parts(tmp_path, caplog):
    parts = {
        "wiener": {"window": 8, "features": 4, "width": 4, "gates": 1},
        "bank": {"widths": (8,), "depths": (1,), "decoder_depths": (), "filter_size": 5},
    }
    keras.utils.set_random_seed(1)
    alone = networks.build("blind_wiener", refine=False, **parts["wiener"])
    alone.save(tmp_path / "alone.keras")
    bank = networks.build("filter_bank", **parts["bank"])
    bank.save(tmp_path / "bank.keras")
    whole = networks.build("blind_wiener", refine_options=parts["bank"], **parts["wiener"])
    with caplog.at_level("INFO", "keras_refocus"):
        initial_weights.load(whole, [tmp_path / "alone.keras", tmp_path / "bank.keras"], None)
    # What tells the two of each other.
    missing = {v.path for v in whole.trainable_variables}
    missing -= {v.path for part in (alone, bank) for v in part.variables}
    assert {name.split("/")[0].split("_")[0] for name in missing} == {"context", "estimate"}
    assert f"{len(missing)} of {len(whole.trainable_variables)} trained" in caplog.text
    assert re.search("start afresh, such as (context|estimate)", caplog.text)
    values = {variable.path: ops.convert_to_numpy(variable) for variable in whole.variables}
    for part in (alone, bank):
        for variable in part.variables:
            np.testing.assert_array_equal(values[variable.path], ops.convert_to_numpy(variable))
    # The whole is not a part of a part.
    whole.save(tmp_path / "whole.keras")
    with pytest.raises(ValueError, match="'edges_.* is not in there"):
        initial_weights.load(bank, [tmp_path / "whole.keras"], None)


def test_init_from_a_part_alone_needs_to_be_known_as_another_network(trained, tmp_path):
    options = GENERATOR | {"depths": [2, 1]}
    larger = networks.build("unet", **options)
    wanted = {"generator": "unet", "generator_options": options}
    (tmp_path / "run").mkdir()
    trained.save(tmp_path / "run" / "best.keras")
    with pytest.raises(ValueError, match="it has no 'encoder0_1_conv1"):
        initial_weights.load(larger, [tmp_path / "run"], wanted)
    record = {"config": configs.to_json(tiny(discriminator_options=DISCRIMINATOR))}
    run_folder.write_json(tmp_path / "run" / "record.json", record)
    initial_weights.load(larger, [tmp_path / "run"], wanted)
    for layer in trained.layers:
        for a, b in zip(
            larger.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_init_from_something_else_is_refused(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        initial(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="neither"):
        initial(tmp_path)
    networks.build("unet", widths=[8], depths=[1], decoder_depths=[]).save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="of the configured generator.*other.keras.*'unet'"):
        initial(tmp_path / "other.keras")


def test_network_of_a_run_and_of_a_saved_model(tmp_path):
    assert initial_weights.network_of(tmp_path / "nothing.keras") is None
    expected = {"generator": "unet", "generator_options": GENERATOR}
    (tmp_path / "run").mkdir()
    record = {"config": configs.to_json(tiny(discriminator_options=DISCRIMINATOR))}
    run_folder.write_json(tmp_path / "run" / "record.json", record)
    assert initial_weights.network_of(tmp_path / "run") == expected
    assert initial_weights.network_of(tmp_path / "run" / "best.keras") == expected
    version = tmp_path / "restorer" / "2"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    assert initial_weights.network_of(tmp_path / "restorer") is None
    (version / "assets.extra" / "network.json").write_text(json.dumps(expected))
    assert initial_weights.network_of(tmp_path / "restorer") == expected


def test_init_from_arrays_by_name(trained, tmp_path):
    values = {v.path: ops.convert_to_numpy(v).astype("float16") for v in trained.variables}
    np.savez(tmp_path / "half.npz", **values)
    for a, b in zip(initial(tmp_path / "half.npz"), trained.get_weights(), strict=True):
        assert a.dtype == "float32"
        np.testing.assert_allclose(a, b, atol=1e-3)
    del values[trained.trainable_variables[0].path]
    np.savez(tmp_path / "part.npz", **values)
    with pytest.raises(ValueError, match="it has no"):
        initial(tmp_path / "part.npz")


def test_a_pyramid_starts_from_a_network_of_one_scale(tmp_path, caplog):
    """Of a run, which says that it is another network."""
    alone = networks.build("blind_wiener", **TINY["blind_wiener"])
    (tmp_path / "run").mkdir()
    alone.save(tmp_path / "run" / "best.keras")
    one = {"generator": "blind_wiener", "generator_options": TINY["blind_wiener"]}
    run_folder.write_json(tmp_path / "run" / "record.json", {"config": one})
    pyramid = networks.build("pyramid", **TINY["pyramid"])
    with caplog.at_level("INFO", "keras_refocus"):
        initial_weights.load(
            pyramid,
            [tmp_path / "run"],
            {"generator": "pyramid", "generator_options": TINY["pyramid"]},
        )
    assert "4 of" in caplog.text and "such as prior_stem/kernel" in caplog.text
    values = {v.path: ops.convert_to_numpy(v) for v in pyramid.variables}
    for variable in alone.variables:
        np.testing.assert_array_equal(values[variable.path], ops.convert_to_numpy(variable))


def test_a_network_to_learn_from(trained, tmp_path):
    loaded = initial_weights.load_network(tmp_path / "trained.keras")
    assert_weights(loaded.get_weights(), trained)
    assert not loaded.trainable_variables
    trained.save_weights(tmp_path / "only.weights.h5")
    with pytest.raises(ValueError, match="weights alone"):
        initial_weights.load_network(tmp_path / "only.weights.h5")
    version = tmp_path / "restorer" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    with pytest.raises(ValueError, match="network.json"):
        initial_weights.load_network(tmp_path / "restorer")


@pytest.mark.skipif(not ON_TENSORFLOW, reason="SavedModels are written by TensorFlow")
def test_a_saved_model_to_learn_from(trained, tmp_path):
    from keras_refocus.deployment import saved_model

    network = {"generator": "unet", "generator_options": GENERATOR}
    saved_model.export_restorer(trained, tmp_path / "restorer", network=network)
    loaded = initial_weights.load_network(tmp_path / "restorer")
    assert_weights(loaded.get_weights(), trained)
