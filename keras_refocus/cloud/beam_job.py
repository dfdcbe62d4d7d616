"""Batches on Apache Beam: as many pictures as there are, on as many machines as there are.

    run("s3://bucket/in", "s3://bucket/out", settings, runner="direct", workers=2)

The pipeline lists the pictures, spreads them evenly over the workers, and restores each; a process
loads its model once, whatever its number of threads. A result is named after its picture and
carries a note of what it was made of, so a bundle that is tried again writes the same files, or
finds them done. In the end there are, beside the results:

* `manifest/part-*.parquet`: a row for each picture that is done, with SHA-256 of source and result,
  seconds and versions of models;
* `failed.jsonl`: what could not be restored, with reasons.

Here it runs with Beam's own runner in several processes. If one of them is killed the run is
begun anew, and what is done is not done again. Flink, Spark and Dataflow do that by themselves.
"""

import dataclasses
import logging
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from keras_refocus.cloud import restoring, retries
from keras_refocus.system import extras

logger = logging.getLogger(__name__)

Runner = Literal["direct", "flink", "spark", "dataflow", "portable"]
RUNNERS: tuple[str, ...] = get_args(Runner)

#: Names of what a batch leaves beside its results.
MANIFEST, FAILED = "manifest", "failed.jsonl"

# How Beam calls its runners.
_RUNNER_NAMES = {
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
    # Whatever answers at --job_endpoint.
    "portable": "PortableRunner",
}

