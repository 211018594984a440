"""Recorded scans, played again as if they were being measured.

    ptychoserve-replay scan.cxi --rate 200 --output result.cxi
    python -m ptychoserve.replay ...        # The same.

docs/replay.md is the guide; `ptychoserve.scans` has the formats.
"""

from ptychoserve.replay.player import play

__all__ = ["play"]
