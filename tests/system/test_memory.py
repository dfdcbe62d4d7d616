"""Freed memory stays with the process, and goes back on request."""

import ctypes
import os
import subprocess
import sys


def test_large_blocks_are_kept_and_given_back_where_the_c_library_can():
    program = (
        "import ctypes, resource\n"
        "from keras_refocus.system import memory\n"
        "class Use(ctypes.Structure):\n"
        "    _fields_ = [(name, ctypes.c_size_t) for name in 'abcdefghij']\n"
        "library = ctypes.CDLL(None)\n"
        "library.malloc.restype = ctypes.c_void_p\n"
        "library.malloc.argtypes = [ctypes.c_size_t]\n"
        "library.free.argtypes = [ctypes.c_void_p]\n"
        "library.mallinfo2.restype = Use\n"
        "def mapped():\n"
        "    block = library.malloc(1 << 27)\n"
        "    count = library.mallinfo2().d\n"  # blocks that were mapped for themselves
        "    library.free(block)\n"
        "    return count\n"
        "before = mapped()\n"
        "memory.keep_memory()\n"
        "held = library.mallinfo2().a\n"
        "after = mapped()\n"
        # Some of the block may lie in what was free before.
        "print(before > 0, after < before, library.mallinfo2().a - held >= 1 << 26)\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize()\n"
        "block = library.malloc(1 << 27)\n"
        "ctypes.memset(block, 1, 1 << 27)\n"
        "used = resident()\n"
        "library.free(block)\n"
        "freed = resident()\n"
        "memory.release_memory()\n"
        "print(used - freed < 1 << 26, freed - resident() >= 1 << 26)\n"
    )
    # Another C library, or an old one.
    if sys.platform == "win32" or not hasattr(ctypes.CDLL(None), "mallinfo2"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from keras_refocus.system.memory import keep_memory, release_memory\n"
                "keep_memory()\n"
                "release_memory()",
            ],
            check=False,
        )
        assert done.returncode == 0
        return
    # Who runs the tests may have set the same options for every process.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["True"] * 5
