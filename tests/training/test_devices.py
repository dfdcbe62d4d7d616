"""Two replicas do what one device does with the whole batch: in processes of their own, because
devices must be set up before TensorFlow begins."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from tiny_training import DISCRIMINATOR, GENERATOR, write_pairs

from keras_refocus.training import devices

ROOT = pathlib.Path(__file__).parents[2]

SET_UP = """
import logging
import keras
import numpy as np
import tensorflow as tf
from tiny_training import tiny
from keras_refocus.training import devices, gan, restorer_job as training

tf.get_logger().setLevel(logging.ERROR)
cpu = tf.config.list_physical_devices("CPU")[0]
two = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(cpu, two)
strategy = devices.open_strategy("mirrored")
assert strategy.num_replicas_in_sync == 2
"""


def environment(**changes):
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), os.environ.get("PYTHONPATH", "")]
    paths = os.pathsep.join(path for path in paths if path)
    return os.environ | {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3"} | changes


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", SET_UP + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_strategies_are_named_and_need_tensorflow(monkeypatch):
    assert devices.open_strategy(None) is None
    with pytest.raises(ValueError, match="mirrored, multi-worker.*'magic'"):
        devices.open_strategy("magic")
    monkeypatch.setattr(devices.keras.backend, "backend", lambda: "torch")
    with pytest.raises(ValueError, match="KERAS_BACKEND='torch'"):
        devices.open_strategy("mirrored")


def test_one_process_stands_alone():
    assert devices.place(None) == (0, 1)


def test_uneven_batches_are_refused():
    class Strategy:
        num_replicas_in_sync = 2

    devices.check_batches(Strategy, {4, 2})
    with pytest.raises(ValueError, match="batch_size=3 for 2 replicas"):
        devices.check_batches(Strategy, {4, 3})


@pytest.mark.slow
def test_two_replicas_equal_one_with_the_whole_batch():
    """LSGAN, whose loss is a mean over pictures, with clipping that acts on the mean gradient."""
    run(
        """
        config = tiny(
            epochs=1, adversarial_epochs=1, adversarial="lsgan", batch_size=4, clip_norm=0.05,
            learning_rate=1e-2,
        )
        rng = np.random.default_rng(0)
        sharp = rng.random((3, 4, 32, 32, 1)).astype("float32")
        batches = [(np.roll(one, 1, 2), one) for one in sharp]

        keras.utils.set_random_seed(0)
        alone = training.build_deblur_gan(config)
        start = alone.generator.get_weights()
        means = {}
        for batch in batches:
            values = alone.update_networks(tuple(map(tf.constant, batch)))
            alone.finish_step(alone.averages)
            for name, value in values.items():
                means[name] = means.get(name, 0.0) + float(value) / len(batches)

        keras.utils.set_random_seed(0)
        with strategy.scope():
            shared = training.build_deblur_gan(config)
        trainer = devices.Trainer(shared, strategy)
        logs = trainer.train_epoch(batches)

        assert logs.keys() == means.keys()
        for name in means:
            assert abs(logs[name] - means[name]) < 1e-4, (name, logs[name], means[name])
        for name in ("generator", "averaged_generator", "discriminator"):
            pairs = zip(getattr(alone, name).get_weights(), getattr(shared, name).get_weights())
            assert max(np.abs(a - b).max() for a, b in pairs) < 1e-4, name
        moved = zip(alone.generator.get_weights(), start)
        assert max(np.abs(a - b).max() for a, b in moved) > 1e-2
        for variable in shared.generator.variables + shared.discriminator.variables:
            first, second = variable.value.values
            assert (first.numpy() == second.numpy()).all()
        assert int(shared.steps.numpy()) == 3
        assert int(shared.generator_optimizer.iterations.numpy()) == 3

        # What looks at every step can end the epoch, as at a number that is not finite.
        seen = []
        def after_step(step, values):
            seen.append((step, sorted(values)))
            shared.stop_training = step == 1
        shared.stop_training = False
        trainer.train_epoch(batches, after_step=after_step)
        assert seen == [(0, sorted(logs)), (1, sorted(logs))]
        """
    )


@pytest.mark.slow
def test_replicas_draw_numbers_of_their_own_and_the_stream_goes_on():
    run(
        """
        with strategy.scope():
            model = gan.GAN(metric_names=[], average_decay=0.9, seed=7)

        @tf.function
        def draw():
            return strategy.run(lambda: keras.random.uniform((64,), seed=model.seed_generator))

        draws = [value.numpy() for _ in range(2) for value in draw().values]
        for index, first in enumerate(draws):
            for second in draws[:index]:
                assert abs(np.corrcoef(first, second)[0, 1]) < 0.5
        # The first replica goes on with the stream of a single device.
        alone = gan.GAN(metric_names=[], average_decay=0.9, seed=7)
        for expected in draws[::2]:
            found = keras.random.uniform((64,), seed=alone.seed_generator)
            np.testing.assert_array_equal(found, expected)
        """
    )


@pytest.mark.slow
def test_two_workers_equal_one_process(tmp_path):
    """The command itself, in two processes that find each other through TF_CONFIG."""
    pairs = write_pairs(tmp_path / "pairs")
    options = [
        *("--generator", "unet", "--generator-options", json.dumps(GENERATOR)),
        *("--discriminator-options", json.dumps(DISCRIMINATOR)),
        *"--patch-size 32 --batch-size 4 --steps-per-epoch 4 --epochs 2 --warmup-steps 1".split(),
        *"--adversarial-epochs 1 --adversarial lsgan --no-flip --workers 1".split(),
        *("--pairs", str(pairs), "--validation-count", "2"),
    ]

    def start(folder, *more, **changes):
        return subprocess.Popen(
            [sys.executable, "-m", "keras_refocus.train", "restorer", "--run", str(folder)]
            + [*options, *more],
            env=environment(**changes),
            stderr=subprocess.PIPE,
            text=True,
        )

    addresses = []
    with socket.socket() as first, socket.socket() as second:
        for port in (first, second):
            port.bind(("127.0.0.1", 0))
            addresses.append(f"127.0.0.1:{port.getsockname()[1]}")
    workers = [
        start(
            tmp_path / "shared",
            "--strategy",
            "multi-worker",
            TF_CONFIG=json.dumps(
                {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            ),
        )
        for index in range(2)
    ]
    for process in workers:
        _, errors = process.communicate(timeout=400)
        assert process.returncode == 0, errors[-3000:]
    alone = start(tmp_path / "alone")
    _, errors = alone.communicate(timeout=400)
    assert alone.returncode == 0, errors[-3000:]

    import keras

    for name in ("averaged.keras", "best.keras"):
        weights = [
            keras.saving.load_model(tmp_path / folder / name, compile=False).get_weights()
            for folder in ("alone", "shared")
        ]
        difference = max(np.abs(a - b).max() for a, b in zip(*weights, strict=True))
        assert difference < 1e-4, name
