"""CXI files, read by the rules of docs/cxi.md."""

from __future__ import annotations

from typing import Any, Optional

import h5py
import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans import hdf5
from ptychoserve.scans.counts import bad_pixels, checked_mask, mask_notes
from ptychoserve.scans.hdf5_scan import Hdf5Scan
from ptychoserve.scans.scan import flag_hint, probe_stack
from ptychoserve.scans.units import ENERGIES_EV, H_C_EV_M, LENGTHS_M

ENTRY = "entry_1"
_DETECTOR = f"{ENTRY}/instrument_1/detector_1"
_SOURCE = f"{ENTRY}/instrument_1/source_1"
_TRANSLATION = f"{ENTRY}/sample_1/geometry_1/translation"
_PROBE = f"{ENTRY}/instrument_1/initial_probe"
_NEAR_FIELD = f"{ENTRY}/instrument_1/near_field/source_to_sample"
# Detectors stand a little askew; tangent of the angle that is allowed.
_MOST_SKEW = 0.2
_SHORTEST_M, _LONGEST_M = 1e-13, 1e-6


class CxiScan(Hdf5Scan):
    """The first entry of a CXI file."""

    def _find(self, *names: str) -> Optional[h5py.Dataset]:
        """The first of these datasets that is there."""
        return next((found for name in names
                     if (found := hdf5.find(self._file, name)) is not None), None)

    def _read(self) -> None:
        frames = self._find(f"{_DETECTOR}/data", f"{ENTRY}/data_1/data")
        if frames is None:
            raise hdf5.missing(f"/{_DETECTOR}/data", f"frames, there or in /{ENTRY}/data_1/data")
        self._frames = frames
        shape = frames.shape
        if len(shape) == 4:
            if shape[1] != 1:
                raise invalid(frames.name, f"of shape {shape}, {shape[1]} modules of a detector",
                              "(frames, rows, cols)", hint="put the modules together first")
            shape = (shape[0], *shape[2:])
        self._set_frames(shape, frames.dtype, frames.name)
        for setting, read in (("wavelength_m", self._read_wavelength),
                              ("distance_m", self._read_distance),
                              ("detector_pixel_size_y_m", self._read_pixel_size)):
            try:
                read()
            except InvalidArgument as error:
                self._miss(setting, error)
        self._read_orientation()
        self._read_near_field()
        self._read_mask()
        self._read_positions()
        if f"{ENTRY[:-1]}2" in self._file:
            self.notes.append(f"the file has more than one entry; only /{ENTRY} is read")
        if self._find(f"{_DETECTOR}/data_dark") is not None:
            self.notes.append(f"/{_DETECTOR}/data_dark is there and is not subtracted")
        probe = self._find(_PROBE)
        if probe is not None:
            self.probe = probe_stack(hdf5.values(probe), probe.name)

    # --- Optics ---------------------------------------------------------------------------------

    @staticmethod
    def _positive(data: h5py.Dataset, units: Any, default: str) -> float:
        value = hdf5.one_number(data) * hdf5.unit_factor(data, units, default)
        if value <= 0:
            raise invalid(data.name, value, "above 0")
        return value

    def _read_wavelength(self) -> None:
        data = self._find(f"{_SOURCE}/wavelength")
        if data is not None:
            wavelength_m = self._positive(data, LENGTHS_M, "m")
            self._check_wavelength(data, wavelength_m, "")
            self.settings["optics"]["wavelength_m"] = wavelength_m
            return
        data = self._find(f"{_SOURCE}/energy", f"{ENTRY}/instrument_1/beam_1/energy")
        if data is None:
            raise hdf5.missing(f"/{_SOURCE}/wavelength", "a wavelength or an energy",
                               hint=flag_hint("wavelength_m"))
        energy_ev = self._positive(data, ENERGIES_EV, "J")
        self._check_wavelength(data, H_C_EV_M / energy_ev, "; CXI has joules")
        self.settings["optics"]["photon_energy_ev"] = energy_ev

    @staticmethod
    def _check_wavelength(data: h5py.Dataset, wavelength_m: float, words: str) -> None:
        if not _SHORTEST_M < wavelength_m < _LONGEST_M:
            raise invalid(data.name, f"a wavelength of {wavelength_m:.3g} m{words}",
                          f"{_SHORTEST_M:g}..{_LONGEST_M:g} m",
                          hint=flag_hint("wavelength_m"))

    def _read_distance(self) -> None:
        data = self._find(f"{_DETECTOR}/distance")
        if data is not None:
            distance_m = hdf5.one_number(data) * hdf5.unit_factor(data, default="m")
        else:
            data = self._find(f"{_DETECTOR}/corner_position")
            if data is None or not data.shape or data.shape[-1] != 3:
                raise hdf5.missing(f"/{_DETECTOR}/distance", "the distance of the detector",
                                   hint=flag_hint("distance_m"))
            distance_m = float(hdf5.numbers(data).reshape(-1, 3)[0, 2])
            self.notes.append(f"/{_DETECTOR}/distance is missing; the distance is that of "
                              f"{data.name}, {abs(distance_m):g} m")
        if not np.isfinite(distance_m) or distance_m == 0:
            raise invalid(data.name, distance_m, "not 0", hint=flag_hint("distance_m"))
        if distance_m < 0:
            self.notes.append(f"{data.name} is {distance_m:g} m; taken as positive")
        self.settings["optics"]["distance_m"] = abs(distance_m)

    def _read_pixel_size(self) -> None:
        sizes = {axis: self._find(f"{_DETECTOR}/{axis}_pixel_size") for axis in "yx"}
        known = [data for data in sizes.values() if data is not None]
        if not known:
            raise hdf5.missing(f"/{_DETECTOR}/y_pixel_size", "the size of a pixel",
                               hint=flag_hint("detector_pixel_size_y_m"))
        for axis, data in sizes.items():
            if data is None:
                self.notes.append(f"/{_DETECTOR}/{axis}_pixel_size is missing; it is taken to be "
                                  f"{known[0].name}")
            self.settings["optics"][f"detector_pixel_size_{axis}_m"] = self._positive(
                known[0] if data is None else data, LENGTHS_M, "m")

    def _read_near_field(self) -> None:
        data = self._find(_NEAR_FIELD)
        if data is None:
            return
        distance_m = float(np.ravel(hdf5.numbers(data))[0])
        if not distance_m > 0:
            raise invalid(data.name, distance_m, "above 0, or infinite")
        self.settings["optics"]["near_field"] = (
            {"source_to_sample_m": distance_m} if np.isfinite(distance_m) else {})

    def _read_orientation(self) -> None:
        data = self._find(f"{_DETECTOR}/basis_vectors")
        if data is None:
            return
        vectors = hdf5.numbers(data)
        if vectors.shape == (3, 2):
            vectors = vectors.T
        orientation = None
        if vectors.shape[-2:] == (2, 3) and vectors.size:
            orientation = orientation_of_basis(*vectors.reshape(-1, 2, 3)[0])
        if orientation is None:
            self.notes.append(f"{data.name} is not along x and y, and is not heeded; set "
                              "detector.orientation")
        elif orientation != "identity":
            self.settings["detector"]["orientation"] = orientation
            self.notes.append(f"{data.name}: frames are turned by detector.orientation "
                              f"{orientation}; another one in --config overrides it")

    # --- Frames and positions -------------------------------------------------------------------

    def _read_mask(self) -> None:
        data = self._find(f"{_DETECTOR}/mask")
        self._frame_mask = None
        if data is None:
            return
        if data.shape == (len(self), *self.shape) and len(self) > 1:
            self._frame_mask = data
            return
        bad = bad_pixels(checked_mask(hdf5.values(data), self.shape, data.name))
        self.notes += mask_notes(bad, data.name)
        self.settings["detector"]["bad_pixels"] = bad

    def _read_positions(self) -> None:
        data = self._find(_TRANSLATION, f"{ENTRY}/data_1/translation")
        if data is None:
            raise hdf5.missing(f"/{_TRANSLATION}", "positions")
        values = hdf5.numbers(data)
        if values.ndim != 2 or (values.shape[1] not in (2, 3) and values.shape[0] != 3):
            raise invalid(data.name, f"of shape {data.shape}", "(frames, 3): x, y, z of each frame")
        if values.shape[1] not in (2, 3) or (values.shape[0] == 3 and values.shape[1] == len(self)
                                             and len(self) != 3):
            values = values.T
            self.notes.append(f"{data.name} has the shape {data.shape}, read as x, y and z of all "
                              "frames")
        values = values * hdf5.unit_factor(data, default="m")
        self._set_positions(values[:, 0], values[:, 1], data.name)

    def _load(self, begin: int, end: int) -> np.ndarray:
        where = f"{self.source}: {self._frames.name}: frames {begin} to {end - 1}"
        with hdf5.reading(where):
            return self._frames[begin:end].reshape((-1, *self.shape))

    def _load_bad(self, begin: int, end: int) -> Optional[np.ndarray]:
        if self._frame_mask is None:
            return None
        with hdf5.reading(f"{self.source}: {self._frame_mask.name}"):
            return bad_pixels(self._frame_mask[begin:end])


