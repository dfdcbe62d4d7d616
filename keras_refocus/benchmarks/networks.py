"""Print what each generator costs: parameters, operations, size on disk, time on this machine.

    refocus benchmark networks
    refocus benchmark networks unet nafnet --options '{"nafnet": {"width": 16}}'

Operations are multiply-accumulates of convolutions, counted from the layers. Seconds are those of a
clock on the wall; processor seconds add up what all cores worked, and depend less on what else the
machine does. Beside them stands what the papers report for their networks, which have three
channels in and out.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from keras_refocus.system import console, machine
from keras_refocus.system.options import add_json, parse_size

# GoPro test PSNR on RGB in dB, and operations in G, as printed. Operations are those of the table
# in the DeblurGAN-v2 paper (which does not say whether additions count as operations of their own,
# nor the picture's size), or of the network's own paper where that is named.
PUBLISHED = {
    "resnet": {"psnr": 28.70, "operations": "678.29", "source": "Kupyn 2019, table 1"},
    "fpn_inception_resnet_v2": {
        "psnr": 29.55,
        "operations": "411.34",
        "source": "Kupyn 2019, table 1",
    },
    "fpn_mobilenet_v2": {"psnr": 28.17, "operations": "43.75", "source": "Kupyn 2019, table 1"},
    "fpn_mobilenet_dsc": {"psnr": 28.03, "operations": "14.83", "source": "Kupyn 2019, table 1"},
    "multipatch": {"psnr": 30.21, "operations": "", "source": "Zhang 2019"},
    "scale_recurrent": {
        "psnr": 30.26,
        "operations": "1434.82",
        "source": "Tao 2018; Kupyn 2019, table 1",
    },
    "multiscale": {
        "psnr": 29.08,
        "operations": "1760.04",
        "source": "Nah 2017; Kupyn 2019, table 1",
    },
    "nafnet": {"psnr": 32.87, "operations": "16 at 256x256", "source": "Chen 2022"},
}


PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")

_TIMES = ("seconds", "processor_seconds")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    console.import_tensorflow()
    from keras_refocus import networks

    names = arguments.networks or list(networks.GENERATORS)
    for name in [*names, *arguments.options]:
        if name not in networks.GENERATORS:
            parser.error(
                f"networks must be of {', '.join(networks.GENERATORS)}. Received: {name!r}."
            )
    rows = []
    with console.progress_bar(len(names), label="networks") as bar:
        for name in names:
            options = arguments.options.get(name, {})
            try:
                figures = {"runs": arguments.runs, "precision": arguments.precision}
                rows.append(measure(name, options, size=arguments.size, **figures))
            except (OSError, TypeError, ValueError) as error:
                parser.error(str(error))
            bar.update()
    if arguments.json:
        report = {"machine": machine.describe(), "size": list(arguments.size)}
        report |= {"precision": arguments.precision, "networks": rows}
        print(json.dumps(report, indent=2))
    else:
        print(table(rows, size=arguments.size, precision=arguments.precision))


def measure(
    name: str, options: dict, *, size: tuple[int, int], runs: int, precision: str = "float32"
) -> dict:
    """Build a generator and measure it.

    Args:
        name: A key of `networks.GENERATORS`.
        options: Its options. Backbones are built with random weights unless `weights` is given.
        size: Width and height in pixels of the large picture.
        runs: Number of timed runs, whose median counts; 0 leaves the time out. One run more warms
            the network up.
        precision: Dtype policy of the layers, one of `PRECISIONS`; weights stay float32.

    Returns:
        The figures, ready for JSON: `name`, `parameters`, `gmacs_256`, `gmacs`, `megabytes`,
        `seconds`, `processor_seconds` (both None without runs) and `published`.
    """
    import keras
    import numpy as np

    from keras_refocus import networks
    from keras_refocus.networks import costs

    if "weights" in networks.options(name):
        options = {"weights": None} | options
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        network = networks.build(name, **options)
    finally:
        keras.config.set_dtype_policy(policy)
    width, height = size
    seconds = processor_seconds = None
    if runs:
        picture = np.random.default_rng(0).random((1, height, width, 1), dtype="float32")
        seconds, processor_seconds = machine.median_times(
            lambda: network.predict_on_batch(picture), runs=runs
        )
    return {
        "name": name,
        "options": options,
        "parameters": costs.count_parameters(network),
        "gmacs_256": costs.count_macs(network, 256, 256) / 1e9,
        "gmacs": costs.count_macs(network, height, width) / 1e9,
        "megabytes": costs.bytes_on_disk(network) / 1e6,
        "seconds": seconds,
        "processor_seconds": processor_seconds,
        "published": PUBLISHED.get(name),
    }


def table(rows: list[dict], *, size: tuple[int, int], precision: str = "float32") -> str:
    """Set the figures as a Markdown table, with the machine above it.

    Args:
        rows: What `measure` returned.
        size: Width and height that the rows were measured at.
        precision: Dtype policy that they were measured with.
    """
    at = f"{size[0]}x{size[1]}"
    titles = [
        "network",
        "parameters (M)",
        "GMAC 256x256",
        f"GMAC {at}",
        "MB",
        f"seconds {at}",
        f"processor seconds {at}",
        "paper: GoPro PSNR",
        "paper: G operations",
    ]
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)]]
    for row in rows:
        published = row["published"] or {}
        lines.append(
            [
                row["name"],
                f"{row['parameters'] / 1e6:.2f}",
                f"{row['gmacs_256']:.2f}",
                f"{row['gmacs']:.1f}",
                f"{row['megabytes']:.1f}",
                *("" if row[kind] is None else f"{row[kind]:.2f}" for kind in _TIMES),
                f"{published['psnr']:.2f}" if published else "",
                published.get("operations", ""),
            ]
        )
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    sources = sorted({row["published"]["source"] for row in rows if row["published"]})
    notes = f"Papers: {'; '.join(sources)}." if sources else ""
    title = machine.describe() + ("" if precision == "float32" else f"; {precision}")
    return f"{title}\n\n{body}\n\n{notes}".rstrip()


def _options(text: str) -> dict:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise argparse.ArgumentTypeError(f"must be JSON: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(v, dict) for v in value.values()):
        raise argparse.ArgumentTypeError(
            f'must map networks to options, such as {{"nafnet": {{"width": 16}}}}: {text}'
        )
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="refocus benchmark networks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("networks", nargs="*", help="generators; all of them by default")
    parser.add_argument(
        "--size",
        type=parse_size,
        default=(1280, 720),
        metavar="WIDTHxHEIGHT",
        help="large picture (default: 1280x720)",
    )
    parser.add_argument(
        "--runs", type=int, default=3, help="timed runs, 0 for no timing (default: %(default)s)"
    )
    parser.add_argument(
        "--options",
        type=_options,
        default={},
        metavar="JSON",
        help="options of the generators, by their names",
    )
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the calculation; weights stay float32 (default: %(default)s)",
    )
    add_json(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
