"""What the tests of the dashboard share: the gateway in a process of its own."""

import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

import support  # noqa: E402  (the path of the package)

DEADLINE_S = 60


class Gateway:
    """A running `ptychoserve-dashboard` on a free port; `url` ends with a slash."""

    def __init__(self, folder, server, *flags, listen="127.0.0.1:0"):
        port_file = pathlib.Path(folder) / "page-address"
        port_file.unlink(missing_ok=True)
        self.process = start("--server", server, "--listen", listen, "--port-file", port_file,
                             *flags)
        deadline = time.monotonic() + DEADLINE_S
        while not port_file.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, "the dashboard does not come up"
            time.sleep(0.02)
        self.url = port_file.read_text(encoding="utf-8")

    def stop(self):
        """Asks it to end: (exit code, what it said on stderr)."""
        self.process.send_signal(signal.SIGTERM)
        try:
            errors = self.process.communicate(timeout=DEADLINE_S)[1]
        finally:
            self.process.kill()
        return self.process.returncode, errors


def start(*flags):
    """The command with these flags, as a process."""
    return subprocess.Popen(
        [sys.executable, "-B", "-m", "ptychoserve.dashboard", *map(str, flags)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(support.BUILD / "python")})
