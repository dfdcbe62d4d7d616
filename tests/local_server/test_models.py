"""Versions come and go by TensorFlow Serving's rules."""

import shutil
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from stand_in_models import export_restorer
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from keras_refocus.local_server.batching import StatusError
from keras_refocus.local_server.models import WARMUP_FILE, ModelManager, VersionState

AVAILABLE, END = VersionState.AVAILABLE, VersionState.END


def config(folder, policy="", labels=""):
    return text_format.Parse(
        f'model_config_list {{ config {{ name: "m" base_path: "{folder / "m"}" '
        f'model_platform: "tensorflow" {policy} {labels} }} }}',
        model_server_config_pb2.ModelServerConfig(),
    )


def spec(name="m", version=None, label=None):
    message = model_pb2.ModelSpec(name=name)
    if version is not None:
        message.version.value = version
    if label is not None:
        message.version_label = label
    return message


class Fake:
    """Stands for a loaded version; loading version 13 fails."""

    def __init__(self, name, version, folder):
        if version == 13:
            raise StatusError(grpc.StatusCode.DATA_LOSS, "unlucky")
        self.name, self.version, self.closed = name, version, False

    def close(self):
        self.closed = True


def add(folder, *versions):
    for version in versions:
        (folder / "m" / str(version)).mkdir(parents=True)


def manager(folder, *, policy="", labels="", load=Fake):
    made = ModelManager(config(folder, policy, labels), poll_seconds=0, load=load)
    made.update()
    return made


def states(made):
    return {number: status.state for number, status in made.statuses(spec()).items()}


def test_the_highest_version_answers_and_other_entries_are_skipped(tmp_path):
    add(tmp_path, 2, 10)
    (tmp_path / "m" / "README.md").write_text("model card")
    (tmp_path / "m" / "11-draft").mkdir()
    (tmp_path / "m" / "99").write_text("a file, not a folder")
    for number in (2**63, 10**100):  # More than the API has room for.
        add(tmp_path, number)
    made = manager(tmp_path)
    with made.lease(spec()) as model:
        assert model.version == 10
    assert states(made) == {10: AVAILABLE}


@pytest.mark.parametrize(
    "policy, loaded",
    [
        ("", {3}),
        ("model_version_policy { latest { num_versions: 2 } }", {2, 3}),
        ("model_version_policy { all {} }", {1, 2, 3}),
        ("model_version_policy { specific { versions: 1 versions: 3 versions: 9 } }", {1, 3}),
    ],
)
def test_version_policies(tmp_path, policy, loaded):
    add(tmp_path, 1, 2, 3)
    assert set(states(manager(tmp_path, policy=policy))) == loaded


def test_a_new_version_replaces_the_old_one(tmp_path):
    add(tmp_path, 1)
    made = manager(tmp_path)
    add(tmp_path, 2)
    made.update()
    assert states(made) == {2: AVAILABLE, 1: END}
    with made.lease(spec()) as model:
        assert model.version == 2


def test_an_old_version_ends_only_when_its_last_request_is_answered(tmp_path):
    add(tmp_path, 1)
    made = manager(tmp_path)
    with made.lease(spec()) as old:
        add(tmp_path, 2)
        made.update()
        assert states(made) == {2: AVAILABLE, 1: VersionState.UNLOADING}
        assert not old.closed
        with made.lease(spec()) as new:
            assert new.version == 2
    assert old.closed
    assert states(made)[1] == END


def test_a_version_that_fails_leaves_the_old_one_serving(tmp_path):
    add(tmp_path, 1)
    made = manager(tmp_path)
    add(tmp_path, 13)
    made.update()
    assert states(made) == {13: END, 1: AVAILABLE}
    failed = made.statuses(spec(version=13))[13]
    assert (failed.error_code, failed.error_message) == (15, "unlucky")
    with made.lease(spec()) as model:
        assert model.version == 1


def test_a_failed_version_is_tried_again_only_when_its_files_change(tmp_path):
    add(tmp_path, 1)
    attempts = []

    def load(name, version, folder):
        attempts.append(version)
        if not (folder / "whole").exists():
            raise StatusError(grpc.StatusCode.NOT_FOUND, "incomplete")
        return Fake(name, version, folder)

    made = manager(tmp_path, load=load)
    made.update()
    assert attempts == [1]
    (tmp_path / "m" / "1" / "whole").write_text("")
    made.update()
    assert attempts == [1, 1]
    assert states(made) == {1: AVAILABLE}


