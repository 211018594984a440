"""What the server has: it knows best, also when an earlier bridge was killed."""

from __future__ import annotations

from typing import Any, Callable

import numpy as np

from ptychoserve._known_ids import KnownIds
from ptychoserve.errors import PtychoserveError
from ptychoserve.writers import Writer

ANSWER_S = 30.0


def missing_ids(open_writer: Callable[..., Writer], ids: np.ndarray) -> np.ndarray:
    """Which of `ids` the session does not have.

    Args:
        open_writer: `Session.frame_writer` or `Session.position_writer`.

    Raises: PtychoserveError: the server does not answer.
    """
    acks: list[Any] = []
    writer = open_writer(on_ack=acks.append, give_up_after_s=ANSWER_S)
    try:
        writer.flush(ANSWER_S)  # There is nothing to send: the first answer is enough.
    except PtychoserveError:
        if not acks:  # Of a session that has ended there is an answer before the error.
            raise
    finally:
        writer.cancel()
    return ids[~KnownIds(acks[0]).mask(ids)]
