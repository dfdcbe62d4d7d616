"""TensorFlow Serving's gRPC API over SavedModels, for development and for machines without Docker.

A stand-in with the same contract, not a rival: the same services on the same port, the same
configuration files, status codes and wording, so that a client cannot tell which one answers.
TensorFlow Serving is what carries load in production; it also has a REST API, metrics and
accelerators, which this server has not.

Services: `tensorflow.serving.PredictionService` (Predict, GetModelMetadata; Classify, Regress and
MultiInference are UNIMPLEMENTED), `tensorflow.serving.ModelService`, gRPC health checking and
reflection. Protocol: https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis
"""

import functools
import logging
import os
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2,
    prediction_service_pb2_grpc,
)

from keras_refocus.local_server.batching import BatchScheduler, StatusError, Tensors
from keras_refocus.local_server.configuration import BatchingParameters
from keras_refocus.local_server.models import LoadedVersion, ModelManager

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8500
DEFAULT_SIGNATURE = "serving_default"
SIGNATURE_DEF = "signature_def"
PREDICTION_SERVICE = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
MODEL_SERVICE = model_service_pb2.DESCRIPTOR.services_by_name["ModelService"]

# A plane of 1024x1024 float32 is already over gRPC's default of 4 MiB; TensorFlow Serving lifts
# the limit too. Without SO_REUSEPORT a second server on a port fails instead of sharing it.
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_INVALID = grpc.StatusCode.INVALID_ARGUMENT


# Messages of which the memory is given back to the system once they are answered, bytes; and how
# long after the answer nothing holds it any more, seconds.
_LARGE = 2**26
_LET_GO_SECONDS = 0.5


class _OneLine(logging.Filter):
    """Makes one line of gRPC's traceback of a request that is no message at all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Changes what is logged; nothing is held back."""
        if record.exc_info:
            kind = record.exc_info[0]
            record.msg, record.args = "a request could not be read: %s", (kind.__name__,)
            record.exc_info = record.exc_text = None
        return True


_ONE_LINE = _OneLine()


