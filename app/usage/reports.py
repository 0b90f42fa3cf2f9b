"""Usage reports: totals and groups over any range, in the user's days, exact to the micro-dollar.

Everything is added up by SQLite in one snapshot, from the rows themselves. Local time is UTC plus the zone's offset,
which a CASE over its changes gives, so a day with a DST night has its 23 or 25 hours and half-hour zones start theirs
at the right instant. Every value of a request is a bound parameter; what can be grouped by is a closed list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Label,
    Row,
    Text,
    and_,
    case,
    cast,
    distinct,
    func,
    literal,
    literal_column,
    select,
    tuple_,
)

from app.store.database import Database
from app.store.tables import from_text, llm_usage_log, to_bound
from app.usage.pricing import to_usd
from app.usage.queries import Cursor, UsageQuery, decode_cursor, encode_cursor, parse_limit
from app.usage.records import CostSource, Status, UsageRecord
from app.usage.zones import OffsetPiece, offset_pieces, offset_text

_T = llm_usage_log.c
_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "workspace": _T.workspace_profile_id,
    "model": _T.model,
    "task_type": _T.task_type,
    "agent": _T.agent,
    "session": _T.session_id,
    "rule": _T.rule,
    "location": _T.location,
    "provider": _T.provider,
    "status": _T.status,
    "request_id": _T.request_id,
}
_TIMES = ("hour", "day", "week", "month")


@dataclass(frozen=True, slots=True)
class UsageFigures:
    """What a group, or the whole range, adds up to.

    `requests` counts different requests: one that fell back to a second model counts in both models' groups and once in
    the totals. All else adds up exactly: attempts, tokens and `cost_micro_usd` of the groups give those of the totals.
    Tokens and cost are sums over what is known; `cost_unknown` attempts are in no sum, and `cost_usd` is None where
    nothing is known at all. `success_rate` is ok / (ok + error), None without either; a person who left, or a crash, is
    no failure of the model's. Percentiles (nearest rank, exact, milliseconds) are over the attempts that went well.
    """

    requests: int = 0
    attempts: int = 0
    ok: int = 0
    errors: int = 0
    cancelled: int = 0
    interrupted: int = 0
    pending: int = 0
    success_rate: float | None = None
    input_tokens: int = 0
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_micro_usd: int = 0
    cost_usd: float | None = None
    estimated_cost_micro_usd: int = 0
    cost_estimated: int = 0
    cost_unknown: int = 0
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None
    time_to_first_token_p50_ms: int | None = None
    time_to_first_token_p95_ms: int | None = None


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """`key`: one entry per grouping. Times are local: `2026-11-24T09:00+01:00`, `2026-11-24`, `2026-W48`, `2026-11`."""

    key: Mapping[str, str | None]
    figures: UsageFigures


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Groups that begin with a time are in its order, others costliest first."""

    start: datetime
    end: datetime
    tz: str
    group_by: tuple[str, ...]
    totals: UsageFigures
    groups: tuple[UsageGroup, ...]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Rows, newest first; `next_cursor` is None on the last page."""

    records: tuple[UsageRecord, ...]
    next_cursor: str | None


class UsageReports:
    """Reads; see `app.usage.queries.parse_query` for making the query out of a request's parameters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, query: UsageQuery) -> UsageReport:
        return await self._database.read(lambda connection: _report(connection, query))

    async def records(self, query: UsageQuery, *, limit: int = 100, cursor: str | None = None) -> RecordPage:
        """One page of rows (`group_by` is ignored). Pages neither repeat nor skip a row that was there at the first.

        Raises InvalidRequest for a limit outside 1 to 1000 or a cursor that is none.
        """
        size = parse_limit(limit)
        after = decode_cursor(cursor) if cursor else None
        return await self._database.read(lambda connection: _page(connection, query, size, after))


