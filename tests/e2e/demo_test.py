#!/usr/bin/env python3
"""The demo as `make demo` runs it, with fewer frames.

    demo_test.py BUILD_DIR [unittest arguments]
"""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

import h5py
import harness
import numpy as np


class DemoTest(unittest.TestCase):
    def test_demo_leaves_pictures_and_a_result(self):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                [str(harness.ROOT / "deploy" / "demo" / "demo.sh"), str(harness.BUILD)],
                env={**os.environ, "DEMO_OUT": folder, "DEMO_POINTS": "64", "DEMO_RATE": "200"},
                text=True, capture_output=True, timeout=harness.DEADLINE_S, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(folder, done.stdout)
            self.assertRegex(done.stdout, "in a browser: http://127.0.0.1:|no dashboard: ")
            error = re.search(r"complex error ([0-9.]+)", done.stdout)
            self.assertIsNotNone(error, done.stdout)
            self.assertLess(float(error[1]), 0.2)
            out = pathlib.Path(folder)
            with h5py.File(out / "result.cxi") as file:
                self.assertTrue(np.isfinite(file["entry_1/image_1/data"][()]).all())
            pictures = list(out.glob("*.png"))
            self.assertEqual(len(pictures), 2)
            for picture in pictures:
                self.assertGreater(min(harness.picture_size(picture)), 32)
            log = (out / "server.log").read_text(encoding="utf-8")
            self.assertIn("stopped", log, "the server is to end in order")


if __name__ == "__main__":
    harness.main()
