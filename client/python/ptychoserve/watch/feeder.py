"""One growing scan, and the session that it becomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Optional

import numpy as np

from ptychoserve._flush import flush
from ptychoserve._missing_ids import missing_ids
from ptychoserve._ranges import ranges, ranges_text
from ptychoserve.client import Client, Session
from ptychoserve.errors import (FailedPrecondition, InvalidArgument, NotFound, PtychoserveError,
                                ResourceExhausted, Unavailable)
from ptychoserve.scans.scan import Scan
from ptychoserve.v1 import config_pb2, session_pb2
from ptychoserve.watch.source import Replaced, Source
from ptychoserve.writers import FrameWriter, PositionWriter

PRODUCER = "watch"
RETRY_S = 1.0
# Between the id of a session and a number, where a file of the same name is another scan. No name
# of a file becomes an id with two hyphens.
AGAIN = "--"
LEAVE_S = 5.0
# Of frames that are read and pushed together: no more than the writer takes as a whole, or not.
_CHUNK_BYTES = 1 << 20
_MOST_SESSIONS = 1000  # Of one name.


@dataclass
class WatchReport:
    """What has become of a scan.

    Attributes:
        session, source: its id, and the name of the file or folder.
        frames, positions: that the session has.
        in_source: frames that the source had in the end.
        lost: runs (first, last) of ids of frames that the server does not have.
        unplaced: of frames without a position.
        unreadable: files that could not be read, and why.
        refused: frames and positions that the server has refused, by reason.
        ended_by: the rule that has ended it.
        error: what went wrong; else empty.
    """

    session: str
    source: str
    frames: int = 0
    positions: int = 0
    in_source: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    unplaced: list[tuple[int, int]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    ended_by: str = ""
    error: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def line(self) -> str:
        parts = [f"{self.session}: {self.frames} of {self.in_source} frames, {self.positions} "
                 "positions"]
        for what, runs in (("lost", self.lost), ("without position", self.unplaced)):
            if runs:
                parts.append(f"{what}: {ranges_text(runs)}")
        if self.unreadable:
            parts.append(f"unreadable: {', '.join(self.unreadable)}")
        if self.refused:
            parts.append("refused: " + ", ".join(f"{n} {why}" for why, n in self.refused.items()))
        return "; ".join([*parts, *(word for word in (self.error, self.ended_by) if word)])


class Feeder:
    """Sends what a source has, until it ends. Runs on a thread of its own.

    Args:
        source: of the scan.
        session_id: of its session; with --2 and so on behind when that belongs to another scan.
        given: the user's settings.
        fresh: the source has begun before our eyes: a session of that name that has ended belongs
            to another scan.
        idle_s: a source that does not grow for so long has ended.
        poll_s: time between two looks.
        stopped: ends it soon; the session stays as it is.
        log: called with what a user should know.
    """

    def __init__(self, client: Client, source: Source, session_id: str,
                 given: config_pb2.SessionConfig, *, fresh: bool, idle_s: float, poll_s: float,
                 stopped: threading.Event, log: Callable[[str], None]) -> None:
        self.report = WatchReport(session_id, source.name)
        self.replaced = False
        self._client = client
        self._source = source
        self._given = given
        self._fresh = fresh
        self._idle_s = idle_s
        self._poll_s = poll_s
        self._stopped = stopped
        self._log = log
        self._session: Optional[Session] = None
        self._frames: FrameWriter
        self._positions: PositionWriter
        self._over_before = False               # The session had ended before our time.
        self._sent = 0                          # Frames of the source, in their order.
        self._placed = np.empty(0, np.int64)    # Ids of positions that were sent, ascending.
        self._ids = np.empty(0, np.int64)       # Of all frames that the source has.
        self._ask_at = 0.0                      # When the server is asked for the session's state.
        self._told: set[str] = set()            # Files whose trouble was logged.

    def run(self) -> Optional[WatchReport]:
        """What has become of the scan; None when it was stopped, or had ended before."""
        try:
            return self._run()
        except PtychoserveError as error:
            self.report.error = str(error)
            self._log(f"{self.report.session}: {error}")
            return self.report
        finally:
            self._leave()

    def _run(self) -> Optional[WatchReport]:
        last_news, why_not = time.monotonic(), ""
        while not self._stopped.is_set():
            marker = self._source.end_marker(self._log)  # Before the look, which then finds all.
            try:
                news = self._look()
                why_not = ""
            except Replaced as error:
                self.replaced = True
                return self._end(str(error), error=self._session is not None)
            except (InvalidArgument, OSError) as error:
                if isinstance(error, PtychoserveError) and not isinstance(error, InvalidArgument):
                    raise
                if str(error) != why_not:
                    why_not = str(error)
                    self._log(f"{self.report.source}: not readable, yet: {why_not}")
                news = False
            if self._over_before:
                return None
            if self._session is not None and self._has_ended(self._session):
                return self._end("the session has ended by itself")
            if news:
                last_news = time.monotonic()
            if marker and not why_not:
                return self._end(f"{marker} is there")
            if self._all_expected():
                return self._end(f"all {self._expected} expected points are there")
            if time.monotonic() - last_news >= self._idle_s:
                if why_not:
                    self.report.error = why_not
                return self._end(f"nothing new for {self._idle_s:g} s")
            self._stopped.wait(self._poll_s)
        return None

    # --- What is there --------------------------------------------------------------------------

    def _look(self) -> bool:
        """Sends what is new; whether anything was."""
        with self._source.look() as scan:
            for name, why in self._source.unreadable.items():
                if name not in self._told:
                    self._told.add(name)
                    self._log(f"{self.report.source}: not readable, yet: {name}: {why}")
            if not len(scan):
                return False
            if self._session is None:
                session = self._session_for(scan)
                if session is None or _over(session):
                    self._over_before = session is not None
                    return False
                self._session = session
                self._frames = self._session.frame_writer(producer=PRODUCER)
                self._positions = self._session.position_writer(producer=PRODUCER)
            self._ids = scan.frame_ids
            try:
                return bool(self._send_positions(scan)) | bool(self._send_frames(scan))
            except FailedPrecondition:
                if not self._session.refresh().ended:
                    raise
                return False

    def _send_positions(self, scan: Scan) -> int:
        new = ~np.isin(scan.position_ids, self._placed)
        ids = scan.position_ids[new]
        if len(ids):
            self._push(lambda: self._positions.push(ids, x_m=scan.x_m[new], y_m=scan.y_m[new],
                                                    timeout_s=RETRY_S))
            self._placed = np.union1d(self._placed, ids)
        return len(ids)

    def _send_frames(self, scan: Scan) -> int:
        first = self._sent
        chunk = max(1, _CHUNK_BYTES // (scan.dtype.itemsize * scan.shape[0] * scan.shape[1]))
        while self._sent < len(scan) and not self._stopped.is_set():
            end = min(self._sent + chunk, len(scan))
            frames, ids = scan.read(self._sent, end), scan.frame_ids[self._sent:end]
            self._push(lambda: self._frames.push(ids, frames, timeout_s=RETRY_S))
            self._sent = end
        return self._sent - first

    def _push(self, push: Callable[[], None]) -> None:
        """Until there is room; the server may be away. What was taken is taken once."""
        while not self._stopped.is_set():
            try:
                return push()
            except ResourceExhausted:
                continue

    # --- The session ----------------------------------------------------------------------------

    def _session_for(self, scan: Scan) -> Optional[Session]:
        config, why_not = scan.config(self._given), ""
        while not self._stopped.is_set():
            try:
                return self._attached() or self._created(config, scan)
            except InvalidArgument as error:  # Of the server, which will not change its mind.
                raise PtychoserveError(error.message, hint=error.hint) from None
            except (Unavailable, ResourceExhausted) as error:  # The file waits.
                if str(error) != why_not:
                    why_not = str(error)
                    self._log(f"{self.report.session}: waits: {why_not}")
                self._stopped.wait(RETRY_S)
        return None

    def _attached(self) -> Optional[Session]:
        """The latest session of this name. One that has ended is of an earlier scan when the source
        is fresh."""
        base, found = self.report.session, None
        for number in range(1, _MOST_SESSIONS):
            name = base if number == 1 else f"{base}{AGAIN}{number}"
            try:
                session = self._client.session(name)
            except NotFound:
                self.report.session = name
                break
            found = session
        if found is None or (self._fresh and _over(found)):
            return None
        self.report.session = found.id
        self._log(f"{found.id}: {'has ended before' if _over(found) else 'goes on'}")
        return found

    def _created(self, config: config_pb2.SessionConfig, scan: Scan) -> Session:
        session = self._client.create_session(self.report.session, config=config)
        self._log(f"{session.id}: {self.report.source}, frames of {scan.shape[0]} x "
                  f"{scan.shape[1]} {scan.dtype.name}")
        for note in scan.notes:
            self._log(f"{session.id}: note: {note}")
        for warning in session.info.warnings:
            self._log(f"{session.id}: warning: {warning}")
        return session

    def _has_ended(self, session: Session) -> bool:
        """Whether it has; the server is asked now and then. One that is away is waited for."""
        if time.monotonic() >= self._ask_at:
            try:
                session.refresh()
            except Unavailable as error:
                self._log(f"{session.id}: {error}")
            self._ask_at = time.monotonic() + RETRY_S
        return session.ended

    @property
    def _expected(self) -> int:
        return self._session.config.scan.expected_points if self._session is not None else 0

    def _all_expected(self) -> bool:
        return bool(self._expected) and np.count_nonzero(
            np.isin(self._ids[:self._sent], self._placed)) >= self._expected

    # --- The end --------------------------------------------------------------------------------

    def _end(self, rule: str, error: bool = False) -> WatchReport:
        """Declares the end of the data, and says what the server has."""
        self.report.ended_by = f"ended: {rule}"
        self.report.unreadable = dict(self._source.unreadable)
        if error:
            self.report.error = rule
        session = self._session
        self._log(f"{self.report.session}: ended: {rule}")
        if session is None:
            self.report.error = self.report.error or "no frames came"
            return self.report
        for writer in (self._positions, self._frames):
            flush(writer, self._stopped)
        ids = np.sort(self._ids)
        lost = missing_ids(session.frame_writer, ids)
        unplaced = np.setdiff1d(missing_ids(session.position_writer, ids), lost)
        if not session.refresh().ended:
            for first, last in ranges(lost):
                self._frames.skip(first, last - first + 1)
            self._frames.close()
            self._positions.close()
            if not session.refresh().ended:
                session.finish()
        info = session.refresh().info
        self.report.lost, self.report.unplaced = ranges(lost), ranges(unplaced)
        self.report.frames, self.report.positions = info.frames.accepted, info.positions.accepted
        self.report.in_source = len(ids)
        self.report.refused = {
            f"{kind} {reason}": rejection.count
            for kind, writer in (("frames", self._frames), ("positions", self._positions))
            for reason, rejection in writer.report.counters.rejected.items()}
        return self.report

    def _leave(self) -> None:
        """What was pushed is sent, and the session goes on without this watcher."""
        if self._session is None or self._session.ended:
            return
        for writer in (self._frames, self._positions):
            try:
                writer.close(timeout_s=LEAVE_S)
            except PtychoserveError as error:
                if not self.report.ended_by:
                    self._log(f"{self.report.session}: {error}")


def _over(session: Session) -> bool:
    """Whether a session takes no more input."""
    return session.ended or session.info.end_of_data != session_pb2.END_OF_DATA_UNSPECIFIED
