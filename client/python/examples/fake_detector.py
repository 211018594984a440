"""A detector and a stage that are not there: a made-up sample, scanned frame by frame."""

from dataclasses import dataclass, field

import numpy as np

import ptychoserve

N = 64  # Pixels of a frame's side.
WAVELENGTH_M, DISTANCE_M, PITCH_M = 0.137e-9, 2.0, 75e-6
PIXEL_M = WAVELENGTH_M * DISTANCE_M / (N * PITCH_M)


@dataclass
class FakeDetector:
    """Iterating over it measures: yields (frame id, frame, x_m, y_m).

    Attributes:
        settings: what a session has to know about it.
        probe: the true one, complex [rows, cols], centred.
    """

    lines: int = 10
    step_px: int = 5
    photons: float = 2e5
    seed: int = 1
    settings: dict = field(init=False)
    probe: np.ndarray = field(init=False)

    def __post_init__(self):
        self._rng = np.random.default_rng(self.seed)
        y, x = np.mgrid[:N, :N] - N // 2
        probe = np.exp(-(x**2 + y**2) / (2 * 7.0**2) + 0.02j * (x**2 + y**2))
        self.probe = probe * np.sqrt(self.photons / np.sum(np.abs(probe)**2))
        side = N + self.step_px * self.lines + 8
        low_pass = np.exp(-(np.fft.fftfreq(side)[:, None]**2 + np.fft.fftfreq(side)**2) / 0.005)
        texture = np.fft.ifft2(np.fft.fft2(self._rng.normal(size=(side, side))) * low_pass).real
        self._sample = 0.9 * np.exp(0.7j * texture / texture.std())
        grid = self.step_px * np.stack(np.mgrid[:self.lines, :self.lines], -1).reshape(-1, 2)
        self._corners = grid + self._rng.integers(0, 3, grid.shape)
        y_m, x_m = self._positions_m().T
        self.settings = {
            "optics": {"wavelength_m": WAVELENGTH_M, "distance_m": DISTANCE_M,
                       "detector_pixel_size_y_m": PITCH_M},
            "detector": {"frame_shape": (N, N), "dtype": "u16"},
            "scan": {"expected_points": len(self), "bounds": ptychoserve.bounds(y_m=y_m, x_m=x_m)},
        }

    def __len__(self):
        return len(self._corners)

    def _positions_m(self):
        return (self._corners + N // 2) * PIXEL_M  # Of the beam's centre, (y, x).

    def __iter__(self):
        for k, ((row, col), (y_m, x_m)) in enumerate(zip(self._corners, self._positions_m())):
            wave = np.fft.fft2(self.probe * self._sample[row:row + N, col:col + N], norm="ortho")
            counts = self._rng.poisson(np.fft.fftshift(np.abs(wave)**2))
            yield k, counts.astype(np.uint16), x_m, y_m
