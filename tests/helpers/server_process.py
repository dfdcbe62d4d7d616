"""A `refocus serve` process for tests, as a person would start it."""

import re
import signal
import subprocess
import sys


class ServerProcess:
    """Starts the command and reads its log until it serves; then knows its port."""

    def __init__(self, *arguments, port=0):
        command = [sys.executable, "-m", "keras_refocus", "serve", "--port", port, *arguments]
        # What a shell starts in the background ignores Ctrl-C, and so would what it starts: tests
        # that run there must not wait for a server that is right to go on.
        before = signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            self.process = subprocess.Popen(
                [str(part) for part in command], stderr=subprocess.PIPE, text=True
            )
        finally:
            signal.signal(signal.SIGINT, before)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if match := re.search(r"Serving on .*:(\d+)", line):
                self.port = int(match[1])
                return
        raise AssertionError("".join(self.log))

    def stop(self, number):
        """Sends a signal; returns the exit status."""
        self.process.send_signal(number)
        self.log.extend(self.process.communicate(timeout=90)[1].splitlines(keepends=True))
        return self.process.returncode

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()
