"""Options that several commands share: one name, one meaning, one wording of the help.

Each `add_...` adds to a parser or to a group of one. What has to do with models in folders and on
servers is in `engines.options`.
"""

import argparse
import pathlib
from collections.abc import Callable
from typing import Any, Protocol


class Options(Protocol):
    """What options can be added to: a parser, or a group of one."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """As `argparse.ArgumentParser.add_argument`."""


def positive(text: str) -> int:
    """Read a whole number of at least 1, as a `type` of argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def not_negative(text: str) -> int:
    """Read a whole number of at least 0, as a `type` of argparse."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must not be negative, got {text}")
    return value


def parse_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT, as a `type` of argparse.

    Returns:
        `(width, height)`, both at least 1.
    """
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT, such as 1280x720: {text!r}")
    return int(sides[0]), int(sides[1])


def add_verbose(parser: Options, what: str = "say what is being done") -> None:
    """Add `--verbose`."""
    parser.add_argument("--verbose", action="store_true", help=what)


def add_json(parser: Options) -> None:
    """Add `--json`, of commands that print a table."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def add_score_files(
    group: Options, kind: Callable[[str], pathlib.Path | str] = pathlib.Path
) -> None:
    """Add `--csv` and `--json`, of commands that measure pictures.

    Args:
        group: Where they are added.
        kind: Makes a file of a text, as a `type` of argparse.
    """
    group.add_argument("--csv", type=kind, metavar="FILE", help="scores of each picture")
    group.add_argument("--json", type=kind, metavar="FILE", help="the report as JSON")


def add_best_epoch(group: Options) -> None:
    """Add `--best`, of commands that take the network of a run."""
    group.add_argument(
        "--best", action="store_true", help="of a run take the best epoch instead of the last"
    )


def add_tiles(group: Options) -> None:
    """Add `--tile` and `--overlap`, of commands that restore whole pictures unless told."""
    group.add_argument(
        "--tile", type=int, metavar="N", help="restore in tiles of N pixels (default: at once)"
    )
    group.add_argument("--overlap", type=int, metavar="N", help="overlap of the tiles in pixels")


def add_border(group: Options) -> None:
    """Add `--border`, of commands that compare pictures."""
    group.add_argument(
        "--border", type=int, default=0, metavar="N", help="leave out N pixels on each side"
    )


def add_color_tuning(group: Options) -> None:
    """Add `--temperature`, `--gain` and what else `networks.tune_colors` takes."""
    group.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="of a colorizer that predicts a distribution over colours: temperature of its "
        "annealed mean, in (0, 1]; lower gives more colour (default: as it was trained)",
    )
    group.add_argument(
        "--gain",
        type=float,
        metavar="G",
        help="of such a colorizer: factor on its chroma, above 0 (default: as it was)",
    )
    group.add_argument(
        "--smoothing",
        type=int,
        metavar="R",
        help="of such a colorizer: radius, in pixels of the chroma that it predicts, within which "
        "a plain surface is to have one colour (default: 0, none)",
    )
    group.add_argument(
        "--several-views",
        action="store_true",
        help="of such a colorizer: take the mean over the picture, its mirror image, and both at "
        "three quarters of the size, which takes three times as long",
    )
