"""Change the package in one place at a time and see whether its tests notice: a random sample.

    nox -s mutants
    python tests/mutants.py pictures/png pictures/grayscale --count 20 --seed 3

Cosmic Ray makes the mutants; of each module so many are drawn, the same ones with the same seed. A
module's own tests are run on each, in a copy of the project, until the first one fails. Each run is
a fork of this process, which has imported what takes long, TensorFlow above all, and nothing of the
project. Results are appended to a file of one JSON object a line; what is in there already is not
run again.
"""

import argparse
import ast
import contextlib
import difflib
import importlib
import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import pytest
from cosmic_ray import plugins
from cosmic_ray.commands.init import _all_work_items as all_mutants
from cosmic_ray.mutating import use_mutation

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "keras_refocus"
# Modules of `pictures` without tests of their own are what these read and write through.
SHARED = {"pictures": ("test_images", "test_reading")}
# What tests wait for when they start.
SLOW_TO_IMPORT = ("cv2", "imagecodecs", "keras", "scipy.ndimage", "tifffile")


def modules(names):
    """Modules of folders (`metrics`) and single ones (`pictures/png`), from the project's root."""
    for name in names:
        place = ROOT / PACKAGE / name
        found = sorted(place.glob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        yield from (file.relative_to(ROOT) for file in found if file.stem != "__init__")


def tests_of(module):
    folder = ROOT / "tests" / module.parent.relative_to(PACKAGE)
    own = folder / f"test_{module.stem}.py"
    shared = [folder / f"{name}.py" for name in SHARED.get(folder.name, ())]
    files = [own] if own.exists() else shared or sorted(folder.glob("test_*.py"))
    return [str(file.relative_to(ROOT)) for file in files]


def annotations(source):
    """Lines and columns from which to which there are types, which nothing runs."""
    for node in ast.walk(ast.parse(source)):
        for part in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(part, ast.expr):
                yield (part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)


def drawn(module, count, seed):
    """So many mutants of a module, in the order of its lines."""
    skipped = list(annotations((ROOT / module).read_text(encoding="utf-8")))
    found = [
        item.mutations[0]
        for item in all_mutants([module], {})
        if not any(start <= item.mutations[0].start_pos < end for start, end in skipped)
    ]
    chosen = random.Random(f"{seed} {module}").sample(found, min(count, len(found)))
    return sorted(chosen, key=lambda item: (item.start_pos, item.operator_name, item.occurrence))


def name_of(mutation):
    line, column = mutation.start_pos
    operator = mutation.operator_name.removeprefix("core/")
    return f"{mutation.module_path}:{line}:{column} {operator} {mutation.occurrence}"


def fails(files, limit, *, silent=True):
    """Whether one of the tests fails in a fork, or all of them take longer than so many seconds."""
    child = os.fork()
    if child == 0:
        os.setsid()
        if silent:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        status = 1
        try:
            status = pytest.main(["-q", "-x", "-n", "0", "-p", "no:cacheprovider", *files])
        finally:
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


def run(names, count, seed, out):
    done = {}
    if out.exists():
        lines = out.read_text(encoding="utf-8").splitlines()
        done = {row["mutant"]: row for row in map(json.loads, lines)}
    for module in modules(names):
        files = tests_of(module)
        waiting = [m for m in drawn(module, count, seed) if name_of(m) not in done]
        if not waiting:
            continue
        began = time.monotonic()
        if fails(files, limit=3600, silent=False):
            sys.exit(f"Tests must pass before anything is changed. Received: {' '.join(files)}.")
        # A mutant may run forever.
        limit = 10 * (time.monotonic() - began) + 60
        for mutation in waiting:
            operator = plugins.get_operator(mutation.operator_name)(**mutation.operator_args)
            with use_mutation(mutation.module_path, operator, mutation.occurrence) as (old, new):
                outcome = "no mutant"
                if new is not None:
                    outcome = "killed" if fails(files, limit) else "survived"
            change = difflib.unified_diff(old.splitlines(), (new or old).splitlines(), n=1)
            row = {"mutant": name_of(mutation), "outcome": outcome, "diff": "\n".join(change)}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(outcome, row["mutant"], flush=True)


def report(out):
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for row in rows:
        if row["outcome"] == "survived":
            print(f"\n{row['mutant']}\n{row['diff']}")
    survived = sum(row["outcome"] == "survived" for row in rows)
    killed = sum(row["outcome"] == "killed" for row in rows)
    print(f"\n{len(rows)} mutants: {killed} killed, {survived} survived")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+", help="folders or modules, as pictures or pictures/png")
    parser.add_argument("--count", type=int, default=8, help="mutants of a module (8)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("mutants.jsonl"))
    given = parser.parse_args()
    given.out = given.out.absolute()
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
        # Before where it is installed, which may be the original; for what tests start as well.
        sys.path.insert(0, str(ROOT))
        os.environ["PYTHONPATH"] = str(ROOT)
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        for name in SLOW_TO_IMPORT:
            importlib.import_module(name)
        run(given.names, given.count, given.seed, given.out)
    report(given.out)
