"""What all recorded scans are to who sends them, whatever they were read from."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Optional

import numpy as np

from ptychoserve._ranges import ranges, ranges_text
from ptychoserve.config import bounds, session_config
from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans.counts import Changes, sent_type, to_counts, untrusted_value
from ptychoserve.v1 import config_pb2

# What every session needs, and the flags that say it.
NEEDED_OPTICS = {"wavelength_m": "--wavelength-m or --photon-energy-ev",
                 "distance_m": "--distance-m", "detector_pixel_size_y_m": "--pixel-size-m"}


def flag_hint(setting: str) -> str:
    """What to do about one of the optics that is missing or wrong."""
    return f"{NEEDED_OPTICS[_said_by(setting)]} says it"


def _said_by(setting: str) -> str:
    """The one of `NEEDED_OPTICS` that a setting of the optics is, or stands for."""
    return {"photon_energy_ev": "wavelength_m",
            "detector_pixel_size_x_m": "detector_pixel_size_y_m"}.get(setting, setting)


class Scan:
    """A recorded scan, open for reading. A context manager that closes it.

    Frames and positions are joined by their ids. Where a file has no ids, the id of a frame is its
    place in the file, from 0, and so is that of a position.

    Args:
        source: where it is from, for messages.
        growing: it is being written. Positions that are not finite, or of which only one axis is
            there, are left out: they are not there yet. `config` says nothing of how many there
            will be, and where.

    Attributes:
        source: see above.
        shape, dtype: of a frame, (rows, cols), as `read` gives it.
        frame_ids: int64 [frames], in the order of the file.
        position_ids: int64 [positions].
        x_m, y_m: float64 [positions], as `PositionWriter.push` takes them.
        settings: what the source says of the session, for `session_config`.
        missing: errors by the setting that the source ought to have and has not; `config` raises
            them unless the user's own settings say it.
        probe: complex64 [modes, rows, cols] that the source has; None: none. Not used by itself.
        notes: what was unusual, in words.
        changes: pixels so far that were no counts.
    """

    def __init__(self, source: str, growing: bool = False) -> None:
        self.source = source
        self.has_ids = False  # Of its own; else they are places in the file.
        self.shape = (0, 0)
        self.dtype = np.dtype("<u2")
        self.frame_ids = np.empty(0, np.int64)
        self.position_ids = np.empty(0, np.int64)
        self.x_m = self.y_m = np.empty(0)
        self.settings: dict[str, dict[str, Any]] = {"optics": {}, "detector": {}, "scan": {}}
        self.missing: dict[str, InvalidArgument] = {}
        self.probe: Optional[np.ndarray] = None
        self.notes: list[str] = []
        self.changes = Changes()
        self._growing = growing
        self._first = 0                # Of the frames of the source, by `take`.
        self._lock = threading.Lock()  # Guards changes.

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, kind: Optional[type[BaseException]], error: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.frame_ids)

    # --- For readers ----------------------------------------------------------------------------

    def close(self) -> None:
        """Lets go of the source."""

    def _load(self, begin: int, end: int) -> np.ndarray:
        """Frames begin..end-1 of the source as they are stored, [frames, rows, cols]."""
        raise NotImplementedError

    def _load_bad(self, begin: int, end: int) -> Optional[np.ndarray]:
        """Bad pixels of these frames, bool [frames, rows, cols]; None: those of all frames."""
        return None

    def _set_frames(self, shape: tuple[int, ...], stored: np.dtype, where: str,
                    frame_ids: Optional[np.ndarray] = None) -> None:
        """Checks the shape [frames, rows, cols] and type of the frames, and what they are called.

        Raises: InvalidArgument.
        """
        if len(shape) != 3 or 0 in shape:
            raise invalid(where, f"of shape {tuple(shape)}", "(frames, rows, cols), none of them 0")
        self.shape = (int(shape[1]), int(shape[2]))
        self.dtype = sent_type(stored, where)
        if frame_ids is None:
            self.frame_ids = np.arange(shape[0], dtype=np.int64)
            return
        if self._growing:  # One of the two may be ahead.
            frame_ids = frame_ids[:shape[0]]
            shape = (len(frame_ids), *shape[1:])
        self.has_ids = True
        self.frame_ids = checked_ids(frame_ids, shape[0], f"{where}: frame ids")

    def _set_positions(self, x_m: np.ndarray, y_m: np.ndarray, where: str,
                       ids: Optional[np.ndarray] = None) -> None:
        """Checks positions. Without ids, position k is that of frame k of the source.

        Raises: InvalidArgument: lengths that differ, or a position that is not finite.
        """
        x_m, y_m = np.asarray(x_m, np.float64), np.asarray(y_m, np.float64)
        if self._growing:
            x_m, y_m, ids = self._here(x_m, y_m, ids)
        if x_m.ndim != 1 or x_m.shape != y_m.shape:
            raise invalid(where, f"x of shape {x_m.shape}, y of {y_m.shape}",
                          "two lists of the same length")
        bad = np.flatnonzero(~(np.isfinite(x_m) & np.isfinite(y_m)))
        if len(bad):
            raise invalid(where, f"the position of frame {bad[0]} is ({x_m[bad[0]]:g}, "
                                 f"{y_m[bad[0]]:g})", "finite numbers",
                          hint="leave such frames out of the file")
        if ids is None:
            ids = self.frame_ids[:len(x_m)]
            beyond = len(x_m) - len(ids)
            first = int(ids.max()) + 1 if len(ids) else 0
            ids = np.append(ids, np.arange(first, first + beyond, dtype=np.int64))
        self.position_ids = checked_ids(ids, len(x_m), f"{where}: ids")
        self.x_m, self.y_m = x_m, y_m

    def _here(self, x_m: np.ndarray, y_m: np.ndarray, ids: Optional[np.ndarray]
              ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The positions of a growing scan that are there, and their ids."""
        if ids is None:
            ids = self.frame_ids if self.has_ids else np.arange(len(x_m), dtype=np.int64)
        count = min(len(x_m), len(y_m), len(ids))
        x_m, y_m, ids = x_m[:count], y_m[:count], np.asarray(ids)[:count]
        here = np.isfinite(x_m) & np.isfinite(y_m)
        return x_m[here], y_m[here], ids[here]

    def _miss(self, setting: str, error: InvalidArgument) -> None:
        """Notes what is wrong with one of the optics; a user may say it in another way."""
        self.missing.setdefault(f"optics.{_said_by(setting)}", error)

    def _miss_optics(self) -> None:
        """Notes which of the optics that every session needs the source has not said."""
        said = {_said_by(setting) for setting in self.settings["optics"]}
        for setting in NEEDED_OPTICS:
            if setting not in said:
                self._miss(setting, invalid(f"{self.source}: {setting}", "not said",
                                            "a number with its unit", hint=flag_hint(setting)))

    # --- For who sends it -----------------------------------------------------------------------

    def read(self, begin: int, end: int) -> np.ndarray:
        """Frames begin..end-1, [frames, rows, cols] of `dtype`. May be called by many threads.

        What is no count, and bad pixels of a single frame, have the largest value of the type,
        which no session trusts; see docs/cxi.md.

        Raises: InvalidArgument: the source cannot be read there; OSError.
        """
        counts, changes = to_counts(self._load(self._first + begin, self._first + end), self.dtype)
        bad = self._load_bad(self._first + begin, self._first + end)
        if bad is not None:
            counts = np.where(bad, counts.dtype.type(untrusted_value(self.dtype)), counts)
        with self._lock:
            self.changes = self.changes.plus(changes)
        return counts

    def take(self, skip: int = 0, most: Optional[int] = None) -> "Scan":
        """Leaves out the first `skip` frames, and all after `most` more, with their positions.

        Ids are counted as if the scan began with the first frame that is left.

        Raises: InvalidArgument: nothing is left.
        """
        kept = self.frame_ids[skip:None if most is None else skip + most]
        if not len(kept):
            raise invalid("frames", f"{skip} skipped of {len(self)}, at most {most} taken",
                          "a part of the scan with at least one frame")
        gone = np.setdiff1d(self.frame_ids, kept)
        keep = ~np.isin(self.position_ids, gone)
        if skip:
            keep &= self.position_ids >= kept.min()
        if len(kept) < len(self) - skip:
            keep &= self.position_ids <= kept.max()
        back = int(kept[0] - self.frame_ids[0])
        self._first += skip
        self.frame_ids = kept - back
        self.position_ids = self.position_ids[keep] - back
        self.x_m, self.y_m = self.x_m[keep], self.y_m[keep]
        return self

    def without_partner(self) -> tuple[np.ndarray, np.ndarray]:
        """Ids of frames without a position, and of positions without a frame."""
        return (np.setdiff1d(self.frame_ids, self.position_ids),
                np.setdiff1d(self.position_ids, self.frame_ids))

    def all_notes(self) -> list[str]:
        """`notes`, and what does not pair."""
        frames, positions = self.without_partner()
        pairs = [f"{len(ids)} {what} (ids {ranges_text(ranges(ids))})"
                 for ids, what in ((frames, "frames have no position"),
                                   (positions, "positions have no frame")) if len(ids)]
        if pairs:
            pairs.insert(0, f"{len(self)} frames and {len(self.position_ids)} positions, joined "
                            "by their ids")
        return [*self.notes, *(["; ".join(pairs)] if pairs else [])]

    def config(self, given: Optional[config_pb2.SessionConfig] = None
               ) -> config_pb2.SessionConfig:
        """The configuration of a session for this scan: what the source says, replaced by what is
        `given`.

        Raises:
            InvalidArgument: neither says something that is needed, or no frame has a position.
        """
        given = given or config_pb2.SessionConfig()
        for setting, error in self.missing.items():
            if not _says(given, setting):
                raise error
        if self._growing:
            return self._merged(self.settings["scan"], given)
        joined = np.isin(self.position_ids, self.frame_ids)
        points = np.count_nonzero(joined)
        if not points:
            raise invalid(self.source, f"{len(self)} frames and {len(self.position_ids)} positions "
                          "without an id in common", "frames with positions")
        scan = {"bounds": bounds(x_m=self.x_m[joined], y_m=self.y_m[joined]),
                "expected_points": points, **self.settings["scan"]}
        if len(self) > points:  # Frames without a position need a place, too.
            scan["capacity"] = len(self)
        return self._merged(scan, given)

    def _merged(self, scan: dict[str, Any], given: config_pb2.SessionConfig
                ) -> config_pb2.SessionConfig:
        detector = {**self.settings["detector"], "frame_shape": self.shape, "dtype": self.dtype}
        config = session_config(**{**self.settings, "detector": detector, "scan": scan})
        first = int(min(ids.min() for ids in (self.frame_ids, self.position_ids) if len(ids)))
        if first < given.scan.first_frame_id:
            raise invalid("scan.first_frame_id", given.scan.first_frame_id,
                          f"at most {first}, the lowest id in {self.source}")
        config.MergeFrom(given)
        return config


