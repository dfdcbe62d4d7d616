"""Measure rate and memory of a build on a generated set, and what the full one would take.

    python -m tfds_builders.benchmark coco_lab --images 8000

Makes JPEG photos of 640 x 480, or pairs of 1280 x 720 as PNG, with as much fine texture as cameras
leave, and runs `tfds build` on them as a user does. Memory is that of the command and all that it
starts, sampled five times a second.
"""

import argparse
import functools
import json
import os
import pathlib
import shutil
import sys
import tempfile
import time

import cv2
import numpy as np
import psutil

from keras_refocus.data import integrity
from keras_refocus.system import machine

_FULL = {"coco_lab": 118_287 + 5_000, "hide": 8_422}
_CONFIG = {"coco_lab": "256", "hide": "8bit"}


def main(argv=None):
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tfds_builders.benchmark",
        description="Measure rate and memory of a build on a generated set.",
    )
    parser.add_argument("data_set", choices=_FULL)
    parser.add_argument("--images", type=int, default=5000, help="images, or pairs of hide")
    parser.add_argument(
        "--beam-pipeline-options", metavar="OPTIONS", help="handed on to `tfds build`"
    )
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        help="where the set is made and built (default: among temporary files)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave it in --folder, to train or measure on"
    )
    arguments = parser.parse_args(argv)
    if arguments.keep and arguments.folder is None:
        parser.error("--keep needs a --folder to leave the set in.")
    folder = arguments.folder
    if not arguments.keep:
        folder = pathlib.Path(tempfile.mkdtemp(dir=arguments.folder, prefix="benchmark-"))
    try:
        make = {"coco_lab": make_coco, "hide": make_hide}[arguments.data_set]
        make(folder / "manual" / arguments.data_set, arguments.images)
        figures = measure(
            arguments.data_set, folder, beam_pipeline_options=arguments.beam_pipeline_options
        )
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    scale = _FULL[arguments.data_set] / arguments.images
    figures = {"images": arguments.images, "machine": machine.describe()} | figures
    figures["full_set"] = {
        "images": _FULL[arguments.data_set],
        "hours": round(figures["seconds"] * scale / 3600, 2),
        "gigabytes": round(figures["megabytes"] * scale / 1000, 1),
    }
    if arguments.keep:
        figures["data_dir"] = str(folder / "data")
    print(json.dumps(figures, indent=2))


def photo(seed: int, *, height: int, width: int) -> np.ndarray:
    """A picture of large shapes, finer ones, and noise, uint8 of shape `(height, width, 3)`.

    The large shapes are its own; the fine ones, which take longest to make, are cut at random out
    of a few that all pictures share.
    """
    rng = np.random.default_rng(seed)
    shapes = rng.random((3, 4, 3), np.float32) - 0.5
    rgb = cv2.resize(shapes, (width, height), interpolation=cv2.INTER_CUBIC)
    texture = _texture(int(rng.integers(_TEXTURES)), 2 * height, 2 * width)
    top, left = rng.integers(height), rng.integers(width)
    fine = texture[top : top + height, left : left + width]
    rgb = cv2.addWeighted(rgb, 255 * 0.6, fine, 255.0, 127.5)
    return rgb.clip(0, 255).astype(np.uint8)


_TEXTURES = 4


@functools.cache
def _texture(seed, height, width):
    """Shapes of three sizes, and noise: float32 of shape `(height, width, 3)`, mean 0."""
    rng = np.random.default_rng([seed, height])
    rgb = np.zeros((height, width, 3), np.float32)
    for cells, weight in ((32, 0.3), (128, 0.15), (512, 0.08)):
        noise = rng.random((cells * 3 // 4, cells, 3), np.float32) - 0.5
        rgb += weight * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    rgb += 0.02 * rng.standard_normal(rgb.shape, np.float32)
    return rgb


def make_coco(folder: pathlib.Path, count: int):
    """Write `train2017` and `val2017`, the latter with 4% of the pictures."""
    tested = max(1, count // 25)
    for part in ("train2017", "val2017"):
        (folder / part).mkdir(parents=True)

    def write(seed):
        part = "val2017" if seed < tested else "train2017"
        rgb = photo(seed, height=480, width=640)
        path = folder / part / f"{seed:012}.jpg"
        cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])

    _do_all(write, count)


def make_hide(folder: pathlib.Path, count: int):
    """Write pairs in the official layout of HIDE, a quarter of them to test on."""
    for part in ("train", "test/test-close-ups", "GT"):
        (folder / part).mkdir(parents=True)

    def write(seed):
        name = f"{seed}fromGOPR{1000 + seed // 5}.MP4.png"
        sharp = photo(seed, height=720, width=1280)
        part = "test/test-close-ups" if seed % 20 < 5 else "train"
        cv2.imwrite(str(folder / part / name), cv2.blur(sharp, (15, 1)))
        cv2.imwrite(str(folder / "GT" / name), sharp)

    _do_all(write, count)


def _do_all(function, count):
    for _ in integrity.map_in_threads(function, range(count)):
        pass


def measure(
    data_set: str, folder: pathlib.Path, *, beam_pipeline_options: str | None = None
) -> dict:
    """Build a set out of `folder/manual/<data_set>` and watch it.

    Returns:
        Seconds, processor seconds, images a second, largest memory in MiB, megabytes of the result.
    """
    checkout = pathlib.Path(__file__).parent
    command = [
        str(pathlib.Path(sys.executable).with_name("tfds")),
        "build",
        str(checkout / data_set),
        f"--config={_CONFIG[data_set]}",
        f"--manual_dir={folder / 'manual' / data_set}",
        f"--data_dir={folder / 'data'}",
    ]
    if beam_pipeline_options is not None:
        command.append(f"--beam_pipeline_options={beam_pipeline_options}")
    paths = [str(checkout.parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    start = time.monotonic()
    with (folder / "log.txt").open("wb") as log:
        process = psutil.Popen(command, env=environment, stdout=log, stderr=log)
        most, processor = 0, 0.0
        while process.poll() is None:
            memory, processor = _sample(process, processor)
            most = max(most, memory)
            time.sleep(0.2)
    seconds = time.monotonic() - start
    if process.returncode:
        said = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"The build must succeed. Received: {command}, which said\n{said}")
    built = folder / "data" / data_set
    report = json.loads(next(built.rglob("report.json")).read_text(encoding="utf-8"))
    examples = sum(report["examples"].values())
    size = sum(path.stat().st_size for path in built.rglob("*.tfrecord*"))
    return {
        "examples": examples,
        "seconds": round(seconds, 1),
        "images_per_second": round(examples / seconds, 1),
        "processor_seconds": round(processor, 1),
        "largest_memory_mib": round(most / 2**20),
        "megabytes": round(size / 1e6, 1),
        "kilobytes_per_example": round(size / 1000 / examples, 1),
    }


def _sample(process, processor):
    """Resident memory of a process and its children, and processor seconds so far."""
    memory = seconds = 0
    try:
        for each in (process, *process.children(recursive=True)):
            memory += each.memory_info().rss
            seconds += sum(each.cpu_times()[:2])
    except psutil.NoSuchProcess:  # It ended while it was looked at.
        return memory, processor
    return memory, max(processor, seconds)


if __name__ == "__main__":
    main()
