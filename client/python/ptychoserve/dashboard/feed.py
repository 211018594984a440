"""One session as all pages see it: one watch of the server, however many look."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Optional

from google.protobuf import json_format

from ptychoserve import aio, errors
from ptychoserve._plain import plain
from ptychoserve.dashboard.cutouts import Cutout, Cutouts
from ptychoserve.dashboard.encoding import Encoded
from ptychoserve.dashboard.frames import EncodedFrame, Frames
from ptychoserve.dashboard.pictures import Pictures
from ptychoserve.dashboard.viewers import Message, Viewer, message
from ptychoserve.errors import NotFound
from ptychoserve.v1 import session_pb2

_EVENT_INTERVAL_S = 0.1
_ASK_AGAIN_S = 1.0
_IDLE_S = 30.0


class Feed:
    """Follows a session for the pages that show it, and keeps its pictures.

    `epoch` names one life of the session: version numbers are unique within it. A session that was
    deleted and made again, or taken up by a server that had crashed, begins another one.
    """

    def __init__(self, client: aio.Client, session_id: str, picture_px: int,
                 past_bytes: int) -> None:
        self._client = client
        self._id = session_id
        self._picture_px = picture_px
        self._past_bytes = past_bytes
        self._viewers: set[Viewer] = set()
        self._used_s = time.monotonic()
        self._config: Any = None
        self._info: Optional[session_pb2.Session] = None
        self._pictures: Optional[Pictures] = None
        self._cutouts: Optional[Cutouts] = None
        self._frames: Optional[Frames] = None
        self._frame_state = 0  # How often what decides on frames has changed.
        self._frame_figures: Any = None
        self.epoch = ""
        self._first = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def idle(self) -> bool:
        """Nobody has looked for a while."""
        return not self._viewers and time.monotonic() - self._used_s > _IDLE_S

    def add(self, viewer: Viewer) -> None:
        """Tells a page how things are, and what changes."""
        self._viewers.add(viewer)
        if self._first.is_set():
            viewer.put(self._message())

    def remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._used_s = time.monotonic()

    async def picture(self, name: str, version: int = 0) -> Encoded:
        """An array, as `Pictures.get`. Raises NotFound: no such session, or no snapshot yet."""
        info = await self._existing()
        assert self._pictures is not None  # As of all sessions that have been there.
        return await self._pictures.get(name, info.snapshot_version, version)

    async def cutout(self, wanted: Cutout) -> Encoded:
        """A part of the object, as `Cutouts.get`."""
        await self._existing()
        assert self._cutouts is not None
        return await self._cutouts.get(wanted)

    async def frame(self, frame_id: Optional[int]) -> EncodedFrame:
        """A frame of the detector, as `Frames.get`."""
        await self._existing()
        assert self._frames is not None
        return await self._frames.get(frame_id)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        self._end()

    async def _existing(self) -> session_pb2.Session:
        """The session as it is, once that is known. Raises NotFound."""
        self._used_s = time.monotonic()
        await self._first.wait()
        if self._info is None:
            raise NotFound(f"there is no session '{self._id}'")
        return self._info

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except NotFound:
                self._gone()
            except errors.PtychoserveError:
                pass  # The server is away; the heartbeat of the hub says so.
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _follow(self) -> None:
        """Until the session has ended."""
        session = await self._client.session(self._id)
        self._take(session.info, session)
        if session.ended:
            return
        async for event in session.watch(min_interval_s=_EVENT_INTERVAL_S):
            if event.kind == "deleted":
                return
            if _epoch(event.session) != self.epoch:
                return  # Taken up by another server; asked for anew, with its configuration.
            self._take(event.session)

    def _take(self, info: session_pb2.Session, session: Optional[aio.Session] = None) -> None:
        if session is not None:
            self._config = json_format.MessageToDict(info.config,
                                                     preserving_proto_field_name=True)
            if _epoch(info) != self.epoch:
                self._begin(session)
        # Here the configuration would be one with nothing in it, or said twice.
        self._info = session_pb2.Session()
        self._info.CopyFrom(info)
        self._info.ClearField("config")
        figures = (info.state, info.frames.accepted, info.staged_frames, info.snapshot_version)
        if figures != self._frame_figures:
            self._frame_figures = figures
            self._frame_state += 1
        self._tell()

    def _begin(self, session: aio.Session) -> None:
        self._end()
        self.epoch = _epoch(session.info)
        self._pictures = Pictures(session, self._picture_px, self._past_bytes)
        self._cutouts = Cutouts(session)
        self._frames = Frames(session, lambda: self._frame_state)

    def _end(self) -> None:
        for held in (self._pictures, self._cutouts, self._frames):
            if held is not None:
                held.close()

    def _gone(self) -> None:
        self._info = None
        self._tell()

    def _tell(self) -> None:
        self._first.set()
        now = self._message()
        for viewer in self._viewers:
            viewer.put(now)

    def _message(self) -> Message:
        session, kept = None, []
        if self._info is not None and self._pictures is not None:
            session = {**plain(self._info), "config": self._config}
            kept = self._pictures.past.versions
        return message("session", id=self._id, epoch=self.epoch, session=session,
                       kept_versions=kept, picture_px=self._picture_px)


def _epoch(info: session_pb2.Session) -> str:
    return f"{info.create_time.ToNanoseconds()}-{info.restarts}"
