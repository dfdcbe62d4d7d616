"""Options of commands that run models: where the models are, and on which threads they run."""

import argparse

from keras_refocus.engines import contract, store


def add_models(group: argparse.ArgumentParser, what: str = "folder of models") -> None:
    """Add `--models`, see `store.find_models`."""
    group.add_argument(
        "--models",
        metavar="DIR",
        help=f"{what} (default: ${store.MODELS_VARIABLE}, else those installed)",
    )


def add_models_or_server(parser: argparse.ArgumentParser) -> None:
    """Add `--models` and `--server`, of which one may be given, to an `ArgumentParser`."""
    where = parser.add_mutually_exclusive_group()
    add_models(where)
    where.add_argument(
        "--server", metavar="HOST:PORT", help="run the models on TensorFlow Serving instead"
    )


def add_model_names(group: argparse.ArgumentParser) -> None:
    """Add `--model` and `--colorizer`, where there are several of a kind."""
    group.add_argument(
        "--model",
        default=contract.RESTORER,
        help="name of the restorer, where there are several (default: %(default)s)",
    )
    group.add_argument(
        "--colorizer",
        default=contract.COLORIZER,
        metavar="NAME",
        help="name of the colorizer, where there are several (default: %(default)s)",
    )


def add_threads(group: argparse.ArgumentParser) -> None:
    """Add `--threads`, of models that run in this process."""
    group.add_argument(
        "--threads", type=int, metavar="N", help="processor threads to use (default: all)"
    )
