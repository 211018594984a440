"""A folder into which the frames of one scan arrive, in a file each or several to a file.

    0001.npy, scan_0002.tif   one frame; its id is the last number in the name
    batch-1.npz, batch-1.h5   several frames with ids of their own, and perhaps positions
    positions.csv             a line for each position: frame_id,x_m,y_m (units in the head line)
"""

from __future__ import annotations

import os
import re
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans.counts import sent_type
from ptychoserve.scans.scan import Scan
from ptychoserve.scans.units import LENGTHS_M, factor
from ptychoserve.watch.source import not_ready

POSITIONS = "positions.csv"
SINGLE = (".npy", ".tif", ".tiff")


class _Frame(NamedTuple):
    file: str
    index: int  # Of the frame in the file.


class FolderSource:
    """A folder. What has been found stays found; files that cannot be read yet are tried again.

    Args:
        open_scan: opens a file of several frames.
        matches: whether a name is that of a file with frames.
        end_suffix: the end is marked by a file whose whole name this is.
    """

    def __init__(self, path: str, open_scan: Callable[[str], Scan],
                 matches: Callable[[str], bool], end_suffix: str) -> None:
        self.name = os.path.basename(os.path.abspath(path))
        self.unreadable: dict[str, str] = {}
        self._path = path
        self._open_scan = open_scan
        self._matches = matches
        self._end_suffix = end_suffix
        self._read: dict[str, tuple[int, int]] = {}  # Of files: size and time of the last change.
        self._counts: dict[str, int] = {}            # Frames of files of several.
        self._frames: dict[int, _Frame] = {}
        self._positions: dict[int, tuple[float, float]] = {}
        self._settings: dict[str, dict[str, Any]] = {"optics": {}, "detector": {}, "scan": {}}
        self._shape: Optional[tuple[int, int]] = None
        self._dtype = np.dtype("<u2")

    def end_marker(self, log: Callable[[str], None]) -> str:
        mark = os.path.join(self._path, self._end_suffix)
        return mark if self._end_suffix and os.path.exists(mark) else ""

    def look(self) -> Scan:
        for name in sorted(os.listdir(self._path)):
            if not self._matches(name) or name == POSITIONS:
                continue
            try:
                found = os.stat(os.path.join(self._path, name))
                state = found.st_size, found.st_mtime_ns
                if self._read.get(name) == state or (name in self._read and name.endswith(SINGLE)):
                    continue
                self._take(name)
            except (InvalidArgument, OSError, ValueError, EOFError) as error:
                self.unreadable[name] = str(error)
                continue
            self._read[name] = state
            self.unreadable.pop(name, None)
        self._read_positions()
        if self._shape is None:
            raise not_ready(self.name)
        return _FolderScan(self._path, dict(self._frames), dict(self._positions), self._settings,
                           self._shape, self._dtype, self._open_scan)

    def _take(self, name: str) -> None:
        """Notes what a file has. Raises when it cannot be read, or does not fit the others."""
        path = os.path.join(self._path, name)
        if name.endswith(SINGLE):
            frame = read_single(path)
            numbers = re.findall(r"\d+", os.path.splitext(name)[0])
            if not numbers:
                raise invalid(name, "without a number", "a name with the id of the frame in it")
            self._check_form(name, frame.shape, sent_type(frame.dtype, name))
            self._add(name, 0, [int(numbers[-1])])
            return
        with self._open_scan(path) as scan:
            if not scan.has_ids:
                raise invalid(name, "without frame ids", "ids of its own: in a folder of frames, "
                              "a place in the file says nothing")
            self._check_form(name, scan.shape, scan.dtype)
            known = self._counts.get(name, 0)  # It may have grown.
            self._add(name, known, scan.frame_ids.tolist()[known:])
            self._counts[name] = len(scan)
            for id_, x_m, y_m in zip(scan.position_ids.tolist(), scan.x_m, scan.y_m):
                self._positions.setdefault(id_, (float(x_m), float(y_m)))
            if not self._settings["optics"]:
                self._settings = scan.settings

    def _check_form(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if self._shape is None:
            self._shape, self._dtype = (int(shape[0]), int(shape[1])), dtype
        elif (tuple(shape), dtype) != (self._shape, self._dtype):
            raise invalid(name, f"frames of {tuple(shape)} {dtype.name}",
                          f"{self._shape} {self._dtype.name}, as those before")

    def _add(self, name: str, first: int, ids: list[int]) -> None:
        """Frames of a file from its frame `first` on."""
        twice = next((id_ for id_ in ids if id_ in self._frames), None)
        if twice is not None:
            raise invalid(name, f"frame {twice}, which {self._frames[twice].file} has", "other ids")
        self._frames.update({id_: _Frame(name, k) for k, id_ in enumerate(ids, first)})

    def _read_positions(self) -> None:
        path = os.path.join(self._path, POSITIONS)
        if not os.path.exists(path):
            return
        self.unreadable.pop(POSITIONS, None)
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")[:-1]  # The last one has not ended.
        try:
            positions, wrong = positions_of(lines)
        except InvalidArgument as error:
            self.unreadable[POSITIONS] = str(error)
            return
        self._positions.update(positions)
        if wrong:
            self.unreadable[POSITIONS] = f"{len(wrong)} lines are left out; the first: {wrong[0]}"


def positions_of(lines: list[str]) -> tuple[dict[int, tuple[float, float]], list[str]]:
    """Positions (x, y) in metres by id, of the lines of a table with a head line; and what is wrong
    with the lines that are left out.

    Raises: InvalidArgument: the head line is none.
    """
    if not lines:
        return {}, []
    head = [name.strip() for name in lines[0].split(",")]
    units = [re.fullmatch(rf"{axis}_(\w+)", name) for axis, name in zip("xy", head[1:])]
    if len(head) != 3 or head[0] != "frame_id" or None in units:
        raise invalid("line 1", repr(lines[0]), "frame_id,x_UNIT,y_UNIT, such as "
                      "frame_id,x_m,y_m or frame_id,x_um,y_um")
    scales = [factor(unit[1], LENGTHS_M, "line 1") for unit in units if unit]
    found: dict[int, tuple[float, float]] = {}
    wrong: list[str] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        try:
            id_, x, y = line.split(",")
            position = float(x) * scales[0], float(y) * scales[1]
            if int(id_) < 0 or not np.isfinite(position).all():
                raise ValueError
            found[int(id_)] = position
        except ValueError:
            wrong.append(f"line {number}, {line!r}, is not an id and two finite numbers")
    return found, wrong


def read_single(path: str) -> np.ndarray:
    """The frame of a file, [rows, cols]. Raises InvalidArgument, ValueError, OSError."""
    if path.endswith(".npy"):
        frame = np.load(path, allow_pickle=False)
    else:
        import tifffile  # Of an extra: only who has such files needs it.
        try:
            frame = tifffile.imread(path)
        except FileNotFoundError:
            raise
        except Exception as error:  # Of decoders, at a file that is cut off: anything.
            raise invalid(path, "unreadable", f"a whole TIFF file: {error}") from None
    if frame.ndim != 2:
        raise invalid(path, f"of shape {frame.shape}", "one frame, (rows, cols)",
                      hint="several frames with their ids go into NPZ or HDF5")
    return frame


class _FolderScan(Scan):
    """What a folder has by now."""

    def __init__(self, path: str, frames: dict[int, _Frame],
                 positions: dict[int, tuple[float, float]], settings: dict[str, dict[str, Any]],
                 shape: tuple[int, int], dtype: np.dtype,
                 open_scan: Callable[[str], Scan]) -> None:
        super().__init__(path, growing=True)
        self._files = list(frames.values())
        self._open_scan = open_scan
        self._set_frames((len(frames), *shape), dtype, path, np.array(list(frames)))
        self.settings = settings
        if positions:
            x_m, y_m = np.array(list(positions.values())).T
            self._set_positions(x_m, y_m, path, np.array(list(positions)))
        self._miss_optics()

    def read(self, begin: int, end: int) -> np.ndarray:
        return np.concatenate([self._read_run(run) for run in self._runs(begin, end)])

    def _load(self, begin: int, end: int) -> np.ndarray:
        return read_single(os.path.join(self.source, self._files[begin].file))[None]

    def _runs(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Frames begin..end-1 as runs that follow each other in one file."""
        edges = [k for k in range(begin + 1, end)
                 if self._files[k].file != self._files[k - 1].file]
        return list(zip([begin, *edges], [*edges, end]))

    def _read_run(self, run: tuple[int, int]) -> np.ndarray:
        first = self._files[run[0]]
        if first.file.endswith(SINGLE):
            return super().read(*run)
        with self._open_scan(os.path.join(self.source, first.file)) as scan:
            return scan.read(first.index, first.index + run[1] - run[0])
