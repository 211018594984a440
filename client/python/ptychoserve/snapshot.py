"""Snapshots: object, probe and what belongs to them, all of one iteration, as NumPy arrays."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Iterable, Optional, Sequence, Union

import numpy as np

from ptychoserve._arrays import ArrayPieces, check_layout
from ptychoserve._enums import short_name, short_names
from ptychoserve.errors import DataLoss, FailedPrecondition, invalid
from ptychoserve.v1 import config_pb2, session_pb2, snapshot_pb2

HISTORY_COLUMNS = ("iteration", "active_points", "r_factor", "fourier_error", "object_change",
                   "probe_change", "step", "elapsed_s", "poisson_nll", "held_out_poisson_nll")
"""Columns of `Snapshot.history`."""

POINT_COLUMNS = ("frame_id", "row_px", "col_px", "shift_row_px", "shift_col_px", "intensity",
                 "r_factor", "poisson_nll", "arrival")
"""Columns of `Snapshot.points`; after them come the coefficients of the probe's variation."""

ARRAYS = tuple(short_names(snapshot_pb2.ArrayKind))
"""Arrays that a snapshot may have: "object", "probe", ..."""

# Type and dimensions of each array.
_LAYOUT = {"object": ("<c8", 2), "probe": ("<c8", 3), "coverage": ("<f4", 2), "points": ("<f8", 2),
           "history": ("<f8", 2), "background": ("<f4", 2), "probe_components": ("<c8", 4),
           "object_modes": ("<c8", 3)}


def selection(arrays: Iterable[str] = ("object", "probe"), *, area: str = "scanned",
              uncovered: str = "keep", coverage_threshold: Optional[float] = None,
              downsample: int = 1,
              region: Optional[tuple[int, int, int, int]] = None) -> snapshot_pb2.SnapshotSelection:
    """What a snapshot is to contain.

    Args:
        arrays: of `ARRAYS`, or "all".
        area: of the object: "scanned", spanned by the probe's centres, or "canvas", all.
        uncovered: where no light has fallen: "keep" the initial value, or "nan".
        coverage_threshold: part of the largest coverage up to which it is uncovered; default 0.01.
        downsample: mean over n x n object pixels, 1..64.
        region: in the place of `area`, a cut-out (row, col, rows, cols) in pixels of the canvas, as
            `Snapshot.header.area` has them; what lies beyond the canvas is not sent.
    """
    names = ARRAYS if arrays == "all" else ([arrays] if isinstance(arrays, str) else arrays)

    def value(what: str, enum: Any, name: str) -> Any:
        if name not in short_names(enum):
            raise invalid(what, repr(name), ", ".join(short_names(enum)))
        return short_names(enum)[name]

    cut = None
    if region is not None:
        row, col, rows, cols = region
        cut = config_pb2.Region(row=row, col=col, shape=config_pb2.Shape(rows=rows, cols=cols))
    return snapshot_pb2.SnapshotSelection(
        arrays=[value("arrays", snapshot_pb2.ArrayKind, name) for name in names],
        area=None if cut is not None else value("area", snapshot_pb2.ObjectArea, area), region=cut,
        uncovered=value("uncovered", snapshot_pb2.Uncovered, uncovered),
        coverage_threshold=coverage_threshold, downsample=downsample)


