"""A new price changes no old row, and no sum of old rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from app.routing.catalog import Price
from app.store.database import Database
from app.usage.pricing import TokenCounts, price_attempt
from app.usage.queries import parse_query
from app.usage.reports import UsageReports
from app.usage.rows import Batch, Entry
from tests.unit.ledger_rows import NOW, attempt, ended


async def test_old_rows_keep_what_they_cost(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    costs = []
    for number, price in enumerate((Price(Decimal(3), Decimal(15)), Price(Decimal(1), Decimal(5)))):
        cost = price_attempt(TokenCounts(3200, 850), price, reported=True)
        end = replace(ended(), cost_micro_usd=cost.micro_usd, cost_source=cost.source)
        start = attempt(str(number), created_at=NOW - timedelta(hours=2 - number))
        await database.write(Batch([Entry(start, end)], lambda _error, _lost: None).run)
        costs.append(cost.micro_usd)
    query = parse_query(start=None, end=None, tz=None, group_by="hour", filters={}, now=NOW)
    report = await UsageReports(database).report(query)
    assert [group.figures.cost_micro_usd for group in report.groups] == costs == [22_350, 7_450]
    await database.close()
