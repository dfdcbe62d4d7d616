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

from keras_refocus.engines import contract, installed, local, store
from keras_refocus.engines.options import add_models
from keras_refocus.system import console, machine, memory

_SIZE = (720, 1280)
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
        print(_table(installed.list_models(folder), folder, measure=arguments.time))
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


def _table(models: list[installed.Installed], folder: Path, *, measure: bool) -> str:
    heads = ["name", "version", "kind", "MB", "licence", "good for", "from"]
    if measure:
        heads.insert(4, "s at 720p")
    rows = [heads]
    for model in models:
        origin = model.origin
        kind = installed.kind_of(model.name, origin)
        row = [
            model.name,
            model.version,
            kind,
            f"{model.megabytes:.1f}",
            origin.licence if origin else _OURS,
            installed.good_for(model.name, origin),
            origin.address if origin else "",
        ]
        if measure:
            timed = kind == contract.RESTORER
            row.insert(4, _seconds(folder, model.name) if timed else "")
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _seconds(folder: Path, name: str) -> str:
    """Seconds of a restorer for a photo of 1280x720 on this machine."""
    memory.keep_memory()
    console.import_tensorflow()
    engine = local.LocalEngine(folder)
    plane = np.random.default_rng(0).random((1, *_SIZE, 1), np.float32)
    seconds, _ = machine.median_times(lambda: engine.restore(plane, model=name), runs=1)
    engine.close()
    return f"{seconds:.2f}"


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
        "--time", action="store_true", help="measure each restorer on 1280x720 pixels, all cores"
    )
    what.add_argument("--remove", metavar="NAME", help="delete a model, all of its versions")
    return parser


if __name__ == "__main__":
    sys.exit(main())
