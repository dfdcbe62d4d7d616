"""Measure what a coded aperture tells of motion: the table of three networks.

    refocus benchmark motion --photos my_photos --pretrained saved_models/motion \\
        --standard runs/standard --coded runs/coded
    refocus benchmark motion --footage my_frames --work frames_between

Pre-trained: a network of synthetic blur; re-trained: networks of one and the same number of steps
that see colours, through a plain lens and through the phase-coded aperture of Elmalem et al. 2020.
A network that is left out is the classical search for lines in its place, which is also what it
starts from. All are shown the same scenes and motions; only light takes another way for the coded
ones.

What is averaged are photos that are exposed while they move, high-speed clips, or ordinary footage
between whose frames five others are made first (`video.interpolation`): each two neighbouring
frames are then one exposure.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from keras_refocus.evaluation import models, motion
from keras_refocus.pictures import catalogue, color, images
from keras_refocus.system import console, files, options
from keras_refocus.video import from_blur, interpolation, optical_flow

DEFINITIONS = """\
On luminance; PSNR of the mean squared error of all pictures, SSIM the mean over them. six: the
frames without the middle one. Of pictures of a plain lens the better of both directions counts;
"as given": neither is chosen. direction: share of the pictures in which something moves whose given
direction is the better one."""


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    console.start_logging()
    console.import_tensorflow()
    from keras_refocus.engines.local import LocalEngine

    try:
        clips = arguments.clips
        if arguments.footage is not None:
            clips = frames_between(arguments.footage, arguments.work)
        networks = {
            name: None if path is None else models.load_motion(path)[0]
            for name, path in (
                ("pre-trained", arguments.pretrained),
                ("standard", arguments.standard),
                ("coded", arguments.coded),
            )
        }
        engine = LocalEngine(arguments.models)
        rows = table(
            networks,
            engine,
            arguments.restorer,
            photos=arguments.photos,
            clips=clips,
            count=arguments.count,
            size=arguments.size,
            seed=arguments.seed,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(DEFINITIONS + "\n\n" + as_text(rows))
    if arguments.json:
        files.write_json(arguments.json, {"rows": rows})
    return None


def table(
    networks: dict[str, Any], engine: Any, restorer: str, **measured: Any
) -> list[dict[str, Any]]:
    """Measure networks on the same scenes, through a plain lens and through the coded aperture.

    Args:
        networks: Dict from "pre-trained", "standard" and "coded" to `models.Network`, or to `None`
            for the classical search.
        engine: `engines.contract.Engine` that has the restorer.
        restorer: Its name.
        **measured: `photos` or `clips`, and what else `evaluation.motion.Protocol` takes.

    Returns:
        List of JSON-ready dicts, one a row.
    """
    folders = {name: measured.pop(name, None) for name in ("photos", "clips")}
    rows = []
    for coded in (False, True):
        exposed = motion.exposures_of(motion.Protocol(coded=coded, **measured), **folders)
        names = ["coded"] if coded else ["pre-trained", "standard"]
        given = [(name, networks[name]) for name in names if networks[name] is not None]
        scored = motion.score(exposed, engine, restorer, given, coded=coded)
        found = {row.name: motion.summary(row) for row in scored}
        for name in names:
            if networks[name] is not None:
                rows.append(found[name])
            else:
                rows.append(found[motion.CLASSICAL] | {"name": f"{name} (classical)"})
    return rows


def as_text(rows: Sequence[dict[str, Any]]) -> str:
    """A table of the rows, as Markdown, and what the code gains."""
    heads = ["", "six, PSNR", "six, as given", "middle, PSNR", "six, SSIM", "middle, SSIM"]
    heads.append("direction")
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in rows:
        names = ("pooled_others_psnr", "given_others_psnr", "pooled_middle_psnr")
        cells = [row["name"], *(f"{row[name]:.2f}" for name in names)]
        cells += [f"{row[name]:.3f}" for name in ("others_ssim", "middle_ssim")]
        cells.append(f"{100 * row['forward']:.0f}% of {row['moving']}")
        lines.append("| " + " | ".join(cells) + " |")
    standard, coded = (row["given_others_psnr"] for row in rows[1:])
    lines += ["", f"coded against standard, no direction chosen: {coded - standard:+.2f} dB (six)"]
    return "\n".join(lines)


def frames_between(footage: pathlib.Path, work: pathlib.Path) -> pathlib.Path:
    """Make clips of seven frames out of each two neighbouring frames of ordinary footage.

    Args:
        footage: Folder of frames, named `<sequence>_<number>`, or of a folder for each sequence.
        work: Folder for the clips; those that are there are kept.

    Returns:
        `work`.

    Raises:
        ValueError: If no sequence has two frames of one size.
    """
    sequences: dict[str, list[pathlib.Path]] = {}
    for path in map(pathlib.Path, catalogue.list_photos(footage)):
        name = path.stem.rpartition("_")[0] or path.parent.name
        sequences.setdefault(name, []).append(path)
    made = 0
    for name, paths in sorted(sequences.items()):
        paths.sort()
        for number, pair in enumerate(zip(paths, paths[1:], strict=False)):
            made += _clip_of(pair, work / f"{name}_{number:04}")
    if not made:
        raise ValueError(
            "Footage has sequences of at least two frames of one size, named like 000_0001.png. "
            f"Received: {footage}, where none are. Cut videos into frames: "
            "ffmpeg -i clip.mp4 frames/clip_%06d.png"
        )
    return work


def _clip_of(pair, folder):
    """Write seven frames from the first of two to the second; returns whether they are there."""
    paths = [folder / f"{number}.png" for number in range(from_blur.FRAMES)]
    if all(path.is_file() for path in paths):
        return True
    first, last = (color.to_float(images.read(path).rgb) for path in pair)
    if first.shape != last.shape:
        return False
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, last)]
    forward, backward = optical_flow.estimate(*gray), optical_flow.estimate(*gray[::-1])
    planes = [[np.ascontiguousarray(one) for one in np.moveaxis(f, -1, 0)] for f in (first, last)]
    places = np.linspace(0, 1, from_blur.FRAMES)[1:-1]
    between = [
        np.stack(interpolation.between(*planes, forward, backward, float(place)), axis=-1)
        for place in places
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for path, frame in zip(paths, [first, *between, last], strict=True):
        rgb = color.from_float(np.clip(frame, 0, 1).astype(np.float32), np.uint8)
        with files.replacing(path, keep_suffix=True) as temporary:
            cv2.imwrite(str(temporary), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark motion",
        description="What the phase-coded aperture tells of motion: networks of a plain lens and "
        "of the coded one, on the same scenes.",
        epilog="example: refocus benchmark motion --photos my_photos --coded runs/coded",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    for name, what in (
        ("photos", "sharp photos, which move while they are exposed"),
        ("clips", "high-speed clips, each a folder of numbered frames"),
        ("footage", "ordinary footage: frames named <sequence>_<number>"),
    ):
        source.add_argument(f"--{name}", type=pathlib.Path, metavar="FOLDER", help=what)
    parser.add_argument(
        "--work",
        type=pathlib.Path,
        default=pathlib.Path("frames_between"),
        metavar="FOLDER",
        help="where the clips of --footage are kept (default: %(default)s)",
    )
    for name, what in (
        ("pretrained", "network of synthetic blur"),
        ("standard", "network of a plain lens that sees colours"),
        ("coded", "network of the coded aperture"),
    ):
        parser.add_argument(
            f"--{name}",
            type=pathlib.Path,
            metavar="MODEL",
            help=f"{what}: SavedModel, run or .keras file (default: the classical search)",
        )
    for name, default, what in (
        ("count", 64, "exposures"),
        ("size", 192, "side in pixels"),
    ):
        parser.add_argument(
            f"--{name}",
            type=options.positive,
            default=default,
            metavar="N",
            help=f"{what} (default: %(default)s)",
        )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the motion")
    parser.add_argument("--models", metavar="DIR", help="folder with the restorer")
    parser.add_argument("--restorer", default="restorer", metavar="NAME", help="its name")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="write the rows as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
