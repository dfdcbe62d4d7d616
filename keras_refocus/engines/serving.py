"""The engine that asks TensorFlow Serving, or `refocus serve`, over gRPC.

The pipeline cannot tell it from `engines.local.LocalEngine`. The wire is TensorFlow Serving's own
PredictionService, with the names of `engines.contract`; nothing here is particular to our server.
"""

import functools
import ipaddress
import itertools
import logging
import os
import random
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Mapping
from pathlib import Path

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from keras_refocus.engines import contract

logger = logging.getLogger(__name__)

DEFAULT_PORT = 8500

# Pictures are larger than gRPC's default limit of 4 MiB. A host name with several addresses is
# used in turns. A server that comes back is found within seconds. A peer that vanished without
# closing the connection is noticed after 20 s; TensorFlow Serving tolerates a ping every 5 minutes.
_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2000),
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0  # seconds between two attempts


# Outputs of what motion networks and corrections see; all others are of luminance.
_OF_SEEN = {contract.TRAJECTORIES_AND_RESIDUALS, contract.CORRECTIONS}


class ServingError(ConnectionError):
    """A server could not be reached or did not answer a request.

    Attributes:
        model: Name of the servable that was asked for.
        address: Addresses of the server, as given.
        status: The `grpc.StatusCode` of the last attempt.
    """

    def __init__(self, message: str, *, model: str, address: str, status: grpc.StatusCode):
        super().__init__(message)
        self.model = model
        self.address = address
        self.status = status