def test_a_version_whose_folder_is_gone_is_unloaded(tmp_path):
    add(tmp_path, 1, 2)
    made = manager(tmp_path, policy="model_version_policy { all {} }")
    shutil.rmtree(tmp_path / "m" / "2")
    made.update()
    assert states(made) == {2: END, 1: AVAILABLE}
    with pytest.raises(StatusError, match=r"Servable not found for request: Specific\(m, 2\)"):
        made.lease(spec(version=2)).__enter__()
    add(tmp_path, 2)
    made.update()
    assert states(made) == {2: AVAILABLE, 1: AVAILABLE}


def test_a_base_path_that_disappears_changes_nothing(tmp_path, caplog):
    caplog.set_level("WARNING", "keras_refocus")
    add(tmp_path, 1)
    made = manager(tmp_path)
    shutil.rmtree(tmp_path / "m")
    for _ in range(3):
        made.update()
    assert states(made) == {1: AVAILABLE}
    assert [r.message for r in caplog.records] == [
        f"Could not find base path {tmp_path / 'm'} for servable m"
    ]


def test_a_base_path_without_versions_is_reported(tmp_path, caplog):
    (tmp_path / "m").mkdir()
    made = manager(tmp_path)
    assert "Did you forget to name your leaf directory as a number" in caplog.text
    assert not made.ready
    with pytest.raises(StatusError, match="Could not find any versions of model m"):
        made.statuses(spec())


