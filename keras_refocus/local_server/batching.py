"""Joins requests that arrive together into one run of a model, as TensorFlow Serving does.

The rules and the wording of errors are those of its `SharedBatchScheduler` and `BatchingSession`:
a batch closes when it is full, an incomplete one runs when it has waited `batch_timeout_micros` and
a thread is free, requests of unequal shapes in one batch fail together, and a full queue refuses.
The guide to the parameters:
https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future

import grpc
import numpy as np

from keras_refocus.local_server.configuration import BatchingParameters

logger = logging.getLogger(__name__)

Tensors = Mapping[str, np.ndarray]


class StatusError(Exception):
    """An error with the gRPC status that a client is to see.

    Args:
        code: A `grpc.StatusCode`.
        message: The details of the status.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


class _Task:
    """One request, or one piece of it, waiting to be run."""

    def __init__(self, inputs: Tensors, size: int, wanted: Callable[[], bool]):
        self.inputs = inputs
        self.size = size
        self.wanted = wanted
        self.done = Future()


class _Batch:
    """Tasks that will run together."""

    def __init__(self):
        self.tasks: list[_Task] = []
        self.size = 0
        self.opened_at = 0.0

    def add(self, task: _Task) -> None:
        if not self.tasks:
            self.opened_at = time.monotonic()
        self.tasks.append(task)
        self.size += task.size


class BatchQueue:
    """Requests to one signature of one model version; made by `BatchScheduler.queue`."""

    def __init__(self, scheduler: "BatchScheduler", run: Callable[[Tensors], Tensors]):
        self._scheduler = scheduler
        self._run = run
        # The last batch is open, those before it are full.
        self._batches: deque[_Batch] = deque([_Batch()])

    def submit(self, inputs: Tensors, *, wanted: Callable[[], bool] = lambda: True) -> Tensors:
        """Runs the model on `inputs`, together with other requests; blocks until done.

        Args:
            inputs: Arrays with an equal first dimension, by name.
            wanted: Asked before the batch runs; when it is false for each task of a batch, nobody
                waits for the answer any more and the batch is dropped.

        Returns:
            Output arrays, by name, with the first dimension of the inputs.

        Raises:
            StatusError: INVALID_ARGUMENT, FAILED_PRECONDITION, UNAVAILABLE or RESOURCE_EXHAUSTED.
        """
        size = _first_dimension(inputs)
        tasks = self._scheduler.enqueue(self, inputs, size, wanted)
        results = [task.done.result() for task in tasks]
        if len(results) == 1:
            return results[0]
        return {name: np.concatenate([r[name] for r in results]) for name in results[0]}

    def close(self) -> None:
        """Removes the queue; what is waiting is refused, what is running is finished."""
        self._scheduler.remove(self)

    # The methods below are called by the scheduler, which holds its lock for all but `process`.

    def place(self, inputs: Tensors, size: int, wanted: Callable[[], bool]) -> list[_Task]:
        """Puts a request into the last batch or into new ones."""
        parameters = self._scheduler.parameters
        limit = parameters.execution_batch_size
        if size > parameters.max_batch_size:
            raise StatusError(
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Task size {size} is larger than maximum input batch size "
                f"{parameters.max_batch_size}",
            )
        if not parameters.enable_large_batch_splitting:
            if self._batches[-1].size + size > limit:
                if len(self._batches) >= parameters.max_enqueued_batches:
                    raise StatusError(
                        grpc.StatusCode.UNAVAILABLE,
                        "The batch scheduling queue to which this task was submitted is full",
                    )
                self._batches.append(_Batch())
            task = _Task(inputs, size, wanted)
            self._batches[-1].add(task)
            return [task]
        free = parameters.max_enqueued_batches - len(self._batches)
        capacity = free * limit + limit - self._batches[-1].size
        if size > capacity:
            raise StatusError(
                grpc.StatusCode.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full; task size "
                f"is {size} but scheduling capacity is only {capacity}",
            )
        tasks, start = [], 0
        while start < size or not tasks:
            if self._batches[-1].size >= limit:
                self._batches.append(_Batch())
            piece = min(size - start, limit - self._batches[-1].size)
            part = {name: array[start : start + piece] for name, array in inputs.items()}
            tasks.append(_Task(part, piece, wanted))
            self._batches[-1].add(tasks[-1])
            start += piece
        return tasks

    def ready_in(self, now: float) -> float | None:
        """Seconds until a batch may run: 0 for now, `None` when nothing waits."""
        first = self._batches[0]
        if not first.tasks:
            return None
        parameters = self._scheduler.parameters
        if len(self._batches) > 1 or first.size >= parameters.execution_batch_size:
            return 0.0
        return max(0.0, first.opened_at + parameters.batch_timeout_micros / 1e6 - now)

    def take(self) -> _Batch:
        """Removes the first batch."""
        batch = self._batches.popleft()
        if not self._batches:
            self._batches.append(_Batch())
        return batch

    def process(self, batch: _Batch) -> None:
        """Runs one batch and hands every task its part of the outputs, or the error."""
        try:
            if not any(task.wanted() for task in batch.tasks):
                raise StatusError(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    "Run() timeout exceeded while waiting in batching queue",
                )
            inputs, padding = _merge(batch.tasks, self._scheduler.parameters)
            outputs = self._run(inputs)
            results = _split(outputs, [task.size for task in batch.tasks], padding)
        except Exception as error:  # each waiting request must hear of it, whatever it is
            for task in batch.tasks:
                task.done.set_exception(error)
            return
        for task, result in zip(batch.tasks, results, strict=True):
            task.done.set_result(result)


