"""Which bridge a session belongs to: one at most, and all of them get the same answer.

The server knows, in its journal as well. Of the streams that are opened with one producer and one
epoch it takes the first and refuses the others: a claim that a single bridge wins, however many try
at the same moment. It refuses epoch 0 in any case, and says which one the producer has: a question
that changes nothing.
"""

from __future__ import annotations

from typing import Optional

from ptychoserve._batching import Positions, open_message
from ptychoserve.client import Client, Session
from ptychoserve.errors import Aborted

_PRODUCER = "bridge"


def claim(client: Client, session: Session, detector: str) -> bool:
    """Makes a session that of the detector's bridge; False: it is that of another one.

    Args:
        detector: 1 to 50 of [A-Za-z0-9._:-].

    Raises: PtychoserveError: the server does not answer, or the session has ended. Then it is open
        whether the claim was won.
    """
    if _epoch_or_opened(client, session, _PRODUCER, 1) is not None:
        return False
    _epoch_or_opened(client, session, f"{_PRODUCER}.{detector}", 1)
    return True


def is_claimed_for(client: Client, session: Session, detector: str) -> bool:
    """Whether a bridge of this detector has won the session. Raises: PtychoserveError."""
    return bool(_epoch_or_opened(client, session, f"{_PRODUCER}.{detector}", 0))


def _epoch_or_opened(client: Client, session: Session, producer: str,
                     epoch: int) -> Optional[int]:
    """Opens a stream and ends it: None when the server has taken it, else the producer's epoch."""
    first = open_message(Positions, session.name, producer, epoch)
    stream = client._connection.method(Positions.method, session=session.name, raw_requests=True)
    try:
        with client._translated():
            for _ in stream(iter([first]), timeout=client.options.call_timeout_s):
                pass
    except Aborted as error:
        if "epoch" not in error.metadata:
            raise
        return int(error.metadata["epoch"])
    return None
