"""Budgets as people see them: used, held, left, when it began and ends, where it is heading, and how it burned down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.config.schema import CountAs
from app.store.tables import to_text
from app.usage.budgets import Budgets, Meter
from app.usage.spend import Scope

SMALLEST_SHARE = 0.02
"""A projection from less of a period than this says nothing."""
_STEPS = {"hour": 900, "day": 3600, "week": 6 * 3600, "month": 24 * 3600}
"""Seconds between two points of a burn-down."""


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One budget now. Amounts are US dollars; times UTC. Of a budget per request only the settings are known."""

    key: str
    workspace: str | None
    agent: str | None
    task_type: str | None
    period: str
    timezone: str | None
    """None: the machine's."""
    limit_usd: float
    on_limit: str
    alert_at: tuple[float, ...]
    unknown_price: Any
    """`refuse`, `{"count_as": dollars per million tokens}`, or None."""
    shadow: bool
    period_start: str | None
    period_end: str | None
    used_usd: float | None
    reserved_usd: float | None
    """Held for calls that are running."""
    left_usd: float | None
    """Never negative."""
    used_fraction: float | None
    running: int
    unpriced_calls: int
    """Of this period, whose cost is not known and not in `used_usd` unless `count_as` says so."""
    projected_usd: float | None
    """At the end of the period, if it goes on like this; None too early in it."""
    exhausted_at: str | None
    """When the limit is reached if it goes on like this; None: not in this period."""


@dataclass(frozen=True, slots=True)
class BurnPoint:
    """Up to `at`, so much was spent since the period began, and so much is left."""

    at: str
    used_usd: float
    left_usd: float


def budget_states(budgets: Budgets, scope: Scope | None = None) -> tuple[BudgetState, ...]:
    """Every budget, or those that cover `scope`."""
    meters = budgets.meters() if scope is None else budgets.covering(scope)
    return tuple(state_of(meter, budgets.now()) for meter in meters)


def state_of(meter: Meter, now: datetime) -> BudgetState:
    limit, entry, calendar = meter.limit, meter.limit.entry, not meter.limit.per_request
    rule = entry.unknown_price
    return BudgetState(
        key=limit.key,
        workspace=limit.workspace,
        agent=limit.agent,
        task_type=limit.task_type,
        period=entry.period,
        timezone=None if limit.zone is None else str(limit.zone),
        limit_usd=entry.limit_usd,
        on_limit=entry.on_limit,
        alert_at=entry.alert_at,
        unknown_price={"count_as": rule.count_as} if isinstance(rule, CountAs) else rule,
        shadow=entry.shadow,
        period_start=to_text(meter.span.start) if calendar else None,
        period_end=to_text(meter.span.end) if calendar else None,
        used_usd=meter.used / 1_000_000 if calendar else None,
        reserved_usd=meter.reserved / 1_000_000 if calendar else None,
        left_usd=max(0, limit.micro_usd - meter.used - meter.reserved) / 1_000_000 if calendar else None,
        used_fraction=meter.fraction if calendar else None,
        running=meter.running,
        unpriced_calls=meter.unpriced_calls,
        projected_usd=_projected(meter, now) if calendar else None,
        exhausted_at=_exhausted(meter, now) if calendar else None,
    )


def burn_down(budgets: Budgets, meter: Meter) -> tuple[BurnPoint, ...]:
    """From the start of the period until now, at equal steps: 15 minutes of an hour, an hour of a day, 6 hours of a
    week, a day of a month. Empty for a budget per request."""
    if meter.limit.per_request:
        return ()
    now = budgets.now()
    spent = budgets.history(meter, now)
    return _points(meter, spent, now)


def _points(meter: Meter, spent: Sequence[tuple[datetime, int]], now: datetime) -> tuple[BurnPoint, ...]:
    step = timedelta(seconds=_STEPS[meter.limit.entry.period])
    points, used, index, at = [], 0, 0, meter.span.start
    while True:
        while index < len(spent) and spent[index][0] < at:
            used += spent[index][1]
            index += 1
        points.append(BurnPoint(to_text(at), used / 1_000_000, max(0, meter.limit.micro_usd - used) / 1_000_000))
        if at >= now:
            return tuple(points)
        at = min(at + step, now)
        if at == now:
            used, index = meter.used, len(spent)


def _projected(meter: Meter, now: datetime) -> float | None:
    elapsed = (now - meter.span.start).total_seconds() / meter.span.seconds
    return meter.used / elapsed / 1_000_000 if elapsed >= SMALLEST_SHARE else None


def _exhausted(meter: Meter, now: datetime) -> str | None:
    passed = (now - meter.span.start).total_seconds()
    if passed / meter.span.seconds < SMALLEST_SHARE or not meter.used:
        return None
    if meter.used >= meter.limit.micro_usd:
        return to_text(now)
    reached = meter.span.start + timedelta(seconds=passed * meter.limit.micro_usd / meter.used)
    return to_text(reached) if reached < meter.span.end else None
