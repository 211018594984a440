"""Scans whose parts are where a mapping says: of plain HDF5 files, NPZ archives, Tiled nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional, Protocol

import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans.counts import checked_mask, mask_notes
from ptychoserve.scans.mapping import Place, ScanMapping
from ptychoserve.scans.scan import Scan, probe_stack
from ptychoserve.scans.units import ENERGIES_EV, LENGTHS_M, factor, no_unit

# Of a session's optics: the key of the mapping, and units.
_OPTICS = {
    "wavelength_m": ("wavelength", LENGTHS_M), "photon_energy_ev": ("photon_energy", ENERGIES_EV),
    "distance_m": ("distance", LENGTHS_M), "detector_pixel_size_y_m": ("pixel_size_y", LENGTHS_M),
    "detector_pixel_size_x_m": ("pixel_size_x", LENGTHS_M)}


class Array(Protocol):
    """An array of a store: its name for messages, shape, type, and what lies in it.

    `unit` is what the store says of it; empty: nothing.
    """

    name: str
    unit: str

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def read(self, begin: int, end: int) -> np.ndarray:
        """Rows begin..end-1. Raises InvalidArgument: they cannot be read."""

    def all(self) -> np.ndarray:
        """All of it. Raises InvalidArgument."""


class Store(Protocol):
    """Arrays by path, and metadata."""

    def array(self, path: str) -> Array:
        """Raises InvalidArgument: there is none."""

    def metadata(self, names: str) -> Any:
        """What the metadata has under names with dots between. Raises InvalidArgument: nothing."""

    def close(self) -> None: ...


def flat_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """[frames, rows, cols] of frames on a grid of points, [..., rows, cols]."""
    return (int(np.prod(shape[:-2])), *shape[-2:]) if len(shape) > 3 else tuple(shape)


def read_flat(array: Array, begin: int, end: int) -> np.ndarray:
    """Frames begin..end-1, counted along the rows of the grid of points."""
    inner = int(np.prod(array.shape[1:-2]))  # 1 for a plain list of frames.
    first, last = begin // inner, -(-end // inner)
    frames = array.read(first, last)
    return frames.reshape((-1, *frames.shape[-2:]))[begin - first * inner:end - first * inner]


class MappedScan(Scan):
    """A scan of a store.

    Args:
        source: for messages.
        store: is closed with the scan.
        mapping: where things are.
        growing: see `Scan`.
    """

    def __init__(self, source: str, store: Store, mapping: ScanMapping, *,
                 growing: bool = False) -> None:
        super().__init__(source, growing)
        self._store = store
        self._mapping = mapping
        try:
            self._read_points()
            self._read_optics()
            self._read_masks()
            self.settings["detector"].update(mapping.words)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._store.close()

    def _read_points(self) -> None:
        self._frames = self._array("frames")
        self._set_frames(flat_shape(self._frames.shape), self._frames.dtype, self._frames.name,
                         self._ids("frame_ids"))
        self._set_positions(self._axis("x"), self._axis("y"),
                            f"{self._array('x').name}, {self._array('y').name}",
                            self._ids("position_ids"))

    def _array(self, key: str) -> Array:
        return self._store.array(self._mapping.places[key].path)

    def _ids(self, key: str) -> Optional[np.ndarray]:
        return np.ravel(self._array(key).all()) if key in self._mapping.places else None

    def _axis(self, key: str) -> np.ndarray:
        """Metres of all positions."""
        place, array = self._mapping.places[key], self._array(key)
        if array.dtype.kind not in "iuf":
            raise invalid(array.name, f"of type {array.dtype}", "numbers")
        scale = self._factor(place, array, LENGTHS_M,
                             "'unit' beside the path in the mapping says it")
        values = array.all().astype(np.float64)
        if place.column is not None:
            if values.ndim != 2 or not 0 <= place.column < values.shape[1]:
                raise invalid(array.name, f"of shape {values.shape}",
                              f"(positions, columns), with a column {place.column}")
            values = values[:, place.column]
        return np.ravel(values) * scale

    @staticmethod
    def _factor(place: Place, array: Array, units: Mapping[str, float], what_to_do: str) -> float:
        unit = place.unit or array.unit
        if not unit:
            raise no_unit(array.name, what_to_do)
        return factor(unit, units, array.name)

    def _read_optics(self) -> None:
        optics = self.settings["optics"]
        for name, (key, units) in _OPTICS.items():
            if key not in self._mapping.places and key.startswith("pixel_size"):
                key = "pixel_size"
            try:
                if key in self._mapping.places:
                    optics[name] = self._number(self._mapping.places[key], key, units)
            except InvalidArgument as error:
                self._miss(name, error)
        if "photon_energy_ev" in optics:
            if optics.pop("wavelength_m", None) is not None:
                raise invalid(f"{self.source}: wavelength, photon_energy", "both", "one of them")
        self._miss_optics()

    def _number(self, place: Place, key: str, units: Mapping[str, float]) -> float:
        where, unit, value = f"{self.source}: {key}", place.unit, place.value
        if place.metadata:
            value = self._store.metadata(place.metadata)
        elif place.path:
            array = self._store.array(place.path)
            unit = unit or array.unit
            values = np.ravel(array.all())
            if values.size == 0 or values.dtype.kind not in "iuf" or np.ptp(values) > 1e-3 * abs(
                    values).max():
                raise invalid(array.name, f"shape {array.shape} of {array.dtype}",
                              "one number, the same for all frames")
            value = float(values.mean())
        if not isinstance(value, (int, float)) or isinstance(value, bool) \
                or not np.isfinite(value) or value <= 0:
            raise invalid(where, value, "a number above 0")
        if not unit:
            raise no_unit(where, "'unit' in the mapping says it")
        return float(value) * factor(unit, units, where)

    def _read_masks(self) -> None:
        both = [key for key in ("bad_pixels", "good_pixels") if key in self._mapping.places]
        if len(both) == 2:
            raise invalid(f"{self.source}: bad_pixels, good_pixels", "both", "one of them")
        for key in both:
            array = self._array(key)
            mask = checked_mask(array.all(), self.shape, array.name)
            bad = (mask == 0) if key == "good_pixels" else (mask != 0)
            self.notes += mask_notes(bad, array.name)
            self.settings["detector"]["bad_pixels"] = bad
        if "probe" in self._mapping.places:
            array = self._array("probe")
            self.probe = probe_stack(array.all(), array.name)

    def _load(self, begin: int, end: int) -> np.ndarray:
        return read_flat(self._frames, begin, end)
