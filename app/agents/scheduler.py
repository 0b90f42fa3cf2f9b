"""AgentScheduler: wakes the agents' service when something is due. The only file that imports APScheduler.

APScheduler holds one job with one trigger of ours, which asks the calendar; cron lines, grace and rows are none of its
business. It sleeps by the monotonic clock, which stands still in a suspend and knows nothing of a wall clock that was
set: so a pulse looks at the wall clock every 30 s whatever it says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from apscheduler.schedulers.asyncio import AsyncIOScheduler  # type: ignore[import-untyped]
from apscheduler.triggers.base import BaseTrigger  # type: ignore[import-untyped]

from app.agents.service import AgentService

PULSE_SECONDS: Final = 30.0
_NEVER = timedelta(days=1)

log = logging.getLogger(__name__)


class DueTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires when the next agent is due: at once where one is overdue."""

    __slots__ = ("_next_due",)

    def __init__(self, next_due: Callable[[], datetime | None]) -> None:
        self._next_due = next_due

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        due = self._next_due() or now + _NEVER
        if previous_fire_time is not None and due <= previous_fire_time:
            # The look at what is due has not ended yet: not again at the same instant, or there would be no end.
            return now + timedelta(milliseconds=50)
        return max(due, now)


class AgentScheduler:
    """Runs from `start` to `aclose`."""

    def __init__(
        self, service: AgentService, now: Callable[[], datetime], pulse_seconds: float = PULSE_SECONDS
    ) -> None:
        self._service = service
        self._now = now
        self._pulse_seconds = pulse_seconds
        self._scheduler: Any = None
        self._job: Any = None
        self._pulse: asyncio.Task[None] | None = None

    def start(self) -> None:
        # Its own lines ("Running job ...", "skipped: maximum number of running instances") would be one per look.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._job = self._scheduler.add_job(
            self._look,
            DueTrigger(self._service.schedule.next_due),
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        self._scheduler.start()
        self._service.schedule.rescheduled = self.reconsider
        self._pulse = asyncio.create_task(self._beat(), name="agents-pulse")

    def reconsider(self) -> None:
        """What is due next may have changed."""
        if self._job is not None:
            self._job.reschedule(DueTrigger(self._service.schedule.next_due))

    async def _look(self) -> None:
        try:
            await self._service.look(self._now())
        except Exception:
            log.exception("looking for due agents failed")
        self.reconsider()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._pulse_seconds)
            await self._look()

    async def aclose(self) -> None:
        """No run is started any more."""
        self._service.schedule.rescheduled = lambda: None
        self._job = None
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            await asyncio.sleep(0)  # it shuts down in a callback of its own
