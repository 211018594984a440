"""What a writer holds, and how it becomes messages.

An item is what was pushed together and is sent together: a block of frames, of positions or of
encoder samples, or ids that the detector has skipped. A message carries one item or several.
"""

from __future__ import annotations

from typing import Any, Iterable, NamedTuple, Optional, Sequence

import numpy as np

from ptychoserve._known_ids import KnownIds
from ptychoserve.v1 import ingest_pb2

# Bounds of the protocol (ingest.proto).
MAX_FRAMES_PER_BATCH = 65_536
MAX_POSITIONS_PER_BATCH = 1 << 20
MAX_SKIPPED = 1 << 20
# Of ids alone, towards the bounds of a writer's memory.
_SKIPPED_WEIGHT = 64

# Frames of so many bytes are worth a message of their own, which is then made when they are copied.
_LARGE = 1 << 20

# Numbers of the fields that hold the bulk of a message; it is put behind the rest by hand, so that
# each byte of it is copied once.
_FRAMES_BATCH, _FRAMES_DATA = 2, 15
_POSITIONS_BATCH, _POSITIONS_X, _POSITIONS_Y = 2, 3, 4
_ENCODER_SAMPLES, _ENCODER_X, _ENCODER_Y = 3, 2, 3


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _length_of(field: int, length: int) -> bytes:
    """The tag of a length-delimited field, and its length."""
    return _varint(field << 3 | 2) + _varint(length)


class Message(NamedTuple):
    """Bytes of a request, in pieces."""

    pieces: list
    payload: int  # Bytes that count against the granted credit.

    def join(self) -> bytes:
        return b"".join(self.pieces)


def _nested(field: int, pieces: list, payload: int) -> Message:
    """A request whose field number `field` is the message made of `pieces`."""
    size = sum(memoryview(piece).nbytes for piece in pieces)
    return Message([_length_of(field, size), *pieces], payload)


def _ids_of(batch: Any, ids: np.ndarray) -> None:
    """Puts ids into a batch: one number when they follow each other, else all of them."""
    batch.first_frame_id = int(ids[0])
    if len(ids) > 1 and np.any(np.diff(ids) != 1):
        batch.frame_ids.extend(ids.tolist())


class Item:
    """Part of a writer's input.

    Attributes:
        batch: number, on the present call, of the message that carried it.
        sent: whether any call has carried it.
    """

    method = ""
    noun = ""
    ids: np.ndarray

    def __init__(self) -> None:
        self.batch = 0
        self.sent = False

    def _part(self, where: slice) -> "Item":
        part = self.part(where)
        part.sent = self.sent
        return part

    @property
    def count(self) -> int:
        """Frames, positions or samples."""
        raise NotImplementedError

    @property
    def payload(self) -> int:
        """Bytes that count against the granted credit."""
        raise NotImplementedError

    @property
    def weight(self) -> int:
        """Bytes that count against the bounds of the writer's memory."""
        return self.payload

    def own(self) -> None:
        """Copies what belongs to the caller."""
        raise NotImplementedError

    def known_to(self, known: KnownIds) -> np.ndarray:
        """Which of its parts a session that has `known` does not need; one bool for each."""
        return known.mask(self.ids)

    def part(self, where: slice) -> "Item":
        """An item of some of its parts; only where there are several."""
        raise NotImplementedError

    def joins(self, other: "Item") -> bool:
        """Whether one message can carry both, `other` next to this one."""
        raise NotImplementedError

    @staticmethod
    def message(items: Sequence[Any]) -> Message:
        raise NotImplementedError

    def cut(self, limit: int) -> list["Item"]:
        """The item in parts of at most `limit` bytes of payload, or of one frame or position."""
        if self.payload <= limit or self.count == 1:
            return [self]
        middle = self.count // 2
        halves = (self._part(slice(None, middle)), self._part(slice(middle, None)))
        return [part for half in halves for part in half.cut(limit)]

    def split(self, known: KnownIds) -> list[tuple["Item", bool]]:
        """The item in runs that the session knows (True) or does not."""
        mask = self.known_to(known)
        edges = [0, *(np.flatnonzero(np.diff(mask)) + 1), len(mask)]
        if len(edges) == 2:
            return [(self, bool(mask[0]))]
        out = []
        for begin, end in zip(edges, edges[1:]):
            out.append((self._part(slice(begin, end)), bool(mask[begin])))
        return out


