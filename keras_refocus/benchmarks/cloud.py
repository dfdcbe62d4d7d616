"""Measure jobs over stores, batches, their memory, and the start of a function.

    refocus benchmark cloud stores --pictures 20 --size 1280x720
    refocus benchmark cloud memory --pictures 5000 --size 32x24 --no-network
    refocus benchmark cloud batch --pictures 40
    refocus benchmark cloud start

Without `--place` an S3 of this machine is started (moto, which the extra `test` brings) in another
process; it takes processor time of its own.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from keras_refocus.cloud import beam_job, restoring, storage
from keras_refocus.engines import contract, local
from keras_refocus.pictures import images
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, extras, machine, memory, options

_MIB = 2**20


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    memory.keep_memory(large=False)
    console.start_logging()
    extras.require("cloud", "This benchmark", "fsspec", "s3fs")
    figures: dict = {}
    try:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="refocus-")))
            if arguments.what == "start":
                figures = start(arguments.models)
            elif arguments.what == "batch":
                figures = batch(folder, arguments)
            else:
                place = arguments.place or stack.enter_context(_own_store())
                measure = stores if arguments.what == "stores" else flat_memory
                figures = measure(place, folder, arguments)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(f"{machine.describe()}\n{json.dumps(figures, indent=2)}")


def stores(place: str, folder: Path, arguments: argparse.Namespace) -> dict:
    """Pictures a second from a store to a store, beside the same job on files, by turns."""
    here = storage.LocalFolder(folder / "in")
    there = storage.open_place(f"{place}/in")
    for number, content in enumerate(_pictures(arguments)):
        for source in (here, there):
            source.write(f"{number:04}.png", content)
    rates: dict[str, list[float]] = {"files": [], "stores": []}
    with _restorer(arguments) as restorer:
        _run(here, storage.LocalFolder(folder / "warm"), restorer)
        for turn in range(arguments.runs):
            for name, source, out in (
                ("files", here, storage.LocalFolder(folder / f"out{turn}")),
                ("stores", there, storage.open_place(f"{place}/out{turn}")),
            ):
                started = time.perf_counter()
                _run(source, out, restorer)
                rates[name].append(arguments.pictures / (time.perf_counter() - started))
    best = {name: max(values) for name, values in rates.items()}
    return {
        "pictures": arguments.pictures,
        "size": arguments.size,
        "pictures_a_second": rates,
        "stores_of_files": round(best["stores"] / best["files"], 3),
    }


def flat_memory(place: str, folder: Path, arguments: argparse.Namespace) -> dict:
    """Memory of one job over many pictures of a store, read off as it goes."""
    import psutil

    there = storage.open_place(f"{place}/in")
    contents = list(_pictures(dataclasses.replace(_Sizes(arguments.size), pictures=8)))
    with concurrent.futures.ThreadPoolExecutor(restoring.IN_FLIGHT) as threads:
        names = (f"{number:06}.png" for number in range(arguments.pictures))
        for _ in threads.map(there.write, names, itertools.cycle(contents)):
            pass
    process, seen = psutil.Process(), []
    with _restorer(arguments) as restorer:

        def look(done):
            if done >= 200:  # by then everything is loaded
                seen.append(process.memory_info().rss / _MIB)

        _run(there, storage.open_place(f"{place}/out"), restorer, look)
    return {
        "pictures": arguments.pictures,
        "size": arguments.size,
        "network": not arguments.no_network,
        "first_mib": round(seen[0], 1),
        "last_mib": round(seen[-1], 1),
        "highest_minus_lowest_mib": round(max(seen) - min(seen), 1),
    }


def batch(folder: Path, arguments: argparse.Namespace) -> dict:
    """Seconds of a batch in one process of one thread, and in two; what they share is taken off."""
    source = storage.LocalFolder(folder / "in")
    for number, content in enumerate(_pictures(arguments)):
        source.write(f"{number:04}.png", content)
    few = storage.LocalFolder(folder / "few")
    few.write("0.png", content)
    seconds: dict[str, float] = {}
    for workers in (1, 2):
        for name, place in (("few", few), ("all", source)):
            work = beam_job.Batch(
                source=str(place.path),
                out=str(folder / f"out-{name}-{workers}"),
                settings=restoring.Settings(),
                models=arguments.models,
                threads=1,
            )
            started = time.perf_counter()
            beam_job.run(work, workers=workers)
            seconds[f"{name}_{workers}"] = round(time.perf_counter() - started, 2)
    # Of each run the start of its processes is taken off, which a long batch does not notice.
    work = [seconds[f"all_{workers}"] - seconds[f"few_{workers}"] for workers in (1, 2)]
    return {
        "pictures": arguments.pictures,
        "size": arguments.size,
        "seconds": seconds,
        # Where one process keeps another from nothing, these are equal.
        "seconds_a_picture": {
            workers: _seconds_a_picture(folder / f"out-all-{workers}") for workers in (1, 2)
        },
        "two_of_one": round(work[0] / work[1], 3),
        "two_of_one_with_start": round(seconds["all_1"] / seconds["all_2"], 3),
    }


def _seconds_a_picture(out: Path) -> float:
    """What a picture took on average once it was read, by the manifest."""
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(out / beam_job.MANIFEST, columns=["seconds"])
    return round(float(np.mean(table["seconds"].to_numpy())), 3)


def start(models: str | None) -> dict:
    """Seconds from the start of a process to a function that is ready, and where they go."""
    program = """
