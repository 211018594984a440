#!/usr/bin/env python3
"""Simulated frames without noise against the forward model in NumPy.

    simulation_test.py ENGINE_PEER [unittest arguments]

Independent of the engine's way: the sample is taken at the window's nearest pixel and the probe
is moved by the trigonometric polynomial through its samples, evaluated as a matrix product.
"""
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np

PEER = ""


def shift_matrix(n, shift):
    """Moves a periodic signal of n (even) samples by `shift` samples, band-limited."""
    q = np.fft.fftfreq(n) * n
    r = np.arange(n)
    return np.exp(2j * np.pi * (r[:, None, None] - shift - r[None, :, None]) * q / n).mean(-1)


def dft_matrix(n):
    """Unitary transform with the beam's centre, zero frequency, at n // 2."""
    r = np.arange(n)
    return np.exp(-2j * np.pi * r[None, :] * (r[:, None] - n // 2) / n) / np.sqrt(n)


class SimulationTest(unittest.TestCase):
    def check(self, pattern, modes=1):
        with tempfile.TemporaryDirectory() as folder:
            npz = os.path.join(folder, "s.npz")
            subprocess.run([PEER, "simulate", pattern, npz, os.path.join(folder, "s.cxi")],
                           check=True)
            with np.load(npz) as z:
                s = {name: z[name] for name in z.files}
        n = s["frames"].shape[-1]
        obj = s["object"][0].astype(complex)
        probe = s["probe"].astype(complex)
        self.assertEqual(probe.shape, (modes, n, n))
        dft = dft_matrix(n)
        positions = np.stack([s["y"], s["x"]], 1) / s["pixel"]
        self.assertGreater(np.abs(positions - np.round(positions)).max(), 0.2)
        for frame, position in zip(s["frames"], positions):
            corner = position - n / 2 - s["origin"]
            k = np.round(corner).astype(int)
            f = corner - k
            moved = shift_matrix(n, f[0]) @ probe @ shift_matrix(n, f[1]).T  # Of each mode.
            window = obj[k[0]:k[0] + n, k[1]:k[1] + n]
            self.assertEqual(window.shape, (n, n))
            intensity = (np.abs(dft @ (moved * window) @ dft.T) ** 2).sum(0)
            self.assertGreater(intensity.max(), 1000)
            # Rounded to counts, after a rounding to 1/4096; the detector ends at 65535.
            difference = np.abs(frame - np.minimum(intensity, 65535))
            self.assertLess(difference.max(), 0.5 + 1 / 4096)

    def test_raster(self):
        self.check("raster")

    def test_spiral(self):
        self.check("spiral")

    def test_modes(self):
        self.check("modes", modes=3)


if __name__ == "__main__":
    PEER = sys.argv.pop(1)
    unittest.main()
