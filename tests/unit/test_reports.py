"""Reports of usage, worked out by hand: totals and groups, days and weeks of a zone, filters, pages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidRequest
from app.store.database import Database
from app.usage.figures import UsageFigures
from app.usage.ledger import UsageLedger
from app.usage.queries import FILTERS
from app.usage.records import AttemptEnd, CostSource, Status
from app.usage.reports import UsageReports
from app.usage.sketches import ERROR
from tests.unit.ledger_rows import NOW, attempt, ended
from tests.unit.usage_reports import Pair, keys, query, reported


def at(text: str, id: str | None = None, **changes: Any) -> Pair:
    return attempt(id or text, created_at=datetime.fromisoformat(text), **changes), ended()


def within(milliseconds: int) -> Any:
    """Equal to it as far as a sketch tells, and as whole milliseconds do."""
    return pytest.approx(milliseconds, rel=ERROR, abs=0.5)


async def test_totals_and_groups() -> None:
    cloud = {"model": "claude-sonnet-4-5", "provider": "anthropic", "location": "cloud"}
    pairs: list[Pair] = [
        (attempt("1", request_id="r1", **cloud), AttemptEnd(Status.ERROR, NOW, latency_ms=9)),
        (attempt("2", request_id="r1", attempt=2), ended(cost_micro_usd=0, latency_ms=100)),
        (attempt("3", request_id="r2", **cloud), ended(cost_micro_usd=500, cost_source=CostSource.ESTIMATED)),
        (attempt("4", request_id="r3", **cloud), ended(status=Status.CANCELLED, cost_micro_usd=7, latency_ms=9)),
        (attempt("5", request_id="r4", agent="digest"), None),
    ]  # fmt: skip
    (report,) = await reported(pairs, query(end="2026-11-25", group_by="model"))
    totals = report.totals
    assert (totals.requests, totals.attempts) == (4, 5)
    assert (totals.ok, totals.errors, totals.cancelled, totals.pending) == (2, 1, 1, 1)
    assert totals.success_rate == 2 / 3
    assert (totals.cost_micro_usd, totals.cost_usd, totals.estimated_cost_micro_usd) == (507, 0.000507, 500)
    assert (totals.cost_estimated, totals.cost_unknown) == (1, 2)
    assert (totals.latency_p50_ms, totals.latency_p95_ms) == (within(100), within(2000))
    assert totals.time_to_first_token_p50_ms == within(300)
    assert totals.tokens_per_second == 850 / 1.7  # the attempt of 100 ms was over before its first token
    assert [(g.key, g.figures.requests, g.figures.cost_micro_usd, g.figures.success_rate) for g in report.groups] == [
        ({"model": "claude-sonnet-4-5"}, 3, 507, 0.5),
        ({"model": "ollama/llama3:8b"}, 1, 0, 1.0),  # the second attempt of r1 is no second request
    ]
    assert [g.figures.cost_share for g in report.groups] == [1.0, 0.0]
    assert [g.figures.attempt_share for g in report.groups] == [3 / 5, 2 / 5]


async def test_unknown_cost_is_null_and_nothing_is_zero() -> None:
    unknown = ended(cost_micro_usd=None, cost_source=CostSource.UNKNOWN)
    some, none = await reported([(attempt("1"), unknown)], query(end="2026-11-25"), query(end="2026-11-25", model="x"))
    assert (some.totals.cost_usd, some.totals.cost_unknown) == (None, 1)
    assert none.totals == UsageFigures(cost_usd=0.0)
    assert none.groups == ()


async def test_percentiles_are_nearest_rank() -> None:
    pairs: list[Pair] = [(attempt(f"{n:03}"), ended(latency_ms=n, time_to_first_token_ms=None)) for n in range(1, 101)]
    (report,) = await reported(pairs, query(end="2026-11-25", group_by="rule,agent"))
    for figures in (report.totals, report.groups[0].figures):
        assert (figures.latency_p50_ms, figures.latency_p95_ms) == (within(50), within(95))
        assert (figures.time_to_first_token_p50_ms, figures.time_to_first_token_p95_ms) == (None, None)


async def test_from_is_inclusive_and_to_is_exclusive() -> None:
    pairs = [at(f"2026-11-10T{time}+00:00") for time in ("09:59:59.999", "10:00:00", "10:59:59.999", "11:00:00")]
    report, finer = await reported(
        pairs,
        query("2026-11-10T10:00:00Z", "2026-11-10T11:00:00Z"),
        query("2026-11-10T10:00:00.000001Z", "2026-11-10T11:00:00.000001Z"),
    )
    assert report.totals.attempts == 2
    assert finer.totals.attempts == 2  # 10:00:00.000 is before it, 11:00:00.000 is within it


async def test_days_of_a_half_hour_zone() -> None:
    pairs = [at("2026-11-10T18:29:59+00:00"), at("2026-11-10T18:30:00+00:00")]  # midnight in Kolkata
    by_day, by_hour = await reported(
        pairs, *(query("2026-11-01", group_by=name, tz="Asia/Kolkata") for name in ("day", "hour"))
    )
    assert keys(by_day) == [("2026-11-10",), ("2026-11-11",)]
    assert keys(by_hour) == [("2026-11-10T23:00+05:30",), ("2026-11-11T00:00+05:30",)]


async def test_both_nights_of_summer_time() -> None:
    autumn = [at(f"2026-10-25T{time}:00+00:00") for time in ("00:30", "01:30", "22:59", "23:00")]
    spring = [at(f"2026-03-29T{time}:00+00:00") for time in ("00:59", "01:00", "21:59", "22:00")]
    hours, days = await reported(
        autumn + spring, *(query("2026-01-01", group_by=name, tz="Europe/Berlin") for name in ("hour", "day"))
    )
    assert keys(hours) == [
        ("2026-03-29T01:00+01:00",),
        ("2026-03-29T03:00+02:00",),
        ("2026-03-29T23:00+02:00",),
        ("2026-03-30T00:00+02:00",),
        ("2026-10-25T02:00+02:00",),  # the hour that comes twice, first time first
        ("2026-10-25T02:00+01:00",),
        ("2026-10-25T23:00+01:00",),
        ("2026-10-26T00:00+01:00",),
    ]
    assert [(key, group.figures.attempts) for (key,), group in zip(keys(days), days.groups, strict=True)] == [
        ("2026-03-29", 3), ("2026-03-30", 1), ("2026-10-25", 3), ("2026-10-26", 1),
    ]  # fmt: skip


async def test_weeks_are_iso_weeks_and_months_are_local() -> None:
    pairs = [at(f"{day}T12:00:00+00:00") for day in ("2024-12-29", "2024-12-30", "2025-01-05", "2025-01-06")]
    pairs.append(at("2025-01-31T23:30:00+00:00"))
    weeks, months = await reported(
        pairs, *(query("2024-01-01", group_by=name, tz="Europe/Berlin") for name in ("week", "month"))
    )
    assert keys(weeks) == [("2024-W52",), ("2025-W01",), ("2025-W02",), ("2025-W05",)]
    assert keys(months) == [("2024-12",), ("2025-01",), ("2025-02",)]


@pytest.mark.parametrize("value", ["' OR 1=1--", "x'; DROP TABLE llm_usage_log;--", "%", "ollama/llama3:8b' --"])
async def test_filters_are_values_and_never_sql(value: str) -> None:
    queries = [query(end="2026-11-25", **{name: value}) for name in FILTERS if name != "status"]
    reports = await reported([(attempt("1"), ended())], *queries, query(end="2026-11-25"))
    assert [report.totals.attempts for report in reports] == [0] * len(queries) + [1]


@pytest.mark.parametrize(
    ("field", "parameters"),
    [
        ("tz", {"tz": "Mars/X"}),
        ("tz", {"tz": "../../etc/passwd"}),
        ("tz", {"tz": "/etc/localtime"}),
        ("tz", {"tz": "Europe"}),
        ("tz", {"tz": ""}),
        ("from", {"start": "2026-11-24", "end": "2026-11-23"}),
        ("from", {"start": "yesterday"}),
        ("to", {"end": "2026-13-01"}),
        ("to", {"end": "2026-11-24T25:00"}),
        ("from", {"start": "0001-01-01", "tz": "Asia/Tokyo"}),
        ("from", {"start": "1969-12-31"}),
        ("to", {"end": "9999-12-31T23:59:59.9999"}),
        ("group_by", {"group_by": "name;DROP"}),
        ("group_by", {"group_by": "model,"}),
        ("group_by", {"group_by": "model,model"}),
        ("group_by", {"group_by": "model,day,rule,agent"}),
        ("status", {"status": "fine"}),
        ("sort", {"sort": "cost"}),
        ("model", {"model": "a\x00b"}),
        ("agent", {"agent": "a" * 257}),
        ("agent", {"agent": "lone \ud800"}),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(field: str, parameters: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest) as raised:
        query(**parameters)
    assert raised.value.status == 422
    assert raised.value.extra["field"] == field
    assert f"`{field}`" in raised.value.detail


def test_the_last_thirty_days_by_default() -> None:
    asked = query()
    assert (asked.start, asked.end, asked.tz.key) == (NOW - timedelta(days=30), NOW, "UTC")
    assert query("2026-11-01", tz="Asia/Kolkata").start == datetime(2026, 10, 31, 18, 30, tzinfo=UTC)


async def test_records_page_by_page(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    ledger = await UsageLedger.open(database, now=NOW)
    for number in range(25):  # five to a millisecond: the id decides
        ledger.begin(attempt(f"{number:02}", created_at=NOW - timedelta(milliseconds=number // 5)))
        await ledger.settle(f"{number:02}", ended())
    reports = UsageReports(database)
    seen, cursor = [], None
    while True:
        page = await reports.records(query(end="2026-11-25"), limit=7, cursor=cursor)
        seen += [record.id for record in page.records]
        if len(seen) == 7:  # what comes later does not shift the pages
            ledger.begin(attempt("late", created_at=NOW + timedelta(seconds=1)))
            await ledger.settle("late", ended())
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"{block * 5 + number:02}" for block in range(5) for number in (4, 3, 2, 1, 0)]
    (one,) = (await reports.records(query(end="2026-11-25", request_id="request-03"))).records
    assert (one.id, one.success, one.cost_usd, one.status) == ("03", True, 0.02235, "ok")
    for bad in ("%%%", "bm9wZQ", "' OR 1=1", "MjAyNiB4", "é"):
        with pytest.raises(InvalidRequest, match="cursor"):
            await reports.records(query(), cursor=bad)
    for limit in (0, -1, 1001):
        with pytest.raises(InvalidRequest, match="limit"):
            await reports.records(query(), limit=limit)
    await ledger.close()
    await database.close()
