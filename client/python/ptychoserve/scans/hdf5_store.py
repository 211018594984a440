"""Plain HDF5 files as a store of a `MappedScan`."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ptychoserve.errors import invalid
from ptychoserve.scans import hdf5


class Hdf5Array:
    """A dataset; the unit is that of its attribute `units`."""

    def __init__(self, data: h5py.Dataset, source: str) -> None:
        self._data = data
        self.name = f"{source}: {data.name}"
        self.unit = hdf5.text_attribute(data, "units")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self._data.shape)

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    def read(self, begin: int, end: int) -> np.ndarray:
        with hdf5.reading(f"{self.name}: {begin} to {end - 1}"):
            return self._data[begin:end]

    def all(self) -> np.ndarray:
        return hdf5.values(self._data)


class Hdf5Store:
    """A file; `growing`: one that is being written."""

    def __init__(self, path: str, growing: bool = False) -> None:
        self._path = path
        self._file = hdf5.open_file(path, growing)

    def array(self, path: str) -> Hdf5Array:
        return Hdf5Array(hdf5.dataset(self._file, path), self._path)

    def metadata(self, names: str) -> Any:
        raise invalid("metadata", names, "a path: an HDF5 file has no metadata beside its datasets")

    def close(self) -> None:
        self._file.close()
