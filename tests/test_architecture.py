"""Which module may import which, as a table of layers, and which may name a backend."""

import ast
import configparser
import functools
import itertools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "keras_refocus"

# From the ground up. A module imports modules of lower rows only; `networks` is one module here.
LAYERS = [
    "alignment classical color config console flips machine tiling upsampling",
    "color_bins exposure faces images provenance",
    "engines integrity metrics networks perceptual_metrics replication run_folder sampling "
    "serving_config",
    "batching curation data losses serving_engine tfds_batches",
    "conversion evaluation gan model_manager pipeline servable",
    "color_evaluation cycle_gan deblur_gan local_server sessions video",
    "finishing page_server",
    "page_actions",
    "app",
    "training",
    "colorizer_training",
    # Entry points: they parse and wire, and nothing imports them.
    "__main__ benchmark benchmark_input benchmark_networks benchmark_quality benchmark_restore "
    "benchmark_serving curate demo evaluate evaluate_grayscale export exposure_sheet face_misses "
    "restore serve train",
]
LAYER_OF = {name: index for index, row in enumerate(LAYERS) for name in row.split()}
ENTRY_POINTS = LAYERS[-1].split()

# What runs for a user must not drag in what only training needs, however indirectly.
SERVING_HALF = (
    "app demo engines faces finishing flips local_server model_manager page_actions page_server "
    "pipeline provenance restore servable serve serving_engine sessions video".split()
)
TRAINING_HALF = (
    "color_bins colorizer_training cycle_gan data deblur_gan exposure gan losses networks "
    "replication run_folder sampling tfds_batches train training".split()
)

# Modules that are TensorFlow's by nature, and the one seam that knows every backend. The rest
# speaks `keras.ops` or numpy.
BACKEND_MODULES = (
    "console conversion data engines evaluation export gan local_server model_manager replication "
    "servable serving_config serving_engine tfds_batches training".split()
)
BACKENDS = {"tensorflow", "torch", "jax"}


def sources():
    """Every module of the package with its files."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        found.setdefault(parts[0], []).append(file)
    del found["__init__"]
    return found


SOURCES = sources()


def imported(file):
    """Full names of what a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and PACKAGE not in file.parents:
                continue  # `tfds build` loads the folder of a data set under another name.
            assert node.level == 0, f"{file} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@functools.cache
def neighbours(module):
    """Modules of the package that a module imports."""
    found = set()
    for name in itertools.chain.from_iterable(map(imported, SOURCES[module])):
        parts = name.split(".")
        if parts[0] == "keras_refocus" and len(parts) > 1 and parts[1] in SOURCES:
            found.add(parts[1])
    return found - {module}


def reachable(module):
    seen, waiting = set(), [module]
    while waiting:
        new = neighbours(waiting.pop()) - seen
        seen |= new
        waiting += new
    return seen


def test_the_walk_sees_imports():
    # At the top of a file, inside functions, of modules and of names in them.
    assert {"color", "engines", "serving_engine", "tiling"} <= neighbours("pipeline")
    assert "color" in reachable("app")


@pytest.mark.parametrize("module", SOURCES)
def test_every_module_has_its_place(module):
    assert module in LAYER_OF, f"{module} is not in the table: decide which layer it belongs to"


@pytest.mark.parametrize("module", [name for name in SOURCES if name != "__main__"])
def test_imports_point_down(module):
    for neighbour in neighbours(module):
        assert LAYER_OF[neighbour] < LAYER_OF[module], f"{module} must not import {neighbour}"


@pytest.mark.parametrize("module", [name for name in SERVING_HALF if name in SOURCES])
def test_the_serving_half_is_free_of_the_training_half(module):
    assert not reachable(module) & set(TRAINING_HALF)


# The second half of one architecture is another.
PARTS = {"blind_wiener": {"filter_bank"}}


def test_architectures_import_blocks_and_their_parts_and_nothing_else():
    for file in SOURCES["networks"]:
        names = {name.split(".")[2] for name in imported(file) if _is_network(name)}
        if file.stem != "__init__":
            assert names <= {"blocks", "backbones"} | PARTS.get(file.stem, set()), file


def _is_network(name):
    return name.startswith("keras_refocus.networks.")


@pytest.mark.parametrize("module", SOURCES)
def test_backends_are_known_where_they_must_be_and_nowhere_else(module):
    used = {
        name.split(".")[0].removesuffix("_serving")
        for name in itertools.chain.from_iterable(map(imported, SOURCES[module]))
    }
    if module not in BACKEND_MODULES:
        assert not used & BACKENDS


def test_data_sets_share_colour_reading_and_checks_with_the_package():
    for file in (ROOT / "tfds_builders").rglob("*.py"):
        names = {name for name in imported(file) if name.startswith("keras_refocus")}
        # Pictures are read and judged by the rules of `curate`, whoever publishes them.
        allowed = {"keras_refocus"} | {
            f"keras_refocus.{name}" for name in ("color", "images", "integrity", "machine")
        }
        assert {".".join(name.split(".")[:2]) for name in names} <= allowed, file


def test_entry_points_answer_before_tensorflow_is_there():
    """Importing an entry point, and asking it for help, needs no backend."""
    verbs = [name for name in ENTRY_POINTS if name in SOURCES and name != "__main__"]
    program = f"""
import contextlib, importlib, io, sys
for verb in {verbs!r}:
    module = importlib.import_module("keras_refocus." + verb)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            module.main(["--help"])
        except SystemExit as status:
            assert not status.code, verb
    assert "usage: " in output.getvalue(), verb
    for name in ("tensorflow", "keras", "torch"):
        assert name not in sys.modules, (verb, name)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr


def test_the_packages_of_setup_cfg_are_those_on_disk():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(setup["options"]["packages"].split())
    on_disk = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for name in ("keras_refocus", "tfds_builders")
        for file in (ROOT / name).rglob("__init__.py")
    }
    # The models are a folder of their own in the repository, and inside the package in a wheel.
    assert listed == on_disk | {"keras_refocus.saved_models"}
