"""Files of a training run, each written whole or not at all.

A run folder holds

    record.json          configuration, data, commit, versions: what made these weights
    manifest.txt         SHA-256 and path of every picture used
    state.weights.h5     everything that decides the future, after the last whole epoch
    averaged.keras       the averaged generator after the last whole epoch
    best.keras           the averaged generator at its best validation score
    log.csv              one row for each epoch
    curves.png           the same as a picture
    samples/             before, after and truth of some validation pictures, each epoch
    report.md            all of this on one page
    tensorboard/         curves and samples for TensorBoard
    .lock                empty; held by the program that trains here
"""

import configparser
import csv
import errno
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_refocus.system import files
from keras_refocus.system.run_files import (
    AVERAGED,
    BEST,
    CURVES,
    LOCK,
    LOG,
    MANIFEST,
    RECORD,
    REPORT,
    SAMPLES,
    STATE,
    TENSORBOARD,
)

__all__ = [
    "AVERAGED",
    "BEST",
    "CURVES",
    "LOCK",
    "LOG",
    "MANIFEST",
    "RECORD",
    "REPORT",
    "SAMPLES",
    "STATE",
    "TENSORBOARD",
    "check_room",
    "draw_curves",
    "duration",
    "environment",
    "validation_columns",
    "own_commit",
    "read_log",
    "read_record",
    "write_atomically",
    "write_json",
    "write_log",
    "write_report",
    "write_text",
]

# What is measured in validation: its title and its decimals.
_METRICS = {
    "psnr": ("PSNR (dB)", 2),
    "ssim": ("SSIM", 4),
    "chroma_error": ("chroma error", 2),
    "colorfulness": ("colourfulness", 2),
}


def validation_columns(rows: Sequence[Mapping[str, float]]) -> list[tuple[Any, ...]]:
    """Names, titles and decimals of what the rows of a log measure in validation."""
    return [
        (name, *values)
        for name, values in _METRICS.items()
        if any(f"val_{name}" in row for row in rows)
    ]


def write_atomically(path: str | os.PathLike, write: Callable[[pathlib.Path], Any]) -> None:
    """Write a file under a temporary name and rename it, so that no half file is ever seen.

    Args:
        path: Path of the file.
        write: Callable that writes to the path it is given.

    Raises:
        OSError: If it cannot be written; the file is then as it was.
    """
    path = pathlib.Path(path)
    try:
        # The suffix stays last: Keras chooses the format by it.
        with files.replacing(path, keep_suffix=True) as temporary:
            write(temporary)
    except (OSError, RuntimeError) as error:  # HDF5 reports some failed writes as RuntimeError.
        if getattr(error, "errno", None) != errno.ENOSPC and "No space left" not in str(error):
            raise
        raise _full_disk(path) from error


def _full_disk(path):
    return OSError(
        f"The disk must have room for the run. Received: no space left for {path}; the files "
        "of the last whole epoch are as they were. Free some space, then go on with --resume."
    )


def check_room(folder: str | os.PathLike, size: int) -> None:
    """Refuse to begin writing what will not fit.

    HDF5 leaves a process in pieces when the disk fills under it, so it is better asked before.

    Args:
        folder: Path of the run folder.
        size: Bytes that will be written.

    Raises:
        OSError: If there is less room.
    """
    if shutil.disk_usage(folder).free < size:
        raise _full_disk(folder)


def write_json(path: str | os.PathLike, values: Any) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda target: target.write_text(text, encoding="utf-8"))


def read_record(folder: str | os.PathLike) -> dict[str, Any]:
    """Read the record of a run."""
    return json.loads((pathlib.Path(folder) / RECORD).read_text(encoding="utf-8"))


def own_commit(file: str = __file__) -> str | None:
    """Commit of this package's own repository, or `None` where a module of it is not in one.

    An installed package, or a copy in somebody's project, may lie below the repository of another
    project, whose commit says nothing about this code.
    """
    file = pathlib.Path(file).resolve()
    package = file.parents[1]
    # What calls us from a hook names its own repository in these.
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}

    def git(*words):
        return subprocess.run(
            ["git", *words], cwd=package, env=own, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        root = pathlib.Path(git("rev-parse", "--show-toplevel")).resolve()
        if not _is_this_project(root, package):
            return None
        git("ls-files", "--error-unmatch", str(file))
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _is_this_project(root, package):
    """Whether a repository is that of this package, and not one that it was copied into."""
    if package.parent != root:
        return False
    setup = configparser.ConfigParser()
    try:
        setup.read(root / "setup.cfg", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        return False
    return setup.get("metadata", "name", fallback=None) == package.name


def environment() -> dict[str, Any]:
    """Commit, versions and machine of this process, for the record of a run.

    The commit is `None` where the package is not in a checkout of its own repository; its version
    is among the versions.
    """
    packages = (
        "keras_refocus",
        "keras",
        keras.backend.backend(),
        "numpy",
        "opencv-python-headless",
    )
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": own_commit(),
        "versions": versions,
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
    }


def read_log(path: str | os.PathLike) -> list[dict[str, float]]:
    """Read `log.csv` as a list of dicts; numbers as floats, empty cells left out."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        return [
            {key: float(value) for key, value in row.items() if value != ""}
            for row in csv.DictReader(file)
        ]


def write_log(path: str | os.PathLike, rows: Sequence[Mapping[str, float]]) -> None:
    """Write `log.csv`; a name that a row lacks stays empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def write(target):
        with target.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, restval="")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(path, write)