import time, json
t = [(time.perf_counter(), time.process_time())]
from keras_refocus.cloud import events
t.append((time.perf_counter(), time.process_time()))
import tensorflow
t.append((time.perf_counter(), time.process_time()))
events.start({
    "REFOCUS_STAGE": "restore", "REFOCUS_SOURCE": "memory://in",
    "REFOCUS_TARGET": "memory://out", "REFOCUS_REJECTED": "memory://rejected",
})
t.append((time.perf_counter(), time.process_time()))
print(json.dumps([[d - c for c, d in zip(a, b)] for a, b in zip([(t[0][0], 0.0), *t[1:]], t[1:])]))
"""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if models:
        environment["REFOCUS_MODELS"] = models
    runs = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode:
            raise OSError(f"The function must start. Received: {done.stderr[-500:]}")
        parts = json.loads(done.stdout.splitlines()[-1])
        whole = (time.perf_counter() - started, sum(processor for _, processor in parts))
        runs.append([*parts, whole])
    names = ("our_modules", "tensorflow", "models_and_first_picture", "whole_process")
    # Of other work on the machine the processor's seconds depend least.
    return {
        name: {
            "seconds": round(min(seconds for seconds, _ in values), 2),
            "processor_seconds": round(min(processor for _, processor in values), 2),
        }
        for name, values in zip(names, zip(*runs, strict=True), strict=True)
    }


def _run(
    source: storage.Place,
    out: storage.Place,
    restorer: pipeline.Restorer,
    look: Callable[[int], None] = lambda done: None,
) -> None:
    settings = restoring.Settings()
    tasks = (
        restoring.Task(source=source, entry=entry, out=out, target=settings.target(entry.name))
        for entry in source.entries()
    )
    for done, outcome in enumerate(restoring.restore_all(tasks, restorer, settings)):
        if outcome.status != "restored":
            raise OSError(f"Every picture must be restored. Received: {outcome.reason}")
        look(done)


class _PassingOn:
    """An engine without a network: luminance comes back as it was given."""

    batch_size = 1

    def restore(self, tiles: np.ndarray, *, model: str = contract.RESTORER) -> np.ndarray:
        return tiles

    def colorize(self, luminance: np.ndarray, *, model: str = contract.COLORIZER) -> np.ndarray:
        return np.zeros((*luminance.shape[:3], 2), np.float32)

    def versions(self, *models: str) -> dict[str, str]:
        return dict.fromkeys(models, "0")

    def close(self) -> None:
        pass


@contextlib.contextmanager
def _restorer(arguments: argparse.Namespace) -> Iterator[pipeline.Restorer]:
    engine: contract.Engine
    if arguments.no_network:
        engine = _PassingOn()
    else:
        console.import_tensorflow()
        engine = local.LocalEngine(arguments.models, threads=arguments.threads)
    with pipeline.Restorer(engine) as restorer:
        yield restorer


@dataclasses.dataclass(frozen=True)
class _Sizes:
    size: tuple[int, int]
    pictures: int = 1


def _pictures(arguments) -> Iterator[bytes]:
    """Pictures of soft patches with some grain, as PNG."""
    import cv2

    width, height = arguments.size
    for number in range(arguments.pictures):
        rng = np.random.default_rng(number)
        patches = rng.integers(40, 200, (9, 16, 3)).astype(np.uint8)
        rgb = cv2.resize(patches, (width, height), interpolation=cv2.INTER_CUBIC)
        rgb = cv2.add(rgb, rng.integers(0, 16, rgb.shape).astype(np.uint8))
        yield images.encode(images.Photo(rgb=rgb), format="PNG")


@contextlib.contextmanager
def _own_store() -> Iterator[str]:
    """An S3 in another process, and a bucket in it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > until:
                raise OSError(
                    "An S3 of this machine must start. Received: none. Name one with --place, or "
                    'run: pip install "moto[server]"'
                )
            time.sleep(0.1)
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="benchmark",
            AWS_SECRET_ACCESS_KEY="benchmark",
            AWS_DEFAULT_REGION="us-east-1",
        )
        import fsspec

        fsspec.filesystem("s3").call_s3("create_bucket", Bucket="benchmark")
        yield "s3://benchmark"
    finally:
        process.kill()
        process.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark cloud",
        description="Measure jobs over stores, batches, their memory, and the start of a function.",
        epilog="Example: refocus benchmark cloud stores --pictures 20 --size 1280x720",
    )
    parser.add_argument(
        "what",
        choices=("stores", "memory", "batch", "start"),
        help="stores: pictures a second from store to store beside files; memory: of a job over "
        "many pictures; batch: two processes beside one; start: of the function for AWS Lambda",
    )
    parser.add_argument(
        "--place", metavar="URL", help="store to measure on (default: an S3 of this machine)"
    )
    parser.add_argument("--pictures", type=int, default=20, metavar="N", help="default: 20")
    parser.add_argument(
        "--size", type=options.parse_size, default=(640, 480), help="default: 640x480"
    )
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="turns (default: 3)")
    parser.add_argument(
        "--no-network",
        action="store_true",
        help="stores, memory: run no network, so that reading and writing are measured alone",
    )
    parser.add_argument("--models", metavar="DIR", help="folder or address of models")
    parser.add_argument("--threads", type=int, help="processor threads (default: all)")
    return parser
