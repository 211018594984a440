"""NPZ archives: the simplest file that a script can write.

    np.savez("scan.npz", frames=frames, x_m=x_m, y_m=y_m, wavelength_m=1.37e-10, distance_m=2.05,
             pixel_size_m=75e-6)

Names tell the units. Those of `NAMES` are all that there are, unless a mapping says otherwise.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ptychoserve._names import did_you_mean
from ptychoserve.errors import InvalidArgument, invalid, unknown_name
from ptychoserve.scans.mapping import Place, ScanMapping

# Of each: the key of a mapping, and the unit.
NAMES = {"frames": ("frames", ""), "x_m": ("x", "m"), "y_m": ("y", "m"),
         "frame_ids": ("frame_ids", ""), "position_ids": ("position_ids", ""),
         "wavelength_m": ("wavelength", "m"), "photon_energy_ev": ("photon_energy", "eV"),
         "distance_m": ("distance", "m"), "pixel_size_m": ("pixel_size", "m"),
         "pixel_size_y_m": ("pixel_size_y", "m"), "pixel_size_x_m": ("pixel_size_x", "m"),
         "bad_pixels": ("bad_pixels", ""), "probe": ("probe", "")}


def mapping_of(names: Iterable[str], source: str) -> ScanMapping:
    """The mapping of arrays whose names tell the units.

    Raises: InvalidArgument: a name that there is not, or no frames or positions.
    """
    names = list(names)
    for name in names:
        if name not in NAMES:
            raise unknown_name(f"{source}: {name}", NAMES, did_you_mean(name, NAMES))
    for name in ("frames", "x_m", "y_m"):
        if name not in names:
            raise invalid(f"{source}: {name}", "missing", "an array of that name")
    return ScanMapping({NAMES[name][0]: Place(path=name, unit=NAMES[name][1]) for name in names})


class MemoryArray:
    """An array that is in memory. Its name is all that tells its unit."""

    unit = ""

    def __init__(self, name: str, values: np.ndarray) -> None:
        self.name = name
        self._values = values

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype:
        return self._values.dtype

    def read(self, begin: int, end: int) -> np.ndarray:
        return self._values[begin:end]

    def all(self) -> np.ndarray:
        return self._values


class NpzStore:
    """An archive, of which all is in memory.

    Raises: InvalidArgument: it is none, or broken; OSError.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                if not isinstance(archive, np.lib.npyio.NpzFile):
                    raise invalid("file", repr(path), "an archive of arrays, NPZ")
                self._arrays = {name: archive[name] for name in archive.files}
        except InvalidArgument:
            raise
        except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile,
                zlib.error) as error:
            raise invalid("file", repr(path), f"a whole archive of arrays, NPZ: {error}") from None

    @property
    def names(self) -> list[str]:
        return list(self._arrays)

    def array(self, path: str) -> MemoryArray:
        if path not in self._arrays:
            raise invalid(f"{self._path}: {path}", "missing", f"one of {', '.join(self._arrays)}")
        return MemoryArray(f"{self._path}: {path}", self._arrays[path])

    def metadata(self, names: str) -> Any:
        raise invalid("metadata", names, "a path: an archive has no metadata")

    def close(self) -> None:
        """It is in memory."""
