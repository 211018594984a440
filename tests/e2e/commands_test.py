#!/usr/bin/env python3
"""Every command of ptychoctl against a real server, and what it says when something is wrong.

    commands_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import shutil
import subprocess
import time

import h5py
import harness
import numpy as np


class CommandsTest(harness.EndToEndTest):
    def test_tour_of_a_session(self):
        info = self.json("info")
        self.assertEqual(info["devices"][0]["name"], "cpu")

        created = self.json("create", "--session", "tour", "--scan", self.scan, "--probe",
                            f"{self.scan}:{harness.PROBE}", "--schedule", "dm:8,ml_grad:4")
        self.assertEqual(created["name"], "sessions/tour")
        self.assertEqual(created["config"]["run"]["it_ends_after"], 12)
        self.assertEqual([s["name"] for s in self.json("list")["sessions"]], ["sessions/tour"])
        self.assertIn("tour", self.ok("list"))

        # Positions first, then the frames: they are joined by id.
        self.json("stream", "tour", self.scan, "--positions-only")
        waiting = self.json("get", "tour")
        self.assertEqual(waiting["positions_without_frame"], 100)
        self.json("update", "tour", "--snapshot-history", 4, "--iterations", 10)
        sent = self.json("stream", "tour", self.scan, "--frames-only", "--finish")
        self.assertEqual(sent["sent"]["frames"], 100)

        events = [json.loads(line) for line in self.ok("watch", "tour", "--json").splitlines()]
        self.assertEqual(events[-1]["session"]["state"], "SESSION_STATE_COMPLETED")
        session = self.json("get", "tour")
        self.assertEqual(session["iterations_after_end"], 10)
        self.assertEqual(session["config"]["snapshots"]["history"], 4)
        self.assertIn("COMPLETED", self.ok("get", "tour"))
        self.json("finish", "tour")  # Once more: nothing happens.
        self.assertEqual(self.refused(1, "stop", "tour")["reason"], "SESSION_ENDED")

        npz, png = self.path("now.npz"), self.path("now.png")
        header = self.json("snapshot", "tour", "--out", npz, "--out", png)
        self.assertTrue(header["final"])
        self.assertEqual(header["version"], session["snapshot_version"])
        self.assertTrue(np.isfinite(np.load(npz)["obj"]).all())
        self.assertGreater(min(harness.picture_size(png)), 16)
        self.assertTrue(self.json("snapshot", "tour", "--newer-than", header["version"])
                        ["unchanged"])

        frame = self.json("frame", "tour", "--expected", "--out", npz)
        counts = np.load(npz)["counts"]
        self.assertEqual(counts.shape, (frame["rows"], frame["cols"]))
        self.assertEqual(counts.sum(), frame["counts"])
        self.assertEqual(np.load(npz)["expected"].shape, counts.shape)
        self.assertEqual(frame["version"], session["snapshot_version"])
        self.ok("frame", "tour", "--out", png)
        self.assertEqual(harness.picture_size(png), counts.shape[::-1])
        other = str(frame["frame_id"] - 1)
        self.assertEqual(self.refused(1, "frame", "tour", "--frame-id", other)["reason"],
                         "FRAME_NOT_KEPT")
        self.refused(2, "frame", "tour", "--out", "frame.cxi")

        self.json("delete", "tour")
        self.assertEqual(self.json("list")["sessions"], [])

    def test_commands_that_are_programs_of_their_own(self):
        usage = self.ok("bridge", "--help")
        self.assertIn("usage: ptychoctl bridge", usage)
        done = self.ctl("emulate", "eiger")
        self.assertEqual(done.returncode, 2)
        self.assertIn("ptychoctl emulate", done.stderr)
        # Where the Python package is not installed.
        alone = self.path("ptychoctl")
        shutil.copy(harness.program("ptychoctl"), alone)
        done = subprocess.run([alone, "replay", "scan.cxi"], capture_output=True, text=True,
                              timeout=harness.DEADLINE_S, env={"PATH": "/usr/bin:/bin"})
        self.assertEqual(done.returncode, 1)
        self.assertIn("ptychoserve-replay: No such file or directory; ptychoctl replay is part of "
                      "the Python package ptychoserve", done.stderr)

    def test_exports_imports_and_runs_again(self):
        live = self.json("run", self.scan, "--session", "live", "--schedule", "dm:6,ml_grad:4",
                         "--keep", "--quiet", "--out", self.path("live.npz"))
        self.assertEqual(self.refused(1, "export", "live", self.path("no.state"))["reason"],
                         "INPUT_NOT_KEPT")  # This server has no --state-dir.
        self.assertFalse(os.path.exists(self.path("no.state")))
        saved = self.json("export", "live", self.path("live.state"), "--no-input")
        self.assertEqual(saved["bytes"], os.path.getsize(self.path("live.state")))

        # Without its input, it can be gone on with, or begun from.
        self.json("import", self.path("live.state"), "--session", "warm", "--warm-start")
        self.json("stream", "warm", self.scan, "--finish")
        for line in self.ok("watch", "warm", "--json").splitlines():
            warm = json.loads(line)["session"]
        self.assertEqual(warm["state"], "SESSION_STATE_COMPLETED")
        self.assertLess(warm["final_fit"]["r_factor"], live["final_fit"]["r_factor"])
        self.assertEqual(
            self.refused(2, "rerun", self.scan)["message"], f"{self.scan} is not a state file")
        for name in ("live", "warm"):
            self.json("delete", name)

        folder = self.path("kept")
        os.mkdir(folder)
        server = harness.Server(folder, "--state-dir", folder)
        self.addCleanup(server.stop)
        at = ("--server", server.address)
        self.json("run", self.scan, "--session", "live", "--schedule", "dm:6,ml_grad:4", "--keep",
                  "--keep-input", "--min-points", 100, "--quiet", "--out", self.path("live.npz"), *at)
        self.json("export", "live", self.path("live.state"), *at)
        again = self.json("rerun", self.path("live.state"), "--out", self.path("again.npz"), *at)
        self.assertEqual(again["state"], "SESSION_STATE_COMPLETED")
        for array in ("obj", "probe"):
            np.testing.assert_array_equal(np.load(self.path("again.npz"))[array],
                                          np.load(self.path("live.npz"))[array])
        other = self.json("rerun", self.path("live.state"), "--schedule", "ml_grad:3", *at)
        self.assertEqual(other["iteration"], 3)
        self.assertEqual([s["name"] for s in self.json("list", *at)["sessions"]],
                         ["sessions/live"])

    def test_stream_of_a_producer_sends_what_is_missing(self):
        self.json("create", "--session", "again", "--scan", self.scan, "--schedule", "dm:5")
        spool = ("--producer", "eiger", "--spool-dir", self.path("spool"), "--spool-always")
        stream = [harness.program("ptychoctl"), "stream", "again", self.scan, "--rate", "50",
                  *spool]
        with subprocess.Popen(stream, env=self.environment(), stdout=subprocess.DEVNULL) as first:
            deadline = time.monotonic() + harness.DEADLINE_S
            while int(self.json("get", "again")["frames"]["accepted"]) < 20:
                self.assertLess(time.monotonic(), deadline)
            first.kill()
        had = int(self.json("get", "again")["frames"]["accepted"])
        done = self.json("stream", "again", self.scan, *spool, "--finish")
        self.assertEqual(done["frames"]["accepted"], 100)
        self.assertEqual(done["frames"]["rejections"], [])
        self.assertEqual(done["positions"]["rejections"], [])
        self.assertGreaterEqual(done["sent"]["known"], had)
        self.assertEqual(done["sent"]["known"] + done["sent"]["frames"], 100)
        self.assertEqual(os.listdir(self.path("spool")), [])
        # Once more, when the session has ended: nothing is missing.
        self.ok("watch", "again", "--json")
        self.assertEqual(self.json("stream", "again", self.scan, *spool)["sent"]["frames"], 0)
        # A session that ended without the scan does not take it.
        self.json("create", "--session", "gone", "--scan", self.scan)
        self.json("stop", "gone")
        error = self.refused(1, "stream", "gone", self.scan, *spool)
        self.assertEqual(error["reason"], "SESSION_ENDED")
        for session in ("again", "gone"):
            self.json("delete", session)

    def test_session_that_runs_is_stopped_or_deleted_by_force(self):
        self.json("create", "--session", "endless", "--scan", self.scan, "--iterations", 1000000)
        self.json("stream", "endless", self.scan, "--finish")
        self.assertEqual(self.refused(1, "delete", "endless")["reason"], "SESSION_ACTIVE")
        self.assertEqual(self.json("stop", "endless")["state"], "SESSION_STATE_STOPPED")
        self.json("delete", "endless")
        self.json("create", "--session", "endless", "--scan", self.scan)
        self.json("delete", "endless", "--force")

    def test_dry_run_creates_nothing(self):
        planned = self.json("create", "--scan", self.scan, "--dry-run")
        self.assertGreater(planned["device_bytes"], 0)
        self.assertEqual(self.json("list")["sessions"], [])

    def test_bad_input_on_this_side(self):
        empty = self.path("empty.cxi")
        with h5py.File(empty, "w"):
            pass
        for arguments in (("run", self.path("missing.cxi")),
                          ("run", empty),
                          ("run", __file__),
                          ("run", self.scan, "--schedule", "nonsense:5"),
                          ("run", self.scan, "--probe", self.path("missing.npy")),
                          ("run", self.scan, "--probe", f"{self.scan}:/no/such/dataset"),
                          ("run", self.scan, "--out", "result.jpeg"),
                          ("run", self.scan, "--drop", "1.5"),
                          ("run", self.scan, "--encoding", "zip"),
                          ("run", self.scan, "--give-up-after", "-1"),
                          ("run", self.scan, "--producer", "two words"),
                          ("run", self.scan, "--spool-dir", self.path("spool")),
                          ("run", self.scan, "--producer", "p", "--spool-always"),
                          ("run", self.scan, "--no-such-flag"),
                          ("create", "--config", self.path("missing.textproto")),
                          ("simulate", self.path("s.cxi"), "--frame", "33"),
                          ("simulate", "/no/such/folder/s.cxi", "--points", "4"),
                          ("no-such-command",),
                          ()):
            with self.subTest(arguments=arguments):
                self.assertTrue(self.refused(2, *arguments)["message"])

    def test_settings_that_the_server_refuses_are_named(self):
        config = self.path("bad.textproto")
        with open(config, "w", encoding="utf-8") as file:
            file.write("object { padding_px: 1 } snapshots { history: 100 }")
        error = self.refused(2, "run", self.scan, "--config", config)
        self.assertEqual(error["code"], "INVALID_ARGUMENT")
        self.assertEqual(error["reason"], "INVALID_CONFIG")
        self.assertEqual([f["field"] for f in error["fields"]],
                         ["object.padding_px", "snapshots.history"])

    def test_session_unknown(self):
        for arguments in (("get", "nobody"), ("finish", "nobody"), ("stop", "nobody"),
                          ("delete", "nobody"), ("snapshot", "nobody"), ("watch", "nobody"),
                          ("update", "nobody", "--iterations", "5"),
                          ("stream", "nobody", self.scan)):
            with self.subTest(arguments=arguments):
                error = self.refused(1, *arguments)
                self.assertEqual(error["code"], "NOT_FOUND")
                self.assertEqual(error["reason"], "SESSION_NOT_FOUND")

    def test_id_that_is_taken(self):
        self.json("create", "--session", "taken", "--scan", self.scan)
        error = self.refused(1, "run", self.scan, "--session", "taken", "--iterations", 7)
        self.assertEqual(error["reason"], "SESSION_EXISTS")
        self.json("delete", "taken", "--force")

    def test_no_server(self):
        # The flag comes before the environment, which names the server that is there.
        error = self.refused(1, "info", "--server", "127.0.0.1:1")
        self.assertEqual(error["code"], "UNAVAILABLE")
        self.assertIn("127.0.0.1:1", error["message"])

    def test_server_from_flag_and_environment(self):
        bare = {k: v for k, v in os.environ.items() if k != "PTYCHOSERVE_SERVER"}
        for env, flags in ((bare, ("--server", self.server.address)),
                           ({**bare, "PTYCHOSERVE_SERVER": self.server.address}, ()),
                           ({**bare, "PTYCHOSERVE_SERVER": "127.0.0.1:1"},
                            ("-s", self.server.address))):
            done = self.ctl("info", *flags, env=env)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_help_has_examples(self):
        self.assertIn("Examples", self.ok("--help"))
        for command in ("simulate", "run", "create", "stream", "watch", "snapshot", "frame",
                        "list", "get",
                        "finish", "stop", "delete", "update", "info"):
            self.assertIn("Example", self.ok(command, "--help"))


if __name__ == "__main__":
    harness.main()
