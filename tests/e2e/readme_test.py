#!/usr/bin/env python3
"""What the README has a reader type in the first five minutes, as it stands there."""
import pathlib
import re
import socket
import tempfile
import unittest

import harness
import pages


class ReadmeTest(unittest.TestCase):

    def test_five_minutes(self):
        script = "set -m\n" + pages.script("README.md")  # As "kill %1" needs it.
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
            output = pages.run(script, folder)
            for name in ("result.cxi", "tour.npz", "tour.png"):
                self.assertTrue((pathlib.Path(folder) / name).exists(), output)
            error = re.search(r"against the known object: complex error ([0-9.]+)", output)
            self.assertLess(float(error[1]), 0.05, output)


if __name__ == "__main__":
    harness.main()
