"""Scans that grow, as the watcher looks at them."""

from __future__ import annotations

import os
from typing import Callable, Optional, Protocol

from ptychoserve.errors import InvalidArgument, invalid
from ptychoserve.scans.scan import Scan


class Replaced(Exception):
    """What was read is not there any more; the message says why."""


class Source(Protocol):
    """A scan that grows. Looked at by one thread."""

    name: str       # Of the file or folder, for session and messages.
    unreadable: dict[str, str]  # Files of the scan that could not be read so far, and why.

    def look(self) -> Scan:
        """The scan as it is by now; frames and positions that an earlier look has found stay, in
        their order. The caller closes it.

        Raises:
            InvalidArgument: there is nothing that can be read, yet.
            OSError: likewise.
            Replaced: it is another scan now.
        """

    def end_marker(self, log: Callable[[str], None]) -> str:
        """What says that the scan has ended; empty: nothing. `log`: for what a user should know."""


class FileSource:
    """A file to which its writer adds. It is opened anew for each look, which finds all that was
    flushed, and keeps nobody from writing, replacing or deleting it.

    Args:
        open_scan: opens the file as a growing scan.
        end_suffix: the end is marked by a file of that name with this behind.
    """

    def __init__(self, path: str, open_scan: Callable[[str], Scan], end_suffix: str) -> None:
        self.name = os.path.basename(path)
        self.unreadable: dict[str, str] = {}
        self._path = path
        self._open_scan = open_scan
        self._end_suffix = end_suffix
        self._inode: Optional[int] = None  # Once it has been read.
        self._frames = 0
        self._told = False  # Of a mark that is too old.

    def look(self) -> Scan:
        try:
            inode = os.stat(self._path).st_ino
        except FileNotFoundError:
            if self._inode is None:
                raise
            raise Replaced(f"{self.name} was deleted") from None
        if self._inode is not None and inode != self._inode:
            raise Replaced(f"{self.name} was replaced by another file")
        scan = self._open_scan(self._path)
        if len(scan) < self._frames:
            scan.close()
            raise Replaced(f"{self.name} was truncated: it had {self._frames} frames, and has "
                           f"{len(scan)}")
        self._inode, self._frames = inode, len(scan)
        return scan

    def end_marker(self, log: Callable[[str], None]) -> str:
        """A mark that is older than the file is that of an earlier scan."""
        mark = self._path + self._end_suffix
        try:
            marked_ns, changed_ns = (os.stat(path).st_mtime_ns for path in (mark, self._path))
        except OSError:
            return ""
        if self._end_suffix and marked_ns >= changed_ns:
            return mark
        if self._end_suffix and not self._told:
            self._told = True
            log(f"{mark} is older than the file, and does not end it")
        return ""


def not_ready(where: str) -> InvalidArgument:
    """The error of a look that has found nothing."""
    return invalid(where, "without a frame so far", "frames")
