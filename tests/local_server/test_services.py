"""The local server speaks TensorFlow Serving's API: names, statuses and wording."""

import logging
import re
import socket
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from stand_in_models import export_colorizer, export_restorer
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from keras_refocus.local_server import services
from keras_refocus.local_server.configuration import BatchingParameters, model_config_for
from keras_refocus.local_server.services import LocalServer

UNLIMITED = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
X = np.random.default_rng(0).random((2, 5, 3, 1), np.float32)


class Client:
    """Stubs for every service of a server."""

    def __init__(self, port, **settings):
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", UNLIMITED, **settings)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.model = model_service_pb2_grpc.ModelServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def predict(self, request):
        return self.prediction.Predict(request, timeout=20)

    def status(self, name, **asked):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        if "version" in asked:
            request.model_spec.version.value = asked["version"]
        response = self.model.GetModelStatus(request, timeout=20)
        return {entry.version: entry for entry in response.model_version_status}


def predict_request(array=X, *, name="restorer", signature="", version=None, label=None):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    if label is not None:
        request.model_spec.version_label = label
    request.inputs["luminance"].CopyFrom(tf.make_tensor_proto(array))
    return request


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_restorer(folder / "restorer" / "1", gain=1.0)
    export_restorer(folder / "restorer" / "2", gain=2.0)
    export_colorizer(folder / "colorizer" / "1")
    return folder


@pytest.fixture(scope="module")
def client(models):
    config = model_config_for(models)
    restorer = next(m for m in config.model_config_list.config if m.name == "restorer")
    restorer.model_version_policy.all.SetInParent()
    restorer.version_labels["stable"] = 1
    with LocalServer(config, port=0, poll_seconds=0) as server:
        yield Client(server.port)


@pytest.mark.parametrize("batching", [None, BatchingParameters(max_batch_size=4)])
def test_predict(models, batching):
    with LocalServer(model_config_for(models), port=0, poll_seconds=0, batching=batching) as server:
        response = Client(server.port).predict(predict_request())
    assert response.model_spec.name == "restorer"
    assert response.model_spec.version.value == 2
    assert response.model_spec.signature_name == "serving_default"
    assert np.array_equal(tf.make_ndarray(response.outputs["restored"]), 2 * X)


@pytest.mark.parametrize(
    "asked, gain", [({}, 2), ({"version": 1}, 1), ({"version": 2}, 2), ({"label": "stable"}, 1)]
)
def test_versions_and_labels(client, asked, gain):
    response = client.predict(predict_request(**asked))
    assert response.model_spec.version.value == gain
    assert np.array_equal(tf.make_ndarray(response.outputs["restored"]), gain * X)


def test_output_filter(client):
    request = predict_request(name="colorizer")
    request.output_filter.append("chroma")
    chroma = tf.make_ndarray(client.predict(request).outputs["chroma"])
    assert np.array_equal(chroma, np.concatenate([X / 4, -X / 8], axis=-1))


def test_numbers_sent_one_by_one_are_read(client):
    request = predict_request()
    tensor = request.inputs["luminance"]
    tensor.float_val.extend(X.ravel().tolist())
    tensor.ClearField("tensor_content")
    response = client.predict(request)
    assert np.array_equal(tf.make_ndarray(response.outputs["restored"]), 2 * X)


def test_one_number_stands_for_all(client):
    tensor = tf.make_tensor_proto(0.5, shape=(1, 4, 4, 1), dtype=tf.float32)
    request = predict_request()
    request.inputs["luminance"].CopyFrom(tensor)
    response = client.predict(request)
    assert np.array_equal(tf.make_ndarray(response.outputs["restored"]), np.ones((1, 4, 4, 1)))


@pytest.mark.parametrize("name, value", [("nan", np.nan), ("infinity", np.inf)])
def test_numbers_that_are_none_pass_through(client, name, value):
    array = np.full((1, 2, 2, 1), value, np.float32)
    response = client.predict(predict_request(array))
    np.testing.assert_equal(tf.make_ndarray(response.outputs["restored"]), array)


def changed(change, **asked):
    request = predict_request(**asked)
    change(request)
    return request


def broken_tensor(**fields):
    tensor = tf.make_tensor_proto(X)
    if "sizes" in fields:
        for dimension, size in zip(tensor.tensor_shape.dim, fields["sizes"], strict=True):
            dimension.size = size
    if "dtype" in fields:
        tensor.dtype = fields["dtype"]
    return changed(lambda request: request.inputs["luminance"].CopyFrom(tensor))