class BatchScheduler:
    """A pool of threads that forms and runs batches for any number of queues.

    Args:
        parameters: Sizes, time-out and number of threads.
    """

    def __init__(self, parameters: BatchingParameters):
        self.parameters = parameters
        self._queues: deque[BatchQueue] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{i}", daemon=True)
            for i in range(parameters.threads)
        ]
        for thread in self._threads:
            thread.start()

    def queue(self, run: Callable[[Tensors], Tensors]) -> BatchQueue:
        """Opens a queue for the model that `run` calls."""
        queue = BatchQueue(self, run)
        with self._changed:
            self._queues.append(queue)
        return queue

    def enqueue(
        self, queue: BatchQueue, inputs: Tensors, size: int, wanted: Callable[[], bool]
    ) -> list[_Task]:
        """Puts a request into `queue` and wakes a thread; called by `BatchQueue.submit`."""
        with self._changed:
            if self._closed or queue not in self._queues:
                raise StatusError(grpc.StatusCode.UNAVAILABLE, "The model is being unloaded")
            tasks = queue.place(inputs, size, wanted)
            self._changed.notify()
        return tasks

    def remove(self, queue: BatchQueue) -> None:
        """Removes a queue; called by `BatchQueue.close`."""
        with self._changed:
            if queue not in self._queues:
                return
            self._queues.remove(queue)
            waiting = []
            while queue.ready_in(0.0) is not None:
                waiting.extend(queue.take().tasks)
        for task in waiting:
            task.done.set_exception(
                StatusError(grpc.StatusCode.UNAVAILABLE, "The model is being unloaded")
            )

    def close(self) -> None:
        """Closes every queue and waits for the running batches."""
        with self._changed:
            self._closed = True
            queues = list(self._queues)
        for queue in queues:
            self.remove(queue)
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (work := self._next()) is not None:
            queue, batch = work
            queue.process(batch)

    def _next(self) -> tuple[BatchQueue, _Batch] | None:
        """Waits for a batch that may run; queues take turns. `None` when closed."""
        with self._changed:
            while not self._closed:
                now, soonest = time.monotonic(), None
                for _ in range(len(self._queues)):
                    queue = self._queues[0]
                    self._queues.rotate(-1)
                    seconds = queue.ready_in(now)
                    if seconds == 0.0:
                        return queue, queue.take()
                    if seconds is not None:
                        soonest = seconds if soonest is None else min(soonest, seconds)
                self._changed.wait(soonest)
            return None


def _first_dimension(inputs: Tensors) -> int:
    if not inputs:
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT, "Batching Run() must have at least one input tensor"
        )
    sizes = set()
    for array in inputs.values():
        if array.ndim == 0:
            raise StatusError(
                grpc.StatusCode.INVALID_ARGUMENT,
                "Batching Run() input tensors must have at least one dimension",
            )
        sizes.add(array.shape[0])
    if len(sizes) > 1:
        raise StatusError(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Batching Run() input tensors must have equal 0th-dimension size",
        )
    return sizes.pop()


def _merge(tasks: list[_Task], parameters: BatchingParameters) -> tuple[Tensors, int]:
    """Concatenates the inputs of all tasks; pads the batch up to an allowed size.

    Returns:
        The merged inputs, and how many rows of padding they end with.
    """
    size = sum(task.size for task in tasks)
    padding = next((s for s in parameters.allowed_batch_sizes if s >= size), size) - size
    merged = {}
    for name in tasks[0].inputs:
        arrays = [task.inputs[name] for task in tasks]
        if any(array.shape[1:] != arrays[0].shape[1:] for array in arrays):
            same_rank = all(array.ndim == arrays[0].ndim for array in arrays)
            if not (parameters.pad_variable_length_inputs and same_rank):
                raise StatusError(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"Tensors with name '{name}' from different tasks have different shapes and "
                    "padding is turned off. Set pad_variable_length_inputs to true, or ensure "
                    "that all tensors with the same name have equal dimensions starting with the "
                    "first dim.",
                )
            arrays = _pad_to_largest(arrays)
        if padding and size:
            # A row that is known to be valid input: the first of the last task.
            arrays.append(np.repeat(arrays[-1][:1], padding, axis=0))
        merged[name] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    return merged, padding if size else 0


def _pad_to_largest(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Pads at the end of every dimension but the first, with each array's first value."""
    largest = np.max([array.shape[1:] for array in arrays], axis=0)
    return [
        np.pad(
            array,
            [(0, 0)] + [(0, int(b) - a) for a, b in zip(array.shape[1:], largest, strict=True)],
            constant_values=array.flat[0],
        )
        for array in arrays
    ]


def _split(outputs: Tensors, sizes: list[int], padding: int) -> list[Tensors]:
    """Cuts the outputs of a batch back into those of its tasks."""
    for name, array in outputs.items():
        if array.ndim == 0:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions"
            )
        if array.shape[0] != sum(sizes) + padding:
            raise StatusError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Batched output tensor's 0th dimension does not equal the sum of the 0th "
                f"dimension sizes of the input tensors. Received: output {name} with "
                f"{array.shape[0]} rows",
            )
    results, start = [], 0
    for size in sizes:
        results.append({name: array[start : start + size] for name, array in outputs.items()})
        start += size
    return results