def _report(connection: Connection, query: UsageQuery) -> UsageReport:
    where = _where(query)
    totals = _figures(connection, where, [])
    groups: Sequence[UsageGroup] = ()
    if query.group_by:
        pieces = _pieces(connection, query, where)
        keys = [_key(name, pieces).label(f"k{index}") for index, name in enumerate(query.group_by)]
        groups = [
            UsageGroup(dict(zip(query.group_by, map(_shown, query.group_by, values), strict=True)), figures)
            for values, figures in _figures(connection, where, keys).items()
        ]
    return UsageReport(
        start=query.start,
        end=query.end,
        tz=query.tz.key,
        group_by=query.group_by,
        totals=totals.get((), UsageFigures()),
        groups=tuple(_sorted(groups, query.group_by)),
    )


def _where(query: UsageQuery) -> ColumnElement[bool]:
    return and_(
        _T.created_at >= to_bound(query.start),
        _T.created_at < to_bound(query.end),
        *(_COLUMNS[name] == value for name, value in query.filters.items()),
    )


def _pieces(connection: Connection, query: UsageQuery, where: ColumnElement[bool]) -> tuple[OffsetPiece, ...]:
    """Only over the time there are rows for: a range may span centuries."""
    if not any(name in _TIMES for name in query.group_by):
        return ()
    first, last = connection.execute(select(func.min(_T.created_at), func.max(_T.created_at)).where(where)).one()
    return () if first is None else offset_pieces(query.tz, from_text(first), from_text(last) + timedelta(seconds=1))


def _key(name: str, pieces: Sequence[OffsetPiece]) -> ColumnElement[Any]:
    if name not in _TIMES:
        return _COLUMNS[name]
    modifier = _by_offset(pieces, lambda piece: f"{piece.seconds:+d} seconds")
    match name:
        case "hour":
            offset = _by_offset(pieces, lambda piece: offset_text(piece.seconds))
            return func.strftime("%Y-%m-%dT%H:00", _T.created_at, modifier) + offset
        case "week":  # its Monday: on to Sunday, then six days back
            return func.strftime("%Y-%m-%d", _T.created_at, modifier, "weekday 0", "-6 days")
        case _:
            return func.strftime("%Y-%m-%d" if name == "day" else "%Y-%m", _T.created_at, modifier)


def _by_offset(pieces: Sequence[OffsetPiece], value: Any) -> ColumnElement[Any]:
    if not pieces:
        return literal("+0 seconds", Text)
    *changes, last = pieces
    if not changes:
        return literal(value(last), Text)
    return cast(
        case(*((_T.created_at < to_bound(p.until), value(p)) for p in changes if p.until), else_=value(last)), Text
    )


def _shown(name: str, value: str | None) -> str | None:
    if name != "week" or value is None:
        return value
    year, week, _ = date.fromisoformat(value).isocalendar()
    return f"{year}-W{week:02}"


def _sorted(groups: Sequence[UsageGroup], group_by: Sequence[str]) -> list[UsageGroup]:
    def name(group: UsageGroup) -> list[tuple[bool, str]]:
        return [(value is not None, _instant(name, value or "")) for name, value in group.key.items()]

    if group_by and group_by[0] in _TIMES:
        return sorted(groups, key=name)
    return sorted(groups, key=lambda group: (-group.figures.cost_micro_usd, -group.figures.attempts, name(group)))


def _instant(name: str, value: str) -> str:
    """An hour by when it was, not by how it reads: in autumn 02:00+02:00 comes before 02:00+01:00."""
    return from_text(value).astimezone(UTC).isoformat() if name == "hour" else value


def _figures(
    connection: Connection, where: ColumnElement[bool], keys: Sequence[Label[Any]]
) -> dict[tuple[Any, ...], UsageFigures]:
    """Figures by the values of `keys`; without keys, one entry under the empty tuple."""
    width = len(keys)
    statement = select(*keys, *_sums()).where(where)
    if keys:
        statement = statement.group_by(*(literal_column(key.name) for key in keys))
    figures = {tuple(row[:width]): _figure(row) for row in connection.execute(statement)}
    for column in (_T.latency_ms, _T.time_to_first_token_ms):
        for key, (p50, p95) in _percentiles(connection, where, keys, column).items():
            names = (column.name.replace("_ms", "_p50_ms"), column.name.replace("_ms", "_p95_ms"))
            figures[key] = replace(figures[key], **dict(zip(names, (p50, p95), strict=True)))
    return figures


