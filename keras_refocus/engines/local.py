"""Where the networks run: one small protocol, and the engine that runs them in this process.

Everything that crosses the border to a model has its name here and nowhere else: servables,
signatures, tensors. `export` writes these names into SavedModels, the engines, the graph of the
whole pipeline and the local server read them.

TensorFlow is imported when the first model is loaded, not before.
"""

import difflib
import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

logger = logging.getLogger(__name__)

# Servables: folders of a model collection, and model names on TensorFlow Serving.
RESTORER = "restorer"
COLORIZER = "colorizer"
REFOCUS = "refocus"

# Signatures.
DEFAULT_SIGNATURE = "serving_default"
IMAGE_SIGNATURE = "image"

# Tensors.
LUMINANCE = "luminance"
RESTORED = "restored"
CHROMA = "chroma"
IMAGE = "image"
IMAGE_BYTES = "image_bytes"
IS_GRAYSCALE = "is_grayscale"
STRENGTH = "strength"

MODELS_VARIABLE = "REFOCUS_MODELS"
WARMUP_FILE = Path("assets.extra", "tf_serving_warmup_requests")
NETWORK_FILE = Path("assets.extra", "network.json")


class Engine(Protocol):
    """Runs the networks for the pipeline, which cannot tell one engine from another.

    Attributes:
        batch_size: How many tiles the pipeline should hand over at once. Several are of one size:
            what reaches beyond the picture is filled with its mirror image, which the network
            cannot tell from the picture, so that near such a border its result is slightly
            another. With 1, each tile ends where the picture does.
    """

    batch_size: int

    def restore(self, tiles: np.ndarray, *, model: str = RESTORER) -> np.ndarray:
        """Run a restorer: luminance float32 [N,H,W,1] in [0,1] to the same."""

    def colorize(self, luminance: np.ndarray, *, model: str = COLORIZER) -> np.ndarray:
        """Run a colorizer: luminance float32 [N,H,W,1] in [0,1] to chroma [N,H,W,2] in [-1,1]."""

    def versions(self, *models: str) -> dict[str, str]:
        """Tell which version of each of these models would answer, leaving out absent ones.

        Without names: of all models the engine knows of.
        """

    def close(self) -> None:
        """Let go of models and connections; the engine cannot be used afterwards."""


class LocalEngine:
    """SavedModels in this process: the embedded default.

    A model is loaded when it is first needed, its newest numbered version, and kept. May be used
    from several threads.

    Args:
        models_dir: Folder of servables (`<name>/<version>/saved_model.pb`); `None` finds one as
            `find_models` does.
        threads: Processor threads for one operation; `None` lets TensorFlow take all cores. This is
            a setting of the whole process and can only be made before TensorFlow first computes.
        batch_size: Tiles per call. On a processor one is as fast as many and takes the least
            memory.

    Raises:
        FileNotFoundError: There is no such folder, or it holds no model.
        ValueError: `threads` or `batch_size` is below 1.
    """

    def __init__(
        self,
        models_dir: str | os.PathLike | None = None,
        *,
        threads: int | None = None,
        batch_size: int = 1,
    ):
        if threads is not None and threads < 1:
            raise ValueError(f"The number of threads must be at least 1. Received: {threads=}.")
        if batch_size < 1:
            raise ValueError(f"The batch size must be at least 1. Received: {batch_size=}.")
        self.models_dir = find_models(models_dir)
        self.batch_size = batch_size
        self._threads = threads
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[Path, Any]] = {}

    def restore(self, tiles: np.ndarray, *, model: str = RESTORER) -> np.ndarray:
        """Run a restorer on luminance; see `Engine.restore`."""
        return self._run(model, tiles, RESTORED)

    def colorize(self, luminance: np.ndarray, *, model: str = COLORIZER) -> np.ndarray:
        """Run a colorizer on luminance; see `Engine.colorize`."""
        return self._run(model, luminance, CHROMA)

    def versions(self, *models: str) -> dict[str, str]:
        """Tell the version of each model: the loaded one, else the newest in the folder."""
        folders = {
            name: newest_version(self.models_dir / name) for name in servables(self.models_dir)
        }
        folders.update({name: folder for name, (folder, _) in self._loaded.copy().items()})
        return {
            name: folder.name for name, folder in folders.items() if not models or name in models
        }

    def close(self) -> None:
        """Forget the loaded models."""
        with self._lock:
            self._loaded.clear()

    def _run(self, name: str, luminance: np.ndarray, output: str) -> np.ndarray:
        model = self._load(name, output)
        import tensorflow as tf

        luminance = np.asarray(luminance, np.float32)
        if luminance.ndim != 4 or luminance.shape[-1] != 1 or 0 in luminance.shape:
            raise ValueError(
                "A model takes luminance of shape (images, height, width, 1), none of them zero. "
                f"Received: shape={luminance.shape}."
            )
        signature = model.signatures[DEFAULT_SIGNATURE]
        return signature(**{LUMINANCE: tf.constant(luminance)})[output].numpy()

    def _load(self, name: str, output: str) -> Any:
        with self._lock:
            if name not in self._loaded:
                folder = newest_version(self.models_dir / name)
                if folder is None:
                    raise FileNotFoundError(
                        missing_model(name, servables(self.models_dir), where=str(self.models_dir))
                    )
                self._set_threads()
                self._loaded[name] = (folder, _load_saved_model(folder))
            folder, model = self._loaded[name]
        _check_signature(model, folder, output)
        return model

    def _set_threads(self) -> None:
        if self._threads is None:
            return
        import tensorflow as tf

        if tf.config.threading.get_intra_op_parallelism_threads() == self._threads:
            return
        try:
            tf.config.threading.set_intra_op_parallelism_threads(self._threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError as error:
            raise RuntimeError(
                "The number of threads can only be chosen before TensorFlow first computes in a "
                f"process. Received: threads={self._threads}. Make this the first engine of the "
                "process, or leave threads out."
            ) from error


def find_models(path: str | os.PathLike | None = None) -> Path:
    """Find the folder of models.

    Args:
        path: A folder that must be used; `None` takes the environment variable `REFOCUS_MODELS`,
            then the models that came with the installation.

    Returns:
        A folder that holds at least one servable.

    Raises:
        FileNotFoundError: The folder does not exist or holds no model, or none was installed.
    """
    named = path or os.environ.get(MODELS_VARIABLE)
    if named:
        origin = "the models option" if path else MODELS_VARIABLE
        folder = Path(named).expanduser()
        if not folder.is_dir():
            raise FileNotFoundError(
                f"The folder of models must exist. Received: '{folder}' from {origin}. {_HOW_TO}"
            )
        if not servables(folder):
            raise FileNotFoundError(
                "A folder of models must hold <name>/<number>/saved_model.pb. "
                f"Received: '{folder}' from {origin}. {_HOW_TO}"
            )
        return folder.resolve()
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "saved_models", package.parent / "saved_models"):
        if servables(folder):
            return folder
    raise FileNotFoundError(f"No models came with this installation. {_HOW_TO}")


