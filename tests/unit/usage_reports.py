"""Attempts in a real file, and what the reports say of them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.store.database import Database
from app.usage.ledger import UsageLedger
from app.usage.queries import UsageQuery, parse_query
from app.usage.records import AttemptEnd, AttemptStart
from app.usage.reports import UsageReport, UsageReports
from tests.unit.ledger_rows import NOW

Pair = tuple[AttemptStart, AttemptEnd | None]


async def reported(pairs: Sequence[Pair], *queries: UsageQuery) -> list[UsageReport]:
    """The reports over a real file that holds these attempts."""
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(Path(folder) / "sidecar.db", now=NOW)
        ledger = await UsageLedger.open(database, now=NOW)
        for start, end in pairs:
            ledger.begin(start)
            if end is not None:
                ledger.settle_soon(start.id, end)
        await ledger.close()
        reports = UsageReports(database)
        result = [await reports.report(query) for query in queries]
        # Once more, with what is kept of periods that are over.
        assert [await reports.report(query) for query in queries] == result
        await database.close()
        return result


def query(start: str | None = None, end: str | None = None, **other: Any) -> UsageQuery:
    group_by, tz = other.pop("group_by", None), other.pop("tz", None)
    return parse_query(start=start, end=end, tz=tz, group_by=group_by, filters=other, now=NOW)


def keys(report: UsageReport) -> list[tuple[str | None, ...]]:
    return [tuple(group.key.values()) for group in report.groups]


ZONES = [
    "UTC", "Europe/Berlin", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia", "Asia/Kathmandu",
    "America/New_York",
]  # fmt: skip
