"""Write a trained network as a SavedModel that TensorFlow Serving and the pipeline can load.

    refocus export runs/mine --name restorer --out saved_models
    refocus export --refocus --models saved_models --out serving_models
    refocus export saved_models/restorer --format onnx --out .

The SavedModel takes any number of pictures of any size, speaks the names of
`keras_refocus.engines`, keeps its output in range, brings warm-up requests of the shape that the
client really sends, and is compared with the Keras model before it takes its place. The second form
joins the newest restorer and colorizer to the servable `refocus`: the whole pipeline in one graph.
The third writes one file for people without TensorFlow, ONNX or LiteRT, from a run or a SavedModel.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_refocus.engines import local as engines
from keras_refocus.restoration import chroma as upsampling
from keras_refocus.restoration.tiling import TILE
from keras_refocus.system import console

AVERAGED_FILE, BEST_FILE, RECORD_FILE = "averaged.keras", "best.keras", "record.json"

_SAVED_MODEL = "savedmodel"

# Sizes that any padding, stride or pooling inside a network must survive.
_CHECKED_SHAPES = ((1, 1, 1), (1, 1, 40), (2, 33, 17), (1, 64, 50))
_TOLERANCE = 1e-5
_HALF_TOLERANCE = 1e-3


def main(argv=None) -> None:
    """Export from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (arguments.run is None) != arguments.refocus:
        parser.error("name a training run, or join models with --refocus, one of the two")
    if arguments.refocus and arguments.format != _SAVED_MODEL:
        parser.error(
            "the whole pipeline decodes and encodes pictures, which only a SavedModel does. "
            f"Received: --format {arguments.format}. Convert each stage by itself."
        )
    file = None if arguments.refocus else _network_file(parser, arguments)
    console.start_logging(verbose=arguments.verbose)
    try:
        models = engines.find_models(arguments.models) if arguments.refocus else None
        console.import_tensorflow()
        compared = False
        if arguments.refocus:
            version = _join(models, arguments)
        elif arguments.format != _SAVED_MODEL:
            version, compared = _convert(file, arguments)
        else:
            version = _export_file(file, arguments, arguments.out)
    except (ImportError, OSError, ValueError) as error:
        parser.error(str(error))
    parts = [version] if version.is_file() else version.rglob("*")
    size = sum(part.stat().st_size for part in parts if part.is_file())
    said = ", gives what the SavedModel gives" if compared else ""
    print(f"{version}  ({size / 1e6:.1f} MB{said})")


def _network_file(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Path:
    """Where the network is: a Keras file, or the version folder of a SavedModel to convert."""
    run = arguments.run
    saved = run if (run / "saved_model.pb").is_file() else engines.newest_version(run)
    if saved is not None:
        if arguments.format == _SAVED_MODEL:
            parser.error(f"this is a SavedModel already. Received: run='{run}'")
        return saved
    file = run if run.is_file() else run / (BEST_FILE if arguments.best else AVERAGED_FILE)
    if not file.is_file():
        parser.error(
            f"the run must hold a trained network. Received: run='{run}' without '{file.name}'. "
            "Train one with `refocus train`, or name a .keras file."
        )
    return file


def _convert(source: Path, arguments: argparse.Namespace) -> tuple[Path, bool]:
    """Write a Keras file or a SavedModel as one file of another format, `<out>/<name>.<suffix>`.

    Returns:
        The file, and whether it was compared with the SavedModel.
    """
    from keras_refocus.deployment import formats as conversion

    with tempfile.TemporaryDirectory(prefix="refocus-export-") as folder:
        version = source if source.is_dir() else _export_file(source, arguments, Path(folder))
        # The servable, whose version this is, gives the name.
        name = arguments.name or version.resolve().parent.name
        file = arguments.out / f"{name}{conversion.SUFFIXES[arguments.format]}"
        if file.exists() and not arguments.overwrite:
            raise FileExistsError(
                f"A file is never replaced unasked. Received: '{file}', which exists. "
                "Choose another --name or --out, or add --overwrite."
            )
        compared = conversion.convert(version, file, file_format=arguments.format)
    return file, compared


def _export_file(file: Path, arguments: argparse.Namespace, out: Path) -> Path:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "A SavedModel can only be written by TensorFlow. "
            f"Received: KERAS_BACKEND={keras.backend.backend()}. "
            "Run this command with KERAS_BACKEND=tensorflow; the file loads there too."
        )
    from keras_refocus import networks

    model = keras.saving.load_model(file, compile=False)
    model = networks.tune_colors(
        model,
        temperature=arguments.temperature,
        gain=arguments.gain,
        smoothing=arguments.smoothing,
    )
    return export_model(
        model,
        out / (arguments.name or _kind(model)),
        version=arguments.number,
        overwrite=arguments.overwrite,
        half=arguments.half,
        tile=arguments.tile,
        network=_network(file.parent / RECORD_FILE, temperature=arguments.temperature),
    )


