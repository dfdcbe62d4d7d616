"""Batching by TensorFlow Serving's rules: what runs together, what is refused."""

import threading
import time

import grpc
import numpy as np
import pytest

from keras_refocus.local_server.batching import BatchScheduler, StatusError
from keras_refocus.local_server.configuration import BatchingParameters


class Model:
    """Doubles `x` and records the sizes of the batches it was run on; can be held back."""

    def __init__(self):
        self.sizes = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, inputs):
        self.sizes.append(len(inputs["x"]))
        self.go.wait(10)
        return {"y": inputs["x"] * 2, "size": np.full(len(inputs["x"]), len(inputs["x"]))}


@pytest.fixture
def start():
    schedulers = []

    def make(model, **parameters):
        scheduler = BatchScheduler(BatchingParameters(**{"num_batch_threads": 1, **parameters}))
        schedulers.append((scheduler, model))
        return scheduler.queue(model)

    yield make
    for scheduler, model in schedulers:
        model.go.set()
        scheduler.close()


def submit_all(queue, arrays, *, pause=0.0):
    """Submits each array from its own thread; returns results and errors in the same order."""
    results = [None] * len(arrays)

    def work(index):
        try:
            results[index] = queue.submit({"x": arrays[index]})
        except StatusError as error:
            results[index] = error

    threads = []
    for index in range(len(arrays)):
        threads.append(threading.Thread(target=work, args=(index,)))
        threads[-1].start()
        time.sleep(pause)
    return threads, results


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    assert condition()


def rows(count, value=0.0, width=3):
    return np.full((count, width), value, np.float32)


def test_a_full_batch_runs_at_once_and_each_task_gets_its_own_rows(start):
    model = Model()
    queue = start(model, max_batch_size=4, batch_timeout_micros=10_000_000)
    began = time.monotonic()
    threads, results = submit_all(queue, [rows(1, 1), rows(2, 2), rows(1, 3)])
    for thread in threads:
        thread.join(5)
    assert time.monotonic() - began < 5
    assert model.sizes == [4]
    for result, count, value in zip(results, (1, 2, 1), (2, 4, 6), strict=True):
        assert np.array_equal(result["y"], rows(count, value))


def test_an_incomplete_batch_waits_for_the_timeout(start):
    model = Model()
    queue = start(model, max_batch_size=4, batch_timeout_micros=100_000)
    began = time.monotonic()
    queue.submit({"x": rows(1)})
    assert 0.09 < time.monotonic() - began < 3
    assert model.sizes == [1]


def test_a_request_that_does_not_fit_opens_the_next_batch(start):
    model = Model()
    queue = start(model, max_batch_size=4, batch_timeout_micros=0)
    model.go.clear()
    first, _ = submit_all(queue, [rows(1)])
    wait_until(lambda: model.sizes == [1])
    threads, results = submit_all(queue, [rows(3, 1), rows(2, 2), rows(2, 3)], pause=0.05)
    model.go.set()
    for thread in first + threads:
        thread.join(5)
    assert model.sizes == [1, 3, 4]
    assert [int(result["size"][0]) for result in results] == [3, 4, 4]


def test_batches_are_padded_to_an_allowed_size(start):
    model = Model()
    queue = start(model, max_batch_size=8, allowed_batch_sizes=(2, 8))
    assert np.array_equal(queue.submit({"x": rows(1, 5)})["y"], rows(1, 10))
    assert np.array_equal(queue.submit({"x": rows(3, 5)})["y"], rows(3, 10))
    assert model.sizes == [2, 8]


def test_a_full_queue_is_unavailable(start):
    model = Model()
    queue = start(model, max_batch_size=2, max_enqueued_batches=2)
    model.go.clear()
    running, _ = submit_all(queue, [rows(2)])
    wait_until(lambda: model.sizes == [2])
    waiting, _ = submit_all(queue, [rows(2), rows(2)], pause=0.05)
    with pytest.raises(StatusError, match="queue to which this task was submitted is full") as e:
        queue.submit({"x": rows(1)})
    assert e.value.code == grpc.StatusCode.UNAVAILABLE
    model.go.set()
    for thread in running + waiting:
        thread.join(5)
    assert model.sizes == [2, 2, 2]


def test_a_request_larger_than_a_batch_is_refused(start):
    queue = start(Model(), max_batch_size=2)
    with pytest.raises(
        StatusError, match="Task size 3 is larger than maximum input batch size 2"
    ) as e:
        queue.submit({"x": rows(3)})
    assert e.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_a_large_request_is_split_when_allowed(start):
    model = Model()
    queue = start(
        model,
        max_batch_size=10,
        enable_large_batch_splitting=True,
        max_execution_batch_size=4,
        batch_timeout_micros=1000,
    )
    x = np.arange(30, dtype=np.float32).reshape(10, 3)
    assert np.array_equal(queue.submit({"x": x})["y"], 2 * x)
    assert model.sizes == [4, 4, 2]
    with pytest.raises(StatusError, match="Task size 11 is larger"):
        queue.submit({"x": rows(11)})


def test_splitting_respects_the_queue(start):
    model = Model()
    queue = start(
        model,
        max_batch_size=10,
        enable_large_batch_splitting=True,
        max_execution_batch_size=2,
        max_enqueued_batches=2,
    )
    with pytest.raises(StatusError, match="task size is 5 but scheduling capacity is only 4") as e:
        queue.submit({"x": rows(5)})
    assert e.value.code == grpc.StatusCode.UNAVAILABLE


