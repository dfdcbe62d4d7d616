"""The floors of the package, read off its folders; and which modules may name a backend."""

import ast
import configparser
import functools
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "keras_refocus"

# From the ground up. A folder imports folders of lower floors only; the modules that lie in the
# package itself are the entry points, one a verb, on the highest floor.
FLOORS = [
    "engines local_server pictures system",
    "blur metrics networks restoration",
    "cloud data deployment video",
    "evaluation page training",
    "benchmarks",
]
FLOOR_OF = {name: floor for floor, row in enumerate(FLOORS, 1) for name in row.split()}
# The only folders of one floor that meet: `system` is the ground of the others.
SAME_FLOOR = {("pictures", "system"), ("engines", "system")}

# What runs for a user must not drag in what only training needs, however indirectly.
SERVING_HALF = (
    "system pictures engines restoration local_server deployment page video cloud restore "
    "restore_video unblur demo serve".split()
)
TRAINING_HALF = {"networks", "blur", "data", "training", "evaluation"}

# Modules that are TensorFlow's by nature, and the one seam that knows every backend. The rest
# speaks `keras.ops` or numpy.
BACKEND_MODULES = (
    "system/console engines/ local_server/ deployment/ data/workers data/prepared training/gan "
    "training/devices training/initial_weights training/keeper training/run evaluation/models "
    "networks/imported/weight_files".split()
)
BACKENDS = {"tensorflow", "torch", "jax"}


def room(file):
    """The folder of a module; for an entry point the module itself."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


MODULES = sorted(file for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE)
ENTRY_POINTS = sorted(file for file in PACKAGE.glob("*.py") if file.stem != "__init__")
FOLDERS = sorted({room(file) for file in MODULES})


@functools.cache
def nodes_of(file):
    """What a file is made of; taking it apart is what takes the time here."""
    return tuple(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))


@functools.cache
def imported(file):
    """Full names of what a file imports, wherever in the file it does."""
    return tuple(_imports(file))


def _imports(file):
    for node in nodes_of(file):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level and PACKAGE not in file.parents:
                continue  # `tfds build` loads the folder of a data set under another name.
            assert node.level == 0, f"{file} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(file):
    """Folders and entry points of the package that a file imports, but its own."""
    names = [name.split(".") for name in imported(file) if name.startswith("keras_refocus.")]
    known = {*FOLDERS, *(entry.stem for entry in ENTRY_POINTS)}
    return {name[1] for name in names if name[1] in known} - {room(file)}


@functools.cache
def neighbours(name):
    return frozenset().union(
        *(rooms_imported(f) for f in MODULES + ENTRY_POINTS if room(f) == name)
    )


def reachable(name):
    seen, waiting = set(), [name]
    while waiting:
        new = neighbours(waiting.pop()) - seen
        seen |= new
        waiting += new
    return seen


def name_of(file):
    return file.relative_to(PACKAGE).as_posix()


def test_the_walk_sees_imports():
    # At the top of a file, inside functions, of modules and of names in them.
    assert {"engines", "pictures"} <= neighbours("restoration")
    assert {"page", "engines"} <= neighbours("demo")
    assert "pictures" in reachable("demo")


def test_every_folder_has_its_floor():
    assert set(FOLDERS) <= set(FLOOR_OF)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_imports_point_down(file):
    for neighbour in rooms_imported(file):
        lower = FLOOR_OF.get(neighbour, len(FLOORS)) < FLOOR_OF[room(file)]
        assert lower or (room(file), neighbour) in SAME_FLOOR, f"must not import {neighbour}"


@pytest.mark.parametrize("file", ENTRY_POINTS, ids=name_of)
def test_nothing_imports_an_entry_point(file):
    for other in MODULES + ENTRY_POINTS:
        assert file.stem not in rooms_imported(other), f"{other} imports it"


@pytest.mark.parametrize("name", SERVING_HALF)
def test_the_serving_half_is_free_of_the_training_half(name):
    assert not reachable(name) & TRAINING_HALF


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*/__init__.py")), ids=name_of)
def test_folders_are_a_docstring(file):
    """A worker process that unpickles one function must not import what lies beside it."""
    body = ast.parse(file.read_text(encoding="utf-8")).body
    assert ast.get_docstring(ast.Module(body, []))
    if file.parent.name != "networks":  # it has the dictionaries of names
        assert len(body) == 1


@pytest.mark.parametrize("folder", [name for name in FOLDERS if name != "networks"])
def test_docstrings_of_folders_name_their_modules(folder):
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text("utf-8")))
    named = {line.split()[0].rstrip("/") for line in text.splitlines() if line.startswith("    ")}
    there = {file.stem for file in (PACKAGE / folder).glob("*.py") if file.stem != "__init__"}
    there |= {file.parent.name for file in (PACKAGE / folder).glob("*/__init__.py")}
    assert there <= named, f"not in the docstring: {there - named}"
    for name in named - there:
        assert (PACKAGE / folder / name).is_dir(), f"{name} is named and is not there"


def test_the_docstring_of_the_package_names_every_room():
    text = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text("utf-8")))
    words = {word.rstrip("/") for word in text.split()}
    assert {*FOLDERS, *(entry.stem for entry in ENTRY_POINTS)} - words <= {"__main__"}


# The second half of one architecture is another, and one is another at several scales.
PARTS = {"blind_wiener": {"filter_bank"}, "pyramid": {"blind_wiener"}}


def test_architectures_import_blocks_and_their_parts_and_nothing_else():
    for file in (PACKAGE / "networks").glob("*.py"):
        names = {name.split(".")[2] for name in imported(file) if _is_network(name)}
        if file.stem != "__init__":
            assert names <= {"blocks", "backbones"} | PARTS.get(file.stem, set()), file


def _is_network(name):
    return name.startswith("keras_refocus.networks.")


@pytest.mark.parametrize("file", MODULES + ENTRY_POINTS, ids=name_of)
def test_backends_are_known_where_they_must_be_and_nowhere_else(file):
    used = {name.split(".")[0].removesuffix("_serving") for name in imported(file)}
    name = name_of(file).removesuffix(".py")
    if not any(name == known or known == room(file) + "/" for known in BACKEND_MODULES):
        assert not used & BACKENDS


def test_saved_models_are_opened_in_one_place():
    """The local server opens them too: it answers with TensorFlow Serving's own status codes."""
    openers = {
        name_of(file)
        for file in MODULES + ENTRY_POINTS
        if "saved_model.load(" in file.read_text("utf-8")
    }
    assert openers == {"engines/store.py", "local_server/models.py"}