def _network(record: Path, *, temperature: float | None) -> dict | None:
    """What the record of a run says about its generator, for whoever goes on with its weights."""
    from keras_refocus import networks

    if not record.is_file():
        return None
    config = json.loads(record.read_text(encoding="utf-8"))["config"]
    if "generator" not in config:
        return None
    name, options = config["generator"], config.get("generator_options", {})
    options = networks.architecture(name, options)
    if temperature is not None:
        options["temperature"] = temperature
    return {"generator": name, "generator_options": options}


def _join(models: Path, arguments: argparse.Namespace) -> Path:
    """Write the servable of the whole pipeline from the models of both stages."""
    from keras_refocus.deployment import whole_pipeline as servable

    stages = []
    for name in (arguments.restorer, arguments.colorizer):
        version = engines.newest_version(models / name)
        if version is None:
            available = engines.servables(models)
            raise FileNotFoundError(engines.missing_model(name, available, where=str(models)))
        stages.append(version)
    folder = arguments.out / (arguments.name or engines.REFOCUS)
    with _new_version(folder, arguments.number, overwrite=arguments.overwrite) as (draft, target):
        servable.export_refocus(*stages, draft, tile=arguments.tile)
    return target


def export_restorer(model, folder: str | os.PathLike, **options) -> Path:
    """Export a generator of restored luminance; see `export_model`."""
    return _export(model, Path(folder), engines.RESTORED, **options)


def export_colorizer(model, folder: str | os.PathLike, **options) -> Path:
    """Export a generator of chroma; see `export_model`."""
    return _export(model, Path(folder), engines.CHROMA, **options)


def export_model(model, folder: str | os.PathLike, **options) -> Path:
    """Export a generator as `<folder>/<version>/`.

    Args:
        model: Keras model from luminance of shape (batch, height, width, 1), float32 in [0, 1], to
            restored luminance of the same shape (a restorer) or to chroma of shape (batch, height,
            width, 2) (a colorizer). Trained under mixed precision it is exported in float32.
        folder: The servable; the last part of its path is its name on TensorFlow Serving.
        version: Number of the version; by default one more than the highest there.
        overwrite: Whether an existing version may be replaced.
        half: Whether weights are stored as float16, which halves the size on disk. Computation
            stays in float32.
        tile: Side of the tiles in the warm-up requests of a restorer, in pixels.
        network: What the network is, as a JSON-ready dict: the fields `generator` and
            `generator_options` of its training. Kept beside the warm-up requests, so that a
            training can start from the SavedModel.

    Returns:
        The folder of the version.

    Raises:
        FileExistsError: The version exists and `overwrite` is off.
        ValueError: The model has another number of channels, weights that are not finite, or gives
            other results as a SavedModel.
    """
    export = export_restorer if _kind(model) == engines.RESTORER else export_colorizer
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
) -> Path:
    model = _in_float32(model)
    if not all(np.isfinite(weight).all() for weight in model.get_weights()):
        raise ValueError(
            f"The weights must be finite. Received: NaN or infinity in model='{model.name}'. "
            "Export an earlier checkpoint."
        )
    side = tile if output == engines.RESTORED else upsampling.WORKING_SIZE
    with _new_version(folder, version, overwrite=overwrite) as (draft, target):
        _write(model, draft, output, half=half)
        _compare(model, draft, output, tolerance=_HALF_TOLERANCE if half else _TOLERANCE)
        write_warmup(draft, folder.name, (1, side, side, 1))
        if network is not None:
            text = json.dumps(network, indent=2) + "\n"
            (draft / engines.NETWORK_FILE).write_text(text, encoding="utf-8")
    card = folder / "README.md"
    if not card.exists():
        card.write_text(_card(folder.name, output, model, target.name), encoding="utf-8")
    return target


