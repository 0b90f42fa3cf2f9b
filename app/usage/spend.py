"""SpendHistory: what was spent in the last weeks, by who asked and by the quarter of an hour, from the ledger.

Every offset of every present time zone is a multiple of a quarter of an hour, so whatever period of whatever zone a
budget is given, also by a reload, what it has used is a sum over these, and no row is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Integer, Select, case, cast, func, literal, literal_column, select

from app.routing.locality import Location
from app.store.tables import (
    budget_reservations,
    llm_usage_log,
    request_parents,
    to_bound,
    usage_dimensions,
    usage_rollups,
)
from app.usage.reconcile import state
from app.usage.records import Status
from app.usage.rollups import FULL, QUARTER

BUCKET_SECONDS = QUARTER
_WHO = ("workspace_profile_id", "agent", "task_type", "parent_agent", "parent_task_type")
"""What a `Scope` is made from, in its order: columns of the ledger, then those of the row's parent."""
_WIDTH, _OWN = len(_WHO), 3
rollup = usage_rollups.c
KEPT = timedelta(days=33)
"""A month, and what two time zones can lie apart."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks, and for what: what a budget may be limited to. The parent's: of the request that it is made for."""

    workspace: str
    agent: str | None
    task_type: str
    parent_agent: str | None = None
    parent_task_type: str | None = None

    @property
    def parent(self) -> Scope:
        """Of the request that it is made for, where it is made for one."""
        return Scope(self.workspace, self.parent_agent, self.parent_task_type or "")


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
        self.fill(scope, [(int(at.timestamp()) // BUCKET_SECONDS, replace(amount))])

    def fill(self, scope: Scope, amounts: Iterable[tuple[int, Amount]]) -> None:
        """Add amounts by bucket; they are the history's from here on."""
        buckets = self._buckets.setdefault(scope, {})
        for bucket, amount in amounts:
            if (found := buckets.get(bucket)) is None:
                buckets[bucket] = amount
            else:
                found.add(amount)

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
    """What the ledger says of the last `KEPT`.

    Known costs are read from the roll-ups, a fifth of the time that the rows would take. They do not tell what an
    attempt without a known cost used or held: the rows of the quarters that have such, and those that are pending, are
    read one by one. Where no roll-ups could be built yet, every row that cost something, or may have, is read.

    An attempt that a crash cut off is counted as the most it was reserved for: nobody knows what its provider billed.
    """
    history, log = SpendHistory(), llm_usage_log.c
    recent = log.created_at >= to_bound(now - KEPT)
    if state(connection, "rollups") is None:
        _take(history, connection, _by_quarter(recent, func.coalesce(log.cost_micro_usd, 1) != 0))
        return history
    oldest = int((now - KEPT).timestamp()) // BUCKET_SECONDS * BUCKET_SECONDS
    quarters = (rollup.level == QUARTER, rollup.family == FULL, rollup.bucket >= oldest)
    _take(history, connection, _known(*quarters))
    unknown = select(rollup.bucket.distinct().label("bucket")).where(*quarters, rollup.cost_unknown > 0).subquery()
    begin, end = _as_text(unknown.c.bucket), _as_text(unknown.c.bucket + BUCKET_SECONDS)
    inside = (log.created_at >= begin, log.created_at < end, log.status != Status.PENDING.value)
    _take(history, connection, _by_quarter(recent, *inside, log.cost_micro_usd.is_(None)))
    # Written out, for their partial index.
    _take(history, connection, _by_quarter(log.status == literal_column(f"'{Status.PENDING.value}'")))
    return history


def _known(*where: ColumnElement[bool]) -> Select[Any]:
    """(`_WHO`, bucket as in `SpendHistory`, known cost, 0, 0) of roll-ups."""
    who = (*(usage_dimensions.c[name] for name in _WHO), rollup.bucket // BUCKET_SECONDS)
    return (
        select(*who, func.sum(rollup.cost_micro_usd), literal(0), literal(0))
        .join_from(usage_rollups, usage_dimensions, usage_dimensions.c.id == rollup.dimension)
        .where(*where, rollup.cost_micro_usd != 0)
        .group_by(*who)
    )


def _by_quarter(*where: ColumnElement[bool]) -> Select[Any]:
    """(`_WHO`, bucket, known cost, tokens and number of those whose cost is not known) of rows."""
    table = llm_usage_log.c
    cut_off = table.status.in_([Status.INTERRUPTED.value, Status.PENDING.value])
    # One on this machine that holds nothing is free.
    reserved = select(budget_reservations.c.micro_usd).where(budget_reservations.c.attempt_id == table.id)
    held = func.coalesce(reserved.scalar_subquery(), case((table.location != Location.CLOUD.value, 0)))
    cost = func.coalesce(table.cost_micro_usd, case((cut_off, held)))
    unknown = case((cost.is_(None), 1), else_=0)
    tokens = func.coalesce(table.input_tokens, 0) + func.coalesce(table.output_tokens, 0)
    seconds = cast(func.strftime("%s", table.created_at), Integer)
    columns = (*(table[name] for name in _WHO[:_OWN]), *(request_parents.c[name] for name in _WHO[_OWN:]))
    who = (*columns, (seconds // BUCKET_SECONDS).label("bucket"))
    sums = (func.sum(func.coalesce(cost, 0)), func.sum(unknown * tokens), func.sum(unknown))
    parents = request_parents.c.request_id == table.request_id
    rows = llm_usage_log.outerjoin(request_parents, parents)
    return select(*who, *sums).select_from(rows).where(*where).group_by(*who)


def _as_text(seconds: ColumnElement[int]) -> ColumnElement[str]:
    """Seconds since 1970 as the ledger writes a time."""
    return func.strftime("%Y-%m-%dT%H:%M:%fZ", seconds, "unixepoch")


def _take(history: SpendHistory, connection: Connection, statement: Select[Any]) -> None:
    rows = connection.execute(statement)
    # The rows of one scope come one after the other, as they were grouped.
    for who, group in groupby(rows, key=itemgetter(*range(_WIDTH))):
        history.fill(Scope(*who), ((row[_WIDTH], Amount(*row[_WIDTH + 1 :])) for row in group))
