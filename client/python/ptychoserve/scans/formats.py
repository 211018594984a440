"""Which format a scan is in."""

from __future__ import annotations

import os
from typing import Optional, Union

from ptychoserve.errors import invalid
from ptychoserve.scans.mapping import ScanMapping, read_mapping
from ptychoserve.scans.scan import Scan

FORMATS = ("cxi", "nexus", "ptyd", "hdf5", "npz", "tiled")


def open_scan(source: Union[str, os.PathLike], *, format: str = "", mapping: str = "",
              position_unit: str = "", growing: bool = False) -> Scan:
    """Opens a recorded scan.

    Args:
        source: a file, or the http(s) address of a Tiled node.
        format: of `FORMATS`; empty: found out.
        mapping: a mapping file (docs/replay.md), for "hdf5", and for "npz" and "tiled" in the place
            of their own names.
        position_unit: of positions in NeXus that have no unit: "um".
        growing: the file may be being written; see `Scan`. Not for "tiled".

    Raises:
        InvalidArgument: not a scan, or not a whole one; the message says what to do.
        OSError: no such file.
        NotFound, Unauthenticated, Unavailable: of a Tiled server.
    """
    name = os.fspath(source)
    if format and format not in FORMATS:
        raise invalid("format", repr(format), ", ".join(FORMATS))
    format = format or format_of(name, bool(mapping), growing)
    if mapping and format not in ("hdf5", "npz", "tiled"):
        raise invalid("mapping", repr(mapping), f"none for the format {format}, which says itself "
                      "where things are", hint="--format hdf5 goes by the mapping")
    return _open(name, format, read_mapping(mapping) if mapping else None, position_unit,
                 growing)


def _open(name: str, format: str, places: Optional[ScanMapping], position_unit: str,
          growing: bool) -> Scan:
    # Each is imported when it is needed: they are in extras of the package.
    if format == "tiled":
        from ptychoserve.scans.tiled import open_tiled
        return open_tiled(name, places)
    if format == "npz":
        from ptychoserve.scans.mapped import MappedScan
        from ptychoserve.scans.npz import NpzStore, mapping_of
        archive = NpzStore(name)
        return MappedScan(name, archive, places or mapping_of(archive.names, name),
                          growing=growing)
    from ptychoserve.scans import hdf5
    with hdf5.reading(name):
        return _open_hdf5(name, format, places, position_unit, growing)


def _open_hdf5(name: str, format: str, places: Optional[ScanMapping], position_unit: str,
               growing: bool) -> Scan:
    if format == "cxi":
        from ptychoserve.scans.cxi import CxiScan
        return CxiScan(name, growing)
    if format == "ptyd":
        from ptychoserve.scans.ptyd import PtydScan
        return PtydScan(name, growing)
    if format == "nexus":
        from ptychoserve.scans.nexus import NexusScan
        return NexusScan(name, position_unit, growing)
    from ptychoserve.scans.hdf5_store import Hdf5Store
    from ptychoserve.scans.mapped import MappedScan
    if places is None:
        raise invalid("mapping", "missing", "a file that says where frames and positions are",
                      hint="docs/replay.md has an example; --mapping names it")
    return MappedScan(name, Hdf5Store(name, growing), places, growing=growing)


def format_of(name: str, has_mapping: bool, growing: bool = False) -> str:
    """The format of a source. Raises InvalidArgument: none that is known; OSError."""
    if name.startswith(("http://", "https://")):
        return "tiled"
    if name.endswith(".npz"):
        os.stat(name)
        return "npz"
    if has_mapping:
        return "hdf5"
    from ptychoserve.scans import hdf5
    from ptychoserve.scans.nexus import nx_class
    with hdf5.open_file(name, growing) as file, hdf5.reading(name):
        if "entry_1/instrument_1" in file or "cxi_version" in file:
            return "cxi"
        if "chunks" in file and "meta" in file:
            return "ptyd"
        if any(nx_class(child) == "NXentry" for child in file.values() if hasattr(child, "keys")):
            return "nexus"
        raise invalid("file", repr(name), f"a scan in {', '.join(FORMATS)}; it has "
                      f"{', '.join('/' + key for key in file) or 'nothing'} in it",
                      hint="for other HDF5 files, --mapping says where things are")