@pytest.mark.parametrize(
    "asked, code, message",
    [
        (spec(""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (spec("x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
        (spec(version=7), "NOT_FOUND", "Servable not found for request: Specific(m, 7)"),
        (spec(label="x"), "INVALID_ARGUMENT", "Unrecognized servable version label: x"),
    ],
)
def test_what_cannot_be_found(tmp_path, asked, code, message):
    add(tmp_path, 1)
    made = manager(tmp_path)
    with pytest.raises(StatusError) as e:
        made.lease(asked).__enter__()
    assert (e.value.code.name, e.value.message) == (code, message)


def test_labels(tmp_path):
    add(tmp_path, 1, 2)
    everything = "model_version_policy { all {} }"
    made = manager(tmp_path, policy=everything, labels='version_labels { key: "stable" value: 1 }')
    with made.lease(spec(label="stable")) as model:
        assert model.version == 1
    assert list(made.statuses(spec(label="stable"))) == [1]
    made.reload(config(tmp_path, everything, 'version_labels { key: "stable" value: 2 }'))
    with made.lease(spec(label="stable")) as model:
        assert model.version == 2
    with pytest.raises(StatusError) as e:
        made.reload(config(tmp_path, everything, 'version_labels { key: "stable" value: 3 }'))
    assert e.value.code == grpc.StatusCode.FAILED_PRECONDITION
    assert e.value.message == (
        "Request to assign label to version 3 of model m, "
        "which is not currently available for inference"
    )
    with made.lease(spec(label="stable")) as model:
        assert model.version == 2


def test_reloading_adds_and_removes_models(tmp_path):
    add(tmp_path, 1)
    (tmp_path / "n" / "1").mkdir(parents=True)
    made = manager(tmp_path)
    both = config(tmp_path)
    both.model_config_list.config.add(
        name="n", base_path=str(tmp_path / "n"), model_platform="tensorflow"
    )
    made.reload(both)
    with made.lease(spec("n")) as model:
        assert model.name == "n"
    made.reload(config(tmp_path))
    with pytest.raises(StatusError, match=r"Latest\(n\)"):
        made.lease(spec("n")).__enter__()
    both.model_config_list.config[1].name = "nowhere"
    both.model_config_list.config[1].base_path = str(tmp_path / "nowhere")
    with pytest.raises(StatusError, match="Some models did not become available: {nowhere}"):
        made.reload(both)
    with made.lease(spec()) as model:
        assert model.version == 1


def test_a_bad_configuration_is_refused_and_the_old_one_stays(tmp_path):
    add(tmp_path, 1)
    made = manager(tmp_path)
    twice = config(tmp_path)
    twice.model_config_list.config.append(twice.model_config_list.config[0])
    with pytest.raises(StatusError, match="Illegal to list model m multiple times") as e:
        made.reload(twice)
    assert e.value.code == grpc.StatusCode.INVALID_ARGUMENT
    with made.lease(spec()) as model:
        assert model.version == 1


def test_the_watcher_finds_versions_by_itself(tmp_path):
    add(tmp_path, 1)
    seen = threading.Event()
    made = ModelManager(
        config(tmp_path),
        poll_seconds=0.02,
        load=lambda name, version, folder: (version == 2 and seen.set()) or Fake(name, version, 0),
    )
    made.start()
    try:
        add(tmp_path, 2)
        assert seen.wait(5)
    finally:
        made.close()
    assert set(states(made).values()) == {END}


def test_the_watcher_survives_an_error(tmp_path, caplog):
    add(tmp_path, 1)
    calls = []

    def update():
        calls.append(1)
        if len(calls) == 2:
            raise OSError("disk gone")

    made = ModelManager(config(tmp_path), poll_seconds=0.02, on_update=update, load=Fake)
    made.start()
    deadline = time.monotonic() + 5
    while len(calls) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    made.close()
    assert len(calls) >= 4
    assert "disk gone" in caplog.text


# Real SavedModels.


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    return export_restorer(tmp_path_factory.mktemp("saved") / "1", gain=3.0, work=1)


def test_a_saved_model_is_loaded_with_its_signatures(tmp_path, saved_model):
    shutil.copytree(saved_model, tmp_path / "m" / "1")
    made = ModelManager(config(tmp_path), poll_seconds=0)
    made.update()
    with made.lease(spec()) as model:
        signature = model.signatures["serving_default"]
        assert list(signature.inputs) == ["luminance"] and list(signature.outputs) == ["restored"]
        x = np.random.default_rng(0).random((2, 3, 5, 1), np.float32)
        outputs = model.predict("serving_default", {"luminance": x})
        assert np.abs(outputs["restored"] - 3 * x).max() < 1e-5


def cut(path, part):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "saved_model.pb").unlink(),
        lambda folder: cut(folder / "saved_model.pb", 0.5),
        lambda folder: cut(folder / "saved_model.pb", 0.0),
        lambda folder: cut(folder / "variables" / "variables.data-00000-of-00001", 0.5),
        lambda folder: cut(folder / "variables" / "variables.index", 0.5),
        lambda folder: (folder / "variables" / "variables.index").unlink(),
        lambda folder: shutil.rmtree(folder / "variables"),
    ],
)
def test_a_damaged_version_is_refused_and_taken_once_it_is_whole(tmp_path, saved_model, damage):
    shutil.copytree(saved_model, tmp_path / "m" / "1")
    made = ModelManager(config(tmp_path), poll_seconds=0)
    made.update()
    shutil.copytree(saved_model, tmp_path / "m" / "2")
    damage(tmp_path / "m" / "2")
    made.update()
    assert states(made) == {2: END, 1: AVAILABLE}
    failed = made.statuses(spec(version=2))[2]
    assert failed.error_code != 0 and failed.error_message
    shutil.rmtree(tmp_path / "m" / "2")
    shutil.copytree(saved_model, tmp_path / "m" / "2")
    made.update()
    assert states(made) == {2: AVAILABLE, 1: END}


def write_warmup(folder, array):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.inputs["luminance"].CopyFrom(tf.make_tensor_proto(array))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    path = folder / WARMUP_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(log.SerializeToString())


def test_warm_up_requests_are_replayed_and_a_version_that_fails_them_is_refused(
    tmp_path, saved_model
):
    shutil.copytree(saved_model, tmp_path / "m" / "1")
    write_warmup(tmp_path / "m" / "1", np.zeros((1, 8, 8, 1), np.float32))
    made = ModelManager(config(tmp_path), poll_seconds=0)
    made.update()
    assert states(made) == {1: AVAILABLE}
    shutil.copytree(saved_model, tmp_path / "m" / "2")
    write_warmup(tmp_path / "m" / "2", np.zeros((1, 8, 8, 1), np.int64))
    made.update()
    assert states(made) == {2: END, 1: AVAILABLE}
    assert made.statuses(spec(version=2))[2].error_code == 3
