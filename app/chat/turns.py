"""Who goes when: answers of one session one after the other, changes of one session one after the other."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")


class Turns:
    """A fair lock per key; keys nobody holds or waits for take no room."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._interested: dict[str, int] = {}

    async def take(self, key: str) -> Turn:
        """Returns when it is this caller's turn, first come first served. Cancelling leaves the line."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._interested[key] = self._interested.get(key, 0) + 1
        try:
            await lock.acquire()
        except BaseException:
            self._lose_interest(key)
            raise
        return Turn(self, key)

    def waiting(self, key: str) -> int:
        """How many hold or wait for the key."""
        return self._interested.get(key, 0)

    def _release(self, key: str) -> None:
        self._locks[key].release()
        self._lose_interest(key)

    def _lose_interest(self, key: str) -> None:
        self._interested[key] -= 1
        if self._interested[key] == 0:
            del self._interested[key], self._locks[key]


class Turn:
    """A turn that was taken. May be handed to another task; `end` it exactly once (a second time does nothing)."""

    def __init__(self, turns: Turns, key: str) -> None:
        self._turns: Turns | None = turns
        self._key = key

    def end(self) -> None:
        if self._turns is not None:
            self._turns._release(self._key)
            self._turns = None


class Line:
    """Work by key: one at a time and in order for each key, in tasks of its own that outlive their callers."""

    def __init__(self) -> None:
        self._tails: dict[str, asyncio.Task[Any]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """The work's value, or what it raised. A caller that is cancelled leaves the work to end by itself."""
        before = self._tails.get(key)

        async def turn() -> T:
            if before is not None:
                await asyncio.wait([before])
            return await work()

        task = self.start(turn())
        self._tails[key] = task
        task.add_done_callback(lambda _: self._tails.pop(key) if self._tails.get(key) is task else None)
        return await asyncio.shield(task)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run it beside everything else; what it raises is logged where nobody waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.debug("work on a session ended: %s: %s", type(error).__name__, error)

    async def aclose(self, *, cancel: bool) -> None:
        tasks = list(self._tasks)
        if cancel:
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
