"""Rows of HDF5 files that documents point at, also while they are being written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from ptychoserve.bluesky.documents import Document, field
from ptychoserve.errors import DataLoss, invalid

MIMETYPE = "application/x-hdf5"
_LOOK_AGAIN_S = 0.1
# Where the HDF5 plugin of areaDetector puts frames.
_AREA_DETECTOR_DATASET = "/entry/data/data"


@dataclass(frozen=True)
class Source:
    """A dataset whose first axis is that of the points, or of `rows_per_point` rows for each."""

    path: str
    dataset: str
    rows_per_point: int = 1

    def read(self, first: int, stop: int, timeout_s: float) -> np.ndarray:
        """Points first..stop-1, [points, ...]. Waits until the file has them.

        Raises: DataLoss: it has not within the timeout, and the reason.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return self._read(first, stop)
            except (OSError, KeyError, _NotYet) as error:
                if time.monotonic() >= deadline:
                    raise DataLoss(f"{self.path}: {self.dataset}: points {first} to {stop - 1} "
                                   f"could not be read within {timeout_s:g} s: {error}",
                                   hint="is the file mounted here (root_map), and does the "
                                        "detector flush it?") from error
            time.sleep(_LOOK_AGAIN_S)

    def _read(self, first: int, stop: int) -> np.ndarray:
        with _open(self.path) as file:
            dataset = file[self.dataset]
            begin, end = first * self.rows_per_point, stop * self.rows_per_point
            if not dataset.shape or dataset.shape[0] < end:
                raise _NotYet(f"it has the shape {dataset.shape}, {end} rows are needed")
            return dataset[begin:end]


class _NotYet(Exception):
    pass


def _open(path: str) -> Any:
    import h5py  # Of an extra: only who reads files needs it.
    try:
        return h5py.File(path, "r", swmr=True, locking=False)
    except (OSError, ValueError):
        return h5py.File(path, "r", locking=False)  # Of a format without SWMR.


class Assets:
    """The files that documents of all runs have named. They are only looked at when data of theirs
    are needed: others may be of any format.

    Args:
        root_map: where folders of the documents' files are found here.
    """

    def __init__(self, root_map: Mapping[str, str]) -> None:
        self._root_map = root_map
        self._resources: dict[str, tuple[str, Document]] = {}  # By uid, with that of the run.
        self._datums: dict[str, tuple[str, Any]] = {}          # By id: resource, point.

    def add_resource(self, name: str, document: Document, run: str) -> None:
        """Of a resource or stream_resource. `run`: its run, unless it says another."""
        self._resources[field(name, document, "uid", str)] = (
            str(document.get("run_start") or run), document)

    def add_datums(self, name: str, document: Document) -> None:
        """Of a datum or datum_page."""
        resource = field(name, document, "resource", str)
        arguments = field(name, document, "datum_kwargs", Mapping)
        ids, points = document.get("datum_id"), arguments.get("point_number")
        if name == "datum":
            ids, points = [ids], [points]
        elif not isinstance(ids, (list, tuple)):
            raise invalid(f"{name}.datum_id", repr(ids)[:80], "a list of text")
        if not isinstance(points, (list, tuple)) or len(points) != len(ids):
            points = [None] * len(ids)  # Of another kind of resource, perhaps.
        self._datums.update(zip(map(str, ids), ((resource, point) for point in points)))

    def forget(self, run: str) -> None:
        """A run that is over."""
        self._resources = {uid: r for uid, r in self._resources.items() if r[0] != run}
        self._datums = {uid: d for uid, d in self._datums.items() if d[0] in self._resources}

    def data_key(self, uid: str) -> str:
        """What the data of a stream_resource are."""
        return field("stream_resource", self._resource("stream_datum.stream_resource", uid),
                     "data_key", str)

    def of_stream(self, uid: str) -> Source:
        """Of a stream_resource. Raises InvalidArgument: another format, or a field is missing."""
        document = self._resource("stream_datum.stream_resource", uid)
        name = "stream_resource"
        mimetype = field(name, document, "mimetype", str)
        if mimetype != MIMETYPE:
            raise invalid(f"{name}.mimetype", repr(mimetype), MIMETYPE)
        parameters = field(name, document, "parameters", Mapping)
        return Source(self._local(_path_of(field(name, document, "uri", str))),
                      field(f"{name}.parameters", parameters, "dataset", str))

    def of_datum(self, datum_id: str) -> tuple[Source, int]:
        """A file and the point in it. Raises as `of_stream`."""
        if datum_id not in self._datums:
            raise invalid("event.data", repr(datum_id),
                          "an array, or the datum_id of a datum that came before")
        uid, point = self._datums[datum_id]
        document = self._resource("datum.resource", uid)
        spec = field("resource", document, "spec", str)
        if not spec.startswith("AD_HDF5"):
            raise invalid("resource.spec", repr(spec), "AD_HDF5, or its variants")
        if not isinstance(point, int):
            raise invalid("datum.datum_kwargs.point_number", repr(point), "a whole number, from 0")
        arguments = field("resource", document, "resource_kwargs", Mapping)
        path = os.path.join(str(document.get("root", "")),
                            field("resource", document, "resource_path", str))
        return Source(self._local(path), str(arguments.get("dataset", _AREA_DETECTOR_DATASET)),
                      int(arguments.get("frame_per_point", 1))), point

    def _resource(self, where: str, uid: str) -> Document:
        if uid not in self._resources:
            raise invalid(where, repr(uid), "the uid of a resource that came before")
        return self._resources[uid][1]

    def _local(self, path: str) -> str:
        for root, here in self._root_map.items():
            root = root.rstrip("/")
            if path == root or path.startswith(root + "/"):
                return here.rstrip("/") + path[len(root):]
        return path


def _path_of(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise invalid("stream_resource.uri", repr(uri), "file://HOST/PATH")
    return unquote(parts.path)