_HOW_TO = (
    "Reinstall keras_refocus from its repository, whose saved_models folder is part of the "
    "package; or train and export your own (refocus train --help, refocus export --help) and name "
    f"their folder with --models or {MODELS_VARIABLE}."
)


def servables(folder: str | os.PathLike) -> list[str]:
    """Names of the models in a folder, sorted; empty if the folder does not exist."""
    folder = Path(folder)
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if newest_version(entry) is not None)


def newest_version(servable: str | os.PathLike) -> Path | None:
    """Folder of the highest numbered version that holds a SavedModel, `None` if there is none."""
    servable = Path(servable)
    if not servable.is_dir():
        return None
    versions = [
        entry
        for entry in servable.iterdir()
        if entry.name.isdecimal() and (entry / "saved_model.pb").is_file()
    ]
    return max(versions, key=lambda entry: int(entry.name), default=None)


def saved_model_folder(path: str | os.PathLike) -> Path | None:
    """Folder of the SavedModel that a path names: itself, or the newest version of a servable.

    Returns:
        The folder, or `None` if the path holds no SavedModel.
    """
    path = Path(path)
    return path if (path / "saved_model.pb").is_file() else newest_version(path)


def open_saved_model(folder: Path, output: str) -> Any:
    """Load a SavedModel that speaks the contract: luminance to `output`.

    Raises:
        OSError: It is damaged or incomplete.
        ValueError: It takes or gives something else.
    """
    model = _load_saved_model(folder)
    _check_signature(model, folder, output)
    return model


def missing_model(name: str, available: Iterable[str], *, where: str) -> str:
    """Word the error for a model that is not there, with the nearest name that is."""
    available = sorted(available)
    near = difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    how = (
        " Without a colorizer only the mode 'restore' works; use that, or add a colorizer."
        if name == COLORIZER
        else ""
    )
    return (
        f"The model must be one of those in {where}: {', '.join(available) or 'none'}. "
        f"Received: model='{name}'.{hint}{how}"
    )


def _load_saved_model(folder: Path) -> Any:
    import tensorflow as tf

    logger.info("loading %s", folder)
    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise OSError(
            f"The SavedModel in '{folder}' cannot be loaded; it is damaged or incomplete. "
            "Install or export it again."
        ) from error


def _check_signature(model: Any, folder: Path, output: str) -> None:
    """Refuse a model that does not speak the contract, before a tensor error says it worse."""
    signature = model.signatures.get(DEFAULT_SIGNATURE)
    inputs = set(signature.structured_input_signature[1]) if signature else set()
    outputs = set(signature.structured_outputs) if signature else set()
    if inputs != {LUMINANCE} or output not in outputs:
        raise ValueError(
            f"This model must take '{LUMINANCE}' and give '{output}' in its signature "
            f"'{DEFAULT_SIGNATURE}'. Received: inputs={sorted(inputs)}, outputs={sorted(outputs)} "
            f"in '{folder}'. Choose another model, or export this one with `refocus export`."
        )
