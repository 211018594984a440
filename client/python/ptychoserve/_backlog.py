"""What a writer still answers for."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from ptychoserve._batching import Item, fill
from ptychoserve._known_ids import KnownIds


class Sent(NamedTuple):
    """What a message was made of."""

    items: list[Item]
    payload: int
    weight: int
    first_time: int  # Frames, positions or samples that had not been sent before,
    again: int       # and those that had.


class Backlog:
    """One queue: first what was sent and may have to be sent again, then what waits.

    Both in the order of the messages.
    """

    def __init__(self) -> None:
        self._sent: deque[Item] = deque()
        self._waiting: deque[Item] = deque()
        self._sent_weight = 0
        self.waiting_weight = 0
        self.waiting_payload = 0

    def __len__(self) -> int:
        return len(self._sent) + len(self._waiting)

    @property
    def weight(self) -> int:
        return self._sent_weight + self.waiting_weight

    @property
    def nothing_waits(self) -> bool:
        return not self._waiting

    @property
    def next(self) -> Item:
        """The first of those that wait; there is one."""
        return self._waiting[0]

    def add(self, item: Item) -> None:
        self.waiting_payload += item.payload
        self.waiting_weight += item.weight
        self._waiting.append(item)

    def add_arrived(self, item: Item) -> None:
        """Adds an item that a message before those of the present call has carried."""
        item.batch, item.sent = 0, True
        self._sent_weight += item.weight
        self._sent.appendleft(item)

    def take(self, limit: int, most: int, batch: int) -> Sent:
        """Takes what the next message carries, number `batch` of the call; see `fill`."""
        items = fill(self._waiting, limit, most)
        first_time = sum(item.count for item in items if not item.sent)
        count = sum(item.count for item in items)
        payload = sum(item.payload for item in items)
        weight = sum(item.weight for item in items)
        for item in items:
            self._sent.append(self._waiting.popleft())
            item.batch, item.sent = batch, True
        self.waiting_payload -= payload
        self.waiting_weight -= weight
        self._sent_weight += weight
        return Sent(items, payload, weight, first_time, count - first_time)

    def release(self, batch: int) -> None:
        """Lets go of what messages up to number `batch` have carried."""
        while self._sent and self._sent[0].batch <= batch:
            self._sent_weight -= self._sent.popleft().weight

    def forget(self, limit: int, batch: int) -> int:
        """Lets go of the oldest of that until what was sent weighs at most `limit`; how many."""
        forgotten = 0
        while self._sent and self._sent_weight > limit and self._sent[0].batch <= batch:
            item = self._sent.popleft()
            self._sent_weight -= item.weight
            forgotten += item.count
        return forgotten

    def restart(self, known: KnownIds) -> int:
        """Before the first message of a new call.

        What is known counts as carried by message 0, all else waits, in its order. Returns how many
        of the known had never been sent.
        """
        items = [*self._sent, *self._waiting]
        self._sent.clear()
        self._waiting.clear()
        self._sent_weight = self.waiting_weight = self.waiting_payload = 0
        spared = 0
        for item in items:
            for part, is_known in item.split(known):
                if not is_known:
                    self.add(part)
                    continue
                spared += 0 if part.sent else part.count
                part.batch, part.sent = 0, True
                self._sent_weight += part.weight
                self._sent.append(part)
        return spared

    def cut(self, limit: int) -> int:
        """Cuts what waits to items of at most `limit` bytes, where it can; the largest payload."""
        waiting, self._waiting = self._waiting, deque()
        for item in waiting:
            parts = item.cut(limit)
            self._waiting.extend(parts)
        return max((item.payload for item in self._waiting), default=0)

    def counts(self, batch: int) -> tuple[int, int]:
        """Frames, positions or samples: (not acknowledged, acknowledged) by message `batch`."""
        acknowledged = sum(item.count for item in self._sent if item.batch <= batch)
        everything = sum(item.count for item in (*self._sent, *self._waiting))
        return everything - acknowledged, acknowledged
