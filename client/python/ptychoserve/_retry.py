"""What is worth another attempt, and when that is made."""

from __future__ import annotations

import random
from typing import Optional

from ptychoserve.errors import (Cancelled, DeadlineExceeded, Internal, PtychoserveError,
                                Unavailable, Unknown)


def worth_retrying(error: PtychoserveError) -> bool:
    """Whether a stream that has ended so may live on in a new one.

    The connection or the server went away. What a server says about the request itself is final.
    """
    if isinstance(error, Unavailable):
        return True
    if isinstance(error, (Internal, Unknown, Cancelled)):  # Unless in the server's own words.
        return not error.reason
    # The network was too slow for the first message.
    return isinstance(error, DeadlineExceeded) and error.reason == "FIRST_MESSAGE_TIMEOUT"


class Backoff:
    """Pauses that double from `initial_s` to `max_s`, each shortened at random by up to half.

    So clients that lost the same server do not come back all at once.
    """

    def __init__(self, initial_s: float, max_s: float,
                 rng: Optional[random.Random] = None) -> None:
        self._initial_s = max(initial_s, 0.001)
        self._max_s = max(max_s, self._initial_s)
        self._next_s = self._initial_s
        self._rng = rng or random.Random()

    def next(self) -> float:
        longest = self._next_s
        self._next_s = min(2 * self._next_s, self._max_s)
        return self._rng.uniform(longest / 2, longest)

    def reset(self) -> None:
        self._next_s = self._initial_s


class Attempts:
    """Whether to make a call again, until `give_up_after_s` have passed without a sign of life."""

    def __init__(self, give_up_after_s: float, initial_s: float, max_s: float, now: float) -> None:
        self._give_up_after_s = give_up_after_s
        self._backoff = Backoff(initial_s, max_s)
        self._alive = now

    def alive(self, now: float) -> None:
        """Something has come."""
        self._alive = now
        self._backoff.reset()

    def pause_after(self, error: PtychoserveError, now: float) -> float:
        """How long to wait before the next attempt; raises `error` when there is to be none."""
        pause = self._backoff.next()
        if not worth_retrying(error) or now + pause - self._alive >= self._give_up_after_s:
            raise error
        return pause
