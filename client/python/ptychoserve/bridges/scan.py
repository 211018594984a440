"""One series of the detector, and the session that it becomes."""

from __future__ import annotations

import math
import threading
import time
from typing import Callable, Iterator, NamedTuple, Optional, Sequence

import numpy as np

from ptychoserve._flush import flush
from ptychoserve._missing_ids import missing_ids
from ptychoserve._ranges import ranges
from ptychoserve.bridges.claim import claim, is_claimed_for
from ptychoserve.bridges.differences import differences
from ptychoserve.bridges.frame_streams import FrameStreams
from ptychoserve.bridges.messages import BadMessage, EncoderBlock, Form, Image, SeriesStart
from ptychoserve.bridges.run_report import ScanReport
from ptychoserve.client import Client, Session
from ptychoserve.errors import (Aborted, AlreadyExists, FailedPrecondition, NotFound,
                                PtychoserveError, Unavailable)
from ptychoserve.report import Counters
from ptychoserve.v1 import config_pb2, session_pb2
from ptychoserve.writers import PositionWriter

MOST_SESSIONS_OF_A_SERIES = 1000
RETRY_S = 1.0
# A bridge claims what it has created within milliseconds; who finds it lets it go first.
CREATOR_FIRST_S = 1.0
LOOK_S = 1.0
LEAVE_S = 5.0


