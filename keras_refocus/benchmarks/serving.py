"""Measure requests over gRPC beside the same model called in this process.

    refocus benchmark serving
    refocus benchmark serving --server gpu-box:8500

One tile per request and one picture per client, from 1 to 32 clients at once, without and with
batching; and the model itself in this process, over threads and batch sizes. All of them take turns
in one run, several rounds, so that a machine that is busy for a while disturbs them alike; each
figure is the median of its rounds. Without `--server`, two local servers are started, processes of
their own on this machine, so that server, clients and in-process calls share its cores.

What a server keeps of the best rate in this process is measured apart: the best few ways of calling
the model here and the servers with 8 clients take short turns, many of them, and the share is the
median of the ratios within a round. Processor time per item, of all processes together, is the
figure that other programs on the machine disturb least.
"""

import argparse
import contextlib
import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import psutil

from keras_refocus.engines import contract, store
from keras_refocus.engines.options import add_models
from keras_refocus.restoration import pipeline
from keras_refocus.system import console, machine

CLIENTS = (1, 2, 4, 8, 16, 32)
THREADS = BATCHES = (1, 2, 4, 8)
# What serving/batching.config says; that file does not come with an installed package.
BATCHING = """
max_execution_batch_size { value: 4 }
max_batch_size { value: 64 }
enable_large_batch_splitting { value: true }
max_enqueued_batches { value: 64 }
"""
_PICTURE = (720, 1280)
# Ways of calling the model in this process that a server is measured against once more.
_RIVALS = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if min(arguments.rounds, arguments.turns, arguments.tile) < 1 or arguments.seconds <= 0:
        parser.error("--rounds, --turns, --seconds and --tile must be positive")
    if min(arguments.clients) < 1:
        parser.error("--clients must be at least 1")
    try:
        models = store.find_models(arguments.models)
        console.import_tensorflow()
        with contextlib.ExitStack() as stack:
            if arguments.server:
                servers, processes = {"server": arguments.server}, []
            else:
                batching = arguments.batching.read_text() if arguments.batching else BATCHING
                started = {
                    f"server, batching {name}": stack.enter_context(_local_server(models, text))
                    for name, text in (("off", None), ("on", batching))
                }
                servers = {name: address for name, (address, _) in started.items()}
                processes = [process for _, process in started.values()]
            figures = measure(
                models,
                servers,
                model=arguments.model,
                tile=arguments.tile,
                clients=arguments.clients,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
                turns=arguments.turns,
                pictures=arguments.pictures,
                processes=processes,
            )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(figures, indent=2) if arguments.json else _report(figures))


def measure(
    models: Path,
    servers: dict[str, str],
    *,
    model: str = contract.RESTORER,
    tile: int = 256,
    clients: Sequence[int] = CLIENTS,
    seconds: float = 2.0,
    rounds: int = 3,
    turns: int = 15,
    pictures: bool = True,
    processes: Sequence[int] = (),
) -> dict:
    """Measure every combination, in turns.

    Args:
        models: Folder of models for the calls in this process; the servers should have the same.
        servers: Addresses by the name they have in the report.
        model: The restorer to run.
        tile: Side of the tiles in pixels.
        clients: Numbers of clients at once.
        seconds: Time for one combination in one round; what has begun is finished.
        rounds: How often each combination is measured.
        turns: Rounds of the comparison with the best in this process, of half the time each.
        pictures: Whether 1280x720 pictures are measured too.
        processes: Process numbers of the servers, where they run on this machine: their processor
            time is counted.

    Returns:
        The figures, ready for JSON. Rates are tiles or pictures per second, latencies and
        processor time per item (`None` for servers elsewhere) seconds.
    """
    from keras_refocus.engines.local import LocalEngine

    local = LocalEngine(models)
    with _connect(servers, max(clients)) as connected:
        combinations = _combinations(
            local, connected, model=model, tile=tile, clients=clients, pictures=pictures
        )
        for calls, _ in combinations.values():
            calls[0]()  # loads, and warms the shape up
        watched = [psutil.Process(process) for process in processes]

        def take_turns(keys, rounds, seconds, label):
            return _take_turns(
                {key: combinations[key] for key in keys}, rounds, seconds, watched, label
            )

        rows = _medians(take_turns(combinations, rounds, seconds, "measuring"))
        at = min(clients, key=lambda count: abs(count - 8))
        shares = []
        for what in dict.fromkeys(key[0] for key in combinations):
            rivals, asked = _candidates(rows, what, at)
            compared = take_turns([*rivals, *asked], turns, seconds / 2, f"comparing {what}")
            shares += [_share(compared, key, rivals) for key in asked]
    if not processes:
        for row in [*rows, *shares]:
            if row["where"] != "in process":
                row["processor"] = None
    return {
        "machine": machine.describe(),
        "model": model,
        "version": local.versions(model)[model],
        "tile": tile,
        "rounds": rounds,
        "turns": turns,
        "seconds": seconds,
        "rows": rows,
        "shares": shares,
    }