@dataclass
class Snapshot:
    """Object, probe and what belongs to them, of one iteration. Arrays not asked for are None.

    Attributes:
        header: `v1.SnapshotHeader`, with all that is known about it.
        object: complex64 [rows, cols].
        probe: complex64 [modes, frame rows, frame cols], centred; the brightest mode first.
        coverage: float32 [rows, cols], photons per object pixel.
        points: float64 [points, 9 + components], columns `POINT_COLUMNS`; rows and columns are of
            the window's corner, in pixels of the object array at full resolution.
        history: float64 [iterations, 10], columns `HISTORY_COLUMNS`.
        background: float32 [frame rows, frame cols], counts, the far field's zero frequency at
            [0, 0]; [0, 0] when none has been refined.
        probe_components: complex64 [components, modes, frame rows, frame cols] of the probe's
            variation; [0, 0, 0, 0] when none has been refined.
        object_modes: complex64 [modes, rows, cols] of an object with several, the strongest first;
            [0, 0, 0] of an object with one.
    """

    header: snapshot_pb2.SnapshotHeader
    object: Optional[np.ndarray] = None
    probe: Optional[np.ndarray] = None
    coverage: Optional[np.ndarray] = None
    points: Optional[np.ndarray] = None
    history: Optional[np.ndarray] = None
    background: Optional[np.ndarray] = None
    probe_components: Optional[np.ndarray] = None
    object_modes: Optional[np.ndarray] = None

    @property
    def version(self) -> int:
        """1, 2, ...; 0 when there is none yet."""
        return self.header.version

    @property
    def unchanged(self) -> bool:
        """Nothing newer than asked for: there are no arrays."""
        return self.header.unchanged

    @property
    def iteration(self) -> int:
        """Iterations done."""
        return self.header.iteration

    @property
    def final(self) -> bool:
        """Whether it is of the finished run."""
        return self.header.final

    @property
    def state(self) -> str:
        """Of the session, "reconstructing"."""
        return short_name(session_pb2.SessionState, self.header.state)

    @property
    def time(self) -> datetime:
        """When it was taken, in UTC."""
        return self.header.time.ToDatetime(tzinfo=timezone.utc)

    @property
    def pixel_size_m(self) -> tuple[float, float]:
        """(y, x) of the object array."""
        return self.header.pixel_size_y_m, self.header.pixel_size_x_m

    @property
    def origin_m(self) -> tuple[float, float]:
        """Sample coordinates (y, x) of the object array's pixel [0, 0]."""
        return self.header.origin_y_m, self.header.origin_x_m

    @property
    def metrics(self) -> session_pb2.IterationMetrics:
        """`v1.IterationMetrics`: r_factor, fourier_error, coverage, ..."""
        return self.header.metrics

    @property
    def skipped(self) -> int:
        """Versions that a watch has passed over since the last one, as its reader was slow."""
        return self.header.skipped

    def save(self, path: Union[str, os.PathLike]) -> None:
        """Writes an .npz archive with the arrays by name, and `pixel_size_m`, `origin_m` (y, x),
        `iteration` and `version`. A `Result` can be written as CXI.
        """
        if not os.fspath(path).endswith(".npz"):
            raise invalid("path", repr(os.fspath(path)), "a name that ends in .npz")
        np.savez(path, pixel_size_m=self.pixel_size_m, origin_m=self.origin_m,
                 iteration=self.iteration, version=self.version, **self.arrays())

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that there are, by name."""
        return {name: getattr(self, name) for name in _LAYOUT
                if getattr(self, name) is not None}

    def plot(self, axes: Optional[Sequence[Any]] = None) -> Sequence[Any]:
        """Draws amplitude and phase of the object; needs matplotlib.

        Args:
            axes: two axes to draw on, which are cleared; default: those of a new figure.

        Returns: the axes.

        Raises: FailedPrecondition when the object was not asked for.
        """
        if self.object is None:
            raise FailedPrecondition("the snapshot has no object to draw",
                                     hint="ask for arrays=('object', ...)")
        if axes is None:
            from matplotlib import pyplot  # Of an extra: only who draws needs it.
            axes = pyplot.subplots(1, 2, figsize=(10, 4.5), constrained_layout=True)[1]
        rows, cols = self.object.shape
        size_y_um, size_x_um = (1e6 * n * size for n, size in
                                zip((rows, cols), self.pixel_size_m))
        extent = (0, size_x_um, size_y_um, 0)
        images = (("amplitude", np.abs(self.object), "gray"),
                  ("phase (rad)", np.angle(self.object), "twilight"))
        for axis, (title, image, colours) in zip(axes, images):
            axis.clear()
            axis.imshow(image, cmap=colours, extent=extent)
            axis.set(title=f"{title}, iteration {self.iteration}", xlabel="x (µm)",
                     ylabel="y (µm)")
        return axes


class Assembler:
    """Puts snapshots together from their chunks."""

    def __init__(self) -> None:
        self._snapshot: Optional[Snapshot] = None
        self._pieces = ArrayPieces("snapshot", ())

    def add(self, chunk: snapshot_pb2.SnapshotChunk) -> Optional[Snapshot]:
        """The snapshot, when `chunk` was its last one. Raises DataLoss when chunks do not fit."""
        if chunk.HasField("header"):
            self._begin(chunk.header)
        elif chunk.HasField("data") and self._snapshot is not None:
            self._pieces.append(chunk.data)
        else:
            raise DataLoss("snapshot: a chunk that is neither a header nor data after one")
        if not self._pieces.complete():
            return None
        done, self._snapshot = self._snapshot, None
        for k, info in enumerate(self._pieces.infos):
            name = short_name(snapshot_pb2.ArrayKind, info.kind)
            if name in _LAYOUT:  # Else of a newer server; nobody here has asked for it.
                setattr(done, name, self._pieces.array(k))
        return done

    def _begin(self, header: snapshot_pb2.SnapshotHeader) -> None:
        if self._snapshot is not None:
            raise DataLoss("snapshot: a new header while bytes are missing")
        for info in header.arrays:
            name = short_name(snapshot_pb2.ArrayKind, info.kind)
            if name in _LAYOUT:
                check_layout(f"snapshot: {name}", info, *_LAYOUT[name])
        self._snapshot = Snapshot(header)
        self._pieces = ArrayPieces("snapshot", header.arrays)
