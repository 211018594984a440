"""What a server does with the input streams of one session, in plain sets and without a network.

It keeps what it has been told, forgets what is not on its disk when it is killed, and checks that
its client keeps the protocol.
"""

import support  # noqa: F401  (the path of the package)
from ptychoserve.v1 import ingest_pb2, session_pb2

FIRST_ID = 0


class Refused(Exception):
    """The stream ends with this code and reason."""

    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code, self.reason = code, reason


class Stream:
    """One call: what it has been granted, and where its batches stand."""

    def __init__(self, session, producer, epoch):
        self.session, self.producer, self.epoch = session, producer, epoch
        self.batches = self.payload = 0
        self.granted = session.window
        self.first_record = len(session.records)  # Of the journal: what came before is earlier.


class SessionModel:
    """`journal`: whether there is a disk. `window`: bytes of credit beyond what was dealt with."""

    def __init__(self, journal, window, max_message_bytes=1 << 25):
        self.window, self.max_message_bytes = window, max_message_bytes
        self.durability = (session_pb2.DURABILITY_JOURNAL if journal
                           else session_pb2.DURABILITY_MEMORY)
        self.records = []   # What came, in order: lists of (id, bytes), or (id, None) for skipped.
        self.on_disk = 0    # The first so many of them.
        self.has = {}       # What the session has: id -> bytes, or None for skipped.
        self.duplicates = 0
        self.epochs = {}

    def open(self, message):
        kind = message.WhichOneof("message")
        assert kind == "open", kind
        opened = message.open
        assert opened.producer and opened.epoch > 0
        if opened.epoch <= self.epochs.get(opened.producer, 0):
            raise Refused("ABORTED", "PRODUCER_FENCED")
        self.epochs[opened.producer] = opened.epoch
        return Stream(self, opened.producer, opened.epoch)

    def take(self, stream, message):
        """A message after the first one."""
        if stream.epoch != self.epochs[stream.producer]:
            raise Refused("ABORTED", "PRODUCER_FENCED")
        assert message.ByteSize() <= self.max_message_bytes, "larger than max_message_bytes"
        kind = message.WhichOneof("message")
        entries = self._skipped(message.skipped) if kind == "skipped" else self._batch(
            stream, message.batch)
        for frame_id, data in entries:
            if frame_id in self.has:
                self.duplicates += 1
            else:
                self.has[frame_id] = data
        self.records.append(entries)
        stream.batches += 1
        stream.granted = max(stream.granted, stream.payload + self.window)

    @staticmethod
    def _skipped(skipped):
        return [(skipped.first_frame_id + k, None) for k in range(skipped.count)]

    @staticmethod
    def _ids(batch, count):
        if batch.frame_ids:
            assert len(batch.frame_ids) == count
            return list(batch.frame_ids)
        return list(range(batch.first_frame_id, batch.first_frame_id + count))

    def _batch(self, stream, batch):
        if isinstance(batch, ingest_pb2.PositionBatch):
            assert len(batch.x_m) == len(batch.y_m) > 0
            payload = 16 * len(batch.x_m)
            values = list(zip(batch.x_m, batch.y_m))
            ids = self._ids(batch, len(values))
        else:
            payload = len(batch.data)
            ids = self._ids(batch, batch.count)
            size = payload // batch.count
            assert size * batch.count == payload
            values = [batch.data[k * size:(k + 1) * size] for k in range(batch.count)]
        stream.payload += payload
        assert stream.payload <= stream.granted, "sent beyond its credit"
        return list(zip(ids, values))

    def synchronise(self, records=None):
        """The disk has caught up, with all or with so many records more."""
        if records is None:
            records = len(self.records)
        self.on_disk = min(len(self.records), self.on_disk + records)

    def kill(self):
        """The server goes away with its memory; what is on disk comes back."""
        del self.records[self.on_disk:]
        self.has = {}
        for entries in self.records:
            for frame_id, data in entries:
                self.has.setdefault(frame_id, data)
        if self.durability == session_pb2.DURABILITY_MEMORY:
            assert not self.records

    def ack(self, stream, first=False):
        ack = ingest_pb2.IngestAck(
            batches=stream.batches, payload_bytes=stream.payload, granted_bytes=stream.granted,
            max_message_bytes=self.max_message_bytes, durability=self.durability,
            state=session_pb2.SESSION_STATE_RECEIVING)
        ack.counters.accepted = len(self.has)
        ack.counters.received = len(self.has) + self.duplicates
        if self.durability == session_pb2.DURABILITY_JOURNAL:
            ack.durable_batches = max(-1, min(self.on_disk - stream.first_record, stream.batches))
        if first:
            ack.known_up_to = max(self.has, default=FIRST_ID - 1)
            begin = None
            for k in range(FIRST_ID, ack.known_up_to + 2):
                if k not in self.has and begin is None:
                    begin = k
                elif k in self.has and begin is not None:
                    ack.missing.add(first=begin, last=k - 1)
                    begin = None
        return ack
