"""Schedule: what is due, answered by rows; which agents rest, and how often each failed. It outlasts restarts.

look(now) ── Calendar.take ── rows: `due` | `skipped` | `missed`, one transaction ── launch
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from sqlalchemy import Connection

from app.agents import run_rows
from app.agents.cron import BadSchedule, parse
from app.agents.launching import Launcher
from app.agents.planner import Account, Calendar, Plan, upcoming
from app.agents.records import Run, ScheduleRecord, State
from app.agents.registry import Registered, Registry
from app.agents.runs import Live, Runs
from app.errors import SidecarError
from app.llm.clock import Clock
from app.store.database import Database

HOLD: Final = timedelta(seconds=5)
"""After the database could not be written."""

log = logging.getLogger(__name__)


class Schedule:
    """One per process."""

    def __init__(self, database: Database, clock: Clock, registry: Registry, runs: Runs, launcher: Launcher) -> None:
        self._database = database
        self._clock = clock
        self._registry = registry
        self._runs = runs
        self._launcher = launcher
        self._calendar = Calendar()
        self._records: dict[str, ScheduleRecord] = {}
        self._hold_until: datetime | None = None
        self._looking = asyncio.Lock()
        self.rescheduled: Callable[[], None] = lambda: None
        """Called when `next_due` may have become earlier."""

    async def open(self) -> None:
        """Read what outlasts a restart, and set the calendar up."""
        self._records = await self._database.read(run_rows.schedules)
        await self.configure()

    @property
    def agents(self) -> list[str]:
        """Those that are scheduled."""
        return list(self._calendar.agents)

    @property
    def records(self) -> list[ScheduleRecord]:
        """Of every agent there ever was one of."""
        return list(self._records.values())

    async def configure(self) -> None:
        """Follow the configuration in force: new schedules count from now, unchanged ones from where they were."""
        now = self._clock.now()
        changed = []
        plans = {plan.agent: plan for plan in map(self._plan, self._registry.all()) if plan is not None}
        for agent in set(self._calendar.agents) - plans.keys():
            self._calendar.remove(agent)
        for agent, plan in plans.items():
            record = self.record(agent)
            same = record.fingerprint == plan.fingerprint and record.accounted_to is not None
            if not same:
                record = self.keep(replace(record, fingerprint=plan.fingerprint, accounted_to=now))
                changed.append(record)
            if not same or self._calendar.plan(agent) != plan:
                assert record.accounted_to is not None
                self._calendar.put(plan, min(record.accounted_to, now))
        for agent, record in self._records.items():
            if agent not in plans and record.fingerprint is not None:
                changed.append(self.keep(replace(record, fingerprint=None, accounted_to=None)))
        await self.store(changed)
        self.rescheduled()

    def next_due(self) -> datetime | None:
        """When the next agent is due (UTC); None: never."""
        due = self._calendar.next_due()
        return due if due is None or self._hold_until is None else max(due, self._hold_until)

    async def look(self, now: datetime) -> None:
        """Start what has become due, and write down what was missed."""
        if self._hold_until is not None and timedelta(0) < self._hold_until - now <= HOLD:
            return
        self._hold_until = None
        async with self._looking:
            taken = self._calendar.take(now)
            found = [(plan, account) for plan, account in taken if self.record(plan.agent).paused_at is None]
            if found:
                await self._answer(found, now)

    async def _answer(self, found: Sequence[tuple[Plan, Account]], now: datetime) -> None:
        """Rows for due times, in one transaction; then the runs among them are launched."""
        reserved: list[tuple[Live, Registered]] = []
        rows: list[Run] = []
        records = []
        before = {plan.agent: self.record(plan.agent) for plan, _ in found}
        for plan, account in found:
            registered = self._launcher.known(plan.agent)
            if registered is None:  # gone from agents.yaml a moment ago
                continue
            profile = self._launcher.profile_of(registered, None)
            rows += [self._launcher.row(registered, profile, State.MISSED, now, due) for due in account.missed]
            if account.missed and account.earlier:
                message = "there were earlier ones, which have no row"
                rows[-len(account.missed)] = replace(rows[-len(account.missed)], error_message=message)
            if account.run is not None:
                run, live = self._launcher.reserved(registered, profile, account.run, now)
                rows.append(run)
                if live is not None:
                    reserved.append((live, registered))
            records.append(self.keep(replace(self.record(plan.agent), accounted_to=now)))
        try:
            added = set(await self._database.write(partial(_write_due, rows, records)))
        except SidecarError as error:
            log.error("due agents cannot be started now: %s", error.detail)
            self._take_back(found, before, now)
            added = set()
        for live, registered in reserved:
            self._launcher.launch(live, registered) if live.run.id in added else self._runs.release(live)

    def _take_back(
        self, found: Sequence[tuple[Plan, Account]], before: Mapping[str, ScheduleRecord], now: datetime
    ) -> None:
        """The database could not be written: what was due is due again in a while."""
        self._hold_until = now + HOLD
        for plan, account in found:
            record = self.keep(before[plan.agent])
            first = min((*account.missed, *([account.run] if account.run else [])), default=now)
            since = first - timedelta(seconds=1)
            self._calendar.put(plan, min(record.accounted_to or since, since))

    # -- rests and failures

    async def pause(self, agent: str, because: str) -> None:
        """It rests until `resume`, also over restarts."""
        if self.record(agent).paused_at is None:
            now = self._clock.now()
            await self.store([self.keep(replace(self.record(agent), paused_at=now, paused_because=because))])

    async def resume(self, agent: str) -> None:
        """It goes on from now; what was due meanwhile is not made up for."""
        now = self._clock.now()
        record = replace(self.record(agent), paused_at=None, paused_because=None, failures=0)
        if (plan := self._calendar.plan(agent)) is not None:
            record = replace(record, accounted_to=now)
            self._calendar.put(plan, now)
        await self.store([self.keep(record)])
        self.rescheduled()

    def upcoming(self, agent: str, count: int) -> tuple[datetime, ...]:
        """When it is due next; nothing where it is not scheduled or rests."""
        plan = self._calendar.plan(agent)
        rests = self.record(agent).paused_at is not None
        return () if plan is None or rests else tuple(upcoming(plan, self._clock.now(), count))

    def _plan(self, registered: Registered) -> Plan | None:
        entry = registered.entry
        if not entry.enabled or entry.schedule is None or registered.agent is None:
            return None
        try:
            schedule = parse(entry.schedule)
        except BadSchedule:  # the check of the configuration has refused it
            return None
        return Plan(entry.name, schedule, self._launcher.zone(registered), timedelta(seconds=entry.grace_seconds))

    # -- what is kept of each agent

    def record(self, agent: str) -> ScheduleRecord:
        return self._records.get(agent) or ScheduleRecord(agent)

    def keep(self, record: ScheduleRecord) -> ScheduleRecord:
        """In force from now on; `store` puts it on disk."""
        self._records[record.agent] = record
        return record

    async def store(self, records: Sequence[ScheduleRecord]) -> None:
        if records:
            await self._database.write(partial(_write_due, (), records))


def _write_due(rows: Sequence[Run], records: Sequence[ScheduleRecord], connection: Connection) -> list[str]:
    for record in records:
        run_rows.put_schedule(connection, record)
    return run_rows.add(connection, rows)