def probe_stack(probe: np.ndarray, where: str) -> np.ndarray:
    """A probe as complex64 [modes, rows, cols]. Raises InvalidArgument: it is none."""
    if probe.dtype.kind != "c" or probe.ndim not in (2, 3):
        raise invalid(where, f"{probe.shape} of {probe.dtype}",
                      "complex, [rows, cols] or [modes, rows, cols]")
    return probe.astype(np.complex64).reshape((-1, *probe.shape[-2:]))


def checked_ids(ids: Any, count: int, where: str) -> np.ndarray:
    """Ids as int64 [count]. Raises InvalidArgument for what cannot be ids, or two that are the
    same."""
    ids = np.asarray(ids)
    if ids.dtype.kind == "f" and np.all(ids == np.rint(ids)):  # As areaDetector may store them.
        ids = ids.astype(np.int64)
    if ids.dtype.kind not in "iu" or ids.shape != (count,):
        raise invalid(where, f"of type {ids.dtype}, shape {ids.shape}", f"{count} integers")
    ids = ids.astype(np.int64)
    if count and ids.min() < 0:
        raise invalid(where, int(ids.min()), "0 and above")
    values, counts = np.unique(ids, return_counts=True)
    if len(values) < count:
        raise invalid(where, f"{values[counts > 1][0]} more than once", "each id once")
    return ids


def _says(config: config_pb2.SessionConfig, setting: str) -> bool:
    if setting == "optics.wavelength_m":
        return config.optics.WhichOneof("source") is not None
    message: Any = config
    for name in setting.split("."):
        message = getattr(message, name)
    return bool(message)
