"""What happens in the sidecar, told to whoever watches at the moment. Nothing is kept for later.

ledger.observe ──┐
config.subscribe ┼──> publish ──> each Watcher's bounded queue ──> GET /api/v1/events
inbox ───────────┘
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from app.usage.pricing import to_usd
from app.usage.records import AttemptEnd, AttemptStart

CAPACITY: Final = 256
"""What that wait for one watcher. One who falls behind further is told to read everything anew."""


@dataclass(frozen=True, slots=True)
class Happening:
    """`kind` names the event; `data` is small, JSON, and without a word of any prompt or answer."""

    kind: str
    data: dict[str, Any] = field(default_factory=dict)


MISSED: Final = Happening("missed")


class Watcher:
    """One who watches: an endless iteration over batches of what happened since."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[Happening] = deque()
        self._some = asyncio.Event()

    def tell(self, happening: Happening) -> None:
        if len(self._waiting) >= self._capacity:
            self._waiting.clear()
            happening = MISSED
        self._waiting.append(happening)
        self._some.set()

    async def batches(self) -> AsyncIterator[list[Happening]]:
        while True:
            await self._some.wait()
            batch = list(self._waiting)
            self._waiting.clear()
            self._some.clear()
            yield batch


class Happenings:
    """Used on one event loop; publishing waits for nobody and raises nothing."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        for watcher in self._watchers:
            watcher.tell(Happening(kind, data))

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        watcher = Watcher(self._capacity)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def settled(self, start: AttemptStart, end: AttemptEnd, last: bool) -> None:
        """For `UsageLedger.observe`."""
        if not self._watchers:
            return
        self.publish(
            "settled",
            {
                "request_id": start.request_id,
                "attempt": start.attempt,
                "last": last,
                "workspace": start.workspace_profile_id,
                "model": start.model,
                "status": end.status.value,
                "cost_usd": None if end.cost_micro_usd is None else to_usd(end.cost_micro_usd),
            },
        )
