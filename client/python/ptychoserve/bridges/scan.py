"""One series of the detector, and the session that it becomes."""

from __future__ import annotations

import math
import threading
import time
from typing import Callable, NamedTuple, Optional, Sequence

import numpy as np

from ptychoserve._flush import flush
from ptychoserve._missing_ids import missing_ids
from ptychoserve._ranges import ranges
from ptychoserve.bridges.differences import differences
from ptychoserve.bridges.frame_streams import FrameStreams
from ptychoserve.bridges.messages import BadMessage, EncoderBlock, Form, Image, SeriesStart
from ptychoserve.bridges.run_report import ScanReport
from ptychoserve.client import Client, Session
from ptychoserve.errors import (Aborted, FailedPrecondition, NotFound, PtychoserveError,
                                Unavailable)
from ptychoserve.report import Counters
from ptychoserve.v1 import config_pb2, session_pb2
from ptychoserve.writers import PositionWriter

MOST_SESSIONS_OF_A_SERIES = 1000
RETRY_S = 1.0
LEAVE_S = 5.0


class _Opened(NamedTuple):
    """What there is once the first frame has come."""

    session: Session
    form: Form
    frames: FrameStreams
    positions: PositionWriter


class Scan:
    """Takes frames on one thread and encoder samples on another; ends on a third.

    The session is created with the first frame: only that has the shape and the type that frames
    really have. Samples that are there before wait for it.

    Args:
        start: what the detector has said, or a bare `SeriesStart` when its message did not come.
        announced: whether it came. If not, the series began before this bridge did, and its session
            is likely to exist.
        streams: of frames, to the server.
        producer: name of this bridge; see `WriterOptions.producer`.
    """

    def __init__(self, client: Client, config: config_pb2.SessionConfig, session_id: str,
                 start: SeriesStart, announced: bool, streams: int, producer: str,
                 stopped: threading.Event, log: Callable[[str], None]) -> None:
        self.series = start.series
        self.report = ScanReport(session_id, start.series)
        self.has_encoder = False     # An encoder's run is this one's.
        self.frames_ended = False
        self.encoder_ended = False
        self.last_input = time.monotonic()  # Of the future, while frames wait for the server.
        self._client = client
        self._config = config
        self._start = start
        self._announced = announced
        self._streams = streams
        self._producer = producer
        self._stopped = stopped
        self._log = log
        self._last_frame = -1
        self._lock = threading.Lock()  # Guards what is below.
        self._opened: Optional[_Opened] = None
        self._waiting: list[EncoderBlock] = []

    # --- Frames -------------------------------------------------------------------------------

    @property
    def form(self) -> Optional[Form]:
        """Of the first frame, and so of all."""
        return self._opened.form if self._opened is not None else None

    def push(self, images: Sequence[Image]) -> None:
        """Sends frames; waits while the server has no room.

        Raises: BadMessage: there is no session for them.
        """
        self.last_input = math.inf
        try:
            opened = self._opened or self._open(images[0].form)
            first_id = opened.session.config.scan.first_frame_id
            self._last_frame = max(self._last_frame, max(image.frame for image in images))
            opened.frames.push([first_id + image.frame for image in images], images)
        except PtychoserveError as error:
            self._failed(error)
            raise BadMessage("session_ended" if self._opened else "no_session",
                             f"{self.report.session}: {error}") from None
        finally:
            self.last_input = time.monotonic()

    def _open(self, form: Form) -> _Opened:
        if self.report.error:
            raise BadMessage("no_session", self.report.error)
        session = self._session_for(form)
        self.report.session = session.id
        opened = _Opened(
            session, form,
            FrameStreams(session, form, self._streams, f"{self._producer}.frames"),
            session.position_writer(producer=f"{self._producer}.positions"))
        with self._lock:
            self._opened = opened
            self._send_samples(opened.positions)
        return opened

    def _session_for(self, form: Form) -> Session:
        while True:
            try:
                session = self._attach()
                if session is None:
                    return self._create(form)
                self._compare(session, form)
                return session
            except Unavailable as error:  # The detector keeps its frames meanwhile.
                self._log(f"{self.report.session}: {error}")
                if self._stopped.wait(RETRY_S):
                    raise

    def _attach(self) -> Optional[Session]:
        """The session of this series, when it exists.

        A detector that was switched off counts from 1 again. So a series that has just begun does
        not belong to a session that has ended, or has frames: they would be mixed.
        """
        base = self.report.session
        for k in range(1, MOST_SESSIONS_OF_A_SERIES):
            self.report.session = base if k == 1 else f"{base}-{k}"
            try:
                session = self._client.session(self.report.session)
            except NotFound:
                return None
            # A session with frames is that of an earlier series, or of another detector.
            if not (self._announced and (session.ended or session.info.frames.accepted)):
                self._log(f"{session.id}: goes on, with the settings that it was created with")
                return session
        return None

    def _compare(self, session: Session, form: Form) -> None:
        """What was created with other settings keeps them. Raises FailedPrecondition when it
        cannot take these frames at all."""
        differing = differences(configured(self._config, self._start, form), session.config)
        for name, (wanted, has) in differing.items():
            if name in ("detector.frame_shape", "detector.dtype"):
                raise FailedPrecondition(
                    f"the session takes frames with {name} {has}; those of series {self.series} "
                    f"have {wanted}", hint="stop that session, or choose another --prefix")
            self._log(f"{session.id}: warning: {name} is {has} in the session, which keeps it; "
                      f"here it would be {wanted}. Stop the session if that is not meant")

    def _create(self, form: Form) -> Session:
        session = self._client.create_session(self.report.session,
                                              config=configured(self._config, self._start, form))
        self._log(f"{session.id}: series {self.series}, {form}, "
                  f"{self._start.frames or 'any number of'} frames")
        for warning in session.info.warnings:
            self._log(f"{session.id}: {warning}")
        return session

    def _failed(self, error: PtychoserveError) -> None:
        if not self.report.error:
            self.report.error = str(error)
            if isinstance(error, Aborted):
                self.report.error += ("; another bridge feeds this session: end one of them, or "
                                      "give each a --prefix of its own")
            self._log(f"{self.report.session}: {self.report.error}")

    # --- Positions ----------------------------------------------------------------------------

    def push_samples(self, block: EncoderBlock) -> None:
        """Sends encoder samples, or keeps them until there is a session."""
        self.last_input = time.monotonic()
        with self._lock:
            self._waiting.append(block)
            if self._opened is not None:
                self._send_samples(self._opened.positions)

    def _send_samples(self, positions: PositionWriter) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            for block in waiting:
                positions.push_encoder_samples(block.first_sample, x_counts=block.x_counts,
                                               y_counts=block.y_counts)
        except PtychoserveError as error:
            self._failed(error)

    # --- The end ------------------------------------------------------------------------------

    def finish(self, end_of_data: bool) -> ScanReport:
        """Declares frames that did not come and, unless positions are of no concern here, the end
        of the data; what has become of the scan."""
        if self._opened is None:
            self.report.error = self.report.error or "no frames came"
            return self.report
        try:
            self._complete(self._opened, end_of_data)
        except PtychoserveError as error:
            self._failed(error)
        self.leave()
        return self.report

    def leave(self) -> None:
        """Lets the session go on without this bridge: what was pushed is sent first."""
        if self._opened is None:
            return
        for writer in (self._opened.frames, self._opened.positions):
            try:
                writer.close(timeout_s=LEAVE_S)
            except PtychoserveError as error:
                self._failed(error)

    def _complete(self, opened: _Opened, end_of_data: bool) -> None:
        session, frames, positions = opened.session, opened.frames, opened.positions
        flush(positions, self._stopped)
        frames.flush(self._stopped)
        scan = session.config.scan
        self.report.expected = self._start.frames or scan.expected_points
        count = max(self.report.expected, self._last_frame + 1)
        ids = np.arange(count, dtype=np.int64) + scan.first_frame_id
        lost = missing_ids(session.frame_writer, ids)
        self.report.lost = ranges(lost)
        if end_of_data:
            unplaced = missing_ids(session.position_writer, ids)
            self.report.unplaced = ranges(np.setdiff1d(unplaced, lost))
        if not session.refresh().ended:
            for first, last in self.report.lost:
                frames.skip(first, last - first + 1)
            frames.close()
            positions.close()
            if end_of_data and not session.refresh().ended:
                session.finish()
        info = session.refresh().info
        self.report.frames, self.report.positions = info.frames.accepted, info.positions.accepted
        self.report.refused = _refused(info.frames) | _refused(info.positions)


