#!/usr/bin/env python3
"""Recorded scans through the command `ptychoserve-replay` and the real server: every format gives
what `ptychoctl run` gives; parts, readers and chunks change nothing; breaks, interrupts, errors.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import support
import harness
import numpy as np
import pages
import ptychoserve
import scan_files

harness.BUILD = support.BUILD
ITERATIONS = 20
# Nothing is done before all frames are there: then how they came is no excuse for a difference.
AT_ONCE = ("--set", f"run.it_ends_after={ITERATIONS}", "--set", "run.min_points_to_start=100")


# Two frames as a detector writes them, one file each, with the positions of the page beside them.
FRAMES_IN_FILES = """
mkdir frames
python3 -c '
import numpy as np
for k, frame in enumerate(np.load("scan.npz")["frames"][:2]):
    np.save(f"frames/{k}.npy", frame)'
cp positions.csv frames
touch frames/.done
ptychoserve-watch frames --frames --existing --scans 1 --wavelength-m 1.37146e-10 --distance-m 2.05 \\
    --pixel-size-m 75e-6
"""


class ReplayTestCase(harness.EndToEndTest):

    SCAN_FLAGS = (*harness.EndToEndTest.SCAN_FLAGS, "--dead-pixels", "0.002")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parts = scan_files.Parts(cls.scan)
        cls.client = ptychoserve.Client(cls.server.address)
        cls.addClassCleanup(cls.client.close)

    def start(self, *arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-B", "-m", "ptychoserve.replay", *map(str, arguments)], text=True,
            env={**os.environ, "PYTHONPATH": str(support.BUILD / "python"),
                 "PTYCHOSERVE_SERVER": self.server.address, **environment},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def end(self, process, code=0):
        """What a program has printed that must end with this code."""
        said, errors = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, code, said + errors)
        return said, errors

    def replay(self, source, *arguments, **environment):
        """The summaries of a replay that must succeed."""
        said, _ = self.end(self.start(source, "--json", *arguments, **environment))
        return [json.loads(line) for line in said.splitlines()]

    def refused(self, code, *arguments, **environment):
        """What it says on standard error."""
        return self.end(self.start(*arguments, **environment), code)[1]

    def accepted(self, session_id):
        try:
            return self.client.session(session_id).info.frames.accepted
        except ptychoserve.errors.NotFound:
            return 0

    def wait_for_frames(self, session_id, count, process):
        deadline = time.monotonic() + harness.DEADLINE_S
        while self.accepted(session_id) < count:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def object_of(self, session_id):
        return self.client.session(session_id).result(harness.DEADLINE_S).object


class ReplayTest(ReplayTestCase):

    def test_every_format_gives_what_run_gives(self):
        expected = self.json("run", self.scan, "--iterations", ITERATIONS, "--min-points", 100,
                             "--quiet")["final_fit"]["r_factor"]
        mapping = self.path("mapping.json")
        scan_files.write_mapping(mapping)
        for kind in ("cxi", "nexus", "grid", "ptyd", "hdf5", "npz"):
            with self.subTest(kind):
                path, flags = self.path(f"as-{kind}.h5"), ()
                if kind == "cxi":
                    path = self.scan
                elif kind == "grid":
                    scan_files.write_grid_nexus(path, self.parts, rows=10)
                elif kind == "npz":
                    path = self.path("as.npz")
                    scan_files.write_npz(path, self.parts)
                else:
                    getattr(scan_files, f"write_{kind}")(path, self.parts)
                    flags = ("--mapping", mapping) if kind == "hdf5" else ()
                self.check_r(expected, path, *flags)
        with self.subTest("tiled"), scan_files.tiled_of(self.parts) as tiled:
            self.check_r(expected, tiled.uri, TILED_API_KEY="secret")

    def check_r(self, expected, source, *flags, **environment):
        output = self.path("replayed.cxi")
        summary, = self.replay(source, *flags, "--output", output, *AT_ONCE, **environment)
        self.assertEqual((summary["state"], summary["frames_accepted"], summary["points"],
                          summary["frames_refused"], summary["positions_refused"]),
                         ("completed", 100, 100, 0, 0))
        self.assertAlmostEqual(summary["r_factor"] / expected, 1, delta=0.02)
        result = ptychoserve.Result.load(output)
        points = result.snapshot.points
        self.assertLess(harness.r_factor(
            result.object, result.probe, points[:, 1:3],
            np.where(self.parts.bad, 0, self.parts.frames)[points[:, 0].astype(int)]), 0.12)

    def test_readers_chunks_and_rate_change_nothing(self):
        objects = []
        for number, flags in enumerate(((), ("--workers", 5, "--chunk-size", 3),
                                        ("--workers", 1, "--chunk-size", 1000),
                                        ("--rate", 400, "--chunk-size", 7))):
            self.replay(self.scan, "--session", f"same-{number}", *AT_ONCE, *flags)
            objects.append(self.object_of(f"same-{number}"))
        for other in objects[1:]:
            np.testing.assert_array_equal(objects[0], other)

    def test_a_part_is_a_scan_of_its_own(self):
        """Frames and positions are left out together, and counted from 0: a file of that part."""
        part = slice(20, 80)
        np.savez(self.path("part.npz"), frames=self.parts.frames[part], x_m=self.parts.x_m[part],
                 y_m=self.parts.y_m[part], wavelength_m=self.parts.wavelength_m,
                 distance_m=self.parts.distance_m, pixel_size_m=self.parts.pixel_m,
                 bad_pixels=self.parts.bad)
        at_once = (*AT_ONCE[:2], "--set", "run.min_points_to_start=60")
        summary, = self.replay(self.scan, "--skip-frames", 20, "--max-frames", 60, "--session",
                               "part", *at_once)
        self.assertEqual((summary["frames"], summary["points"]), (60, 60))
        self.replay(self.path("part.npz"), "--session", "part-file", *at_once)
        np.testing.assert_array_equal(self.object_of("part"), self.object_of("part-file"))
        ids = self.client.session("part").snapshot(["points"]).points[:, 0]
        np.testing.assert_array_equal(np.sort(ids), range(60))

    def test_each_loop_begins_from_nothing(self):
        output = self.path("looped.npz")
        summaries = self.replay(self.scan, "--loop", 2, "--session", "loop", "--output", output,
                                *AT_ONCE)
        self.assertEqual([s["session"] for s in summaries], ["loop-1", "loop-2"])
        self.assertEqual([s["iterations"] for s in summaries], [ITERATIONS] * 2)
        np.testing.assert_array_equal(self.object_of("loop-1"), self.object_of("loop-2"))
        for name in ("looped-1.npz", "looped-2.npz"):
            with np.load(self.path(name)) as saved:
                np.testing.assert_array_equal(saved["object"], self.object_of("loop-1"))

    def test_a_replay_that_was_killed_goes_on(self):
        command = (self.scan, "--session", "killed", "--rate", 60, "--json", *AT_ONCE)
        killed = self.start(*command)
        self.wait_for_frames("killed", 20, killed)
        killed.kill()
        killed.wait()
        self.assertLess(self.accepted("killed"), 100)
        said, errors = self.end(self.start(*command, "--rate", 0))
        self.assertIn("killed: goes on", errors)
        summary = json.loads(said)
        self.assertEqual((summary["state"], summary["frames_accepted"], summary["points"]),
                         ("completed", 100, 100))
        self.replay(self.scan, "--session", "whole", *AT_ONCE)
        np.testing.assert_array_equal(self.object_of("killed"), self.object_of("whole"))

    def test_interrupts(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(number):
                name = f"interrupted-{number}"
                output = pathlib.Path(self.path(f"{name}.npz"))
                process = self.start(self.scan, "--session", name, "--rate", 40, "--output",
                                     output, "--set", "run.min_points_to_start=20", "--json")
                self.wait_for_frames(name, 50, process)
                while not self.client.session(name).info.snapshot_version:
                    self.assertIsNone(process.poll())
                    time.sleep(0.02)
                process.send_signal(number)
                said, errors = self.end(process, 130)
                self.assertIn("interrupted; the session is stopped", errors)
                self.assertEqual(json.loads(said)["state"], "stopped")
                self.assertTrue(output.exists())

    def test_frames_and_positions_that_do_not_pair(self):
        scan_files.write_npz(self.path("pairs.npz"), self.parts,
                             x_m=self.parts.x_m[5:], y_m=self.parts.y_m[5:],
                             position_ids=np.arange(5, 100), frames=self.parts.frames[:90])
        said, errors = self.end(self.start(self.path("pairs.npz"), "--json", *AT_ONCE[:2]))
        summary = json.loads(said)
        self.assertEqual((summary["frames_without_position"], summary["positions_without_frame"],
                          summary["points"], summary["frames_accepted"]),
                         ([[0, 4]], [[90, 99]], 85, 90))
        self.assertIn("note: 90 frames and 95 positions, joined by their ids", errors)

    def test_pixels_that_are_no_counts_are_counted(self):
        frames = self.parts.frames.astype("f8")
        frames[3, 0, :2] = np.nan, -1
        scan_files.write_npz(self.path("float.npz"), self.parts, frames=frames)
        summary, = self.replay(self.path("float.npz"), *AT_ONCE)
        self.assertEqual((summary["untrusted_pixels"], summary["negative_pixels"],
                          summary["state"]), (1, 1, "completed"))

    def test_a_probe_to_begin_with(self):
        summary, = self.replay(self.scan, "--use-probe", "--session", "probe", *AT_ONCE)
        self.assertEqual(summary["state"], "completed")
        self.assertFalse(self.client.session("probe").info.HasField("probe_defocus_m"))
        scan_files.write_npz(self.path("bare.npz"), self.parts)
        self.assertIn("has none", self.refused(2, self.path("bare.npz"), "--use-probe"))

    def test_ends(self):
        """Without waiting, forgotten afterwards, ended already, failed."""
        self.replay(self.scan, "--session", "left", "--no-wait", *AT_ONCE)
        self.assertEqual(self.client.session("left").wait(harness.DEADLINE_S).state, "completed")
        self.assertIn("choose another id", self.refused(1, self.scan, "--session", "left",
                                                        *AT_ONCE))
        self.replay(self.scan, "--session", "forgotten", "--delete", *AT_ONCE)
        with self.assertRaises(ptychoserve.errors.NotFound):
            self.client.session("forgotten")
        scan_files.write_npz(self.path("dark.npz"), self.parts,
                             frames=np.zeros_like(self.parts.frames))
        self.assertIn("has failed", self.refused(3, self.path("dark.npz")))

    def test_a_session_that_ends_before_the_scan_is_no_error(self):
        said, errors = self.end(self.start(
            self.scan, "--rate", 10, "--json", "--set", "run.min_points_to_start=20", "--set",
            "run.max_iterations=3"))
        self.assertIn("has ended before all of the scan was sent", errors)
        self.assertEqual(json.loads(said)["state"], "completed")

    def test_what_is_asked_wrongly(self):
        config = self.path("config.textproto")
        pathlib.Path(config).write_text("run { it_ends_after: 5 }", encoding="utf-8")
        for flags, word in ((("--set", "run.it_end_after=3"), "did you mean 'it_ends_after'?"),
                            (("--set", "run"), "FIELD=VALUE"),
                            (("--output", "result.txt"), ".cxi"),
                            (("--output", "nowhere/result.cxi"), "folder"),
                            (("--no-wait", "--output", "a.cxi"), "one of them"),
                            (("--config", self.scan), "SessionConfig"),
                            (("--config", "nothing"), "nothing"),
                            (("--set", "optics.distance_m=-1"), "distance_m"),
                            (("--rate", "-1"), "-1"), (("--loop", "0"), "below 1"),
                            (("--max-frames", "0"), "below 1"),
                            (("--skip-frames", "100"), "at least one frame")):
            with self.subTest(flags):
                self.assertIn(word, self.refused(2, self.scan, *flags))
        self.assertIn("No such file", self.refused(2, "nothing.cxi"))
        self.assertIn("no server answers", self.refused(1, self.scan, "--server",
                                                        "127.0.0.1:1"))
        self.replay(self.scan, "--config", config, "--session", "configured", "--set",
                    "run.min_points_to_start=100")
        self.assertEqual(self.client.session("configured").config.run.it_ends_after, 5)

    def test_the_page(self):
        """Its commands, files and programs, in their order."""
        folder = pathlib.Path(self.path("page"))
        folder.mkdir()
        script = pages.script(
            "docs/replay.md", ["write_npz.py", "areadetector.yaml", "write_scan.py", "positions.csv"],
            after={("Watch", 0): FRAMES_IN_FILES})
        said = pages.run(script.replace("127.0.0.1:50051", self.server.address), folder,
                         PTYCHOSERVE_SERVER=self.server.address)
        self.assertRegex(said, r": completed, 100 of 100 frames, 100 points, \d+ iterations"
                               r", R 0\.0\d+; written to result\.cxi\n")
        self.assertIn("\nfrom-npz: completed, 60 of 60 frames", said)
        self.assertIn("\ntour-0042: 100 of 100 frames, 100 positions; "
                      "ended: scans/0042.h5.done is there\n", said)
        self.assertIn("\nframes: 2 of 2 frames, 2 positions", said)
        self.assertTrue((folder / "result.cxi").exists())
        session = self.client.session("tour-0042").wait(harness.DEADLINE_S)
        self.assertLess(session.info.final_fit.r_factor, 0.1)

    def test_help_is_that_of_who_calls(self):
        said, _ = self.end(self.start("--help", PTYCHOSERVE_PROGRAM="ptychoctl replay"))
        self.assertIn("usage: ptychoctl replay ", said)
        said, _ = self.end(self.start("--help"))
        self.assertIn("usage: ptychoserve-replay ", said)


if __name__ == "__main__":
    support.main()