@contextlib.contextmanager
def _connect(servers: dict[str, str], count: int) -> Iterator[dict[str, list]]:
    """Connect `count` clients to each server, for as long as the block runs."""
    from keras_refocus.engines.serving import ServingEngine

    with contextlib.ExitStack() as stack:
        yield {
            name: [
                stack.enter_context(ServingEngine(_with_scheme(address), timeout=600))
                for _ in range(count)
            ]
            for name, address in servers.items()
        }


def _combinations(
    local, connected: dict[str, list], *, model: str, tile: int, clients, pictures: bool
) -> dict[tuple, tuple[list[Callable], int]]:
    """What is measured: calls that are made at once, and how many items each of them takes.

    The keys are `(what, where, at once, batch)`, as the columns of the report.
    """
    rng = np.random.default_rng(0)
    tiles = rng.random((max(BATCHES), tile, tile, 1), np.float32)
    picture = rng.integers(0, 256, (*_PICTURE, 3), np.uint8)
    options = pipeline.RestoreOptions(restorer=model)

    def restore_tiles(engine, batch=1):
        return lambda: engine.restore(tiles[:batch], model=model)

    def restore_picture(engine):
        return lambda: pipeline.Restorer(engine).restore(picture, options)

    found: dict[tuple, tuple[list[Callable], int]] = {}
    for threads, batch in itertools.product(THREADS, BATCHES):
        key = ("tiles", "in process", threads, batch)
        found[key] = ([restore_tiles(local, batch)] * threads, batch)
    for (name, clients_of), count in itertools.product(connected.items(), clients):
        found["tiles", name, count, 1] = ([restore_tiles(c) for c in clients_of[:count]], 1)
    if not pictures:
        return found
    for threads in THREADS:
        found["pictures", "in process", threads, 1] = ([restore_picture(local)] * threads, 1)
    for (name, clients_of), count in itertools.product(connected.items(), clients):
        found["pictures", name, count, 1] = ([restore_picture(c) for c in clients_of[:count]], 1)
    return found


def _take_turns(
    combinations: dict[tuple, tuple[list[Callable], int]],
    rounds: int,
    seconds: float,
    watched: Sequence[psutil.Process],
    label: str,
) -> dict[tuple, list[dict]]:
    """Run each combination once a round, there and back: none always follows the same one."""
    keys = list(combinations)
    results: dict[tuple, list[dict]] = {key: [] for key in keys}
    with console.progress_bar(rounds * len(keys), label=label, unit="run") as bar:
        for number in range(rounds):
            for key in keys if number % 2 == 0 else keys[::-1]:
                results[key].append(_run(*combinations[key], seconds, watched))
                bar.update()
    return results


def _medians(results: dict[tuple, list[dict]]) -> list[dict]:
    """A row of the report for each combination."""
    return [
        {
            "what": what,
            "where": where,
            "at_once": at_once,
            "batch": batch,
            **{name: statistics.median(m[name] for m in measured) for name in measured[0]},
        }
        for (what, where, at_once, batch), measured in results.items()
    ]


