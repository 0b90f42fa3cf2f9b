"""The schedule: how long it takes to know when each of 10,000 agents is due, and what waiting costs.

    python bench/schedules.py [SECONDS]

The floor is the same loop without any search.
"""

from __future__ import annotations

import asyncio
import random
import resource
import statistics
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from app.agents.base import Agent, AgentContext, AgentResult
from app.agents.cron import next_due, parse
from app.agents.planner import Calendar, Plan
from app.agents.scheduler import AgentScheduler
from tests.fakes.agents import open_agent_service

COUNT = 10_000
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")]


def lines() -> list[str]:
    """As people write them: fixed times, weekdays, every few minutes, monthly."""
    rng = random.Random(8)
    kinds = (
        lambda: f"{rng.randrange(60)} {rng.randrange(24)} * * *",
        lambda: f"{rng.randrange(60)} {rng.randrange(24)} * * 1-5",
        lambda: f"*/{rng.choice([5, 10, 15])} * * * *",
        lambda: f"{rng.randrange(60)} */{rng.choice([2, 4, 6])} * * *",
        lambda: f"{rng.randrange(60)} {rng.randrange(24)} {rng.randrange(1, 29)} * *",
        lambda: f"{rng.randrange(60)} {rng.randrange(60)} {rng.randrange(24)} * * {rng.randrange(8)}",
        lambda: f"every {rng.randrange(1, 600)}m",
    )
    return [rng.choice(kinds)() for _ in range(COUNT)]


def next_due_of_all() -> None:
    written = lines()
    begin = perf_counter()
    schedules = [parse(line) for line in written]
    read = perf_counter() - begin
    zones = [ZONES[i % len(ZONES)] for i in range(COUNT)]
    now = datetime(2026, 11, 26, 12, 0, 0, 400_000, tzinfo=UTC)
    found, floors = [], []
    for _ in range(5):
        begin = perf_counter()
        for schedule, zone in zip(schedules, zones, strict=True):
            next_due(schedule, now, zone)
        found.append(perf_counter() - begin)
        begin = perf_counter()
        for _schedule, zone in zip(schedules, zones, strict=True):
            now.astimezone(zone)
        floors.append(perf_counter() - begin)
    print(f"{COUNT} schedules            read once {read * 1000:6.0f} ms ({len(set(written))} different)")
    print(
        f"next due of all             best {min(found) * 1000:6.1f}   median {statistics.median(found) * 1000:6.1f} ms"
    )
    print(f"floor: one zone change each best {min(floors) * 1000:6.1f} ms")
    calendar = Calendar()
    for number, (schedule, zone) in enumerate(zip(schedules, zones, strict=True)):
        calendar.put(Plan(str(number), schedule, zone, timedelta(hours=1)), now)
    begin, taken = perf_counter(), 0
    for minute in range(60):
        taken += len(calendar.take(now + timedelta(minutes=minute)))
    print(f"an hour of looks, {taken} due    {(perf_counter() - begin) * 1000:6.1f} ms")


class Stopwatch(Agent):
    """Notes how late it starts."""

    name, description = "stopwatch", "Notes how late it starts."

    def __init__(self) -> None:
        self.late: list[float] = []

    async def run(self, context: AgentContext) -> AgentResult:
        assert context.scheduled_at is not None
        self.late.append((datetime.now(UTC) - context.scheduled_at).total_seconds() * 1000)
        return AgentResult("ticked")


async def starts(seconds: float) -> None:
    agent = Stopwatch()
    entries: list[dict[str, Any]] = [{"name": "stopwatch", "schedule": "* * * * * *"}]
    with tempfile.TemporaryDirectory() as folder:
        async with open_agent_service(Path(folder), [agent], entries) as opened:
            scheduler = AgentScheduler(opened.service, opened.clock.now)
            scheduler.start()
            await asyncio.sleep(seconds)
            await scheduler.aclose()
    late = sorted(agent.late)
    print(
        f"starts after their second   median {statistics.median(late):6.1f}   worst of {len(late)} {late[-1]:6.1f} ms"
    )


async def idle(seconds: float) -> None:
    entries = [{"name": f"a{n}", "agent": "stopwatch", "schedule": "0 3 1 1 *"} for n in range(100)]
    with tempfile.TemporaryDirectory() as folder:
        async with open_agent_service(Path(folder), [Stopwatch()], entries) as opened:
            scheduler = AgentScheduler(opened.service, opened.clock.now)
            scheduler.start()
            await asyncio.sleep(1)
            before, begin = resource.getrusage(resource.RUSAGE_SELF), perf_counter()
            await asyncio.sleep(seconds)
            after, took = resource.getrusage(resource.RUSAGE_SELF), perf_counter() - begin
            await scheduler.aclose()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"idle with 100 agents        {100 * cpu / took:.3f} % of a core over {took:.0f} s")


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    next_due_of_all()
    asyncio.run(starts(seconds))
    asyncio.run(idle(max(seconds, 35.0)))  # longer than the pulse


if __name__ == "__main__":
    main()
