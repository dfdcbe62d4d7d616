"""Contact sheet of synthetic exposures, to look at, and how fast they are made.

`refocus curate my_photos/ --show-blur sheet.png` draws one too.

python -m keras_refocus.data.blur_sheet my_photos/ --out sheet.png
python -m keras_refocus.data.blur_sheet my_photos/ --benchmark 10 --workers 4
"""

import argparse
import concurrent.futures
import multiprocessing
import pathlib
import time
from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image

from keras_refocus.blur import exposure
from keras_refocus.data import sampling
from keras_refocus.pictures import catalogue, color
from keras_refocus.system import files, options


def main(argv: Sequence[str] | None = None) -> None:
    """Write a contact sheet, measure speed, or both."""
    parser = argparse.ArgumentParser(
        prog="python -m keras_refocus.data.blur_sheet",
        description="Show or time the synthesis of blurred photos.",
    )
    parser.add_argument("folder", type=pathlib.Path, help="sharp photos, also in sub-folders")
    parser.add_argument(
        "--out", type=pathlib.Path, help="picture to write: each sample sharp, then blurred"
    )
    parser.add_argument(
        "--preset", choices=sorted(exposure.SETTINGS), default="mixed", help="kind of blur"
    )
    parser.add_argument("--seed", type=options.not_negative, default=0, help="another sheet")
    parser.add_argument(
        "--size", type=options.positive, default=256, help="side of a sample in pixels"
    )
    parser.add_argument("--rows", type=options.positive, default=6, help="rows of the sheet")
    parser.add_argument("--columns", type=options.positive, default=4, help="samples in a row")
    parser.add_argument("--labels", action="store_true", help="write the kind of each exposure")
    parser.add_argument(
        "--benchmark", type=float, metavar="SECONDS", help="measure patches a second this long"
    )
    parser.add_argument(
        "--workers",
        type=options.positive,
        default=1,
        help="processes of the benchmark, one thread each",
    )
    arguments = parser.parse_args(argv)
    if arguments.out is None and arguments.benchmark is None:
        parser.error("Give --out sheet.png, --benchmark SECONDS, or both.")
    try:
        paths = catalogue.list_photos(arguments.folder)
        if arguments.out is not None:
            count = write_sheet(
                paths,
                arguments.out,
                blur=arguments.preset,
                seed=arguments.seed,
                size=arguments.size,
                rows=arguments.rows,
                columns=arguments.columns,
                labels=arguments.labels,
            )
            print(f"{count} samples, preset {arguments.preset}: {arguments.out}")
        if arguments.benchmark is not None:
            print(_benchmark(paths, arguments))
    except (OSError, ValueError) as error:
        parser.error(str(error))


def write_sheet(
    paths: Sequence[pathlib.Path],
    out: pathlib.Path,
    *,
    blur: str = "mixed",
    seed: int = 0,
    size: int = 256,
    rows: int = 6,
    columns: int = 4,
    labels: bool = False,
) -> int:
    """Draw samples of synthetic blur, each sharp and blurred side by side.

    Args:
        paths: Sharp photos; the samples are taken from as many of them as there are samples.
        out: Picture to write; its format is that of its suffix.
        blur: An entry of `exposure.SETTINGS`.
        seed: Another one gives another sheet.
        size: Height and width of a sample in pixels.
        rows: Rows of the sheet.
        columns: Samples in a row.
        labels: Whether the kind of each exposure is written on it.

    Returns:
        The number of samples.

    Raises:
        OSError: A photo cannot be read or the sheet not be written.
        ValueError: No photo is as large as a sample, or the suffix is that of no format.
    """
    settings = exposure.SETTINGS[blur]
    rng = np.random.default_rng(seed)
    photos = _load(paths, size, rows * columns)
    sheet = []
    for row in range(rows):
        samples = []
        for column in range(columns):
            photo = photos[(row * columns + column) % len(photos)]
            sample = exposure.expose(photo, settings, rng, size=(size, size))
            samples.append(color.from_float(sample.sharp, "uint8"))
            samples.append(color.from_float(sample.blurred, "uint8"))
            if labels:
                _label(samples[-1], sample)
        sheet.append(np.hstack(samples))
    out.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(out, keep_suffix=True) as temporary:
        Image.fromarray(np.vstack(sheet)).save(temporary)
    return rows * columns


def _load(paths, size, count):
    """Read up to `count` photos, spread over the folder, whose sides are at least `size`."""
    chosen = [paths[index * len(paths) // count] for index in range(min(count, len(paths)))]
    if len(paths) < count:
        chosen = paths
    photos = [sampling.read_rgb(path, max_pixels=2_000_000) for path in chosen]
    photos = [photo for photo in photos if min(photo.shape[:2]) >= size]
    if not photos:
        raise ValueError(
            f"At least one photo must be {size} pixels high and wide. "
            f"Received: {len(chosen)} smaller ones. Give larger photos or a smaller --size."
        )
    return photos


def _label(picture, sample):
    extent = np.ptp(sample.path, axis=0).max()
    text = sample.kind if not extent else f"{sample.kind}, {extent:.0f} px"
    picture[-18:] //= 3  # a dark strip keeps the text readable
    place = (4, picture.shape[0] - 5)
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1)


def _benchmark(paths, arguments):
    """Expose photos held in memory in `workers` processes; return the result as text."""
    task = (paths, arguments.preset, arguments.size, arguments.seed, arguments.benchmark)
    # "spawn" everywhere: the same on every system, and safe beside threads
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.workers, mp_context=context) as pool:
        runs = [pool.submit(_count_patches, *task, worker) for worker in range(arguments.workers)]
        results = [run.result() for run in runs]
    rate = sum(count / seconds for count, seconds, _ in results)
    processor = sum(count for count, _, _ in results) / sum(busy for _, _, busy in results)
    return (
        f"{rate:.1f} patches a second of {arguments.size}x{arguments.size}, preset "
        f"{arguments.preset}, {arguments.workers} processes of one thread; "
        f"{processor:.1f} a second of processor time"
    )


def _count_patches(paths, preset, size, seed, seconds, worker):
    """Expose for a while; return the number of patches, seconds gone by, processor seconds."""
    cv2.setNumThreads(1)
    photos = _load(paths, size, 32)
    rng = np.random.default_rng([seed, worker])
    settings = exposure.SETTINGS[preset]
    for photo in photos[:4]:
        exposure.expose(photo, settings, rng, size=(size, size))
    count, start, busy = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        exposure.expose(photos[count % len(photos)], settings, rng, size=(size, size))
        count += 1
    return count, time.perf_counter() - start, time.process_time() - busy


if __name__ == "__main__":
    main()