_COUNTERS = ("restored", "skipped", "failed")
# How often a batch is begun, when one of its processes dies each time.
_ATTEMPTS = 5
# What is told of a runner's error, which may have a stack of Java in it.
_LONGEST_REASON = 500
# Exit status of the process that runs a batch here when one of its workers has died.
_DIED = 70


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batch:
    """What a batch does; it travels to every worker.

    Attributes:
        source: Address or path of the pictures.
        out: Address or path of the results.
        settings: How pictures are restored.
        models: Folder or address of models, as `engines.store.find_models` takes it.
        threads: Processor threads of each process, `None` for all.
        shards: Files of the manifest.
        recursive: Whether folders inside the source count.
    """

    source: str
    out: str
    settings: restoring.Settings
    models: str | None = None
    threads: int | None = None
    shards: int = 1
    recursive: bool = True

    def __post_init__(self):
        if self.shards < 1:
            raise ValueError(f"There must be at least one shard. Received: shards={self.shards}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """What a batch came to: numbers of pictures, and how often it was begun."""

    restored: int
    skipped: int
    failed: int
    attempts: int = 1


def build(pipeline: Any, batch: Batch) -> None:
    """Add the steps of a batch to a pipeline of Beam.

    Args:
        pipeline: `beam.Pipeline`.
        batch: What to do.
    """
    import apache_beam as beam

    from keras_refocus.cloud import beam_steps

    done, failed = (
        pipeline
        | "begin" >> beam.Create([None])
        | "list" >> beam.FlatMap(beam_steps.Listing(batch))
        # Without it one worker would do what it has listed.
        | "spread" >> beam.Reshuffle()
        | "restore" >> beam.ParDo(beam_steps.Restore(batch)).with_outputs("failed", main="done")
    )
    (
        done
        | "to shards" >> beam.Map(beam_steps.Sharding(batch.shards))
        | "gather" >> beam.GroupByKey()
        | "write manifest" >> beam.Map(beam_steps.WriteManifest(batch))
    )
    # One element always comes, so that an old list of failures does not stay.
    none = pipeline | "no failure" >> beam.Create([(0, None)])
    (
        (failed | "to one list" >> beam.Map(lambda record: (0, record)), none)
        | "with none" >> beam.Flatten()
        | "gather failures" >> beam.GroupByKey()
        | "write failures" >> beam.Map(beam_steps.WriteFailures(batch))
    )


def run(
    batch: Batch,
    *,
    runner: Runner = "direct",
    workers: int = 1,
    options: Sequence[str] = (),
) -> Summary:
    """Run a batch to its end.

    Args:
        batch: What to do.
        runner: What runs it.
        workers: Processes, of the runner `direct`.
        options: Options of Beam and of the runner, as on its command line.

    Returns:
        Numbers of pictures, as the counters tell.

    Raises:
        OSError: The batch could not be run to its end.
        ValueError: An option is out of its range.
    """
    extras.require("cloud", "A batch", "fsspec")
    extras.require("beam", "A batch", "apache_beam", "pyarrow")
    if runner not in RUNNERS:
        raise ValueError(f"The runner must be one of {', '.join(RUNNERS)}. Received: {runner!r}.")
    if workers < 1:
        raise ValueError(f"There must be at least one worker. Received: workers={workers}.")
    if runner == "direct":
        return _run_here(batch, workers, options)
    return _run_there(batch, runner, options)


def _run_there(batch: Batch, runner: str, options: Sequence[str]) -> Summary:
    """Hand a batch to a runner and wait for its end."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    try:
        pipeline = beam.Pipeline(
            options=PipelineOptions([f"--runner={_RUNNER_NAMES[runner]}", *options])
        )
        build(pipeline, batch)
        result = pipeline.run()
        state = result.wait_until_finish()
    except Exception as error:
        # Each runner has errors of its own: of gRPC, of Java that is missing, of its service.
        logger.debug("the runner failed", exc_info=True)
        raise OSError(
            "The batch must run to its end. Received from the runner: "
            f"{retries.say(error)[:_LONGEST_REASON]}. Check the options behind --; the same "
            "command goes on."
        ) from error
    if state not in (None, "DONE"):
        raise OSError(f"The batch must run to its end. Received: state {state} of the runner.")
    return _counted(result)


def _counted(result: Any, attempts: int = 1) -> Summary:
    found = dict.fromkeys(_COUNTERS, 0)
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.name in found:
            found[counter.key.metric.name] += counter.result or 0
    return Summary(**found, attempts=attempts)


def _run_here(batch: Batch, workers: int, options: Sequence[str]) -> Summary:
    """Run with Beam's own runner, in a process of its own that can be begun anew.

    That runner waits for ever for the answer of a worker that was killed.
    """
    with tempfile.TemporaryDirectory(prefix="refocus-batch-") as folder:
        told, summary = Path(folder, "batch"), Path(folder, "summary")
        told.write_bytes(pickle.dumps((batch, workers, list(options))))
        program = "import sys; from keras_refocus.cloud import beam_job; beam_job.run_in_child()"
        for attempt in range(1, _ATTEMPTS + 1):
            process = subprocess.Popen(
                [sys.executable, "-c", program, str(told), str(summary)],
                start_new_session=True,  # so that its workers can be ended with it
                env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
            )
            try:
                status = process.wait()
            finally:
                _end_group(process)
            if status == 0:
                found = pickle.loads(summary.read_bytes())
                return dataclasses.replace(found, attempts=attempt)
            if status != _DIED and status >= 0:
                raise OSError(
                    f"The batch must run to its end. Received: exit status {status} of the process "
                    "that ran it; its messages are above."
                )
            logger.warning("a process of the batch died; what is missing is done now")
    raise OSError(
        f"A batch is begun at most {_ATTEMPTS} times. Received: a process of it that died each "
        "time, as where memory is short. Use fewer --workers; the same command goes on."
    )


def _end_group(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()


def run_in_child() -> None:
    """Run a batch in this process; the file named first has it, the second gets the summary."""
    told, summary = map(Path, sys.argv[1:3])
    batch, workers, options = pickle.loads(told.read_bytes())

    def died(arguments):
        # What watches a worker raises when that has ended badly; whoever waits for its answer
        # would not be told.
        sys.__excepthook__(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)
        if arguments.thread is not None and arguments.thread.name == "run_worker":
            os._exit(_DIED)

    threading.excepthook = died
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.portability import fn_api_runner

    mode = "multi_processing" if workers > 1 else "in_memory"
    pipeline = beam.Pipeline(
        runner=fn_api_runner.FnApiRunner(),
        options=PipelineOptions(
            [
                f"--direct_running_mode={mode}",
                f"--direct_num_workers={workers}",
                "--default_sdk_harness_log_level=ERROR",
                *options,
            ]
        ),
    )
    build(pipeline, batch)
    result = pipeline.run()
    result.wait_until_finish()
    summary.write_bytes(pickle.dumps(_counted(result)))
    sys.stdout.flush()
    # Threads of the runner may linger; all is written.
    os._exit(0)
