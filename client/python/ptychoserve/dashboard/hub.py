"""The server as all pages see it: its sessions, its devices, and whether it answers."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Callable, Optional

from ptychoserve import aio
from ptychoserve._plain import plain
from ptychoserve.dashboard.feed import Feed
from ptychoserve.dashboard.rates import Rate
from ptychoserve.dashboard.viewers import Message, Viewer, message
from ptychoserve.errors import PermissionDenied, PtychoserveError, Unauthenticated
from ptychoserve.v1 import service_pb2, session_pb2

Connect = Callable[..., aio.Client]
_HEARTBEAT_S = 0.5
_REFUSED_S = 2.0  # A server that does not know the dashboard is asked less often.
_PATIENCE_S = 1.5
_DEFAULT_TENANT = "default"
_ACTIONS = {"finish": service_pb2.ROLE_PRODUCER, "stop": service_pb2.ROLE_OPERATOR,
            "delete": service_pb2.ROLE_OPERATOR}


class Hub:
    """Asks the server twice a second while somebody looks, and hands sessions to `Feed`s."""

    def __init__(self, connect: Connect, allow_control: bool, picture_px: int,
                 past_bytes: int) -> None:
        self.client = connect()
        # Says soon that there is no answer.
        self._pulse = connect(call_timeout_s=_PATIENCE_S)
        self._allow_control = allow_control
        self._picture_px = picture_px
        self._past_bytes = past_bytes
        self._viewers: set[Viewer] = set()
        self._feeds: dict[str, Feed] = {}
        self._rates: dict[str, Rate] = {}
        self._server: Optional[Message] = None
        self._sessions: Optional[Message] = None
        self._somebody = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    def add(self, viewer: Viewer) -> None:
        self._viewers.add(viewer)
        self._somebody.set()
        for known in (self._server, self._sessions):
            if known is not None:
                viewer.put(known)
        if viewer.session_id is not None:
            self.feed(viewer.session_id).add(viewer)

    def remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if viewer.session_id in self._feeds:
            self._feeds[viewer.session_id].remove(viewer)

    def feed(self, session_id: str) -> Feed:
        """That of a session, which need not exist."""
        self._somebody.set()
        if session_id not in self._feeds:
            self._feeds[session_id] = Feed(self.client, session_id, self._picture_px,
                                           self._past_bytes)
        return self._feeds[session_id]

    async def existing_feed(self, session_id: str) -> Feed:
        """That of a session that exists. Raises NotFound."""
        if session_id not in self._feeds:
            await self.client.session(session_id)
        return self.feed(session_id)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        await asyncio.gather(*(feed.close() for feed in self._feeds.values()))
        await asyncio.gather(self._pulse.close(), self.client.close())

    async def _run(self) -> None:
        while True:
            await self._somebody.wait()
            pause_s = await self._ask()
            for session_id in [s for s, feed in self._feeds.items() if feed.idle]:
                await self._feeds.pop(session_id).close()
            if not self._viewers and not self._feeds:
                self._somebody.clear()
                self._server = self._sessions = None  # Old by the time that somebody looks again.
            await asyncio.sleep(pause_s)

    async def _ask(self) -> float:
        """Seconds until it is time to ask again."""
        try:
            info = await self._pulse.info()
            sessions = self._own(await self._pulse.sessions(), info)
        except PtychoserveError as error:
            refused = isinstance(error, (Unauthenticated, PermissionDenied))
            does = "refuses this dashboard" if refused else "does not answer"
            self._server = self._server_message(error=f"The server {does}: {error}")
            self._tell(self._server)
            return _REFUSED_S if refused else _HEARTBEAT_S
        self._server = self._server_message(info)
        now_s = time.monotonic()
        rates = {s.id: self._rates.get(s.id, Rate()) for s in sessions}
        self._rates = rates  # Forgets those of sessions that are gone.
        self._sessions = message("sessions", sessions=[
            _summary(s.info, rates[s.id].read(now_s, s.info.frames.accepted)) for s in sessions])
        self._tell(self._server)
        self._tell(self._sessions)
        return _HEARTBEAT_S

    def _own(self, sessions: list[aio.Session], info: service_pb2.ServerInfo) -> list[aio.Session]:
        """Those that can be looked at: an administrator of all tenants is told all there are."""
        if not info.caller.all_tenants:
            return sessions
        tenant = self.client.credentials.tenant or _DEFAULT_TENANT
        return [session for session in sessions if session.info.tenant == tenant]

    def _server_message(self, info: Optional[service_pb2.ServerInfo] = None,
                        error: str = "") -> Message:
        return message("server", connected=not error, address=self.client.address,
                       now_s=time.time(), error=error,
                       info=None if info is None else plain(info),
                       actions=[] if info is None else self._actions(info))

    def _actions(self, info: service_pb2.ServerInfo) -> list[str]:
        """What of a session may be done from a page: what this dashboard was told to offer, and the
        server lets it do."""
        if not self._allow_control:
            return []
        # A server without access control lets everybody do everything.
        role = info.caller.role or service_pb2.ROLE_ADMIN
        return [action for action, least in _ACTIONS.items() if role >= least]

    def _tell(self, new: Message) -> None:
        for viewer in self._viewers:
            viewer.put(new)


def _summary(info: session_pb2.Session, frames_per_second: float) -> dict[str, Any]:
    """What a list shows of a session, under the names of its proto."""
    return {
        "id": info.name.partition("/")[2],
        "state": session_pb2.SessionState.Name(info.state),
        "create_time": info.create_time.ToJsonString(),
        "accepted_frames": info.frames.accepted,
        "expected_points": info.config.scan.expected_points,
        "active_points": info.active_points,
        "iteration": info.iteration,
        "frames_per_second": frames_per_second,
        "iterations_per_second": info.iterations_per_second,
        "r_factor": plain(info.metrics)["r_factor"] if info.HasField("metrics") else None,
        "device": info.device,
        "device_bytes": info.device_bytes,
        "warnings": len(info.warnings),
        "partial": info.partial,
        "failure": info.failure,
    }
