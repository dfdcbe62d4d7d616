"""The report of a batch: a JSON file that is whole, and says all that is done, at any moment.

Every picture adds its record, with the end of the file behind it, in one write, so that a run that
is killed loses nothing. While a run lasts, `finished` is `null`.
"""

import datetime
import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import keras_refocus
from keras_refocus.restoration.pipeline import RestoreOptions
from keras_refocus.system import files

Record = dict[str, Any]

# Bytes of the file that are looked through at once.
_BLOCK = 2**16


class Report:
    """Written as the work goes, by one run at a time. Use it as a context manager.

    Args:
        path: File to write; missing folders are made.
        options: What is asked for.
        models: Where the models are.
        origins: Gives, for names of models, whose weights those with published weights have.
        overwrite: Whether a file of that name may be replaced.
        goes_on: Whether the report of an earlier run is continued, if there is one.
        anew: Inputs that are to be restored in this run, as far as that is known: what an earlier
            run said of them is dropped at once. Of others it is replaced when they are added.

    Raises:
        FileExistsError: There is a file of that name, or another run is writing it.
        OSError: It cannot be written.
        ValueError: The file to be continued is no report, or one of other options.
    """

    def __init__(
        self,
        path: Path,
        *,
        options: RestoreOptions,
        models: str,
        origins: Callable[[Collection[str]], Mapping[str, Any]],
        overwrite: bool = False,
        goes_on: bool = False,
        anew: Collection[str] = (),
    ):
        self.path = path
        self._origins = origins
        self._used: set[str] = set()
        self._licences: Mapping[str, Any] = {}
        self._count = 0
        # Where what an earlier run said stands in the file: {input: (start, length)}.
        self._earlier: dict[str, tuple[int, int]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a record is one write.
        self._file = _open(path, may_exist=overwrite or goes_on)
        head = {
            "program": f"keras_refocus {keras_refocus.__version__}",
            "models": models,
            "options": json.loads(json.dumps(options.record())),
        }
        try:
            earlier = self._file.read() if goes_on else b""
            kept = _records_of(earlier, path, head["options"]) if earlier else []
            self._file.seek(0)
            text = json.dumps(head, indent=2).removesuffix("\n}") + ',\n  "files": ['
            self._end = self._write(text.encode(), self._tail())
            self._file.truncate()
            # Of two about one input the later holds: a run was killed between writing it and
            # removing the earlier one.
            latest = {record.get("input"): record for record in kept}
            for name, record in latest.items():
                if name not in anew:
                    start = self._end
                    self.add(record)
                    self._earlier[name] = (start, self._end - start)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def add(self, record: Record) -> None:
        """Add what was done to one file, in place of what an earlier run said of it.

        Raises:
            OSError: It cannot be written; what was written before is still there.
        """
        text = json.dumps(record, indent=2).replace("\n", "\n    ")
        earlier = self._earlier.pop(record.get("input", ""), None)
        if earlier is not None and self._read(*earlier).lstrip(b", \n") == text.encode():
            return
        used = self._used | set(record.get("model_versions", ()))
        if used != self._used:
            self._used, self._licences = used, self._origins(sorted(used))
        text = ("," if self._count else "") + "\n    " + text
        self._file.seek(self._end)
        try:
            self._end = self._write(text.encode(), self._tail())
        except OSError:
            # The disk is full. The end that was there fits where it was.
            self._file.seek(self._end)
            self._write(b"", self._tail())
            self._file.truncate()
            raise
        self._count += 1
        if earlier is not None:
            self._blank(*earlier)

    def close(self) -> None:
        """Say when the run finished, and let go of the file.

        Raises:
            OSError: It cannot be written.
        """
        if self._file.closed:
            return
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        try:
            self._file.seek(self._end)
            self._write(b"", self._tail(now))
        finally:
            self._file.close()

    def _write(self, content: bytes, tail: bytes) -> int:
        """Write at the current place; returns the place of the tail."""
        start = self._file.tell()
        whole = content + tail
        written = self._file.write(whole)
        while written < len(whole):  # As on a disk that is nearly full.
            written += self._file.write(whole[written:])
        return start + len(content)

    def _read(self, start: int, length: int) -> bytes:
        self._file.seek(start)
        return self._file.read(length)

    def _blank(self, start: int, length: int) -> None:
        """Remove a record behind which there is another one: between records JSON allows spaces.

        The next run that goes on closes the gap.
        """
        if not self._read(start, 1) == b",":  # the first: its comma is that of the next one
            comma = -1
            while comma < 0:
                comma = self._read(start + length, _BLOCK).find(b",")
                length += comma + 1 if comma >= 0 else _BLOCK
        self._file.seek(start)
        self._file.write(b" " * length)

    def _tail(self, finished: str | None = None) -> bytes:
        rest = {"finished": finished, "published_weights": self._licences}
        return ("\n  ],\n" + json.dumps(rest, indent=2).removeprefix("{\n") + "\n").encode()


def _open(path: Path, *, may_exist: bool):
    is_new = not (may_exist and path.exists())
    if not is_new and not path.is_file():
        raise FileExistsError(f"The report must be a file. Received: '{path}', which is none.")
    try:
        file = path.open("x+b" if is_new else "r+b", buffering=0)
    except FileExistsError as error:
        raise FileExistsError(
            f"A report is never replaced unasked. Received: '{path}', which exists. Name another, "
            "add --overwrite, or go on where an earlier run stopped with --skip-done."
        ) from error
    if not files.lock(file):
        file.close()
        raise FileExistsError(
            f"A report is that of one run. Received: '{path}', which another run is writing. "
            "Name another."
        )
    return file


def _records_of(content: bytes, path: Path, options: Mapping[str, Any]) -> list[Record]:
    try:
        report = json.loads(content)
        records, earlier = list(map(dict, report["files"])), report["options"]
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(
            "Only the report of an earlier run can be continued. Received: "
            f"'{path}', which is none. Name another."
        ) from error
    if earlier != options:
        differ = sorted(
            name for name in {*earlier, *options} if earlier.get(name) != options.get(name)
        )
        raise ValueError(
            "A report is continued with the options that it began with. Received: "
            f"'{path}', whose {', '.join(differ)} differ. Name another report."
        )
    return records