def test_files_are_written_whole_and_summed_in_one_place():
    """Who wants SHA-256 of a file, or a temporary name and a rename, asks `system.files`."""
    own_sums = {
        name_of(file) for file in MODULES + ENTRY_POINTS if "file_digest" in file.read_text("utf-8")
    }
    assert own_sums == {"system/files.py"}
    temporary = re.compile(r"\bos\.replace|\.(part|tmp)\b[\"{]|writing-|NamedTemporaryFile")
    own_names = {
        name_of(file)
        for file in MODULES + ENTRY_POINTS
        if temporary.search(file.read_text("utf-8"))
    }
    assert own_names == {"system/files.py"}


# Ranges of files and of CIELAB. Formats of pictures and of video have numbers of their own.
RANGES = {110, 127.5, 255, 65535}


@pytest.mark.parametrize(
    "file",
    [file for file in MODULES if room(file) not in ("pictures", "video") and file.stem != "video"],
    ids=name_of,
)
def test_only_colour_scales_by_the_ranges(file):
    found = [
        ast.unparse(node)
        for node in nodes_of(file)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div)
        if any(isinstance(s, ast.Constant) and s.value in RANGES for s in (node.left, node.right))
    ]
    assert not found, "use pictures.color"


# Lines of a function without its docstring.
LONGEST = 70


def test_functions_fit_in_a_head():
    found = set()
    for file in MODULES + ENTRY_POINTS:
        for node in nodes_of(file):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    length -= node.body[0].end_lineno - node.body[0].lineno + 1
                if length > LONGEST:
                    found.add((name_of(file), node.name))
    assert not found, f"longer than {LONGEST} lines: {sorted(found)}"


def test_where_is_what_is_there():
    """The table of CONTRIBUTING.md names files and folders that exist."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if re.match(r"\| \d+\. ", line)]
    assert len(rows) >= 20
    for row in rows:
        first, *others = re.findall(r"`([\w./]+)`", row.split("|")[2])
        folder = first if first.endswith("/") else first.rpartition("/")[0] + "/"
        for path in [first, *(name if "/" in name else folder + name for name in others)]:
            found = ROOT / path
            assert found.is_dir() if path.endswith("/") else found.is_file(), row


def test_data_sets_share_colour_reading_and_checks_with_the_package():
    for file in (ROOT / "tfds_builders").rglob("*.py"):
        names = {name for name in imported(file) if name.startswith("keras_refocus.")}
        # Pictures are read and judged by the rules of `curate`, whoever publishes them.
        for name in names - {"keras_refocus.data", "keras_refocus.data.integrity"}:
            _, folder, *rest = name.split(".")
            # High-speed frames are averaged as the synthesis of blur averages.
            assert folder in ("pictures", "system", "blur") or rest[:1] == ["integrity"], (
                file,
                name,
            )


@pytest.mark.parametrize("file", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda f: f.stem)
def test_tests_lie_where_their_modules_do(file):
    folder = file.relative_to(ROOT / "tests").parent
    if folder.parts and folder.parts[0] in FOLDERS:
        name = file.stem.removeprefix("test_")
        assert (PACKAGE / folder / f"{name}.py").exists() or name == folder.name, file


def test_entry_points_answer_before_tensorflow_is_there():
    """Importing an entry point, and asking it for help, needs no backend."""
    verbs = [file.stem for file in ENTRY_POINTS if file.stem != "__main__"]
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
