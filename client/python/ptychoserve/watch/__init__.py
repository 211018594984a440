"""Sessions from files that are being written, and from files that arrive in a folder.

    ptychoserve-watch /data/2026/scans --mapping areadetector.yaml
    python -m ptychoserve.watch ...         # The same.

docs/replay.md is the guide.
"""

from ptychoserve.watch.watcher import Watcher

__all__ = ["Watcher"]
