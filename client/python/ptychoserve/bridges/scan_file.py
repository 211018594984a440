"""Frames and positions of a CXI file, for the emulators."""

from __future__ import annotations

import os
from typing import NamedTuple, Optional, Union

import h5py
import numpy as np


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
    """Raises: OSError: no HDF5 file; KeyError: not where CXI has it."""
    with h5py.File(path) as file:
        entry = file["entry_1"]
        detector = entry["instrument_1/detector_1"]
        x_m, y_m = entry["sample_1/geometry_1/translation"][:, :2].T
        return ScanFile(
            detector["data"][()], x_m, y_m, float(entry["instrument_1/source_1/wavelength"][()]),
            float(detector["distance"][()]),
            (float(detector["y_pixel_size"][()]), float(detector["x_pixel_size"][()])))
