#!/usr/bin/env python3
"""ptychoctl orient: frames turned and flipped on purpose, in each of the eight ways.

    orient_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import shutil
import signal
import subprocess
import time

import h5py
import harness
import numpy as np

# What makes of a frame as the detector has it the one that is sent, and the orientation that undoes
# it. Transposing and reversing both by itself; the quarter turns each other.
TURNED = {
    "IDENTITY": lambda a: a,
    "FLIP_LR": lambda a: a[:, :, ::-1],
    "FLIP_UD": lambda a: a[:, ::-1, :],
    "ROT180": lambda a: a[:, ::-1, ::-1],
    "TRANSPOSE": lambda a: a.transpose(0, 2, 1),
    "ROT90_CW": lambda a: a.transpose(0, 2, 1)[:, ::-1, :],
    "ROT90_CCW": lambda a: a.transpose(0, 2, 1)[:, :, ::-1],
    "ANTITRANSPOSE": lambda a: a.transpose(0, 2, 1)[:, ::-1, ::-1],
}
TWIN = {"IDENTITY": "ROT180", "FLIP_LR": "FLIP_UD", "TRANSPOSE": "ANTITRANSPOSE",
        "ROT90_CCW": "ROT90_CW"}
TWIN.update({b: a for a, b in list(TWIN.items())})
FLAGS = ("--frames", "49", "--schedule", "dm:40,ml_grad:10", "--quiet")


class OrientTest(harness.EndToEndTest):
    SCAN_FLAGS = ("--points", "64", "--frame", "32", "--photons", "1e6")

    def turned(self, name):
        """The scan with its frames turned so that orientation `name` is right; its path."""
        path = self.path(f"{name}.cxi")
        shutil.copy(self.scan, path)
        with h5py.File(path, "r+") as file:
            data = file["entry_1/instrument_1/detector_1/data"]
            data[...] = TURNED[name](data[()])
        return path

    def orient(self, scan, *flags):
        """Exit code and what it says."""
        done = self.ctl("orient", scan, "--probe", f"{self.scan}:{harness.PROBE}", *FLAGS, *flags,
                        "--json")
        return done.returncode, json.loads(done.stdout)

    def test_finds_each_of_the_eight(self):
        for name in TURNED:
            with self.subTest(orientation=name):
                code, found = self.orient(self.turned(name))
                right = {f"ORIENTATION_{name}", f"ORIENTATION_{TWIN[name]}"}
                self.assertEqual({found["recommended"], found["recommended_twin"]}, right, found)
                self.assertTrue(found["clear"], found)
                self.assertEqual(found["declared"], "ORIENTATION_IDENTITY")
                # The probe tells the two apart.
                self.assertEqual(found["recommended"], f"ORIENTATION_{name}")
                self.assertEqual(found["confirmed"], name == "IDENTITY")
                self.assertEqual(code, 0 if found["confirmed"] else 4)
                self.assertEqual(found["frames"], 49)
                factors = [c["r_factor"] for c in found["candidates"]]
                self.assertEqual(factors, sorted(factors))
                self.assertEqual(len(factors), 8)
        self.assertEqual(self.json("list")["sessions"], [])

    def test_declared_orientations_are_confirmed(self):
        for name in ("FLIP_UD", "ROT90_CW"):
            config = self.path("declared.txt")
            with open(config, "w", encoding="utf-8") as file:
                file.write(f"detector {{ orientation: ORIENTATION_{name} }}\n")
            code, found = self.orient(self.turned(name), "--config", config)
            self.assertEqual((code, found["recommended"]), (0, f"ORIENTATION_{name}"), found)

    def test_four_classes_without_a_probe(self):
        done = self.ctl("orient", self.scan, "--frames", 20, "--schedule", "dm:3", "--json")
        self.assertEqual(len(json.loads(done.stdout)["candidates"]), 4)

    def test_positions_may_be_changed_instead(self):
        """Each class but the first names positions that explain the same frames as well."""
        change = {"scan.x_sign reversed": "x_sign: -1", "scan.swap_axes changed": "swap_axes: true",
                  "scan.swap_axes changed and scan.x_sign reversed": "swap_axes: true x_sign: -1"}
        found_changes = set()
        for name in ("FLIP_LR", "TRANSPOSE", "ROT90_CCW"):
            best = self.orient(self.turned(name))[1]["candidates"][0]["or_positions"]
            config = self.path("positions.txt")
            with open(config, "w", encoding="utf-8") as file:
                file.write(f"scan {{ {change[best]} }}\n")
            # Without the probe, which would have to be turned, too.
            code, found = self.orient(self.path(f"{name}.cxi"), "--config", config)
            self.assertEqual(found["recommended"], "ORIENTATION_IDENTITY", found)
            self.assertEqual(code, 0)
            found_changes.add(best)
        self.assertEqual(found_changes, set(change))

    def test_crop_goes_with_the_frames(self):
        config = self.path("crop.txt")
        with open(config, "w", encoding="utf-8") as file:
            file.write("detector { frame_shape { rows: 48 cols: 40 }\n"
                       "  crop { row: 12 col: 3 shape { rows: 32 cols: 32 } } }\n")
        path = self.path("wide.cxi")
        shutil.copy(self.scan, path)
        with h5py.File(path, "r+") as file:
            data = "entry_1/instrument_1/detector_1/data"
            frames = np.zeros((64, 48, 40), np.uint16)
            frames[:, 12:44, 3:35] = file[data][()]
            del file[data]
            file[data] = frames
        code, found = self.orient(path, "--config", config)
        self.assertEqual(code, 0, found)

    def test_says_it_in_words(self):
        done = self.ctl("orient", self.turned("FLIP_LR"), "--probe", f"{self.scan}:{harness.PROBE}",
                        *FLAGS)
        self.assertEqual(done.returncode, 4)
        self.assertIn("recommended: detector.orientation = ORIENTATION_FLIP_LR, or "
                      "ORIENTATION_FLIP_UD", done.stdout)
        self.assertIn("(declared)", done.stdout)

    def test_a_session_that_is_under_way_is_asked(self):
        self.json("create", "--session", "under-way", "--scan", self.turned("FLIP_LR"),
                  "--iterations", 1_000_000, "--no-orientation-test")
        self.json("stream", "under-way", self.turned("FLIP_LR"))
        done = self.ctl("orient", "--live", "under-way", "--json")
        self.assertEqual(done.returncode, 4, done.stderr)
        found = json.loads(done.stdout)
        best = found["trials"][0]
        self.assertEqual({best["orientation"], best["twin"]},
                         {"ORIENTATION_FLIP_LR", "ORIENTATION_FLIP_UD"}, found)
        self.assertIn("FLIP_LR, or scan.x_sign reversed than with ORIENTATION_IDENTITY",
                      self.ctl("orient", "--live", "under-way").stdout)
        self.assertIn("lies as    32 frames are better explained", self.ok("get", "under-way"))
        self.json("stop", "under-way")
        self.assertEqual(self.refused(1, "orient", "--live", "under-way")["reason"],
                         "SESSION_ENDED")
        self.json("delete", "under-way")

    def test_refuses_what_it_cannot_use(self):
        self.assertIn("--live", self.refused(2, "orient")["message"])
        self.assertEqual(self.refused(2, "orient", "missing.cxi")["code"], "NOT_FOUND")
        self.assertIn("--frames", self.refused(2, "orient", self.scan, "--frames", 1)["message"])

    def test_runs_one_after_the_other_where_there_is_no_room(self):
        folder = self.path("narrow")
        os.mkdir(folder)
        server = harness.Server(folder, "--max-sessions", "1")
        try:
            code, found = self.orient(self.scan, "--server", server.address)
            self.assertEqual(code, 0, found)
        finally:
            self.assertEqual(server.stop(), 0)

    def test_interrupt_deletes_the_sessions(self):
        process = subprocess.Popen(
            [harness.program("ptychoctl"), "orient", self.scan, "--schedule", "dm:1000000"],
            env=self.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + harness.DEADLINE_S
        while len(self.json("list")["sessions"]) < 4:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, 130)
        self.assertEqual(self.json("list")["sessions"], [])


if __name__ == "__main__":
    harness.main()
