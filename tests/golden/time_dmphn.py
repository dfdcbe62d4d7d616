"""Processor time of DMPHN as imported against the same network in PyTorch, in turn in one run.

    python -m venv torch && torch/bin/pip install torch -e .
    torch/bin/python tests/golden/time_dmphn.py my_models/dmphn

One thread each. What PyTorch computes does not depend on the weights, so they are random there.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from make_imported import DMPHN

from keras_refocus.engines import contract, store
from keras_refocus.system import machine

WIDTHS = (32, 64, 128)


def from_torch(height, width, *, channels_last):
    network = DMPHN(WIDTHS, 1).eval()
    picture = torch.rand(1, 3, height, width)
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        picture = picture.to(memory_format=torch.channels_last)

    def run():
        with torch.inference_mode():
            network(picture)

    return run


def from_saved_model(folder, height, width):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    model = store.open_saved_model(store.newest_version(folder), contract.RESTORED)
    call = model.signatures[contract.DEFAULT_SIGNATURE]
    plane = tf.constant(np.random.default_rng(0).random((1, height, width, 1), np.float32))
    return lambda: call(**{contract.LUMINANCE: plane})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="folder of the imported model")
    parser.add_argument("--size", default="640x360", metavar="WxH")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    torch.set_num_threads(1)
    work = {
        "imported": from_saved_model(arguments.model, height, width),
        "PyTorch": from_torch(height, width, channels_last=False),
        "PyTorch, channels last": from_torch(height, width, channels_last=True),
    }
    seconds = {name: [] for name in work}
    for run in range(arguments.runs + 1):
        for name, call in work.items():
            started = time.process_time()
            call()
            if run:  # The first warms up.
                seconds[name].append(time.process_time() - started)
    print(f"{machine.cpu_name()}, PyTorch {torch.__version__}, {width}x{height}, one thread")
    ours = statistics.median(seconds["imported"])
    for name, measured in seconds.items():
        share = ours / statistics.median(measured)
        print(
            f"{name}: {min(measured):.2f} to {max(measured):.2f} s of processor time, "
            f"imported / this {share:.2f}"
        )


if __name__ == "__main__":
    main()
