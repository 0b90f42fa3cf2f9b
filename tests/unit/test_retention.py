from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from app.store.database import Database
from app.usage.queries import parse_query
from app.usage.reconcile import verify
from app.usage.records import Parent
from app.usage.reports import UsageReports
from app.usage.retention import drop_old_rows
from app.usage.rows import Batch, Entry
from tests.unit.ledger_rows import NOW, attempt, ended, receipt_of


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    entries = [
        Entry(
            attempt(
                str(n),
                created_at=NOW - timedelta(days=n, minutes=n),
                session_id=f"s{n}",
                model=f"m{n % 2}",
                parent=Parent("asked", "digest", "chat") if n % 3 == 0 else None,
            ),
            ended(),
            receipt_of(str(n)),
        )
        for n in range(40)
    ]
    entries.append(Entry(attempt("open", created_at=NOW - timedelta(days=39))))
    await database.write(Batch(entries, lambda _error, _lost: None).run)
    yield database
    await database.close()


async def count(database: Database, table: str) -> int:
    found: int = await database.read(
        lambda connection: connection.exec_driver_sql(f"SELECT COUNT(*) FROM {table}").scalar_one()
    )
    return found


async def test_old_rows_go_and_their_sums_stay(database: Database) -> None:
    reports = UsageReports(database)
    queries = [
        parse_query(start="2026-01-01", end="2026-11-25", tz=tz, group_by=by, filters={}, now=NOW)
        for tz, by in (("Europe/Berlin", "day,model"), ("Asia/Kathmandu", "day"), ("UTC", "model,rule"))
    ]
    before = [await reports.report(query) for query in queries]
    assert await drop_old_rows(database, 10, NOW) == 29
    assert (await count(database, "llm_usage_log"), await count(database, "request_receipts")) == (12, 11)
    assert await count(database, "request_parents") == 4
    assert [await reports.report(query) for query in queries] == before
    verified = await verify(database)
    assert (verified.different, verified.checked_from) == (0, "2026-11-14T00:00:00.000Z")
    assert await drop_old_rows(database, 10, NOW) == 0


async def test_what_can_no_longer_be_exact_is_said(database: Database) -> None:
    reports = UsageReports(database)
    await drop_old_rows(database, 10, NOW)

    def query(start: str, group_by: str | None = None, **filters: str | None):  # type: ignore[no-untyped-def]
        return parse_query(start=start, end=None, tz=None, group_by=group_by, filters=filters, now=NOW)

    assert (await reports.report(query("2026-11-01"))).notes == ()
    (note,) = (await reports.report(query("2026-11-01T09:07"))).notes
    assert "`from` is read as the nearest quarter" in note
    (note,) = (await reports.report(query("2026-11-01", "session"))).notes
    assert "2026-11-14" in note
    assert (await reports.report(query("2026-11-20", "session"))).notes == ()


async def test_sums_that_disagree_are_repaired_before_the_rows_go(database: Database) -> None:
    tampering = "UPDATE usage_rollups SET cost_micro_usd = 0"
    await database.write(lambda connection: connection.exec_driver_sql(tampering))
    await drop_old_rows(database, 10, NOW)
    report = await UsageReports(database).report(
        replace(parse_query(start="2026-01-01", end="2026-11-01", tz=None, group_by=None, filters={}, now=NOW))
    )
    assert report.totals.cost_micro_usd == report.totals.ok * 22_350 > 0
