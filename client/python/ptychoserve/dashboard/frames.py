"""Frames of the detector of one session for all who look."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

from ptychoserve import aio
from ptychoserve.dashboard.encoding import encode_frame
from ptychoserve.dashboard.pictures import MOST_DOWNSAMPLE
from ptychoserve.dashboard.shared_calls import SharedCalls
from ptychoserve.frame import Frame

_FRAME_PX = 512  # The longer side of a frame's picture, at most.
_INTERVAL_S = 0.5
_KEPT = 8
_MOST_CALLS = 2


@dataclass(frozen=True)
class EncodedFrame:
    """A frame as it is sent.

    Attributes:
        tag: differs when frame or expectation do.
        body: header and data, as encoding.py has it. In the header, `time_s` is when the gateway
            first had a frame as the newest one, and `uncertain_s` by how much earlier it may have
            come: since the look before; null when there was none. Both are null of a frame by id.
        state: of the session when it was asked for.
        asked_s: when that was, by the monotonic clock.
    """

    tag: str
    body: bytes
    state: int
    asked_s: float


class Frames:
    """Those of one life of a session. However many look, each frame is asked for twice a second at
    most, and only when something has changed.

    Args:
        state: grows whenever the newest frame, or what is expected of one, may be another.
    """

    def __init__(self, session: aio.Session, state: Callable[[], int]) -> None:
        self._session = session
        self._state = state
        self._calls = SharedCalls(self._fetch)
        self._room = asyncio.Semaphore(_MOST_CALLS)
        self._kept: dict[Optional[int], EncodedFrame] = {}  # That used longest ago first.
        self._downsample = 0  # Not known before a frame is.
        self._newest: Optional[int] = None
        self._arrival: dict[str, Optional[float]] = {}  # Of the newest.
        self._looked_s: Optional[float] = None

    async def get(self, frame_id: Optional[int]) -> EncodedFrame:
        """A frame by its id; None: the one that has got to the device last. Raises what the server
        says of one that it does not have.
        """
        state = self._state()
        found = self._kept.get(frame_id)
        # One that is under way may have been asked for in an earlier state; the one after it not.
        for _ in range(2):
            if found is None or found.state < state:
                found = await self._calls.get(frame_id)
        assert found is not None  # The loop has fetched it.
        return found

    def close(self) -> None:
        self._calls.close()

    async def _fetch(self, frame_id: Optional[int]) -> EncodedFrame:
        before = self._kept.get(frame_id)
        if before is not None:
            await asyncio.sleep(before.asked_s + _INTERVAL_S - time.monotonic())
        async with self._room:
            state, asked_s = self._state(), time.monotonic()
            frame = await self._ask(frame_id)
        more: dict[str, Any] = {"time_s": None, "uncertain_s": None}
        if frame_id is None:
            self._notice(frame.frame_id)
            more = self._arrival
        body = await asyncio.get_running_loop().run_in_executor(
            None, encode_frame, frame, self._downsample, more)
        encoded = EncodedFrame(f"{frame.frame_id}-{frame.version}", body, state, asked_s)
        self._kept.pop(frame_id, None)
        self._kept[frame_id] = encoded
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return encoded

    async def _ask(self, frame_id: Optional[int]) -> Frame:
        frame = await self._session.frame(frame_id, expected=True,
                                          downsample=max(1, self._downsample))
        if self._downsample == 0:
            longer = max(frame.counts.shape)
            self._downsample = min(MOST_DOWNSAMPLE, max(1, -(-longer // _FRAME_PX)))
            if self._downsample > 1:
                return await self._ask(frame.frame_id)
        return frame

    def _notice(self, newest: int) -> None:
        """When the newest frame has come, as well as the gateway can tell."""
        now_s = time.time()
        if newest != self._newest:
            self._newest = newest
            uncertain_s = None if self._looked_s is None else now_s - self._looked_s
            self._arrival = {"time_s": now_s, "uncertain_s": uncertain_s}
        self._looked_s = now_s
