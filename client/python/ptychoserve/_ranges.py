"""Ids as runs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_RANGES = 20


def ranges(ids: np.ndarray) -> list[tuple[int, int]]:
    """Runs (first, last) of ascending ids."""
    if not len(ids):
        return []
    breaks = np.flatnonzero(np.diff(ids) != 1)
    firsts, lasts = ids[np.append(0, breaks + 1)], ids[np.append(breaks, len(ids) - 1)]
    return list(zip(firsts.tolist(), lasts.tolist()))


def ranges_text(runs: Sequence[tuple[int, int]]) -> str:
    """"5, 17-18", of the first `MOST_RANGES` runs."""
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs[:MOST_RANGES])
    return shown + (", ..." if len(runs) > MOST_RANGES else "")
