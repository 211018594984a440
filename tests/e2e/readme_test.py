#!/usr/bin/env python3
"""What the README has a reader type in the first five minutes, as it stands there."""
import pathlib
import re
import socket
import subprocess
import tempfile
import unittest

import harness

COMMANDS = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


class ReadmeTest(unittest.TestCase):

    def test_five_minutes(self):
        readme = (harness.ROOT / "README.md").read_text(encoding="utf-8")
        section = readme[readme.index("## Five minutes"):]
        blocks = COMMANDS.findall(section[:section.index("\n## ", 1)])
        self.assertEqual(len(blocks), 4)
        script = "set -e\n" + "\n".join(blocks)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        for printed, here in (
                ("make build\n", ""),  # This is what is tested.
                ("$PWD/build/bin", str(harness.BUILD / "bin")),
                ("127.0.0.1:50051 &", f"{address} --threads 2 &\nexport PTYCHOSERVE_SERVER={address}"
                 "\nuntil ptychoctl info > /dev/null 2>&1; do sleep 0.1; done"),
                ("--points 400", "--points 100 --frame 64"),  # Which takes seconds.
                ("ptychoctl doctor ", "true ")):  # The server has ended by then.
            self.assertEqual(script.count(printed), 1, printed)
            script = script.replace(printed, here)
        with tempfile.TemporaryDirectory() as folder:
            # A session of its own, so that nothing outlives a failure; -m, as "kill %1" needs it.
            shell = subprocess.Popen(["bash", "-m", "-c", script], cwd=folder, text=True,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     start_new_session=True)
            try:
                output, _ = shell.communicate(timeout=harness.DEADLINE_S)
            finally:
                subprocess.run(["pkill", "-KILL", "-s", str(shell.pid)], check=False)
            self.assertEqual(shell.returncode, 0, output)
            for name in ("result.cxi", "tour.npz", "tour.png"):
                self.assertTrue((pathlib.Path(folder) / name).exists(), output)
            error = re.search(r"against the known object: complex error ([0-9.]+)", output)
            self.assertLess(float(error[1]), 0.05, output)


if __name__ == "__main__":
    harness.main()
