"""A session of the doctor's own, which is gone at the end: what frames really do."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from contextlib import contextmanager
from typing import Iterator, Optional

import numpy as np

from ptychoserve.client import Client, Session
from ptychoserve.doctor import server
from ptychoserve.doctor.findings import FAIL, NOT_CHECKED, OK, WARN, Findings
from ptychoserve.errors import NotFound, PtychoserveError, ResourceExhausted
from ptychoserve.v1 import session_pb2

MOST_FRAMES = 400
MOST_BYTES = 128 << 20
MOST_CLOCK_S = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check(findings: Findings, client: Client, side_px: int, rate: float,
          timeout_s: float) -> None:
    """Durability, clock and throughput.

    Args:
        rate: frames a second that are wanted; 0: as it comes.
    """
    frame_bytes = 2 * side_px**2
    count = max(1, min(MOST_FRAMES, MOST_BYTES // frame_bytes))
    try:
        with _session(findings, client, server.settings(side_px, count)) as (session, created_s):
            _durability(findings, session)
            _clock(findings, session, created_s)
            _throughput(findings, session, side_px, count, rate, timeout_s)
    except PtychoserveError as error:
        full = isinstance(error, ResourceExhausted)  # Then it says what to do.
        findings.add("throughput", FAIL, str(error),
                     "" if full else "look at the server's log; is it still there?")


def not_checked(findings: Findings, why: str) -> None:
    for name in ("durability", "clock", "throughput"):
        findings.add(name, NOT_CHECKED, f"not checked: it takes a session ({why})")


@contextmanager
def _session(findings: Findings, client: Client,
             settings: dict) -> Iterator[tuple[Session, tuple[float, float]]]:
    """A session and the times (s since 1970) between which it was created. It is deleted at the
    end, whatever happens: signals wait while it is made or deleted."""
    name = f"doctor-{secrets.token_hex(6)}"
    session: Optional[Session] = None
    try:
        with _signals_wait():
            before_s = time.time()
            session = client.create_session(name, **settings)
            after_s = time.time()
        yield session, (before_s, after_s)
    finally:
        with _signals_wait():
            try:
                (session or client.session(name)).delete(force=True)
            except NotFound:
                pass  # It was never made.
            except PtychoserveError as error:
                findings.add("clean-up", FAIL, f"session {name} could not be deleted: {error}",
                             f"when the server is back: ptychoctl delete {name} --force")


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM come after the block."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Nobody sends signals here.
        return
    came: list[tuple] = []
    before = {number: signal.signal(number, lambda *call: came.append(call))
              for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if came:
            raise KeyboardInterrupt


def _durability(findings: Findings, session: Session) -> None:
    durability = session.info.durability
    if durability == session_pb2.DURABILITY_JOURNAL:
        findings.add("durability", OK, "input and results survive the server (--state-dir)")
    elif durability == session_pb2.DURABILITY_MEMORY:
        findings.add("durability", WARN, "sessions live in the server's memory, and end with it",
                     "start the server with --state-dir if scans must survive it")
    else:
        findings.add("durability", FAIL,
                     f"the server cannot write: {session.info.durability_failure}",
                     "is the disk of --state-dir full, or not writable?")


def _clock(findings: Findings, session: Session, between_s: tuple[float, float]) -> None:
    theirs_s = session.info.create_time.ToNanoseconds() / 1e9
    before_s, after_s = between_s
    ahead_s = theirs_s - min(max(theirs_s, before_s), after_s)  # 0 when it is between.
    far = abs(ahead_s) > MOST_CLOCK_S
    findings.add("clock", WARN if far else OK,
                 f"the server's is {abs(ahead_s):.3f} s {'ahead' if ahead_s > 0 else 'behind'}"
                 if ahead_s else f"the same, within {after_s - before_s:.3f} s",
                 "synchronise both by NTP: times in logs and files cannot be compared"
                 if far else "", ahead_s=ahead_s)


def _throughput(findings: Findings, session: Session, side_px: int, count: int, rate: float,
                timeout_s: float) -> None:
    block = np.random.default_rng(1).poisson(4.0, (min(count, 16), side_px, side_px)).astype(
        np.uint16)
    with session.frame_writer(give_up_after_s=timeout_s, open_timeout_s=timeout_s) as writer:
        writer.flush(timeout_s)  # Connected: what follows is the streaming alone.
        begin = time.monotonic()
        for first in range(0, count, len(block)):
            writer.push(first, block[:count - first], timeout_s=timeout_s)
        writer.flush(timeout_s)
        took_s = time.monotonic() - begin
    counters = writer.report.counters
    if counters.rejected or counters.accepted != count:
        findings.add("throughput", FAIL, f"{counters.accepted} of {count} frames were accepted; "
                     f"refused: {dict(counters.rejected)}", "look at the server's log")
        return
    frames_per_s, mb_per_s = count / took_s, 2 * side_px**2 * count / took_s / 1e6
    slow = frames_per_s < rate
    findings.add("throughput", FAIL if slow else OK,
                 f"{mb_per_s:.0f} MB/s, {frames_per_s:.0f} frames/s of {side_px} x {side_px} "
                 "uint16, one stream, not encoded" + (f"; {rate:g} are wanted" if rate else ""),
                 "send encoded frames (bslz4), or over a faster network; is the server busy?"
                 if slow else "", mb_per_s=mb_per_s, frames_per_s=frames_per_s, frames=count)
