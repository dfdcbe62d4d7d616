"""Change the package in one place at a time and see whether its tests notice: a random sample.

    nox -s mutants
    python tests/mutants.py pictures/png pictures/grayscale --count 20 --seed 3
    python tests/mutants.py pictures restoration metrics --list
    python tests/mutants.py --again mutants.jsonl

Cosmic Ray makes the mutants. Of each module so many are drawn, one of a place at most: the same
ones with the same seed, and those and others with a larger count. Of what is `idle`, and of what
`SAYS_NOTHING` has, none are drawn. A module's own tests are run on each, the quickest first, in a
copy of the project, until one fails. Each run is a fork of this process, which has imported what
takes long, TensorFlow above all, and nothing of the project. Results are appended to a file of one
JSON object a line; what is in there already is not run again. Modules take turns, a few mutants at
a time.
"""

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import math
import os
import pathlib
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback

import pytest
from cosmic_ray import plugins
from cosmic_ray.commands.init import _all_work_items as all_mutants
from cosmic_ray.mutating import use_mutation

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "keras_refocus"
# Of reading and writing, which these modules of `pictures` are for, there are tests by format.
SHARED = ("test_images", "test_reading")
SHARING = (
    "code_points codestreams decoded decoders metadata photo png reading srgb staging tiff writing"
)
# What tests wait for when they start.
SLOW_TO_IMPORT = ("cv2", "imagecodecs", "keras", "scipy.ndimage", "tifffile")
# Bits of numbers that have none: of fractions and arrays of them that is an error wherever the line
# is run, which the other mutants of the place show as well. Equal small numbers and names are one
# object or not as Python likes it.
SAYS_NOTHING = re.compile(
    r"core/ReplaceBinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Bit\w+|LShift|RShift)"
    r"|core/ReplaceComparisonOperator_(Eq_Is|NotEq_IsNot|Is_Eq|IsNot_NotEq)"
)
# As in pyproject.toml, without the plugins of other packages, which take as long as many a test.
PYTEST = ["-q", "-x", "-o", "addopts=", "-m", "not slow", "--import-mode=importlib"]
PYTEST += ["-p", "no:cacheprovider"]
# Mutants of a module that are run before it is the next one's turn.
TURN = 4
# What a mutant may take of memory, in bytes: one that raises a size to a power takes it all.
MEMORY = 16 * 2**30


def modules(names):
    """Modules of folders (`metrics`) and single ones (`pictures/png`), from the project's root."""
    for name in names:
        place = ROOT / PACKAGE / name
        found = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        yield from (file.relative_to(ROOT) for file in found if file.stem != "__init__")


def tests_of(module):
    """Files of a module's own tests; where it has none, of those of all its folder."""
    folder = ROOT / "tests" / module.parent.relative_to(PACKAGE)
    names = [f"test_{module.stem}"]
    if folder.name == "pictures" and module.stem in SHARING.split():
        names += SHARED
    files = [file for name in names if (file := folder / f"{name}.py").exists()]
    return [str(file.relative_to(ROOT)) for file in files or sorted(folder.glob("test_*.py"))]


def idle(source):
    """Lines and columns from which to which a change says nothing, whatever the tests do."""
    for node in ast.walk(ast.parse(source)):
        # Types, which nothing runs.
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.ClassDef):
            # `frozen` and `kw_only` forbid what nobody does.
            parts += [part for part in node.decorator_list if isinstance(part, ast.Call)]
        for part in parts:
            if isinstance(part, ast.expr):
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def mutants_of(module):
    """All that are made of a module, and those of them that are drawn from."""
    made = [item.mutations[0] for item in all_mutants([module], {})]
    parts = list(idle((ROOT / module).read_text(encoding="utf-8")))

    def says_something(mutation):
        is_idle = any(start <= mutation.start_pos < end for start, end in parts)
        return not is_idle and SAYS_NOTHING.fullmatch(mutation.operator_name) is None

    return made, list(filter(says_something, made))