class FrameFormat(NamedTuple):
    """What all frames of a session have in common."""

    dtype: np.dtype  # Little-endian.
    rows: int
    cols: int
    dtype_enum: Any  # v1.DataType.
    encoding: Any = ingest_pb2.ENCODING_RAW

    @property
    def frame_bytes(self) -> int:
        return self.dtype.itemsize * self.rows * self.cols


class Frames(Item):
    """Frames: of one array [frames, rows, cols], or encoded, as bytes."""

    method = "StreamFrames"
    noun = "frames"

    def __init__(self, frame_format: FrameFormat, ids: np.ndarray,
                 pixels: Optional[np.ndarray] = None, encoded: Sequence[Any] = ()) -> None:
        super().__init__()
        self.format = frame_format
        self.ids = ids
        self._pixels = pixels
        self._encoded = encoded
        self._message: Optional[Message] = None  # Of this item alone; holds its pixels.
        self._payload = pixels.nbytes if pixels is not None else sum(map(len, encoded))

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def payload(self) -> int:
        return self._payload

    def own(self) -> None:
        if self._pixels is None and all(isinstance(frame, bytes) for frame in self._encoded):
            return  # They cannot change; the sending thread puts them together.
        if self.payload < _LARGE:
            if self._pixels is None:
                self._encoded = [bytes(frame) for frame in self._encoded]
            else:
                self._pixels = self._pixels.copy()
            return
        # One copy does for keeping and for sending.
        request = Frames.message([self]).join()
        begin = len(request) - self.payload
        if self._pixels is None:
            ends = np.cumsum([begin, *map(len, self._encoded)]).tolist()
            held = memoryview(request)
            self._encoded = [held[a:b] for a, b in zip(ends, ends[1:])]
        else:
            pixels = np.frombuffer(request, self._pixels.dtype, offset=begin)
            self._pixels = pixels.reshape(self._pixels.shape)
        self._message = Message([request], self.payload)

    def part(self, where: slice) -> "Frames":
        pixels = None if self._pixels is None else self._pixels[where]
        return Frames(self.format, self.ids[where], pixels, self._encoded[where])

    def joins(self, other: Item) -> bool:
        return isinstance(other, Frames)

    @staticmethod
    def message(items: Sequence["Frames"]) -> Message:
        if len(items) == 1 and items[0]._message is not None:
            return items[0]._message
        form = items[0].format
        ids = np.concatenate([item.ids for item in items])
        payload = sum(item.payload for item in items)
        batch = ingest_pb2.FrameBatch(count=len(ids), dtype=form.dtype_enum, rows=form.rows,
                                      cols=form.cols, encoding=form.encoding)
        _ids_of(batch, ids)
        data: list = []
        for item in items:
            batch.encoded_sizes.extend(map(len, item._encoded))
            data += item._encoded if item._pixels is None else [item._pixels.data]
        head = batch.SerializeToString() + _length_of(_FRAMES_DATA, payload)
        return Message([_length_of(_FRAMES_BATCH, len(head) + payload), head, *data], payload)


class Skipped(Item):
    """Ids that the detector has lost."""

    method = Frames.method
    noun = Frames.noun
    payload = 0
    weight = _SKIPPED_WEIGHT

    def __init__(self, first: int, count: int) -> None:
        super().__init__()
        self._first = first
        self._count = count

    @property
    def count(self) -> int:
        return self._count

    def own(self) -> None:
        """It has nothing of the caller's."""

    def known_to(self, known: KnownIds) -> np.ndarray:
        first, last = np.array([self._first]), np.array([self._first + self._count - 1])
        return known.contains(first, last)

    def joins(self, other: Item) -> bool:
        return False

    @staticmethod
    def message(items: Sequence["Skipped"]) -> Message:
        request = ingest_pb2.StreamFramesRequest(skipped=ingest_pb2.SkippedFrames(
            first_frame_id=items[0]._first, count=items[0]._count))
        return Message([request.SerializeToString()], 0)


