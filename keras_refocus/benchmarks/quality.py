"""Measure quality for time and size: dB gained, beside seconds and megabytes.

    refocus benchmark quality --pairs my_pairs
    refocus benchmark quality runs/mine old=runs/a --pairs pairs --flips --oracle --plot quality.png

Restorers are measured on pictures whose truth is known, pairs or photos with synthetic blur,
beside what can be had without learning: unsharp mask, Richardson-Lucy and Wiener deconvolution of
scikit-image. Deconvolution is given one kernel for all pictures. With --oracle, the kernel and
strength of a grid that gain most on the set are looked for with sight of its truth: nobody with a
photo of their own could choose so well, and a method that loses even then has nothing to say about
these pictures. With it comes a bound: what linear filters that vary slowly over the picture reach
when they are fitted to the truth.
"""

import argparse
import csv
import dataclasses
import functools
import itertools
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_refocus.evaluation import classical
from keras_refocus.system import console, files, machine, memory, options

# What the oracle may choose from, for each method.
_KERNELS = [
    *(f"motion:{length}:{angle}" for length in (3, 5, 9) for angle in (0, 45, 90, 135)),
    *(f"disk:{radius}" for radius in (1, 2, 3)),
]
_RADII, _AMOUNTS = (1.0, 2.0, 4.0), (0.25, 0.5, 1.0, 2.0)
_ITERATIONS = (5, 15)
_BALANCES = (0.01, 0.1, 1.0)
# What a method is called that averages over mirror images.
_FLIPS = "mean over four flips"
_DRAWINGS = (".png", ".svg", ".pdf")
# The oracle compares on the central pixels of each picture: it takes hundreds of restorations.
_ORACLE_CROP = 128

_ORACLE_NOTE = (
    f"oracle: the kernel and strength that gain most on the central {_ORACLE_CROP}x{_ORACLE_CROP} "
    "pixels of the set's own pictures, chosen with sight of their truth; bound: for each "
    "neighbourhood the filter that brings it nearest to its truth"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Method:
    """A way to restore luminance.

    Attributes:
        name: What it is called in tables; methods of one name are variants of one thing.
        settings: How it was set, in words.
        restore: Callable from float32 (height, width, 1) in [0, 1] to the same, clipped.
        parameters: Number of learnt and fixed parameters.
        megabytes: Size on disk in 10^6 bytes.
        kind: `"network"`, `"classical"`, `"oracle"`, or `"bound"`: then `restore` takes the truth
            as a second argument, and is not timed.
    """

    name: str
    settings: str
    restore: Callable[..., np.ndarray]
    parameters: int = 0
    megabytes: float = 0.0
    kind: str = "classical"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.runs < 0:
        parser.error(f"--runs must not be negative. Received: {arguments.runs}")
    if arguments.oracle and not arguments.classical:
        parser.error("--oracle is about the classical methods. Leave --no-classical out.")
    if not arguments.pairs and not arguments.photos:
        parser.error("pictures are needed: --pairs FOLDER, or --photos FOLDER.")
    if arguments.blur and not arguments.photos:
        parser.error("pairs have their own blur. Received: --blur without --photos.")
    names = [folder.resolve().name for folder in arguments.pairs]
    if len(set(names)) < len(names):
        parser.error(
            "--pairs needs folders of different names, which stand in the table. "
            f"Received: {', '.join(map(str, arguments.pairs))}. Rename one."
        )
    # Hours of work should not end in an error about where to put the figures.
    for path in (arguments.csv, arguments.plot):
        if path and not path.parent.is_dir():
            parser.error(f"The folder of a result must exist. Received: {path}. Create it.")
    if arguments.plot and arguments.plot.suffix.lower() not in _DRAWINGS:
        parser.error(f"--plot must end in {', '.join(_DRAWINGS)}. Received: {arguments.plot}")
    console.start_logging()
    memory.keep_memory()
    console.import_tensorflow()
    from keras_refocus.evaluation import restorer
    from keras_refocus.restoration import tiling

    try:
        protocol = restorer.Protocol(
            border=arguments.border,
            tile=arguments.tile,
            overlap=tiling.default_overlap(arguments.tile)
            if arguments.overlap is None
            else arguments.overlap,
        )
        methods = networks(arguments.models, protocol, best=arguments.best, flips=arguments.flips)
        grids = []
        if arguments.classical:
            methods += _classical_methods(arguments)
            grids = oracle_grids() if arguments.oracle else []
        rows = _measure_all(_picture_sets(arguments), methods, grids, protocol, arguments)
        print(table(rows, size=arguments.size))
        if grids:
            print(f"\n{_ORACLE_NOTE}")
        if arguments.csv:
            write_csv(arguments.csv, rows)
        if arguments.plot:
            draw(arguments.plot, rows, size=arguments.size)
    except (ImportError, OSError, TypeError, ValueError) as error:
        parser.error(str(error))


def _classical_methods(arguments: argparse.Namespace) -> list[Method]:
    classical.require_scikit_image()
    methods = classical_methods(
        arguments.kernel,
        radius=arguments.radius,
        amount=arguments.amount,
        iterations=arguments.iterations,
        balance=arguments.balance,
    )
    return methods + bounds() if arguments.oracle else methods


def _picture_sets(arguments: argparse.Namespace) -> list:
    from keras_refocus.evaluation import sets

    blurs = [sets.synthetic_blur(name) for name in arguments.blur or ["evaluation"]]
    chosen = [
        sets.PictureSet(folder=folder, items=sets.pair_items(folder)) for folder in arguments.pairs
    ]
    if arguments.photos:
        items = sets.photo_items(arguments.photos)
        chosen += [
            sets.PictureSet(folder=arguments.photos, items=items, blur=blur) for blur in blurs
        ]
    return chosen


def networks(
    models: Sequence[tuple[str, pathlib.Path | None]], protocol: Any, *, best: bool, flips: bool
) -> list[Method]:
    """Load restorers.

    Args:
        models: Pairs of a label and what `models.load_restorer` takes; none stands for the
            installed restorer.
        protocol: `restorer.Protocol`: how a network sees a picture.
        best: Whether a run's best epoch counts instead of its last.
        flips: Whether each restorer is measured a second time, as `RestoreOptions.best` does.

    Raises:
        FileNotFoundError: There is no such model.
        ValueError: Two models have one label, or a model is no restorer.
    """
    from keras_refocus.evaluation.models import load_restorer

    models = models or [("restorer", None)]
    labels = [label for label, _ in models]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"Every model needs a label of its own. Received: '{label}' more than once. "
                "Write LABEL=PATH."
            )
    methods = []
    for label, path in models:
        network, file = load_restorer(path, best=best)
        for together in (False, True) if flips else (False,):
            seen = dataclasses.replace(protocol, flips=together)
            methods.append(
                Method(
                    name=label,
                    settings=_FLIPS if together else "one pass",
                    restore=functools.partial(seen.restore, network),
                    parameters=network.parameters,
                    megabytes=_bytes_on_disk(file) / 1e6,
                    kind="network",
                )
            )
    return methods


