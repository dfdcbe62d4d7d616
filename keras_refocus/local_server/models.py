"""Loads, watches and unloads versions of SavedModels, by the rules of TensorFlow Serving.

A model is a folder with numbered sub-folders; other entries are skipped. A version policy says
which of them are wanted. New versions are loaded beside the old ones, and the old ones are unloaded
only when a wanted one is available and their last request is answered, so that no request is lost
and a version that cannot be loaded changes nothing.
"""

import contextlib
import enum
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from keras_refocus.local_server.batching import BatchQueue, BatchScheduler, StatusError, Tensors
from keras_refocus.local_server.configuration import check_model_config, version_folders

logger = logging.getLogger(__name__)

WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


class VersionState(enum.IntEnum):
    """Life of a version; values of `ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass
class VersionStatus:
    """State of one version, with the error that ended it, if one did."""

    state: VersionState
    error_code: int = 0
    error_message: str = ""


class LoadedVersion:
    """A SavedModel in memory.

    Args:
        name: Model name.
        version: Version number.
        folder: The version folder.

    Attributes:
        signatures: `SignatureDef` messages by name, as written in `saved_model.pb`.

    Raises:
        StatusError: The folder does not hold a whole SavedModel that runs its warm-up requests.
    """

    def __init__(self, name: str, version: int, folder: Path):
        self.name, self.version, self.folder = name, version, folder
        self._functions, self.signatures = _load(folder)
        self._queues: dict[str, BatchQueue] = {}
        self._warm_up()

    def open_queues(self, scheduler: BatchScheduler) -> None:
        """Sends requests through the batch scheduler from now on."""
        for signature in self._functions:
            self._queues[signature] = scheduler.queue(
                lambda inputs, signature=signature: self.run(signature, inputs)
            )

    def close(self) -> None:
        """Closes the batch queues; the memory goes with the object."""
        for queue in self._queues.values():
            queue.close()

    def predict(
        self, signature: str, inputs: Tensors, *, wanted: Callable[[], bool] = lambda: True
    ) -> Tensors:
        """Runs a signature, in a batch with other requests when batching is on."""
        if signature in self._queues:
            return self._queues[signature].submit(inputs, wanted=wanted)
        return self.run(signature, inputs)

    def run(self, signature: str, inputs: Tensors) -> Tensors:
        """Runs a signature on exactly these inputs."""
        import tensorflow as tf

        try:
            outputs = self._functions[signature](
                **{name: tf.constant(array) for name, array in inputs.items()}
            )
            return {name: tensor.numpy() for name, tensor in outputs.items()}
        except tf.errors.OpError as error:
            raise StatusError(status_code(error.error_code), _kernel_message(error)) from error
        except (MemoryError, ValueError, TypeError) as error:
            code = grpc.StatusCode.INVALID_ARGUMENT
            if isinstance(error, MemoryError):
                code = grpc.StatusCode.RESOURCE_EXHAUSTED
            raise StatusError(code, str(error)) from error

    def _warm_up(self) -> None:
        """Replays the requests that were exported with the model, as TensorFlow Serving does."""
        path = self.folder / WARMUP_FILE
        if not path.is_file():
            return
        import tensorflow as tf
        from tensorflow_serving.apis import prediction_log_pb2

        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record)
            if not log.HasField("predict_log"):
                continue
            request = log.predict_log.request
            name = request.model_spec.signature_name or "serving_default"
            self.run(name, {key: tf.make_ndarray(t) for key, t in request.inputs.items()})


def _kernel_message(error) -> str:
    """Returns what the failing operation said, as a session would, without Python's frame."""
    text = error.message.rpartition("<stack traces unavailable>\n")[2]
    return text.partition(" [Op:")[0]


def status_code(number: int) -> grpc.StatusCode:
    """Returns the gRPC status code of a TensorFlow error code; they share their numbers."""
    for code in grpc.StatusCode:
        if code.value[0] == number:
            return code
    return grpc.StatusCode.UNKNOWN


