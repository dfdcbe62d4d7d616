"""Measure what a visitor of the web page waits for after a photo has been restored.

    refocus benchmark page --megapixels 3 40

Strength: until the preview of the size of a screen is there, until the largest preview is, until a
place that one zooms into is there in full, and until the download is written. A hint of colour:
until it shows on the screen. A region: reading the photo, which begins when it is marked; and from
pressing Restore to the preview and the region in full. None of it counts the way through the
network and the browser.
"""

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from keras_refocus.benchmarks.restore import photo_like
from keras_refocus.engines import local
from keras_refocus.engines.options import add_models
from keras_refocus.page import closeups, finishing
from keras_refocus.page.reading import PhotoReader
from keras_refocus.page.sessions import Picture, Sessions
from keras_refocus.page.settings import AppSettings
from keras_refocus.page.words import Words
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline
from keras_refocus.restoration.chroma import GuidedChroma, shrink
from keras_refocus.restoration.hints import ColorHints
from keras_refocus.system import console, extras, machine, memory

# Sides of the region, in pixels: a face, or a number plate.
_REGION = 400, 300
# What is seen of a photo at 1 : 1 in the page, with what lies around it.
_PLACE = 1100, 800


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    extras.require("app", "The page")
    memory.keep_memory(large=False)
    try:
        console.import_tensorflow()
        restorer = pipeline.Restorer(local.LocalEngine(arguments.models))
        restorer.check_models(pipeline.RestoreOptions())
        if arguments.runs < 1 or min(arguments.megapixels) <= 0:
            raise ValueError("--runs and --megapixels must be above 0.")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    with restorer, Sessions() as sessions:
        rows = [
            measure(sessions, restorer, size, runs=arguments.runs) for size in arguments.megapixels
        ]
    figures = {"machine": machine.describe(), "runs": arguments.runs, "photos": rows}
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print(f"machine: {figures['machine']}; medians of {arguments.runs}, in seconds")
    print(
        "| megapixels | strength, on the screen | largest preview | a place in full | download "
        "| a hint | reading the photo | a region of it |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            "| {megapixels:.3g} | {screen:.2f} | {preview:.2f} | {closeup:.2f} | {download:.2f} "
            "| {hint:.2f} | {reading:.2f} | {region:.2f} |"
            "".format_map(row)
        )


def measure(
    sessions: Sessions, restorer: pipeline.Restorer, megapixels: float, *, runs: int
) -> dict[str, float]:
    """Measure a made-up JPEG photo of some megapixels.

    Args:
        sessions: Where it is kept meanwhile.
        restorer: What restores the region.
        megapixels: Size of the photo, 4 : 3.
        runs: How often, at least 1.

    Returns:
        Medians in seconds: `screen`, `preview`, `closeup`, `download`, `hint`, `reading` and
        `region`.
    """
    height = max(round((megapixels * 1e6 * 3 / 4) ** 0.5), 8)
    width = round(height * 4 / 3)
    file = io.BytesIO()
    Image.fromarray(photo_like(height, width, np.dtype(np.uint8))).save(file, "JPEG", quality=95)
    session = sessions.of(f"{megapixels}")
    upload = session.reserve()
    upload.write_bytes(file.getvalue())
    picture = session.add(upload, "photo.jpg")
    picture.result = _as_if_restored(upload)
    words = Words()
    finishing.finish(session, picture, finishing.Finish(), words)
    center = (width // 2, height // 2)
    place = _around(center, (width, height), _PLACE)
    screen, preview, closeup, download = [], [], [], []
    for run in range(runs):
        settings = finishing.Finish(strength=0.9 - 0.5 * run / runs)
        for times, step in (
            (screen, lambda s=settings: _show(session, picture, s, words, quickly=True)),
            (preview, lambda s=settings: _show(session, picture, s, words, quickly=False)),
            (closeup, lambda s=settings: _look_closer(session, picture, s, place)),
            (download, lambda s=settings: finishing.write(session, picture, s, words)),
        ):
            times.append(_seconds(step))
    hint, last = [], finishing.Finish(strength=0.35)
    _show(session, picture, last, words, quickly=True)
    for run in range(runs):
        given = ColorHints([{"color": (150 + run, 40, 40), "points": [center]}])
        finishing.hint(session, picture, given)
        hint.append(_seconds(lambda: _show(session, picture, last, words, quickly=True)))
    reader = PhotoReader(sessions, AppSettings(max_pixels=height * width))
    reading, region = _measure_region(session, picture, restorer, reader, runs)
    session.end()
    return {
        "megapixels": height * width / 1e6,
        "screen": statistics.median(screen),
        "preview": statistics.median(preview),
        "closeup": statistics.median(closeup),
        "download": statistics.median(download),
        "hint": statistics.median(hint),
        "reading": statistics.median(reading),
        "region": statistics.median(region),
    }


def _as_if_restored(upload: Path) -> pipeline.RestoreResult:
    """A result as the networks would give it: what they take does not count here."""
    photo = images.read(upload)
    luminance = np.empty((*photo.rgb.shape[:2], 1), np.float32)
    for start in range(0, photo.height, 256):
        rows = slice(start, start + 256)
        luminance[rows] = color.rgb_to_luminance(photo.rgb[rows]) ** 0.9
    small = shrink(luminance)
    guess = np.zeros((*small.shape[:2], 2), np.float32)
    chroma = GuidedChroma(small, guess, luminance.shape[:2])
    return pipeline.RestoreResult(
        image=photo.rgb,
        is_grayscale=False,
        stages=("restore", "colorize"),
        versions={},
        seconds=0.0,
        options=pipeline.RestoreOptions(mode="colorize"),
        photo=photo,
        planes=pipeline.Planes(photo.rgb, luminance, chroma, None),
    )


def _show(session: Any, picture: Picture, settings: Any, words: Words, *, quickly: bool) -> None:
    finishing.show(session, picture, settings, words, quickly=quickly)


def _measure_region(
    session: Any, picture: Picture, restorer: pipeline.Restorer, reader: PhotoReader, runs: int
) -> tuple[list[float], list[float]]:
    """Seconds of reading the photo, and of restoring a region of it."""
    words = Words()
    reading, region = [], []
    for _ in range(runs + 1):
        session.forget_result(picture)
        reading.append(_seconds(lambda: _read(reader, picture)))
        region.append(_seconds(lambda: _restore_region(session, picture, restorer, reader, words)))
    # The first one loads the model, and starts the process that decodes.
    return reading[1:], region[1:]


def _look_closer(session: Any, picture: Picture, settings: Any, place: closeups.Box) -> None:
    for before in (True, False):
        closeups.draw(session, picture, settings, place, before=before)


def _read(reader: PhotoReader, picture: Picture) -> None:
    picture.photo = reader.read(picture, lambda: False)


def _restore_region(
    session: Any,
    picture: Picture,
    restorer: pipeline.Restorer,
    reader: PhotoReader,
    words: Words,
) -> None:
    """What happens from pressing Restore until a marked part is seen in full."""
    photo = reader.read(picture, lambda: False)
    size = photo.width, photo.height
    place = _around((size[0] // 2, size[1] // 2), size, _REGION)
    result = restorer.restore(photo, pipeline.RestoreOptions(region=place), keep_stages=True)
    session.forget_result(picture)
    picture.hints, picture.result = ColorHints(), result
    settings = finishing.Finish()
    finishing.finish(session, picture, settings, words)
    seen = _around((size[0] // 2, size[1] // 2), size, _PLACE)
    _look_closer(session, picture, settings, seen)


def _around(
    center: tuple[int, int], picture: tuple[int, int], size: tuple[int, int]
) -> closeups.Box:
    """Left, top, width and height of what lies around a point, as far as it is of the picture."""
    width, height = (min(wanted, length) for wanted, length in zip(size, picture, strict=True))
    return center[0] - width // 2, center[1] - height // 2, width, height


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark page",
        description="Measure what a visitor of the web page waits for.",
        epilog="example: refocus benchmark page --megapixels 3 40",
    )
    parser.add_argument(
        "--megapixels",
        type=float,
        nargs="+",
        default=[3.0, 40.0],
        help="sizes of made-up photos (default: 3 40)",
    )
    parser.add_argument("--runs", type=int, default=3, help="default: %(default)s")
    add_models(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
