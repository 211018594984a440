"""One run of a RunEngine, and the session that it feeds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field as member
from typing import Any, Callable, Optional, Union

import numpy as np

from ptychoserve import _input
from ptychoserve.bluesky import documents, files
from ptychoserve.bluesky.documents import Document
from ptychoserve.client import Client, Session
from ptychoserve.config import session_config
from ptychoserve.errors import invalid
from ptychoserve.v1 import config_pb2
from ptychoserve.writers import FrameWriter, PositionWriter

BLOCK_BYTES = 64 << 20  # Of a file, in memory at a time.
FromStart = Mapping[str, Union[str, Callable[[Document], Any]]]


@dataclass(frozen=True)
class Mapped:
    """What the documents of a beamline mean; the arguments of `Consumer`."""

    frames: str
    x: str
    y: str
    units: str
    stream: str
    config: config_pb2.SessionConfig
    from_start: FromStart
    prefix: str
    file_timeout_s: float


@dataclass
class Run:
    """What has become of a run.

    Attributes:
        uid, scan_id: of its start document; scan_id is "" when there is none.
        session_id: of the session; empty until the descriptor has come, and for runs that have no
            frames.
        frames, positions: that were handed to the session's writers.
        lost: points whose event was dropped because the queue was full.
        exit_status, reason: of its stop document; empty before.
        state: of the session when the run had ended; `Client.session` tells how it is now.
        errors: what could not be used, or has failed; see also `Consumer.errors`.
    """

    uid: str
    scan_id: str
    session_id: str = ""
    frames: int = 0
    positions: int = 0
    lost: int = 0
    exit_status: str = ""
    reason: str = ""
    state: str = ""
    errors: list[Exception] = member(default_factory=list)


class Feed:
    """From the documents of one run to its session. Not thread-safe: one thread has them all."""

    def __init__(self, client: Client, mapped: Mapped, start: Document) -> None:
        self._client = client
        self._mapped = mapped
        self._start = start
        self.report = Run(documents.field("start", start, "uid", str),
                          str(start.get("scan_id", "")))
        self._session: Optional[Session] = None
        self._frames: Optional[FrameWriter] = None
        self._positions: Optional[PositionWriter] = None
        self._descriptors: set[str] = set()  # Of the stream, all of them.
        self._scale: dict[str, float] = {}
        self._halves: dict[int, dict[str, float]] = {}  # x or y whose partner has not come.

    # --- Documents ------------------------------------------------------------------------------

    def descriptor(self, document: Document) -> None:
        keys = documents.field("descriptor", document, "data_keys", Mapping)
        if document.get("name", self._mapped.stream) != self._mapped.stream or (
                self._mapped.frames not in keys):
            return  # Another stream, or a run that is no scan of this detector.
        others = (self._mapped.frames, self._mapped.x, self._mapped.y)
        for role, key in (("x", self._mapped.x), ("y", self._mapped.y)):
            self._scale[key] = documents.metres_per_unit(
                key, documents.data_key(document, key, role, others), self._mapped.units)
        if self._session is None:  # Else a device was configured anew during the run.
            self._open(documents.data_key(document, self._mapped.frames, "frames"))
        self._descriptors.add(documents.field("descriptor", document, "uid", str))

    def event(self, name: str, document: Document, assets: files.Assets) -> None:
        if document.get("descriptor") not in self._descriptors:
            return
        for number, data in documents.rows(name, document):
            if self._mapped.frames in data:
                value = data[self._mapped.frames]
                if isinstance(value, str):  # A reference: areaDetector has written it to a file.
                    source, point = assets.of_datum(value)
                    values = source.read(point, point + 1, self._mapped.file_timeout_s)
                else:
                    values = np.asarray(value)[None]
                self._push_frames(number, values)
            for key in (self._mapped.x, self._mapped.y):
                if key in data:
                    self._take_axis(key, number, [data[key]])

    def lost(self, name: str, document: Document) -> None:
        """An event that was dropped: nobody will send its frames."""
        if document.get("descriptor") in self._descriptors and self._frames is not None:
            numbers = document["seq_num"]
            for number in [numbers] if name == "event" else numbers:
                self._frames.skip(self._frame_id(int(number)))
                self.report.lost += 1

    def stream_datum(self, document: Document, assets: files.Assets) -> None:
        if document.get("descriptor") not in self._descriptors:
            return
        uid = documents.field("stream_datum", document, "stream_resource", str)
        key = assets.data_key(uid)
        if key not in (self._mapped.frames, self._mapped.x, self._mapped.y):
            return
        first, stop = documents.span(document, "indices")
        if first == stop:
            return
        number, last = documents.span(document, "seq_nums") if "seq_nums" in document else (0, 0)
        if number == last:  # Not said: they count from 1, indices from 0.
            number, last = first + 1, stop + 1
        if last - number != stop - first:
            raise invalid("stream_datum.indices", f"{stop - first} for {last - number} seq_nums",
                          "one index for each point of the scan",
                          hint="set the detector to one frame for each trigger")
        source, timeout_s = assets.of_stream(uid), self._mapped.file_timeout_s
        if key != self._mapped.frames:
            self._take_axis(key, number, source.read(first, stop, timeout_s))
            return
        assert self._session is not None  # Descriptors are only known once there is one.
        shape = self._session.config.detector.frame_shape
        step = max(1, BLOCK_BYTES // (4 * shape.rows * shape.cols))
        for begin in range(first, stop, step):
            values = source.read(begin, min(begin + step, stop), timeout_s)
            self._push_frames(number + begin - first, values)

    def stop(self, document: Optional[Document]) -> None:
        """Ends the session: finished when the run was a success, else stopped; what has come is
        sent before. None: the consumer is closed in the middle of the run."""
        document = document or {"exit_status": "abort", "reason": "the consumer was closed before "
                                                                  "the run has ended"}
        self.report.exit_status = str(document.get("exit_status", "success"))
        self.report.reason = str(document.get("reason") or "")
        if self._session is None:
            return
        try:
            for writer in (self._frames, self._positions):
                assert writer is not None  # Opened with the session.
                writer.close()
            if self.report.exit_status == "success":
                counts = document.get("num_events")
                events = counts.get(self._mapped.stream) if isinstance(counts, Mapping) else None
                self._session.finish(expected_frames=events if isinstance(events, int) and
                                     events > 0 else self.report.frames)
            else:
                self._session.stop()
        finally:
            self.report.state = self._session.refresh().state

    def cancel(self) -> None:
        """At once; the session keeps what it has, and stays open."""
        for writer in (self._frames, self._positions):
            if writer is not None:
                writer.cancel()

    # --- The session ----------------------------------------------------------------------------

    def _open(self, frames: Mapping[str, Any]) -> None:
        config = self._config(frames)
        prefix = self._mapped.prefix
        name = "-".join(part for part in (prefix, self.report.scan_id, self.report.uid[:8]) if part)
        session = self._client.create_session(re.sub("[^a-z0-9-]", "-", name.lower())[:63], config)
        self._session = session
        self.report.session_id = session.id
        # The run names the sender: what a consumer before this one has sent is left out.
        producer = f"bluesky-{re.sub('[^A-Za-z0-9._:-]', '-', self.report.uid)}"[:62]
        self._frames = session.frame_writer(producer=f"{producer}-f")
        self._positions = session.position_writer(producer=f"{producer}-p")

    def _config(self, frames: Mapping[str, Any]) -> config_pb2.SessionConfig:
        """The settings that were given, then those of the start document, then what the
        descriptor and the start document say by themselves."""
        config = session_config(self._mapped.config)
        for path, where in self._mapped.from_start.items():
            value = documents.at(self._start, where) if isinstance(where, str) else where(
                self._start)
            for part in reversed(path.split(".")):
                value = {part: value}
            config = session_config(config, **value)
        if not config.detector.HasField("frame_shape"):
            shape = list(frames.get("shape", []))
            if len(shape) < 2:
                raise invalid(f"descriptor.data_keys.{self._mapped.frames}.shape", shape,
                              "[rows, cols], or [1, rows, cols]",
                              hint="or give detector.frame_shape in the settings")
            config = session_config(config, detector={"frame_shape": tuple(map(int, shape[-2:]))})
        if not config.detector.dtype:
            dtype = frames.get("dtype_numpy")
            if not isinstance(dtype, str):
                raise invalid("detector.dtype", "not set, and the descriptor has no dtype_numpy",
                              "u8, u16, u32, f32",
                              hint='give it in the settings: detector={"dtype": "u16"}')
            config = session_config(config, detector={"dtype": dtype})
        points = self._start.get("num_points")
        if not config.scan.expected_points and isinstance(points, int) and points > 0:
            config.scan.expected_points = points
        return config

    # --- Frames and positions -------------------------------------------------------------------

    def _frame_id(self, number: int) -> int:
        """seq_num counts from 1."""
        assert self._session is not None  # Descriptors are only known once there is one.
        return number - 1 + self._session.config.scan.first_frame_id

    def _push_frames(self, number: int, values: np.ndarray) -> None:
        """[points, rows, cols], with any axes of length 1 between."""
        assert self._frames is not None and self._session is not None
        detector = self._session.config.detector
        rows, cols = detector.frame_shape.rows, detector.frame_shape.cols
        if values.size != len(values) * rows * cols or values.shape[-2:] != (rows, cols):
            raise invalid(f"data.{self._mapped.frames}", f"of shape {values.shape[1:]} a point",
                          f"({rows}, {cols}), one frame for each point")
        values = _of_type(values.reshape(-1, rows, cols), _input.DTYPES[detector.dtype],
                          self._mapped.frames)
        self._frames.push(self._frame_id(number), values)
        self.report.frames += len(values)

    def _take_axis(self, key: str, number: int, values: Any) -> None:
        try:
            metres = np.asarray(values, float).reshape(len(values)) * self._scale[key]
        except (TypeError, ValueError) as error:
            raise invalid(f"data.{key}", repr(values)[:80], "one number for each point") from error
        assert self._positions is not None
        ids, xs, ys = [], [], []
        for k, value in enumerate(metres, self._frame_id(number)):
            halves = self._halves.setdefault(k, {})
            halves[key] = value
            if len(halves) == 2:
                ids.append(k)
                xs.append(halves[self._mapped.x])
                ys.append(halves[self._mapped.y])
                del self._halves[k]
        if ids:
            self._positions.push(np.asarray(ids), x_m=xs, y_m=ys)
            self.report.positions += len(ids)


def _of_type(values: np.ndarray, dtype: np.dtype, key: str) -> np.ndarray:
    """Whole numbers become the session's type where all of them fit; nothing is ever cut off."""
    if values.dtype == dtype or values.dtype.kind not in "iu" or dtype.kind != "u":
        return values  # What does not fit there is refused by the writer.
    least, most = int(values.min()), int(values.max())
    if least < 0 or most > np.iinfo(dtype).max:
        raise invalid(f"data.{key}", f"counts {least}..{most}",
                      f"0..{np.iinfo(dtype).max}, of the session's {dtype.name}",
                      hint="set detector.dtype to the detector's own, such as u32")
    return values.astype(dtype)