def drawn(module, count, seed):
    """So many mutants of a module, each of another place."""
    _, found = mutants_of(module)

    def lot(mutation):
        # What is no longer drawn from leaves the others in their order.
        return hashlib.sha256(f"{seed} {name_of(mutation)}".encode()).digest()

    # An operator has up to ten mutants, a condition one.
    places = {}
    for mutation in sorted(found, key=lot):
        places.setdefault((mutation.start_pos, mutation.end_pos), mutation)
    return list(places.values())[:count]


def name_of(mutation):
    line, column = mutation.start_pos
    operator = mutation.operator_name.removeprefix("core/")
    return f"{mutation.module_path}:{line}:{column} {operator} {mutation.occurrence}"


class QuickestFirst:
    """A plugin of pytest: orders tests by the seconds that they took, and keeps those.

    Tests that took longer than so many seconds are left out.
    """

    def __init__(self, seconds, out=None, longest=math.inf):
        self.seconds, self.out, self.longest = seconds, out, longest

    def pytest_collection_modifyitems(self, items):
        items.sort(key=lambda item: self.seconds.get(item.nodeid, 0))
        items[:] = [item for item in items if self.seconds.get(item.nodeid, 0) <= self.longest]

    def pytest_runtest_logreport(self, report):
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    def pytest_sessionfinish(self):
        if self.out is not None:
            self.out.write_text(json.dumps(self.seconds), encoding="utf-8")


def fails(files, limit, plugin, *, silent=True):
    """Whether one of the tests fails in a fork, or all of them take longer than so many seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        if silent:
            # Cached code is told from changed code by size and second.
            sys.dont_write_bytecode = True
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        status = 1
        try:
            status = pytest.main([*PYTEST, *files], plugins=[plugin])
        except BaseException:
            traceback.print_exc()
        finally:
            # What is left in buffers would be lost.
            sys.stdout.flush()
            os._exit(status)
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status != 0
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def unchanged(files):
    """Seconds that each of the tests takes before anything is changed."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        out = pathlib.Path(folder) / "seconds.json"
        if fails(files, limit=3600, plugin=QuickestFirst({}, out), silent=False):
            sys.exit(f"Tests must pass before anything is changed. Received: {' '.join(files)}.")
        return json.loads(out.read_text(encoding="utf-8"))


def read(out):
    """Of each mutant the latest outcome."""
    lines = out.read_text(encoding="utf-8").splitlines() if out.exists() else []
    return {row["mutant"]: row for row in map(json.loads, lines)}


def mutated(mutation):
    """The text of a module before and after, the latter None where there is no such mutant."""
    operator = plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
    return use_mutation(mutation.module_path, operator, mutation.occurrence)


def change(old, new):
    """What a mutant changes, as a diff with a line around it."""
    lines = old.splitlines(), (new or old).splitlines()
    return list(difflib.unified_diff(*lines, n=1, lineterm=""))


def survivors(out):
    """Those that survived, by module, where the module still has the line."""
    rows = [row for row in read(out).values() if row["outcome"] == "survived"]
    for module in sorted({row["mutant"].partition(":")[0] for row in rows}):
        made, _ = mutants_of(pathlib.Path(module))
        found = []
        for row in rows:
            if row["mutant"].partition(":")[0] != module:
                continue
            line = int(row["mutant"].split(":")[1])
            # Lines above may have come or gone since.
            for mutation in sorted(made, key=lambda item: abs(item.start_pos[0] - line)):
                if name_of(mutation).split()[1] != row["mutant"].split()[1]:
                    continue
                with mutated(mutation) as (old, new):
                    lines = change(old, new)
                if changed_lines(lines) == changed_lines(row["diff"].splitlines()):
                    found.append((row["mutant"], mutation))
                    break
            else:
                print("no longer there", row["mutant"], flush=True)
        yield pathlib.Path(module), found


def changed_lines(lines):
    return [line for line in lines if re.match(r"[+-](?!--|\+\+)", line)]


