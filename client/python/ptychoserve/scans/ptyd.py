"""Files of ptypy with prepared data, `.ptyd`.

What the format says once and for all, and no attribute in a file: the energy is in keV, the
distance, pixel size and positions are in metres, and positions are (y, x), down the rows and along
the columns.
"""

from __future__ import annotations

from typing import Optional

import h5py
import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans import hdf5
from ptychoserve.scans.hdf5_scan import Hdf5Scan
from ptychoserve.scans.scan import flag_hint

_CONVENTION = ("units are those of the format ptyd: energy in keV; distance, psize and positions "
               "(y, x) in metres")


class PtydScan(Hdf5Scan):
    """The chunks of a file one after the other."""

    def _read(self) -> None:
        self.notes.append(_CONVENTION)
        chunks = self._chunks()
        data = [hdf5.dataset(chunk, "data") for chunk in chunks]
        shapes = {frames.shape[1:] for frames in data}
        if len(shapes) != 1 or any(len(frames.shape) != 3 for frames in data):
            raise invalid("/chunks", f"frames of shapes {sorted(f.shape for f in data)}",
                          "(frames, rows, cols), the same rows and cols in all chunks")
        self._data = data
        self._ends = np.cumsum([len(frames) for frames in data])
        ids = [hdf5.find(chunk, "indices") for chunk in chunks]
        self._set_frames((int(self._ends[-1]), *shapes.pop()), data[0].dtype, data[0].name,
                         None if None in ids
                         else np.concatenate([np.atleast_1d(hdf5.numbers(d)) for d in ids]))
        positions = [hdf5.numbers(hdf5.dataset(chunk, "positions")) for chunk in chunks]
        for chunk, yx_m, frames in zip(chunks, positions, data):
            if yx_m.ndim != 2 or yx_m.shape[1] != 2 or len(yx_m) != len(frames):
                raise invalid(f"{chunk.name}/positions", f"of shape {yx_m.shape}",
                              f"({len(frames)}, 2): y and x of each frame")
        y_m, x_m = np.concatenate(positions).T
        self._set_positions(x_m, y_m, "/chunks/*/positions", self.frame_ids)
        self._weights = [hdf5.find(chunk, "weights") for chunk in chunks]
        for weights, frames in zip(self._weights, data):
            if weights is not None and weights.shape != frames.shape:
                raise invalid(weights.name, f"of shape {weights.shape}", f"{frames.shape}")
        common = hdf5.find(self._file, "info/weight2d")
        if common is not None and len(common.shape) == 2:
            self.settings["detector"]["bad_pixels"] = hdf5.numbers(common) <= 0
        self._read_meta()

    def _chunks(self) -> list[h5py.Group]:
        with hdf5.reading("/chunks"):
            group = self._file.get("chunks")
            found = sorted(((int(name), chunk) for name, chunk in group.items()
                            if isinstance(chunk, h5py.Group)), key=lambda item: item[0]) \
                if isinstance(group, h5py.Group) else []
            broken = [] if not isinstance(group, h5py.Group) else \
                [name for name, chunk in group.items() if chunk is None]
        if broken:  # Links to files that are not there.
            raise invalid(f"/chunks/{broken[0]}", "a link to a file that is not there",
                          "all parts of the scan beside the file")
        if not found:
            raise hdf5.missing("/chunks/0", "at least one chunk of frames")
        return [chunk for _, chunk in found]

    def _read_meta(self) -> None:
        optics = self.settings["optics"]
        for name, setting, scale in (("energy", "photon_energy_ev", 1e3),
                                     ("distance", "distance_m", 1.0),
                                     ("psize", "detector_pixel_size_y_m", 1.0)):
            try:
                values = np.ravel(hdf5.numbers(hdf5.dataset(self._file, f"meta/{name}"))) * scale
                if not values.size or not np.isfinite(values).all() or (values <= 0).any():
                    raise invalid(f"/meta/{name}", values, "above 0", hint=flag_hint(setting))
            except InvalidArgument as error:
                self._miss(setting, error)
                continue
            optics[setting] = float(values[0])
            if name == "psize":
                optics["detector_pixel_size_x_m"] = float(values[-1])
        centre = hdf5.find(self._file, "meta/center")
        if centre is None or centre.dtype.kind not in "iuf":
            return
        row_col = np.ravel(hdf5.numbers(centre))
        if row_col.size == 2 and np.abs(row_col).max() < 1:
            self.settings["detector"]["beam"] = "corner"
        elif row_col.size == 2 and np.abs(row_col - np.array(self.shape) // 2).max() > 0.5:
            self.notes.append(f"/meta/center is {row_col}, not the middle {self.shape[0] // 2}, "
                              f"{self.shape[1] // 2}; set detector.crop if the beam is off")

    def _parts(self, begin: int, end: int) -> list[tuple[int, slice]]:
        """Which frames of which chunks."""
        parts, start = [], 0
        for chunk, stop in enumerate(self._ends.tolist()):
            if begin < stop and end > start:
                parts.append((chunk, slice(max(begin - start, 0), min(end, stop) - start)))
            start = stop
        return parts

    def _load(self, begin: int, end: int) -> np.ndarray:
        with hdf5.reading(f"{self.source}: frames {begin} to {end - 1}"):
            return np.concatenate([self._data[k][where] for k, where in self._parts(begin, end)])

    def _load_bad(self, begin: int, end: int) -> Optional[np.ndarray]:
        parts = self._parts(begin, end)
        if all(self._weights[k] is None for k, _ in parts):
            return None
        with hdf5.reading(f"{self.source}: weights of frames {begin} to {end - 1}"):
            return np.concatenate([
                np.zeros((where.stop - where.start, *self.shape), bool) if self._weights[k] is None
                else self._weights[k][where] <= 0 for k, where in parts])
