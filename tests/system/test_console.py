"""The terminal side of the commands."""

import logging
import os
import pathlib
import signal
import subprocess
import sys

import pytest

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


def run(program, **options):
    return subprocess.run(
        [sys.executable, "-c", "from keras_refocus.system import console\n" + program],
        stderr=subprocess.PIPE,
        check=False,
        **options,
    )


SAYS = "for _ in range(9999): console.say('photo.png')\nconsole.warn('end')\n"


def test_a_pipe_that_nobody_reads_ends_nothing():
    reads, writes = os.pipe()
    os.close(reads)
    done = run(SAYS, stdout=writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"end\n")


FULL = pathlib.Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="no device that is always full")
def test_a_full_output_is_said_once_and_ends_nothing():
    with FULL.open("wb") as full:
        done = run(SAYS, stdout=full)
    assert done.returncode == 0
    assert done.stderr.decode().splitlines() == [
        "standard output cannot be written (No space left on device); the work goes on",
        "end",
    ]


@pytest.mark.skipif(sys.platform == "win32", reason="streams are not numbers there")
def test_closed_streams_take_no_file_of_ours(tmp_path):
    program = (
        "console.claim_streams()\n"
        f"file = open({str(tmp_path / 'result')!r}, 'wb')\n"
        "assert file.fileno() > 2\n"
        "console.say('a'); console.warn('b'); print('c')\n"
        "with console.progress_bar(1) as bar:\n    bar.update(); bar.refresh()\n"
        "console.start_logging(); logging.getLogger('keras_refocus').warning('d')\n"
        "with console._standard_error_closed(): pass\n"
        "file.write(b'whole')\n"
    )
    program = "import logging\nfrom keras_refocus.system import console\n" + program
    for closed in (">&-", "2>&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["/bin/sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], check=False
        )
        assert done.returncode == 0
        assert (tmp_path / "result").read_bytes() == b"whole"


@pytest.mark.parametrize(
    ("encoding", "name", "expected"),
    [
        ("utf-8", "'b\\udcffd'", b"b\xffd"),  # a file name that is no UTF-8
        ("ascii", "'b\\u00e4d'", b"b\\xe4d"),
        ("latin-1", "'b\\u00e4\\u4e2d'", b"b\xe4\\u4e2d"),
    ],
)
def test_names_that_the_console_cannot_encode_are_written_all_the_same(encoding, name, expected):
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = run(f"console.say({name})", stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0 and done.stdout.rstrip() == expected


@pytest.mark.parametrize("function", ["print", "sys.stdout.write"])
def test_streams_that_are_claimed_take_what_any_code_prints(function):
    """Commands, Keras and libraries write to them without asking this module."""
    program = "import sys\nconsole.claim_streams()\n"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    names = program + f"{function}('b\\udcff\\u4e2d')"
    done = run(names, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0 and done.stdout.rstrip() == b"b\\udcff\\u4e2d"
    names = program + f"{function}('b\\udcff')"
    done = run(names, stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0 and done.stdout.rstrip() == b"b\xff"
    many = program + f"for _ in range(9999): {function}('photo.png')\nconsole.warn('end')\n"
    reads, writes = os.pipe()
    os.close(reads)
    done = run(many, stdout=writes)
    os.close(writes)
    assert (done.returncode, done.stderr) == (0, b"end\n")
    if FULL.exists():
        with FULL.open("wb") as full:
            done = run(many, stdout=full)
        assert done.returncode == 0
        assert [line.split()[0] for line in done.stderr.splitlines()] == [b"standard", b"end"]


def test_being_terminated_is_being_interrupted():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), console.terminated_as_interrupted():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
