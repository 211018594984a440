"""A session's progress on standard error, while something else goes on."""

from __future__ import annotations

import sys
import threading

from ptychoserve._enums import short_name
from ptychoserve._requests import FINAL
from ptychoserve.client import Session
from ptychoserve.errors import PtychoserveError
from ptychoserve.v1 import session_pb2

_END_S = 2.0
_CLEAR_LINE = "\r\x1b[K"


def progress_line(info: session_pb2.Session, expected_frames: int) -> str:
    """As that of ptychoctl: frames, points, iterations, R, state."""
    of = f"/{expected_frames}" if expected_frames else ""
    line = (f"frames {info.frames.accepted}{of} | points {info.active_points} | "
            f"it {info.iteration} ({info.iterations_per_second:.1f}/s)")
    if info.HasField("metrics"):
        line += f" | R {info.metrics.r_factor:.4f}"
    return f"{line} | {short_name(session_pb2.SessionState, info.state)}"


class Progress:
    """Shows how a session gets on, on a thread of its own: on a terminal one line that changes,
    else a line for each state. Warnings of the session are lines, too. A context manager.

    Args:
        program: what lines of warnings begin with.
        expected_frames: 0: unknown.
        quiet: warnings only.
    """

    def __init__(self, session: Session, program: str, expected_frames: int,
                 quiet: bool = False) -> None:
        self._session = session
        self._program = program
        self._expected = expected_frames
        self._quiet = quiet
        self._line_open = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True, name="progress")

    def __enter__(self) -> "Progress":
        for warning in self._session.info.warnings:
            self._say(warning)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._session.ended:  # Its last event comes by itself.
            self._thread.join(_END_S)
        if self._line_open:
            print(file=sys.stderr)

    def _show(self) -> None:
        on_terminal, state = sys.stderr.isatty(), ""
        try:
            for event in self._session.watch(min_interval_s=0.2):
                if self._ended.is_set() and event.session.state not in FINAL:
                    return
                if event.kind == "warning":
                    self._say(event.warning)
                if self._quiet or not (on_terminal or event.state != state):
                    continue
                state, line = event.state, progress_line(event.session, self._expected)
                print(_CLEAR_LINE + line if on_terminal else line, file=sys.stderr, flush=True,
                      end="" if on_terminal else "\n")
                self._line_open = on_terminal
        except PtychoserveError:
            pass  # Who waits for the session says what is wrong.

    def _say(self, warning: str) -> None:
        if self._line_open:
            print(_CLEAR_LINE, file=sys.stderr, end="")
        print(f"{self._program}: warning: {warning}", file=sys.stderr, flush=True)
