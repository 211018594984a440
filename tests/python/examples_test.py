#!/usr/bin/env python3
"""The examples of the Python package and the code in its pages, run as a user would."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import support
import h5py
import harness
import numpy as np
import pages
import ptychoserve
from certificates import Authority

harness.BUILD = support.BUILD
EXAMPLES = support.ROOT / "client" / "python" / "examples"
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

    def test_guide(self):
        """The commands of docs/python.md, and its Python as one program; a server with TLS knows the token."""
        here = pathlib.Path(self.path("guide"))
        here.mkdir()
        token = self.json("token", "me", "--role", "producer")
        (here / ".ptychoserve-token").write_text(token.pop("token"), encoding="ascii")
        (here / "access.yaml").write_text(json.dumps({"principals": [token]}), encoding="ascii")
        authority = Authority(here)
        certificate, key = authority.sign("server")
        secure = harness.Server(here, "--tls-cert", certificate, "--tls-key", key,
                                "--access-file", str(here / "access.yaml"))
        self.addCleanup(secure.kill)
        for name, target in (("build", support.BUILD), ("tests", support.ROOT / "tests")):
            (here / name).symlink_to(target)
        for name in ("client/python", "proto"):  # Wheels are built beside their sources.
            shutil.copytree(support.ROOT / name, here / name)
        (here / "my_scan.py").write_text("import ptychoserve\n"
                                         "print(ptychoserve.Client().info().caller.name)\n", encoding="ascii")
        script = pages.script(
            "docs/python.md", "guide.py",
            after={("Python", 0): f"PYTHONPATH=$PYTHONPATH:{EXAMPLES} python3 guide.py",
                   ("Tokens and TLS", 0): "unset ${!PTYCHOSERVE_*}"})
        said = pages.run(harness.replace_all(script, {
            "127.0.0.1:50051": self.server.address, "gpu.example.org:50051": secure.address,
            "/etc/ptychoserve/ca.pem": authority.path,
            "--frames 40000": "--frames 160", "--frames 24000": "--frames 160"}),
            here, HOME=str(here), MPLBACKEND="Agg")
        self.assertIn("did you mean 'photon_energy_ev'?", said)
        self.assertIn("\nme\n", said)
        self.assertEqual(len(list(here.glob("ptychoserve-*-py3-none-any.whl"))), 1)
        self.assertEqual(said.count('"gb_per_s"'), 3)


if __name__ == "__main__":
    support.main()