class Positions(Item):
    """Positions of frames, in metres."""

    method = "StreamPositions"
    noun = "positions"

    def __init__(self, ids: np.ndarray, x_m: np.ndarray, y_m: np.ndarray) -> None:
        super().__init__()
        self.ids = ids
        self._x_m = x_m
        self._y_m = y_m

    @property
    def count(self) -> int:
        return len(self.ids)

    @property
    def payload(self) -> int:
        return 16 * len(self.ids)  # Ids do not count.

    def own(self) -> None:
        self.ids, self._x_m, self._y_m = self.ids.copy(), self._x_m.copy(), self._y_m.copy()

    def part(self, where: slice) -> "Positions":
        return Positions(self.ids[where], self._x_m[where], self._y_m[where])

    def joins(self, other: Item) -> bool:
        return isinstance(other, Positions)

    @staticmethod
    def message(items: Sequence["Positions"]) -> Message:
        batch = ingest_pb2.PositionBatch()
        _ids_of(batch, np.concatenate([item.ids for item in items]))
        return _pairs(_POSITIONS_BATCH, batch, _POSITIONS_X, [item._x_m for item in items],
                      _POSITIONS_Y, [item._y_m for item in items])


class EncoderSamples(Item):
    """Encoder samples, in counts. They have no ids, so that nobody knows them."""

    method = Positions.method
    noun = Positions.noun

    def __init__(self, first: int, x_counts: np.ndarray, y_counts: np.ndarray) -> None:
        super().__init__()
        self._first = first
        self._x_counts = x_counts
        self._y_counts = y_counts

    @property
    def count(self) -> int:
        return len(self._x_counts)

    @property
    def payload(self) -> int:
        return 16 * len(self._x_counts)

    def part(self, where: slice) -> "EncoderSamples":
        begin = where.start or 0
        return EncoderSamples(self._first + begin, self._x_counts[where], self._y_counts[where])

    def own(self) -> None:
        self._x_counts, self._y_counts = self._x_counts.copy(), self._y_counts.copy()

    def known_to(self, known: KnownIds) -> np.ndarray:
        return np.zeros(1, bool)

    def joins(self, other: Item) -> bool:
        return isinstance(other, EncoderSamples) and other._first == self._first + self.count

    @staticmethod
    def message(items: Sequence["EncoderSamples"]) -> Message:
        samples = ingest_pb2.EncoderSamples(first_sample=items[0]._first)
        return _pairs(_ENCODER_SAMPLES, samples, _ENCODER_X, [item._x_counts for item in items],
                      _ENCODER_Y, [item._y_counts for item in items])


def _pairs(field: int, rest: Any, x_field: int, x: list[np.ndarray], y_field: int,
           y: list[np.ndarray]) -> Message:
    """A request with two lists of doubles beside `rest`."""
    length = sum(part.nbytes for part in x)
    pieces = [rest.SerializeToString(), _length_of(x_field, length), *(part.data for part in x),
              _length_of(y_field, length), *(part.data for part in y)]
    return _nested(field, pieces, 2 * length)


def open_message(item_kind: type[Item], session: str, producer: str, epoch: int) -> bytes:
    """The first message of a stream."""
    request: Any = (ingest_pb2.StreamFramesRequest if item_kind.method == Frames.method
                    else ingest_pb2.StreamPositionsRequest)
    stream = ingest_pb2.OpenStream(session=session, producer=producer, epoch=epoch)
    return request(open=stream).SerializeToString()


def fill(items: Iterable[Item], limit: int, most: int) -> list[Item]:
    """Which of the items the next message carries.

    The first in any case, then as many as keep the payload within `limit` bytes, and the frames or
    positions within `most`.
    """
    taken: list[Item] = []
    payload = count = 0
    for item in items:
        if taken and (not taken[-1].joins(item) or payload + item.payload > limit
                      or count + item.count > most):
            break
        taken.append(item)
        payload += item.payload
        count += item.count
    return taken
