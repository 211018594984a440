#!/usr/bin/env python3
"""ptychoctl against servers that are killed, and against a calendar that jumps.

    durability_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import pathlib
import subprocess
import time

import harness
import numpy as np

# Debian's libfaketime: the calendar of a process is what a file says, its monotonic clock is left.
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
RUN = ("--schedule", "dm:100,ml_grad:100,lsqml:100", "--min-points", "100", "--quiet")


class DurabilityTest(harness.EndToEndTest):
    def begin(self, session, out, address):
        return subprocess.Popen(
            [harness.program("ptychoctl"), "run", self.scan, "--server", address, "--session",
             session, "--probe", f"{self.scan}:{harness.PROBE}", *RUN, "--out", out, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, client):
        out, err = client.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(client.returncode, 0, err)
        return json.loads(out.splitlines()[-1])

    def folder(self, name):
        path = self.path(name)
        os.makedirs(path)
        return path

    def test_run_goes_on_when_the_server_is_killed_and_started_again(self):
        undisturbed = self.end(self.begin("undisturbed", self.path("a.npz"), self.server.address))
        folder = self.folder("killed")
        flags = ("--state-dir", os.path.join(folder, "state"), "--checkpoint-interval-s", "0.2")
        server = harness.Server(folder, *flags)
        client = self.begin("killed", self.path("b.npz"), server.address)
        for iterations in (5, 60, 130, 230):  # While it streams or starts, in each stage.
            while self.iteration("killed", server.address) < iterations:
                self.assertIsNone(client.poll(), "it ended before it was killed")
                time.sleep(0.01)
            server.kill()
            server = harness.Server(folder, *flags, listen=server.address)
        killed = self.end(client)
        self.assertEqual(server.stop(), 0)
        self.assertEqual(killed["restarts"], 4)
        self.assertEqual(killed["iteration"], undisturbed["iteration"])
        with np.load(self.path("a.npz")) as a, np.load(self.path("b.npz")) as b:
            for name in a.files:
                np.testing.assert_array_equal(a[name], b[name], name)

    def iteration(self, session, address):
        done = self.ctl("get", session, "--server", address, "--json")
        return json.loads(done.stdout).get("iteration", 0) if done.returncode == 0 else 0

    def test_a_server_that_stays_away_is_given_up(self):
        folder = self.folder("away")
        server = harness.Server(folder)
        client = subprocess.Popen(
            [harness.program("ptychoctl"), "run", self.scan, "--server", server.address,
             "--iterations", "100000", "--give-up-after", "1"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while b"scan finished" not in pathlib.Path(folder, "server.log").read_bytes():
            self.assertIsNone(client.poll())
            time.sleep(0.01)
        server.kill()
        _, err = client.communicate(timeout=harness.DEADLINE_S)
        self.assertNotEqual(client.returncode, 0)
        self.assertIn("no connection to the server", err)
        self.assertIn("UNAVAILABLE", err)

    def test_steps_of_the_calendar_end_nothing(self):
        folder = self.folder("clock")
        calendar = pathlib.Path(folder) / "calendar"
        calendar.write_text("+0")
        env = {**os.environ, "LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(calendar),
               "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        server = harness.Server(folder, "--state-dir", os.path.join(folder, "state"),
                                "--retention-h", "1", env=env)
        self.ok("run", self.scan, "--server", server.address, "--session", "ended", "--keep",
                "--schedule", "dm:5", "--quiet")
        client = self.begin("running", self.path("c.npz"), server.address)
        for step in ("+400d", "-400d", "+30m", "+0"):
            calendar.write_text(step)
            before = self.iteration("running", server.address)
            while client.poll() is None and self.iteration("running", server.address) <= before:
                time.sleep(0.01)
        summary = self.end(client)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        self.assertEqual(summary["frames"]["accepted"], 100)
        calendar.write_text("+400d")
        names = [s["name"] for s in self.json("list", "--server", server.address)["sessions"]]
        self.assertEqual(names, ["sessions/ended"])
        self.assertEqual(server.stop(), 0)


if __name__ == "__main__":
    harness.main()
