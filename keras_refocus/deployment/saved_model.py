"""Write a network as a SavedModel that TensorFlow Serving and the pipeline can load.

The SavedModel takes any number of pictures of any size, speaks the names of `engines.contract`,
keeps its output in range, brings warm-up requests of the shape that the client really sends, and is
compared with the Keras model before it takes its place.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_refocus.engines import contract, store
from keras_refocus.pictures import color, color_bins
from keras_refocus.restoration.chroma import WORKING_SIZE
from keras_refocus.restoration.tiling import TILE

# Sizes that any padding, stride or pooling inside a network must survive.
_CHECKED_SHAPES = ((1, 1, 1), (1, 1, 40), (2, 33, 17), (1, 64, 50))
_TOLERANCE = 1e-5
# Outputs of what motion networks and corrections see; all others are of luminance.
_OF_SEEN = (contract.TRAJECTORIES_AND_RESIDUALS, contract.CORRECTIONS)
# Root mean square of what writing a picture in 8 bits changes.
_HALF_TOLERANCE = 1.0 / color.EIGHT_BIT / 12.0**0.5


def export_restorer(model: Any, folder: str | os.PathLike, **options: Any) -> Path:
    """Export a generator of restored luminance; see `export_model`."""
    return _export(model, Path(folder), contract.RESTORED, **options)


def export_colorizer(model: Any, folder: str | os.PathLike, **options: Any) -> Path:
    """Export a generator of chroma; see `export_model`."""
    return _export(model, Path(folder), contract.CHROMA, **options)


def export_motion(model: Any, folder: str | os.PathLike, **options: Any) -> Path:
    """Export a motion network; see `export_model`."""
    return _export(model, Path(folder), contract.TRAJECTORIES_AND_RESIDUALS, **options)


def export_interpolator(model: Any, folder: str | os.PathLike, **options: Any) -> Path:
    """Export a correction of frames in between; see `export_model`."""
    import keras

    # Not the frame but how it is mixed: that serves for planes of colour, too.
    output = model.get_layer(contract.CORRECTIONS).output
    model = keras.Model(model.input, output, name=model.name)
    return _export(model, Path(folder), contract.CORRECTIONS, **options)


def export_model(model: Any, folder: str | os.PathLike, **options: Any) -> Path:
    """Export a generator as `<folder>/<version>/`.

    Args:
        model: Keras model from luminance of shape (batch, height, width, 1), float32 in [0, 1], to
            restored luminance of the same shape (a restorer) or to chroma of shape (batch, height,
            width, 2) (a colorizer); or a motion network, from what it sees, of shape (batch,
            height, width, 5 or 7), to shape (batch, height, width, 12); or a correction, of
            `networks.CORRECTIONS`. Trained under mixed precision it is exported in float32.
        folder: The servable; the last part of its path is its name on TensorFlow Serving.
        version: Number of the version; by default one more than the highest there.
        overwrite: Whether an existing version may be replaced.
        half: Whether weights are stored as float16, which halves the size on disk. Computation
            stays in float32.
        tile: Side of the tiles in the warm-up requests of a restorer, in pixels.
        network: What the network is, as a JSON-ready dict: the fields `generator` and
            `generator_options` of its training. Kept beside the warm-up requests, so that a
            training can start from the SavedModel.
        card: Text of the model card; by default what the export knows. A card that is there
            stays.

    Returns:
        The folder of the version.

    Raises:
        FileExistsError: The version exists and `overwrite` is off.
        ValueError: The model has another number of channels, weights that are not finite, or gives
            other results as a SavedModel.
    """
    export = {
        contract.RESTORER: export_restorer,
        contract.COLORIZER: export_colorizer,
        contract.MOTION: export_motion,
        contract.INTERPOLATOR: export_interpolator,
    }[kind_of(model)]
    return export(model, folder, **options)


def _export(
    model,
    folder: Path,
    output: str,
    *,
    version: int | None = None,
    overwrite: bool = False,
    half: bool = False,
    tile: int = TILE,
    network: dict | None = None,
    card: str | None = None,
) -> Path:
    model = _in_float32(model)
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise ValueError(
            f"The weights must be finite. Received: NaN or infinity in model='{model.name}'. "
            "Export an earlier checkpoint."
        )
    side = WORKING_SIZE if output == contract.CHROMA else tile
    with new_version(folder, version, overwrite=overwrite) as (draft, target):
        _write(model, draft, output, half=half)
        _compare(model, draft, output, half=half)
        shape = (1, side, side, model.input_shape[-1])
        write_warmup(draft, folder.name, shape, given=_given(output))
        if network is not None:
            text = json.dumps(network, indent=2) + "\n"
            (draft / contract.NETWORK_FILE).write_text(text, encoding="utf-8")
    file = folder / "README.md"
    if not file.exists():
        text = card or _card(folder.name, output, model, target.name)
        file.write_text(text, encoding="utf-8")
    return target


@contextlib.contextmanager
def new_version(
    folder: Path, number: int | None, *, overwrite: bool
) -> Iterator[tuple[Path, Path]]:
    """Give a place to write a version to, and put it in the version's place when it is complete.

    Yields:
        `(draft, target)`: folder to write, `<somewhere>/<servable>/<version>` and not there yet,
        and where it will be afterwards. An error leaves everything as it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if number is None:
        taken = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]
        # Greater ones are no versions for those who serve.
        number = max((version for version in taken if version < 2**63), default=0) + 1
    if not 1 <= number < 2**63:
        raise ValueError(
            "The number of a version must be at least 1 and below 2^63. "
            f"Received: version={number}. Choose another."
        )
    target = folder / str(number)
    if target.exists() and not overwrite:
        raise FileExistsError(
            f"A version is never replaced unasked. Received: version={number}, which exists in "
            f"'{folder}'. Choose another number, or ask for overwriting."
        )
    # In the same folder, so that the last step is a rename; the name is no number, so that
    # TensorFlow Serving passes it by meanwhile.
    scratch = Path(tempfile.mkdtemp(prefix=".export-", dir=folder))
    try:
        draft = scratch / folder.name / target.name
        draft.parent.mkdir()
        yield draft, target
        old = scratch / "old"
        if target.exists():
            target.rename(old)
        try:
            draft.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_warmup(
    version: Path,
    servable: str,
    shape: tuple[int, int, int, int],
    *,
    given: str = contract.LUMINANCE,
) -> None:
    """Write the request that TensorFlow Serving runs before a version takes traffic.

    The first request of a new shape is slow; this one is made at load time instead. Its luminance
    is a constant, which a tensor message stores as one number.

    Args:
        version: Folder of a SavedModel.
        servable: Name of the model on the server.
        shape: Shape of what it takes: (images, height, width, channels).
        given: Name of the tensor that it takes.
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = contract.DEFAULT_SIGNATURE
    request.inputs[given].CopyFrom(tf.make_tensor_proto(0.5, dtype=tf.float32, shape=shape))
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    file = version / contract.WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())


def kind_of(model: Any) -> str:
    """What a generator is by its channels: restorer, colorizer, motion network or correction.

    Raises:
        ValueError: It is none of them.
    """
    channels = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    seen = model.input_shape[-1]
    if seen in contract.SEEN_CHANNELS and channels == contract.MOTION_CHANNELS:
        return contract.MOTION
    if (seen, channels) == (contract.PARTS_CHANNELS, 1):
        return contract.INTERPOLATOR
    if seen != 1 or channels not in (1, 2):
        raise ValueError(
            "A generator must take one channel (luminance) and give one (restored luminance) or "
            "two (chroma), be a motion network, which takes 5 or 7 and gives 12, or a correction "
            "of frames in between, which takes 16 and gives one. Received: "
            f"input_shape={model.input_shape}, output_shape={model.output_shape}."
        )
    return contract.RESTORER if channels == 1 else contract.COLORIZER


def _given(output: str) -> str:
    """Name of what a model takes to give an output."""
    return contract.SEEN if output in _OF_SEEN else contract.LUMINANCE


def _limits(output: str) -> tuple[float, float]:
    """Range in which a server keeps an output; trajectories and corrections have none."""
    if output in _OF_SEEN:
        return (-np.inf, np.inf)
    return (0.0, 1.0) if output == contract.RESTORED else (-1.0, 1.0)


def _in_float32(model):
    """Return the model, or a copy in float32 of one that was built under mixed precision."""
    import keras

    if all(layer.compute_dtype == "float32" for layer in model.layers):
        return model

    def change(config):
        if isinstance(config, dict):
            if config.get("class_name") == "DTypePolicy":
                return {**config, "config": {"name": "float32"}}
            return {key: change(value) for key, value in config.items()}
        if isinstance(config, list | tuple):
            return type(config)(change(value) for value in config)
        return config

    copy = keras.saving.deserialize_keras_object(change(keras.saving.serialize_keras_object(model)))
    copy.set_weights(model.get_weights())
    return copy


def _write(model, folder: Path, output: str, *, half: bool) -> None:
    import keras
    import tensorflow as tf
    from keras import ops

    # Nothing is tracked by hand: the archive finds the variables that the endpoint uses, and would
    # store tracked ones a second time.
    archive = keras.export.ExportArchive()
    low, high = _limits(output)
    given, taken = _given(output), model.input_shape[-1]
    model, has_shares = _with_shares(model)
    if half:
        # The archive holds float16 copies; the graph widens them before each use.
        stored = [
            # Named as in the network: `train --init-from` finds each weight by its name.
            tf.Variable(tf.cast(variable.value, tf.float16), trainable=False, name=variable.path)
            for variable in model.variables
        ]
        trainable = {id(variable) for variable in model.trainable_variables}

        def run(luminance):
            wide = [tf.cast(weight, tf.float32) for weight in stored]
            pairs = list(zip(model.variables, wide, strict=True))
            outputs, _ = model.stateless_call(
                [value for variable, value in pairs if id(variable) in trainable],
                [value for variable, value in pairs if id(variable) not in trainable],
                luminance,
                training=False,
            )
            return outputs
    else:

        def run(luminance):
            return model(luminance, training=False)

    def serve(luminance):
        # A server process must survive a request of the wrong rank: oneDNN's convolutions end the
        # process at one, this answers INVALID_ARGUMENT.
        luminance = tf.ensure_shape(luminance, (None, None, None, taken))
        outputs = run(luminance)
        return {output: ops.clip(outputs[0] if has_shares else outputs, low, high)}

    def serve_shares(luminance):
        luminance = tf.ensure_shape(luminance, (None, None, None, taken))
        return {contract.SHARES: run(luminance)[1]}

    inputs = [keras.InputSpec(shape=(None, None, None, taken), dtype="float32", name=given)]
    # The first one is the default signature.
    archive.add_endpoint("serve", serve, input_signature=inputs)
    if has_shares:
        archive.add_endpoint(contract.DISTRIBUTION_SIGNATURE, serve_shares, input_signature=inputs)
    archive.write_out(str(folder), verbose=False)


def _with_shares(model):
    """A colorizer, and beside its chroma the shares of the colours where it predicts them.

    Returns:
        Tuple of the network, with the same weights, and whether it has two outputs now.
    """
    import keras
    from keras import ops

    if color_bins.LOGITS not in {layer.name for layer in model.layers}:
        return model, False
    shares = ops.softmax(model.get_layer(color_bins.LOGITS).output, axis=-1)
    return keras.Model(model.input, [model.output, shares], name=model.name), True


def _compare(model, folder: Path, output: str, *, half: bool) -> None:
    """Refuse a SavedModel that does not give what the Keras model gives.

    One that stores weights as float16 must equal the Keras model with its weights rounded, as
    nearly as any; and the rounding must change less than writing a picture in 8 bits does.
    """
    import tensorflow as tf

    given = _given(output)
    saved = store.open_saved_model(folder, output, given=given)
    signature = saved.signatures[contract.DEFAULT_SIGNATURE]
    rng = np.random.default_rng(0)
    changes = []
    for shape in _CHECKED_SHAPES:
        luminance = rng.random((*shape, model.input_shape[-1]), dtype=np.float32)
        exact = np.clip(np.asarray(model(luminance, training=False)), *_limits(output))
        expected = _with_rounded_weights(model, luminance, output) if half else exact
        actual = signature(**{given: tf.constant(luminance)})[output].numpy()
        if actual.shape != (*shape, expected.shape[-1]):
            raise ValueError(
                "A generator must give the size that it takes. Received: "
                f"{output}={actual.shape} for {given}={luminance.shape}."
            )
        difference = float(np.abs(actual - expected).max())
        # Ways are in pixels: of tens of them fewer digits are left behind the point.
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ValueError(
                f"The SavedModel must equal the Keras model to {_TOLERANCE}. Received: a "
                f"difference of {difference:.2g} for {given} of shape "
                f"{luminance.shape}."
            )
        changes.append(np.square(actual - exact).ravel())
    change = float(np.sqrt(np.concatenate(changes).mean()))
    if half and not change <= _HALF_TOLERANCE:
        raise ValueError(
            "Weights in float16 must change a picture by less than 8 bits do, "
            f"{_HALF_TOLERANCE:.2g} (root mean square). Received: a change of {change:.2g} on "
            "noise. Export without --half."
        )


def _with_rounded_weights(model, luminance: np.ndarray, output: str) -> np.ndarray:
    """What a model would give if its weights were those that float16 can hold."""
    with np.errstate(over="ignore"):  # Infinity then shows in what is compared.
        trainable, others = (
            [np.asarray(variable.value).astype("float16").astype("float32") for variable in kind]
            for kind in (model.trainable_variables, model.non_trainable_variables)
        )
    outputs, _ = model.stateless_call(trainable, others, luminance, training=False)
    return np.clip(np.asarray(outputs), *_limits(output))


def _card(servable: str, output: str, model, version: str) -> str:
    """First model card: what the export knows; people add data, results and limits."""
    channels = model.output_shape[-1]
    low, high = _limits(output)
    if output == contract.RESTORED:
        what = "Removes motion blur: from the luminance of a photo to its restored luminance."
    elif output == contract.CHROMA:
        what = "Colours grey photos: from luminance to a guess of the chroma."
    elif output == contract.CORRECTIONS:
        what = "Corrects frames in between: `refocus video --fps 2x --best`."
    else:
        what = "Tells how things moved while one blurred picture was exposed: `refocus unblur`."
    takes, gives = "0 to 1 (CIELAB L* / 100)", f"{low:g} to {high:g}"
    if output == contract.TRAJECTORIES_AND_RESIDUALS:
        takes = "luminance (and chroma), restored luminance, way x and y / 16 pixels, fit"
        gives = "way x, y, bend x, y in pixels; correction, seven residuals of luminance"
    elif output == contract.CORRECTIONS:
        takes = "eight parts of luma, 0 to 1, and their weights; see docs/video.md"
        gives = "changes of the weights; a residual of luma"
    lines = [
        f"# {servable}",
        "",
        what,
        "",
        f"{model.count_params():,} parameters. Made by `refocus export`.",
        "",
        "## Signature",
        "",
        f"`{contract.DEFAULT_SIGNATURE}`, any number of pictures N and any size H, W from 1 pixel:",
        "",
        "| | name | type | range |",
        "|---|---|---|---|",
        f"| input | `{_given(output)}` | float32 [N,H,W,{model.input_shape[-1]}] | {takes} |",
        f"| output | `{output}` | float32 [N,H,W,{channels}] | {gives} |",
        "",
        "## Versions",
        "",
        f"- {version}: first export.",
    ]
    return "\n".join(lines) + "\n"
