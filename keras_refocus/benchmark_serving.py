"""Measure requests over gRPC beside the same model called in this process.

    refocus benchmark serving
    refocus benchmark serving --server gpu-box:8500

One tile per request and one picture per client, from 1 to 32 clients at once, without and with
batching; and the model itself in this process, over threads and batch sizes. All of them take turns
in one run, several rounds, so that a machine that is busy for a while disturbs them alike; each
figure is the median of its rounds. Without `--server`, two local servers are started, processes of
their own on this machine, so that server, clients and in-process calls share its cores.
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

from keras_refocus import console, engines, machine, pipeline

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


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark from the command line."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.rounds < 1 or arguments.seconds <= 0 or arguments.tile < 1:
        parser.error("--rounds, --seconds and --tile must be positive")
    if min(arguments.clients) < 1:
        parser.error("--clients must be at least 1")
    try:
        models = engines.find_models(arguments.models)
        console.import_tensorflow()
        with contextlib.ExitStack() as stack:
            if arguments.server:
                servers = {"server": arguments.server}
            else:
                servers = {
                    f"server, batching {name}": stack.enter_context(_local_server(models, text))
                    for name, text in (("off", None), ("on", BATCHING))
                }
            figures = measure(
                models,
                servers,
                model=arguments.model,
                tile=arguments.tile,
                clients=arguments.clients,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
                pictures=arguments.pictures,
            )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    print(json.dumps(figures, indent=2) if arguments.json else _report(figures))


def measure(
    models: Path,
    servers: dict[str, str],
    *,
    model: str = engines.RESTORER,
    tile: int = 256,
    clients: Sequence[int] = CLIENTS,
    seconds: float = 2.0,
    rounds: int = 3,
    pictures: bool = True,
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
        pictures: Whether 1280x720 pictures are measured too.

    Returns:
        The figures, ready for JSON. Rates are tiles or pictures per second, latencies seconds.
    """
    from keras_refocus.serving_engine import ServingEngine

    local = engines.LocalEngine(models)
    rng = np.random.default_rng(0)
    tiles = rng.random((max(BATCHES), tile, tile, 1), np.float32)
    picture = rng.integers(0, 256, (*_PICTURE, 3), np.uint8)
    options = pipeline.RestoreOptions(restorer=model)

    def call_in_process(batch):
        return lambda: local.restore(tiles[:batch], model=model)

    def restore_in_process():
        return pipeline.Restorer(local).restore(picture, options)

    with contextlib.ExitStack() as stack:
        connected = {
            name: [
                stack.enter_context(ServingEngine(_with_scheme(address), timeout=600))
                for _ in range(max(clients))
            ]
            for name, address in servers.items()
        }
        combinations: dict[tuple, tuple[list[Callable], int]] = {}
        for threads, batch in itertools.product(THREADS, BATCHES):
            key = ("tiles", "in process", threads, batch)
            combinations[key] = ([call_in_process(batch)] * threads, batch)
        for (name, clients_of), count in itertools.product(connected.items(), clients):
            calls = [
                lambda client=client: client.restore(tiles[:1], model=model)
                for client in clients_of[:count]
            ]
            combinations["tiles", name, count, 1] = (calls, 1)
        if pictures:
            for threads in THREADS:
                key = ("pictures", "in process", threads, 1)
                combinations[key] = ([restore_in_process] * threads, 1)
            for (name, clients_of), count in itertools.product(connected.items(), clients):
                calls = [
                    lambda client=client: pipeline.Restorer(client).restore(picture, options)
                    for client in clients_of[:count]
                ]
                combinations["pictures", name, count, 1] = (calls, 1)

        for calls, _ in combinations.values():
            calls[0]()  # loads, and warms the shape up
        results: dict[tuple, list[dict]] = {key: [] for key in combinations}
        total = rounds * len(combinations)
        with console.progress_bar(total, label="measuring", unit="run") as bar:
            for _ in range(rounds):
                for key, (calls, items) in combinations.items():
                    results[key].append(_run(calls, items, seconds))
                    bar.update()
    rows = [
        {
            "what": what,
            "where": where,
            "at_once": at_once,
            "batch": batch,
            **{name: statistics.median(m[name] for m in measured) for name in measured[0]},
        }
        for (what, where, at_once, batch), measured in results.items()
    ]
    return {
        "machine": machine.describe(),
        "model": model,
        "version": local.versions(model)[model],
        "tile": tile,
        "rounds": rounds,
        "seconds": seconds,
        "rows": rows,
        "shares": _shares(rows, clients),
    }


