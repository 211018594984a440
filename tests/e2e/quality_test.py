#!/usr/bin/env python3
"""Fourier ring correlations, of split halves and of two files, through ptychoctl.

    quality_test.py BUILD_DIR [unittest arguments]
"""
import json
import sys

import h5py
import harness
import numpy as np

sys.path.insert(0, str(harness.ROOT / "tests" / "reference"))
import ring_correlation as rings  # noqa: E402

SCHEDULE = ("--schedule", "dm:30,ml_grad:10")
PROCESS = "entry_1/image_1/process_1"


class QualityTest(harness.EndToEndTest):
    SCAN_FLAGS = ("--points", "144", "--frame", "64", "--photons", "1e5")

    def run_scan(self, scan, *flags):
        return self.json("run", scan, "--probe", f"{self.scan}:{harness.PROBE}", "--quiet",
                         *SCHEDULE, *flags)

    def half(self, first):
        """A scan file with every other frame; returns its path."""
        path = self.path(f"half{first}.cxi")
        with h5py.File(self.scan) as file, h5py.File(path, "w") as out:
            out["cxi_version"] = file["cxi_version"][()]
            for name in ("detector_1/distance", "detector_1/x_pixel_size",
                         "detector_1/y_pixel_size", "source_1/energy", "source_1/wavelength"):
                name = f"entry_1/instrument_1/{name}"
                out[name] = file[name][()]
            for name in ("instrument_1/detector_1/data", "sample_1/geometry_1/translation"):
                out[f"entry_1/{name}"] = file[f"entry_1/{name}"][first::2]
            out["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
            out["entry_1/data_1/translation"] = h5py.SoftLink(
                "/entry_1/sample_1/geometry_1/translation")
        return path

    def test_split_halves_are_in_the_result(self):
        cxi = self.path("whole.cxi")
        summary = self.run_scan(self.scan, "--split-halves", "--out", cxi)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        halves = summary["split_halves"]
        self.assertEqual(halves["iterations"], 80)
        measured = halves["ring_correlation"]
        with h5py.File(cxi) as file:
            table = file[f"{PROCESS}/ring_correlation"]
            self.assertEqual(list(table.attrs["columns"]),
                             ["frequency_of_nyquist", "correlation", "half_bit_threshold",
                              "one_bit_threshold"])
            frequency, correlation, half_bit, one_bit = table[()].T
            resolution = file[f"{PROCESS}/half_bit_resolution"][()]
            pixel = file["entry_1/image_1/y_pixel_size"][()]
            session = json.loads(file[f"{PROCESS}/session"][()])
        self.assertEqual(session["split_halves"], halves)
        self.assertEqual(len(correlation), measured["side_px"] // 2)
        np.testing.assert_allclose(correlation, measured["correlation"], rtol=1e-6)
        for threshold, name in ((half_bit, "half_bit"), (one_bit, "one_bit")):
            self.assertEqual(rings.crossing(frequency, correlation, threshold),
                             measured[f"{name}_of_nyquist"])
        self.assertAlmostEqual(resolution, pixel / measured["half_bit_of_nyquist"], delta=1e-15)
        self.assertGreater(measured["mean_to_half_nyquist"], 0.5)

    def test_frames_tell_how_well_they_are_explained(self):
        cxi, npz = self.path("frames.cxi"), self.path("frames.npz")
        summary = self.run_scan(self.scan, "--hold-out-every", "12", "--out", cxi, "--out", npz)
        self.assertEqual(summary["held_out_points"], 12)
        evaluation = summary["metrics"]["evaluation"]
        self.assertEqual(evaluation["fit"], summary["final_fit"])
        self.assertLess(evaluation["held_out"]["r_factor"], 2 * evaluation["fit"]["r_factor"])
        with h5py.File(cxi) as file:
            ids = file["entry_1/sample_1/geometry_1/frame_id"][()]
            r_factor = file["entry_1/image_1/frame_r_factor"][()]
            nll = file["entry_1/image_1/frame_poisson_nll"][()]
            columns = list(file[f"{PROCESS}/metrics"].attrs["columns"])
            last = dict(zip(columns, file[f"{PROCESS}/metrics"][-1]))
        self.assertEqual(len(ids), 132)
        self.assertNotIn(11, ids % 12)
        # R-factor of the frame from the result itself.
        arrays, j = np.load(npz), 20
        (row, col), side = arrays["pos"][ids[j]], arrays["probe"].shape[-1]
        y, x = int(np.floor(row)), int(np.floor(col))
        fy, fx = row - y, col - x
        q = arrays["obj"][y:y + side + 1, x:x + side + 1]
        window = ((1 - fy) * ((1 - fx) * q[:-1, :-1] + fx * q[:-1, 1:])
                  + fy * ((1 - fx) * q[1:, :-1] + fx * q[1:, 1:]))
        wave = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(arrays["probe"][0] * window))) / side
        with h5py.File(self.scan) as file:
            counts = file["entry_1/data_1/data"][ids[j]].astype(float)
        expected = np.abs(np.abs(wave) - np.sqrt(counts)).sum() / np.sqrt(counts).sum()
        self.assertAlmostEqual(r_factor[j], expected, delta=1e-4)
        self.assertAlmostEqual(arrays["frame_r_factor"][ids[j]], r_factor[j], delta=1e-9)
        self.assertTrue(np.isnan(arrays["frame_r_factor"][11]), "held out")
        self.assertAlmostEqual(nll.mean(), summary["final_fit"]["poisson_nll"], delta=0.1)
        self.assertEqual(last["held_out_poisson_nll"], evaluation["held_out"]["poisson_nll"])
        text = self.ok("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}", "--quiet",
                       *SCHEDULE, "--hold-out-every", "12")
        self.assertIn("12 held-out frames: R ", text)
        self.assertIn("quality.held_out_every",
                      self.refused(2, "run", self.scan, "--hold-out-every", "3")["message"])

    def test_two_files_are_compared_as_numpy_does(self):
        paths = [self.path("even.cxi"), self.path("odd.cxi")]
        for first, path in enumerate(paths):
            self.run_scan(self.half(first), "--out", path)
        measured = self.json("frc", *paths)
        n = measured["side_px"]
        images = []
        for path in paths:
            with h5py.File(path) as file:
                image = file["entry_1/image_1/data"][()]
                x, y = file["entry_1/image_1/origin"][()]
                corners = file["entry_1/image_1/window_corner"][()] + 32
                images.append((image, np.rint([y, x] / file["entry_1/image_1/y_pixel_size"][()]),
                               np.rint(corners.min(axis=0)), np.rint(corners.max(axis=0))))
        # What both have scanned, and the square in its middle.
        low = np.max([origin + first for _, origin, first, _ in images], axis=0)
        high = np.min([origin + last for _, origin, _, last in images], axis=0)
        self.assertGreaterEqual((high - low + 1).min(), n)
        corner = low + (high - low + 1 - n) // 2
        cut = [image[int(r):int(r) + n, int(c):int(c) + n]
               for image, (r, c) in ((image, corner - origin) for image, origin, *_ in images)]
        frequency, correlation, half_bit, one_bit = rings.correlate(cut[0], rings.align(*cut))
        np.testing.assert_allclose(measured["correlation"], correlation, atol=2e-3)
        np.testing.assert_allclose(measured["half_bit_threshold"], half_bit, rtol=1e-9)
        np.testing.assert_allclose(measured["one_bit_threshold"], one_bit, rtol=1e-9)
        self.assertAlmostEqual(measured["half_bit_of_nyquist"],
                               rings.crossing(frequency, correlation, half_bit), delta=2.1 / n)
        text = self.ok("frc", *paths, "--side", 40, "--curve")
        self.assertIn("on 40 x 40 pixels", text)
        self.assertEqual(len(text.splitlines()), 1 + 20 + 1)

        # The session that does the halves by itself finds the same, but for where it begins.
        halves = self.run_scan(self.scan, "--split-halves")["split_halves"]["ring_correlation"]
        self.assertAlmostEqual(halves["mean_to_half_nyquist"], measured["mean_to_half_nyquist"],
                               delta=0.02)

    def test_what_cannot_be_compared_is_said(self):
        error = self.refused(2, "frc", self.scan, self.scan)
        self.assertIn(self.scan, error["message"])
        self.assertIn("missing.cxi", self.refused(2, "frc", "missing.cxi", self.scan)["message"])
        paths = [self.path("one.cxi"), self.path("other.cxi")]
        for path in paths:
            self.run_scan(self.scan, "--out", path)
        with h5py.File(paths[1], "r+") as file:
            file["entry_1/image_1/x_pixel_size"][()] *= 1.1
        self.assertIn("have to be the same", self.refused(2, "frc", *paths)["message"])


if __name__ == "__main__":
    harness.main()