_OWN_PREFIX = "give the bridge of each detector a --prefix of its own"
_OF_ANOTHER = f"it is that of another detector's bridge; {_OWN_PREFIX}"


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
        detector: tells this detector from others; see `claim`.
        idle_s: how long the first position is waited for that comes from elsewhere.
    """

    def __init__(self, client: Client, config: config_pb2.SessionConfig, session_id: str,
                 start: SeriesStart, announced: bool, streams: int, detector: str, idle_s: float,
                 stopped: threading.Event, log: Callable[[str], None]) -> None:
        self.series = start.series
        self.report = ScanReport(session_id, start.series)
        self.has_encoder = False     # An encoder's run is this one's.
        self.frames_ended = False
        self.encoder_ended = False
        self.began = time.monotonic()
        self.last_input = self.began  # Of the future, while frames wait for the server.
        self.frames = 0              # Taken so far,
        self.samples = 0             # and of the encoder.
        self._client = client
        self._config = config
        self._base_id = session_id
        self._start = start
        self._announced = announced
        self._streams = streams
        self._detector = detector
        self._idle_s = idle_s
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

    @property
    def progress(self) -> str:
        """In words."""
        of = f" of {self._start.frames}" if self._start.frames else ""
        return f"series {self.series} has {self.frames}{of} frames and {self.samples} samples"

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
            self.frames += len(images)
        except PtychoserveError as error:
            self._failed(error)
            raise BadMessage("session_ended" if self._opened else "no_session",
                             f"series {self.series}, {self.report.session}") from None
        finally:
            self.last_input = time.monotonic()

    def _open(self, form: Form) -> _Opened:
        if self.report.error:
            raise BadMessage("no_session", f"series {self.series}, {self.report.session}")
        session = self._session_for(form)
        self.report.session = session.id
        producer = f"bridge.{self._detector}"
        opened = _Opened(
            session, form, FrameStreams(session, form, self._streams, f"{producer}.frames"),
            session.position_writer(producer=f"{producer}.positions"))
        with self._lock:
            self._opened = opened
            self._send_samples(opened.positions)
        return opened

    def _session_for(self, form: Form) -> Session:
        while True:
            try:
                return self._own(form) or self._another(form)
            except Unavailable as error:  # The detector keeps its frames meanwhile.
                self._log(f"{self.report.session}: {error}")
                if self._stopped.wait(RETRY_S):
                    raise

    def _candidates(self) -> Iterator[tuple[str, Optional[Session]]]:
        """Ids that the session may have, in their order, with the sessions that there are."""
        for k in range(1, MOST_SESSIONS_OF_A_SERIES):
            session_id = self._base_id if k == 1 else f"{self._base_id}-{k}"
            try:
                yield session_id, self._client.session(session_id)
            except NotFound:
                yield session_id, None

    def _own(self, form: Form) -> Optional[Session]:
        """The session of a series that began before this bridge did: the last that a bridge of
        this detector has claimed. A series that begins now cannot have one."""
        own: Optional[Session] = None
        if not self._announced:
            for _, session in self._candidates():
                if session is None:
                    break
                if is_claimed_for(self._client, session, self._detector):
                    own = session
        if own is not None:
            self.report.session = own.id
            self._log(f"{own.id}: goes on, with the settings that it was created with")
            self._compare(own, form)
        return own

    def _another(self, form: Form) -> Session:
        """A new session, or one that was made for this series and waits for a bridge."""
        for session_id, found in self._candidates():
            self.report.session = session_id
            session = (self._created(session_id, form) if found is None
                       else self._joined(found, form))
            if session is not None:
                return session
        raise FailedPrecondition(f"all ids up to {self.report.session} are taken",
                                 hint="delete sessions, or choose another --prefix")

    def _joined(self, session: Session, form: Form) -> Optional[Session]:
        if session.ended:
            return self._passed_over(session.id, "it has ended")
        if session.info.frames.accepted:
            return self._passed_over(session.id, f"it has {session.info.frames.accepted} frames "
                                                 "of another series, or of another detector")
        self._stopped.wait(CREATOR_FIRST_S)
        if not claim(self._client, session, self._detector):
            return self._passed_over(session.id, _OF_ANOTHER)
        self._log(f"{session.id}: was there without frames, and is fed now, with the settings that "
                  "it was created with")
        self._compare(session, form)
        return session

    def _created(self, session_id: str, form: Form) -> Optional[Session]:
        try:
            session = self._client.create_session(
                session_id, config=configured(self._config, self._start, form))
        except AlreadyExists as error:
            # Of another bridge that has come first, or files that the server could not take up.
            return self._passed_over(session_id, f"{error}; {_OWN_PREFIX}")
        if not claim(self._client, session, self._detector):
            return self._passed_over(session_id, _OF_ANOTHER)
        self._log(f"{session.id}: series {self.series}, {form}, "
                  f"{self._start.frames or 'any number of'} frames")
        for warning in session.info.warnings:
            self._log(f"{session.id}: {warning}")
        return session

    def _passed_over(self, session_id: str, why: str) -> None:
        self._log(f"{session_id}: not joined: {why}. Series {self.series} becomes another session")

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

    def _failed(self, error: PtychoserveError) -> None:
        taken_over = ("another bridge of this detector feeds the session now, and this one no "
                      f"longer does: end one of them, or {_OWN_PREFIX}")
        self._fail(taken_over if isinstance(error, Aborted) else str(error))

    def _fail(self, why: str) -> None:
        if not self.report.error:
            self.report.error = why
            self._log(f"{self.report.session}: {why}")

    # --- Positions ----------------------------------------------------------------------------

    def push_samples(self, block: EncoderBlock) -> None:
        """Sends encoder samples, or keeps them until there is a session."""
        self.last_input = time.monotonic()
        with self._lock:
            self.samples += len(block.x_counts)
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
            self._fail(f"no frames came of series {self.series}, and {self.samples} samples of the "
                       "encoder: nothing is reconstructed. Was the detector triggered, and is its "
                       "stream enabled?")
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
        if not end_of_data:
            self._wait_for_position(session)
        info = session.refresh().info
        self.report.frames, self.report.positions = info.frames.accepted, info.positions.accepted
        self.report.refused = _refused(info.frames) | _refused(info.positions)
        if not self.report.frames:
            self._fail("the server has taken none of the frames: nothing is reconstructed; "
                       "what was refused says why")
        elif not self.report.positions:
            self._fail(f"{self.report.frames} frames came and no positions: nothing is "
                       f"reconstructed. {self._what_to_check(end_of_data)}")

    def _wait_for_position(self, session: Session) -> None:
        """From elsewhere, which may be a little later than the frames."""
        until = time.monotonic() + self._idle_s
        while not (session.refresh().ended or session.info.positions.accepted
                   or time.monotonic() > until or self._stopped.wait(LOOK_S)):
            pass

    def _what_to_check(self, encoder_asked_for: bool) -> str:
        if not encoder_asked_for:
            return ("Without --panda, another program has to send them to this session: was "
                    "--panda left out by mistake?")
        if not self.has_encoder:
            return ("Is the encoder armed for each series, and --panda its address? "
                    "ptychoserve-doctor with this --panda looks")
        return (f"{self.samples} samples of the encoder came, but no frame got all of its own: is "
                "samples_per_frame right, and was something refused or not used?")


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
