"""SavedModels in other formats, for people without TensorFlow: ONNX and LiteRT.

The SavedModel stays the original. The other file has the same names, takes pictures of any number
and size as it does, and is compared with it where the runtime of its format is installed.
"""

import importlib.util
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_refocus.engines import contract, store

logger = logging.getLogger(__name__)

SUFFIXES = {"onnx": ".onnx", "litert": ".tflite"}
# What to install for writing (TensorFlow writes LiteRT itself) and for comparing.
_PACKAGES = {
    "onnx": "pip install onnx 'tf2onnx>=1.17' onnxruntime",
    "litert": "pip install 'ai-edge-litert>=2.3'",
}
_OPSET = 18
_SHAPES = ((1, 64, 64, 1), (2, 33, 17, 1), (1, 1, 1, 1), (1, 120, 90, 1))
# Sums in another order; an eighth of what a step of 8 bits is.
_TOLERANCE = 5e-4

# How often a conversion may be tried until it gives the right numbers: ONNX is written in another
# order each time, LiteRT always in the same.
_ATTEMPTS = {"onnx": 5, "litert": 1}


def convert(version: str | os.PathLike, file: str | os.PathLike, *, file_format: str) -> bool:
    """Write a restorer or colorizer in another format.

    Args:
        version: Version folder of its SavedModel, such as `saved_models/restorer/1`.
        file: File to write; it is replaced if it exists.
        file_format: `"onnx"` or `"litert"`.

    Returns:
        Whether the file was compared with the SavedModel; without the runtime it cannot be.

    Raises:
        FileNotFoundError: There is no such SavedModel.
        ImportError: The converter is not installed.
        ValueError: The format is unknown, the model is neither stage, it cannot be converted, or
            the file gives other numbers.
    """
    if file_format not in SUFFIXES:
        raise ValueError(
            f"The format must be one of {', '.join(SUFFIXES)}. Received: {file_format=}."
        )
    version, file = Path(version), Path(file)
    original = _original(version)
    write, runtime, load = {
        "onnx": (_write_onnx, "onnxruntime", _load_onnx),
        "litert": (_write_litert, "ai_edge_litert", _load_litert),
    }[file_format]
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".convert-", dir=file.parent) as folder:
        draft = Path(folder) / f"model{SUFFIXES[file_format]}"
        compared = importlib.util.find_spec(runtime) is not None
        attempts = _ATTEMPTS[file_format]
        for attempt in range(1, attempts + 1):
            write(version, draft, attempt)
            if not compared:
                break
            try:
                _compare(original, load(draft), file)
                break
            except ValueError:
                if attempt == attempts:
                    raise
        if not compared:
            logger.warning(
                "%s was not compared with the SavedModel: %s is not installed. Run: %s",
                file,
                runtime,
                _PACKAGES[file_format],
            )
        draft.replace(file)
    return compared


def _original(version: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Loads the SavedModel as a function from luminance to its one output."""
    model = store.open_saved_model(version)
    inputs, outputs = store.tensor_names(model)
    if inputs != [contract.LUMINANCE] or len(outputs) != 1:
        raise ValueError(
            f"Only a restorer or a colorizer can be converted, from '{contract.LUMINANCE}' to one "
            f"output. Received: {inputs=}, {outputs=} in '{version}'."
        )

    def run(luminance):
        # `model` owns the variables that the signature refers to.
        return model.signatures[contract.DEFAULT_SIGNATURE](
            **{contract.LUMINANCE: tf.constant(luminance)}
        )[outputs[0]].numpy()

    return run


def _write_onnx(version: Path, file: Path, attempt: int) -> None:
    missing = [name for name in ("onnx", "tf2onnx") if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"Writing ONNX needs {' and '.join(missing)}, not installed here. "
            f"Run: {_PACKAGES['onnx']}"
        )
    # In a process of its own: the converter works on sessions and changes settings of TensorFlow.
    command = [sys.executable, "-m", "tf2onnx.convert", "--saved-model", str(version)]
    command += ["--tag", "serve", "--signature_def", contract.DEFAULT_SIGNATURE]
    command += ["--opset", str(_OPSET), "--output", str(file)]
    # The optimizer of tf2onnx 1.17 walks sets of strings: one order in ten gives the picture
    # a dimension too many. A fixed order makes the same file every time; `_compare` judges it, and
    # each attempt has another order.
    order = {**os.environ, "PYTHONHASHSEED": str(attempt)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=order)
    if result.returncode or not file.is_file():
        raise ValueError(
            f"'{version}' cannot be converted to ONNX. The converter said: "
            + "\n".join(result.stderr.splitlines()[-5:])
        )


def _write_litert(version: Path, file: Path, attempt: int) -> None:
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(version), signature_keys=[contract.DEFAULT_SIGNATURE]
    )
    try:
        content = converter.convert()
    except Exception as error:  # it raises a type of its own that is not public
        raise ValueError(f"'{version}' cannot be converted to LiteRT: {error}") from error
    file.write_bytes(content)


def _load_onnx(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return lambda luminance: session.run(None, {contract.LUMINANCE: luminance})[0]


def _load_litert(file: Path) -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    content = file.read_bytes()

    def run(luminance):
        # An interpreter keeps the shape it saw last.
        runner = Interpreter(model_content=content).get_signature_runner(contract.DEFAULT_SIGNATURE)
        (output,) = runner(**{contract.LUMINANCE: luminance}).values()
        return output

    return run


def _compare(original: Callable, converted: Callable, file: Path) -> None:
    """Refuse a file that does not give what the SavedModel gives."""
    rng = np.random.default_rng(0)
    for shape in _SHAPES:
        luminance = rng.random(shape, np.float32)
        expected, actual = original(luminance), converted(luminance)
        if actual.shape != expected.shape:
            raise ValueError(
                f"The file must give the shape that the SavedModel gives, {expected.shape}. "
                f"Received: {actual.shape} from '{file}'."
            )
        difference = float(np.abs(actual - expected).max())
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"The file must equal the SavedModel to {_TOLERANCE}. Received: a difference of "
                f"{difference:.2g} on luminance of shape {shape} from '{file}'."
            )