def _load(folder: Path):
    """Loads a SavedModel; returns its functions and its `SignatureDef`s by signature name."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    graph_file = folder / "saved_model.pb"
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(graph_file.read_bytes())
        functions = dict(tf.saved_model.load(str(folder)).signatures)
    except FileNotFoundError as error:
        raise StatusError(
            grpc.StatusCode.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {folder}",
        ) from error
    except DecodeError as error:
        raise StatusError(
            grpc.StatusCode.DATA_LOSS, f"Can't parse {graph_file} as binary proto"
        ) from error
    except tf.errors.OpError as error:
        raise StatusError(status_code(error.error_code), error.message) from error
    except Exception as error:  # a damaged graph can fail anywhere inside the loader
        raise StatusError(
            grpc.StatusCode.DATA_LOSS, f"Cannot load the SavedModel at {folder}: {error}"
        ) from error
    definitions = dict(saved_model.meta_graphs[0].signature_def)
    return functions, {name: definitions[name] for name in definitions}


@dataclass
class _Entry:
    """What the manager knows of one version of one model."""

    status: VersionStatus
    loaded: LoadedVersion | None = None
    users: int = 0
    retired: bool = False
    fingerprint: frozenset = frozenset()


@dataclass
class _Model:
    """What the manager knows of one model."""

    config: object
    versions: dict[int, _Entry] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    complaint: str = ""


class ModelManager:
    """Keeps the wanted versions of every configured model in memory.

    Args:
        config: A `ModelServerConfig`, see `serving_config.read_model_config`.
        scheduler: Batches requests when given.
        poll_seconds: Time between two looks at the version folders, seconds; 0 looks only once.
        on_update: Called after each look at the folders.
        load: Loads one version.

    Raises:
        ValueError: The configuration is not valid.
    """

    def __init__(
        self,
        config: Any,
        *,
        scheduler: BatchScheduler | None = None,
        poll_seconds: float = 1.0,
        on_update: Callable[[], None] = lambda: None,
        load: Callable[[str, int, Path], LoadedVersion] = LoadedVersion,
    ):
        check_model_config(config)
        if poll_seconds < 0:
            raise ValueError(f"poll_seconds must be 0 or more. Received: {poll_seconds}")
        self._scheduler = scheduler
        self._poll_seconds = poll_seconds
        self._on_update = on_update
        self._load = load
        self._lock = threading.Lock()
        # Held while versions are loaded and unloaded; requests only ever take `_lock`.
        self._updating = threading.Lock()
        self._models: dict[str, _Model] = {}
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._configure(config)

    def start(self) -> None:
        """Loads what is wanted, then watches the folders in a thread."""
        self.update()
        if self._poll_seconds:
            self._watcher = threading.Thread(target=self._watch, name="watcher", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stops watching and unloads everything once it is idle."""
        self._stop.set()
        if self._watcher:
            self._watcher.join()
        with self._updating:
            for model in self._models.values():
                for version in list(model.versions):
                    self._retire(model, version)

    @property
    def ready(self) -> bool:
        """Whether every configured model has a version to answer with."""
        with self._lock:
            return all(
                any(entry.status.state == VersionState.AVAILABLE for entry in m.versions.values())
                for m in self._models.values()
            )

    @contextlib.contextmanager
    def lease(self, spec: Any) -> Iterator[LoadedVersion]:
        """Gives the version that a request's `ModelSpec` asks for, and keeps it loaded meanwhile.

        Raises:
            StatusError: INVALID_ARGUMENT or NOT_FOUND, worded as TensorFlow Serving words it.
        """
        with self._lock:
            model, version = self._find(spec)
            entry = model.versions[version]
            entry.users += 1
        try:
            yield entry.loaded
        finally:
            with self._lock:
                entry.users -= 1
                finished = entry.retired and entry.users == 0
            if finished:
                self._unload(entry)

    def statuses(self, spec: Any) -> dict[int, VersionStatus]:
        """Returns the status of the version that `spec` names, or of all versions, newest first.

        Raises:
            StatusError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        with self._lock:
            model = self._models.get(spec.name)
            version = self._version_named(spec) if spec.HasField("version_label") else None
            if spec.HasField("version"):
                version = spec.version.value
            if version is not None:
                if model is None or version not in model.versions:
                    raise StatusError(
                        grpc.StatusCode.NOT_FOUND,
                        f"Could not find version {version} of model {spec.name}",
                    )
                return {version: model.versions[version].status}
            if model is None or not model.versions:
                raise StatusError(
                    grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}"
                )
            return {
                number: model.versions[number].status
                for number in sorted(model.versions, reverse=True)
            }

    def reload(self, config: Any) -> None:
        """Replaces the configuration: models that are not in it are unloaded.

        Raises:
            StatusError: INVALID_ARGUMENT for a bad configuration, FAILED_PRECONDITION for a label
                moved to a version that is not available, UNKNOWN when a new model does not load.
        """
        try:
            check_model_config(config)
        except ValueError as error:
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        with self._updating:
            with self._lock:
                known = set(self._models)
                self._check_labels(config)
            self._configure(config)
            self._update()
            with self._lock:
                missing = [
                    name
                    for name in self._models.keys() - known
                    if not any(
                        entry.status.state == VersionState.AVAILABLE
                        for entry in self._models[name].versions.values()
                    )
                ]
        if missing:
            raise StatusError(
                grpc.StatusCode.UNKNOWN,
                "Some models did not become available: {" + ", ".join(sorted(missing)) + "}",
            )

    def update(self) -> None:
        """Looks at the version folders once, loads what is new and unloads what is not wanted."""
        with self._updating:
            self._update()

    # Requests.

    def _find(self, spec) -> tuple[_Model, int]:
        if not spec.name:
            raise StatusError(grpc.StatusCode.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        wanted = self._version_named(spec) if spec.HasField("version_label") else None
        if spec.HasField("version"):
            wanted = spec.version.value
        model = self._models.get(spec.name)
        available = [
            number
            for number, entry in (model.versions if model else {}).items()
            if entry.status.state == VersionState.AVAILABLE
        ]
        if wanted is None and available:
            return model, max(available)
        if wanted in available:
            return model, wanted
        asked = f"Latest({spec.name})" if wanted is None else f"Specific({spec.name}, {wanted})"
        raise StatusError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {asked}")

    def _version_named(self, spec) -> int:
        model = self._models.get(spec.name)
        if model is None or spec.version_label not in model.labels:
            raise StatusError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Unrecognized servable version label: {spec.version_label}",
            )
        return model.labels[spec.version_label]

    # Configuration.

    def _configure(self, config) -> None:
        with self._lock:
            models = {m.name: m for m in config.model_config_list.config}
            for name, model_config in models.items():
                model = self._models.setdefault(name, _Model(model_config))
                model.config = model_config
                model.labels = dict(model_config.version_labels)
            dropped = [self._models[name] for name in self._models.keys() - models.keys()]
        for model in dropped:
            for version in list(model.versions):
                self._retire(model, version)
        with self._lock:
            for name in self._models.keys() - models.keys():
                del self._models[name]

    def _check_labels(self, config) -> None:
        """The rule of `--allow_version_labels_for_unavailable_models`: a label that is in use may
        only move to a version that is available."""
        for model_config in config.model_config_list.config:
            model = self._models.get(model_config.name)
            for label, version in model_config.version_labels.items():
                if model is None or model.labels.get(label, version) == version:
                    continue
                entry = model.versions.get(version)
                if entry is None or entry.status.state != VersionState.AVAILABLE:
                    raise StatusError(
                        grpc.StatusCode.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model "
                        f"{model_config.name}, which is not currently available for inference",
                    )

    # Loading and unloading; `_updating` is held.

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            try:
                self.update()
            except Exception:  # the watcher must outlive a folder that cannot be read
                logger.exception("cannot look at the version folders; trying again")

    def _update(self) -> None:
        for model in list(self._models.values()):
            folders = self._wanted(model)
            if folders is None:
                continue
            for version in sorted(folders):
                self._load_if_new(model, version, folders[version])
            available = {
                number
                for number, entry in model.versions.items()
                if entry.status.state == VersionState.AVAILABLE
            }
            if folders and not available & folders.keys():
                continue  # nothing to replace the old versions with
            for version in sorted(available - folders.keys()):
                self._retire(model, version)
        self._on_update()

    def _wanted(self, model: _Model) -> dict[int, Path] | None:
        """Returns the version folders that the policy wants; `None` when the model is not there."""
        config = model.config
        if not Path(config.base_path).is_dir():
            self._complain(
                model, f"Could not find base path {config.base_path} for servable {config.name}"
            )
            return None
        found = version_folders(config.base_path)
        if not found:
            self._complain(
                model,
                f"No versions of servable {config.name} found under base path {config.base_path}. "
                "Did you forget to name your leaf directory as a number (eg. '/1/')?",
            )
        else:
            self._complain(model, "")
        policy = config.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        if kind == "all":
            return found
        if kind == "specific":
            return {v: found[v] for v in policy.specific.versions if v in found}
        count = (policy.latest.num_versions or 1) if kind == "latest" else 1
        return {v: found[v] for v in sorted(found)[-count:]}

    def _complain(self, model: _Model, text: str) -> None:
        """Warns once for as long as the reason stays the same."""
        if text and text != model.complaint:
            logger.warning("%s", text)
        model.complaint = text

    def _load_if_new(self, model: _Model, version: int, folder: Path) -> None:
        entry = model.versions.get(version)
        fingerprint = _fingerprint(folder)
        if entry is not None:
            ended = entry.status.state == VersionState.END
            # A version that failed is tried again when its files change, as they do while it is
            # still being copied; one that was unloaded is loaded again.
            if not ended or (entry.status.error_code and entry.fingerprint == fingerprint):
                return
        entry = _Entry(VersionStatus(VersionState.LOADING), fingerprint=fingerprint)
        with self._lock:
            model.versions[version] = entry
        name, start = model.config.name, time.monotonic()
        try:
            loaded = self._load(name, version, folder)
        except StatusError as error:
            logger.error(
                "Loading servable: {name: %s version: %d} failed: %s", name, version, error.message
            )
            with self._lock:
                entry.status = VersionStatus(VersionState.END, error.code.value[0], error.message)
            return
        if self._scheduler is not None:
            loaded.open_queues(self._scheduler)
        with self._lock:
            entry.loaded = loaded
            entry.status = VersionStatus(VersionState.AVAILABLE)
        logger.info(
            "Successfully loaded servable version {name: %s version: %d} in %.1f s",
            name,
            version,
            time.monotonic() - start,
        )

    def _retire(self, model: _Model, version: int) -> None:
        """Takes a version out of service; its last request unloads it."""
        with self._lock:
            entry = model.versions[version]
            if entry.status.state != VersionState.AVAILABLE:
                return
            entry.status = VersionStatus(VersionState.UNLOADING)
            entry.retired = True
            idle = entry.users == 0
        logger.info("Unloading {name: %s version: %d}", model.config.name, version)
        if idle:
            self._unload(entry)

    def _unload(self, entry: _Entry) -> None:
        entry.loaded.close()
        with self._lock:
            entry.loaded = None
            entry.status = VersionStatus(VersionState.END)


def _fingerprint(folder: Path) -> frozenset:
    """Sizes and times of all files of a version folder."""
    files = set()
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            stat = path.stat()
            files.add((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return frozenset(files)
