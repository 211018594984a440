"""What a session has, as the first acknowledgement of a stream tells it."""

from __future__ import annotations

from typing import Optional

import numpy as np

from ptychoserve.v1 import session_pb2
from ptychoserve.v1.ingest_pb2 import IngestAck


class KnownIds:
    """The ids up to `known_up_to` that are not `missing`; nothing without an acknowledgement."""

    def __init__(self, first_ack: Optional[IngestAck] = None) -> None:
        self._up_to = np.iinfo(np.int64).min
        self._first = self._last = np.empty(0, np.int64)
        # A server that is too old to tell leaves known_up_to at 0, which is no id then.
        if first_ack is None or first_ack.durability == session_pb2.DURABILITY_UNSPECIFIED:
            return
        self._up_to = first_ack.known_up_to
        merged: list[list[int]] = []
        for first, last in sorted((r.first, r.last) for r in first_ack.missing):
            if first > last:
                continue
            if merged and first <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], last)
            else:
                merged.append([first, last])
        if merged:
            self._first, self._last = np.array(merged, np.int64).T

    def mask(self, ids: np.ndarray) -> np.ndarray:
        """Which of the ids the session has; bool, of the same shape."""
        return self.contains(ids, ids)

    def contains(self, first: np.ndarray, last: np.ndarray) -> np.ndarray:
        """Whether the session has each of the ids first..last; one bool for each pair."""
        # Ranges before this one end before `first`; if it begins after `last`, so do the rest.
        k = np.searchsorted(self._last, first)
        begins = np.append(self._first, np.iinfo(np.int64).max)[k]
        return (last <= self._up_to) & ((k == len(self._first)) | (begins > last))
