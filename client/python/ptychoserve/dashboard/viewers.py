"""What a browser is to be told. One that is slow misses what was overtaken, and nothing else waits
for it.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Optional


@dataclass(frozen=True)
class Message:
    """JSON, made once for all who get it. A newer one of its kind takes its place."""

    kind: str
    text: str


def message(kind: str, **content: Any) -> Message:
    return Message(kind, json.dumps({"type": kind, **content}, allow_nan=False))


class Viewer:
    """One page. For each kind of message, the newest one waits to be sent."""

    def __init__(self, session_id: Optional[str]) -> None:
        self.session_id = session_id
        self._waiting: dict[str, Message] = {}
        self._something = asyncio.Event()

    def put(self, new: Message) -> None:
        """Replaces what waits of the same kind."""
        self._waiting[new.kind] = new
        self._something.set()

    async def take(self) -> list[Message]:
        """All that waits, when there is something."""
        await self._something.wait()
        self._something.clear()
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken
