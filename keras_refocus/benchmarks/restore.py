"""Measure how long a photo takes from array to array, and the memory it needs.

    refocus benchmark restore --size 1280x720

Models are loaded and warmed up first; reading and writing files is not counted.
"""

import argparse
import json
import re
import statistics
import sys
import time
from collections.abc import Sequence

import cv2
import numpy as np

from keras_refocus.engines import contract, local
from keras_refocus.engines.options import add_models, add_threads
from keras_refocus.pictures import color, images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, machine, memory


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    memory.keep_memory(large=False)
    try:
        options = pipeline.RestoreOptions(
            mode=arguments.mode,
            restorer=arguments.model,
            tile=arguments.tile,
            overlap=arguments.overlap,
            best=arguments.best,
        )
        if arguments.picture:
            picture = images.read(arguments.picture).rgb
        else:
            picture = photo_like(*_size(arguments.size), np.dtype(arguments.type))
        engine = _TimedEngine(local.LocalEngine(arguments.models, threads=arguments.threads))
        console.import_tensorflow()
        restorer = pipeline.Restorer(engine)
        restorer.check_models(options)
        figures = measure(picture, restorer, options, runs=arguments.runs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    figures["threads"] = arguments.threads or machine.usable_cores()
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    print(
        "machine      {machine}\n"
        "models       {models}, {threads} threads{flips}\n"
        "picture      {width}x{height} {type}, {megapixels:.2f} megapixels, tiles: {tiles} of at "
        "most {tile_width}x{tile_height} that share {overlap}\n"
        "loading      {loading_seconds:.2f} s\n"
        "restoring    {seconds:.3f} s, median of {runs} ({fastest:.3f} to {slowest:.3f}); "
        "in the networks {network_seconds:.3f} s\n"
        "speed        {megapixels_per_second:.2f} megapixels per second\n"
        "peak memory  {peak_memory_mib:.0f} MiB resident".format_map(
            figures
            | {
                "models": ", ".join(f"{k} {v}" for k, v in figures["models"].items()),
                "flips": ", mean over four flips" if figures["best"] else "",
            }
        )
    )


def measure(
    picture: np.ndarray,
    restorer: pipeline.Restorer,
    options: pipeline.RestoreOptions,
    *,
    runs: int,
) -> dict:
    """Restore a picture several times.

    Args:
        picture: RGB [H,W,3], uint8 or uint16.
        restorer: Over an engine that counts its own seconds.
        options: What to do.
        runs: How often, at least 1.

    Returns:
        The figures, ready for JSON: seconds are medians.
    """
    if runs < 1:
        raise ValueError(f"The number of runs must be at least 1. Received: {runs=}.")
    height, width = picture.shape[:2]
    started = time.perf_counter()
    # One tile warms the network up for any picture.
    tiles = pipeline.choose_tiles(picture, options, restorer.engine)
    restorer.restore(picture[: tiles.tile_height, : tiles.tile_width], options)
    loading = time.perf_counter() - started
    seconds, inside = [], []
    for _ in range(runs):
        restorer.engine.seconds = 0.0
        result = restorer.restore(picture, options)
        seconds.append(result.seconds)
        inside.append(restorer.engine.seconds)
    median = statistics.median(seconds)
    return {
        "machine": machine.describe(),
        "models": result.versions,
        "tiles": len(tiles),
        "tile_width": min(tiles.tile_width, width),
        "tile_height": min(tiles.tile_height, height),
        "overlap": tiles.overlap,
        "best": options.best,
        "width": width,
        "height": height,
        "type": picture.dtype.name,
        "megapixels": height * width / 1e6,
        "loading_seconds": loading,
        "runs": runs,
        "seconds": median,
        "fastest": min(seconds),
        "slowest": max(seconds),
        "network_seconds": statistics.median(inside),
        "megapixels_per_second": height * width / 1e6 / median,
        "peak_memory_mib": machine.peak_memory() / 2**20,
    }


class _TimedEngine:
    """An engine that counts the seconds spent in networks."""

    def __init__(self, engine: contract.Engine):
        self._engine = engine
        self.batch_size = engine.batch_size
        self.seconds = 0.0

    def restore(self, tiles: np.ndarray, **options) -> np.ndarray:
        return self._timed(self._engine.restore, tiles, options)

    def colorize(self, luminance: np.ndarray, **options) -> np.ndarray:
        return self._timed(self._engine.colorize, luminance, options)

    def versions(self, *models: str) -> dict[str, str]:
        return self._engine.versions(*models)

    def close(self) -> None:
        self._engine.close()

    def _timed(self, run, luminance, options):
        started = time.perf_counter()
        try:
            return run(luminance, **options)
        finally:
            self.seconds += time.perf_counter() - started


def _size(text: str) -> tuple[int, int]:
    """Height and width from `<width>x<height>`."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or "0" in match.groups():
        raise ValueError(f"The size must be <width>x<height>. Received: size='{text}'.")
    return int(match[2]), int(match[1])


def photo_like(height: int, width: int, dtype: np.dtype) -> np.ndarray:
    """A seeded picture with soft colours and fine detail, made without temporaries of its size."""
    rng = np.random.default_rng(0)
    soft = cv2.resize(rng.random((16, 16, 3), np.float32), (256, 256))
    block = 0.2 + 0.5 * soft + 0.1 * rng.random((256, 256, 1), np.float32)
    rows, columns = -(-height // 256), -(-width // 256)
    return np.tile(color.from_float(block, dtype), (rows, columns, 1))[:height, :width]


def _parser() -> argparse.ArgumentParser:
    defaults = pipeline.RestoreOptions()
    parser = argparse.ArgumentParser(
        prog="refocus benchmark restore",
        description="Measure seconds, megapixels per second and memory of a restoration.",
        epilog="example: refocus benchmark restore --size 1280x720",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--size", default="1280x720", help="of a made-up picture (default: %(default)s)"
    )
    what.add_argument("--picture", metavar="FILE", help="a picture of your own")
    parser.add_argument(
        "--type", choices=("uint8", "uint16"), default="uint8", help="of a made-up picture"
    )
    parser.add_argument("--mode", choices=pipeline.MODES, default=defaults.mode)
    parser.add_argument("--best", action="store_true", help="the mean over four flips")
    parser.add_argument("--runs", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--tile", type=int, help="default: what suits the picture")
    parser.add_argument(
        "--overlap", type=int, help=f"default: {defaults.overlap}, at most half the tile"
    )
    add_models(parser)
    parser.add_argument("--model", default=defaults.restorer, help="default: %(default)s")
    add_threads(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
