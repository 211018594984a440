"""Reading HDF5 files, with errors that name the file and the dataset."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Optional, Union

import h5py
import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans.units import LENGTHS_M, factor, no_unit

# One number for each frame that are all the same but for noise; the largest spread.
_MOST_SPREAD = 1e-3


def open_file(path: Union[str, os.PathLike], growing: bool = False) -> h5py.File:
    """A file open for reading.

    With `growing` it may be being written: it is read in SWMR mode where its writer has that, and
    never locked, so that no writer is kept from it.

    Raises: InvalidArgument: it is no HDF5 file, or not whole; OSError: there is none.
    """
    name = os.fspath(path)
    os.stat(name)  # Says better what is wrong with a path than HDF5 does.
    if growing:
        try:
            return h5py.File(name, "r", libver="latest", swmr=True, locking=False)
        except (OSError, ValueError):
            pass  # Not of a writer in SWMR mode: perhaps it is whole.
    try:
        return h5py.File(name, "r", **({"locking": False} if growing else {}))
    except OSError as error:
        raise invalid("file", repr(name), f"a whole HDF5 file: {error}") from None


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Makes what h5py throws at broken data, which may be anything, an InvalidArgument about
    `where`. A file that is not there or not allowed stays an OSError."""
    try:
        yield
    except (InvalidArgument, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (OSError, RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        hint = ("detectors' filters are in the packages bitshuffle and hdf5-filter-plugin"
                if "filter" in str(error) else "")
        raise invalid(where, "unreadable", f"data that HDF5 can read: {error}", hint=hint) from None


def find(group: h5py.Group, name: str) -> Optional[h5py.Dataset]:
    """The dataset of that name; None when there is none, a link to nowhere, or one without any
    space for data."""
    with reading(name):
        found = group.get(name)
        return found if isinstance(found, h5py.Dataset) and found.shape is not None else None


def dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset of that name. Raises InvalidArgument: there is none."""
    found = find(group, name)
    if found is None:
        raise missing(name, f"a dataset in {group.file.filename}")
    return found


def missing(name: str, allowed: str = "a dataset", hint: str = "") -> InvalidArgument:
    return invalid(name, "missing", allowed, hint=hint)


def values(data: h5py.Dataset) -> np.ndarray:
    """All of a dataset. Raises InvalidArgument: unreadable."""
    with reading(data.name):
        return np.asarray(data[()])


def numbers(data: h5py.Dataset) -> np.ndarray:
    """All of a dataset as float64. Raises InvalidArgument: not numbers, or unreadable."""
    if data.dtype.kind not in "iuf":
        raise invalid(data.name, f"of type {data.dtype}", "numbers")
    return values(data).astype(np.float64)


def one_number(data: h5py.Dataset) -> float:
    """A number, or the mean of one for each frame that are all the same but for noise.

    Raises: InvalidArgument: they differ, there is none, or it is not finite.
    """
    found = np.atleast_1d(numbers(data))
    if not found.size or not np.isfinite(found).all():
        raise invalid(data.name, f"shape {data.shape}, with nothing or no finite number in it",
                      "one finite number")
    if np.ptp(found) > _MOST_SPREAD * np.abs(found).max():
        raise invalid(data.name, f"values from {found.min():g} to {found.max():g}",
                      "one number for all frames")
    return float(found.mean())


def text_attribute(thing: Any, name: str) -> str:
    """An attribute as text; empty when there is none."""
    value = thing.attrs.get(name, "")
    if isinstance(value, np.ndarray):
        value = value.flat[0] if value.size else ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def unit_factor(data: h5py.Dataset, units: Mapping[str, float] = LENGTHS_M, default: str = "",
                what_to_do: str = "") -> float:
    """What numbers of a dataset are multiplied by for metres or electronvolts.

    Args:
        default: the unit of a format whose definition says it; empty: the attribute has to.
        what_to_do: for the error, when nothing says the unit.

    Raises: InvalidArgument: no unit, or an unknown one.
    """
    unit = text_attribute(data, "units") or default
    if not unit:
        raise no_unit(data.name, what_to_do)
    return factor(unit, units, data.name)
