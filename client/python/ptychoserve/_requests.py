"""Requests, and what becomes of the answers: what the clients have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Callable, Iterator, Optional, Union

from ptychoserve._enums import short_name
from ptychoserve.config import session_config, update_paths
from ptychoserve.errors import NotFound, SessionFailed, invalid
from ptychoserve.snapshot import Assembler, selection
from ptychoserve.v1 import config_pb2, frame_pb2, session_pb2, snapshot_pb2, state_pb2

FINAL = frozenset((session_pb2.SESSION_STATE_COMPLETED, session_pb2.SESSION_STATE_STOPPED,
                   session_pb2.SESSION_STATE_FAILED))
IMPORT_PART_BYTES = 1 << 20
_IMPORT_MODES = {"continue": state_pb2.ImportStart.MODE_CONTINUE,
                 "rerun": state_pb2.ImportStart.MODE_RERUN,
                 "warm_start": state_pb2.ImportStart.MODE_WARM_START}


def session_name(id_or_name: str) -> str:
    """"sessions/{id}" of either form."""
    return id_or_name if id_or_name.startswith("sessions/") else f"sessions/{id_or_name}"


@dataclass(frozen=True)
class SessionEvent:
    """What a watched session tells.

    Attributes:
        kind: "state", "progress", "warning", "quality", or "deleted".
        time: in UTC.
        session: `v1.Session` without its configuration.
        warning: the new one, when that is the kind.
    """

    kind: str
    time: datetime
    session: session_pb2.Session
    warning: str

    @classmethod
    def of(cls, message: session_pb2.SessionEvent) -> "SessionEvent":
        return cls(short_name(session_pb2.SessionEvent.Kind, message.kind),
                   message.time.ToDatetime(tzinfo=timezone.utc), message.session, message.warning)

    @property
    def state(self) -> str:
        """Of the session, "reconstructing"."""
        return short_name(session_pb2.SessionState, self.session.state)


def create(session_id: str, config: Optional[config_pb2.SessionConfig], validate_only: bool,
           settings: dict[str, Any]) -> session_pb2.CreateSessionRequest:
    return session_pb2.CreateSessionRequest(
        session_id=session_id, config=session_config(config, **settings),
        validate_only=validate_only)


def update(name: str, settings: dict[str, Any]) -> session_pb2.UpdateSessionRequest:
    request = session_pb2.UpdateSessionRequest(
        session=session_pb2.Session(name=name, config=session_config(**settings)))
    request.update_mask.paths.extend(update_paths(settings))
    return request


def stop(name: str, abort: bool) -> session_pb2.StopSessionRequest:
    modes = session_pb2.StopSessionRequest
    return session_pb2.StopSessionRequest(
        name=name, mode=modes.MODE_ABORT if abort else modes.MODE_AFTER_ITERATION)


def test_orientation(name: str) -> session_pb2.TestOrientationRequest:
    return session_pb2.TestOrientationRequest(name=name)


def get_snapshot(name: str, arrays: Any, version: int, not_newer_than: int, wait_s: float,
                 options: dict[str, Any]) -> snapshot_pb2.GetSnapshotRequest:
    return snapshot_pb2.GetSnapshotRequest(
        name=name, selection=selection(arrays, **options), version=version,
        not_newer_than=not_newer_than, wait_ms=_milliseconds("wait_s", wait_s))


def get_frame(name: str, frame_id: Optional[int], expected: bool,
              downsample: int) -> frame_pb2.GetFrameRequest:
    return frame_pb2.GetFrameRequest(name=name, frame_id=frame_id, expected=expected,
                                     downsample=downsample)


def watch_session(name: str, min_interval_s: float) -> session_pb2.WatchSessionRequest:
    return session_pb2.WatchSessionRequest(
        name=name, min_interval_ms=_milliseconds("min_interval_s", min_interval_s))


def watch_snapshots(name: str, arrays: Any, min_interval_s: float,
                    options: dict[str, Any]) -> snapshot_pb2.WatchSnapshotsRequest:
    return snapshot_pb2.WatchSnapshotsRequest(
        name=name, selection=selection(arrays, **options),
        min_interval_ms=_milliseconds("min_interval_s", min_interval_s))


def _milliseconds(field: str, seconds: float) -> int:
    if not 0 <= seconds <= 60:
        raise invalid(field, seconds, "0..60")
    return round(seconds * 1e3)


def import_parts(path: Union[str, os.PathLike], mode: str, session_id: str,
                 config: Optional[config_pb2.SessionConfig],
                 settings: dict[str, Any]) -> Iterator[state_pb2.ImportStateRequest]:
    """The messages of an import; the file is read as they are taken."""
    if mode not in _IMPORT_MODES:
        raise invalid("mode", repr(mode), ", ".join(_IMPORT_MODES))
    start = state_pb2.ImportStart(session_id=session_id, mode=_IMPORT_MODES[mode])
    if config is not None or settings:
        start.config.CopyFrom(session_config(config, **settings))

    def parts() -> Iterator[state_pb2.ImportStateRequest]:
        yield state_pb2.ImportStateRequest(start=start)
        with open(path, "rb") as file:
            while data := file.read(IMPORT_PART_BYTES):
                yield state_pb2.ImportStateRequest(data=data)

    return parts()


def take_events() -> Callable[[session_pb2.SessionEvent], SessionEvent]:
    return SessionEvent.of


def take_snapshots() -> Callable[[snapshot_pb2.SnapshotChunk], Any]:
    return Assembler().add


def check_ended(session: session_pb2.Session) -> session_pb2.Session:
    """Raises SessionFailed for a session that has."""
    if session.state == session_pb2.SESSION_STATE_FAILED:
        raise SessionFailed(f"{session.name} has failed: {session.failure}",
                            resource=session.name)
    return session


def gone(name: str) -> NotFound:
    return NotFound(f"'{name}' was deleted", reason="SESSION_DELETED", resource=name)
