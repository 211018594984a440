"""What the end-to-end tests share: the programs, a server of one's own, and a judge.

Each test script is called as SCRIPT BUILD_DIR [unittest arguments].
"""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import h5py
import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path()
DEADLINE_S = 120  # What takes longer hangs.
PROBE = "/entry_1/instrument_1/initial_probe"


def main():
    global BUILD
    BUILD = pathlib.Path(sys.argv[1]).resolve()
    unittest.main(module="__main__", argv=[sys.argv[0], *sys.argv[2:]])


def program(name):
    return str(BUILD / "bin" / name)


def run_program(name, *arguments, env=None):
    return subprocess.run([program(name), *map(str, arguments)], text=True, env=env,
                          capture_output=True, timeout=DEADLINE_S, check=False)


def wait_until(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"still not: {what}"
        time.sleep(0.05)


def replace_all(text, replaced):
    """`text` with each of the keys, which must be there, replaced by its value."""
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, str(new))
    return text


class Server:
    """A ptychoserved with one thread, on a free port or where an earlier one was."""

    def __init__(self, folder, *flags, listen="127.0.0.1:0", env=None):
        port_file = pathlib.Path(folder) / "address"
        port_file.unlink(missing_ok=True)
        self.log = open(pathlib.Path(folder) / "server.log", "a", encoding="utf-8")
        self.process = subprocess.Popen(
            [program("ptychoserved"), "--listen", listen, "--port-file", str(port_file),
             "--device", "cpu", "--threads", "1", *flags], stdout=self.log,
            stderr=subprocess.STDOUT, env=env)
        deadline = time.monotonic() + DEADLINE_S
        while not port_file.exists():
            assert self.process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not come up"
            time.sleep(0.01)
        self.address = port_file.read_text(encoding="utf-8").split()[0]

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def stop(self):
        """Asks it to end; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()
            self.log.close()
        return code


class EndToEndTest(unittest.TestCase):
    """Tests of one class share a folder, a server and a scan of 100 frames of 64 x 64."""

    SCAN_FLAGS = ("--points", "100", "--frame", "64", "--photons", "1e6")

    @classmethod
    def setUpClass(cls):
        cls._folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls._folder.cleanup)
        cls.server = Server(cls._folder.name)
        cls.addClassCleanup(cls.server.kill)  # If the rest of this fails; else it has ended.
        cls.scan = cls.path("scan.cxi")
        done = cls.ctl("simulate", cls.scan, *cls.SCAN_FLAGS)
        assert done.returncode == 0, done.stderr

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        assert code == 0, f"the server has ended with {code}"

    @classmethod
    def path(cls, name):
        return str(pathlib.Path(cls._folder.name) / name)

    @classmethod
    def environment(cls):
        return {**os.environ, "PTYCHOSERVE_SERVER": cls.server.address}

    @classmethod
    def ctl(cls, *arguments, env=None):
        return run_program("ptychoctl", *arguments, env=env or cls.environment())

    def ok(self, *arguments):
        """Runs ptychoctl, which must succeed; what it printed."""
        done = self.ctl(*arguments)
        self.assertEqual(done.returncode, 0, f"{arguments}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def json(self, *arguments):
        """Runs ptychoctl with --json, which must succeed and print one line."""
        lines = self.ok(*arguments, "--json").splitlines()
        self.assertEqual(len(lines), 1, lines)
        return json.loads(lines[0])

    def refused(self, code, *arguments):
        """Runs ptychoctl with --json, which must fail with this exit code; the error."""
        done = self.ctl(*arguments, "--json")
        self.assertEqual(done.returncode, code, f"{arguments}\n{done.stdout}\n{done.stderr}")
        self.assertTrue(done.stderr.startswith("ptychoctl: "), done.stderr)
        error = json.loads(done.stdout.splitlines()[-1])["error"]
        self.assertEqual(error["exit_code"], code)
        return error


def rejected(counters, reason):
    """How often input was refused, by the name of the reason."""
    return sum(r["count"] for r in counters["rejections"]
               if r["reason"] == f"REJECT_REASON_{reason}")


def r_factor(obj, probe, corners, frames):
    """sum |sqrt I - |F(P O)|| / sum sqrt I, in double precision, independently of the engine.

    obj [rows, cols], or its modes; probe [modes, n, n]; corners [frames, 2]: row and column of each window, the
    object between pixels bilinear; frames [frames, n, n]: counts, beam at the centre.
    """
    deviation = total = 0.0
    rows, cols = probe.shape[-2:]
    obj = obj.astype(np.complex128).reshape(-1, *obj.shape[-2:])
    for (row, col), counts in zip(corners, frames):
        y, x = int(np.floor(row)), int(np.floor(col))
        fy, fx = row - y, col - x
        patch = obj[:, y:y + rows + 1, x:x + cols + 1]
        window = ((1 - fy) * (1 - fx) * patch[:, :-1, :-1] + (1 - fy) * fx * patch[:, :-1, 1:]
                  + fy * (1 - fx) * patch[:, 1:, :-1] + fy * fx * patch[:, 1:, 1:])
        spectrum = np.fft.fft2(probe * window[:, None], norm="ortho")
        amplitude = np.fft.fftshift(np.sqrt((np.abs(spectrum) ** 2).sum(axis=(0, 1))))
        measured = np.sqrt(counts.astype(float))
        deviation += np.abs(measured - amplitude).sum()
        total += measured.sum()
    return deviation / total


def frames_of(scan):
    with h5py.File(scan) as file:
        return file["entry_1/instrument_1/detector_1/data"][()]


def picture_size(path):
    """Columns and rows of a PNG file."""
    head = pathlib.Path(path).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n", path
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
