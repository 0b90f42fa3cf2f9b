"""SpendHistory: what was spent in the last weeks, by who asked and by the quarter of an hour, from the ledger.

Every offset of every present time zone is a multiple of a quarter of an hour, so whatever period of whatever zone a
budget is given, also by a reload, what it has used is a sum over these, and no row is read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Integer, case, cast, func, select

from app.routing.locality import Location
from app.store.tables import budget_reservations, llm_usage_log, to_bound
from app.usage.records import Status

BUCKET_SECONDS = 900
KEPT = timedelta(days=33)
"""A month, and what two time zones can lie apart."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks, and for what: what a budget may be limited to."""

    workspace: str
    agent: str | None
    task_type: str


@dataclass(slots=True)
class Amount:
    """Sums. `micro_usd`: of known costs. The others: of attempts whose cost is not known."""

    micro_usd: int = 0
    unpriced_tokens: int = 0
    unpriced_calls: int = 0

    def add(self, other: Amount) -> None:
        self.micro_usd += other.micro_usd
        self.unpriced_tokens += other.unpriced_tokens
        self.unpriced_calls += other.unpriced_calls


@dataclass(slots=True)
class SpendHistory:
    """By scope and bucket: whole seconds since 1970 by `BUCKET_SECONDS`."""

    _buckets: dict[Scope, dict[int, Amount]] = field(default_factory=dict)

    def add(self, scope: Scope, at: datetime, amount: Amount) -> None:
        """An attempt that began `at`."""
        bucket = int(at.timestamp()) // BUCKET_SECONDS
        self._buckets.setdefault(scope, {}).setdefault(bucket, Amount()).add(amount)

    def each(self, start: datetime, end: datetime) -> Iterator[tuple[Scope, datetime, Amount]]:
        """(who, when, how much) of every bucket that begins in [start, end), in no order."""
        first, last = start.timestamp(), end.timestamp()
        for scope, buckets in self._buckets.items():
            for bucket, amount in buckets.items():
                if first <= bucket * BUCKET_SECONDS < last:
                    yield scope, datetime.fromtimestamp(bucket * BUCKET_SECONDS, UTC), amount

    def forget(self, before: datetime) -> None:
        """Drop what no period reaches back to."""
        oldest = before.timestamp() // BUCKET_SECONDS
        for scope in list(self._buckets):
            kept = {bucket: amount for bucket, amount in self._buckets[scope].items() if bucket >= oldest}
            if kept:
                self._buckets[scope] = kept
            else:
                del self._buckets[scope]


def read_history(connection: Connection, now: datetime) -> SpendHistory:
    """What the ledger says of the last `KEPT`. One pass over the rows of that time that cost something, or may have.

    An attempt that a crash cut off is counted as the most it was reserved for: nobody knows what its provider billed.
    """
    table = llm_usage_log.c
    cut_off = table.status.in_([Status.INTERRUPTED.value, Status.PENDING.value])
    # One on this machine that holds nothing is free.
    reserved = select(budget_reservations.c.micro_usd).where(budget_reservations.c.attempt_id == table.id)
    held = func.coalesce(reserved.scalar_subquery(), case((table.location != Location.CLOUD.value, 0)))
    cost = func.coalesce(table.cost_micro_usd, case((cut_off, held)))
    unknown = case((cost.is_(None), 1), else_=0)
    tokens = func.coalesce(table.input_tokens, 0) + func.coalesce(table.output_tokens, 0)
    # Text is cut, not read as a time: that alone would take longer than all the rest.
    hour, quarter = func.substr(table.created_at, 1, 13), cast(func.substr(table.created_at, 15, 2), Integer) // 15
    statement = (
        select(
            table.workspace_profile_id,
            table.agent,
            table.task_type,
            hour.label("hour"),
            quarter.label("quarter"),
            func.sum(func.coalesce(cost, 0)).label("micro_usd"),
            func.sum(unknown * tokens).label("tokens"),
            func.sum(unknown).label("calls"),
        )
        .where(table.created_at >= to_bound(now - KEPT), func.coalesce(table.cost_micro_usd, 1) != 0)
        .group_by(table.workspace_profile_id, table.agent, table.task_type, "hour", "quarter")
    )
    history = SpendHistory()
    for row in connection.execute(statement):
        _take(history, row)
    return history


def _take(history: SpendHistory, row: Any) -> None:
    scope = Scope(row.workspace_profile_id, row.agent, row.task_type)
    at = datetime.fromisoformat(f"{row.hour}:00+00:00") + timedelta(seconds=BUCKET_SECONDS * row.quarter)
    history.add(scope, at, Amount(int(row.micro_usd), int(row.tokens), int(row.calls)))
