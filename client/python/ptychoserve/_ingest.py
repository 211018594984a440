"""The protocol of an input stream, without threads, sockets or clocks.

`Ingest` is one input of a session that outlives its connections: what to send next, what to keep,
what to do when a call ends. The writers of `ptychoserve` and of `ptychoserve.aio` both drive it;
they make the calls, wait, and pass on what comes:

    open(epoch)          first message of a new call
    on_ack(ack)          each acknowledgement
    next(now)            a message to send, HALF_CLOSE, or how long to wait (None: for something to
                         happen)
    on_end(error, now)   the call has ended: the pause before the next one, or None: it is over

What was sent stays in the backlog until the server has it safe, and goes out again when a new call
finds that the session does not have it. Not thread-safe.
"""

from __future__ import annotations

import enum
import re
import time
from collections import Counter
from typing import Optional, Union

from ptychoserve import _batching
from ptychoserve._backlog import Backlog
from ptychoserve._batching import Item, Message
from ptychoserve._enums import short_name
from ptychoserve._known_ids import KnownIds
from ptychoserve._retry import Backoff, worth_retrying
from ptychoserve.errors import (DeadlineExceeded, FailedPrecondition, InvalidArgument,
                                PtychoserveError, ResourceExhausted, Unavailable, Unknown, invalid)
from ptychoserve.options import WriterOptions
from ptychoserve.report import WriterReport
from ptychoserve.v1 import ingest_pb2, session_pb2


class Step(enum.Enum):
    """What a call may be told besides messages."""

    HALF_CLOSE = "no more messages"


HALF_CLOSE = Step.HALF_CLOSE

# Room in a message for all that is not payload. Messages of many items stay below half of what is
# allowed: ids and sizes never take more than the other half.
_ITEM_OVERHEAD = 4096
# A connection that has lived so long, or over which something was acknowledged, counts as made: the
# next break begins its own time.
_SETTLED_S = 10.0
_SESSION_ENDED = "SESSION_ENDED"
_PRODUCER = re.compile(r"[A-Za-z0-9._:-]{1,64}")


