"""How time and memory are measured, and what must be said about where: processor, versions."""

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def describe() -> str:
    """Name processor, cores, system, Python and TensorFlow in one line."""
    return (
        f"{cpu_name()}, {usable_cores()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, TensorFlow {version('tensorflow')}"
    )


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """Name the processor as its maker does, where the system tells."""
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if sys.platform == "darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"],
            capture_output=True,
            text=True,
            check=False,
        )
        if asked.stdout:
            return asked.stdout.strip()
    return platform.processor() or platform.machine()


def peak_memory() -> int:
    """Measure the most memory that this process has had resident so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":
        # What `getrusage` says here begins with the peak of the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def median_times(work: Callable[[], object], *, runs: int) -> tuple[float, float]:
    """Measure how long some work takes, after doing it once to warm up.

    Args:
        work: Called `runs` + 1 times.
        runs: How often it is timed, at least 1.

    Returns:
        Tuple `(seconds, processor_seconds)` of medians: by a clock on the wall, and what all cores
        worked for this process, which depends less on what else the machine does.
    """
    seconds, processor_seconds = [], []
    work()
    for _ in range(runs):
        started, worked = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - started)
        processor_seconds.append(time.process_time() - worked)
    return statistics.median(seconds), statistics.median(processor_seconds)
