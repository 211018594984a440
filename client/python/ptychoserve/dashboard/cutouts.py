"""Parts of an object at a finer resolution than all of it is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from ptychoserve import aio
from ptychoserve.dashboard.encoding import Encoded, encode
from ptychoserve.dashboard.shared_calls import SharedCalls
from ptychoserve.errors import NotFound
from ptychoserve.snapshot import Snapshot

_KEPT = 8
_MOST_CALLS = 2  # At a time, so that all who enlarge at once do not crowd the server.


@dataclass(frozen=True)
class Cutout:
    """What is wanted.

    Attributes:
        version: of the snapshot; 0: the newest.
        region: (row, col, rows, cols) in pixels of the canvas.
        downsample: over how many of them along each axis the mean is taken.
    """

    version: int
    region: tuple[int, int, int, int]
    downsample: int


class Cutouts:
    """Those of one life of a session; the last few are kept for others who look at the same."""

    def __init__(self, session: aio.Session) -> None:
        self._session = session
        self._calls = SharedCalls(self._fetch)
        self._room = asyncio.Semaphore(_MOST_CALLS)
        self._kept: dict[Cutout, Encoded] = {}  # Oldest first.

    async def get(self, wanted: Cutout) -> Encoded:
        """Of the version that is wanted; or of the newest, when the server keeps that one no
        longer. Raises NotFound before the first snapshot.
        """
        found = self._kept.get(wanted) if wanted.version else None
        return found or await self._calls.get(wanted)

    def close(self) -> None:
        self._calls.close()

    async def _fetch(self, wanted: Cutout) -> Encoded:
        async with self._room:
            try:
                snapshot = await self._snapshot(wanted, wanted.version)
            except NotFound:
                snapshot = await self._snapshot(wanted, 0)
        if snapshot.version == 0:
            raise NotFound(f"{self._session.name} has no snapshot yet")
        encoded = await asyncio.get_running_loop().run_in_executor(
            None, encode, "object", snapshot, wanted.downsample)
        self._kept[wanted] = encoded
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return encoded

    async def _snapshot(self, wanted: Cutout, version: int) -> Snapshot:
        return await self._session.snapshot(["object"], version=version, region=wanted.region,
                                            uncovered="nan", downsample=wanted.downsample)