def _run(calls: Sequence[Callable], items: int, seconds: float) -> dict:
    """Repeats every call in a thread of its own until the time is over."""
    latencies: list[float] = []
    errors: list[BaseException] = []
    begun = time.perf_counter()
    lock = threading.Lock()

    def work(call):
        own = []
        try:
            while time.perf_counter() - begun < seconds:
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
    p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
    return {
        "rate": len(latencies) * items / elapsed,
        "p50": float(p50),
        "p95": float(p95),
        "p99": float(p99),
    }


def _shares(rows: list[dict], clients: Sequence[int]) -> list[dict]:
    """Each server's rate at 8 clients (or the nearest number) over the best in this process."""
    at = min(clients, key=lambda count: abs(count - 8))
    shares = []
    for what in dict.fromkeys(row["what"] for row in rows):
        here = [row for row in rows if row["what"] == what]
        best = max((r for r in here if r["where"] == "in process"), key=lambda r: r["rate"])
        for row in here:
            if row["where"] != "in process" and row["at_once"] == at:
                shares.append(
                    {
                        "what": what,
                        "where": row["where"],
                        "clients": at,
                        "share": row["rate"] / best["rate"],
                        "best_threads": best["at_once"],
                        "best_batch": best["batch"],
                    }
                )
    return shares


def _report(figures: dict) -> str:
    lines = [
        f"machine  {figures['machine']}",
        f"model    {figures['model']} {figures['version']}, tiles of "
        f"{figures['tile']}x{figures['tile']}, pictures of {_PICTURE[1]}x{_PICTURE[0]}; medians of "
        f"{figures['rounds']} rounds of {figures['seconds']:g} s in turns",
    ]
    for what in dict.fromkeys(row["what"] for row in figures["rows"]):
        lines += ["", f"{what:<24}{'at once':>8}{'batch':>7}{'per s':>9}"]
        lines[-1] += "".join(f"{name + ' ms':>10}" for name in ("p50", "p95", "p99"))
        for row in figures["rows"]:
            if row["what"] == what:
                times = "".join(f"{row[name] * 1000:>10.1f}" for name in ("p50", "p95", "p99"))
                lines.append(
                    f"{row['where']:<24}{row['at_once']:>8}{row['batch']:>7}"
                    f"{row['rate']:>9.2f}{times}"
                )
    lines.append("")
    for share in figures["shares"]:
        lines.append(
            f"{share['what']}, {share['where']}, {share['clients']} clients: "
            f"{share['share']:.0%} of the best in process ({share['best_threads']} threads, "
            f"batch {share['best_batch']})"
        )
    return "\n".join(lines)


@contextlib.contextmanager
def _local_server(models: Path, batching: str | None) -> Iterator[str]:
    """Runs `refocus serve` beside this process; gives its address."""
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
                    yield f"127.0.0.1:{match[1]}"
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
    parser.add_argument(
        "--models",
        metavar="DIR",
        help=f"folder of models (default: ${engines.MODELS_VARIABLE}, else those installed)",
    )
    parser.add_argument(
        "--model", default=engines.RESTORER, help="the restorer to run (default: %(default)s)"
    )
    parser.add_argument(
        "--server",
        metavar="HOST:PORT",
        help="measure this server; without it, two local ones are started",
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
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