def test_unequal_shapes_in_one_batch_fail_together(start):
    queue = start(Model(), max_batch_size=2, batch_timeout_micros=10_000_000)
    threads, results = submit_all(queue, [rows(1, width=3), rows(1, width=4)])
    for thread in threads:
        thread.join(5)
    for error in results:
        assert error.code == grpc.StatusCode.FAILED_PRECONDITION
        assert "'x' from different tasks have different shapes" in error.message
    # The next batch is not harmed.
    threads, results = submit_all(queue, [rows(1), rows(1)])
    for thread in threads:
        thread.join(5)
    assert np.array_equal(results[1]["y"], rows(1))


def test_unequal_shapes_are_padded_when_told_so(start):
    queue = start(
        Model(), max_batch_size=2, batch_timeout_micros=10_000_000, pad_variable_length_inputs=True
    )
    threads, results = submit_all(queue, [rows(1, 1, width=2), rows(1, 2, width=4)], pause=0.05)
    for thread in threads:
        thread.join(5)
    assert results[0]["y"].tolist() == [[2, 2, 2, 2]]
    assert results[1]["y"].tolist() == [[4, 4, 4, 4]]


@pytest.mark.parametrize(
    "inputs, message",
    [
        ({}, "at least one input tensor"),
        ({"x": np.float32(1)}, "at least one dimension"),
        ({"x": rows(1), "z": rows(2)}, "equal 0th-dimension size"),
    ],
)
def test_inputs_that_cannot_be_batched_are_refused(start, inputs, message):
    queue = start(Model())
    with pytest.raises(StatusError, match=message) as e:
        queue.submit({name: np.asarray(value) for name, value in inputs.items()})
    assert e.value.code == grpc.StatusCode.INVALID_ARGUMENT


def test_an_empty_request_gives_an_empty_answer(start):
    assert start(Model(), max_batch_size=2).submit({"x": rows(0)})["y"].shape == (0, 3)


def test_an_output_that_cannot_be_split_is_reported():
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=1))
    try:
        for outputs, message in [
            ({"y": np.zeros(7)}, "0th dimension does not equal the sum"),
            ({"y": np.float32(0)}, "has 0 dimensions"),
        ]:
            queue = scheduler.queue(lambda inputs, outputs=outputs: outputs)
            with pytest.raises(StatusError, match=message) as e:
                queue.submit({"x": rows(2)})
            assert e.value.code == grpc.StatusCode.FAILED_PRECONDITION
    finally:
        scheduler.close()


def test_an_error_of_the_model_reaches_every_task_and_the_thread_lives_on():
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=1))
    try:
        calls = []

        def run(inputs):
            calls.append(1)
            if len(calls) == 1:
                raise ZeroDivisionError("broken")
            return {"y": inputs["x"]}

        queue = scheduler.queue(run)
        with pytest.raises(ZeroDivisionError, match="broken"):
            queue.submit({"x": rows(1)})
        assert queue.submit({"x": rows(1)})["y"].shape == (1, 3)
    finally:
        scheduler.close()


def test_a_batch_that_nobody_waits_for_is_not_run(start):
    model = Model()
    queue = start(model)
    with pytest.raises(StatusError, match="timeout exceeded while waiting"):
        queue.submit({"x": rows(1)}, wanted=lambda: False)
    assert model.sizes == []


def test_closing_a_queue_refuses_what_waits_and_finishes_what_runs(start):
    model = Model()
    queue = start(model, max_batch_size=1)
    model.go.clear()
    running, running_results = submit_all(queue, [rows(1, 4)])
    wait_until(lambda: model.sizes == [1])
    waiting, results = submit_all(queue, [rows(1)], pause=0.05)
    queue.close()
    waiting[0].join(5)
    assert results[0].code == grpc.StatusCode.UNAVAILABLE
    model.go.set()
    running[0].join(5)
    assert np.array_equal(running_results[0]["y"], rows(1, 8))
    with pytest.raises(StatusError, match="unloaded"):
        queue.submit({"x": rows(1)})


def test_two_queues_take_turns():
    scheduler = BatchScheduler(BatchingParameters(num_batch_threads=1, max_batch_size=1))
    order, go = [], threading.Event()
    try:

        def model(name):
            def run(inputs):
                order.append(name)
                go.wait(10)
                return {"y": inputs["x"]}

            return run

        a, b = scheduler.queue(model("a")), scheduler.queue(model("b"))
        threads, _ = submit_all(a, [rows(1)] * 3, pause=0.05)
        more, _ = submit_all(b, [rows(1)] * 3, pause=0.05)
        go.set()
        for thread in threads + more:
            thread.join(5)
        assert order[1:5] in (["b", "a", "b", "a"], ["a", "b", "a", "b"])
    finally:
        go.set()
        scheduler.close()


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"max_batch_size": 0}, "max_batch_size"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches"),
        ({"num_batch_threads": 0}, "num_batch_threads"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (4, 2)}, "increasing"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (1, 2)}, "must match max_batch_size"),
        (
            {
                "max_batch_size": 4,
                "max_execution_batch_size": 8,
                "enable_large_batch_splitting": True,
            },
            "at most max_batch_size",
        ),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        BatchingParameters(**settings)
