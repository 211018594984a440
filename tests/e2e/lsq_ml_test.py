#!/usr/bin/env python3
"""LSQ-ML through server and command line.

    lsq_ml_test.py BUILD_DIR [unittest arguments]
"""
import harness


class LsqMlTest(harness.EndToEndTest):
    SCAN_FLAGS = ("--points", "144", "--frame", "64", "--photons", "1e6", "--seed", "7")

    def run_scan(self, schedule, *flags):
        summary = self.json("run", self.scan, "--probe", f"{self.scan}:{harness.PROBE}", "--quiet",
                            "--schedule", schedule, *flags)
        self.assertEqual(summary["state"], "SESSION_STATE_COMPLETED")
        return summary

    def test_finds_the_object_sooner_than_the_difference_map(self):
        # All points before the first iteration, so that the counts of iterations compare.
        flags = ("--min-points", "144")
        lsq = self.run_scan("lsqml:15", *flags)
        dm = self.run_scan("dm:15", *flags)
        self.assertLess(lsq["truth"]["complex_error"], 0.5 * dm["truth"]["complex_error"])
        self.assertGreater(lsq["metrics"]["step"], 0.5)

    def test_goes_on_while_points_arrive_and_from_other_stages(self):
        whole = self.run_scan("dm:10,lsqml:40", "--min-points", "144")
        live = self.run_scan("dm:10,lsqml:40", "--chunks", "9", "--shuffle")
        self.assertAlmostEqual(live["final_fit"]["r_factor"], whole["final_fit"]["r_factor"],
                               delta=0.02 * whole["final_fit"]["r_factor"])


if __name__ == "__main__":
    harness.main()
