#!/usr/bin/env python3
"""A sample in several states, through server and command line.

    object_modes_test.py BUILD_DIR [unittest arguments]
"""
import h5py
import harness
import numpy as np

TRUTH = "entry_1/ground_truth_1"


def gram(modes, light):
    """Scalar products of images under `light`."""
    return np.einsum("aij,bij,ij->ab", modes.conj(), modes, light.astype(float))


class ObjectModesTest(harness.EndToEndTest):
    SCAN_FLAGS = ("--points", "225", "--frame", "64", "--photons", "1e6", "--overlap", "0.75",
                  "--seed", "3", "--object-modes", "2")

    def run_scan(self, *flags):
        summary = self.json("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}", "--quiet",
                            "--schedule", "lsqml:200", *flags)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        return summary

    def test_two_states_are_found(self):
        npz, cxi = self.path("states.npz"), self.path("states.cxi")
        one = self.run_scan("--out", self.path("one.npz"))
        two = self.run_scan("--object-modes", 2, "--out", npz, "--out", cxi)
        self.assertLess(two["final_fit"]["poisson_nll"], 0.75 * one["final_fit"]["poisson_nll"])
        self.assertLess(two["truth"]["complex_error"], 0.06)
        self.assertGreater(one["truth"]["complex_error"], 0.25)
        self.assertNotIn("object_modes", np.load(self.path("one.npz")).files)
        self.assertEqual(one["metrics"]["object_mode_powers"], [])

        arrays = np.load(npz)
        modes, powers = arrays["object_modes"], arrays["object_mode_powers"]
        self.assertEqual(modes.shape, (2, *arrays["obj"].shape))
        np.testing.assert_array_equal(modes[0], arrays["obj"])
        np.testing.assert_array_equal(two["metrics"]["object_mode_powers"], powers)
        found = gram(modes, arrays["coverage"])
        np.testing.assert_allclose(found / np.trace(found).real, np.diag(powers), atol=1e-5)
        r = harness.r_factor(modes, arrays["probe"], arrays["pos"], harness.frames_of(self.scan))
        self.assertAlmostEqual(r, two["final_fit"]["r_factor"], delta=1e-3 * r)

        with h5py.File(cxi) as file:
            images = [file[f"entry_1/image_{n}"] for n in (1, 2)]
            for mode, image in zip(modes, images):
                np.testing.assert_array_equal(image["data"][()], mode)
            np.testing.assert_array_equal(*(image["origin"][()] for image in images))
            self.assertEqual(*(image["x_pixel_size"][()] for image in images))
            np.testing.assert_array_equal(images[0]["object_mode_powers"][()], powers)
            origin = images[0]["origin"][()][::-1]  # Row, column.
            pixel = [images[0][f"{axis}_pixel_size"][()] for axis in "yx"]
        with h5py.File(self.scan) as file:
            truth, first = file[f"{TRUTH}/object"][()], file[f"{TRUTH}/object_origin"][()]
        self.assertEqual(len(truth), 2)
        # What each pixel's light finds there.
        row, col = first - np.rint(origin / pixel).astype(int)
        light = arrays["coverage"][max(row, 0):, max(col, 0):]
        truth = truth[:, max(-row, 0):, max(-col, 0):]
        rows, cols = np.minimum(light.shape, truth.shape[1:])
        expected = np.linalg.eigvalsh(gram(truth[:, :rows, :cols], light[:rows, :cols]))[::-1]
        np.testing.assert_allclose(powers, expected / expected.sum(), rtol=0.05)

    def test_what_is_allowed_is_said(self):
        error = self.refused(2, "create", "--scan", self.scan, "--object-modes", 5)
        self.assertIn("object.modes", str(error))
        self.assertIn("--object-modes is 5; 1 to 4 is allowed",
                      self.ctl("simulate", self.path("none.cxi"), "--object-modes", 5).stderr)


if __name__ == "__main__":
    harness.main()
