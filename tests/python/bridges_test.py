#!/usr/bin/env python3
"""From the emulated streams of a detector and an encoder to a result, through the command
`ptychoserve-bridge` and the real server: as whole scans, with losses, over two series, with a bridge
that is killed, and as the page says.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import support
import harness
import numpy as np
import ptychoserve
import zmq
from ptychoserve.bridges import emulator, scan_file

harness.BUILD = support.BUILD
UPSAMPLE = 10
M_PER_COUNT = 1e-10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class BridgesTest(harness.EndToEndTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.file = scan_file.read(cls.scan)
        cls.config = cls.path("config.json")
        settings = {
            "scan": {"bounds": ptychoserve.bounds(y_m=cls.file.y_m, x_m=cls.file.x_m,
                                                  margin_m=1e-9),
                     "encoder": {"samples_per_frame": UPSAMPLE, "x_scale_m_per_count": M_PER_COUNT,
                                 "y_scale_m_per_count": M_PER_COUNT}}}
        pathlib.Path(cls.config).write_text(json.dumps(settings), encoding="utf-8")
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)

    def setUp(self):
        self.eiger, self.panda = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))

    def start(self, *arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "ptychoserve.bridges", *map(str, arguments)], text=True,
            env={**os.environ, "PYTHONPATH": str(support.BUILD / "python"), **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def start_bridge(self, prefix, *arguments, scans=1, config=None, **environment):
        return self.start("run", "--server", self.server.address, "--config",
                          config or self.config, "--prefix", prefix, "--eiger", self.eiger,
                          "--panda", self.panda, "--scans", scans, "--json", *arguments,
                          **environment)

    def said_by(self, process):
        """What a program has printed that must end well."""
        said, errors = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, 0, said + errors)
        return said

    def reports(self, bridge):
        return [json.loads(line) for line in self.said_by(bridge).splitlines()]

    def emulate(self, source, *arguments, **environment):
        address = {"eiger": self.eiger, "panda": self.panda}[source]
        return self.start("emulate", source, self.scan, "--bind", address, *arguments,
                          **environment)

    def run_scan(self, prefix, eiger=(), panda=(), bridge=(), scans=1, **environment):
        """One command for each side; the reports."""
        emulators = [self.emulate("eiger", *eiger, **environment),
                     self.emulate("panda", *panda, **environment)]
        reports = self.reports(self.start_bridge(prefix, *bridge, scans=scans, **environment))
        for process in emulators:
            self.said_by(process)
        return reports

    def points(self, session_id):
        """Frame ids and (y, x) of the windows."""
        session = self.client.session(session_id).wait(harness.DEADLINE_S)
        points = session.snapshot(["points"]).points
        return points[:, 0].astype(int), points[:, 1:3]

    def check_pairing(self, session_id, expected_ids):
        """Each frame has its own position: windows lie as the file has them."""
        ids, corners = self.points(session_id)
        self.assertEqual(sorted(ids), sorted(expected_ids))
        pixel_m = self.client.session(session_id).info.object_pixel_size_y_m
        true = np.stack([self.file.y_m, self.file.x_m], 1)[ids] / pixel_m
        offset = (corners - true).mean(0)
        np.testing.assert_allclose(corners - true, np.broadcast_to(offset, true.shape), atol=0.02)

    def r_of_run(self):
        run_config = self.path("run.json")
        bounds = json.loads(pathlib.Path(self.config).read_text("utf-8"))["scan"]["bounds"]
        pathlib.Path(run_config).write_text(json.dumps({"scan": {"bounds": bounds}}), "utf-8")
        summary = self.json("run", self.scan, "--config", run_config, "--quiet")
        return summary["final_fit"]["r_factor"]

    def test_both_streams_give_what_run_gives(self):
        expected = self.r_of_run()
        for stream, encoding in (("v1", "bslz4"), ("v2", "bslz4"), ("v1", "lz4"), ("v2", "lz4"),
                                 ("v1", "raw"), ("v2", "raw")):
            with self.subTest(stream=stream, encoding=encoding):
                prefix = f"{stream}-{encoding}"
                report, = self.run_scan(prefix, ("--stream", stream, "--encoding", encoding))
                self.assertEqual(report, {
                    "session": f"{prefix}-1", "series": 1, "frames": 100, "positions": 100,
                    "expected": 100, "lost": [], "unplaced": [], "bad_messages": {},
                    "refused": {}, "error": ""})
                self.check_pairing(f"{prefix}-1", range(100))
                session = self.client.session(f"{prefix}-1")
                self.assertEqual(session.state, "completed")
                self.assertAlmostEqual(session.info.final_fit.r_factor / expected, 1, delta=0.02)


if __name__ == "__main__":
    support.main()