def _run(
    calls: Sequence[Callable], items: int, seconds: float, watched: Sequence[psutil.Process]
) -> dict:
    """Repeats every call in a thread of its own, at least once, until the time is over."""
    latencies: list[float] = []
    errors: list[BaseException] = []
    spent = _processor_seconds(watched)
    begun = time.perf_counter()
    lock = threading.Lock()

    def work(call):
        own = []
        try:
            while not own or time.perf_counter() - begun < seconds:
                started = time.perf_counter()
                call()
                own.append(time.perf_counter() - started)
        except Exception as error:  # raised below, in the caller's thread
            errors.append(error)
        with lock:
            latencies.extend(own)

    threads = [threading.Thread(target=work, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    elapsed = time.perf_counter() - begun
    spent = _processor_seconds(watched) - spent
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    return {
        "rate": len(latencies) * items / elapsed,
        "p50": float(p50),
        "p95": float(p95),
        "p99": float(p99),
        "processor": spent / (len(latencies) * items),
    }


def _processor_seconds(watched: Sequence[psutil.Process]) -> float:
    """Processor time of this process and the watched ones."""
    others = (one.cpu_times() for one in watched)
    return time.process_time() + sum(times.user + times.system for times in others)


def _candidates(rows: list[dict], what: str, at: int) -> tuple[list[tuple], list[tuple]]:
    """The best ways of calling the model in this process, and the servers with `at` clients."""
    rates = {
        tuple(row[name] for name in ("what", "where", "at_once", "batch")): row["rate"]
        for row in rows
        if row["what"] == what
    }
    here = [key for key in rates if key[1] == "in process"]
    rivals = sorted(here, key=rates.get, reverse=True)[:_RIVALS]
    return rivals, [key for key in rates if key[1] != "in process" and key[2] == at]


def _share(compared: dict[tuple, list[dict]], key: tuple, rivals: list[tuple]) -> dict:
    """A server's rate over that of the rival against which it does worst."""
    what, where, at_once, _ = key

    def ratio(rival, name):
        pairs = zip(compared[key], compared[rival], strict=True)
        return statistics.median(own[name] / other[name] for own, other in pairs)

    best = min(rivals, key=lambda rival: ratio(rival, "rate"))
    return {
        "what": what,
        "where": where,
        "clients": at_once,
        "share": ratio(best, "rate"),
        "processor": ratio(best, "processor"),
        "best_threads": best[2],
        "best_batch": best[3],
    }


def _report(figures: dict) -> str:
    lines = [
        f"machine  {figures['machine']}",
        f"model    {figures['model']} {figures['version']}, tiles of "
        f"{figures['tile']}x{figures['tile']}, pictures of {_PICTURE[1]}x{_PICTURE[0]}; medians of "
        f"{figures['rounds']} rounds of {figures['seconds']:g} s in turns",
    ]
    for what in dict.fromkeys(row["what"] for row in figures["rows"]):
        lines += ["", f"{what:<24}{'at once':>8}{'batch':>7}{'per s':>9}"]
        columns = ("p50", "p95", "p99", "processor")
        lines[-1] += "".join(f"{name + ' ms':>14}" for name in columns)
        for row in figures["rows"]:
            if row["what"] == what:
                times = "".join(
                    f"{'-' if row[name] is None else format(row[name] * 1000, '.1f'):>14}"
                    for name in columns
                )
                lines.append(
                    f"{row['where']:<24}{row['at_once']:>8}{row['batch']:>7}"
                    f"{row['rate']:>9.2f}{times}"
                )
    lines.append("")
    for share in figures["shares"]:
        lines.append(
            f"{share['what']}, {share['where']}, {share['clients']} clients: "
            f"{share['share']:.0%} of the best in process ({share['best_threads']} threads, "
            f"batch {share['best_batch']}; median of {figures['turns']} turns)"
        )
        if share["processor"] is not None:
            lines[-1] += f", {share['processor']:.2f} times its processor time"
    return "\n".join(lines)


@contextlib.contextmanager
def _local_server(models: Path, batching: str | None) -> Iterator[tuple[str, int]]:
    """Runs `refocus serve` beside this process; gives its address and process number."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "keras_refocus", "serve", "--models", str(models)]
        command += ["--port", "0", "--grace", "1"]
        if batching:
            config = Path(folder) / "batching.config"
            config.write_text(batching)
            command += ["--batching", str(config)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            log = ""
            for line in process.stderr:
                log += line
                if match := re.search(r"Serving on \S*:(\d+)", line):
                    yield f"127.0.0.1:{match[1]}", process.pid
                    return
            raise OSError(f"The local server must start. It said: {log}")
        finally:
            process.terminate()
            process.communicate()


def _with_scheme(address: str) -> str:
    return address if "://" in address else f"grpc://{address}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="refocus benchmark serving",
        description="Measure throughput and latency of requests over gRPC, beside the same model "
        "in this process.",
    )
    add_models(parser)
    parser.add_argument(
        "--model", default=contract.RESTORER, help="the restorer to run (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="measure this server; without it, two local ones are started",
    )
    parser.add_argument(
        "--batching",
        type=Path,
        metavar="FILE",
        help="parameters of the local server that batches (default: those of the deployment)",
    )
    parser.add_argument(
        "--clients",
        type=int,
        nargs="+",
        default=CLIENTS,
        metavar="N",
        help="numbers of clients at once (default: 1 2 4 8 16 32)",
    )
    parser.add_argument(
        "--tile", type=int, default=256, help="side of the tiles, pixels (default: %(default)s)"
    )
    parser.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure 1280x720 pictures too",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=2.0,
        help="time for one combination in one round (default: %(default)s)",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=3,
        help="how often each combination is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--turns",
        type=int,
        default=15,
        help="short turns of the comparison with the best in this process (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