def classical_methods(
    kernels: Sequence[str], *, radius: float, amount: float, iterations: int, balance: float
) -> list[Method]:
    """The methods without learning, as they are told.

    Args:
        kernels: Descriptions for `classical.kernel`; each makes two methods.
        radius: Of the unsharp mask.
        amount: Of the unsharp mask.
        iterations: Of Richardson-Lucy.
        balance: Of the Wiener filter.

    Raises:
        ValueError: A description is none, or a number is out of range.
    """
    if iterations < 1:
        raise ValueError(f"There must be at least 1 iteration. Received: iterations={iterations}.")
    for name, value in (("radius", radius), ("balance", balance)):
        if not value > 0:
            raise ValueError(f"The {name} must be above 0. Received: {name}={value}.")
    return [
        _unsharp_mask(radius, amount),
        *(_richardson_lucy(text, iterations) for text in kernels),
        *(_wiener(text, balance) for text in kernels),
    ]


def oracle_grids() -> list[list[Method]]:
    """For each classical method, every setting that the oracle may choose."""
    return [
        [_unsharp_mask(*settings) for settings in itertools.product(_RADII, _AMOUNTS)],
        [_richardson_lucy(*settings) for settings in itertools.product(_KERNELS, _ITERATIONS)],
        [_wiener(*settings) for settings in itertools.product(_KERNELS, _BALANCES)],
    ]


def bounds() -> list[Method]:
    """What linear filters that vary slowly over the picture could reach, given the truth."""
    return [
        Method(
            name="linear filters, bound",
            settings=settings,
            restore=functools.partial(classical.local_filter_bound, symmetric=symmetric),
            kind="bound",
        )
        for symmetric, settings in ((True, "symmetric"), (False, "any"))
    ]


