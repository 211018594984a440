"""Tells of a source that says nothing while something of it is due."""

from __future__ import annotations

import time
from typing import Callable, NamedTuple, Optional


class Due(NamedTuple):
    """What a source has to say."""

    since_s: float  # As of time.monotonic.
    words: str      # What has come of it, and what is waited for.


class Silence:
    """Of one source; its reader says whether anything has come. Says once when it has been silent
    for too long, and once when it is heard again. Between scans silence is no news, except at the
    very beginning: a wrong address or key looks like a source at rest.

    Args:
        source: "eiger" or "panda".
        quiet_s: how long silence may last.
        due: what is waited for; None: nothing.
        log: called with what a user should know.
        now_s: as of time.monotonic.
    """

    def __init__(self, source: str, quiet_s: float, due: Callable[[], Optional[Due]],
                 log: Callable[[str], None], now_s: float) -> None:
        self._source = source
        self._quiet_s = quiet_s
        self._due = due
        self._log = log
        self._last_s = now_s
        self._ever_heard = False
        self._told = False

    def heard(self, now_s: float) -> None:
        """Something has come, and has been dealt with: what that took is no silence."""
        if self._told:
            after = f" after {now_s - self._last_s:.0f} s"
            self._log(f"{self._source}: {'it is back' if self._ever_heard else 'it has come'}"
                      f"{after}")
        self._ever_heard, self._told, self._last_s = True, False, now_s

    def nothing(self, now_s: float) -> None:
        """Nothing has come since the last time."""
        if self._told or now_s - self._last_s < self._quiet_s:
            return
        if not self._ever_heard:
            self._tell(f"nothing has come in {self._quiet_s:g} s. If it sends, address or keys are "
                       f"wrong: ptychoserve-doctor with this --{self._source} says which")
            return
        due = self._due()
        if due is None or now_s - due.since_s < self._quiet_s:
            return
        since = time.strftime("%H:%M:%S", time.localtime(time.time() - (now_s - self._last_s)))
        self._tell(f"silent since {since} while a scan is under way: {due.words}")

    def _tell(self, words: str) -> None:
        self._told = True
        self._log(f"{self._source}: {words}")