@pytest.mark.parametrize(
    "request_, code, message",
    [
        (predict_request(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (predict_request(name="x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
        (
            predict_request(version=9),
            "NOT_FOUND",
            "Servable not found for request: Specific(restorer, 9)",
        ),
        (
            predict_request(label="canary"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
        ),
        (
            predict_request(signature="image"),
            "FAILED_PRECONDITION",
            'Serving signature key "image" not found.',
        ),
        (
            changed(lambda r: r.inputs["strength"].CopyFrom(r.inputs["luminance"])),
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({luminance,strength}) != "
            "len({luminance}). Sent extra: {strength}. Missing but required: {}.",
        ),
        (
            changed(lambda r: r.inputs.clear()),
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({luminance}). "
            "Sent extra: {}. Missing but required: {luminance}.",
        ),
        (
            changed(
                lambda r: (
                    r.inputs["x"].CopyFrom(r.inputs["luminance"]),
                    r.inputs.pop("luminance"),
                )
            ),
            "INVALID_ARGUMENT",
            "input tensor alias not found in signature: x. "
            "Inputs expected to be in the set {luminance}.",
        ),
        (
            changed(lambda r: r.output_filter.append("x")),
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: x "
            "Outputs expected to be in the set {restored}.",
        ),
        (
            changed(lambda r: r.output_filter.extend(["restored", "restored"])),
            "INVALID_ARGUMENT",
            "duplicate output tensor alias: restored",
        ),
        (
            predict_request(X.astype(np.float64)),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
        ),
        (
            predict_request((X * 255).astype(np.uint8)),
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but uint8 is provided",
        ),
        (
            predict_request(X[0]),
            "INVALID_ARGUMENT",
            "input luminance must have shape (None, None, None, 1); shape (5, 3, 1) is provided",
        ),
        (
            predict_request(np.repeat(X, 3, axis=-1)),
            "INVALID_ARGUMENT",
            "input luminance must have shape (None, None, None, 1); shape (2, 5, 3, 3) is provided",
        ),
        (broken_tensor(sizes=(2, 5, 4, 1)), "INVALID_ARGUMENT", "tensor parsing error: luminance"),
        (broken_tensor(sizes=(2, 5, -1, 1)), "INVALID_ARGUMENT", "tensor parsing error: luminance"),
        (
            broken_tensor(sizes=(2**40, 2**40, 1, 1)),
            "INVALID_ARGUMENT",
            "tensor parsing error: luminance (it is larger than 2 GiB)",
        ),
        (broken_tensor(dtype=0), "INVALID_ARGUMENT", "Expects arg[0] to be float but"),
        (broken_tensor(dtype=9999), "INVALID_ARGUMENT", "Expects arg[0] to be float but"),
    ],
)
def test_errors(client, request_, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(request_)
    assert caught.value.code().name == code
    assert caught.value.details().startswith(message)


def test_what_is_no_message_at_all_is_one_line_in_the_log(client, caplog):
    call = client.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    with caplog.at_level(logging.DEBUG), pytest.raises(grpc.RpcError) as failed:
        call(b"\xff\xff\xff no message", timeout=20)
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.exc_info is None and "could not be read" in record.getMessage()
    # The server goes on.
    assert client.predict(predict_request()).outputs


def test_the_memory_of_a_large_message_is_given_back_even_if_it_is_refused(models, monkeypatch):
    monkeypatch.setattr(services, "_LARGE", 1000)
    monkeypatch.setattr(services, "_LET_GO_SECONDS", 0)
    released = threading.Semaphore(0)
    with LocalServer(model_config_for(models), port=0, release_memory=released.release) as server:
        client = Client(server.port)
        client.predict(predict_request())
        assert not released.acquire(timeout=0.2)
        with pytest.raises(grpc.RpcError):
            client.predict(predict_request(np.zeros((1, 20, 20), np.float32)))
        assert released.acquire(timeout=10)


def test_classification_and_regression_are_not_implemented(client):
    for call, request in [
        (client.prediction.Classify, classification_pb2.ClassificationRequest()),
        (client.prediction.Regress, regression_pb2.RegressionRequest()),
        (client.prediction.MultiInference, inference_pb2.MultiInferenceRequest()),
    ]:
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=20)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def metadata_request(name="restorer", fields=("signature_def",)):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = name
    request.metadata_field.extend(fields)
    return request


def test_metadata_describes_the_signatures(client):
    response = client.prediction.GetModelMetadata(metadata_request(), timeout=20)
    assert response.model_spec.name == "restorer"
    assert response.model_spec.version.value == 2
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert signature.inputs["luminance"].dtype == tf.float32.as_datatype_enum
    sizes = [dimension.size for dimension in signature.inputs["luminance"].tensor_shape.dim]
    assert sizes == [-1, -1, -1, 1]
    assert list(signature.outputs) == ["restored"]


@pytest.mark.parametrize(
    "request_, code, message",
    [
        (
            get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"]),
            "INVALID_ARGUMENT",
            "Missing ModelSpec",
        ),
        (metadata_request(fields=()), "INVALID_ARGUMENT", "must specify at least one"),
        (metadata_request(fields=["x"]), "INVALID_ARGUMENT", "Metadata field x is not supported"),
        (metadata_request("x"), "NOT_FOUND", "Servable not found for request: Latest(x)"),
    ],
)
def test_metadata_errors(client, request_, code, message):
    with pytest.raises(grpc.RpcError, match=re.escape(message)) as caught:
        client.prediction.GetModelMetadata(request_, timeout=20)
    assert caught.value.code().name == code


def test_model_status(client):
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    statuses = client.status("restorer")
    assert {version: entry.state for version, entry in statuses.items()} == {
        2: available,
        1: available,
    }
    assert list(client.status("restorer", version=1)) == [1]
    for asked, message in [
        (("x", {}), "Could not find any versions of model x"),
        (("restorer", {"version": 9}), "Could not find version 9 of model restorer"),
    ]:
        with pytest.raises(grpc.RpcError, match=message) as caught:
            client.status(asked[0], **asked[1])
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError, match="Missing ModelSpec"):
        client.model.GetModelStatus(get_model_status_pb2.GetModelStatusRequest(), timeout=20)


def test_reloading_the_configuration(models):
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as server:
        client = Client(server.port)
        request = model_management_pb2.ReloadConfigRequest()
        with pytest.raises(grpc.RpcError, match="Only ModelConfigList is currently supported"):
            client.model.HandleReloadConfigRequest(request, timeout=20)
        request.config.model_config_list.config.add(
            name="other", base_path=str(models / "restorer"), model_platform="tensorflow"
        )
        client.model.HandleReloadConfigRequest(request, timeout=20)
        assert client.predict(predict_request(name="other")).model_spec.name == "other"
        with pytest.raises(grpc.RpcError, match=r"Latest\(restorer\)"):
            client.predict(predict_request())
        request.config.model_config_list.config[0].model_platform = "caffe"
        with pytest.raises(grpc.RpcError, match="unsupported platform") as caught:
            client.model.HandleReloadConfigRequest(request, timeout=20)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_health_is_checked_as_grpc_health_probe_does(client):
    for service in ("", "tensorflow.serving.PredictionService"):
        request = health_pb2.HealthCheckRequest(service=service)
        assert client.health.Check(request, timeout=20).status == 1
    with pytest.raises(grpc.RpcError) as caught:
        client.health.Check(health_pb2.HealthCheckRequest(service="x"), timeout=20)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_follows_the_models(models, tmp_path):
    """NOT_SERVING while a configured model is missing, SERVING once it appears."""
    config = model_config_for(models)
    config.model_config_list.config.add(
        name="late", base_path=str(tmp_path / "late"), model_platform="tensorflow"
    )
    with LocalServer(config, port=0, poll_seconds=0.05) as server:
        client = Client(server.port)
        watch = client.health.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert client.predict(predict_request()).model_spec.version.value == 2
        export_restorer(tmp_path / "late" / "1")
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        assert client.predict(predict_request(name="late")).model_spec.name == "late"
        began = time.monotonic()
        server.stop(grace=10)
        assert time.monotonic() - began < 5  # the watcher does not hold the server up


def test_reflection_lists_the_services_and_their_messages(client):
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="tensorflow.serving.PredictionService"
        ),
    ]
    services, files = stub.ServerReflectionInfo(iter(requests), timeout=20)
    names = {service.name for service in services.list_services_response.service}
    assert {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    } <= names
    protos = files.file_descriptor_response.file_descriptor_proto
    parsed = [descriptor_pb2.FileDescriptorProto.FromString(proto) for proto in protos]
    assert any(service.name == "PredictionService" for file in parsed for service in file.service)


def test_a_client_that_we_did_not_write(models):
    """Intel's client of this API. It names a version in every request, as 0 if it is not told."""
    ovmsclient = pytest.importorskip(
        "ovmsclient", reason="install the extra 'test' to try a client that is not ours"
    )
    with LocalServer(model_config_for(models), port=0, poll_seconds=0) as server:
        other = ovmsclient.make_grpc_client(f"127.0.0.1:{server.port}")
        status = {"state": "AVAILABLE", "error_code": 0, "error_message": ""}
        assert other.get_model_status("restorer", 2) == {2: status}
        plane = {"shape": [-1, -1, -1, 1], "dtype": "DT_FLOAT"}
        assert other.get_model_metadata("restorer", 2) == {
            "model_version": 2,
            "inputs": {"luminance": plane},
            "outputs": {"restored": plane},
        }
        assert np.array_equal(other.predict({"luminance": X}, "restorer", 2), 2 * X)
        with pytest.raises(ovmsclient.tfs_compat.base.errors.ModelNotFoundError):
            other.predict({"luminance": X}, "restorer", 9)
        with pytest.raises(ovmsclient.tfs_compat.base.errors.InvalidInputError):
            other.predict({"luminance": X.astype(np.float64)}, "restorer", 2)


def test_a_new_version_is_taken_up(models, tmp_path):
    export_restorer(tmp_path / "restorer" / "1", gain=1.0)
    with LocalServer(model_config_for(tmp_path), port=0, poll_seconds=0.05) as server:
        client = Client(server.port)
        assert client.predict(predict_request()).model_spec.version.value == 1
        export_restorer(tmp_path / "restorer" / "2", gain=2.0)
        deadline = time.monotonic() + 10
        while client.predict(predict_request()).model_spec.version.value == 1:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert client.status("restorer")[1].state in (40, 50)


def test_requests_that_wait_are_finished_when_the_server_stops(models):
    """A graceful stop answers what is under way and refuses what comes after."""
    batching = BatchingParameters(max_batch_size=64, batch_timeout_micros=700_000)
    server = LocalServer(model_config_for(models), port=0, poll_seconds=0, batching=batching)
    server.start()
    client = Client(server.port)
    call = client.prediction.Predict.future(predict_request(), timeout=20)
    time.sleep(0.3)
    stopper = threading.Thread(target=server.stop)
    stopper.start()
    assert call.result().model_spec.version.value == 2
    stopper.join(10)
    assert not stopper.is_alive()
    assert server.wait(5)
    with pytest.raises(grpc.RpcError) as caught:
        client.predict(predict_request())
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_unequal_shapes_in_a_batch_fail_together(models):
    batching = BatchingParameters(max_batch_size=2, batch_timeout_micros=10_000_000)
    with LocalServer(model_config_for(models), port=0, poll_seconds=0, batching=batching) as server:
        client = Client(server.port)
        calls = [
            client.prediction.Predict.future(
                predict_request(np.zeros((1, 4, width, 1), np.float32)), timeout=20
            )
            for width in (4, 5)
        ]
        for call in calls:
            assert call.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert "'luminance' from different tasks have different shapes" in call.details()


def test_a_request_whose_client_gave_up_is_not_run(models):
    batching = BatchingParameters(max_batch_size=8, batch_timeout_micros=400_000)
    with LocalServer(model_config_for(models), port=0, poll_seconds=0, batching=batching) as server:
        client = Client(server.port)
        with pytest.raises(grpc.RpcError) as caught:
            client.prediction.Predict(predict_request(), timeout=0.1)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        time.sleep(0.5)
        assert client.predict(predict_request()).model_spec.version.value == 2


def test_a_port_in_use_is_reported(models, client):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}. Is another server running there"):
            LocalServer(model_config_for(models), port=port, batching=BatchingParameters())


def test_the_number_of_threads_is_checked(models):
    with pytest.raises(ValueError, match="threads=0"):
        LocalServer(model_config_for(models), port=0, threads=0)


def test_stopping_twice_is_harmless(models):
    server = LocalServer(model_config_for(models), port=0, poll_seconds=0).start()
    server.stop()
    server.stop()
