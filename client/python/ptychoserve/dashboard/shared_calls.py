"""Calls that many ask for and one makes."""

from __future__ import annotations

import asyncio
from typing import Awaitable, Callable, Generic, Hashable, TypeVar

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")


class SharedCalls(Generic[Key, Answer]):
    """However many ask, one call for a key is under way at a time, and all of them get its answer.
    It goes on when those who asked give up.
    """

    def __init__(self, call: Callable[[Key], Awaitable[Answer]]) -> None:
        self._call = call
        self._tasks: dict[Key, asyncio.Task[Answer]] = {}

    async def get(self, key: Key) -> Answer:
        """Joins the call that is under way, or begins one."""
        if key not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._run(key))
            # When all have given up, nobody else takes note of how it went wrong.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._tasks[key] = task
        return await asyncio.shield(self._tasks[key])

    def close(self) -> None:
        """Ends those under way."""
        for task in list(self._tasks.values()):
            task.cancel()

    async def _run(self, key: Key) -> Answer:
        try:
            return await self._call(key)
        finally:
            del self._tasks[key]
