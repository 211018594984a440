"""Recorded scans, whatever their format.

    from ptychoserve.scans import open_scan

    with open_scan("scan.nxs") as scan:
        print(len(scan), scan.shape, scan.all_notes())
        session = client.create_session("again", config=scan.config())

`open_scan` finds the format out; `Scan` is what all of them are. docs/replay.md is the guide.
"""

from ptychoserve.scans.formats import FORMATS, open_scan
from ptychoserve.scans.scan import Scan

__all__ = ["FORMATS", "Scan", "open_scan"]