def choose(grid: Sequence[Method], pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Method:
    """Take the setting of the highest mean PSNR, the first of equal ones.

    Args:
        grid: Settings of one method.
        pairs: Blurred and sharp luminance, float32 (height, width, 1).
    """
    from keras_refocus.metrics import fidelity

    def quality(method):
        return np.mean(
            [
                fidelity.psnr(method.restore(blurred)[np.newaxis], sharp[np.newaxis])[0]
                for blurred, sharp in pairs
            ]
        )

    chosen = max(grid, key=quality)
    return dataclasses.replace(chosen, name=f"{chosen.name}, oracle", kind="oracle")


def measure(
    picture_set: Any,
    methods: Sequence[Method],
    protocol: Any,
    *,
    done: Callable[[], None] = lambda: None,
) -> list[dict]:
    """Measure what methods gain on one set.

    Args:
        picture_set: `sets.PictureSet`.
        methods: What to measure.
        protocol: `restorer.Protocol`: what is compared.
        done: Called after each restoration.

    Returns:
        For each method a dict of `set`, `pictures`, `method`, `settings`, `kind`, the means
        `input_psnr_l`, `gain_psnr_l`, `input_ssim_l` and `gain_ssim_l`, `worse` (pictures that
        lost PSNR), `megabytes` and `parameters`.

    Raises:
        ValueError: A picture cannot be read, or is smaller than the protocol needs.
    """
    from keras_refocus.evaluation import restorer

    inputs, results = [], [[] for _ in methods]
    for index in range(len(picture_set)):
        blurred, sharp = restorer.luminance_pair(picture_set, index, protocol)
        inputs.append(restorer.compare(sharp, blurred, protocol.border))
        for method, scores in zip(methods, results, strict=True):
            seen = (blurred, sharp) if method.kind == "bound" else (blurred,)
            scores.append(restorer.compare(sharp, method.restore(*seen), protocol.border))
            done()
    inputs = np.array(inputs)
    rows = []
    for method, scores in zip(methods, results, strict=True):
        gains = np.array(scores) - inputs
        rows.append(
            {
                "set": picture_set.label,
                "pictures": len(picture_set),
                "method": method.name,
                "settings": method.settings,
                "kind": method.kind,
                "input_psnr_l": float(inputs[:, 0].mean()),
                "gain_psnr_l": float(gains[:, 0].mean()),
                "input_ssim_l": float(inputs[:, 1].mean()),
                "gain_ssim_l": float(gains[:, 1].mean()),
                "worse": int((gains[:, 0] < 0).sum()),
                "megabytes": method.megabytes,
                "parameters": method.parameters,
            }
        )
    return rows


def _measure_all(sets, methods, grids, protocol, arguments) -> list[dict]:
    """Rows of every set; each method is timed once."""
    width, height = arguments.size
    plane = np.random.default_rng(0).random((height, width, 1), np.float32)
    times = {}
    rows = []
    pictures = sum(len(picture_set) for picture_set in sets)
    total = pictures * (len(methods) + len(grids))
    with console.progress_bar(total, label="measuring", unit="picture") as bar:
        for picture_set in sets:
            measured = methods
            if grids:
                pairs = _central_pairs(picture_set, protocol)
                measured = [*methods, *(choose(grid, pairs) for grid in grids)]
            found = measure(picture_set, measured, protocol, done=bar.update)
            for method, row in zip(measured, found, strict=True):
                key = method.name.removesuffix(", oracle"), method.settings
                if arguments.runs and key not in times and method.kind != "bound":
                    times[key] = machine.median_times(
                        functools.partial(method.restore, plane), runs=arguments.runs
                    )
                row["seconds"], row["processor_seconds"] = times.get(key, (None, None))
            rows += found
    return rows


def _central_pairs(picture_set, protocol) -> list[tuple[np.ndarray, np.ndarray]]:
    """The middle of every pair of a set, luminance."""
    from keras_refocus.evaluation import restorer

    pairs = []
    for index in range(len(picture_set)):
        pair = restorer.luminance_pair(picture_set, index, protocol)
        top, left = (max(side - _ORACLE_CROP, 0) // 2 for side in pair[0].shape[:2])
        window = np.s_[top : top + _ORACLE_CROP, left : left + _ORACLE_CROP]
        pairs.append(tuple(plane[window].copy() for plane in pair))
    return pairs


def _unsharp_mask(radius: float, amount: float) -> Method:
    return Method(
        name="unsharp mask",
        settings=f"radius {radius:g}, amount {amount:g}",
        restore=functools.partial(classical.unsharp_mask, radius=radius, amount=amount),
    )


def _richardson_lucy(kernel: str, iterations: int) -> Method:
    return Method(
        name="Richardson-Lucy",
        settings=f"{kernel}, {iterations} iterations",
        restore=functools.partial(
            classical.richardson_lucy,
            point_spread=classical.kernel(kernel),
            iterations=iterations,
        ),
    )


def _wiener(kernel: str, balance: float) -> Method:
    return Method(
        name="Wiener",
        settings=f"{kernel}, balance {balance:g}",
        restore=functools.partial(
            classical.wiener, point_spread=classical.kernel(kernel), balance=balance
        ),
    )


def _bytes_on_disk(path: pathlib.Path) -> int:
    """Size of a file, or of all files below a folder."""
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())


# What is written


def table(rows: Sequence[dict], *, size: tuple[int, int]) -> str:
    """Set the figures as Markdown tables, one for each set, with the machine above them.

    Args:
        rows: What `measure` returned, with `seconds` and `processor_seconds`, None if not timed.
        size: Width and height of the plane that was timed.
    """
    at = f"{size[0]}x{size[1]}"
    titles = [
        "method",
        "settings",
        "dB gained",
        "SSIM gained",
        "worse",
        f"seconds {at}",
        "processor seconds",
        "MB",
        "parameters (M)",
    ]
    parts = [machine.describe()]
    for label, members in itertools.groupby(rows, key=lambda row: row["set"]):
        members = list(members)
        lines = [titles, ["---", "---", *["---:"] * (len(titles) - 2)]]
        for row in members:
            lines.append(
                [
                    row["method"],
                    row["settings"],
                    f"{row['gain_psnr_l']:+.2f}",
                    f"{row['gain_ssim_l']:+.4f}",
                    f"{row['worse']} of {row['pictures']}",
                    *(
                        "" if row[kind] is None else f"{row[kind]:.2f}"
                        for kind in ("seconds", "processor_seconds")
                    ),
                    *(
                        f"{value:{form}}" if row["kind"] == "network" else ""
                        for value, form in (
                            (row["megabytes"], ".1f"),
                            (row["parameters"] / 1e6, ".2f"),
                        )
                    ),
                ]
            )
        first = members[0]
        parts.append(
            f"{label}: input {first['input_psnr_l']:.2f} dB, SSIM {first['input_ssim_l']:.4f} (L)"
        )
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return "\n\n".join(parts)


def write_csv(path: pathlib.Path, rows: Sequence[dict]) -> None:
    """Write the rows as they are, numbers with six digits after the point."""
    with files.replacing(path) as target, target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {
                    name: f"{value:.6f}" if isinstance(value, float) else value
                    for name, value in row.items()
                }
            )


