"""What a browser is to be told. One that is slow misses what was overtaken, and nothing else waits
for it.
"""

from __future__ import annotations

import asyncio
from typing import Any, Optional


class Viewer:
    """One page. For each kind of message, the newest one waits to be sent."""

    def __init__(self, session_id: Optional[str]) -> None:
        self.session_id = session_id
        self._waiting: dict[str, Any] = {}
        self._something = asyncio.Event()

    def put(self, message: dict[str, Any]) -> None:
        """Replaces what waits of the same `type`."""
        self._waiting[message["type"]] = message
        self._something.set()

    async def take(self) -> list[dict[str, Any]]:
        """All that waits, when there is something."""
        await self._something.wait()
        self._something.clear()
        taken = list(self._waiting.values())
        self._waiting.clear()
        return taken
