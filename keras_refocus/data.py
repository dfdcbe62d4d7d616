"""Feed batches to `fit`: `sampling` behind a look-ahead of worker processes."""

import concurrent.futures
import multiprocessing
import os

import keras
import numpy as np

from keras_refocus import sampling


def default_workers():
    """Number of worker processes that leaves most of the machine to the training step."""
    return max(1, (os.cpu_count() or 2) // 4)


class Batches(keras.utils.PyDataset):
    """Batches of a sampler in order, made ahead of time by worker processes.

    Batch `i` of epoch `e` is number `first + e * steps + i` of the sampler, whatever the number of
    workers. The processes live as long as this object: `close` ends them.

    Args:
        sampler: `sampling.Sampler`.
        steps: Batches in an epoch.
        first: Number of the first batch of the first epoch.
        workers: Number of processes; 0 makes batches in the calling process.
        ahead: Batches kept ready.
    """

    def __init__(self, sampler, *, steps, first=0, workers=None, ahead=8):
        super().__init__(workers=1, use_multiprocessing=False)
        self._sampler = sampler
        self._steps = steps
        self._next_epoch = first
        self._ahead = ahead
        self._pending = {}
        workers = default_workers() if workers is None else workers
        self._pool = None
        if workers > 0:
            self._pool = concurrent.futures.ProcessPoolExecutor(
                workers,
                # TensorFlow's threads do not survive a fork.
                mp_context=multiprocessing.get_context("spawn"),
                initializer=sampling.start_worker,
                initargs=(sampler,),
            )

    def __len__(self):
        return self._steps

    def __getitem__(self, index):
        number = self._next_epoch + index
        if self._pool is None:
            return self._sampler.batch(number)
        for ahead in range(number, number + self._ahead):
            if ahead not in self._pending:
                self._pending[ahead] = self._pool.submit(sampling.worker_batch, ahead)
        for stale in [key for key in self._pending if key < number]:
            self._pending.pop(stale).cancel()
        return self._pending.pop(number).result()

    def on_epoch_end(self):
        self._next_epoch += self._steps

    def close(self):
        """End the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def validation_arrays(sampler, count):
    """Make a fixed validation set.

    Args:
        sampler: `sampling.Sampler` with `flip=False`.
        count: Number of examples.

    Returns:
        Tuple `(blurred, sharp)` of float32 arrays of shape `(count, size, size, 1)`.
    """
    pairs = [sampler.example(position) for position in range(count)]
    blurred, sharp = zip(*pairs, strict=True)
    return np.stack(blurred), np.stack(sharp)
