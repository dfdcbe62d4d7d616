"""Restores photographs: removes motion blur from the luminance, colours grey pictures.

The folders are the map, and the rule of imports: a folder imports folders of lower floors only.

    floor 5  restore restore_video unblur batch watch collect train evaluate export import_weights
             models serve demo curate benchmark (one a verb of `refocus`), benchmarks/
    floor 4  training/  evaluation/
    floor 3  data/  deployment/  page/  video/  cloud/
    floor 2  networks/  blur/  restoration/  metrics/
    floor 1  pictures/  engines/  local_server/  system/

The docstring of each folder is the map of its modules.
"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_refocus.engines.local import LocalEngine
    from keras_refocus.engines.serving import ServingEngine, ServingError
    from keras_refocus.restoration.hints import ColorHints
    from keras_refocus.restoration.pipeline import (
        RestoreOptions,
        Restorer,
        RestoreResult,
        reblend,
    )
    from keras_refocus.restoration.regions import Mask, Strokes

try:
    __version__ = version("keras_refocus")
except PackageNotFoundError:  # run from a folder that was never installed
    __version__ = "0+unknown"

# Where each public name lives. They are imported when first asked for, so that importing the
# package (and asking a command for its help) costs neither NumPy nor TensorFlow.
_HOMES = {
    "ColorHints": "restoration.hints",
    "LocalEngine": "engines.local",
    "Mask": "restoration.regions",
    "RestoreOptions": "restoration.pipeline",
    "RestoreResult": "restoration.pipeline",
    "Restorer": "restoration.pipeline",
    "ServingEngine": "engines.serving",
    "ServingError": "engines.serving",
    "Strokes": "restoration.regions",
    "reblend": "restoration.pipeline",
}

__all__ = [
    "ColorHints",
    "LocalEngine",
    "Mask",
    "RestoreOptions",
    "RestoreResult",
    "Restorer",
    "ServingEngine",
    "ServingError",
    "Strokes",
    "reblend",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
