"""A program that uses what is public, as a type checker sees it; it is checked and never run."""

from pathlib import Path
from typing import assert_type

import numpy as np

import keras_refocus
from keras_refocus import (
    LocalEngine,
    RestoreOptions,
    Restorer,
    RestoreResult,
    ServingEngine,
    ServingError,
    reblend,
)


def restore_file(path: Path, *, server: str | None) -> tuple[str, ...]:
    engine = ServingEngine(server) if server else LocalEngine()
    options = RestoreOptions(mode="restore+colorize", strength=0.8, best=True)
    with Restorer(engine) as restorer:
        try:
            result = restorer.restore(path, options)
        except ServingError as error:
            raise SystemExit(str(error)) from error
    assert_type(result, RestoreResult)
    assert_type(result.image, np.ndarray)
    return result.save(path.with_suffix(".png"))


def weaker(result: RestoreResult) -> RestoreResult:
    return reblend(result, strength=0.3)


assert_type(keras_refocus.__version__, str)
