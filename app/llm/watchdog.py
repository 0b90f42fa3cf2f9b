"""How long a call may stay silent, at the cost of a clock reading per wait instead of a timer per wait."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from app.errors import AttemptTimeout

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds a call may stay silent: until its first content, between two reads after it, and in all."""

    first_token: float
    idle: float
    total: float


class Watchdog:
    """Bounds each wait of one call, in the task that makes it.

    `asyncio.timeout` makes and cancels a timer per use, which a stream would pay per network read. Here one timer runs
    ahead and moves itself along. The limit holds only inside `wait`: a consumer that is slow between two reads is
    never cut for it.
    """

    __slots__ = ("_deadline", "_fired", "_handle", "_limits", "_loop", "_started", "_task", "content_seen")

    def __init__(self, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._started = self._loop.time()
        self._deadline = math.inf
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[object] | None = None
        self._fired = False
        self.content_seen = False
        """Set by the caller at the first content: from then on the idle limit counts."""

    async def wait(self, awaitable: Awaitable[T]) -> T:
        """The awaitable's result. Raises `AttemptTimeout` when it outlasts what is left of the limits."""
        self._arm()
        try:
            return await awaitable
        except asyncio.CancelledError:
            # A cancellation from elsewhere that came at the same time must go on: uncancel() counts the rest.
            if self._fired and self._task is not None and self._task.uncancel() == 0:
                raise AttemptTimeout(self._what_was_late()) from None
            raise
        finally:
            self._deadline = math.inf

    def close(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        self._task = asyncio.current_task()
        now = self._loop.time()
        silent_until = now + self._limits.idle if self.content_seen else self._started + self._limits.first_token
        self._deadline = min(silent_until, self._started + self._limits.total)
        if self._handle is None or self._handle.when() > self._deadline:
            self._schedule()

    def _schedule(self) -> None:
        self.close()
        self._handle = self._loop.call_at(self._deadline, self._due)

    def _due(self) -> None:
        self._handle = None
        if self._deadline == math.inf:
            return
        if self._loop.time() < self._deadline:
            self._schedule()
            return
        self._fired = True
        if self._task is not None:
            self._task.cancel()

    def _what_was_late(self) -> str:
        if self._loop.time() - self._started >= self._limits.total:
            return f"the answer took longer than {self._limits.total:g} s"
        if self.content_seen:
            return f"the model said nothing for {self._limits.idle:g} s"
        return f"no first token within {self._limits.first_token:g} s"
