"""What became of what was sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Mapping

from ptychoserve._enums import short_name
from ptychoserve.v1 import ingest_pb2, session_pb2


@dataclass(frozen=True)
class Rejection:
    """Inputs that a session refused for one reason.

    Attributes:
        count: how many.
        first_frame_id: the first of them.
        detail: that one's case in words.
    """

    count: int
    first_frame_id: int
    detail: str


@dataclass(frozen=True)
class Counters:
    """Totals of a session's frames, or of its positions, of all who send.

    `received == accepted + duplicates + sum of rejected`: nothing is dropped silently.

    Attributes:
        received, accepted: frames or positions.
        duplicates: ids that had come before; the first one counts.
        rejected: by reason, such as "wrong_shape", without duplicates.
        skipped: frames declared lost.
        clamped: positions moved into the canvas.
        watermark: every id up to here is accounted for; first_frame_id - 1 when none is.
        payload_bytes: as sent.
    """

    received: int
    accepted: int
    duplicates: int
    rejected: Mapping[str, Rejection]
    skipped: int
    clamped: int
    watermark: int
    payload_bytes: int

    @classmethod
    def of(cls, message: session_pb2.IngestCounters) -> "Counters":
        rejected = {
            short_name(session_pb2.RejectReason, r.reason):
                Rejection(r.count, r.first_frame_id, r.detail) for r in message.rejections}
        duplicate = rejected.pop("duplicate", None)
        return cls(message.received, message.accepted, duplicate.count if duplicate else 0,
                   rejected, message.skipped, message.clamped, message.watermark,
                   message.payload_bytes)


@dataclass(frozen=True)
class WriterReport:
    """What a writer has done so far, over all of its connections.

    Items are frames, positions or encoder samples.

    Attributes:
        items: pushed.
        sent_items: of these, in messages sent; each counts once.
        known_items: not sent, as the session was found to have them.
        resent_items: sent again after a break.
        messages, payload_bytes: sent.
        reconnects: breaks that were got over.
        connected: the server has answered, and the connection is not broken.
        unacknowledged_items: the server has not said that it has them.
        retained_items: acknowledged, but kept, as they are not yet on the server's disk.
        forgotten_items: acknowledged and let go of while the server had lost its journal: nobody
            has them if that server ends.
        last_ack: the server's last word; after `close`, the final one.
    """

    items: int = 0
    sent_items: int = 0
    known_items: int = 0
    resent_items: int = 0
    messages: int = 0
    payload_bytes: int = 0
    reconnects: int = 0
    connected: bool = False
    unacknowledged_items: int = 0
    retained_items: int = 0
    forgotten_items: int = 0
    last_ack: Any = field(default_factory=ingest_pb2.IngestAck)

    @property
    def counters(self) -> Counters:
        """Of the session, as of the last acknowledgement."""
        return Counters.of(self.last_ack.counters)
