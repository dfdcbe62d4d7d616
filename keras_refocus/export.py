"""Write a trained network as a SavedModel that TensorFlow Serving and the pipeline can load.

    refocus export runs/mine --name restorer --out saved_models
    refocus export --refocus --models saved_models --out serving_models
    refocus export saved_models/restorer --format onnx --out .
    refocus export --refocus --format sagemaker --out .

The SavedModel takes any number of pictures of any size, speaks the names of
`keras_refocus.engines.contract`, keeps its output in range, brings warm-up requests of the shape
that the client really sends, and is compared with the Keras model before it takes its place. The
second form joins the newest restorer and colorizer to the servable `refocus`: the whole pipeline in
one graph.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from keras_refocus.deployment import saved_model
from keras_refocus.engines import contract, store
from keras_refocus.engines.options import add_models
from keras_refocus.restoration.tiling import TILE
from keras_refocus.system import console, extras, options, run_files

_SAVED_MODEL, _SAGEMAKER = "savedmodel", "sagemaker"


@extras.says_what_is_missing
def main(argv: Sequence[str] | None = None) -> None:
    """Export from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if (arguments.run is None) != arguments.refocus:
        parser.error("name a training run, or join models with --refocus, one of the two")
    if arguments.format == _SAGEMAKER and not arguments.refocus:
        parser.error("SageMaker serves the whole pipeline. Add --refocus, and name no run.")
    if arguments.refocus and arguments.format not in (_SAVED_MODEL, _SAGEMAKER):
        parser.error(
            "the whole pipeline decodes and encodes pictures, which only a SavedModel does. "
            f"Received: --format {arguments.format}. Convert each stage by itself."
        )
    if arguments.format in (_SAVED_MODEL, _SAGEMAKER):
        # The requests that warm a server up are written with them.
        extras.require("train", "Exporting", "tensorflow_serving")
    file = None if arguments.refocus else _network_file(parser, arguments)
    console.start_logging(verbose=arguments.verbose)
    try:
        models = store.find_models(arguments.models) if arguments.refocus else None
        console.import_tensorflow()
        compared = False
        if arguments.format == _SAGEMAKER:
            version = _archive(models, arguments)
        elif arguments.refocus:
            version = _join(models, arguments, arguments.out)
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
    saved = store.saved_model_folder(run)
    if saved is not None:
        if arguments.format == _SAVED_MODEL:
            parser.error(f"this is a SavedModel already. Received: run='{run}'")
        return saved
    file = (
        run if run.is_file() else run / (run_files.BEST if arguments.best else run_files.AVERAGED)
    )
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
    from keras_refocus.deployment import formats

    with tempfile.TemporaryDirectory(prefix="refocus-export-") as folder:
        version = source if source.is_dir() else _export_file(source, arguments, Path(folder))
        # The servable, whose version this is, gives the name.
        name = arguments.name or version.resolve().parent.name
        file = arguments.out / f"{name}{formats.SUFFIXES[arguments.format]}"
        if file.exists() and not arguments.overwrite:
            raise FileExistsError(
                f"A file is never replaced unasked. Received: '{file}', which exists. "
                "Choose another --name or --out, or add --overwrite."
            )
        compared = formats.convert(version, file, file_format=arguments.format)
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
        several_views=arguments.several_views,
    )
    return saved_model.export_model(
        model,
        out / (arguments.name or saved_model.kind_of(model)),
        version=arguments.number,
        overwrite=arguments.overwrite,
        half=arguments.half,
        tile=arguments.tile,
        network=_network(file, temperature=arguments.temperature),
    )


def _network(file: Path, *, temperature: float | None) -> dict | None:
    """What is recorded of the network, for whoever goes on with its weights."""
    from keras_refocus.training import initial_weights

    found = initial_weights.network_of(file)
    if found is not None and temperature is not None:
        found["generator_options"]["temperature"] = temperature
    return found


def _archive(models: Path, arguments: argparse.Namespace) -> Path:
    """Write the archive for SageMaker, with the servable of the whole pipeline in it."""
    from keras_refocus.deployment import sagemaker

    file = arguments.out / (arguments.name or sagemaker.ARCHIVE)
    if file.exists() and not arguments.overwrite:
        raise FileExistsError(
            f"A file is never replaced unasked. Received: '{file}', which exists. Choose another "
            "--out, or add --overwrite."
        )
    with tempfile.TemporaryDirectory(prefix="refocus-export-") as folder:
        arguments.name = None
        version = _join(models, arguments, Path(folder))
        return sagemaker.write_archive(version, file, overwrite=arguments.overwrite)


def _join(models: Path, arguments: argparse.Namespace, out: Path) -> Path:
    """Write the servable of the whole pipeline from the models of both stages."""
    from keras_refocus.deployment import whole_pipeline

    stages = []
    for name in (arguments.restorer, arguments.colorizer):
        version = store.newest_version(models / name)
        if version is None:
            available = store.servables(models)
            raise FileNotFoundError(store.missing_model(name, available, where=str(models)))
        stages.append(version)
    folder = out / (arguments.name or contract.REFOCUS)
    overwrite = arguments.overwrite
    with saved_model.new_version(folder, arguments.number, overwrite=overwrite) as (draft, target):
        whole_pipeline.export_refocus(*stages, draft, tile=arguments.tile)
    return target


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
        choices=(_SAVED_MODEL, "onnx", "litert", _SAGEMAKER),
        default=_SAVED_MODEL,
        help="a SavedModel; one file for people without TensorFlow, NAME.onnx or NAME.tflite, "
        "compared with the SavedModel where the format's runtime is installed; with "
        "--refocus also the archive that SageMaker takes (default: %(default)s)",
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
    options.add_verbose(parser)
    run = parser.add_argument_group("a trained network")
    run.add_argument(
        "--best",
        action="store_true",
        help=f"take the weights of the best validation ({run_files.BEST}), not the last ones",
    )
    run.add_argument(
        "--half", action="store_true", help="store weights as float16: half the size on disk"
    )
    options.add_color_tuning(run)
    whole = parser.add_argument_group("the whole pipeline")
    whole.add_argument(
        "--refocus", action="store_true", help="join the newest restorer and colorizer"
    )
    add_models(whole, "folder they are in")
    whole.add_argument(
        "--restorer", default=contract.RESTORER, help="name of stage 1 (default: %(default)s)"
    )
    whole.add_argument(
        "--colorizer", default=contract.COLORIZER, help="name of stage 2 (default: %(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
