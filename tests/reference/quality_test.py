#!/usr/bin/env python3
"""Fourier ring correlation against NumPy and SciPy.

    quality_test.py ENGINE_PEER [unittest arguments]
"""
import os
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import ring_correlation as rings

PEER = ""
PIXEL_M = 1e-8


def sample(n, seed):
    """A complex image [n, n] with detail at all frequencies, less at high ones."""
    rng = np.random.default_rng(seed)
    k = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    noise = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    detail = np.fft.ifft2(np.fft.fft2(noise) / (0.02 + k) ** 1.5)
    return np.exp(0.5j * detail.real / detail.std() - 0.1 * np.abs(detail.imag / detail.std()))


def noisy(image, seed, strength):
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=image.shape) + 1j * rng.normal(size=image.shape)
    return image + strength * noise


class RingCorrelationTest(unittest.TestCase):
    def measure(self, a, b):
        """What the engine says of complex64 copies of two images, and these copies."""
        a, b = (np.ascontiguousarray(image, np.complex64) for image in (a, b))
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ("a.npy", "b.npy", "out.npz")]
            np.save(paths[0], a)
            np.save(paths[1], b)
            done = subprocess.run([PEER, "correlate", *paths], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            with np.load(paths[2]) as out:
                return {name: out[name] for name in out.files}, a, b

    def check(self, a, b, tolerance):
        out, a, b = self.measure(a, b)
        frequency, correlation, half_bit, one_bit = rings.correlate(a, rings.align(a, b))
        np.testing.assert_allclose(out["half_bit"], half_bit, rtol=1e-12)
        np.testing.assert_allclose(out["one_bit"], one_bit, rtol=1e-12)
        np.testing.assert_allclose(out["correlation"], correlation, atol=tolerance)
        crossings = [rings.crossing(frequency, correlation, t) for t in (half_bit, one_bit)]
        n = a.shape[0]
        expected = [*crossings, *(PIXEL_M / np.array(crossings)), correlation[1:n // 4].mean(),
                    correlation[1:].mean()]
        np.testing.assert_allclose(out["figures"], expected, atol=tolerance)
        return out

    def test_independent_noise_on_one_sample(self):
        image = sample(128, 1)
        out = self.check(noisy(image, 2, 0.15), noisy(image, 3, 0.15), 1e-4)
        half_bit, one_bit = out["figures"][:2]
        self.assertTrue(0.2 < one_bit < half_bit < 0.9, out["figures"])

    def test_factor_ramp_and_shift_do_not_count(self):
        image = sample(96, 4)
        other = rings.shifted(image, (2.3, -1.6)) * rings.ramp(96, (0.011, -0.007))
        self.check(noisy(image, 5, 0.1), noisy(1.7j * other, 6, 0.17), 2e-3)

    def test_same_image_correlates_to_the_end(self):
        image = sample(64, 7)
        out = self.check(image, image, 1e-6)
        self.assertEqual(out["figures"][0], 1)
        np.testing.assert_allclose(out["figures"][2], PIXEL_M)

    def test_different_samples_do_not_correlate(self):
        out, _, _ = self.measure(sample(64, 8), sample(64, 9))
        self.assertLess(out["figures"][0], 0.2)

    def test_too_narrow(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.npy")
            np.save(path, np.ones((30, 40), np.complex64))
            done = subprocess.run([PEER, "correlate", path, path, os.path.join(folder, "o.npz")],
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 1)
            self.assertIn("30 x 40 pixels", done.stderr)


if __name__ == "__main__":
    PEER = sys.argv.pop(1)
    unittest.main()