class ServingEngine:
    """Runs the networks on TensorFlow Serving. May be used from several threads.

    Example:

        engine = ServingEngine("grpc://gpu-box:8500")
        Restorer(engine).restore("photo.jpg")

    Args:
        address: `[grpc://]host[:port][,host[:port]...]`, or `grpcs://` for TLS; the port is 8500
            unless named. A proxy that the environment names (`grpc_proxy`, `https_proxy`,
            `http_proxy`, but for hosts of `no_proxy`) is used as gRPC does, never to reach this
            machine. Requests go to several addresses in turns, and to the next one when one
            is unavailable. `?label=stable`, `?version=3` and `?timeout=30` may be appended.
        version: Version number, or version label, for every model; or a mapping from model to
            one of these. Without it the highest version answers.
        timeout: Deadline of one request, seconds.
        connect_timeout: How long to try while no server has answered yet, seconds.
        retry_seconds: How long to repeat a request while the server that used to answer is
            unavailable, as when it restarts, seconds. Nothing but UNAVAILABLE is repeated.
        tiles_per_request: Tiles in one request. One lets a batching server and several servers
            spread the work best.
        in_flight: Requests under way at the same time in one call.
        root_certificates: PEM file to verify the server by, for `grpcs://`; the well-known
            authorities without it.
        client_certificate: PEM file, for servers that verify their clients.
        client_key: PEM file with the key of `client_certificate`.
        server_name: Name in the server's certificate, where it differs from the host.

    Raises:
        ValueError: The address or a setting is not valid.
        FileNotFoundError: A PEM file does not exist.
    """

    def __init__(
        self,
        address: str,
        *,
        version: int | str | Mapping[str, int | str] | None = None,
        timeout: float = 60.0,
        connect_timeout: float = 5.0,
        retry_seconds: float = 60.0,
        tiles_per_request: int = 1,
        in_flight: int = 8,
        root_certificates: str | Path | None = None,
        client_certificate: str | Path | None = None,
        client_key: str | Path | None = None,
        server_name: str | None = None,
    ):
        # What makes this engine again in another process.
        options = {
            name: value for name, value in locals().items() if name not in ("self", "address")
        }
        self._again = functools.partial(ServingEngine, address, **options)
        self._process = os.getpid()
        targets, secure, query = _parse_address(address)
        version = query.pop("version", version)
        version = query.pop("label", version)
        timeout = query.pop("timeout", timeout)
        _check_numbers(
            seconds={
                "timeout": timeout,
                "connect_timeout": connect_timeout,
                "retry_seconds": retry_seconds,
            },
            counts={"tiles_per_request": tiles_per_request, "in_flight": in_flight},
        )
        if not secure and (root_certificates or client_certificate or client_key):
            raise ValueError(f"Certificates need a grpcs:// address. Received: address={address!r}")
        credentials = (
            _credentials(root_certificates, client_certificate, client_key) if secure else None
        )

        self.address = ",".join(targets)
        self.batch_size = tiles_per_request * in_flight
        self._version = version
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._retry_seconds = retry_seconds
        self._tiles_per_request = tiles_per_request
        self._in_flight = in_flight
        self._answered = False
        self._closed = threading.Event()

        self._channels = [_open_channel(target, credentials, server_name) for target in targets]
        self._stubs = [
            prediction_service_pb2_grpc.PredictionServiceStub(channel) for channel in self._channels
        ]
        self._turn = itertools.count()

    def __reduce__(self):
        return self._again, ()

    def restore(self, tiles: np.ndarray, *, model: str = contract.RESTORER) -> np.ndarray:
        """Run a restorer on luminance; see `contract.Engine.restore`.

        Raises:
            ServingError: No server answered, or it refused the request.
        """
        return self._run(model, contract.as_luminance(tiles), contract.RESTORED, channels=1)

    def colorize(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        """Run a colorizer on luminance; see `contract.Engine.colorize`.

        Raises:
            ServingError: No server answered, or it refused the request.
        """
        return self._run(model, contract.as_luminance(luminance), contract.CHROMA, channels=2)

    def estimate_motion(self, seen: np.ndarray, *, model: str = contract.MOTION) -> np.ndarray:
        """Run a motion network on what it sees; see `contract.Engine.estimate_motion`.

        Raises:
            ServingError: No server answered, or it refused the request.
        """
        output = contract.TRAJECTORIES_AND_RESIDUALS
        return self._run(model, contract.as_seen(seen), output, channels=contract.MOTION_CHANNELS)

    def correct(self, seen: np.ndarray, *, model: str = contract.INTERPOLATOR) -> np.ndarray:
        """Correct frames in between; see `contract.Engine.correct`.

        Raises:
            ServingError: No server answered, or it refused the request.
        """
        channels = contract.CORRECTION_CHANNELS
        return self._run(model, contract.as_parts(seen), contract.CORRECTIONS, channels=channels)

    def color_shares(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        """Ask a colorizer how likely which colours are; see `contract.Engine.color_shares`.

        Raises:
            ServingError: No server answered.
            ValueError: This colorizer predicts no distribution.
        """
        luminance = np.ascontiguousarray(contract.as_luminance(luminance))
        request = self._request(
            model, luminance, contract.SHARES, signature=contract.DISTRIBUTION_SIGNATURE
        )
        try:
            response = self._call(model, "Predict", request)
        except ServingError as error:
            # As TensorFlow Serving answers for a signature that a model lacks, and our server.
            if error.status in (
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.FAILED_PRECONDITION,
            ):
                raise ValueError(contract.no_distribution(model)) from error
            raise
        tensor = response.outputs[contract.SHARES]
        shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
        return self._read(model, response, contract.SHARES, shape)

    def versions(self, *models: str) -> dict[str, str]:
        """Tell which version of each model would answer; see `contract.Engine.versions`.

        Without names it asks for the models of the contract: a server has no list to give.

        Raises:
            ServingError: No server answered.
        """
        found = {}
        for name in models or (contract.RESTORER, contract.COLORIZER, contract.REFOCUS):
            request = get_model_metadata_pb2.GetModelMetadataRequest()
            request.metadata_field.append("signature_def")
            self._choose_model(request.model_spec, name)
            try:
                response = self._call(name, "GetModelMetadata", request)
            except ServingError as error:
                # An unknown label is an invalid argument, everything else unknown is not found.
                if error.status not in (
                    grpc.StatusCode.NOT_FOUND,
                    grpc.StatusCode.INVALID_ARGUMENT,
                ):
                    raise
                continue
            found[name] = str(response.model_spec.version.value)
        return found

    def close(self) -> None:
        """Close the connections; requests under way are cancelled."""
        self._closed.set()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> "ServingEngine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self, model: str, values: np.ndarray, output: str, *, channels: int) -> np.ndarray:
        values = np.ascontiguousarray(values)
        step = self._tiles_per_request
        if len(values) <= step:  # Nothing to overlap: spare it the hand-over between threads.
            request = self._request(model, values, output)
            response = self._call(model, "Predict", request)
            return self._read(model, response, output, (*values.shape[:3], channels))
        pieces = [values[start : start + step] for start in range(0, len(values), step)]
        answers = []
        waiting: deque = deque()
        unsent = iter(pieces)
        try:
            for piece in itertools.islice(unsent, self._in_flight):
                waiting.append(self._send(model, piece, output))
            while waiting:
                shape, request, call = waiting.popleft()
                response = self._call(model, "Predict", request, call)
                answers.append(self._read(model, response, output, (*shape[:3], channels)))
                for piece in itertools.islice(unsent, 1):
                    waiting.append(self._send(model, piece, output))
        finally:
            # Reached with something waiting only by an error or an interrupt.
            for _, _, call in waiting:
                call.cancel()
        return np.concatenate(answers)

    def _send(self, model: str, piece: np.ndarray, output: str):
        """Starts a request; returns the shape of its input, the request and the call under way."""
        request = self._request(model, piece, output)
        call = self._next("Predict").future(request, timeout=self._timeout)
        return piece.shape, request, call

    def _request(
        self,
        model: str,
        piece: np.ndarray,
        output: str,
        *,
        signature: str = contract.DEFAULT_SIGNATURE,
    ):
        request = predict_pb2.PredictRequest()
        self._choose_model(request.model_spec, model)
        request.model_spec.signature_name = signature
        request.output_filter.append(output)
        given = contract.SEEN if output in _OF_SEEN else contract.LUMINANCE
        _write_tensor(request.inputs[given], piece)
        return request

    def _next(self, method: str):
        """The method of the server whose turn it is."""
        if self._closed.is_set():
            raise ValueError("This engine is closed; make a new one.")
        if self._process != os.getpid():
            raise RuntimeError(
                "A connection to a server must be used by the process that made it. Received: "
                f"process {os.getpid()}, forked from process {self._process}. Make the engine "
                "after the fork, or start processes with multiprocessing's method 'spawn'."
            )
        return getattr(self._stubs[next(self._turn) % len(self._stubs)], method)

    def _call(self, model: str, method: str, request, call=None):
        """Waits for a call, or makes one, and repeats it while the server is unavailable."""
        give_up = None
        for attempt in itertools.count():
            try:
                if call is None:
                    response = self._next(method)(request, timeout=self._timeout)
                else:
                    response = call.result()
                self._answered = True
                return response
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise ValueError(
                        "This engine was closed while a request was under way."
                    ) from error
                patience = self._retry_seconds if self._answered else self._connect_timeout
                give_up = give_up or time.monotonic() + patience
                repeat = error.code() == grpc.StatusCode.UNAVAILABLE
                if not repeat or time.monotonic() >= give_up:
                    raise self._explain(model, error) from error
                logger.debug("%s unavailable, trying again: %s", self.address, error.details())
            except grpc.FutureCancelledError as error:
                raise ValueError("This engine was closed while a request was under way.") from error
            call = None
            # The other addresses are tried at once; a pause only when all of them had their turn.
            rounds, position = divmod(attempt + 1, len(self._stubs))
            if position == 0:
                pause = min(_FIRST_PAUSE * 2 ** (rounds - 1), _LONGEST_PAUSE)
                pause = min(pause * random.uniform(0.5, 1.0), max(0.0, give_up - time.monotonic()))
                self._closed.wait(pause)

    def _choose_model(self, spec, model: str) -> None:
        spec.name = model
        version = self._version
        if isinstance(version, Mapping):
            version = version.get(model)
        if isinstance(version, int):
            spec.version.value = version
        elif version:
            spec.version_label = version

    def _read(self, model: str, response, output: str, shape: tuple[int, ...]) -> np.ndarray:
        """Reads an output; servers answer in `tensor_content` or, unless told, in `float_val`."""
        tensor = response.outputs[output]
        got = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
        if got != shape:
            raise ServingError(
                f"The model must answer with {output} of shape {shape}. Received: shape={got} from "
                f"model '{model}' version {response.model_spec.version.value} at {self.address}. "
                "Deploy a model that was exported with `refocus export`.",
                model=model,
                address=self.address,
                status=grpc.StatusCode.OK,
            )
        if tensor.tensor_content:
            return np.frombuffer(tensor.tensor_content, np.float32).reshape(shape)
        count = int(np.prod(shape))
        return np.fromiter(tensor.float_val, np.float32, count).reshape(shape)

    def _explain(self, model: str, error) -> ServingError:
        """Words a gRPC error for the person who has to mend it."""
        status, details = error.code(), error.details()
        code = grpc.StatusCode
        spec = f"model '{model}'"
        if self._version:
            spec += f", version {self._version}"
        if status == code.UNAVAILABLE and not self._answered:
            advice = (
                f"cannot reach TF Serving at {self.address}; is it running? Try `refocus serve` on "
                "that machine, and check the address, the port and whether both sides use TLS."
            )
        elif status == code.UNAVAILABLE:
            advice = (
                f"TF Serving at {self.address} stayed unavailable for {self._retry_seconds:g} s; "
                "it stopped, or its batching queue stays full. Try again when it runs, or with "
                "fewer requests at once."
            )
        elif status == code.DEADLINE_EXCEEDED:
            advice = (
                f"TF Serving at {self.address} did not answer within {self._timeout:g} s ({spec}). "
                "Try a smaller tile, or a longer timeout (append ?timeout=300 to the address)."
            )
        elif status in (code.NOT_FOUND, code.INVALID_ARGUMENT):
            advice = (
                f"TF Serving at {self.address} cannot run this request ({spec}). Check which "
                "models and versions it has, and that they were exported with `refocus export`."
            )
        elif status == code.FAILED_PRECONDITION:
            advice = (
                f"TF Serving at {self.address} cannot run this request ({spec}). With batching on, "
                "all its clients must send tiles of one size: use the same --tile everywhere."
            )
        else:
            advice = f"TF Serving at {self.address} failed ({spec})."
        return ServingError(
            f"{advice} It said: {status.name}: {details}",
            model=model,
            address=self.address,
            status=status,
        )


def _check_numbers(*, seconds: Mapping[str, float], counts: Mapping[str, int]) -> None:
    for name, value in seconds.items():
        if not value >= 0 or (name == "timeout" and value == 0):
            raise ValueError(f"{name} must be a number of seconds. Received: {name}={value}")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1. Received: {name}={value}")


def _credentials(
    root_certificates: str | Path | None,
    client_certificate: str | Path | None,
    client_key: str | Path | None,
) -> grpc.ChannelCredentials:
    if bool(client_certificate) != bool(client_key):
        raise ValueError("client_certificate and client_key must be given together.")
    return grpc.ssl_channel_credentials(
        root_certificates=_read_pem(root_certificates),
        private_key=_read_pem(client_key),
        certificate_chain=_read_pem(client_certificate),
    )


def _open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, server_name: str | None
) -> grpc.Channel:
    options = list(_CHANNEL_OPTIONS)
    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    if _is_loopback(target):
        # gRPC goes through the proxy that the environment names, to this machine too.
        options.append(("grpc.enable_http_proxy", 0))
    if credentials is None:
        return grpc.insecure_channel(target, options)
    return grpc.secure_channel(target, credentials, options)


def _write_tensor(tensor, array: np.ndarray) -> None:
    """Fills a `TensorProto` with float32 numbers; `tf.make_tensor_proto` without its copies."""
    tensor.dtype = types_pb2.DT_FLOAT
    for size in array.shape:
        tensor.tensor_shape.dim.add(size=size)
    tensor.tensor_content = array.tobytes()


def _parse_address(address: str) -> tuple[list[str], bool, dict]:
    """Splits an address into gRPC targets, whether TLS is wanted, and the settings after `?`."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "grpc", address
    if scheme not in ("grpc", "grpcs"):
        raise ValueError(
            "The address of a server must look like grpc://host:8500, or grpcs:// for TLS. "
            f"Received: address={address!r}. TF Serving's REST port (8501) cannot be used here."
        )
    hosts, _, query = rest.partition("?")
    targets = []
    for host in hosts.rstrip("/").split(","):
        try:
            parts = urllib.parse.urlsplit(f"//{host.strip()}")
            port = parts.port or DEFAULT_PORT
        except ValueError:
            parts = None
        if parts is None or not parts.hostname or parts.path or parts.username:
            raise ValueError(
                "The address of a server must look like grpc://host:8500, several separated by "
                f"commas. Received: address={address!r}"
            )
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        targets.append(f"{name}:{port}")
    readers = {"version": int, "label": str, "timeout": float}
    settings = {}
    for key, value in urllib.parse.parse_qsl(query, keep_blank_values=True):
        try:
            settings[key] = readers[key](value)
        except (KeyError, ValueError) as error:
            raise ValueError(
                "After ? an address may have version=<number>, label=<name> or timeout=<seconds>. "
                f"Received: {key}={value} in address={address!r}"
            ) from error
    return targets, scheme == "grpcs", settings


def _is_loopback(target: str) -> bool:
    """Whether a target `host:port` is this machine."""
    host = target.rpartition(":")[0].strip("[]")
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # The name of another machine.
        return False


def _read_pem(path: str | Path | None) -> bytes | None:
    if path is None:
        return None
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"The PEM file must exist. Received: path={path}")
    return path.read_bytes()
