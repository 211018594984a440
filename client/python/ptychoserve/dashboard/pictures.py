"""Arrays of one session for all who look: each version is fetched once, and earlier ones kept."""

from __future__ import annotations

import asyncio
from typing import Optional

from ptychoserve import aio
from ptychoserve.dashboard.encoding import Encoded, encode, mean_of_blocks
from ptychoserve.dashboard.shared_calls import SharedCalls
from ptychoserve.errors import NotFound
from ptychoserve.snapshot import Snapshot

NAMES = ("object", "probe", "coverage", "points", "history")
_PROBE_PX = 256      # The longer side of a probe's picture, at most.
MOST_DOWNSAMPLE = 64  # Of the server.


class Past:
    """Pictures of earlier versions. When they take more than so many bytes, every other one goes,
    and from then on every other one is kept: what is there is spread evenly over the run. The
    newest is always there.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._step = 1  # Of what was added, one in so many stays.
        self._added = 0
        self._kept: list[tuple[int, Encoded]] = []  # How many had been added before it, and it.

    @property
    def versions(self) -> list[int]:
        """Oldest first."""
        return [picture.version for _, picture in self._kept]

    def get(self, version: int) -> Optional[Encoded]:
        return next((p for _, p in self._kept if p.version == version), None)

    def add(self, picture: Encoded) -> None:
        self._thin()
        self._kept.append((self._added, picture))
        self._added += 1
        while len(self._kept) > 2 and self._bytes() > self._limit_bytes:
            newest = self._kept.pop()
            self._step *= 2
            self._thin()
            self._kept.append(newest)

    def _thin(self) -> None:
        self._kept = [kept for kept in self._kept if kept[0] % self._step == 0]

    def _bytes(self) -> int:
        return sum(len(picture.body) for _, picture in self._kept)


class Pictures:
    """What of one life of a session is shown."""

    def __init__(self, session: aio.Session, picture_px: int, past_bytes: int) -> None:
        self._session = session
        self._picture_px = picture_px
        self._newest: dict[str, Encoded] = {}
        self._calls = SharedCalls(self._fetch)
        self._downsample = 0  # Not known before the size of the object is.
        self.past = Past(past_bytes)

    async def get(self, name: str, known_version: int, version: int = 0) -> Encoded:
        """An array of `NAMES`.

        Args:
            known_version: that the session is known to have; what is at hand and as new is not
                fetched again.
            version: an earlier one, of an object in `past`; 0: the newest.

        Raises: NotFound when there is no such version.
        """
        if version:
            kept = self.past.get(version) if name == "object" else None
            if kept is None:
                raise NotFound(f"the dashboard does not have version {version} of the {name}")
            return kept
        found = self._newest.get(name)
        # A fetch that is under way may have begun before the known version was there; the one after
        # it has not.
        for _ in range(2):
            if found is None or found.version < known_version:
                found = await self._calls.get(name)
        assert found is not None  # The loop has fetched it.
        return found

    def close(self) -> None:
        self._calls.close()

    async def _fetch(self, name: str) -> Encoded:
        if name in ("object", "coverage") and not self._downsample:
            # The smallest array from whose header the size of the object can be told.
            self._measure(await self._snapshot("coverage", MOST_DOWNSAMPLE))
        downsample = self._downsample if name in ("object", "coverage") else 1
        snapshot = await self._snapshot(name, downsample)
        if name == "object":
            self._measure(snapshot)
        encoded = await asyncio.get_running_loop().run_in_executor(
            None, _encode, name, snapshot, downsample)
        self._newest[name] = encoded
        if name == "object":
            self.past.add(encoded)
        return encoded

    async def _snapshot(self, name: str, downsample: int) -> Snapshot:
        snapshot = await self._session.snapshot([name], uncovered="nan", downsample=downsample)
        if snapshot.version == 0:
            raise NotFound(f"{self._session.name} has no snapshot yet")
        return snapshot

    def _measure(self, snapshot: Snapshot) -> None:
        """The canvas may have grown."""
        area = snapshot.header.area
        longer = max(area.shape.rows, area.shape.cols)
        self._downsample = min(MOST_DOWNSAMPLE, max(1, -(-longer // self._picture_px)))


def _encode(name: str, snapshot: Snapshot, downsample: int) -> Encoded:
    if name == "probe":
        assert snapshot.probe is not None  # It was asked for.
        downsample = max(1, -(-max(snapshot.probe.shape[1:]) // _PROBE_PX))
        snapshot.probe = mean_of_blocks(snapshot.probe, downsample)
    return encode(name, snapshot, downsample)
