#!/usr/bin/env python3
"""The examples of the Python package and the code in its pages, run as a user would."""

import os
import pathlib
import re
import subprocess
import sys

import support
import h5py
import harness
import numpy as np
import ptychoserve

harness.BUILD = support.BUILD
EXAMPLES = support.ROOT / "client" / "python" / "examples"
PAGE = support.ROOT / "docs" / "python.md"
sys.path.insert(0, str(EXAMPLES))
from fake_detector import FakeDetector  # noqa: E402


class ExamplesTest(harness.EndToEndTest):

    def start(self, *arguments):
        environment = {**os.environ, "PYTHONPATH": f"{support.BUILD / 'python'}:{EXAMPLES}",
                       "MPLBACKEND": "Agg"}
        return subprocess.Popen([sys.executable, "-B", *map(str, arguments)], env=environment,
                                cwd=self._folder.name, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT)

    def said_by(self, process):
        """What a program has printed that must end well."""
        try:
            said, _ = process.communicate(timeout=harness.DEADLINE_S)
        finally:
            process.kill()
        self.assertEqual(process.returncode, 0, said)
        return said

    def example(self, name, *arguments):
        return self.said_by(self.start(EXAMPLES / name, self.server.address, *arguments))

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
        detector = FakeDetector()
        with ptychoserve.Client(self.server.address) as client:
            with client.create_session("plotted", **detector.settings) as session:
                plot = self.start(EXAMPLES / "live_plot.py", self.server.address, "plotted",
                                  "plotted.png")
                frames, positions = session.frame_writer(), session.position_writer()
                for k, frame, x_m, y_m in detector:
                    frames.push(k, frame)
                    positions.push(k, x_m=x_m, y_m=y_m)
        said = self.said_by(plot)
        self.assertIn("final", said.splitlines()[-1])
        self.assertEqual(harness.picture_size(self.path("plotted.png")), (1000, 450))

    def test_reconstruct_file(self):
        said = self.example("reconstruct_file.py", self.scan, "result.cxi")
        self.assertIn("completed", said)
        result = ptychoserve.Result.load(self.path("result.cxi"))
        points = result.snapshot.points
        frames = harness.frames_of(self.scan)
        self.assertEqual(len(points), len(frames))
        self.assertLess(harness.r_factor(result.object, result.probe, points[:, 1:3],
                                         frames[points[:, 0].astype(int)]), 0.075)
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
        self.assertGreaterEqual(len(blocks), 7)
        program = "\n".join(blocks).replace("127.0.0.1:50051", self.server.address)
        path = pathlib.Path(self.path("guide.py"))
        path.write_text(program, encoding="utf-8")
        said = self.said_by(self.start(path))
        self.assertIn("did you mean 'photon_energy_ev'?", said)


if __name__ == "__main__":
    support.main()
