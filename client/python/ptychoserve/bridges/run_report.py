"""What has become of a scan, in one line or one JSON object."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Callable, Optional

from ptychoserve._ranges import ranges_text
from ptychoserve.bridges.messages import BadMessage

# By the reason of a bad message: what it is, and what to do.
_KIND = "is this the address of such a source, and its format as docs/acquisition.md has it?"
MEANINGS = {
    "truncated": ("cut short", "what sends it, or the network, has lost the rest"),
    "oversized": ("too large", _KIND),
    "not_json": ("not JSON", _KIND),
    "not_cbor": ("not CBOR", _KIND),
    "unknown_type": ("of an unknown kind", _KIND),
    "wrong_type": ("with a field of another type", _KIND),
    "wrong_value": ("with a value that cannot be", _KIND),
    "missing_field": ("without a field that is needed", _KIND),
    "unknown_encoding": ("with an unknown encoding", "have the detector send lz4, bslz4 or plain"),
    "corrupt": ("damaged", "what sends it, or the network, has changed it"),
    "wrong_shape": ("with frames unlike the first of their series",
                    "leave the detector's region and pixel type as they are until a series ends"),
    "no_series": ("of samples without a series",
                  "arm the encoder once for each series, and not without the detector"),
    "after_the_end": ("after the end of their series",
                      "if the detector pauses for longer than --idle-s, raise that"),
    "session_ended": ("for a session that takes no more",
                      "frames are not taken until the next series; the line above says why"),
    "no_session": ("for a series that got no session",
                   "frames are not taken until the next series; the line above says why"),
}


@dataclass
class ScanReport:
    """One series of the detector.

    Attributes:
        session, series: its id, and the detector's number; "" and None when the encoder measured
            and the detector did not.
        frames, positions: that the session has.
        expected: frames of the series, as far as anybody has said; else 0.
        lost: runs (first, last) of frames that did not come, and were declared lost.
        unplaced: runs of frames without a position.
        bad_messages: of all sources since the last report, by reason.
        refused: frames and positions that the server has refused, by reason.
        error: why there is no session, or why it has ended early; else empty.
    """

    session: str
    series: Optional[int]
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
        parts = [f"{self.session or 'no session'}: {self.frames}{of} frames, "
                 f"{self.positions} positions"]
        for what, runs in (("lost", self.lost), ("without position", self.unplaced)):
            if runs:
                count = sum(last - first + 1 for first, last in runs)
                parts.append(f"{what}: {count} ({ranges_text(runs)})")
        bad = {MEANINGS[reason][0]: n for reason, n in self.bad_messages.items()}
        refused = {reason.replace("_", " "): n for reason, n in self.refused.items()}
        for what, counts in (("messages not used", bad), ("refused", refused)):
            if counts:
                parts.append(f"{what}: " + ", ".join(f"{n} {why}" for why, n in counts.items()))
        if self.error:
            parts.append(self.error)
        return "; ".join(parts)


class BadMessages:
    """Counts by reason, and says the first of each. Thread-safe."""

    def __init__(self, log: Callable[[str], None]) -> None:
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
            what, to_do = MEANINGS[error.reason]
            self._log(f"{source}: not used: a message {what}: {error.detail}; {to_do}")

    def take(self) -> dict[str, int]:
        """The counts since the last time."""
        with self._lock:
            counts, self._counts = dict(sorted(self._counts.items())), Counter()
        return counts
