"""The terminal side of the commands."""

import ctypes
import logging
import os
import subprocess
import sys

from keras_refocus.system import console


def test_tensorflow_is_imported_without_its_notices():
    program = (
        "from keras_refocus.system import console\n"
        "console.import_tensorflow()\n"
        "import tensorflow as tf\n"
        "print(int(tf.reduce_sum(tf.ones(3))))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == "3"
    assert done.stderr == ""


def test_standard_error_comes_back_after_an_error():
    program = (
        "import os\n"
        "from keras_refocus.system import console\n"
        "try:\n"
        "    with console._standard_error_closed():\n"
        "        os.write(2, b'hidden')\n"
        "        raise ImportError\n"
        "except ImportError:\n"
        "    os.write(2, b'seen')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stderr == b"seen"


def test_a_process_without_standard_error_is_no_problem():
    program = (
        "import os\n"
        "os.close(2)\n"
        "from keras_refocus.system import console\n"
        "with console._standard_error_closed():\n"
        "    print('done')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"done\n"


def test_progress_is_shown_on_terminals_only(capsys):
    with console.progress_bar(3, label="work") as bar:
        bar.update(2)
    assert bar.disable
    assert capsys.readouterr() == ("", "")


def test_logging_shows_warnings_or_everything(capsys):
    logger = logging.getLogger("keras_refocus.test")
    handlers = logging.getLogger().handlers[:]
    try:
        for verbose, expected in ((False, "WARNING: b\n"), (True, "INFO: a\nWARNING: b\n")):
            console.start_logging(verbose=verbose)
            logger.info("a")
            logger.warning("b")
            assert capsys.readouterr().err == expected
    finally:
        logging.getLogger().handlers[:] = handlers


def test_large_blocks_are_kept_and_given_back_where_the_c_library_can():
    program = (
        "import ctypes, resource\n"
        "from keras_refocus.system import console\n"
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
        "console.keep_memory()\n"
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
        "console.release_memory()\n"
        "print(used - freed < 1 << 26, freed - resident() >= 1 << 26)\n"
    )
    # Another C library, or an old one.
    if sys.platform == "win32" or not hasattr(ctypes.CDLL(None), "mallinfo2"):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "from keras_refocus.system.console import keep_memory, release_memory\n"
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
