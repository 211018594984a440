#!/usr/bin/env python3
"""What is refined beside object and probe, through server and command line.

    refinement_test.py BUILD_DIR [unittest arguments]
"""
import json

import h5py
import harness
import numpy as np

TRUTH = "entry_1/ground_truth_1"


class ScanTest(harness.EndToEndTest):
    def run_scan(self, name, *flags, schedule=None):
        npz = self.path(f"{name}.npz")
        summary = self.json("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}", "--quiet",
                            "--schedule", schedule or self.SCHEDULE, "--out", npz, *flags)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        return summary, np.load(npz)


class RefinementTest(ScanTest):
    SCAN_FLAGS = ("--points", "225", "--frame", "64", "--photons", "1e6", "--seed", "5",
                  "--position-error-px", "1.2", "--intensity-rms", "0.04", "--background", "2")
    SCHEDULE = "dm:40,ml_gauss:200,ml_grad:40"

    def test_what_the_scan_was_off_by_is_found(self):
        cxi = self.path("refined.cxi")
        without, _ = self.run_scan("plain")
        refined, result = self.run_scan("refined", "--refine", "pos,int,bg", "--out", cxi)
        self.assertNotIn("refinement", without["metrics"])
        self.assertLess(refined["final_fit"]["poisson_nll"],
                        0.3 * without["final_fit"]["poisson_nll"])
        with h5py.File(self.scan) as file:
            measured = file["entry_1/sample_1/geometry_1/translation"][()][:, 1::-1]  # (y, x)
            true = file[f"{TRUTH}/translation"][()][:, 1::-1]
            light = file[f"{TRUTH}/intensity"][()]
            background = file[f"{TRUTH}/background"][()]
        with h5py.File(cxi) as file:
            pixel = file["entry_1/image_1/y_pixel_size"][()]
            np.testing.assert_array_equal(file["entry_1/image_1/refined_shift"][()],
                                          result["shift"])
            np.testing.assert_allclose(np.sqrt(file["entry_1/image_1/refined_intensity"][()]),
                                       result["scale"])
            np.testing.assert_array_equal(file["entry_1/image_1/refined_background"][()],
                                          result["bg"])
            translation = file["entry_1/sample_1/geometry_1/translation"][()][:, 1::-1]
        np.testing.assert_allclose(translation, measured + result["shift"] * pixel, atol=1e-4 * pixel)

        wanted = (true - measured) / pixel
        off = result["shift"] - wanted
        off -= off.mean(axis=0)  # Object and probe may lie anywhere together.
        self.assertGreater(np.sqrt((wanted ** 2).mean()), 1.1)
        self.assertLess(np.sqrt((off ** 2).mean()), 0.2)
        self.assertGreater(np.corrcoef(result["scale"] ** 2, light)[0, 1], 0.95)
        self.assertLess(np.abs(result["bg"] - background).sum() / background.sum(), 0.1)

        figures = refined["metrics"]["refinement"]
        shifts = np.sqrt((result["shift"] ** 2).sum(axis=1).mean())
        self.assertAlmostEqual(figures["shift_rms_px"], shifts, places=3)
        self.assertAlmostEqual(figures["background_counts"], result["bg"].sum(), delta=1)

    def test_a_stage_says_what_it_refines_and_what_is_allowed_is_said(self):
        cxi = self.path("light.cxi")
        _, result = self.run_scan("light", "--out", cxi, schedule="dm:5,ml_gauss+int:5,ml_grad:2")
        self.assertTrue((result["shift"] == 0).all())
        self.assertGreater(result["scale"].std(), 0.005)
        self.assertNotIn("bg", result.files)
        with h5py.File(cxi) as file:
            config = json.loads(file["entry_1/image_1/process_1/configuration"][()])
        stages = config["schedule"]
        self.assertEqual([stage.get("refine", {}) for stage in stages],
                         [{}, {"intensities": True}, {}])
        error = self.refused(2, "run", self.scan, "--refine", "pos,probe")
        self.assertIn("pos (positions), int (intensities), bg (background) or var", str(error))
        error = self.refused(2, "run", self.scan, "--refine", "pos", "--max-shift-px", 80)
        self.assertIn("refinement.max_shift_px", str(error))
        error = self.refused(2, "run", self.scan, "--refine", "var", "--probe-components", 5)
        self.assertIn("refinement.probe_components", str(error))


class VariationTest(ScanTest):
    """A beam whose direction and focus wander from frame to frame."""

    SCAN_FLAGS = ("--points", "225", "--frame", "64", "--photons", "1e6", "--seed", "5",
                  "--probe-variation", "0.15")
    SCHEDULE = "dm:40,ml_gauss:80"

    def test_both_ways_in_which_the_beam_wanders_are_found(self):
        cxi = self.path("varied.cxi")
        without, plain = self.run_scan("plain")
        varied, result = self.run_scan("varied", "--refine", "var", "--out", cxi)
        self.assertNotIn("variation", plain.files)
        self.assertLess(varied["final_fit"]["poisson_nll"],
                        0.3 * without["final_fit"]["poisson_nll"])
        with h5py.File(self.scan) as file:
            truth = file[f"{TRUTH}/variation"][()]
        coefficients, components = result["variation"], result["probe_components"]
        self.assertEqual(components.shape, (2, *result["probe"].shape))
        # Components may be mixtures of the two ways.
        known = np.c_[coefficients, np.ones(len(coefficients))]
        for way in truth.T:
            found = known @ np.linalg.lstsq(known, way, rcond=None)[0]
            self.assertGreater(np.corrcoef(found, way)[0, 1], 0.95)

        power = (np.abs(result["probe"]) ** 2).sum()
        gram = np.einsum("amyx,bmyx->ab", components.conj(), components).real
        np.testing.assert_allclose(gram, power * np.eye(2), atol=0.01 * power)
        figures = varied["metrics"]["refinement"]
        np.testing.assert_allclose(figures["variation_powers"], (coefficients ** 2).mean(axis=0),
                                   rtol=1e-4)
        self.assertEqual(figures["variations_at_limit"], 0)
        with h5py.File(cxi) as file:
            np.testing.assert_array_equal(file["entry_1/image_1/refined_variation"][()],
                                          coefficients)
            np.testing.assert_array_equal(
                file["entry_1/image_1/refined_probe_components"][()].reshape(components.shape),
                components)


if __name__ == "__main__":
    harness.main()
