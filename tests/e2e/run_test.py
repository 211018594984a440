#!/usr/bin/env python3
"""ptychoctl simulate and run, against a real server: scans in, results out.

    run_test.py BUILD_DIR [unittest arguments]
"""
import json
import os
import signal
import subprocess
import time

import h5py
import harness
import numpy as np

# Relative error of the complex object against the truth. A scan of 100 frames of 1e6 photons is
# found to 0.02 to 0.04; a reconstruction that has gone wrong is beyond 0.2.
GOOD = 0.08

# Frames are held until 60 have come, more than half of the scan.
HELD = "detector { auto_centre { frames: 60 crop_shape { rows: 64 cols: 64 } } }\n"


class RunTest(harness.EndToEndTest):
    def run_scan(self, *flags, scan=None):
        if "--schedule" not in flags:
            flags = ("--schedule", "dm:30,ml_grad:20", *flags)
        return self.json("run", scan or self.scan, "--probe", f"{scan or self.scan}:{harness.PROBE}",
                         "--quiet", *flags)

    def assert_good(self, summary):
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED", summary["failure"])
        self.assertLess(summary["truth"]["complex_error"], GOOD)

    def test_simulated_scan_holds_everything(self):
        with h5py.File(self.scan) as file:
            entry = file["entry_1"]
            frames = entry["instrument_1/detector_1/data"]
            self.assertEqual(frames.shape, (100, 64, 64))
            self.assertEqual(frames.dtype, np.uint16)
            positions = entry["sample_1/geometry_1/translation"][()]
            self.assertEqual(positions.shape, (100, 3))
            self.assertTrue(np.isfinite(positions).all())
            truth = entry["ground_truth_1/object"][()]
            self.assertTrue(np.isfinite(truth).all())
            self.assertEqual(entry["instrument_1/initial_probe"].shape, (1, 64, 64))
            counts = frames[()].sum(axis=(1, 2), dtype=np.int64)
            # 1e6 photons in the beam, of which the object lets 0.6^2 to 1 through.
            self.assertTrue(((counts > 3e5) & (counts < 1.05e6)).all())

    def test_simulation_is_reproducible(self):
        again = self.path("again.cxi")
        self.ok("simulate", again, *self.SCAN_FLAGS)
        np.testing.assert_array_equal(harness.frames_of(again), harness.frames_of(self.scan))

    def test_no_probe_is_needed(self):
        summary = self.json("run", self.scan, "--quiet", "--iterations", "60")
        self.assert_good(summary)
        # The zone plate of the simulation: exp(i c rho^2), c = pi / (6 R) at its radius, 0.16 of the
        # frame, in pixels of the detector.
        with h5py.File(self.scan) as file:
            wavelength_m = file["entry_1/instrument_1/source_1/wavelength"][()]
            distance_m = file["entry_1/instrument_1/detector_1/distance"][()]
            pixel_m = file["entry_1/instrument_1/detector_1/x_pixel_size"][()]
        window_m = wavelength_m * distance_m / pixel_m
        truth_m = -window_m**2 / (6 * 0.16 * 64 * wavelength_m)
        self.assertAlmostEqual(summary["probe_defocus_m"] / truth_m, 1, delta=0.15)
        printed = self.ok("run", self.scan, "--schedule", "dm:1")
        self.assertIn("probe made from the data", printed)
        self.assertIn("upstream of its focus", printed)
        config = self.path("focus.txt")
        with open(config, "w") as file:
            file.write("probe { propagation_distance_m: 0 }\n")
        told = self.json("run", self.scan, "--quiet", "--schedule", "dm:1", "--config", config)
        self.assertNotIn("probe_defocus_m", told)

    def test_results_of_every_kind_agree_with_the_data(self):
        cxi, npz = self.path("r.cxi"), self.path("r.npz")
        summary = self.run_scan("--out", cxi, "--out", npz)
        self.assert_good(summary)
        self.assertEqual(summary["iterations_after_end"], 50)
        self.assertEqual(summary["active_points"], 100)
        self.assertEqual(summary["partial"], False)

        arrays = np.load(npz)
        obj, probe, corners = arrays["obj"], arrays["probe"], arrays["pos"]
        self.assertEqual(obj.dtype, np.complex64)
        self.assertEqual(probe.shape, (1, 64, 64))
        self.assertEqual(corners.shape, (100, 2))
        self.assertEqual(arrays["coverage"].shape, obj.shape)
        for array in arrays.values():
            self.assertTrue(np.isfinite(array).all())
        # What was written explains the frames as well as the server says.
        r = harness.r_factor(obj, probe, corners, harness.frames_of(self.scan))
        self.assertAlmostEqual(r, summary["final_fit"]["r_factor"], delta=1e-3 * r)

        with h5py.File(cxi) as file:
            image = file["entry_1/image_1"]
            np.testing.assert_array_equal(image["data"][()], obj)
            np.testing.assert_array_equal(image["coverage"][()], arrays["coverage"])
            np.testing.assert_array_equal(
                file["entry_1/instrument_1/source_1/illumination"][()], probe)
            np.testing.assert_allclose(image["window_corner"][()], corners)
            metrics = image["process_1/metrics"]
            self.assertEqual(metrics.shape, (summary["iteration"], 10))
            column = list(metrics.attrs["columns"]).index("r_factor")
            self.assertLess(metrics[-1, column], metrics[0, column])
            config = json.loads(image["process_1/configuration"][()])
            self.assertEqual(len(config["schedule"]), 2)
            with h5py.File(self.scan) as scan:
                there = "entry_1/sample_1/geometry_1/translation"
                pixel = image["y_pixel_size"][()]
                self.assertLess(np.abs(file[there][()] - scan[there][()]).max(), 1e-6 * pixel)
        for name in ("r_object.png", "r_probe.png"):
            self.assertGreater(min(harness.picture_size(self.path(name))), 32)
        self.assertEqual(self.json("list")["sessions"], [], "the session is deleted afterwards")

    def test_chunks_shuffled_with_duplicates_and_late_frames(self):
        summary = self.run_scan("--chunks", 5, "--iterations-between", 3, "--shuffle",
                                "--duplicate", 0.1, "--late", 7, "--seed", 4, "--min-points", 16)
        self.assert_good(summary)
        self.assertEqual(summary["sent"]["frames"], 110)
        self.assertEqual(summary["sent"]["duplicates"], 10)
        self.assertEqual(harness.rejected(summary["frames"], "DUPLICATE")
                         + harness.rejected(summary["frames"], "LATE"), 10)
        self.assertEqual(summary["frames"]["accepted"], 100)
        self.assertEqual(summary["active_points"], 100)
        self.assertGreaterEqual(summary["iteration"] - summary["iterations_after_end"], 6)

    def test_dropped_frames_leave_a_partial_scan(self):
        summary = self.run_scan("--drop", 0.2, "--seed", 3)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        self.assertEqual(summary["end_of_data"], "END_OF_DATA_FINISH_SCAN")
        self.assertTrue(summary["partial"])
        self.assertEqual(summary["sent"]["dropped"], 20)
        self.assertEqual(summary["active_points"], 80)
        self.assertEqual(summary["positions_without_frame"], 20)

    def test_dropped_frames_that_are_declared_end_the_scan_by_themselves(self):
        summary = self.run_scan("--drop", 0.05, "--seed", 3, "--declare-dropped")
        self.assertEqual(summary["sent"]["dropped"], 5)
        self.assertEqual(summary["sent"]["frames"], 100)
        self.assertEqual(summary["frames"]["skipped"], 5)
        self.assertEqual(summary["active_points"], 95)
        self.assert_good(summary)

    def test_several_streams_and_compression(self):
        summary = self.run_scan("--streams", 3, "--encoding", "bslz4", "--batch", 4)
        self.assert_good(summary)
        self.assertEqual(summary["frames"]["accepted"], 100)
        self.assertLess(summary["sent"]["payload_bytes"], 100 * 64 * 64 * 2)

    def test_dead_pixels_are_masked(self):
        scan = self.path("dead.cxi")
        self.ok("simulate", scan, *self.SCAN_FLAGS, "--dead-pixels", 0.01, "--lost", 0.05)
        with h5py.File(scan) as file:
            mask = file["entry_1/instrument_1/detector_1/mask"][()]
            self.assertTrue(15 < np.count_nonzero(mask) < 80)  # Of 4096, by chance.
            self.assertEqual(file["entry_1/instrument_1/detector_1/data"].shape[0], 95)
        self.assert_good(self.run_scan(scan=scan))

    def test_a_beam_of_three_modes_needs_three(self):
        scan = self.path("modes.cxi")
        self.ok("simulate", scan, "--points", 225, "--frame", 64, "--photons", 1e6, "--seed", 3,
                "--modes", 3, "--coherence", 0.6)
        with h5py.File(scan) as file:
            truth = file["entry_1/ground_truth_1/probe"][()]
        self.assertEqual(truth.shape, (3, 64, 64))
        npz, cxi = self.path("modes.npz"), self.path("modes_result.cxi")
        long = ("--schedule", "dm:60,ml_grad:20")
        one = self.run_scan(*long, scan=scan)
        three = self.run_scan(*long, "--modes", 3, "--out", npz, "--out", cxi, scan=scan)
        self.assertLess(three["final_fit"]["poisson_nll"], 0.8 * one["final_fit"]["poisson_nll"])
        self.assertLess(three["final_fit"]["r_factor"], 0.95 * one["final_fit"]["r_factor"])
        self.assertLess(three["truth"]["complex_error"], 0.85 * one["truth"]["complex_error"])

        arrays = np.load(npz)
        probe, powers = arrays["probe"], arrays["mode_powers"]
        self.assertEqual(probe.shape, (3, 64, 64))
        np.testing.assert_allclose(powers.sum(), 1, atol=1e-9)
        self.assertTrue((np.diff(powers) < 0).all())
        gram = np.einsum("aij,bij->ab", probe.conj(), probe) / (np.abs(probe) ** 2).sum()
        np.testing.assert_allclose(gram, np.diag(powers), atol=1e-5)
        r = harness.r_factor(arrays["obj"], probe, arrays["pos"], harness.frames_of(scan))
        self.assertAlmostEqual(r, three["final_fit"]["r_factor"], delta=1e-3 * r)
        with h5py.File(cxi) as file:
            np.testing.assert_array_equal(
                file["entry_1/instrument_1/source_1/illumination"][()], probe)
            np.testing.assert_array_equal(file["entry_1/image_1/mode_powers"][()], powers)

        # What came out is a start for more, and too much for less.
        np.save(self.path("modes.npy"), probe)
        error = self.refused(2, "create", "--scan", scan, "--probe", self.path("modes.npy"))
        self.assertIn("set probe.modes to at least 3", str(error))
        self.ok("create", "--scan", scan, "--probe", self.path("modes.npy"), "--modes", 4,
                "--session", "modes")
        self.ok("delete", "modes", "--force")

    def test_settings_from_a_file_and_flags_over_it(self):
        config = self.path("settings.textproto")
        with open(config, "w", encoding="utf-8") as file:
            file.write("run { it_ends_after: 9 max_iterations: 50 } probe { frozen: true }\n"
                       "schedule { difference_map { beta: 0.8 } }\n")
        npz = self.path("frozen.npz")
        summary = self.json("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}",
                            "--config", config, "--iterations", 4, "--quiet", "--out", npz)
        self.assertEqual(summary["iterations_after_end"], 4)
        with h5py.File(self.scan) as file:
            np.testing.assert_array_equal(np.load(npz)["probe"], file[harness.PROBE][()])

    def test_interrupt_stops_the_session_and_keeps_its_result(self):
        npz = self.path("interrupted.npz")
        with subprocess.Popen(
                [harness.program("ptychoctl"), "run", self.scan, "--probe",
                 f"{self.scan}:{harness.PROBE}", "--session", "interrupted", "--iterations",
                 "1000000", "--min-points", "10", "--quiet", "--json", "--out", npz],
                env=self.environment(), text=True, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE) as process:
            deadline = time.monotonic() + harness.DEADLINE_S
            while True:
                self.assertIsNone(process.poll())
                self.assertLess(time.monotonic(), deadline)
                done = self.ctl("get", "interrupted", "--json")
                if done.returncode == 0 and json.loads(done.stdout)["iteration"] >= 5:
                    break
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=harness.DEADLINE_S)
        self.assertEqual(process.returncode, 130, err)
        summary = json.loads(out.splitlines()[-1])
        self.assertEqual(summary["state"], "SESSION_STATE_STOPPED")
        self.assertTrue(np.isfinite(np.load(npz)["obj"]).all())
        self.assertEqual(self.refused(1, "get", "interrupted")["reason"], "SESSION_NOT_FOUND")

    def test_result_that_cannot_be_written_stays_on_the_server(self):
        taken = self.path("taken.npz")
        os.mkdir(taken)
        error = self.refused(2, "run", self.scan, "--session", "taken", "--iterations", 3,
                             "--quiet", "--out", taken)
        self.assertEqual(error["kept_session"], "sessions/taken")
        self.assertEqual(self.json("get", "taken")["state"], "SESSION_STATE_COMPLETED")
        # The same once more is not taken for a new run.
        again = self.refused(1, "run", self.scan, "--session", "taken", "--iterations", 3,
                             "--quiet")
        self.assertEqual(again["code"], "ALREADY_EXISTS")
        self.assertIn("sessions/taken exists and is COMPLETED", again["message"])
        self.assertNotIn("kept_session", again)
        self.json("delete", "taken")

    def test_directories_are_checked_before_the_run(self):
        error = self.refused(2, "run", self.scan, "--out", self.path("nowhere/r.npz"))
        self.assertIn("there is no directory", error["message"])
        self.refused(2, "run", self.scan, "--pictures", f"{self.scan}/pictures")
        self.assertEqual(self.json("list")["sessions"], [])

    def test_session_that_ends_by_its_own_rules_says_what_was_sent(self):
        config = self.path("short.textproto")
        with open(config, "w", encoding="utf-8") as file:
            file.write("run { max_iterations: 2 min_points_to_start: 10 }\n")
        summary = self.json("run", self.scan, "--config", config, "--rate", 40, "--quiet")
        self.assertEqual(summary["completion"], "COMPLETION_MAX_ITERATIONS")
        sent = summary["sent"]
        self.assertTrue(10 <= sent["frames"] < 100, sent)
        self.assertGreaterEqual(sent["frames"], summary["frames"]["received"])
        self.assertGreaterEqual(sent["positions"], summary["positions"]["received"])
        self.assertGreater(sent["payload_bytes"], 0)
        self.assertGreater(sent["seconds"], 0)

    def test_parts_that_cannot_be_iterated_on_hold_nothing_up(self):
        config = self.path("centre.textproto")
        with open(config, "w", encoding="utf-8") as file:
            file.write(HELD)
        summary = self.json("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}",
                            "--config", config, "--chunks", 2, "--iterations-between", 2,
                            "--iterations", 3, "--quiet")
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED", summary["failure"])
        self.assertEqual(summary["active_points"], 100)

    def test_failed_session_has_an_exit_code_of_its_own(self):
        scan = self.path("dark.cxi")
        self.ok("simulate", scan, "--points", 16, "--frame", 32, "--photons", 1e-6)
        done = self.ctl("run", scan, "--quiet", "--json")
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("no frame can be used", done.stderr)
        self.assertEqual(json.loads(done.stdout)["state"], "SESSION_STATE_FAILED")

    def test_progress_is_shown_unless_unwanted(self):
        shown = self.ctl("run", self.scan, "--iterations", 3)
        self.assertEqual(shown.returncode, 0, shown.stderr)
        self.assertIn("frames 100/100", shown.stderr)
        self.assertIn("COMPLETED", shown.stdout)
        quiet = self.ctl("run", self.scan, "--iterations", 3, "--quiet")
        self.assertEqual(quiet.stderr, "")


if __name__ == "__main__":
    harness.main()