_MARKERS = {"network": "o", "classical": "s", "oracle": "D"}


def draw(path: pathlib.Path, rows: Sequence[dict], *, size: tuple[int, int]) -> None:
    """Draw dB gained against seconds and against megabytes, a row of panels for each set.

    What loses more than the best method gains stands on the lower edge, its loss written beside it.

    Args:
        path: File of the picture; its suffix chooses the format.
        rows: As for `table`. Without times the panels of seconds are left out.
        size: Width and height of the plane that was timed.
    """
    # Without pyplot: it would choose a window system for the whole process.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    axes_of = {"megabytes": "MB on disk (no weights: 0)"}
    if rows[0]["seconds"] is not None:
        axes_of = {"seconds": f"seconds for {size[0]}x{size[1]}"} | axes_of
    labels = list(dict.fromkeys(row["set"] for row in rows))
    names = list(dict.fromkeys(row["method"].removesuffix(", oracle") for row in rows))
    figure = Figure(figsize=(4.5 * len(axes_of) + 3, 3.6 * len(labels)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(labels), len(axes_of), squeeze=False)
    entries = {}
    for label, line in zip(labels, panels, strict=True):
        members = [row for row in rows if row["set"] == label]
        floor = -max(0.25, *(row["gain_psnr_l"] for row in members))
        for axis, (measure_name, title) in zip(line, axes_of.items(), strict=True):
            below = 0
            for row in members:
                if row["kind"] == "bound":
                    text = f"{row['method']} ({row['settings']})"
                    style = "--" if row["settings"] == "symmetric" else ":"
                    mark = axis.axhline(
                        row["gain_psnr_l"], color="gray", linewidth=1.0, linestyle=style
                    )
                    entries.setdefault(text, mark)
                    continue
                color = f"C{names.index(row['method'].removesuffix(', oracle')) % 10}"
                flips = row["settings"] == _FLIPS
                text = row["method"] + (", flips" if flips else "")
                place = row[measure_name], max(row["gain_psnr_l"], floor)
                points = axis.plot(
                    *place,
                    marker="^" if flips else _MARKERS[row["kind"]],
                    color=color,
                    markerfacecolor="none" if row["kind"] == "oracle" else color,
                    linestyle="none",
                )
                entries.setdefault(text, points[0])
                if row["gain_psnr_l"] < floor:
                    axis.annotate(
                        f"{row['gain_psnr_l']:.1f}",
                        place,
                        xytext=(6, 4 + 8 * below),
                        textcoords="offset points",
                        fontsize=7,
                        color=color,
                    )
                    below += 1
            axis.axhline(0, color="gray", linewidth=0.8)
            axis.set_title(label, fontsize=9)
            axis.set_xlabel(title)
            axis.set_ylabel("PSNR of L gained, dB")
            axis.grid(alpha=0.3)
            if measure_name == "seconds":
                axis.set_xscale("log")
    figure.legend(
        entries.values(), entries.keys(), loc="outside right upper", fontsize=8, frameon=False
    )
    with files.replacing(path, keep_suffix=True) as temporary:
        figure.savefig(temporary, dpi=110)


def _model(text: str) -> tuple[str, pathlib.Path]:
    """A label and a path from `LABEL=PATH` or a path alone."""
    label, separator, path = text.partition("=")
    if separator and not pathlib.Path(text).exists():
        if not label or not path:
            raise argparse.ArgumentTypeError(f"must be LABEL=PATH, or a path: {text!r}")
        return label, pathlib.Path(path)
    return pathlib.Path(text).resolve().name, pathlib.Path(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="refocus benchmark quality", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "models",
        nargs="*",
        type=_model,
        metavar="[LABEL=]MODEL",
        help="SavedModel folders, run folders or .keras files (default: the installed restorer)",
    )
    parser.add_argument(
        "--pairs",
        nargs="+",
        type=pathlib.Path,
        default=[],
        metavar="FOLDER",
        help="one or more sets of pairs: blur/ and sharp/ inside",
    )
    parser.add_argument(
        "--photos", type=pathlib.Path, metavar="FOLDER", help="sharp photos, blurred with seed 0"
    )
    parser.add_argument(
        "--blur",
        nargs="+",
        metavar="NAME",
        help="synthetic blur of the photos, one or more of the settings of "
        "keras_refocus.blur (default: evaluation)",
    )
    models = parser.add_argument_group("models")
    options.add_best_epoch(models)
    models.add_argument(
        "--flips",
        action="store_true",
        help="measure each model a second time as `refocus restore --best` restores",
    )
    options.add_tiles(models)
    _add_classical(parser.add_argument_group("classical methods"))
    _add_protocol(parser.add_argument_group("protocol and outputs"))
    return parser


def _add_classical(peers) -> None:
    peers.add_argument(
        "--classical",
        action=argparse.BooleanOptionalAction,
        default=True,
        help='measure them too; needs scikit-image: pip install "keras_refocus[benchmark]"',
    )
    peers.add_argument(
        "--kernel",
        nargs="+",
        default=["motion:5:0", "disk:1"],
        metavar="KERNEL",
        help="what deconvolution is told: motion:LENGTH:ANGLE or disk:RADIUS, in pixels and "
        "degrees (default: motion:5:0 disk:1)",
    )
    peers.add_argument(
        "--radius", type=float, default=2.0, help="of the unsharp mask (default: %(default)s)"
    )
    peers.add_argument(
        "--amount", type=float, default=0.5, help="of the unsharp mask (default: %(default)s)"
    )
    peers.add_argument(
        "--iterations", type=int, default=10, help="of Richardson-Lucy (default: %(default)s)"
    )
    peers.add_argument(
        "--balance", type=float, default=0.1, help="of the Wiener filter (default: %(default)s)"
    )
    peers.add_argument(
        "--oracle",
        action="store_true",
        help="each of them once more, with the best of a grid of settings for the set, and what "
        "linear filters could reach that are fitted to the truth",
    )


def _add_protocol(protocol) -> None:
    options.add_border(protocol)
    protocol.add_argument(
        "--size",
        type=options.parse_size,
        default=(1280, 720),
        metavar="WIDTHxHEIGHT",
        help="luminance plane that is timed (default: 1280x720)",
    )
    protocol.add_argument(
        "--runs", type=int, default=3, help="timed runs, 0 for no timing (default: %(default)s)"
    )
    protocol.add_argument("--csv", type=pathlib.Path, metavar="FILE", help="write the figures")
    protocol.add_argument(
        "--plot",
        type=pathlib.Path,
        metavar="FILE",
        help="draw dB gained against seconds and against MB, as PNG, SVG or PDF",
    )


if __name__ == "__main__":
    sys.exit(main())
