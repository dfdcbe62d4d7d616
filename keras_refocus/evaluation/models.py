"""Models to measure: opened from wherever one is kept, and called with luminance."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable

import numpy as np

from keras_refocus.engines import contract, store
from keras_refocus.system import run_files

_COUNTS = {1: "one channel", 2: "two channels", contract.MOTION_CHANNELS: "twelve channels"}


@dataclasses.dataclass(frozen=True)
class Network:
    """A loaded network: called with luminance, it gives what it makes of it.

    Attributes:
        run: Callable from luminance to the network's output, both numpy.
        parameters: Number of its parameters, trained and fixed.
        channels: Of what it takes.
    """

    run: Callable[[np.ndarray], np.ndarray]
    parameters: int
    channels: int = 1

    def __call__(self, luminance):
        """Run the network."""
        return self.run(luminance)


def load_restorer(
    path: str | os.PathLike | None = None, *, best: bool = False
) -> tuple[Network, pathlib.Path]:
    """Load a restorer from wherever one is kept.

    Args:
        path: Folder of a SavedModel (`saved_models/restorer`, or one version of it), folder of a
            training run, or `.keras` file; `None` takes the restorer that came with the
            installation.
        best: Whether a run's best epoch counts instead of its last.

    Returns:
        Tuple `(restore, name)`: a `Network` from luminance, float32 of shape
        `(1, height, width, 1)` in [0, 1], to the same, not clipped; and the path of what was
        loaded.

    Raises:
        FileNotFoundError: If there is no model.
        ValueError: If it is not a restorer.
    """
    return _load(path, contract.RESTORER, contract.RESTORED, channels=1, best=best)


def load_colorizer(
    path: str | os.PathLike | None = None,
    *,
    best: bool = False,
    temperature: float | None = None,
    gain: float | None = None,
    smoothing: float | None = None,
    several_views: bool = False,
) -> tuple[Network, pathlib.Path]:
    """Load a colorizer; as `load_restorer`, but to chroma of shape `(1, height, width, 2)`.

    `temperature`, `gain`, `smoothing` and `several_views`, see `networks.tune_colors`, are chosen
    before a run is exported.
    """
    tuning = {"temperature": temperature, "gain": gain, "smoothing": smoothing}
    tuning["several_views"] = several_views
    return _load(path, contract.COLORIZER, contract.CHROMA, channels=2, best=best, tuning=tuning)


def load_motion(
    path: str | os.PathLike | None = None, *, best: bool = False
) -> tuple[Network, pathlib.Path]:
    """Load a motion network; as `load_restorer`, but from what it sees, 5 or 7 channels, to 12."""
    return _load(
        path,
        contract.MOTION,
        contract.TRAJECTORIES_AND_RESIDUALS,
        channels=contract.MOTION_CHANNELS,
        best=best,
        given=contract.SEEN,
    )


def _load(path, servable, output, *, channels, best, tuning=None, given=contract.LUMINANCE):
    path = store.find_models() / servable if path is None else pathlib.Path(path)
    version = store.saved_model_folder(path)
    if version is not None:
        # Not by equality: a smoothing of 0 is asked for.
        asked = {
            name: value
            for name, value in (tuning or {}).items()
            if value is not None and value is not False
        }
        if asked:
            raise ValueError(
                f"The colours of a SavedModel are as they were exported. Received: {asked} for "
                f"{version}. Name the run that it came from."
            )
        return _saved_model(version, output, given), version
    file = path / (run_files.BEST if best else run_files.AVERAGED) if path.is_dir() else path
    if not file.is_file() or file.suffix != ".keras":
        raise FileNotFoundError(
            "A model must be a SavedModel folder, a run folder that has finished an epoch, or a "
            f".keras file. Received: {path}. Check the path."
        )
    return _keras_model(file, servable, channels, tuning or {}), file


def _saved_model(folder, output, given):
    import tensorflow as tf

    model = store.open_saved_model(folder, output, given=given)
    signature = model.signatures[contract.DEFAULT_SIGNATURE]

    # The object has to outlive its signature, which does not hold its variables.
    def run(values, _model=model):
        return signature(**{given: tf.constant(values)})[output].numpy()

    channels = signature.structured_input_signature[1][given].shape[-1]
    parameters = sum(math.prod(variable.shape) for variable in signature.variables)
    return Network(run, parameters, channels)


def _keras_model(file, servable, channels, tuning):
    import keras

    from keras_refocus import networks

    model = keras.saving.load_model(file, compile=False)
    if model.output_shape[-1] != channels:
        raise ValueError(
            f"A {servable} gives {_COUNTS[channels]}. Received: "
            f"{file}, which gives {model.output_shape[-1]}. Name a {servable}."
        )

    model = networks.tune_colors(model, **tuning)

    def infer(tensor):
        return model(tensor, training=False)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # One graph for every size, as in the SavedModel that the run may become.
        spec = tf.TensorSpec(model.input_shape, model.inputs[0].dtype)
        infer = tf.function(infer, input_signature=[spec])

    def run(luminance):
        tensor = keras.ops.convert_to_tensor(luminance)
        return keras.ops.convert_to_numpy(infer(tensor)).astype(np.float32)

    return Network(run, model.count_params(), model.input_shape[-1])


def relative(path: pathlib.Path) -> str:
    """A path as it may be printed and kept: relative to the working folder where it can be."""
    path = pathlib.Path(path)
    try:
        return path.resolve().relative_to(pathlib.Path.cwd()).as_posix()
    except ValueError:
        return os.fspath(path)
