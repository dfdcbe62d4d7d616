"""Settings for every test. Nothing here may import TensorFlow: collection has to stay quick."""

import importlib.util
import os
import pathlib
import sys

# Only errors: TensorFlow's start-up notices would drown the test report.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Where processes share the tests, each keeps one core busy, what it starts included. More threads
# would only wait for each other, some of them by spinning.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "OPENCV_FOR_THREADS_NUM",
        "TF_NUM_INTRAOP_THREADS",
    ):
        os.environ.setdefault(_name, "1")

_BYTECODE = pathlib.Path(__file__).parents[1] / ".pytest_cache" / "bytecode"


def _keep_bytecode():
    """Compile packages once, not in each of the dozens of processes that tests start.

    Installers like uv leave packages uncompiled, and where Python is told to keep no bytecode,
    every process compiles TensorFlow anew: some fifteen seconds each.
    """
    tensorflow = importlib.util.find_spec("tensorflow")
    if not sys.dont_write_bytecode or tensorflow is None:
        return
    if pathlib.Path(importlib.util.cache_from_source(tensorflow.origin)).is_file():
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(_BYTECODE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


_keep_bytecode()
