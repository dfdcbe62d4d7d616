"""The terminal side of the commands."""

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
