"""Change the package in one place at a time and see whether its tests notice: a random sample.

    nox -s mutants
    python tests/mutants.py pictures/png pictures/grayscale --count 20 --seed 3

Cosmic Ray makes the mutants; of each module so many are drawn, the same ones with the same seed. A
module's own tests are run on each, in a copy of the project, until the first one fails. Results are
appended to a file of one JSON object a line; what is in there already is not run again.
"""

import argparse
import ast
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

from cosmic_ray.commands.init import _all_work_items as all_mutants
from cosmic_ray.mutating import mutate_and_test

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "keras_refocus"
# Modules of `pictures` without tests of their own are what these read and write through.
SHARED = {"pictures": ("test_images", "test_reading")}


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


def run(names, count, seed, out, python):
    done = {}
    if out.exists():
        lines = out.read_text(encoding="utf-8").splitlines()
        done = {row["mutant"]: row for row in map(json.loads, lines)}
    for module in modules(names):
        command = [python, *"-m pytest -q -x -n 0 -p no:cacheprovider".split(), *tests_of(module)]
        waiting = [m for m in drawn(module, count, seed) if name_of(m) not in done]
        if not waiting:
            continue
        began = time.monotonic()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        # A mutant may run forever.
        limit = 10 * (time.monotonic() - began) + 60
        for mutation in waiting:
            result = mutate_and_test([mutation], " ".join(command), limit)
            outcome = result.test_outcome.value if result.test_outcome else "no mutant"
            row = {"mutant": name_of(mutation), "outcome": outcome, "diff": result.diff}
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
    parser.add_argument("--python", default=sys.executable, help="that the tests run with")
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
        # Before where it is installed, which may be the original.
        os.environ["PYTHONPATH"] = str(ROOT)
        run(given.names, given.count, given.seed, given.out, given.python)
    report(given.out)
