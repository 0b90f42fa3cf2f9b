"""A period at a glance: its figures, the period before, where it is heading, and what is worth knowing about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.routing.catalog import Price
from app.usage import insights
from app.usage.feedback import verdicts_in
from app.usage.figures import UsageFigures
from app.usage.insights import Change, Comparison, Pattern, Period, Projection, Savings
from app.usage.queries import UsageQuery
from app.usage.reports import UsageReport, read_report

_PATTERNS_BY = ("task_type", "model", "workspace", "agent", "rule")


@dataclass(frozen=True, slots=True)
class Reference:
    """The model that local ones are measured by; `price` None: not known."""

    model: str | None
    price: Price | None


@dataclass(frozen=True, slots=True)
class Overview:
    """`figures` are of the period up to now."""

    period: Period
    tz: str
    figures: UsageFigures
    change: Change
    projection: Projection
    patterns: tuple[Pattern, ...]
    savings: Savings
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def read_overview(
    connection: Connection, period: Period, zone: ZoneInfo, workspace: str | None, now: datetime, reference: Reference
) -> Overview:
    """All of it from the connection's one snapshot."""
    filters: Mapping[str, str] = {} if workspace is None else {"workspace": workspace}

    def report(start: datetime, end: datetime, *group_by: str) -> UsageReport:
        return read_report(connection, UsageQuery(start, end, zone, filters, group_by))

    until = min(now, period.end)
    so_far = report(period.start, until, "task_type", "model")
    same_time = min(period.previous_start + (until - period.start), period.start)
    previous = report(period.previous_start, period.start)
    previous_so_far = report(period.previous_start, same_time)
    single = [report(period.start, until, name) for name in _PATTERNS_BY]
    return Overview(
        period=period,
        tz=zone.key,
        figures=so_far.totals,
        change=insights.change(so_far.totals, previous.totals, previous_so_far.totals),
        projection=insights.project(period, until, so_far.totals),
        patterns=insights.patterns(single, period.name),
        savings=insights.savings(report(period.start, until, "location").groups, reference.model, reference.price),
        comparisons=insights.comparisons(so_far, verdicts_in(connection, period.start, until, workspace)),
        notes=so_far.notes,
    )
