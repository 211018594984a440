#!/usr/bin/env python3
"""The examples of the Python package and the code in its pages, run as a user would."""

import os
import pathlib
import re
import subprocess
import sys
import unittest

import support
import h5py
import harness
import numpy as np
import ptychoserve

harness.BUILD = support.BUILD
EXAMPLES = support.ROOT / "client" / "python" / "examples"
PAGE = support.ROOT / "docs" / "python.md"


class ExamplesTest(harness.EndToEndTest):

    def run_python(self, *arguments):
        environment = {**os.environ, "PYTHONPATH": f"{support.BUILD / 'python'}:{EXAMPLES}",
                       "MPLBACKEND": "Agg"}
        done = subprocess.run([sys.executable, "-B", *map(str, arguments)], env=environment,
                              cwd=self._folder.name, text=True, capture_output=True,
                              timeout=harness.DEADLINE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def example(self, name, *arguments):
        return self.run_python(EXAMPLES / name, self.server.address, *arguments)

    def test_push_loop(self):
        said = self.example("push_loop.py", "pushed.npz")
        self.assertIn("100 of 100 frames accepted, {}", said)
        self.assertLess(float(said.split()[-1]), 0.1)
        with np.load(self.path("pushed.npz")) as saved:
            self.assertTrue(np.isfinite(saved["object"]).all())

    def test_push_loop_is_short(self):
        code = [line for line in (EXAMPLES / "push_loop.py").read_text("utf-8").split('"""')[2]
                .splitlines() if line]
        self.assertLessEqual(len(code), 20)

    def test_live_plot(self):
        self.ok("run", self.scan, "--session", "plotted", "--keep")
        said = self.example("live_plot.py", "plotted", "plotted.png")
        self.assertIn("final", said)
        self.assertEqual(harness.picture_size(self.path("plotted.png")), (1000, 450))

    def test_reconstruct_file(self):
        said = self.example("reconstruct_file.py", self.scan, "result.cxi")
        self.assertIn("completed", said)
        result = ptychoserve.Result.load(self.path("result.cxi"))
        points = result.snapshot.points
        frames = harness.frames_of(self.scan)
        self.assertEqual(len(points), len(frames))
        self.assertLess(harness.r_factor(result.object, result.probe, points[:, 1:3],
                                         frames[points[:, 0].astype(int)]), 0.06)
        with h5py.File(self.path("result.cxi")) as file:
            self.assertEqual(file["cxi_version"][()], 160)

    def test_warm_start(self):
        said = self.example("warm_start.py", "first.cxi").splitlines()
        r_factors = [float(line.split()[-1]) for line in said]
        self.assertEqual([line.split()[0] for line in said], ["60", "10"])
        self.assertLess(max(r_factors), 0.1)

    def test_code_of_the_guide(self):
        """The blocks of docs/python.md are one program, in their order."""
        blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"),
                            re.DOTALL | re.MULTILINE)
        self.assertGreater(len(blocks), 8)
        program = "\n".join(blocks).replace("127.0.0.1:50051", self.server.address)
        path = pathlib.Path(self.path("guide.py"))
        path.write_text(program, encoding="utf-8")
        said = self.run_python(path)
        self.assertIn("did you mean 'photon_energy_ev'?", said)


if __name__ == "__main__":
    support.main()
