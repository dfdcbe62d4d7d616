"""TensorFlow Serving's configuration files, read for the local server.

`models.config`, `batching.config` and `ssl.config` are text-format protocol buffers. The schema of
the first is in the tensorflow-serving-api package. The other schemas are compiled into TensorFlow
Serving but left out of that package, so their messages are declared here with the field names of
`session_bundle_config.proto`, `ssl_config.proto` and `monitoring_config.proto`, and read by the
same text-format parser: a misspelled field is an error that names it, here as there.
"""

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

PLATFORM = "tensorflow"

_FIELDS = {
    "BatchingParameters": {
        "max_batch_size": "google.protobuf.Int64Value",
        "batch_timeout_micros": "google.protobuf.Int64Value",
        "max_enqueued_batches": "google.protobuf.Int64Value",
        "num_batch_threads": "google.protobuf.Int64Value",
        "thread_pool_name": "google.protobuf.StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "google.protobuf.BoolValue",
        "max_execution_batch_size": "google.protobuf.Int64Value",
    },
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "tensorflow.serving.PrometheusConfig"},
}


def _declare_messages() -> dict:
    """Builds the message classes of `_FIELDS`, in a descriptor pool of their own."""
    field_type = descriptor_pb2.FieldDescriptorProto
    scalars = {
        "bool": field_type.TYPE_BOOL,
        "int64": field_type.TYPE_INT64,
        "string": field_type.TYPE_STRING,
    }
    schema = descriptor_pb2.FileDescriptorProto(
        name="keras_refocus/serving_config.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for message_name, fields in _FIELDS.items():
        message = schema.message_type.add(name=message_name)
        for number, (name, kind) in enumerate(fields.items(), start=1):
            repeated = kind.startswith("repeated ")
            kind = kind.removeprefix("repeated ")
            field = message.field.add(name=name, number=number)
            field.label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            if kind in scalars:
                field.type = scalars[kind]
            else:
                field.type, field.type_name = field_type.TYPE_MESSAGE, f".{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(schema)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"tensorflow.serving.{name}")
        )
        for name in _FIELDS
    }


_MESSAGES = _declare_messages()


@dataclass(frozen=True, kw_only=True)
class BatchingParameters:
    """How single requests are joined into batches; names and defaults of TensorFlow Serving.

    Args:
        max_batch_size: Largest size of one request, in rows of the first dimension, and of one
            batch unless `max_execution_batch_size` is smaller.
        batch_timeout_micros: How long an incomplete batch waits for more requests, microseconds.
        max_enqueued_batches: Batches that may wait; past that a request is answered UNAVAILABLE.
        num_batch_threads: Batches that run at the same time; `None` means one per processor.
        allowed_batch_sizes: Batches are padded up to one of these; empty means any size.
        pad_variable_length_inputs: Pads unequal shapes instead of refusing them. Outputs keep the
            padded shape, so it is of little use for pictures.
        enable_large_batch_splitting: Splits a request over several batches.
        max_execution_batch_size: Largest batch when splitting; `None` means `max_batch_size`.

    Raises:
        ValueError: A size below 1, a negative timeout, or sizes that contradict each other.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self):
        for name in ("max_batch_size", "max_enqueued_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Received: {getattr(self, name)}")
        for name in ("num_batch_threads", "max_execution_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1. Received: {value}")
        if self.batch_timeout_micros < 0:
            raise ValueError(
                "batch_timeout_micros must be 0 or more. "
                f"Received: batch_timeout_micros={self.batch_timeout_micros}"
            )
        if self.execution_batch_size > self.max_batch_size:
            raise ValueError(
                "max_execution_batch_size must be at most max_batch_size. Received: "
                f"max_execution_batch_size={self.max_execution_batch_size}, "
                f"max_batch_size={self.max_batch_size}"
            )
        sizes = self.allowed_batch_sizes
        if any(a >= b for a, b in zip(sizes, sizes[1:], strict=False)) or (sizes and sizes[0] < 1):
            raise ValueError(
                f"allowed_batch_sizes must be positive and increasing. Received: {sizes}"
            )
        if sizes and sizes[-1] != self.execution_batch_size:
            raise ValueError(
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was "
                f"{sizes[-1]}; expected {self.execution_batch_size}"
            )

    @property
    def execution_batch_size(self) -> int:
        """The largest batch that is run."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size is not None:
            return self.max_execution_batch_size
        return self.max_batch_size

    @property
    def threads(self) -> int:
        """The number of batches that run at the same time."""
        return self.num_batch_threads or os.cpu_count() or 1


