"""Input that has to get to the server, whatever happens there."""

from __future__ import annotations

import threading

from ptychoserve.errors import DeadlineExceeded, FailedPrecondition
from ptychoserve.writers import Writer

_LOOK_S = 1.0


def flush(writer: Writer, stopped: threading.Event) -> None:
    """Waits until the server has dealt with all that was pushed, as long as it takes; no longer
    when the session has ended and takes no more.

    Raises: DeadlineExceeded: `stopped` is set; PtychoserveError: the writer has ended.
    """
    while True:
        try:
            writer.flush(timeout_s=_LOOK_S)
            return
        except DeadlineExceeded:
            if stopped.is_set():
                raise
        except FailedPrecondition:
            return
