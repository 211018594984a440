"""What has become of a scan, in one line or one JSON object."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field

from ptychoserve._ranges import ranges_text
from ptychoserve.bridges.messages import BadMessage


@dataclass
class ScanReport:
    """One series of the detector.

    Attributes:
        session, series: its id, and the detector's number.
        frames, positions: that the session has.
        expected: frames of the series, as far as anybody has said; else 0.
        lost: runs (first, last) of frames that did not come, and were declared lost.
        unplaced: runs of frames without a position.
        bad_messages: of all sources since the last report, by reason.
        refused: frames and positions that the server has refused, by reason.
        error: why there is no session, or why it has ended early; else empty.
    """

    session: str
    series: int
    frames: int = 0
    positions: int = 0
    expected: int = 0
    lost: list[tuple[int, int]] = field(default_factory=list)
    unplaced: list[tuple[int, int]] = field(default_factory=list)
    bad_messages: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    error: str = ""

    def as_dict(self) -> dict:
        return asdict(self)

    def line(self) -> str:
        of = f" of {self.expected}" if self.expected else ""
        parts = [f"{self.session}: {self.frames}{of} frames, {self.positions} positions"]
        for what, runs in (("lost", self.lost), ("without position", self.unplaced)):
            if runs:
                count = sum(last - first + 1 for first, last in runs)
                parts.append(f"{what}: {count} ({ranges_text(runs)})")
        for what, counts in (("bad messages", self.bad_messages), ("refused", self.refused)):
            if counts:
                parts.append(f"{what}: " + ", ".join(f"{n} {why}" for why, n in counts.items()))
        if self.error:
            parts.append(self.error)
        return "; ".join(parts)


class BadMessages:
    """Counts by reason, and says the first of each. Thread-safe."""

    def __init__(self, log) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._told: set[tuple[str, str]] = set()

    def add(self, source: str, error: BadMessage, count: int = 1) -> None:
        with self._lock:
            self._counts[error.reason] += count
            first = (source, error.reason) not in self._told
            self._told.add((source, error.reason))
        if first:
            self._log(f"{source}: bad message: {error}")

    def take(self) -> dict[str, int]:
        """The counts since the last time."""
        with self._lock:
            counts, self._counts = dict(sorted(self._counts.items())), Counter()
        return counts
