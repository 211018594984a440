"""Finds scans in files and folders, and has each of them fed to a session of its own."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import NamedTuple, Optional

from ptychoserve._session_flags import session_id_of
from ptychoserve.client import Client
from ptychoserve.scans import open_scan
from ptychoserve.scans.scan import Scan
from ptychoserve.v1 import config_pb2
from ptychoserve.watch.feeder import AGAIN, Feeder, WatchReport
from ptychoserve.watch.folder import FolderSource
from ptychoserve.watch.source import FileSource, Source

SCAN_PATTERNS = ("*.h5", "*.hdf5", "*.nxs", "*.cxi")
FRAME_PATTERNS = ("*.npy", "*.tif", "*.tiff", "*.npz", "*.h5")
# Scans that are fed at a time; others wait for their turn.
MOST_AT_ONCE = 8
LEAVE_S = 15.0


@dataclass(frozen=True)
class WatchOptions:
    """How scans are found, read and ended.

    Attributes:
        prefix: session ids are PREFIX-NAME; empty: NAME of the file or folder.
        frames: files hold the frames of one scan for each folder; else each is a scan.
        patterns: of names of files; empty: `SCAN_PATTERNS` or `FRAME_PATTERNS`.
        existing: scans that are there already are taken, too, without a session that is under way.
        format, mapping, position_unit: as of `open_scan`.
        idle_s: a scan that does not grow for so long has ended.
        end_suffix: a file of this name, behind that of the scan or in its folder, marks its end.
        poll_s: time between two looks.
    """

    prefix: str = ""
    frames: bool = False
    patterns: Sequence[str] = ()
    existing: bool = False
    format: str = ""
    mapping: str = ""
    position_unit: str = ""
    idle_s: float = 60.0
    end_suffix: str = ".done"
    poll_s: float = 0.5


class _State(NamedTuple):
    """Of a file when its scan had ended."""

    inode: int
    modified_ns: int

    @classmethod
    def of(cls, path: str) -> Optional["_State"]:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return cls(found.st_ino, found.st_mtime_ns)


class Watcher:
    """Watches a file, or a folder of scans.

    Args:
        client: of the server.
        path: a file, which need not be there yet, or a folder.
        given: settings of all sessions, in the place of what scans say.
        report: called with what has become of each scan.
        log: called with what a user should know.
    """

    def __init__(self, client: Client, path: str, given: config_pb2.SessionConfig,
                 options: WatchOptions = WatchOptions(), *,
                 report: Callable[[WatchReport], None] = print,
                 log: Callable[[str], None] = print) -> None:
        self._client = client
        self._path = path
        self._given = given
        self._options = options
        self._report = report
        self._log = log
        self._stopped = threading.Event()
        self._open_scan: Callable[[str], Scan] = functools.partial(
            open_scan, format=options.format, mapping=options.mapping,
            position_unit=options.position_unit, growing=True)
        self._waiting: deque[tuple[str, bool]] = deque()  # Path, and whether it is fresh.
        self._running: dict[str, tuple[threading.Thread, Feeder]] = {}
        self._ended: dict[str, Optional[_State]] = {}
        self._left: set[str] = set()   # Were there before, and are not taken unless they change.
        self._warned: set[str] = set()
        self._owners: dict[str, str] = {}  # Of session ids: the path.
        self._trouble = ""  # By which the folder could not be read, the last time.
        self._reported = 0
        self._failure: Optional[Exception] = None

    def stop(self) -> None:
        """Has `run` return soon; sessions stay as they are. May be called by a signal handler."""
        self._stopped.set()

    def run(self, scans: int = 0) -> None:
        """Watches until `stop`, or until so many scans have ended (0: any number)."""
        self._begin()
        self._log(f"watching {self._path}")
        while not self._stopped.is_set():
            for path in self._owned(self._found()):
                self._notice(path)
            while self._waiting and len(self._running) < MOST_AT_ONCE:
                self._start(*self._waiting.popleft())
            self._collect()
            if scans and self._reported >= scans:
                self._stopped.set()
            self._stopped.wait(self._options.poll_s)
        self._stopped.set()
        for thread, _ in self._running.values():
            thread.join(LEAVE_S)
        if self._failure is not None:
            raise self._failure

    # --- Finding --------------------------------------------------------------------------------

    def _matches(self, name: str) -> bool:
        patterns = self._options.patterns or (
            FRAME_PATTERNS if self._options.frames else SCAN_PATTERNS)
        return any(fnmatch(name, pattern) for pattern in patterns)

    def _found(self) -> list[str]:
        """Paths of scans; none while the folder cannot be read."""
        try:
            paths, self._trouble = self._listed(), ""
            return paths
        except OSError as error:  # It may be on its way from somewhere else, or back in a moment.
            if str(error) != self._trouble:
                self._trouble = str(error)
                self._log(self._trouble)
            return []

    def _listed(self) -> list[str]:
        if not os.path.isdir(self._path):
            return [self._path] if os.path.exists(self._path) else []
        entries = sorted(os.scandir(self._path), key=lambda entry: entry.name)
        files = [entry.path for entry in entries if entry.is_file() and self._matches(entry.name)]
        if not self._options.frames:
            return files
        if files:
            return [self._path]
        return [entry.path for entry in entries if entry.is_dir() and any(
            self._matches(name) for name in os.listdir(entry.path))]

    def _begin(self) -> None:
        """Of what is there already: what has a session under way, and what was asked for."""
        is_folder = os.path.isdir(self._path)
        under_way = {session.id for session in self._client.sessions() if not session.ended}
        for path in self._owned(self._found()):
            id_ = self._session_id(path)
            if (not is_folder or self._options.existing
                    or any(name == id_ or name.startswith(id_ + AGAIN) for name in under_way)):
                self._waiting.append((path, False))
            else:
                self._left.add(path)
            self._ended[path] = _State.of(path)
        if self._left:
            self._log(f"{len(self._left)} scans were there before and are left alone unless they "
                      "change; --existing takes them")

    def _session_id(self, path: str) -> str:
        name = os.path.basename(os.path.abspath(path))
        stem = name if os.path.isdir(path) else os.path.splitext(name)[0]
        return session_id_of(f"{self._options.prefix}-{stem}" if self._options.prefix else stem)

    def _owned(self, paths: list[str]) -> list[str]:
        """Without those that would have the session of another one."""
        owned = []
        for path in paths:
            id_ = self._session_id(path)
            owner = self._owners.setdefault(id_, path)
            if owner == path:
                owned.append(path)
            elif path not in self._warned:
                self._warned.add(path)
                self._report(WatchReport(
                    id_, os.path.basename(path), error=f"left alone: its session would be that of "
                    f"{os.path.basename(owner)}; rename it, or choose files by --pattern"))
        return owned

    def _notice(self, path: str) -> None:
        """Takes a scan that is new, or another one than that which has ended."""
        if path in self._running or any(path == waiting for waiting, _ in self._waiting):
            return
        now = _State.of(path)
        if path not in self._ended:
            self._waiting.append((path, True))
        elif path in self._left and now != self._ended[path]:
            self._left.remove(path)
            self._waiting.append((path, False))
        elif now is not None and now != self._ended[path] and not os.path.isdir(path):
            before = self._ended[path]
            if before is None or before.inode != now.inode:
                self._log(f"{path}: is another file now")
                self._waiting.append((path, True))
            elif path not in self._warned:
                self._warned.add(path)
                self._log(f"{path}: has changed after its scan had ended; what is new in it is not "
                          "sent")
        self._ended[path] = now

    # --- Feeding --------------------------------------------------------------------------------

    def _source(self, path: str) -> Source:
        suffix = self._options.end_suffix
        if self._options.frames:
            return FolderSource(path, self._open_scan, self._matches, suffix)
        return FileSource(path, self._open_scan, suffix)

    def _start(self, path: str, fresh: bool) -> None:
        feeder = Feeder(self._client, self._source(path), self._session_id(path), self._given,
                        fresh=fresh, idle_s=self._options.idle_s, poll_s=self._options.poll_s,
                        stopped=self._stopped, log=self._log)
        thread = threading.Thread(target=self._feed, args=(feeder,), daemon=True,
                                  name=f"watch {path}")
        self._running[path] = (thread, feeder)
        thread.start()

    def _feed(self, feeder: Feeder) -> None:
        try:
            report = feeder.run()
            if report is not None:
                self._report(report)
                self._reported += 1
        except Exception as error:  # Of a programmer, or of a callback: nobody else would hear.
            self._failure = error
            self._stopped.set()

    def _collect(self) -> None:
        """Lets go of scans that have ended."""
        done = [path for path, (thread, _) in self._running.items() if not thread.is_alive()]
        for path in done:
            _, feeder = self._running.pop(path)
            self._ended[path] = _State.of(path)
            if feeder.replaced:
                if self._ended[path] is None:
                    del self._ended[path]  # When it comes again, it is a new one.
                else:
                    self._waiting.append((path, True))
