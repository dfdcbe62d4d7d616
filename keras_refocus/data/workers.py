"""Feed batches to training: `sampling` behind a look-ahead of worker processes."""

import collections
import concurrent.futures
import itertools
import multiprocessing
from typing import Any

import numpy as np

from keras_refocus.data import sampling
from keras_refocus.system import machine


def default_workers() -> int:
    """Number of worker processes: a quarter of the cores, and two at least.

    They rest while enough batches are ready, so that two leave most of even two cores to training;
    one would be too slow where blur is long or pictures must be read.
    """
    return max(2, machine.usable_cores() // 4)


class Batches:
    """Consecutive batches of a sampler, made ahead of time by worker processes.

    Iterating gives batch `first`, `first + 1` ... of the sampler, whatever the number of workers.
    This is an iterable and not a `keras.utils.PyDataset`: `fit` asks a PyDataset for the next
    epoch's batches before it says that the epoch has ended, and ends one epoch too many when it
    begins, so a PyDataset whose batches depend on the epoch is not what it seems.

    The processes live as long as this object: `close` ends them.

    Args:
        sampler: `sampling.Sampler`.
        first: Number of the first batch.
        count: Number of batches.
        workers: Number of processes; 0 makes batches in the calling process.
        ahead: Batches kept ready.
        part: Tuple `(index, count)`: of every batch only part `index` of `count`, as one machine of
            several takes it.
    """

    def __init__(
        self,
        sampler: Any,
        *,
        first: int,
        count: int,
        workers: int | None = None,
        ahead: int = 8,
        part: tuple[int, int] = (0, 1),
    ):
        self._sampler = sampler
        self._numbers = range(first, first + count)
        self._ahead = ahead
        self._part = part
        self._workers = workers = default_workers() if workers is None else workers
        self._closed = False
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
        return len(self._numbers)

    def __iter__(self):
        if self._pool is None:
            for number in self._numbers:
                yield self._sampler.batch(number, part=self._part)
            return
        # Batches out of the same pictures go to one process, which reads these once.
        echo = self._sampler.echo
        groups = itertools.groupby(self._numbers, lambda number: number // echo)
        groups = (list(numbers) for _, numbers in groups)
        ahead = self._ahead if echo == 1 else max(-(-self._ahead // echo), self._workers + 1)
        pending = collections.deque()
        try:
            while True:
                for numbers in itertools.islice(groups, ahead - len(pending)):
                    pending.append(self._pool.submit(sampling.worker_batches, numbers, self._part))
                if not pending:
                    return
                yield from pending.popleft().result()
        except (RuntimeError, concurrent.futures.CancelledError) as error:
            # A reader in another thread may still want more when training has ended early.
            if self._closed:
                return
            if isinstance(error, concurrent.futures.BrokenExecutor):
                raise OSError(
                    "The processes that prepare batches must stay alive. Received: one ended, most "
                    "likely for want of memory. Go on with --resume and fewer of them: --workers."
                ) from error
            raise

    def close(self) -> None:
        """End the worker processes."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


def validation_arrays(sampler: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
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