def _sums() -> list[ColumnElement[Any]]:
    def count(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.count(case((condition, 1)))

    def total(column: ColumnElement[Any]) -> ColumnElement[int]:
        return func.coalesce(func.sum(column), 0)

    estimated = _T.cost_source == CostSource.ESTIMATED.value
    return [
        func.count(distinct(_T.request_id)).label("requests"),
        func.count().label("attempts"),
        count(_T.status == Status.OK.value).label("ok"),
        count(_T.status == Status.ERROR.value).label("errors"),
        count(_T.status == Status.CANCELLED.value).label("cancelled"),
        count(_T.status == Status.INTERRUPTED.value).label("interrupted"),
        count(_T.status == Status.PENDING.value).label("pending"),
        *(
            total(column).label(column.name)
            for column in (
                _T.input_tokens,
                _T.cached_input_tokens,
                _T.cache_write_tokens,
                _T.output_tokens,
                _T.reasoning_tokens,
                _T.cost_micro_usd,
            )
        ),
        total(case((estimated, _T.cost_micro_usd))).label("estimated_cost_micro_usd"),
        count(estimated).label("cost_estimated"),
        count(_T.cost_micro_usd.is_(None)).label("cost_unknown"),
    ]


def _figure(row: Row[Any]) -> UsageFigures:
    values = {name: value for name, value in row._mapping.items() if name in UsageFigures.__dataclass_fields__}
    decided = row.ok + row.errors
    known = row.attempts - row.cost_unknown
    return UsageFigures(
        **values,
        success_rate=row.ok / decided if decided else None,
        cost_usd=to_usd(row.cost_micro_usd) if known or not row.attempts else None,
    )


def _percentiles(
    connection: Connection,
    where: ColumnElement[bool],
    keys: Sequence[Label[Any]],
    column: ColumnElement[Any],
) -> dict[tuple[Any, ...], tuple[int, int]]:
    """p50 and p95 by nearest rank: the smallest value that at least that share of the values does not exceed.

    SQLite counts each value (whole milliseconds repeat), which is exact and a quarter of the work of ranking rows with
    window functions.
    """
    names: list[ColumnElement[Any]] = [literal_column(key.name) for key in keys]
    statement = (
        select(*keys, column.label("value"), func.count())
        .where(where, _T.status == Status.OK.value, column.is_not(None))
        .group_by(*names, column)
        .order_by(*names, column)
    )
    counted: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for *key, value, count in connection.execute(statement):
        counted.setdefault(tuple(key), []).append((value, count))
    return {key: (_nearest_rank(values, 50), _nearest_rank(values, 95)) for key, values in counted.items()}


def _nearest_rank(counted: Sequence[tuple[int, int]], percent: int) -> int:
    """`counted`: at least one value, ascending, each with how often it occurs."""
    left = -(-sum(count for _, count in counted) * percent // 100)
    for value, count in counted:
        left -= count
        if left <= 0:
            return value
    raise AssertionError("the rank is at most the size")


def _page(connection: Connection, query: UsageQuery, limit: int, after: Cursor | None) -> RecordPage:
    statement = select(*llm_usage_log.columns).where(_where(query))
    if after is not None:
        statement = statement.where(tuple_(_T.created_at, _T.id) < tuple_(literal(after.created_at), literal(after.id)))
    statement = statement.order_by(_T.created_at.desc(), _T.id.desc()).limit(limit + 1)
    records = [UsageRecord(**row._mapping) for row in connection.execute(statement)]
    more = len(records) > limit
    records = records[:limit]
    return RecordPage(tuple(records), encode_cursor(Cursor(records[-1].created_at, records[-1].id)) if more else None)
