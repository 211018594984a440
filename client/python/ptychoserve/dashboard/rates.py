"""Frames a second, from counters that are read now and then."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 5.0


class Rate:
    """Of a counter, over the last seconds."""

    def __init__(self) -> None:
        self._readings: deque[tuple[float, int]] = deque()

    def read(self, now_s: float, count: int) -> float:
        """Takes a reading; counts a second since the oldest one of the window."""
        if self._readings and count < self._readings[-1][1]:
            self._readings.clear()  # Of another session, or after a crash.
        self._readings.append((now_s, count))
        while len(self._readings) > 2 and now_s - self._readings[1][0] >= _WINDOW_S:
            self._readings.popleft()
        first_s, first = self._readings[0]
        return (count - first) / (now_s - first_s) if now_s > first_s else 0.0
