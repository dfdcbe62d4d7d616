import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from counting_sampler import Counting

from keras_refocus.data import workers as data


@pytest.mark.parametrize(("workers", "ahead"), [(0, 8), (1, 1), (2, 4)])
def test_batches_come_in_order_whatever_the_workers(workers, ahead):
    with data.Batches(Counting(), first=5, count=7, workers=workers, ahead=ahead) as batches:
        numbers, processes = zip(*[(int(a[0, 0]), int(b[0, 0])) for a, b in batches], strict=True)
        assert len(batches) == 7
    assert numbers == tuple(range(5, 12))
    assert (os.getpid() in processes) == (workers == 0)


def test_batches_of_the_same_pictures_come_from_one_process():
    sampler = Counting(echo=3)
    numbers, processes = [], []
    with data.Batches(sampler, first=4, count=3000, workers=2) as batches:
        for first, second in batches:
            numbers.append(int(first[0, 0]))
            processes.append(int(second[0, 0]))
            # On a busy machine one process may start long after the other.
            if len(numbers) >= 12 and len(set(processes)) == 2:
                break
    assert numbers == list(range(4, 4 + len(numbers)))
    for number, process in zip(numbers, processes, strict=True):
        assert process == processes[max(0, number // 3 * 3 - 4)]
    assert len(set(processes)) == 2


def test_parts_have_their_share_of_the_batch():
    (batch, _) = next(iter(data.Batches(Counting(), first=3, count=1, workers=0, part=(1, 2))))
    assert batch.shape == (2, 1)


def test_fit_sees_every_batch_once_and_in_order():
    keras = pytest.importorskip("keras")
    seen = []

    class Model(keras.Model):
        def train_step(self, batch):
            seen.append(int(batch[0][0, 0]))
            return {"loss": keras.ops.zeros(())}

    model = Model()
    model.compile(run_eagerly=True)
    model.built = True
    for first, epochs in ((4, range(2, 4)), (8, range(4, 5))):  # As phases, and as a resumed run.
        batches = data.Batches(Counting(), first=first, count=2 * len(epochs), workers=0)
        model.fit(
            iter(batches),
            steps_per_epoch=2,
            initial_epoch=epochs.start,
            epochs=epochs.stop,
            verbose=0,
        )
    assert seen == [4, 5, 6, 7, 8, 9]


def test_an_error_in_a_worker_reaches_the_reader():
    with data.Batches(Counting(fails_at=1), first=0, count=3, workers=1) as batches:
        stream = iter(batches)
        next(stream)
        with pytest.raises(ValueError, match="no picture for batch 1"):
            next(stream)


def test_a_dead_worker_is_reported_with_what_to_do():
    with data.Batches(Counting(ends_at=0), first=0, count=3, workers=1) as batches:
        with pytest.raises(OSError, match="--workers"):
            next(iter(batches))


def test_a_reader_in_another_thread_ends_quietly_when_training_does():
    seen, errors = [], []

    def read():
        try:
            seen.extend(batches)
        except BaseException as error:
            errors.append(error)

    with data.Batches(Counting(), first=0, count=10_000, workers=1) as batches:
        reader = threading.Thread(target=read)
        reader.start()
        while not seen and reader.is_alive():
            time.sleep(0.01)
    reader.join(timeout=20)
    assert not reader.is_alive() and not errors


def test_close_ends_the_processes():
    batches = data.Batches(Counting(), first=0, count=4, workers=1)
    next(iter(batches))
    before = multiprocessing.active_children()
    batches.close()
    assert before and not set(before) & set(multiprocessing.active_children())


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_workers_do_not_outlive_a_killed_training():
    program = """
        from keras_refocus.data import sampling, workers as data

        if __name__ == "__main__":
            source = sampling.PhotoSource(paths=())
            sampler = sampling.Sampler(
                sources=(source,), shares=(1.0,), size=8, batch_size=1, seed=0
            )
            batches = data.Batches(sampler, first=0, count=1, workers=1)
            print(batches._pool.submit(__import__("os").getpid).result(), flush=True)
            input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as training:
        worker = int(training.stdout.readline())
        training.send_signal(signal.SIGKILL)
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail(f"process {worker} is still there")


def test_validation_arrays_are_the_first_examples():
    blurred, sharp = data.validation_arrays(Counting(), 3)
    np.testing.assert_array_equal(blurred[:, 0, 0, 0], [0, 1, 2])
    assert sharp.shape == (3, 2, 2, 1)
