"""`loquat demo` as a child process on a free port, for tests in Python."""

import os
import pathlib
import re
import signal
import subprocess
import tempfile
import threading
import time

DEADLINE_S = 15


class DemoServer:
    """Runs from `with` to its end; `kill9` and `start` in between for crash tests."""

    def __init__(self, binary, *arguments):
        self.binary = str(pathlib.Path(binary).resolve())
        self.arguments = arguments
        self.folder = tempfile.TemporaryDirectory(prefix="loquat-")
        self.process = None
        self.lines = []
        self.errors = []

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        if kind is not None:
            print("--- the server's stderr ---", *self.errors[-40:], sep="\n", flush=True)
        self.folder.cleanup()

    def start(self):
        """Starts it and waits until it listens."""
        self.lines, self.errors = [], []
        data = os.path.join(self.folder.name, "data")
        command = [self.binary, "demo", "--port", "0", "--data", data, *self.arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )
        self._collect(self.process.stdout, self.lines)
        self._collect(self.process.stderr, self.errors)
        self.address = self.wait_for(r"^listening on http://(\S+?)/?$")

    @staticmethod
    def _collect(pipe, lines):
        def read():
            for line in pipe:
                lines.append(line.rstrip("\n"))

        threading.Thread(target=read, daemon=True).start()

    def wait_for(self, pattern, count=1):
        """The first group of the count-th line on stdout that matches."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            found = [m for m in map(re.compile(pattern).search, list(self.lines)) if m]
            if len(found) >= count:
                return found[count - 1].group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.005)
        printed = "\n".join([*self.lines, *self.errors])
        raise AssertionError(f"no line like {pattern} from the server:\n{printed}")

    def user_url(self, number):
        """The address that the demo prints for its first, second … user."""
        url = self.wait_for(r"^\s*(ws://\S+)$", number)
        return url

    def kill9(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=DEADLINE_S)