def _with_status(method):
    """Makes an RPC method answer with the status of the `StatusError` it raises."""

    @functools.wraps(method)
    def answer(self, request, context):
        try:
            return method(self, request, context)
        except StatusError as error:
            logger.debug("%s failed: %s", method.__name__, error.message)
            context.abort(error.code, error.message)

    return answer


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    """`tensorflow.serving.PredictionService` over the versions that a `ModelManager` holds."""

    def __init__(self, manager: ModelManager, release_memory: Callable[[], None] = lambda: None):
        self._manager = manager
        self._release_memory = release_memory

    def _let_go(self) -> None:
        timer = threading.Timer(_LET_GO_SECONDS, self._release_memory)
        timer.daemon = True
        timer.start()

    @_with_status
    def Predict(self, request: Any, context: Any) -> Any:
        """Runs a signature of a model."""
        if request.ByteSize() >= _LARGE:
            context.add_callback(self._let_go)
        with self._manager.lease(request.model_spec) as model:
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = model.signatures.get(name)
            if signature is None:
                raise StatusError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f'Serving signature key "{name}" not found.',
                )
            inputs = _read_inputs(signature, request)
            wanted = _output_names(signature, request)
            outputs = model.predict(name, inputs, wanted=context.is_active)
            return _response(model, name, {key: outputs[key] for key in wanted})

    @_with_status
    def GetModelMetadata(self, request: Any, context: Any) -> Any:
        """Describes the signatures of a model."""
        if not request.HasField("model_spec"):
            raise StatusError(_INVALID, "Missing ModelSpec")
        if not request.metadata_field:
            raise StatusError(
                _INVALID, "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise StatusError(_INVALID, f"Metadata field {field} is not supported")
        with self._manager.lease(request.model_spec) as model:
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
            response = get_model_metadata_pb2.GetModelMetadataResponse()
            response.model_spec.name = model.name
            response.model_spec.version.value = model.version
            response.metadata[SIGNATURE_DEF].Pack(signatures)
            return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """`tensorflow.serving.ModelService` over a `ModelManager`."""

    def __init__(self, manager: ModelManager):
        self._manager = manager

    @_with_status
    def GetModelStatus(self, request: Any, context: Any) -> Any:
        """Lists the versions of a model with their states, newest first."""
        if not request.HasField("model_spec"):
            raise StatusError(_INVALID, "Missing ModelSpec")
        response = get_model_status_pb2.GetModelStatusResponse()
        for version, status in self._manager.statuses(request.model_spec).items():
            entry = response.model_version_status.add(version=version, state=int(status.state))
            entry.status.error_code = status.error_code
            entry.status.error_message = status.error_message
        return response

    @_with_status
    def HandleReloadConfigRequest(self, request: Any, context: Any) -> Any:
        """Replaces the list of models; models that are not in the new list are unloaded."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise StatusError(
                _INVALID,
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported",
            )
        self._manager.reload(request.config)
        return model_management_pb2.ReloadConfigResponse()


def set_operation_threads(count: int) -> None:
    """Sets how many threads of this process work on one operation; for the command, not a library.

    Possible until TensorFlow first computes, as it does when a model is loaded.

    Args:
        count: Number of threads, at least 1.

    Raises:
        RuntimeError: If TensorFlow has computed already.
    """
    tf.config.threading.set_intra_op_parallelism_threads(count)


def operation_threads() -> int:
    """How many threads work on one operation; 0 where TensorFlow chooses."""
    return tf.config.threading.get_intra_op_parallelism_threads()


class LocalServer:
    """A gRPC server that answers as TensorFlow Serving does.

    Example:

        with LocalServer(model_config_for("saved_models")) as server:
            Restorer(f"grpc://localhost:{server.port}").restore("photo.jpg")

    Args:
        config: A `ModelServerConfig`, see `serving_config.read_model_config`.
        host: Address to listen on; `"0.0.0.0"` or `"[::]"` is reachable from other machines.
        port: TCP port; 0 takes a free one, see `port`.
        batching: Joins requests into batches when given.
        credentials: TLS, see `serving_config.read_ssl_config`.
        threads: Requests that are handled at the same time; later ones wait. `None` means four
            per processor, as in TensorFlow Serving.
        poll_seconds: Time between two looks for new versions, seconds; 0 looks only once.
        release_memory: Called when a large message is done with, refused or not: gives free memory
            back to the system, which the C library would keep.

    Raises:
        ValueError: The configuration is not valid.
        OSError: The port cannot be listened on.
    """

    def __init__(
        self,
        config: Any,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        batching: BatchingParameters | None = None,
        credentials: grpc.ServerCredentials | None = None,
        threads: int | None = None,
        poll_seconds: float = 1.0,
        release_memory: Callable[[], None] = lambda: None,
    ):
        self._release_memory = release_memory
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1. Received: threads={threads}")
        logging.getLogger("grpc._common").addFilter(_ONE_LINE)
        self._scheduler = BatchScheduler(batching) if batching else None
        try:
            self.manager = ModelManager(
                config,
                scheduler=self._scheduler,
                poll_seconds=poll_seconds,
                on_update=self._report_health,
            )
            self._pool = futures.ThreadPoolExecutor(
                threads or 4 * (os.cpu_count() or 1), thread_name_prefix="rpc"
            )
            self._server = grpc.server(self._pool, options=_OPTIONS)
            self._last_health = None
            # Watchers of the health service hold a thread each; they get their own.
            self._health_pool = futures.ThreadPoolExecutor(2, thread_name_prefix="health")
            self._health = health.HealthServicer(
                experimental_non_blocking=True, experimental_thread_pool=self._health_pool
            )
            self.port = self._listen(f"{host}:{port}", credentials)
        except BaseException:
            if self._scheduler:
                self._scheduler.close()
            raise
        self._register()
        self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)

    def start(self) -> "LocalServer":
        """Begins to answer, then loads the models; returns when they are loaded.

        Until then health is NOT_SERVING and requests for a model are answered NOT_FOUND.
        """
        self._server.start()
        self.manager.start()
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Blocks until the server has stopped; returns False when `timeout` seconds passed."""
        return not self._server.wait_for_termination(timeout)

    def stop(self, grace: float | None = 10.0) -> None:
        """Refuses new requests, finishes those under way for up to `grace` seconds, and unloads."""
        self._health.enter_graceful_shutdown()
        self._server.stop(grace)
        # Requests end with their threads; watchers of the health service never end by themselves,
        # so the rest is cut off once the requests are done or their time is up.
        drain = threading.Thread(target=self._pool.shutdown)
        drain.start()
        drain.join(grace)
        self._server.stop(None).wait()
        drain.join()
        if self._scheduler:
            self._scheduler.close()
        self.manager.close()
        self._health_pool.shutdown(wait=False)

    def __enter__(self) -> "LocalServer":
        return self.start()

    def __exit__(self, *exception) -> None:
        self.stop()

    def _listen(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise OSError(
                f"The server must be able to listen on {address}. Is another server running there? "
                "Choose another port, or 0 for a free one."
            ) from error
        return port

    def _register(self) -> None:
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(self.manager, self._release_memory), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(self.manager), self._server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (PREDICTION_SERVICE.full_name, MODEL_SERVICE.full_name, health.SERVICE_NAME)
        reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), self._server)

    def _report_health(self) -> None:
        state = health_pb2.HealthCheckResponse
        self._set_health(state.SERVING if self.manager.ready else state.NOT_SERVING)

    def _set_health(self, state) -> None:
        if state == self._last_health:
            return
        self._last_health = state
        for service in ("", PREDICTION_SERVICE.full_name, MODEL_SERVICE.full_name):
            self._health.set(service, state)


