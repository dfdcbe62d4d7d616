"""Models in folders: where they are found, which version counts, and how a SavedModel is opened.

A folder of models holds `<name>/<version>/saved_model.pb`; the highest number is the newest. Only
this module opens a SavedModel, so that a damaged one, or one that speaks other names, is refused
alike by all who need one. TensorFlow is imported when the first one is opened.
"""

import difflib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_refocus.engines import contract, remote

logger = logging.getLogger(__name__)

MODELS_VARIABLE = "REFOCUS_MODELS"


def find_models(path: str | os.PathLike | None = None) -> Path:
    """Find the folder of models.

    Args:
        path: A folder that must be used, or the address of one, which is copied into a cache (see
            `remote`); `None` takes the environment variable `REFOCUS_MODELS`, then the models that
            came with the installation.

    Returns:
        A folder that holds at least one servable.

    Raises:
        FileNotFoundError: The folder does not exist or holds no model, or none was installed.
    """
    named = path or os.environ.get(MODELS_VARIABLE)
    if named:
        if remote.is_address(named):
            return remote.fetch(os.fspath(named))
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
    folder = installed_models()
    if folder is None:
        raise FileNotFoundError(f"No models came with this installation. {_HOW_TO}")
    return folder


def installed_models() -> Path | None:
    """Folder of the models that came with the installation, `None` if none did."""
    package = Path(__file__).resolve().parent.parent
    folders = (package / "saved_models", package.parent / "saved_models")
    return next((folder for folder in folders if servables(folder)), None)


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
    """Folder of the highest numbered version that holds a SavedModel, `None` if there is none.

    Numbers of 2^63 and more are passed over, as TensorFlow Serving does.
    """
    servable = Path(servable)
    if not servable.is_dir():
        return None
    versions = [
        entry
        for entry in servable.iterdir()
        if entry.name.isdecimal()
        and int(entry.name) < 2**63
        and (entry / contract.SAVED_MODEL_FILE).is_file()
    ]
    return max(versions, key=lambda entry: int(entry.name), default=None)


def saved_model_folder(path: str | os.PathLike) -> Path | None:
    """Folder of the SavedModel that a path names: itself, or the newest version of a servable.

    Returns:
        The folder, or `None` if the path holds no SavedModel.
    """
    path = Path(path)
    return path if (path / contract.SAVED_MODEL_FILE).is_file() else newest_version(path)


def open_saved_model(
    folder: str | os.PathLike, output: str | None = None, *, given: str = contract.LUMINANCE
) -> Any:
    """Load a SavedModel.

    Keep the object for as long as its signatures are used: it owns their variables.

    Args:
        folder: Of a version, which holds `saved_model.pb`.
        output: Name of the tensor that its default signature has to give for luminance; `None`
            asks for nothing.
        given: Name of the tensor that it takes.

    Raises:
        FileNotFoundError: There is no SavedModel.
        OSError: It is damaged or incomplete.
        ValueError: It takes or gives something else.
    """
    import tensorflow as tf

    if not (Path(folder) / contract.SAVED_MODEL_FILE).is_file():
        raise FileNotFoundError(
            "A SavedModel must be named by the folder of a version, such as saved_models/restorer/"
            f"1. Received: '{folder}', which has no {contract.SAVED_MODEL_FILE}."
        )
    logger.info("loading %s", folder)
    try:
        model = tf.saved_model.load(os.fspath(folder))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise OSError(
            f"The SavedModel in '{folder}' cannot be loaded; it is damaged or incomplete. "
            "Install or export it again."
        ) from error
    if output is not None:
        check_signature(model, folder, output, given=given)
    return model


def tensor_names(model: Any) -> tuple[list[str], list[str]]:
    """Names of the inputs and outputs of a SavedModel's default signature, sorted.

    Both are empty if it has none.
    """
    signature = model.signatures.get(contract.DEFAULT_SIGNATURE)
    if signature is None:
        return [], []
    return sorted(signature.structured_input_signature[1]), sorted(signature.structured_outputs)


def check_signature(
    model: Any, folder: str | os.PathLike, output: str, *, given: str = contract.LUMINANCE
) -> None:
    """Refuse a model that does not speak the contract, before a tensor error says it worse.

    Args:
        model: What `open_saved_model` gave.
        folder: Where it came from, for the error.
        output: Name of the tensor that it has to give.
        given: Name of the tensor that it takes.

    Raises:
        ValueError: It takes or gives something else.
    """
    inputs, outputs = tensor_names(model)
    if inputs != [given] or output not in outputs:
        raise ValueError(
            f"This model must take '{given}' and give '{output}' in its signature "
            f"'{contract.DEFAULT_SIGNATURE}'. Received: inputs={inputs}, outputs={outputs} in "
            f"'{folder}'. Choose another model, or export this one with `refocus export`."
        )


def missing_model(name: str, available: Iterable[str], *, where: str) -> str:
    """Word the error for a model that is not there, with the nearest name that is."""
    available = sorted(available)
    near = difflib.get_close_matches(name, available, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    how = (
        " Without a colorizer only the mode 'restore' works; use that, or add a colorizer."
        if name == contract.COLORIZER
        else ""
    )
    return (
        f"The model must be one of those in {where}: {', '.join(available) or 'none'}. "
        f"Received: model='{name}'.{hint}{how}"
    )
