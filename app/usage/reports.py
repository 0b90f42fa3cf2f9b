"""Usage reports: totals and groups over any range, in the user's days, exact to the micro-dollar.

A report is read in one snapshot, from the roll-ups where they know enough and from the rows at a range's edges and for
sessions (`app.usage.spans` says what, `app.usage.reading` reads it). The totals are the groups added up: every settled
attempt is in exactly one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, and_, literal, select, tuple_

from app.store.database import Database
from app.store.tables import from_text, llm_usage_log, to_bound
from app.store.writer import driver
from app.usage import reading
from app.usage.figures import Sums, UsageFigures, figures
from app.usage.queries import Cursor, UsageQuery, decode_cursor, encode_cursor, parse_limit
from app.usage.reading import COLUMNS, ONLY_ROWS_TELL, Found, GroupKey
from app.usage.reconcile import raw_from
from app.usage.records import UsageRecord
from app.usage.rollups import DAY, FULL, QUARTER
from app.usage.spans import TIMES, cover, instant, milliseconds, rows_only, spans

_T = llm_usage_log.c


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """`key`: one entry per grouping. Times are local: `2026-11-24T09:00+01:00`, `2026-11-24`, `2026-W48`, `2026-11`."""

    key: Mapping[str, str | None]
    figures: UsageFigures


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Groups that begin with a time are in its order, others costliest first.

    `notes`: what of it is not exact, as sentences; only where rows were dropped after their time (retention).
    """

    start: datetime
    end: datetime
    tz: str
    group_by: tuple[str, ...]
    totals: UsageFigures
    groups: tuple[UsageGroup, ...]
    notes: tuple[str, ...] = ()


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
        return await self._database.read(lambda connection: read_report(connection, query))

    async def records(self, query: UsageQuery, *, limit: int = 100, cursor: str | None = None) -> RecordPage:
        """One page of rows (`group_by` is ignored). Pages neither repeat nor skip a row that was there at the first.

        Raises InvalidRequest for a limit outside 1 to 1000 or a cursor that is none.
        """
        size = parse_limit(limit)
        after = decode_cursor(cursor) if cursor else None
        return await self._database.read(lambda connection: _page(connection, query, size, after))


def read_report(connection: Connection, query: UsageQuery) -> UsageReport:
    """The report, within the connection's snapshot."""
    found, notes = _read(connection, query)
    whole = Sums.nothing()
    for sums in found.sums:
        whole.add(sums.values)
        whole.pending += sums.pending
        whole.pending_requests += sums.pending_requests
    latency, all_latency = found.latency.percentiles(len(found.sums))
    first_token, all_first_token = found.first_token.percentiles(len(found.sums))
    groups = [
        UsageGroup(_named(query.group_by, key), figures(found.sums[at], whole, latency[at], first_token[at]))
        for key, at in found.numbers.items()
        if query.group_by and not found.sums[at].is_empty
    ]
    return UsageReport(
        start=query.start,
        end=query.end,
        tz=query.tz.key,
        group_by=query.group_by,
        totals=figures(whole, whole, all_latency, all_first_token),
        groups=tuple(_sorted(groups, query.group_by)),
        notes=notes,
    )


def _read(connection: Connection, query: UsageQuery) -> tuple[Found, tuple[str, ...]]:
    found = Found()
    extent = _extent(connection, milliseconds(query.start), milliseconds(query.end))
    if extent is None:
        return found, ()
    dropped_before = raw_from(connection)
    rows_from = 0 if dropped_before is None else milliseconds(dropped_before)
    times = [name for name in query.group_by if name in TIMES]
    parts = spans(times, query.tz, *extent)
    from_rows = bool(ONLY_ROWS_TELL.intersection((*query.filters, *query.group_by)))
    pieces = [
        piece
        for group, span in enumerate(parts)
        for piece in (
            rows_only(group, span.start, span.end)
            if from_rows
            else cover(group, span.start, span.end, rows_from=rows_from)
        )
    ]
    if query.filters.get("status") != "pending":
        reading.read_pieces(connection, found, parts, pieces, query)
    reading.read_pending(connection, found, parts, query)
    return found, _notes(query, extent, rows_from, from_rows)