# By the directions (along x, negative) of the steps down a column and along a row.
_ORIENTATIONS = {
    ((False, True), (True, True)): "identity", ((False, True), (True, False)): "flip_lr",
    ((False, False), (True, True)): "flip_ud", ((False, False), (True, False)): "rot180",
    ((True, True), (False, True)): "transpose", ((True, False), (False, True)): "rot90_cw",
    ((True, True), (False, False)): "rot90_ccw", ((True, False), (False, False)): "antitranspose"}


def orientation_of_basis(row_step: np.ndarray, col_step: np.ndarray) -> Optional[str]:
    """How frames must be turned for their rows to run down (-y of CXI) and their columns to the
    right (-x).

    Args:
        row_step, col_step: metres along x, y, z of CXI, from a pixel to the next one of its column,
            and of its row.

    Returns: a `detector.orientation`; None when the steps are not along x and y.
    """
    def direction(step: np.ndarray) -> Optional[tuple[bool, bool]]:
        x, y = abs(step[0]), abs(step[1])
        if x > 0 and y <= _MOST_SKEW * x:
            return True, bool(step[0] < 0)
        if y > 0 and x <= _MOST_SKEW * y:
            return False, bool(step[1] < 0)
        return None

    return _ORIENTATIONS.get((direction(row_step), direction(col_step)))  # type: ignore[arg-type]
