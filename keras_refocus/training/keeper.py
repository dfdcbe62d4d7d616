"""What keeps a run folder true after every epoch, and ends a run that is over."""

import logging
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_refocus.training import run_folder

_log = logging.getLogger(__name__)


class _Events:
    """Curves and pictures for TensorBoard, whichever backend trains.

    Args:
        folder: Path of the folder.
    """

    def __init__(self, folder):
        self._writer = None
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._writer = tf.summary.create_file_writer(str(folder))
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            _log.info("no TensorBoard files: `pip install tensorboard` to have them")
        else:
            self._writer = SummaryWriter(str(folder))

    def write(self, epoch, row, sheet, title):
        """Write the row of an epoch, and its samples as a uint8 picture, grey or RGB."""
        if self._writer is None:
            return
        scalars = {
            f"validation/{name[4:]}" if name.startswith("val_") else f"training/{name}": value
            for name, value in row.items()
            if name != "epoch"
        }
        picture = sheet.reshape(1, *sheet.shape[:2], -1)
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            with self._writer.as_default(step=epoch):
                for name, value in scalars.items():
                    tf.summary.scalar(name, value)
                tf.summary.image(title, picture)
        else:
            for name, value in scalars.items():
                self._writer.add_scalar(name, value, epoch)
            self._writer.add_images(title, picture, epoch, dataformats="NHWC")
        self._writer.flush()


class RunKeeper(keras.callbacks.Callback):
    """Keep the run folder true after every epoch: state, best weights, log, curves, samples.

    Args:
        job: `TrainingJob`: says where the folder is, how many epochs there are, what an epoch is
            worth.
        record: Dict of `record.json`.
        draw: Callable that draws samples of the model in training: uint8 array of shape
            `(height, width)` or `(height, width, 3)`.
        rows: Rows of the log so far.
        write: Whether this process keeps the folder; the others of a strategy only follow.
    """

    # A check costs a wait for the device.
    _NAN_INTERVAL = 50

    def __init__(
        self,
        job: Any,
        record: dict[str, Any],
        *,
        draw: Callable[..., Any],
        rows: Sequence[dict[str, float]] = (),
        write: bool = True,
    ):
        super().__init__()
        self._job = job
        self._folder = pathlib.Path(job.folder)
        self._record = record
        self._total_epochs = job.config.total_epochs
        self._draw = draw
        self._rows = list(rows)
        self._patience = job.config.patience
        self.writes = write
        self._events = _Events(self._folder / run_folder.TENSORBOARD) if write else None
        self._started = None
        self.stopped_on_nan = False

    @property
    def rows(self) -> list[dict[str, float]]:
        return list(self._rows)

    def _monitored(self, row):
        return self._job.monitored(row, self._record["validation"])

    @property
    def _best(self):
        """The row of the best epoch so far, the first of equals, or `None`."""
        return max(self._rows, key=self._monitored, default=None)

    @property
    def out_of_patience(self) -> bool:
        """Whether validation has not become better for too long."""
        if self._patience is None or not self._rows:
            return False
        return len(self._rows) - 1 - self._rows.index(self._best) >= self._patience

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if (batch + 1) % self._NAN_INTERVAL == 0:
            self._check(logs)

    def _check(self, logs):
        """Stop at a number that is not finite; the files of the last good epoch stay."""
        if not all(math.isfinite(float(value)) for value in (logs or {}).values()):
            self.stopped_on_nan = True
            self.model.stop_training = True

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        logs = {name: float(value) for name, value in (logs or {}).items()}
        self._check(logs)
        if self.stopped_on_nan:
            return
        row = {"epoch": epoch + 1, **logs}
        row["seconds"] = time.perf_counter() - self._started
        is_best = self._best is None or self._monitored(row) > self._monitored(self._best)
        self._rows.append(row)
        if self.out_of_patience:
            self.model.stop_training = True
        if self.writes:
            self._keep(row, is_best)
        left = (self._total_epochs - epoch - 1) * np.median([row["seconds"] for row in self._rows])
        _log.info(
            "epoch %d/%d: %s (best in epoch %d); about %s left",
            epoch + 1,
            self._total_epochs,
            self._job.describe(row, self._record["validation"]),
            self._best["epoch"],
            run_folder.duration(left),
        )

    def _room(self):
        """Bytes that an epoch writes at most: every weight with Adam's two, networks, pictures."""
        weights = sum(math.prod(variable.shape) for variable in self.model.variables)
        return 5_000_000 + 4 * 4 * weights

    def _keep(self, row, is_best):
        folder, epoch = self._folder, row["epoch"]
        averaged = self.model.averaged_generator
        run_folder.check_room(folder, self._room())
        # The state comes last: if a write fails, the run goes on from the epoch before.
        run_folder.write_atomically(folder / run_folder.AVERAGED, averaged.save)
        if is_best:
            run_folder.write_atomically(folder / run_folder.BEST, averaged.save)
        run_folder.write_log(folder / run_folder.LOG, self._rows)
        run_folder.draw_curves(folder / run_folder.CURVES, self._rows)
        samples = folder / run_folder.SAMPLES
        samples.mkdir(exist_ok=True)
        sheet = self._draw()
        run_folder.write_atomically(
            samples / f"epoch_{epoch:04d}.png", lambda path: Image.fromarray(sheet).save(path)
        )
        status = f"Epoch {epoch} of {self._total_epochs}"
        if self.out_of_patience:
            status += f", ended after {self._patience} epochs without a better score"
        run_folder.write_report(
            folder,
            self._record,
            self._rows,
            status=f"{status}.",
            command=self._job.command(),
            next_steps=self._job.next_steps(),
            best=self._best,
            columns=self._job.columns,
        )
        run_folder.write_atomically(folder / run_folder.STATE, self.model.save_weights)
        self._events.write(epoch, row, sheet, ", ".join(self._job.columns))