@contextlib.contextmanager
def _new_version(
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
        number = max(taken, default=0) + 1
    if number < 1:
        raise ValueError(f"The number of a version must be at least 1. Received: version={number}.")
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


def write_warmup(version: Path, servable: str, shape: tuple[int, int, int, int]) -> None:
    """Write the request that TensorFlow Serving runs before a version takes traffic.

    The first request of a new shape is slow; this one is made at load time instead. Its luminance
    is a constant, which a tensor message stores as one number.

    Args:
        version: Folder of a SavedModel.
        servable: Name of the model on the server.
        shape: Shape of the luminance (images, height, width, 1).
    """
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = servable
    request.model_spec.signature_name = engines.DEFAULT_SIGNATURE
    request.inputs[engines.LUMINANCE].CopyFrom(
        tf.make_tensor_proto(0.5, dtype=tf.float32, shape=shape)
    )
    log = prediction_log_pb2.PredictionLog(
        predict_log=prediction_log_pb2.PredictLog(request=request)
    )
    file = version / engines.WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(log.SerializeToString())


def _kind(model) -> str:
    channels = model.output_shape[-1] if isinstance(model.output_shape, tuple) else None
    if model.input_shape[-1] != 1 or channels not in (1, 2):
        raise ValueError(
            "A generator must take one channel (luminance) and give one (restored luminance) or "
            f"two (chroma). Received: input_shape={model.input_shape}, "
            f"output_shape={model.output_shape}."
        )
    return engines.RESTORER if channels == 1 else engines.COLORIZER


def _limits(output: str) -> tuple[float, float]:
    return (0.0, 1.0) if output == engines.RESTORED else (-1.0, 1.0)


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
        luminance = tf.ensure_shape(luminance, (None, None, None, 1))
        return {output: ops.clip(run(luminance), low, high)}

    archive.add_endpoint(
        "serve",
        serve,
        input_signature=[
            keras.InputSpec(shape=(None, None, None, 1), dtype="float32", name=engines.LUMINANCE)
        ],
    )
    archive.write_out(str(folder), verbose=False)


def _compare(model, folder: Path, output: str, *, tolerance: float) -> None:
    """Refuse a SavedModel that does not give what the Keras model gives."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(folder)).signatures[engines.DEFAULT_SIGNATURE]
    rng = np.random.default_rng(0)
    for shape in _CHECKED_SHAPES:
        luminance = rng.random((*shape, 1), dtype=np.float32)
        expected = np.clip(np.asarray(model(luminance, training=False)), *_limits(output))
        actual = signature(**{engines.LUMINANCE: tf.constant(luminance)})[output].numpy()
        if actual.shape != (*shape, expected.shape[-1]):
            raise ValueError(
                "A generator must give the size that it takes. Received: "
                f"{output}={actual.shape} for {engines.LUMINANCE}={luminance.shape}."
            )
        difference = float(np.abs(actual - expected).max())
        if not difference <= tolerance:
            raise ValueError(
                f"The SavedModel must equal the Keras model to {tolerance}. Received: a difference "
                f"of {difference:.2g} for {engines.LUMINANCE} of shape {luminance.shape}."
            )


def _card(servable: str, output: str, model, version: str) -> str:
    """First model card: what the export knows; people add data, results and limits."""
    channels = model.output_shape[-1]
    low, high = _limits(output)
    if output == engines.RESTORED:
        what = "Removes motion blur: from the luminance of a photo to its restored luminance."
    else:
        what = "Colours grey photos: from luminance to a guess of the chroma."
    lines = [
        f"# {servable}",
        "",
        what,
        "",
        f"{model.count_params():,} parameters. Made by `refocus export`.",
        "",
        "## Signature",
        "",
        f"`{engines.DEFAULT_SIGNATURE}`, any number of pictures N and any size H, W from 1 pixel:",
        "",
        "| | name | type | range |",
        "|---|---|---|---|",
        f"| input | `{engines.LUMINANCE}` | float32 [N,H,W,1] | 0 to 1 (CIELAB L* / 100) |",
        f"| output | `{output}` | float32 [N,H,W,{channels}] | {low:g} to {high:g} |",
        "",
        "## Versions",
        "",
        f"- {version}: first export.",
    ]
    return "\n".join(lines) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus export",
        usage="refocus export (RUN | --refocus) [--name NAME] [--out DIR] [options]",
        description="Write a trained network as a SavedModel for the pipeline and for TensorFlow "
        "Serving; or join restorer and colorizer to one SavedModel of the whole pipeline.",
        epilog="example: refocus export runs/mine --name restorer --out saved_models",
    )
    parser.add_argument(
        "run",
        type=Path,
        nargs="?",
        metavar="RUN",
        help="folder of a training run, or a .keras file; with another --format also a SavedModel",
    )
    parser.add_argument(
        "--name",
        help="name of the servable (default: restorer or colorizer, as the network is; refocus)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("saved_models"),
        help="folder of models to add it to (default: %(default)s)",
    )
    parser.add_argument(
        "--format",
        choices=(_SAVED_MODEL, "onnx", "litert"),
        default=_SAVED_MODEL,
        help="a SavedModel, or one file for people without TensorFlow, NAME.onnx or NAME.tflite, "
        "compared with the SavedModel where the format's runtime is installed "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--number", type=int, help="number of the version (default: the next free one)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the version if it exists")
    parser.add_argument(
        "--tile",
        type=int,
        default=TILE,
        help="side of the tiles that the restorer sees, in pixels (default: %(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="say what is being done")
    run = parser.add_argument_group("a trained network")
    run.add_argument(
        "--best",
        action="store_true",
        help=f"take the weights of the best validation ({BEST_FILE}), not the last ones",
    )
    run.add_argument(
        "--half", action="store_true", help="store weights as float16: half the size on disk"
    )
    run.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of a colorizer that predicts a distribution over colours: temperature of its "
        "annealed mean, in (0, 1]; lower gives more colour (default: as it was trained)",
    )
    run.add_argument(
        "--gain",
        type=float,
        metavar="G",
        help="of such a colorizer: factor on its chroma, above 0 (default: as it was)",
    )
    run.add_argument(
        "--smoothing",
        type=int,
        metavar="R",
        help="of such a colorizer: radius, in pixels of the chroma that it predicts, within which "
        "a plain surface is to have one colour (default: 0, none)",
    )
    whole = parser.add_argument_group("the whole pipeline")
    whole.add_argument(
        "--refocus", action="store_true", help="join the newest restorer and colorizer"
    )
    whole.add_argument(
        "--models",
        metavar="DIR",
        help=f"folder they are in (default: ${engines.MODELS_VARIABLE}, else those installed)",
    )
    whole.add_argument(
        "--restorer", default=engines.RESTORER, help="name of stage 1 (default: %(default)s)"
    )
    whole.add_argument(
        "--colorizer", default=engines.COLORIZER, help="name of stage 2 (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