class Ingest:
    """See above. `now` is seconds of any steady clock; `producer` stands in for an empty name."""

    def __init__(self, kind: type[Item], most_items: int, session: str, options: WriterOptions,
                 producer: str, now: float) -> None:
        if options.producer and not _PRODUCER.fullmatch(options.producer):
            raise invalid("producer", repr(options.producer), "1 to 64 of [A-Za-z0-9._:-]")
        self._kind = kind
        self._most_items = most_items
        self._session = session
        self._options = options
        self._named = bool(options.producer)  # By the user, who may have used the name before.
        self._producer = options.producer or producer
        self._backlog = Backlog()
        self._done: Counter[str] = Counter()  # What WriterReport counts, by its names.
        self._last_ack = ingest_pb2.IngestAck()
        self._max_payload = 1 << 31
        self._durability = session_pb2.DURABILITY_UNSPECIFIED
        self._urgent = False            # Send without waiting for a full message.
        self._linger_until: Optional[float] = None
        self._closing = False
        self._close_when_safe = False   # Half-close only when all is on disk.
        self._stopped: Optional[PtychoserveError] = None  # Why this side has ended it all.
        self.stirred = False            # Whether `next` has more to say since the last `take`.
        self.finished = False
        self.error: Optional[PtychoserveError] = None     # How it has ended.

        # Of the present call, or the last one.
        self.active = False             # From `open` to `on_end`.
        self._opened = False            # The server has answered; until the call ends.
        self._opened_at = 0.0
        self._half_closed = False
        self._batches = 0               # Sent,
        self._acked = 0                 # and of these, dealt with,
        self._safe = -1                 # or safe; -1: not all before the call is.
        self._payload = 0
        self._granted = 0
        self._known = KnownIds()        # When it was opened.

        # Of the break, while there is one.
        self._backoff = Backoff(options.retry_initial_s, options.retry_max_s)
        self._epoch = 0
        self._attempts_since = 0
        self._broken_since = now
        self._opened_once = False
        self._told_break = False        # on_connection knows that it is broken.

    # --- One call after the other ------------------------------------------------------------

    def open(self, epoch: Optional[int] = None) -> bytes:
        """Begins a call; its first message. `epoch`: microseconds since 1970."""
        # Later than before in any case, even if the clock was set back.
        wanted = time.time_ns() // 1000 if epoch is None else epoch
        self._epoch = max(self._epoch + 1, wanted)
        self.active = True
        return _batching.open_message(self._kind, self._session, self._producer, self._epoch)

    @property
    def opened(self) -> bool:
        return self._opened

    def on_ack(self, ack: ingest_pb2.IngestAck, now: float) -> None:
        reconnected = not self._opened and self._told_break
        if reconnected:
            self._told_break = False
            self._tell(True, None)
        if self._options.on_ack is not None:
            self._options.on_ack(ack)
        if not self._opened:
            self._on_open(ack, now)
        self._granted = max(self._granted, ack.granted_bytes)
        self._acked = min(max(ack.batches, self._acked), self._batches)
        self._durability = ack.durability
        self._safe = (min(ack.durable_batches, self._batches) if self._keeps_journal
                      else self._acked)
        self._backlog.release(self._safe)
        if self._durability == session_pb2.DURABILITY_LOST:
            self._done["forgotten_items"] += self._backlog.forget(self._options.retain_bytes,
                                                                  self._acked)
        self._last_ack = ack
        if ack.max_message_bytes > _ITEM_OVERHEAD:
            self._limit(ack.max_message_bytes - _ITEM_OVERHEAD)

    def _limit(self, payload: int) -> None:
        """The server takes so much payload in a message; more may have been pushed before."""
        if payload < self._max_payload:
            largest = self._backlog.cut(payload)
            if largest > payload:
                self.cancel(self._too_large(largest, payload))
        self._max_payload = payload

    def _on_open(self, first_ack: ingest_pb2.IngestAck, now: float) -> None:
        self._opened = True
        self._opened_at = now
        self._known = KnownIds(first_ack)
        if self._opened_once:
            # Only now: until here, the numbers of the last call tell what it has left behind.
            self._batches = self._acked = self._payload = self._granted = 0
            self._done["reconnects"] += 1
            self._urgent = True
        self._opened_once = True
        if self._may_spare:
            self._done["known_items"] += self._backlog.restart(self._known)

    @property
    def _may_spare(self) -> bool:
        """Whether this writer, or an earlier one of its name, can have sent what is there."""
        return self._named or self._done["reconnects"] > 0

    def on_end(self, error: Optional[PtychoserveError], now: float) -> Optional[float]:
        """The call has ended, with an error or None for OK."""
        cause = self._cause(error)
        made = self._opened and (self._acked > 0 or now - self._opened_at >= _SETTLED_S)
        self.active = self._opened = self._half_closed = False
        if made:
            self._broken_since = now
            self._backoff.reset()
            self._attempts_since = 0
        else:
            self._attempts_since += 1
        again = False
        if self._stopped is not None:
            cause = self._stopped
        elif self._closing and self._nothing_left:
            cause = None
        elif cause is not None and worth_retrying(cause) and self._options.give_up_after_s > 0:
            again = now - self._broken_since < self._options.give_up_after_s
            if not again:
                cause = cause.with_words(f"; gave up after {now - self._broken_since:.3g} s and "
                                         f"{self._attempts_since} attempts")
        if cause is not None and (self._stopped is None
                                  or isinstance(self._stopped, InvalidArgument)):
            if not again or not self._told_break:
                self._told_break = True
                self._tell(False, cause)
        if not again:
            self._finish(cause)
            return None
        left = self._broken_since + self._options.give_up_after_s - now
        return min(self._backoff.next(), max(left, 0.0))

    def _cause(self, error: Optional[PtychoserveError]) -> Optional[PtychoserveError]:
        """Why the call has ended; None when all went as it should."""
        if error is not None:
            return error
        if self._half_closed and self._all_acknowledged:
            if not self._backlog or self._durability == session_pb2.DURABILITY_LOST:
                return None
            # Next time, the stream stays open until the rest is safe.
            self._close_when_safe = True
            return Unavailable("the server has ended the stream before all was on its disk")
        state = short_name(session_pb2.SessionState, self._last_ack.state)
        return FailedPrecondition(
            f"the server has ended the stream; the session is {state}", reason=_SESSION_ENDED)

    def _finish(self, error: Optional[PtychoserveError]) -> None:
        if self.finished:
            return
        unacknowledged, acknowledged = self._backlog.counts(self._acked)
        if error is None:
            self._done["forgotten_items"] += acknowledged  # The journal was lost.
        else:
            words = ""
            if unacknowledged:
                words += f"; {unacknowledged} {self._kind.noun} were not acknowledged"
            if acknowledged:
                words += (f"; {acknowledged} {self._kind.noun} were acknowledged, but are not "
                          "known to be on the server's disk")
            error = error.with_words(words)
        self.error = error
        self.finished = True

    # --- The caller's side ---------------------------------------------------------------------

    def take(self, item: Item, copy: bool = True) -> bool:
        """Takes an item that was pushed, or a copy; False when there is no room for it now.

        Raises:
            FailedPrecondition: the writer is closed.
            InvalidArgument: larger than the server takes.
            PtychoserveError: that by which the writer has ended.
        """
        self.check()
        if self._closing:
            raise FailedPrecondition("the writer is closed")
        if item.payload > self._max_payload:
            raise self._too_large(item.payload, self._max_payload)
        parts = [(item, False)]
        if self._named and self._opened:
            parts = item.split(self._known)
        wanted = sum(part.weight for part, known in parts if not known or self._safe < 0)
        if wanted > 0 and not self._has_room(wanted):
            return False
        self._done["items"] += item.count
        before = self._backlog.waiting_payload
        for part, known in parts:
            if known:
                self._done["known_items"] += part.count
                if self._safe >= 0:
                    continue
            if copy:
                part.own()
            if known:  # Kept only until it is safe.
                self._backlog.add_arrived(part)
            else:
                self._backlog.add(part)
        # Else the sender waits for more of them, or for credit.
        self.stirred = before == 0 or before < self.block_bytes <= self._backlog.waiting_payload
        return True

    def check(self) -> None:
        """Raises the error that has ended the writer, or is about to."""
        if self._stopped is not None and not self.finished:
            raise self._stopped
        if self.finished:
            raise self.error or FailedPrecondition("the writer is closed")

    @property
    def block_bytes(self) -> int:
        """What is pushed at once is best cut to items of about this payload."""
        return min(self._options.message_bytes, self._max_payload // 2)

    def hurry(self) -> None:
        """Sends what waits without waiting for full messages."""
        self._urgent = True

    def close(self) -> None:
        """Nothing more comes: sends the rest, and ends the stream once the server has it safe."""
        self._closing = True
        if self._nothing_left and self.error is not None and self.error.reason == _SESSION_ENDED:
            self.error = None  # It had all it was to have.
        if not self.active and self._nothing_left:
            self._finish(None)

    def cancel(self, why: PtychoserveError) -> None:
        """Ends it all; the call, if one is active, is the caller's to cancel."""
        if self.finished:
            return
        self._stopped = self._stopped or why
        if not self.active:
            self._finish(self._stopped)

    def fail(self, error: BaseException) -> None:
        """The driver itself cannot go on."""
        self.active = self._opened = False
        self._finish(Unknown(f"{type(error).__name__}: {error}"))

    @property
    def stopped(self) -> bool:
        """Whether the active call is to be cancelled."""
        return self._stopped is not None

    @property
    def flushed(self) -> bool:
        """Whether all that was pushed has been dealt with by the server, on its disk or not."""
        return self._all_acknowledged

    def full(self) -> ResourceExhausted:
        """The error of a push that has found no room in time."""
        kept = self._backlog.weight - self._backlog.waiting_weight
        return ResourceExhausted(
            f"the queue is full: {self._backlog.waiting_weight} of {self._options.queue_bytes} "
            f"bytes wait to be sent, {kept} of {self._options.retain_bytes} are kept until the "
            f"server has them safe{self._connection_words}", reason="QUEUE_FULL",
            hint="wait longer (timeout_s), or raise queue_bytes or retain_bytes")

    def late(self, what: str) -> DeadlineExceeded:
        """The error of a flush or close that has not come to its end in time."""
        return DeadlineExceeded(
            f"{what}: {self._backlog.waiting_payload} bytes wait to be sent, "
            f"{self._batches - self._acked} messages to be acknowledged{self._connection_words}")

    @property
    def report(self) -> WriterReport:
        unacknowledged, acknowledged = self._backlog.counts(self._acked)
        well = self.finished and self.error is None
        return WriterReport(connected=self._opened, unacknowledged_items=unacknowledged,
                            retained_items=0 if well else acknowledged, last_ack=self._last_ack,
                            **self._done)

    # --- Sending -------------------------------------------------------------------------------

    def next(self, now: float) -> Union[Message, Step, float, None]:
        """What to send; or how long to wait, unless something happens before."""
        if not self._opened or self._half_closed or self._stopped is not None:
            return None
        backlog = self._backlog
        if backlog.nothing_waits:
            self._urgent = False
            wait = (self._close_when_safe and len(backlog) > 0
                    and self._durability == session_pb2.DURABILITY_JOURNAL)
            if not self._closing or wait:
                return None
            self._half_closed = True
            return HALF_CLOSE
        waiting = backlog.waiting_payload
        target = self.block_bytes
        if waiting < target and not self._urgent and not self._closing:
            if self._linger_until is None:
                self._linger_until = now + self._options.linger_s
            if now < self._linger_until:
                return self._linger_until - now
            self._urgent = True
        self._linger_until = None
        first = backlog.next.payload
        wanted = max(first, min(target, waiting))
        credit = self._granted - self._payload
        # Full messages, except when no acknowledgement is due that could bring more credit.
        if credit < (wanted if self._acked < self._batches else first):
            return None
        self._batches += 1
        sent = backlog.take(min(credit, target), self._most_items, self._batches)
        self._payload += sent.payload
        self._done.update(messages=1, payload_bytes=sent.payload, sent_items=sent.first_time,
                          resent_items=sent.again)
        return type(sent.items[0]).message(sent.items)

    # --- What is there, and what is left -------------------------------------------------------

    @property
    def _keeps_journal(self) -> bool:
        return self._durability in (session_pb2.DURABILITY_JOURNAL, session_pb2.DURABILITY_LOST)

    def _has_room(self, weight: int) -> bool:
        waiting, everything = self._backlog.waiting_weight, self._backlog.weight
        queue, retain = self._options.queue_bytes, self._options.retain_bytes
        return ((waiting == 0 or waiting + weight <= queue)
                and (everything == 0 or everything + weight <= queue + retain))

    @property
    def _all_acknowledged(self) -> bool:
        # While the connection is broken, nobody knows whether the server still has what it has
        # acknowledged, unless it is safe.
        return self._nothing_left or (self._opened and self._backlog.nothing_waits
                                      and self._acked == self._batches)

    @property
    def _nothing_left(self) -> bool:
        """Whether the server has answered, and has all that was pushed safe."""
        return self._opened_once and not self._backlog

    @property
    def _connection_words(self) -> str:
        return "; the connection is broken" if self._told_break else ""

    @staticmethod
    def _too_large(size: int, allowed: int) -> InvalidArgument:
        return invalid("item", f"{size} bytes", f"at most {allowed} bytes, which is what a message "
                                                "to this server holds")

    def _tell(self, connected: bool, why: Optional[PtychoserveError]) -> None:
        if self._options.on_connection is not None:
            self._options.on_connection(connected, why)
