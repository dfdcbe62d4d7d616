"""What a measurement says about the machine."""

import subprocess
import sys
import time

import numpy as np

from keras_refocus.system import machine


def test_description_names_processor_system_and_versions():
    text = machine.describe()
    assert machine.cpu_name() and machine.cpu_name() in text
    assert f"{machine.usable_cores()} cores" in text
    assert f"Python {sys.version.split()[0].rstrip('+')}" in text
    assert "TensorFlow 2." in text


def test_median_times_are_those_of_the_runs_after_the_first():
    calls = []

    def work():
        calls.append(0)
        time.sleep(0.5 if len(calls) == 1 else 0.01)

    seconds, processor_seconds = machine.median_times(work, runs=3)
    assert len(calls) == 4
    assert 0.01 <= seconds < 0.5
    assert 0 <= processor_seconds < seconds


def test_peak_memory_counts_what_was_held_for_a_moment_and_not_what_the_parent_held():
    held = np.ones(300 * 2**20, np.uint8)
    program = (
        "import numpy as np\n"
        "from keras_refocus.system import machine\n"
        "before = machine.peak_memory()\n"
        "held = np.ones(200 * 2**20, np.uint8)\n"
        "del held\n"
        "print(before, machine.peak_memory())\n"
    )
    done = subprocess.check_output([sys.executable, "-c", program], text=True)
    before, after = (int(word) / 2**20 for word in done.split())
    assert before < 200 < held.nbytes / 2**20
    assert 190 < after - before < 210