def _read_inputs(signature, request) -> Tensors:
    """Checks a request against a `SignatureDef` and reads its tensors.

    TensorFlow Serving leaves wrong shapes to the model's operations, some of which end the whole
    process, so shapes are checked here against the signature.
    """
    sent, expected = set(request.inputs), set(signature.inputs)
    if len(sent) != len(expected):
        raise StatusError(
            _INVALID,
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_braces(sent)}) != len({_braces(expected)}). "
            f"Sent extra: {_braces(sent - expected)}. "
            f"Missing but required: {_braces(expected - sent)}.",
        )
    for name in sorted(sent - expected):
        raise StatusError(
            _INVALID,
            f"input tensor alias not found in signature: {name}. "
            f"Inputs expected to be in the set {_braces(expected)}.",
        )
    inputs = {}
    for index, name in enumerate(sorted(expected)):
        tensor, info = request.inputs[name], signature.inputs[name]
        if tensor.dtype != info.dtype:
            raise StatusError(
                _INVALID,
                f"Expects arg[{index}] to be {_type_name(info.dtype)} but "
                f"{_type_name(tensor.dtype)} is provided",
            )
        array = _as_array(name, tensor)
        if not tf.TensorShape(info.tensor_shape).is_compatible_with(array.shape):
            raise StatusError(
                _INVALID,
                f"input {name} must have shape {tf.TensorShape(info.tensor_shape)}; "
                f"shape {array.shape} is provided",
            )
        inputs[name] = array
    return inputs


def _as_array(name: str, tensor) -> np.ndarray:
    """Reads a `TensorProto`; numbers sent as `tensor_content` are not copied."""
    try:
        dtype = tf.dtypes.as_dtype(tensor.dtype)
        shape = [dimension.size for dimension in tensor.tensor_shape.dim]
        if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
            raise ValueError("its shape is not fully known")
        if int(np.prod(shape, dtype=object)) * (dtype.size or 1) >= 2**31:
            raise ValueError("it is larger than 2 GiB")
        if tensor.tensor_content and dtype != tf.string:
            return np.frombuffer(tensor.tensor_content, dtype.as_numpy_dtype).reshape(shape)
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise StatusError(_INVALID, f"tensor parsing error: {name} ({error})") from error


def _output_names(signature, request) -> list[str]:
    """Returns the outputs that the request asks for; all of them when it names none."""
    wanted = list(request.output_filter)
    for index, name in enumerate(wanted):
        if name not in signature.outputs:
            raise StatusError(
                _INVALID,
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {_braces(signature.outputs)}.",
            )
        if name in wanted[:index]:
            raise StatusError(_INVALID, f"duplicate output tensor alias: {name}")
    return wanted or sorted(signature.outputs)


def _response(model: LoadedVersion, signature: str, outputs: Tensors):
    response = predict_pb2.PredictResponse()
    response.model_spec.name = model.name
    response.model_spec.version.value = model.version
    response.model_spec.signature_name = signature
    for name, array in outputs.items():
        tensor = response.outputs[name]
        if array.dtype == object:
            tensor.CopyFrom(tf.make_tensor_proto(array))
            continue
        # As TensorFlow Serving does under --enable_serialization_as_tensor_content.
        tensor.dtype = tf.dtypes.as_dtype(array.dtype).as_datatype_enum
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = array.tobytes()
    return response


def _braces(names) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _type_name(number: int) -> str:
    """Returns the name of a `DataType` in TensorFlow's error messages."""
    try:
        name = tf.dtypes.as_dtype(number).name
    except TypeError:
        return f"unknown dtype enum ({number})"
    return {"float32": "float", "float64": "double"}.get(name, name)
