"""Fourier ring correlation of two complex images in NumPy and SciPy, independently of the engine."""
import numpy as np
import scipy.fft
from scipy.optimize import minimize


def hann(n):
    return np.hanning(n)[:, None] * np.hanning(n)[None, :]


def shifted(image, shift):
    """`image` [n, n] moved cyclically by (rows, columns), parts of a pixel included."""
    ky, kx = (np.fft.fftfreq(n) for n in image.shape)
    ramp = np.exp(-2j * np.pi * (ky[:, None] * shift[0] + kx[None, :] * shift[1]))
    return scipy.fft.ifft2(scipy.fft.fft2(image) * ramp)


def ramp(n, turns):
    """exp(2 pi i turns . r), [n, n]; turns per pixel, r from the middle."""
    r = np.arange(n) - n / 2
    return np.exp(2j * np.pi * (turns[0] * r[:, None] + turns[1] * r[None, :]))


def peak(image):
    """Index of the largest modulus, as one of both signs."""
    at = np.unravel_index(np.abs(image).argmax(), image.shape)
    return np.array([k - n if k > n // 2 else k for k, n in zip(at, image.shape)], float)


def search(misfit, begin, step, tolerance):
    simplex = [begin, begin + [step, 0], begin + [0, step]]
    return minimize(misfit, begin, method="Nelder-Mead",
                    options=dict(initial_simplex=simplex, xatol=tolerance, fatol=1e-7)).x


def align(a, b, rounds=4):
    """`b` without the factor, phase ramp and shift that separate it from `a`, both [n, n]."""
    n = a.shape[0]
    w = hann(n)

    def structure(image):
        return w * (image - (w * image).sum() / w.sum())

    b = b.astype(complex)
    sa = structure(a)
    for _ in range(rounds):
        product = w * a * b.conj()
        begin = peak(scipy.fft.fft2(product, [4 * n, 4 * n])) / (4 * n)
        weight = np.abs(product).sum()
        b = b * ramp(n, search(lambda t: -abs((product * ramp(n, -t)).sum()) / weight, begin,
                               0.1 / n, 1e-7))

        def misfit(shift):
            sb = structure(shifted(b, shift))
            return -abs((sa.conj() * sb).sum()) / np.sqrt(
                (np.abs(sb) ** 2).sum() * (np.abs(sa) ** 2).sum())

        begin = peak(scipy.fft.ifft2(scipy.fft.fft2(sa) * scipy.fft.fft2(structure(b)).conj()))
        b = shifted(b, search(misfit, begin, 0.5, 1e-3))
        b = b * (w * a * b.conj()).sum() / (w * np.abs(b) ** 2).sum()
    return b


def correlate(a, b):
    """Of two images [n, n] that need no alignment: frequency (part of Nyquist's), correlation,
    half-bit threshold, 1-bit threshold, each [n // 2]."""
    n = a.shape[0]
    w = hann(n)
    fa, fb = (scipy.fft.fft2(w * (image - image.mean())) for image in (a, b))
    k = np.fft.fftfreq(n) * n
    ring = np.rint(np.hypot(k[:, None], k[None, :])).astype(int).ravel()

    def total(values):
        return np.bincount(ring, values.ravel())[:n // 2]

    common = fa * fb.conj()
    power = np.sqrt(total(np.abs(fa) ** 2) * total(np.abs(fb) ** 2))
    correlation = np.abs(total(common.real) + 1j * total(common.imag)) / power
    root = np.sqrt(np.bincount(ring)[:n // 2])
    half_bit = (0.2071 + 1.9102 / root) / (1.2071 + 0.9102 / root)
    one_bit = (0.5 + 2.4142 / root) / (1.5 + 1.4142 / root)
    return np.arange(n // 2) / (n / 2), correlation, half_bit, one_bit


def crossing(frequency, correlation, threshold, first=4):
    """Where the correlation first falls below the threshold; 1 where it does not."""
    below = np.flatnonzero(correlation[first:] < threshold[first:])
    return frequency[first + below[0]] if below.size else 1.0