def draw_curves(path: str | os.PathLike, rows: Sequence[Mapping[str, float]]) -> None:
    """Draw losses and validation scores over epochs as a PNG.

    Args:
        path: Path of the file.
        rows: List of dicts as in `log.csv`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = dict.fromkeys(name for row in rows for name in row)
    panels = {
        "losses": [name for name in names if "loss" in name and not name.startswith("val_")],
    } | {f"validation {title}": [f"val_{name}"] for name, title, _ in validation_columns(rows)}
    # Without pyplot: it would choose a window system for the whole process.
    figure = Figure(figsize=(5 * len(panels), 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    for axis, (title, members) in zip(axes, panels.items(), strict=True):
        for name in members:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            axis.plot(*zip(*points, strict=True), label=name.removeprefix("val_"), linewidth=1)
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if title == "losses":
            # Losses of critics go below zero.
            axis.set_yscale("symlog", linthresh=1e-3)
            axis.legend(fontsize=8)
    write_atomically(path, lambda target: figure.savefig(target, dpi=110))


def duration(seconds: float) -> str:
    """Write a duration in hours and minutes, or in minutes alone."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def write_report(
    folder: str | os.PathLike,
    record: Mapping[str, Any],
    rows: Sequence[Mapping[str, float]],
    *,
    status: str,
    command: str,
    next_steps: Sequence[tuple[str, str]],
    best: Mapping[str, float] | None = None,
    columns: Sequence[str] = ("blurred", "restored", "sharp"),
) -> None:
    """Write the run on one page, `report.md`.

    Args:
        folder: Path of the run folder.
        record: Dict of `record.json`.
        rows: List of dicts as in `log.csv`, at least one.
        status: One sentence on how far the run is.
        command: Command line that repeats the run.
        next_steps: List of `(what, command line)`.
        best: The row of the best epoch; `None` takes the one of the highest PSNR.
        columns: What the samples show from left to right; the first is what goes in.
    """
    folder = pathlib.Path(folder)
    if best is None:
        best = max(rows, key=lambda row: row.get("val_psnr", float("-inf")))
    last = rows[-1]
    data, session = record["data"], record["sessions"][-1]
    seconds = sum(row["seconds"] for row in rows)
    lines = [
        f"# {folder.name}",
        "",
        f"{status} {duration(seconds)} of training, "
        f"{len(rows) * record['config']['steps_per_epoch']:,} steps.",
        "",
        *_score_table(record.get("validation", {}), rows, best, columns),
        "",
        f"![losses and validation scores]({CURVES})",
        "",
    ]
    sample = f"{SAMPLES}/epoch_{last['epoch']:04.0f}.png"
    shown = f"{', '.join(columns[:-1])} and {columns[-1]}"
    if (folder / sample).is_file():
        lines += [f"![{shown} validation patches]({sample})", ""]
    versions = ", ".join(f"{name} {version}" for name, version in session["versions"].items())
    commit = f"Commit {session['commit']}; " if session["commit"] else ""
    lines += [
        f"Left to right: {', '.join(columns)}.",
        "",
        "## Repeat",
        "",
        "```",
        command,
        "```",
        "",
        f"{commit}{versions}; {session['platform']}.",
        "",
        "## Pictures",
        "",
        f"{data['files']} files, {data['training_pictures']} of them to train on; the list with "
        f"SHA-256 is `{MANIFEST}`, whose own SHA-256 is `{data['manifest_sha256']}`. "
        f"Licence: {data['license'] or 'not stated'}.",
        *data.get("notes", ()),
        "",
        "## Next",
        "",
    ]
    lines += [f"- {what}: `{line}`" for what, line in next_steps]
    write_text(folder / REPORT, "\n".join(lines) + "\n")


def _score_table(before, rows, best, columns):
    """Lines of a table: scores of what goes in, of what is wanted, of the best and last epoch."""
    measured = validation_columns(rows)

    def line(title, values):
        cells = [
            f"{values[name]:.{digits}f}" if name in values else "" for name, _, digits in measured
        ]
        return f"| {' | '.join([title, *cells])} |"

    titles = " | ".join(title for _, title, _ in measured)
    lines = [
        f"| validation, {before.get('pictures', 'some')} patches | {titles} |",
        "|---" * (1 + len(measured)) + "|",
    ]
    if before:
        lines.append(line(f"{columns[0]} input", before))
    if "truth" in before:
        lines.append(line(columns[-1], before["truth"]))
    for title, row in (("best epoch", best), ("last epoch", rows[-1])):
        scores = {name: row[f"val_{name}"] for name, *_ in measured if f"val_{name}" in row}
        lines.append(line(f"{title}, {row['epoch']:.0f}", scores))
    return lines
