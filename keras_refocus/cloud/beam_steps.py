"""The steps of a batch, as Beam carries them to its workers."""

import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.utils import shared

from keras_refocus.cloud import beam_job, restoring, retries, storage
from keras_refocus.engines.local import LocalEngine
from keras_refocus.restoration import pipeline

Row = dict[str, Any]


class Listing:
    """Lists the pictures of a batch, as tuples that every coder of Beam takes."""

    def __init__(self, batch: beam_job.Batch):
        self._batch = batch

    def __call__(self, begin: None) -> Iterator[tuple]:
        source = storage.open_source(self._batch.source, recursive=self._batch.recursive)
        for entry in source.pictures():
            yield (entry.name, entry.size, entry.tag, entry.modified)


class Restore(beam.DoFn):
    """Restores one picture; a process has one model, whatever its number of threads."""

    def __init__(self, batch: beam_job.Batch):
        self._batch = batch
        self._shared = shared.Shared()
        self._counters = {
            name: Metrics.counter("refocus", name) for name in ("restored", "skipped", "failed")
        }

    def setup(self) -> None:
        batch = self._batch
        self._source = storage.open_source(batch.source, recursive=batch.recursive).place
        self._out = storage.open_place(batch.out)
        self._restorer = self._shared.acquire(
            lambda: pipeline.Restorer(LocalEngine(batch.models, threads=batch.threads))
        )

    def process(self, element: tuple) -> Iterator[Any]:
        name, size, tag, modified = element
        settings = self._batch.settings
        task = restoring.Task(
            source=self._source,
            entry=storage.Entry(name=name, size=size, tag=tag, modified=modified),
            out=self._out,
            target=settings.target(name),
        )
        outcome = restoring.restore_one(task, self._restorer, settings)
        self._counters[outcome.status].inc()
        if outcome.status == "failed":
            record = {
                "source": task.shown,
                "reason": outcome.reason,
                "temporary": outcome.temporary,
            }
            yield beam.pvalue.TaggedOutput("failed", record)
            return
        record = outcome.record
        yield {
            "source": task.shown,
            "source_tag": tag,
            "source_sha256": record.get("input_sha256"),
            "result": self._out.show(task.target),
            "result_sha256": record.get("output_sha256"),
            "width": record.get("width"),
            "height": record.get("height"),
            "is_grayscale": record.get("is_grayscale"),
            "stages": list(record.get("stages", ())),
            "model_versions": dict(record.get("model_versions", {})),
            "seconds": record.get("seconds"),
        }


class Sharding:
    """Puts rows into files by the name of their picture, the same in every run."""

    def __init__(self, shards: int):
        self._shards = shards

    def __call__(self, row: Row) -> tuple[int, Row]:
        return zlib.crc32(row["source"].encode()) % self._shards, row


class WriteManifest:
    """Writes the rows of one file of the manifest, in Parquet."""

    def __init__(self, batch: beam_job.Batch):
        self._batch = batch

    def __call__(self, keyed: tuple[int, Iterable[Row]]) -> str:
        import pyarrow
        import pyarrow.parquet

        shard, rows = keyed
        schema = pyarrow.schema(
            [
                ("source", pyarrow.string()),
                ("source_tag", pyarrow.string()),
                ("source_sha256", pyarrow.string()),
                ("result", pyarrow.string()),
                ("result_sha256", pyarrow.string()),
                ("width", pyarrow.int32()),
                ("height", pyarrow.int32()),
                ("is_grayscale", pyarrow.bool_()),
                ("stages", pyarrow.list_(pyarrow.string())),
                ("model_versions", pyarrow.map_(pyarrow.string(), pyarrow.string())),
                ("seconds", pyarrow.float64()),
            ]
        )
        ordered = sorted(rows, key=lambda row: row["source"])
        for row in ordered:
            row["model_versions"] = sorted(row["model_versions"].items())
        table = pyarrow.Table.from_pylist(ordered, schema=schema)
        content = io.BytesIO()
        pyarrow.parquet.write_table(table, content, compression="zstd")
        name = f"{beam_job.MANIFEST}/part-{shard:05}-of-{self._batch.shards:05}.parquet"
        storage.open_place(self._batch.out).write(name, content.getvalue())
        return name


class WriteFailures:
    """Writes the list of what could not be restored, or removes that of an earlier run."""

    def __init__(self, batch: beam_job.Batch):
        self._batch = batch

    def __call__(self, keyed: tuple[int, Iterable[Row | None]]) -> int:
        failures = sorted(
            (row for row in keyed[1] if row is not None), key=lambda row: row["source"]
        )
        out = storage.open_place(self._batch.out)
        if failures:
            lines = [retries.redact(json.dumps(row, ensure_ascii=False)) for row in failures]
            out.write(beam_job.FAILED, "".join(f"{line}\n" for line in lines).encode())
        else:
            out.delete(beam_job.FAILED)
        return len(failures)
