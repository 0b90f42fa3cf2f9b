"""Which due times have come, and what becomes of each. Pure: the clock is passed in.

    accounted to ───── missed ─── missed ─── [catch-up] ──── now ─── next due
                                              within grace

Between two looks lies a second, or a night with the lid shut. Every due time in between gets exactly one answer: the
last one is started if it is not too late, the others were missed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from typing import Final

from app.agents.cron import Schedule, due_times, next_due

MAX_MISSED: Final = 100
"""Missed times that get a row each, the latest; one more tells that there were earlier ones."""
PROMPT: Final = timedelta(seconds=10)
"""A start this late is no catch-up, and needs no grace."""
_FIRST_SPAN = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Plan:
    """One agent's schedule as it is in force."""

    agent: str
    schedule: Schedule
    zone: tzinfo
    grace: timedelta

    @property
    def fingerprint(self) -> str:
        """Changes where other due times follow."""
        return f"{self.schedule.text} | {self.zone}"


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the due times of a span. `missed` rise; `earlier`: there were more before the first of them."""

    run: datetime | None = None
    missed: tuple[datetime, ...] = ()
    earlier: bool = False


def account(plan: Plan, after: datetime, now: datetime) -> Account:
    """The due times later than `after` and not later than `now`."""
    times, earlier = _last_due(plan, after, now)
    if not times:
        return Account()
    if now - times[-1] <= max(plan.grace, PROMPT):
        return Account(times[-1], tuple(times[:-1][-MAX_MISSED:]), earlier or len(times) > MAX_MISSED + 1)
    return Account(None, tuple(times[-MAX_MISSED:]), earlier or len(times) > MAX_MISSED)


def _last_due(plan: Plan, after: datetime, now: datetime) -> tuple[list[datetime], bool]:
    """The last ones, more than `MAX_MISSED` where there are so many; and whether some before them were left out.

    Looks back in ever longer spans: an agent of every second that was away for a year costs no year of seconds.
    """
    span = _FIRST_SPAN
    while True:
        begin = max(after, now - span)
        times = list(_until(plan, begin, now))
        if begin == after:
            return times, False
        if len(times) > MAX_MISSED + 1:
            first = next_due(plan.schedule, after, plan.zone)
            return times, first is not None and first < times[0]
        span *= 8


def _until(plan: Plan, begin: datetime, now: datetime) -> Iterator[datetime]:
    for moment in due_times(plan.schedule, begin, plan.zone):
        if moment > now:
            return
        yield moment


def upcoming(plan: Plan, now: datetime, count: int) -> list[datetime]:
    """The next due times."""
    return list(islice(due_times(plan.schedule, now, plan.zone), count))


@dataclass(frozen=True, slots=True)
class _Planned:
    plan: Plan
    accounted_to: datetime
    due: datetime | None


class Calendar:
    """The plans in force and when each is due next. Looking costs what is due, however many plans there are."""

    def __init__(self) -> None:
        self._plans: dict[str, _Planned] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._looked: datetime | None = None

    def __contains__(self, agent: str) -> bool:
        return agent in self._plans

    def put(self, plan: Plan, accounted_to: datetime) -> None:
        """From now on by this plan; due times up to `accounted_to` have been dealt with."""
        due = next_due(plan.schedule, accounted_to, plan.zone)
        self._plans[plan.agent] = _Planned(plan, accounted_to, due)
        if due is not None:
            heapq.heappush(self._heap, (due, plan.agent))

    def remove(self, agent: str) -> None:
        self._plans.pop(agent, None)

    def plan(self, agent: str) -> Plan | None:
        planned = self._plans.get(agent)
        return planned.plan if planned else None

    @property
    def agents(self) -> list[str]:
        return list(self._plans)

    def next_due(self) -> datetime | None:
        """The earliest due time of all; None: nothing will ever be due."""
        while self._heap:
            due, agent = self._heap[0]
            planned = self._plans.get(agent)
            if planned is not None and planned.due == due:
                return due
            heapq.heappop(self._heap)  # of a plan that is gone, or has been replaced
        return None

    def take(self, now: datetime) -> list[tuple[Plan, Account]]:
        """What has become due up to `now`; it is accounted for from here on.

        A clock that was set back makes due times come a second time. They are answered again, and their rows, unique by
        due time, say that they have been dealt with.
        """
        if self._looked is not None and now < self._looked:
            for planned in list(self._plans.values()):
                if planned.accounted_to > now:
                    self.put(planned.plan, now)
        self._looked = now
        found = []
        while (due := self.next_due()) is not None and due <= now:
            _, agent = heapq.heappop(self._heap)
            planned = self._plans[agent]
            found.append((planned.plan, account(planned.plan, planned.accounted_to, now)))
            self.put(planned.plan, now)
        return found
