"""Weights that a training starts from: those of a run, of a SavedModel or of a file."""

import json
import logging
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_refocus import networks
from keras_refocus.engines import contract, store
from keras_refocus.training import run_folder

_log = logging.getLogger(__name__)


def network_of(path: str | os.PathLike) -> dict[str, Any] | None:
    """Tell which generator a run, a weights file inside one, or a SavedModel holds.

    Args:
        path: Run folder, `.keras` file, or folder of a SavedModel.

    Returns:
        Dict of the fields `generator` and `generator_options` of a configuration, or `None` if it
        is not recorded.
    """
    path = pathlib.Path(path)
    version = store.saved_model_folder(path)
    if version is not None:
        file = version / contract.NETWORK_FILE
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
        return found and network_of_config(found)
    folder = path if path.is_dir() else path.parent
    if not (folder / run_folder.RECORD).is_file():
        return None
    config = run_folder.read_record(folder)["config"]
    return network_of_config(config) if "generator" in config else None


def load_network(path: str | os.PathLike) -> keras.Model:
    """Load a generator, whatever the backend that trains, to be asked and not trained.

    Args:
        path: Run folder, `.keras` file, or folder of a SavedModel that says which network it is.

    Returns:
        `keras.Model`.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If a SavedModel does not say which network it is.
    """
    path = pathlib.Path(path)
    if store.saved_model_folder(path) is None:
        file = _weights_file(path)
        if file.suffix != ".keras":
            raise ValueError(
                "A network to learn from must be a run folder, a .keras file or a SavedModel. "
                f"Received: {path}, which holds weights alone."
            )
        model = keras.saving.load_model(file, compile=False)
    else:
        network = network_of(path)
        if network is None:
            raise ValueError(
                "A SavedModel to learn from must say which network it is. Received: "
                f"{path} without {contract.NETWORK_FILE}. Export it again from its run folder."
            )
        model = networks.build(network["generator"], **network["generator_options"])
        _load_part(model, path, whole=True)
    model.trainable = False
    _log.info("learning from %s too", path)
    return model


def network_of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The generator of a configuration, without the file that its weights began with."""
    name, options = config["generator"], config.get("generator_options", {})
    return {"generator": name, "generator_options": networks.architecture(name, options)}


def load(
    generator: keras.Model, paths: Sequence[str | os.PathLike], network: Mapping[str, Any]
) -> None:
    """Load weights of run folders, SavedModels or files into a generator or its parts.

    One source must hold the whole generator, unless it says that it is another network: who starts
    from that has chosen so.
    """
    found = set()
    for path in map(pathlib.Path, paths):
        whole = len(paths) == 1 and network_of(path) in (None, network)
        found |= _load_part(generator, path, whole=whole)
        _log.info("started from %s", path)
    missing = [v.path for v in generator.trainable_variables if v.path not in found]
    if missing:
        _log.info(
            "%d of %d trained weights start afresh, such as %s",
            len(missing),
            len(generator.trainable_variables),
            missing[0],
        )


def _load_part(generator, path, *, whole):
    """Load the weights that one source holds; return the set of their names."""
    version = store.saved_model_folder(path)
    if version is None:
        path = _weights_file(path)
    variables = {variable.path: variable for variable in generator.variables}
    try:
        if version is None and path.suffix not in _BY_NAME:
            generator.load_weights(path)
            return set(variables)
        values = _saved_weights(version) if version else _BY_NAME[path.suffix](path)
        for name, value in values.items():
            if name not in variables or variables[name].shape != value.shape:
                raise ValueError(f"its {name!r} of shape {value.shape} is not in there")
        needed = (
            variables if path.suffix != ".npz" else {v.path for v in generator.trainable_variables}
        )
        missing = next((name for name in needed if name not in values), None)
        if whole and missing:
            raise ValueError(f"it has no {missing!r}")
        for name, value in values.items():
            variables[name].assign(value)
    except ValueError as error:
        raise ValueError(
            "The weights to start from must be of the configured generator, or of a part of it. "
            f"Received: {path} for {generator.name!r}. Choose the same generator and options. "
            f"({error})"
        ) from error
    return set(values)


def _weights_file(path):
    """The file that a path names, a run folder or the file itself."""
    if path.is_dir():
        names = [name for name in (run_folder.BEST, run_folder.AVERAGED) if (path / name).is_file()]
        if not names:
            raise FileNotFoundError(
                f"The folder to start from must be a run with {run_folder.BEST} or "
                f"{run_folder.AVERAGED}, or a SavedModel. Received: {path}, which has neither."
            )
        path = path / names[0]
    if not path.is_file():
        raise FileNotFoundError(
            f"The weights to start from must exist. Received: {path}. Check the path."
        )
    return path


def _file_weights(path):
    """Dict from the name of a variable to its value, of a `.keras` file."""
    model = keras.saving.load_model(path, compile=False)
    return {v.path: keras.ops.convert_to_numpy(v.value) for v in model.variables}


def _array_weights(path):
    """The same of an `.npz` file, of any precision."""
    with np.load(path) as arrays:
        return {name: arrays[name].astype("float32") for name in arrays.files}


_BY_NAME = {".keras": _file_weights, ".npz": _array_weights}


def _saved_weights(version):
    """Dict from the name of a variable to its value, of a SavedModel."""
    # The archive keeps its variables in a list without order; their names are those of the network.
    variables = getattr(store.open_saved_model(version), "_all_variables", [])
    if not variables:
        raise ValueError("it has no variables")
    return {v.name.split(":")[0]: np.asarray(v.numpy(), "float32") for v in variables}