def read_text_message(path: Path, message_name: str) -> Any:
    """Reads one text-format configuration file.

    Args:
        path: The file.
        message_name: `"BatchingParameters"`, `"SSLConfig"`, `"MonitoringConfig"` or
            `"ModelServerConfig"`.

    Returns:
        The protocol-buffer message.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a text-format message of that kind; the message says where.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"The configuration file must exist. Received: path={path}")
    if message_name == "ModelServerConfig":
        message = model_server_config_pb2.ModelServerConfig()
    else:
        message = _MESSAGES[message_name]()
    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), message)
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} must hold a {message_name} message in protobuf text format. Received: {error}"
        ) from error


def read_model_config(path: Path, *, models_root: Path | None = None) -> Any:
    """Reads a `models.config` as `tensorflow_model_server --model_config_file` does.

    Args:
        path: The file.
        models_root: When given, the folder that stands for the common parent of all base paths
            of the file, so that a configuration written for a container (`/models/restorer`)
            also works on a checkout.

    Returns:
        A `ModelServerConfig` message that passed `check_model_config`.
    """
    config = read_text_message(path, "ModelServerConfig")
    models = config.model_config_list.config
    if models_root is not None and models:
        prefix = posixpath.commonpath([str(PurePosixPath(m.base_path).parent) for m in models])
        for model in models:
            inside = PurePosixPath(model.base_path).relative_to(prefix)
            model.base_path = str(Path(models_root).resolve().joinpath(*inside.parts))
    check_model_config(config)
    return config


def model_config_for(folder: Path) -> Any:
    """Lists every model of a folder as a `ModelServerConfig`.

    Args:
        folder: A folder with one sub-folder per model, each with numbered version folders.

    Raises:
        FileNotFoundError: The folder holds no model.
    """
    folder = Path(folder).resolve()
    names = (
        sorted(p.name for p in folder.iterdir() if version_folders(p)) if folder.is_dir() else []
    )
    if not names:
        raise FileNotFoundError(
            "The models folder must hold <model>/<version>/saved_model.pb, with a number as "
            f"version. Received: folder={folder}. Export a model there, or name another folder."
        )
    config = model_server_config_pb2.ModelServerConfig()
    for name in names:
        config.model_config_list.config.add(
            name=name, base_path=str(folder / name), model_platform=PLATFORM
        )
    return config


def check_model_config(config: Any) -> None:
    """Refuses what TensorFlow Serving would refuse in a `ModelServerConfig`.

    Raises:
        ValueError: A model is listed twice, has no name, another platform than `tensorflow`, or a
            relative base path.
    """
    seen = set()
    for model in config.model_config_list.config:
        if not model.name:
            raise ValueError("Every model in a model config must have a name.")
        if model.name in seen:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        seen.add(model.name)
        if model.model_platform != PLATFORM:
            raise ValueError(
                f"Model {model.name} requests unsupported platform {model.model_platform!r}; "
                f"it must be {PLATFORM!r}."
            )
        if not Path(model.base_path).is_absolute():
            raise ValueError(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )


def version_folders(base_path: Path) -> dict[int, Path]:
    """Returns the version folders of one model, by number; other entries are skipped.

    A number of 2^63 or more is none: the API has 64 bits for it, and TensorFlow Serving skips it.
    """
    base_path = Path(base_path)
    if not base_path.is_dir():
        return {}
    return {
        int(child.name): child
        for child in base_path.iterdir()
        if child.name.isascii()
        and child.name.isdigit()
        and int(child.name) < 2**63
        and child.is_dir()
    }


def read_batching_parameters(path: Path) -> BatchingParameters:
    """Reads a `batching.config` as `--batching_parameters_file` does."""
    message = read_text_message(path, "BatchingParameters")
    values = {}
    for field, value in message.ListFields():
        if field.name == "thread_pool_name":
            continue  # a label in TensorFlow Serving's own logs
        if field.name == "allowed_batch_sizes":
            value = tuple(value)
        values[field.name] = getattr(value, "value", value)
    try:
        return BatchingParameters(**values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_ssl_config(path: Path) -> grpc.ServerCredentials:
    """Reads an `ssl.config` as `--ssl_config_file` does.

    Returns:
        Server credentials: the PEM key and certificate of the file, client certificates required
        when `client_verify` is true.

    Raises:
        ValueError: The key or the certificate is missing, or clients are to be verified with no
            `custom_ca` to verify them by.
    """
    config = read_text_message(path, "SSLConfig")
    if not (config.server_key and config.server_cert):
        raise ValueError(f"{path} must set server_key and server_cert to PEM text.")
    if config.client_verify and not config.custom_ca:
        raise ValueError(f"{path} sets client_verify, so it must set custom_ca to PEM text too.")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
