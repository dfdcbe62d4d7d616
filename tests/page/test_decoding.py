"""Photos are read in another process, as here; one that hangs or crashes is ended, not the page."""

import subprocess
import sys
import time
from concurrent.futures import CancelledError

import numpy as np
import psutil
import pytest
from tiny_pictures import encoded, scene

from keras_refocus.page import decoding
from keras_refocus.pictures import images

HANGS = "import time; time.sleep(600)"


def python(program):
    return [sys.executable, "-c", program]


def read(decoder, content, **options):
    return decoder.read(content, **{"max_pixels": 10_000, **options})


@pytest.fixture(scope="module")
def decoder():
    return decoding.Decoder()


def test_photos_and_what_is_wrong_with_them_are_those_of_this_process(decoder):
    rgba = np.dstack([scene(1), scene(2)[:, :, :1]])
    for content in (encoded(scene(3)), encoded(rgba), encoded(scene(4), "JPEG")):
        found, expected = read(decoder, content), images.read(content)
        np.testing.assert_array_equal(found.rgb, expected.rgb)
        assert (found.alpha is None) == (expected.alpha is None)
        if found.alpha is not None:
            np.testing.assert_array_equal(found.alpha, expected.alpha)
        assert (found.format, found.notices) == (expected.format, expected.notices)
    for content, limit in ((b"<html>", 10_000), (encoded(scene(1)), 10)):
        with pytest.raises(ValueError) as expected:
            images.read(content, max_pixels=limit)
        with pytest.raises(type(expected.value)) as found:
            read(decoder, content, max_pixels=limit)
        assert str(found.value) == str(expected.value)


def test_a_process_is_kept_for_the_next_photo_and_replaced_when_it_is_gone(decoder):
    content = encoded(scene(1))
    read(decoder, content)
    (process,) = decoder._idle
    read(decoder, content)
    assert decoder._idle == [process]
    process.kill()
    process.wait()
    assert read(decoder, content).rgb.shape == scene(1).shape
    assert decoder._idle != [process] and len(decoder._idle) == 1


def test_what_hangs_is_ended_when_it_is_told_to_stop():
    decoder = decoding.Decoder(python(HANGS))
    until = time.monotonic() + 0.2
    with pytest.raises(CancelledError):
        # More than a pipe holds: what is sent is not waited for either.
        read(decoder, bytes(2**20), must_stop=lambda: time.monotonic() > until)
    children = psutil.Process().children()
    assert not any(HANGS in process.cmdline() for process in children) and not decoder._idle


@pytest.mark.parametrize("program", ["import os; os._exit(11)", "print('no answer')"])
def test_what_crashes_is_said_and_costs_only_its_photo(program):
    decoder = decoding.Decoder(python(program))
    with pytest.raises(ValueError, match="with another program"):
        read(decoder, encoded(scene(1)))
    assert not decoder._idle


def test_what_a_library_prints_does_not_get_among_the_answers():
    program = (
        "import os\n"
        "from keras_refocus.page import decoding\n"
        "real = decoding.images.read\n"
        "def talking(*given, **options):\n"
        "    print('a library', flush=True)\n"
        "    os.write(1, b'talks')\n"
        "    return real(*given, **options)\n"
        "decoding.images.read = talking\n"
        "decoding.serve()\n"
    )
    content = encoded(scene(1))
    found = read(decoding.Decoder(python(program)), content)
    np.testing.assert_array_equal(found.rgb, images.read(content).rgb)


def test_an_error_that_cannot_travel_is_told_all_the_same():
    class Own(Exception):
        def __init__(self, one, two):
            super().__init__(f"{one} and {two}")

    assert str(decoding._portable(Own(1, 2))) == "Own: 1 and 2"
    assert type(decoding._portable(ValueError("no"))) is ValueError


def test_no_process_outlives_the_page():
    busy = (
        "import os, threading, time; from keras_refocus.page import decoding;"
        "threading.Thread(target=decoding._end_with, args=(os.getppid(),)).start();"
        "print(flush=True); time.sleep(600)"
    )
    page = (
        "import os, subprocess, sys\n"
        "from keras_refocus.page import decoding\n"
        "decoder = decoding.Decoder()\n"
        "decoder.start()\n"
        f"busy = subprocess.Popen([sys.executable, '-c', {busy!r}], stdout=subprocess.PIPE)\n"
        "busy.stdout.readline()\n"
        "print(decoder._idle[0].pid, busy.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    done = subprocess.run(python(page), capture_output=True, text=True, check=True)
    left = [int(pid) for pid in done.stdout.split()]
    assert len(left) == 2
    until = time.monotonic() + 60
    while any(_is_running(pid) for pid in left):
        assert time.monotonic() < until
        time.sleep(0.05)


def _is_running(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
