"""Photos read in a process of their own, which is ended when one takes longer than it may.

What decodes pictures are programs of many others. None of them looks whether it is to stop, and
files can be made that keep one busy for hours, or that crash it: with all visitors, if it ran in
the process of the page.
"""

import contextlib
import functools
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from typing import Any

from keras_refocus.pictures import images
from keras_refocus.system import memory

logger = logging.getLogger(__name__)

_COMMAND = (sys.executable, "-c", "from keras_refocus.page import decoding; decoding.serve()")
# Seconds between two looks whether a photo is still wanted, and whether the page is still there.
_LOOK_EVERY, _LOOK_FOR_PARENT_EVERY = 0.05, 1.0
# Out of band, so that pixels are not copied into the message.
_PROTOCOL = 5


class Decoder:
    """Reads photos, each in a process that does nothing else meanwhile; from several threads.

    Processes are kept for the next photo; there are as many as photos were read at the same time.

    Args:
        command: What a process runs.
    """

    def __init__(self, command: Sequence[str] = _COMMAND):
        self._command = list(command)
        self._lock = threading.Lock()
        self._idle: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end_all, self._idle)

    def start(self) -> None:
        """Make a process ready before the first photo comes."""
        self._put_back(self._take())

    def read(
        self,
        content: bytes,
        *,
        max_pixels: int,
        must_stop: Callable[[], bool] = lambda: False,
    ) -> images.Photo:
        """Read a photo, as `images.read` does.

        Args:
            content: Of the file.
            max_pixels: Most pixels of a photo.
            must_stop: Asked all the time; when it says yes, the process is ended.

        Returns:
            The photo.

        Raises:
            CancelledError: `must_stop` said yes.
            ValueError: It cannot be read, or what should read it crashed.
            Exception: Others of `images.read`.
        """
        process = self._take()
        answers: list[Any] = []
        over = threading.Event()

        def ask():
            try:
                pickle.dump((content, max_pixels), process.stdin, _PROTOCOL)
                process.stdin.flush()
                answers.append(pickle.load(process.stdout))
            except MemoryError as error:  # here, not there
                answers.append(error)
            except Exception as error:
                # A process that ends closes its pipes, in the middle of an answer too.
                logger.debug("no answer: %s", type(error).__name__)
            finally:
                over.set()

        threading.Thread(target=ask, daemon=True).start()
        while not over.wait(_LOOK_EVERY):
            if must_stop():
                process.kill()
                over.wait()
                _end(process)
                raise CancelledError("Reading the photo was cancelled.")
        if not answers:
            _end(process)
            raise ValueError(
                "The file must be a picture that can be read. Received: one at which the program "
                f"that reads it ended, with status {process.returncode}. Save the picture again "
                "with another program."
            )
        (answer,) = answers
        if isinstance(answer, MemoryError):
            _end(process)  # which may be in the middle of its answer
            raise answer
        self._put_back(process)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            while self._idle:
                process = self._idle.pop()
                if process.poll() is None:
                    return process
                _end(process)
        return subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _put_back(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._idle.append(process)


@functools.cache
def decoder() -> Decoder:
    """The decoder of this process."""
    return Decoder()


def serve() -> None:
    """Read photos that come on standard input until it ends; answers go to standard output."""
    # Ctrl-C in a terminal reaches this process too; the page says when it is over.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    incoming, outgoing = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    # What libraries print must not get among the answers.
    os.dup2(2, 1)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    memory.keep_memory(large=False)
    with outgoing:
        while True:
            try:
                content, max_pixels = pickle.load(incoming)
            except EOFError:
                return
            answer: images.Photo | Exception
            try:
                answer = images.read(content, max_pixels=max_pixels)
            except Exception as error:
                answer = _portable(error)
            pickle.dump(answer, outgoing, _PROTOCOL)
            outgoing.flush()
            del content, answer
            memory.release_memory()


def _portable(error: Exception) -> Exception:
    """An error that another process can have: of the same type where that can travel."""
    try:
        same = pickle.loads(pickle.dumps(error))
    except Exception:
        same = None
    if type(same) is type(error) and str(same) == str(error):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _end_with(parent: int) -> None:
    """End this process when its parent is gone, also in the middle of a photo."""
    while os.getppid() == parent:
        time.sleep(_LOOK_FOR_PARENT_EVERY)
    os._exit(1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # What was not taken any more.
                pipe.close()


def _end_all(processes: list[subprocess.Popen[bytes]]) -> None:
    while processes:
        _end(processes.pop())
