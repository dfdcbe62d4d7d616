"""List the models that are installed, with their licences; remove one.

refocus models --models my_models
refocus models --models my_models --time
refocus models --models my_models --remove dmphn
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from keras_refocus.engines import contract, installed, local, store, timings
from keras_refocus.engines.options import add_models
from keras_refocus.system import console, machine, memory

_OURS = "this project"


def main(argv: Sequence[str] | None = None) -> None:
    """List or remove models from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        folder = store.find_models(arguments.models)
        if arguments.remove:
            print(_remove(folder, arguments.remove, parser))
            return
        print(folder)
        if arguments.time:
            _measure(folder)
        print(_table(installed.list_models(folder)))
    except (OSError, ValueError) as error:
        parser.error(str(error))


def _remove(folder: Path, name: str, parser: argparse.ArgumentParser) -> Path:
    """Delete a model; returns where it was."""
    if folder == store.installed_models():
        parser.error(
            "models that came with the program stay. Name a folder of your own with --models or "
            f"{store.MODELS_VARIABLE}."
        )
    if name not in store.servables(folder):
        parser.error(store.missing_model(name, store.servables(folder), where=str(folder)))
    target = folder / name
    if target.is_symlink():
        parser.error(f"'{target}' is a link; remove it where it was made.")
    shutil.rmtree(target)
    return target


def _table(models: list[installed.Installed]) -> str:
    rows = [["name", "version", "kind", "MB", "s at 720p", "licence", "good for", "from"]]
    for model in models:
        origin = model.origin
        row = [
            model.name,
            model.version,
            installed.kind_of(model.name, origin),
            f"{model.megabytes:.1f}",
            "-" if model.seconds is None else f"{model.seconds:.2f}",
            origin.licence if origin else _OURS,
            installed.good_for(model.name, origin),
            origin.address if origin else "",
        ]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _measure(folder: Path) -> None:
    """Time each restorer on a photo of 1280x720, and keep it for lists to come."""
    memory.keep_memory()
    console.import_tensorflow()
    plane = np.random.default_rng(0).random((1, *timings.SIZE, 1), np.float32)
    for model in installed.list_models(folder):
        if installed.kind_of(model.name, model.origin) != contract.RESTORER:
            continue
        engine = local.LocalEngine(folder)
        seconds, _ = machine.median_times(
            lambda engine=engine, name=model.name: engine.restore(plane, model=name), runs=1
        )
        engine.close()
        timings.remember(model.folder, seconds)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus models",
        usage="refocus models [--models DIR] [--time | --remove NAME]",
        description="List the models that are installed: size, licence, where they are from. What "
        "can be added is shown by `refocus import --list`.",
        epilog="example: refocus models --models my_models",
    )
    add_models(parser, "folder they are in")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--time",
        action="store_true",
        help="measure each restorer on 1280x720 pixels, all cores; later lists show it too",
    )
    what.add_argument("--remove", metavar="NAME", help="delete a model, all of its versions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