def _refused(counters: session_pb2.IngestCounters) -> dict[str, int]:
    return {reason: rejection.count
            for reason, rejection in Counters.of(counters).rejected.items()}


def configured(base: config_pb2.SessionConfig, start: SeriesStart,
               form: Form) -> config_pb2.SessionConfig:
    """`base`, with what it leaves open filled in from what the detector says and sends."""
    config = config_pb2.SessionConfig()
    config.CopyFrom(base)
    optics, detector = config.optics, config.detector
    if optics.WhichOneof("source") is None and start.photon_energy_ev is not None:
        optics.photon_energy_ev = start.photon_energy_ev
    for name in ("distance_m", "detector_pixel_size_y_m", "detector_pixel_size_x_m"):
        said = getattr(start, name.replace("detector_", ""))
        if not getattr(optics, name) and said is not None:
            setattr(optics, name, said)
    if not detector.HasField("frame_shape"):
        detector.frame_shape.rows, detector.frame_shape.cols = form.rows, form.cols
    if not detector.dtype:
        detector.dtype = {1: config_pb2.DATA_TYPE_U8, 2: config_pb2.DATA_TYPE_U16,
                          4: config_pb2.DATA_TYPE_U32}[form.dtype.itemsize]
    if not detector.bad_pixels and start.mask is not None \
            and start.mask.shape == (form.rows, form.cols):
        detector.bad_pixels = (start.mask != 0).astype(np.uint8).tobytes()
    if not config.scan.expected_points and start.frames is not None:
        config.scan.expected_points = start.frames
    return config