def _extent(connection: Connection, start: int, end: int) -> tuple[int, int] | None:
    """The range as far as there is anything: it may span centuries. A side beyond the first or the last row goes to a
    UTC midnight, where no rows need to be read for its edge. None: nothing is in it."""
    raw = driver(connection)
    # One extreme a statement: only then does SQLite take it from the end of the index.
    rows = [raw.execute(f"SELECT {end}(created_at) FROM llm_usage_log").fetchone()[0] for end in ("MIN", "MAX")]
    sql = "SELECT {}(bucket) FROM usage_rollups WHERE level = ? AND family = ?"
    quarters = [raw.execute(sql.format(end), (QUARTER, FULL)).fetchone()[0] for end in ("MIN", "MAX")]
    known = [milliseconds(from_text(text)) for text in rows if text is not None]
    known += [second * 1000 for second in quarters if second is not None]
    if not known:
        return None
    day, first, last = DAY * 1000, min(known), max(known) + QUARTER * 1000
    start = first // day * day if start <= first else start
    end = -(-last // day) * day if end >= last else end
    return (start, end) if start < end else None


def _notes(query: UsageQuery, extent: tuple[int, int], rows_from: int, from_rows: bool) -> tuple[str, ...]:
    start, end = extent
    if start >= rows_from:
        return ()
    date = f"{instant(rows_from):%Y-%m-%d}"
    if from_rows:
        return (f"rows from before {date} were dropped (retention), and sessions and requests are told by rows alone",)
    quarter = QUARTER * 1000
    return tuple(
        f"rows from before {date} were dropped (retention): `{name}` is read as the nearest quarter of an hour"
        for name, moment in (("from", start), ("to", end))
        if moment < rows_from and moment % quarter
    )


def _named(group_by: Sequence[str], key: GroupKey) -> dict[str, str | None]:
    """The key's values by name: those of the times come first in it, whatever the order asked for."""
    order = [name for name in group_by if name in TIMES] + [name for name in group_by if name in COLUMNS]
    values = dict(zip(order, key, strict=True))
    return {name: values[name] for name in group_by}


def _sorted(groups: Sequence[UsageGroup], group_by: Sequence[str]) -> list[UsageGroup]:
    def name(group: UsageGroup) -> list[tuple[bool, str]]:
        return [(value is not None, _instant(name, value or "")) for name, value in group.key.items()]

    if group_by and group_by[0] in TIMES:
        return sorted(groups, key=name)
    return sorted(groups, key=lambda group: (-group.figures.cost_micro_usd, -group.figures.attempts, name(group)))


def _instant(name: str, value: str) -> str:
    """An hour by when it was, not by how it reads: in autumn 02:00+02:00 comes before 02:00+01:00."""
    return from_text(value).astimezone(UTC).isoformat() if name == "hour" else value


def _where(query: UsageQuery) -> ColumnElement[bool]:
    return and_(
        _T.created_at >= to_bound(query.start),
        _T.created_at < to_bound(query.end),
        *(llm_usage_log.c[COLUMNS[name]] == value for name, value in query.filters.items()),
    )


def _page(connection: Connection, query: UsageQuery, limit: int, after: Cursor | None) -> RecordPage:
    statement = select(*(_T[f.name] for f in fields(UsageRecord))).where(_where(query))
    if after is not None:
        statement = statement.where(tuple_(_T.created_at, _T.id) < tuple_(literal(after.created_at), literal(after.id)))
    statement = statement.order_by(_T.created_at.desc(), _T.id.desc()).limit(limit + 1)
    records = [UsageRecord(**row._mapping) for row in connection.execute(statement)]
    more = len(records) > limit
    records = records[:limit]
    return RecordPage(tuple(records), encode_cursor(Cursor(records[-1].created_at, records[-1].id)) if more else None)
