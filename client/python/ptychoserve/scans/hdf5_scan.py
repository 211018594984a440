"""Scans that are one HDF5 file."""

from __future__ import annotations

from ptychoserve.scans import hdf5
from ptychoserve.scans.scan import Scan


class Hdf5Scan(Scan):
    """Opens the file and reads what is in it, but for the frames; see `Scan`."""

    def __init__(self, path: str, growing: bool = False) -> None:
        super().__init__(path, growing)
        self._file = hdf5.open_file(path, growing)
        try:
            self._read()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    def _read(self) -> None:
        """Sets all that a scan has, from `_file`."""
        raise NotImplementedError
