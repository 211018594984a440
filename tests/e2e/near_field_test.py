#!/usr/bin/env python3
"""Near-field scans, and CXI files as other programs write them, through client and server.

    near_field_test.py BUILD_DIR [unittest arguments]
"""
import json
import shutil

import h5py
import harness
import numpy as np

DETECTOR = "entry_1/instrument_1/detector_1/"


def propagated(waves, wavelength, distance, pixel):
    """Waves behind so much free space, by the angular spectrum, independently of the engine."""
    q = np.fft.fftfreq(waves.shape[-1], pixel)
    q2 = q[:, None] ** 2 + q[None, :] ** 2
    transfer = np.exp(2j * np.pi * distance * np.sqrt(1 / wavelength ** 2 - q2))
    return np.fft.ifft2(np.fft.fft2(waves) * transfer)


class NearFieldTest(harness.EndToEndTest):
    # 13 um over 21 are object pixels of 0.62 um, behind which there are 48 mm of free space.
    SCAN_FLAGS = ("--near-field", "--points", "100", "--frame", "64", "--overlap", "0.8",
                  "--pixel-size", "13e-6", "--photons", "1e7")
    SCHEDULE = ("--schedule", "dm:100,ml_gauss:60,ml_grad:40", "--quiet")

    def copy(self, name):
        path = self.path(name)
        shutil.copy(self.scan, path)
        return path

    def test_near_field_is_recovered(self):
        result = self.json("run", self.scan, *self.SCHEDULE, "--out", self.path("near.npz"))
        self.assertEqual(result["state"], "SESSION_STATE_COMPLETED")
        self.assertEqual(result["active_points"], 100)
        self.assertEqual(result["warnings"], [])
        self.assertAlmostEqual(result["pixel_size_x_m"], 13e-6 / 21, delta=1e-12)
        self.assertLess(result["truth"]["complex_error"], 0.04)
        # The result explains the frames by NumPy, too.
        with np.load(self.path("near.npz")) as z:
            obj, probe, corners = z["obj"].astype(complex), z["probe"], z["pos"]
        deviation = total = 0
        for (row, col), counts in zip(corners, harness.frames_of(self.scan)):
            y, x = int(np.floor(row)), int(np.floor(col))
            fy, fx = row - y, col - x
            patch = obj[y:y + 65, x:x + 65]
            window = ((1 - fy) * (1 - fx) * patch[:-1, :-1] + (1 - fy) * fx * patch[:-1, 1:]
                      + fy * (1 - fx) * patch[1:, :-1] + fy * fx * patch[1:, 1:])
            waves = propagated(probe * window, 0.137146e-9, 1 / 21, 13e-6 / 21)
            amplitude = np.sqrt((np.abs(waves) ** 2).sum(axis=0))
            deviation += np.abs(np.sqrt(counts) - amplitude).sum()
            total += np.sqrt(counts).sum()
        self.assertAlmostEqual(deviation / total, result["final_fit"]["r_factor"], delta=1e-4)

    def test_a_file_that_knows_nothing_of_it_and_little_else(self):
        """Near field, energy, distance and pixel size come from flags; pixels are odd."""
        path = self.copy("foreign.cxi")
        with h5py.File(path, "r+") as f:
            del f["entry_1/instrument_1/near_field"], f["entry_1/instrument_1/source_1"]
            del f[DETECTOR + "distance"], f[DETECTOR + "corner_position"]
            del f[DETECTOR + "x_pixel_size"], f[DETECTOR + "y_pixel_size"]
            frames = f[DETECTOR + "data"][()].astype("<f4")
            frames[:, 3, 4] = np.nan
            frames[7, 0, 0] = -0.5
            del f[DETECTOR + "data"]
            f[DETECTOR + "data"] = frames
        error = self.refused(2, "run", path, *self.SCHEDULE)
        self.assertIn("give --wavelength-m or --photon-energy-ev", error["message"])
        flags = ("--near-field", "--source-to-sample-m", "0.05", "--photon-energy-ev", "9040.307",
                 "--distance-m", "1", "--pixel-size-m", "13e-6")
        result = self.json("run", path, *flags, *self.SCHEDULE)
        self.assertLess(result["truth"]["complex_error"], 0.04)
        self.assertEqual(result["scan_file"]["negative_pixels"], 1)
        self.assertEqual(result["scan_file"]["untrusted_pixels"], 100)

    def test_notes_come_before_the_session(self):
        path = self.copy("basis.cxi")
        with h5py.File(path, "r+") as f:
            del f[DETECTOR + "basis_vectors"]
            f[DETECTOR + "basis_vectors"] = np.zeros((5, 7))
        done = self.ctl("create", "--scan", path, "--dry-run", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stderr.startswith("ptychoctl: note: "), done.stderr)
        self.assertIn("not (2, 3)", done.stderr)

    def test_what_has_a_meaning_in_the_far_field_alone_is_refused(self):
        config = self.path("far.textproto")
        with open(config, "w", encoding="utf-8") as f:
            f.write("detector { beam: BEAM_POSITION_CORNER } probe { recentre_every: 3 }")
        done = self.ctl("create", "--scan", self.scan, "--config", config, "--dry-run", "--json")
        self.assertEqual(done.returncode, 2, done.stderr)
        fields = {f["field"] for f in json.loads(done.stdout)["error"]["fields"]}
        self.assertEqual(fields, {"detector.beam", "probe.recentre_every"})
        self.refused(2, "create", "--scan", self.scan, "--wavelength-m", "1e-10",
                     "--photon-energy-ev", "8000", "--dry-run")

    def test_all_eight_orientations_can_be_told_apart(self):
        path = self.copy("turned.cxi")
        with h5py.File(path, "r+") as f:
            data = f[DETECTOR + "data"]
            data[...] = data[()][:, ::-1, ::-1]
        flags = ("--frames", "49", "--schedule", "dm:40,ml_grad:10", "--quiet", "--json")
        for scan, right, code in ((self.scan, "IDENTITY", 0), (path, "ROT180", 4)):
            done = self.ctl("orient", scan, *flags)
            found = json.loads(done.stdout)
            self.assertEqual(found["recommended"], f"ORIENTATION_{right}", found)
            self.assertIsNone(found["recommended_twin"])
            self.assertEqual(len(found["candidates"]), 8)
            self.assertTrue(found["clear"], found)
            self.assertEqual(done.returncode, code)
        # Standard basis vectors that say so put it right.
        with h5py.File(path, "r+") as f:
            f[DETECTOR + "basis_vectors"][...] *= -1
        done = self.ctl("orient", path, *flags)
        self.assertEqual(json.loads(done.stdout)["declared"], "ORIENTATION_ROT180")
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    harness.main()