def run(chosen, out, others=(), longest=math.inf):
    """Run the tests of modules, and others, on mutants, which have the names to write down."""
    seconds = {}
    for module, mutations in chosen:
        files = list(dict.fromkeys([*tests_of(module), *others]))
        if not mutations:
            continue
        key = tuple(files)
        if key not in seconds:
            seconds[key] = unchanged(files)
        # A mutant may run forever.
        limit = 4 * sum(seconds[key].values()) + 60
        for name, mutation in mutations:
            outcome = "no mutant"
            with mutated(mutation) as (old, new):
                if new is not None:
                    failed = fails(files, limit, QuickestFirst(dict(seconds[key]), longest=longest))
                    outcome = "killed" if failed else "survived"
            row = {"mutant": name, "outcome": outcome, "diff": "\n".join(change(old, new))}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(outcome, name, flush=True)


def count_all(names):
    """Print how many mutants there are."""
    totals = [0, 0, 0]
    for module in modules(names):
        made, kept = mutants_of(module)
        places = len({(mutation.start_pos, mutation.end_pos) for mutation in kept})
        numbers = (len(made), len(kept), places)
        totals = [total + number for total, number in zip(totals, numbers, strict=True)]
        print("{}: {} mutants, {} drawn from, of {} places".format(module, *numbers), flush=True)
    print("{} mutants, {} drawn from, of {} places".format(*totals))


def report(out):
    rows = read(out).values()
    for row in rows:
        if row["outcome"] == "survived":
            print(f"\n{row['mutant']}\n{row['diff']}")
    survived = sum(row["outcome"] == "survived" for row in rows)
    killed = sum(row["outcome"] == "killed" for row in rows)
    print(f"\n{len(rows)} mutants: {killed} killed, {survived} survived")


def sample(names, count, seed, out):
    """Of each module in turn a few of the mutants that are drawn and were not run yet."""
    done = read(out)
    waiting = {}
    for module in modules(names):
        named = [(name_of(mutation), mutation) for mutation in drawn(module, count, seed)]
        waiting[module] = [pair for pair in named if pair[0] not in done]
        yield module, waiting[module][:TURN]
    for begin in range(TURN, count, TURN):
        for module, pairs in waiting.items():
            yield module, pairs[begin : begin + TURN]


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="folders or modules, as pictures or pictures/png")
    parser.add_argument("--count", type=int, default=8, help="mutants of a module (8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("mutants.jsonl"))
    parser.add_argument("--list", action="store_true", help="only count the mutants")
    parser.add_argument("--again", type=pathlib.Path, help="run those that survived in this file")
    parser.add_argument("--tests", nargs="+", default=[], help="files of tests to run as well")
    parser.add_argument(
        "--longest", type=float, default=math.inf, help="leave out tests of more seconds"
    )
    given = parser.parse_args()
    if bool(given.names) == bool(given.again):
        parser.error("Name folders or modules, or a file after --again.")
    given.out = (given.again or given.out).absolute()
    return given


if __name__ == "__main__":
    given = options()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        # Never in the files that somebody works on.
        ROOT = pathlib.Path(
            shutil.copytree(
                ROOT,
                pathlib.Path(folder) / "project",
                ignore=shutil.ignore_patterns(".*", "runs", "site", "build", "*.egg-info"),
            )
        )
        os.chdir(ROOT)
        if given.list:
            count_all(given.names)
            sys.exit()
        # Before where it is installed, which may be the original; for what tests start as well.
        sys.path.insert(0, str(ROOT))
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
        # Not compiled anew in each fork, whatever the environment says.
        sys.dont_write_bytecode, sys.pycache_prefix = False, str(ROOT.parent / "bytecode")
        for name in SLOW_TO_IMPORT:
            importlib.import_module(name)
        if given.again:
            run(survivors(given.out), given.out, given.tests, given.longest)
        else:
            chosen = sample(given.names, given.count, given.seed, given.out)
            run(chosen, given.out, given.tests, given.longest)
    report(given.out)
