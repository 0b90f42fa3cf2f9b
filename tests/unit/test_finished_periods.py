"""Periods that are over are kept in memory, and no report is ever different for it."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.database import Database
from app.usage import rollups
from app.usage.finished import FinishedPeriods, Kept, with_kept
from app.usage.gathered import Block, Gathered
from app.usage.queries import UsageQuery, parse_query
from app.usage.reconcile import build_missing, state, verify
from app.usage.records import Status
from app.usage.reports import UsageReports, read_report
from app.usage.retention import drop_old_rows
from app.usage.rollups import SUMS
from app.usage.rows import Batch, Entry
from app.usage.spans import spans
from tests.unit.ledger_rows import NOW, attempt, ended

SHAPES = ("day", "day,model", "hour", "week,workspace", "model,day", "month", "day,task_type,model")
ZONES = ("UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe")


def asked(
    first: int, last: int, group_by: str, tz: str = "Europe/Berlin", seconds: int = 0, **filters: str
) -> UsageQuery:
    """From and to so many days ago."""
    start, end = (
        (NOW.replace(hour=0, minute=0) - timedelta(days=d, seconds=seconds)).isoformat() for d in (first, last)
    )
    return parse_query(start=start, end=end, tz=tz, group_by=group_by, filters=dict(filters), now=NOW)


async def write(database: Database, entries: Sequence[Entry]) -> None:
    await database.write(Batch(entries, lambda _error, _lost: None).run)


def entry(id: str, days: float, **changes: Any) -> Entry:
    cost = changes.pop("cost", 1_000)
    start = attempt(id, created_at=NOW - timedelta(days=days), **changes)
    return Entry(start, ended(cost_micro_usd=cost, latency_ms=100 + int(days * 7), time_to_first_token_ms=50))


async def compare(database: Database, reports: UsageReports, queries: Sequence[UsageQuery]) -> None:
    for query in queries:
        fresh = await database.read(lambda connection, query=query: read_report(connection, query))  # type: ignore[misc]
        assert await reports.report(query) == fresh


@st.composite
def steps(draw: st.DrawFn) -> list[Any]:
    """What is written, and what is asked in between."""
    found: list[Any] = []
    for number in range(draw(st.integers(1, 4))):
        rows = []
        for n in range(draw(st.integers(0, 6))):
            days = draw(st.sampled_from([0.0, 0.4, 1.0, 1.4, 2.0, 2.5, 3.0, 9.0, 31.0, 60.0])) + draw(
                st.sampled_from([0.0, 1 / 24, 0.37])
            )
            changes = {
                "model": draw(st.sampled_from(["a", "b"])),
                "task_type": draw(st.sampled_from(["chat", "debugging"])),
                "workspace_profile_id": draw(st.sampled_from(["home", "work"])),
            }
            made = entry(f"{number}-{n}", days, **changes)
            rows.append(Entry(made.start) if draw(st.integers(0, 5)) == 0 else made)
        found.append(rows)
        query = st.builds(
            asked,
            st.sampled_from([3, 5, 33]),
            st.sampled_from([-1, 0, 1, 2]),
            st.sampled_from(SHAPES),
            st.sampled_from(ZONES),
            st.sampled_from([0, 0, 1, 900, 5_000]),
        )
        found.append(draw(st.lists(query, max_size=3)))
    return found


@settings(max_examples=15, deadline=None)
@given(steps())
def test_no_report_is_different_for_what_is_kept(found: list[Any]) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database = await Database.open(Path(folder) / "sidecar.db", now=NOW)
            await database.write(build_missing)
            reports = UsageReports(database)
            for step in found:
                if step and isinstance(step[0], Entry):
                    await write(database, step)
                else:
                    await compare(database, reports, step)
            await compare(database, reports, 2 * [asked(70, -1, shape) for shape in ("day,model", "week,workspace")])
            await database.close()

    asyncio.run(run())


async def opened(folder: Path) -> tuple[Database, UsageReports]:
    """Forty days with an attempt each."""
    database = await Database.open(folder / "sidecar.db", now=NOW)
    await database.write(build_missing)
    await write(database, [entry(str(n), n, model=f"m{n % 3}") for n in range(40)])
    return database, UsageReports(database)


def test_what_is_over_is_read_once() -> None:
    """Days of UTC, one group each; the range that is read each time."""
    day = rollups.DAY * 1000
    asked_for: list[tuple[float, float]] = []
    kept = Kept(0)

    def read(start: int, end: int) -> Block:
        asked_for.append((start / day, end / day))
        found = spans(["day"], ZoneInfo("UTC"), start, end)
        into = Gathered(found, kept.values)
        into.add(into.codes(np.arange(len(found)), np.zeros(len(found), int)), np.ones((len(found), len(SUMS)), int))
        return into.block()

    def ask(first: float, last: float) -> list[tuple[float, float]]:
        asked_for.clear()
        begin, end = round(first * day), round(last * day)
        found = with_kept(kept, begin, end, 20 * day, lambda moment: moment % day == 0, read)
        assert found.spans == spans(["day"], ZoneInfo("UTC"), begin, end)
        assert len(found) == len(found.spans) == found.sums[:, 0].sum()
        return asked_for

    assert ask(10.5, 22) == [(10.5, 22)]
    assert ask(10.5, 22) == [(10.5, 11), (20, 22)]
    assert ask(12, 18) == []
    assert ask(12.25, 18.25) == [(12.25, 13), (18, 18.25)]
    assert ask(5, 21) == [(5, 11), (20, 21)]
    assert ask(4.5, 20) == [(4.5, 5)]
    assert ask(1, 3) == [(1, 3)]  # lies apart: it takes the place of what was kept
    assert ask(0, 4) == [(0, 1), (3, 4)]
    assert ask(2, 2.5) == [(2, 2.5)]


async def test_a_late_end_a_repair_and_retention_are_seen(tmp_path: Path) -> None:
    database, reports = await opened(tmp_path)
    queries = [asked(45, -1, "day,model"), asked(45, -1, "day")]
    await compare(database, reports, queries)
    # An attempt that ran all week, and ends now.
    await write(database, [entry("late", 7, cost=5)])
    await compare(database, reports, queries)
    tampering = "UPDATE usage_rollups SET cost_micro_usd = cost_micro_usd + 1 WHERE family = 2"
    await database.write(lambda connection: connection.exec_driver_sql(tampering))
    assert (await verify(database, repair=True)).repaired
    await compare(database, reports, queries)
    assert await drop_old_rows(database, 10, NOW) > 0
    await compare(database, reports, queries)
    await database.close()


async def test_what_is_written_today_changes_nothing_that_is_over(tmp_path: Path) -> None:
    database, _ = await opened(tmp_path)

    async def history() -> str | None:
        return await database.read(lambda connection: state(connection, rollups.HISTORY))

    before = await history()
    await write(database, [entry("now", 0), entry("yesterday", 1)])
    assert await history() == before
    await write(database, [entry("old", 3)])
    assert await history() != before
    await database.close()


def test_only_so_many_groups_are_kept() -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as folder:
            database, _ = await opened(Path(folder))
            finished = FinishedPeriods(most_groups=100)
            for group_by in ("day", "day,model", "hour", "day,task_type", "week,day"):
                query = asked(39, -1, group_by)
                await database.read(lambda connection, query=query: read_report(connection, query, finished))  # type: ignore[misc]
                assert len(finished) <= 100
            assert len(finished) > 30
            await database.close()

    asyncio.run(run())


async def test_a_ledger_from_before_the_sums_of_everything_gets_them(tmp_path: Path) -> None:
    """Also of days whose rows were dropped."""
    database, _ = await opened(tmp_path)
    await drop_old_rows(database, 10, NOW)

    def older(connection: Any) -> None:
        connection.exec_driver_sql(f"DELETE FROM usage_rollups WHERE family = {rollups.ALL}")
        connection.exec_driver_sql("UPDATE usage_state SET value = 'built' WHERE name = 'rollups'")

    query = asked(45, -1, "day")
    before = await UsageReports(database).report(query)
    await database.write(older)
    assert (await UsageReports(database).report(query)).totals.attempts < before.totals.attempts
    for _ in range(2):
        await database.write(build_missing)
        assert await UsageReports(database).report(query) == before
    assert (await verify(database)).different == 0
    await database.close()


async def test_a_local_time_that_comes_twice_is_one_group(tmp_path: Path) -> None:
    """On 7 November 2010 Goose Bay's clocks went back at one minute past midnight: its 6th ended twice."""
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    await database.write(build_missing)
    when = datetime(2010, 11, 7, 3, 30, tzinfo=UTC)
    starts = [attempt(str(n), created_at=when - timedelta(minutes=31 * n)) for n in range(-6, 7)]
    await write(database, [Entry(start, ended(status=Status.OK)) for start in starts])
    await write(database, [Entry(attempt("now"), ended())])
    query = parse_query(
        start="2010-11-01", end="2010-11-20", tz="America/Goose_Bay", group_by="day", filters={}, now=NOW
    )
    reports = UsageReports(database)
    for _ in range(2):
        report = await reports.report(query)
        found = {group.key["day"]: group.figures.attempts for group in report.groups}
        assert len(report.groups) == len(found)
        assert sum(found.values()) == 13
    await database.close()
