"""NeXus files: groups are found by their class, units are those of the attributes.

NeXus has the axes of CXI: z along the beam, y up, x to the left for who looks along the beam. So
translations of the sample are positions as they are (docs/cxi.md, "Directions").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Optional

import h5py
import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans import hdf5
from ptychoserve.scans.counts import bad_pixels, checked_mask, mask_notes
from ptychoserve.scans.hdf5_scan import Hdf5Scan
from ptychoserve.scans.hdf5_store import Hdf5Array
from ptychoserve.scans.mapped import flat_shape, read_flat
from ptychoserve.scans.scan import flag_hint
from ptychoserve.scans.units import ENERGIES_EV, LENGTHS_M

_MAPPING_HINT = "a mapping file says where things are, --mapping"
# Names of the axes of a sample stage, in small letters without what comes behind.
_NAMES = {axis: (axis, f"sample_{axis}", f"sample{axis}", f"stage_{axis}", f"{axis}_translation",
                 f"translation_{axis}", f"pos_{axis}", f"position_{axis}") for axis in "xy"}
_SUFFIXES = ("_value", "_readback", "_rbv", "")  # What was measured before what was asked for.
_CLASSES_OF_POSITIONS = ("NXdata", "NXsample", "NXpositioner", "NXtransformations", "NXdetector",
                         "NXcollection")
# Where the light is described; not in NXsource, whose energy is that of the electrons.
_LIGHT = (("NXbeam", "incident_wavelength", LENGTHS_M), ("NXbeam", "incident_energy", ENERGIES_EV),
          ("NXmonochromator", "wavelength", LENGTHS_M), ("NXmonochromator", "energy", ENERGIES_EV),
          ("NXbeam", "wavelength", LENGTHS_M), ("NXbeam", "energy", ENERGIES_EV))


class _Axis(NamedTuple):
    data: h5py.Dataset
    sign: float


def nx_class(group: h5py.Group) -> str:
    return hdf5.text_attribute(group, "NX_class")


def groups(root: h5py.Group, *classes: str) -> Iterator[h5py.Group]:
    """All groups below of these classes, each once, in the order of the file."""
    seen = set()

    def visit(group: h5py.Group) -> Iterator[h5py.Group]:
        for name in group:
            child = group.get(name)
            if not isinstance(child, h5py.Group):
                continue
            place = h5py.h5o.get_info(child.id)
            if (place.fileno, place.addr) in seen:  # Hard links may make circles.
                continue
            seen.add((place.fileno, place.addr))
            if nx_class(child) in classes:
                yield child
            yield from visit(child)

    with hdf5.reading(root.name):
        yield from visit(root)


class NexusScan(Hdf5Scan):
    """The default entry of a NeXus file, or its first one."""

    def __init__(self, path: str, position_unit: str = "", growing: bool = False) -> None:
        self._position_unit = position_unit  # For `_read`.
        super().__init__(path, growing)

    def _read(self) -> None:
        self._entry = self._find_entry()
        self._detector, data = self._find_frames()
        self._frames = Hdf5Array(data, self.source)
        self._set_frames(flat_shape(data.shape), data.dtype, data.name)
        self._read_light()
        self._read_detector()
        self._miss_optics()
        self._read_positions(data)

    def _find_entry(self) -> h5py.Group:
        entries = [child for child in groups(self._file, "NXentry") if child.parent.name == "/"]
        if not entries:
            raise invalid(self.source, f"with {', '.join(self._file) or 'nothing'} in it",
                          "a NeXus file with an NXentry", hint=_MAPPING_HINT)
        default = hdf5.text_attribute(self._file, "default")
        entry = next((e for e in entries if e.name == f"/{default}"), entries[0])
        if len(entries) > 1:
            self.notes.append(f"of {len(entries)} entries, {entry.name} is read")
        return entry

    def _find_frames(self) -> tuple[Optional[h5py.Group], h5py.Dataset]:
        """Frames of the only detector that has any, or of the signal of an NXdata."""
        found = [(group, data) for group in groups(self._entry, "NXdetector")
                 if (data := hdf5.find(group, "data")) is not None and len(data.shape) >= 3]
        if not found:
            for group in groups(self._entry, "NXdata"):
                signal = hdf5.text_attribute(group, "signal") or "data"
                data = hdf5.find(group, signal)
                if data is not None and len(data.shape) >= 3:
                    found.append((group, data))
        different = {h5py.h5o.get_info(data.id).addr for _, data in found}
        if not found:
            raise invalid(self._entry.name, "without frames", "an NXdetector with data "
                          "[..., rows, cols], or an NXdata whose signal is that",
                          hint=_MAPPING_HINT)
        if len(different) > 1:
            raise invalid(self._entry.name, f"frames in {', '.join(d.name for _, d in found)}",
                          "one detector with frames", hint=_MAPPING_HINT)
        group, data = found[0]
        if nx_class(group) != "NXdetector":
            detectors = list(groups(self._entry, "NXdetector"))
            group = detectors[0] if len(detectors) == 1 else None
        return group, data

    # --- Optics ---------------------------------------------------------------------------------

    def _read_light(self) -> None:
        for kind, name, units in _LIGHT:
            for group in groups(self._entry, kind):
                data = hdf5.find(group, name)
                if data is not None:
                    setting = "wavelength_m" if units is LENGTHS_M else "photon_energy_ev"
                    self._optic(setting, data, units)
                    return

    def _read_detector(self) -> None:
        for setting, name in (("distance_m", "distance"),
                              ("detector_pixel_size_y_m", "y_pixel_size"),
                              ("detector_pixel_size_x_m", "x_pixel_size")):
            data = None if self._detector is None else hdf5.find(self._detector, name)
            if data is not None:
                self._optic(setting, data, LENGTHS_M)
        if self._detector is None:
            return
        for name in ("pixel_mask", "mask"):
            data = hdf5.find(self._detector, name)
            if data is None or data.shape[-2:] != self.shape:
                continue
            bad = bad_pixels(checked_mask(hdf5.values(data), self.shape, data.name))
            self.notes += mask_notes(bad, data.name)
            self.settings["detector"]["bad_pixels"] = bad
            return

    def _optic(self, setting: str, data: h5py.Dataset, units: dict[str, float]) -> None:
        try:
            value = abs(hdf5.one_number(data)) * hdf5.unit_factor(
                data, units, what_to_do=flag_hint(setting))
            if value == 0:
                raise invalid(data.name, value, "not 0", hint=flag_hint(setting))
            self.settings["optics"][setting] = value
        except InvalidArgument as error:
            self._miss(setting, error)

    # --- Positions ------------------------------------------------------------------------------

    def _read_positions(self, frames: h5py.Dataset) -> None:
        axes = {axis: self._vector_axis(axis) or self._named_axis(axis) for axis in "xy"}
        for axis, found in axes.items():
            if found is None:
                raise hdf5.missing(
                    f"{self._entry.name}: positions along {axis}", "a translation along "
                    f"{axis} in an NXtransformations, or a dataset {', '.join(_NAMES[axis])}",
                    hint=_MAPPING_HINT)
        metres = {axis: self._metres(found) for axis, found in axes.items()}
        names = " and ".join(found.data.name for found in axes.values())
        self.notes.append(f"positions x and y are {names}")
        x_m, y_m = self._on_grid(metres["x"], metres["y"], axes, frames)
        self._set_positions(x_m, y_m, names)

    def _vector_axis(self, axis: str) -> Optional[_Axis]:
        """A translation of more than one position along an axis, by its vector."""
        unit = np.eye(3)["xyz".index(axis)]
        for group in groups(self._entry, "NXtransformations", "NXsample", "NXpositioner"):
            for name in group:
                data = hdf5.find(group, name)
                kind = "" if data is None else hdf5.text_attribute(data, "transformation_type")
                if data is None or kind != "translation":
                    continue
                vector = np.asarray(data.attrs.get("vector", ()), float).ravel()
                if vector.size == 3 and data.size > 1 and np.abs(vector).max() > 0:
                    along = vector / np.linalg.norm(vector) @ unit
                    if abs(along) > 0.999:
                        return _Axis(data, float(np.sign(along)))
        return None

    def _named_axis(self, axis: str) -> Optional[_Axis]:
        found: dict[int, h5py.Dataset] = {}
        for group in groups(self._entry, *_CLASSES_OF_POSITIONS):
            for name in group:
                data = hdf5.find(group, name)
                if data is None or data.dtype.kind not in "iuf" or data.size < 2:
                    continue
                for rank, suffix in enumerate(_SUFFIXES):
                    if name.lower() in {known + suffix for known in _NAMES[axis]}:
                        found.setdefault(rank, data)
        return _Axis(found[min(found)], 1.0) if found else None

    def _metres(self, axis: _Axis) -> np.ndarray:
        unit = hdf5.text_attribute(axis.data, "units") or self._position_unit
        return hdf5.numbers(axis.data) * axis.sign * hdf5.unit_factor(
            axis.data, default=unit, what_to_do="--position-unit says it")

    def _on_grid(self, x_m: np.ndarray, y_m: np.ndarray, axes: dict[str, _Axis],
                 frames: h5py.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """One position each, of what may be given for each line or column of a grid only."""
        grid = frames.shape[:-2]
        if len(grid) == 2 and x_m.ndim == y_m.ndim == 1 and x_m.size < len(self):
            indices = {axis: self._index_of(axis_data.data) for axis, axis_data in axes.items()}
            if indices["y"] is None and indices["x"] is None:
                if (len(y_m), len(x_m)) == grid and grid[0] != grid[1]:
                    indices = {"y": 0, "x": 1}
                elif (len(x_m), len(y_m)) == grid and grid[0] != grid[1]:
                    indices = {"y": 1, "x": 0}
                else:
                    raise invalid(f"{axes['x'].data.name}, {axes['y'].data.name}",
                                  f"{len(x_m)} and {len(y_m)} numbers for a grid of {grid}",
                                  "attributes of the NXdata that say which axis is which: "
                                  "NAME_indices", hint=_MAPPING_HINT)
            y_first = indices["y"] == 0 or indices["x"] == 1
            if ((len(y_m), len(x_m)) if y_first else (len(x_m), len(y_m))) != grid:
                raise invalid(f"{axes['x'].data.name}, {axes['y'].data.name}",
                              f"{len(x_m)} and {len(y_m)} numbers", f"those of a grid of {grid}")
            if y_first:
                y_m, x_m = np.meshgrid(y_m, x_m, indexing="ij")
            else:
                x_m, y_m = np.meshgrid(x_m, y_m, indexing="ij")
        return np.ravel(x_m), np.ravel(y_m)

    @staticmethod
    def _index_of(data: h5py.Dataset) -> Optional[int]:
        """The dimension of the signal that an axis of an NXdata belongs to."""
        name = data.name.rpartition("/")[2]
        value = data.parent.attrs.get(f"{name}_indices")
        if value is not None and np.size(value) == 1:
            return int(np.ravel(value)[0])
        axes = [a.decode() if isinstance(a, bytes) else str(a)
                for a in np.atleast_1d(data.parent.attrs.get("axes", []))]
        return axes.index(name) if name in axes else None

    def _load(self, begin: int, end: int) -> np.ndarray:
        return read_flat(self._frames, begin, end)
