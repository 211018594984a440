"""Frames and positions of a recorded scan, for the emulators."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Union

import numpy as np

from ptychoserve.scans import open_scan
from ptychoserve.scans.units import H_C_EV_M


class ScanFile(NamedTuple):
    """What a detector and an encoder would say.

    `frames` is [frames, rows, cols], `x_m` and `y_m` are [frames], sizes are (y, x).
    """

    frames: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray
    wavelength_m: float
    distance_m: float
    pixel_size_m: tuple[float, float]

    def part(self, skip: int, most: Optional[int]) -> "ScanFile":
        """Without the first `skip` points, and of the others at most so many, from 0 again."""
        where = slice(skip, None if most is None else skip + most)
        return self._replace(frames=self.frames[where], x_m=self.x_m[where], y_m=self.y_m[where])


def read(path: Union[str, os.PathLike]) -> ScanFile:
    """Frames that have a position, of any format of `ptychoserve.scans`.

    Raises: as `open_scan`.
    """
    with open_scan(path) as scan:
        optics = scan.config().optics
        _, frames, positions = np.intersect1d(scan.frame_ids, scan.position_ids,
                                              return_indices=True)
        return ScanFile(
            scan.read(0, len(scan))[frames], scan.x_m[positions], scan.y_m[positions],
            optics.wavelength_m or H_C_EV_M / optics.photon_energy_ev, optics.distance_m,
            (optics.detector_pixel_size_y_m,
             optics.detector_pixel_size_x_m or optics.detector_pixel_size_y_m))
