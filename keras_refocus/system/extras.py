"""Packages that only parts of the project need, and the command that brings them.

`pip install keras_refocus` brings what restoring pictures needs. The rest comes with extras, named
in setup.cfg; what is missing is said before work begins, with the command, and never as a
traceback.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

# What is imported, by extra. A module may come with several; the first one is named where nothing
# says which is meant.
EXTRAS = {
    "benchmark": ("skimage", "matplotlib", "psutil"),
    "app": ("gradio", "mtcnn", "pillow_heif", "psutil"),
    "serving": ("tensorflow_serving", "grpc_health", "grpc_reflection"),
    "train": ("matplotlib", "imagehash", "tensorboard", "tensorflow_serving"),
    "datasets": ("tensorflow_datasets", "mlcroissant", "imagehash"),
    "video": ("av",),
    "cloud": (
        "fsspec",
        "s3fs",
        "gcsfs",
        "adlfs",
        "aiohttp",
        "watchfiles",
        "aws_lambda_powertools",
    ),
    "beam": ("apache_beam", "pyarrow"),
    "torch": ("torch",),
}


class MissingPackageError(ImportError):
    """A package of an extra is not installed; the message has the command that brings it."""


def command(extra: str) -> str:
    """Return the command that brings what an extra names."""
    return f'pip install "keras_refocus[{extra}]"'


def require(extra: str, work: str, *modules: str) -> None:
    """Check that packages of an extra are there, without importing them.

    Args:
        extra: Name of the extra.
        work: What needs them, as the beginning of a sentence: "Training".
        modules: Names under which they are imported; without any, all of the extra.

    Raises:
        MissingPackageError: One is not installed.
    """
    missing = [name for name in modules or EXTRAS[extra] if not _is_installed(name)]
    if missing:
        raise MissingPackageError(
            f"{work} needs packages that are not installed ({', '.join(missing)}). "
            f"Run: {command(extra)}"
        )


def says_what_is_missing(main: Callable[P, R]) -> Callable[P, R | int]:
    """Let a command end with the command to run, and status 2, where a package is missing."""

    @functools.wraps(main)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R | int:
        try:
            return main(*args, **kwargs)
        except MissingPackageError as error:
            message = str(error)
        except ModuleNotFoundError as error:
            extra = _extra_of((error.name or "").split(".")[0])
            if extra is None:  # a fault of ours, or of the installation
                raise
            message = f"this needs the package {error.name}, which is not installed. "
            message += f"Run: {command(extra)}"
        print(f"refocus: {message}", file=sys.stderr)
        return 2

    return wrapped


def _extra_of(module: str) -> str | None:
    return next((extra for extra, modules in EXTRAS.items() if module in modules), None)


def _is_installed(module: str) -> bool:
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
