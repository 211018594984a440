"""Sends a recorded scan: frames in the order of the file, each with its position before it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Optional

import numpy as np

from ptychoserve.scans.scan import Scan
from ptychoserve.writers import FrameWriter, PositionWriter

# Of frames that are read at once, unless the user says how many.
CHUNK_BYTES = 4 << 20


def play(scan: Scan, frames: FrameWriter, positions: PositionWriter, *, rate_hz: float = 0.0,
         chunk_size: int = 0, workers: int = 1) -> None:
    """Sends all frames of a scan, and the positions that have a frame.

    Args:
        frames, positions: writers of the same session. Those with a `producer` leave out what the
            session has.
        rate_hz: frames a second; 0: as fast as they are taken.
        chunk_size: frames that are read at once; 0: about 4 MiB of them.
        workers: threads that read. So many chunks and one more are in memory; their order stays.

    Raises: PtychoserveError: of the scan, or of the writers.
    """
    chunk = chunk_size or max(1, CHUNK_BYTES // (scan.dtype.itemsize * scan.shape[0]
                                                 * scan.shape[1]))
    order = np.argsort(scan.position_ids)
    position_ids, x_m, y_m = scan.position_ids[order], scan.x_m[order], scan.y_m[order]
    clock = _Clock(rate_hz)
    for begin, pixels in in_order(scan.read, len(scan), chunk, workers):
        done = 0
        while done < len(pixels):
            due = clock.wait_for(begin + done, begin + len(pixels)) - begin
            ids = scan.frame_ids[begin + done:begin + due]
            where = np.searchsorted(position_ids, ids)
            here = np.append(position_ids, -1)[where] == ids
            if here.any():
                positions.push(ids[here], x_m=x_m[where[here]], y_m=y_m[where[here]])
            frames.push(ids, pixels[done:due])
            done = due


class _Clock:
    """Frame k is due k / rate after the first one."""

    def __init__(self, rate_hz: float) -> None:
        self._rate_hz = rate_hz
        self._began: Optional[float] = None

    def wait_for(self, first: int, end: int) -> int:
        """Waits until frame `first` is due; how many of the frames up to `end` are."""
        if not self._rate_hz:
            return end
        if self._began is None:
            self._began = time.monotonic()
        time.sleep(max(0.0, self._began + first / self._rate_hz - time.monotonic()))
        due = int((time.monotonic() - self._began) * self._rate_hz) + 1
        return min(max(due, first + 1), end)


def in_order(read: Callable[[int, int], np.ndarray], count: int, chunk: int,
             workers: int) -> Iterator[tuple[int, np.ndarray]]:
    """Chunks of `count` frames as (first, frames), read by several threads, in their order.

    No more than `workers` + 1 chunks are under way or wait.
    """
    with ThreadPoolExecutor(workers, "reader") as pool:
        pending: deque[tuple[int, Future[np.ndarray]]] = deque()
        try:
            for begin in range(0, count, chunk):
                pending.append((begin, pool.submit(read, begin, min(begin + chunk, count))))
                if len(pending) > workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        finally:
            for _, future in pending:
                future.cancel()
