"""Usage reports: totals and groups over any range, in the user's days, exact to the micro-dollar.

A report is read in one snapshot, from the roll-ups where they know enough and from the rows at a range's edges and for
sessions (`app.usage.spans` says what, `app.usage.reading` reads it). The totals are the groups added up: every settled
attempt is in exactly one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, and_, literal, select, tuple_

from app.store.database import Database
from app.store.tables import from_text, llm_usage_log, to_bound
from app.store.writer import driver
from app.usage import reading
from app.usage.figures import Table, UsageFigures, figures
from app.usage.finished import FinishedPeriods, Horizon, Read, shape_of, with_kept
from app.usage.gathered import Block, Gathered, Names
from app.usage.percentiles import Ints, numpy, percentiles_of_all
from app.usage.queries import Cursor, UsageQuery, decode_cursor, encode_cursor, parse_limit
from app.usage.reading import COLUMNS, ONLY_ROWS_TELL, Pending
from app.usage.reconcile import raw_from, state
from app.usage.records import UsageRecord
from app.usage.rollups import DAY, FULL, HISTORY, QUARTER, SUMS, finished_before, newest_quarter
from app.usage.spans import TIMES, Span, cover, instant, milliseconds, rows_only, spans

_T = llm_usage_log.c

GroupKey: TypeAlias = tuple[str | None, ...]
"""A span's key, then the values of the other groupings; or both in the order asked for."""


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """`key`: one entry per grouping. Times are local: `2026-11-24T09:00+01:00`, `2026-11-24`, `2026-W48`, `2026-11`."""

    key: Mapping[str, str | None]
    figures: UsageFigures


@dataclass(frozen=True)
class UsageReport:
    """Groups that begin with a time are in its order, others costliest first.

    `rows`: each group's key, in the order of `group_by`, and its figures, in that of `FIELDS`: thousands of groups are
    had for little as tuples, and as objects where somebody asks for `groups`. `notes`: what of it is not exact, as
    sentences; only where rows were dropped after their time (retention).
    """

    start: datetime
    end: datetime
    tz: str
    group_by: tuple[str, ...]
    totals: UsageFigures
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def groups(self) -> tuple[UsageGroup, ...]:
        width = len(self.group_by)
        return tuple(
            UsageGroup(dict(zip(self.group_by, row, strict=False)), UsageFigures(*row[width:])) for row in self.rows
        )


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Rows, newest first; `next_cursor` is None on the last page."""

    records: tuple[UsageRecord, ...]
    next_cursor: str | None


class UsageReports:
    """Reads; see `app.usage.queries.parse_query` for making the query out of a request's parameters."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._finished = FinishedPeriods()

    async def report(self, query: UsageQuery) -> UsageReport:
        return await self._database.read(lambda connection: read_report(connection, query, self._finished))

    async def records(self, query: UsageQuery, *, limit: int = 100, cursor: str | None = None) -> RecordPage:
        """One page of rows (`group_by` is ignored). Pages neither repeat nor skip a row that was there at the first.

        Raises InvalidRequest for a limit outside 1 to 1000 or a cursor that is none.
        """
        size = parse_limit(limit)
        after = decode_cursor(cursor) if cursor else None
        return await self._database.read(lambda connection: _page(connection, query, size, after))


def read_report(connection: Connection, query: UsageQuery, finished: FinishedPeriods | None = None) -> UsageReport:
    """The report, within the connection's snapshot."""
    extent = _extent(connection, milliseconds(query.start), milliseconds(query.end))
    if extent is None:
        return _report(query, Gathered([], {}).block(), {}, {}, ())
    dropped_before = raw_from(connection)
    rows_from = 0 if dropped_before is None else milliseconds(dropped_before)
    found, values = _block(connection, query, extent, rows_from, finished)
    pending = reading.read_pending(connection, found.spans, query)
    return _report(query, found, values, pending, _notes(query, extent, rows_from))


def _block(
    connection: Connection,
    query: UsageQuery,
    extent: tuple[int, int],
    rows_from: int,
    finished: FinishedPeriods | None,
) -> tuple[Block, Mapping[Names, int]]:
    """The groups, and the numbers of their names."""
    times = [name for name in query.group_by if name in TIMES]

    def reader(values: dict[Names, int]) -> Read:
        return lambda start, end: _read(connection, query, spans(times, query.tz, start, end), values, rows_from)

    if times and finished is not None and not _from_rows(query) and query.filters.get("status") != "pending":
        horizon, shape = _horizon(connection), shape_of(query)
        kept = finished.take(shape, horizon.history)
        found = with_kept(
            kept,
            *extent,
            horizon.end,
            lambda moment: len(spans(times, query.tz, moment - 1, moment + 1)) > 1,
            reader(kept.values),
        )
        if len({span.key for span in found.spans}) == len(found.spans):
            finished.put(shape, kept)
            return found, kept.values
        # A local time that comes twice is one group: only what is read in one go adds it up.
    values: dict[Names, int] = {}
    return reader(values)(*extent), values


def _read(
    connection: Connection, query: UsageQuery, parts: Sequence[Span], values: dict[Names, int], rows_from: int
) -> Block:
    into = Gathered(parts, values)
    pieces = [
        piece
        for group, span in enumerate(parts)
        for piece in (
            rows_only(group, span.start, span.end)
            if _from_rows(query)
            else cover(group, span.start, span.end, rows_from=rows_from)
        )
    ]
    if query.filters.get("status") != "pending":
        reading.read_pieces(connection, into, pieces, query)
    return into.block()


def _from_rows(query: UsageQuery) -> bool:
    return bool(ONLY_ROWS_TELL.intersection((*query.filters, *query.group_by)))


def _horizon(connection: Connection) -> Horizon:
    newest = newest_quarter(connection)
    end = 0 if newest is None else finished_before(newest) * 1000
    return Horizon(int(state(connection, HISTORY) or 0), end)


def _report(
    query: UsageQuery, found: Block, values: Mapping[Names, int], pending: Pending, notes: tuple[str, ...]
) -> UsageReport:
    table, keys = _table(found, list(values), pending)
    sums = table.sums.sum(axis=0, keepdims=True)
    whole = Table(
        sums,
        table.pending.sum(keepdims=True),
        table.pending_requests.sum(keepdims=True),
        percentiles_of_all(found.latency_counts),
        percentiles_of_all(found.first_token_counts),
    )
    cost, attempts = int(sums[0, SUMS.index("cost_micro_usd")]), int(sums[0, SUMS.index("attempts")])
    attempts += int(whole.pending[0])
    (totals,) = figures(whole, cost, attempts)
    rows = figures(table, cost, attempts) if query.group_by else []
    named = _named(query.group_by, keys) if query.group_by else []
    order = _order(query.group_by, named, table, found.spans) if query.group_by else []
    return UsageReport(
        start=query.start,
        end=query.end,
        tz=query.tz.key,
        group_by=query.group_by,
        totals=UsageFigures(*totals),
        rows=tuple([named[at] + rows[at] for at in order]),
        notes=notes,
    )


def _table(found: Block, names: Sequence[Names], pending: Pending) -> tuple[Table, list[GroupKey]]:
    """The block with what is pending, and each group's key: its span's, then its names."""
    np = numpy()
    starts = [span.key for span in found.spans]
    keys = [starts[at] + names[value] for at, value in zip(found.span.tolist(), found.value.tolist(), strict=True)]
    sums, latency, first_token = found.sums, found.latency, found.first_token
    counted = np.zeros((len(keys), 2), np.int64)
    if pending:
        numbers = {key: at for at, key in enumerate(keys)}
        new = [key for key in pending if key not in numbers]
        numbers.update((key, len(keys) + at) for at, key in enumerate(new))
        keys += new
        more = ((0, len(new)), (0, 0))
        sums, counted = np.pad(sums, more), np.pad(counted, more)
        latency, first_token = (np.pad(each, more, constant_values=-1) for each in (latency, first_token))
        for key, both in pending.items():
            counted[numbers[key]] = both
    return Table(sums, counted[:, 0], counted[:, 1], latency, first_token), keys


def _extent(connection: Connection, start: int, end: int) -> tuple[int, int] | None:
    """The range as far as there is anything: it may span centuries. A side beyond the first or the last row goes to a
    UTC midnight, where no rows need to be read for its edge. None: nothing is in it."""
    raw = driver(connection)
    # One extreme a statement: only then does SQLite take it from the end of the index.
    rows = [raw.execute(f"SELECT {end}(created_at) FROM llm_usage_log").fetchone()[0] for end in ("MIN", "MAX")]
    sql = "SELECT MIN(bucket) FROM usage_rollups WHERE level = ? AND family = ?"
    quarters = [raw.execute(sql, (QUARTER, FULL)).fetchone()[0], newest_quarter(connection)]
    known = [milliseconds(from_text(text)) for text in rows if text is not None]
    known += [second * 1000 for second in quarters if second is not None]
    if not known:
        return None
    day, first, last = DAY * 1000, min(known), max(known) + QUARTER * 1000
    start = first // day * day if start <= first else start
    end = -(-last // day) * day if end >= last else end
    return (start, end) if start < end else None


def _notes(query: UsageQuery, extent: tuple[int, int], rows_from: int) -> tuple[str, ...]:
    start, end = extent
    if start >= rows_from:
        return ()
    date = f"{instant(rows_from):%Y-%m-%d}"
    if _from_rows(query):
        return (f"rows from before {date} were dropped (retention), and sessions and requests are told by rows alone",)
    quarter = QUARTER * 1000
    return tuple(
        f"rows from before {date} were dropped (retention): `{name}` is read as the nearest quarter of an hour"
        for name, moment in (("from", start), ("to", end))
        if moment < rows_from and moment % quarter
    )


def _named(group_by: Sequence[str], keys: Sequence[GroupKey]) -> list[GroupKey]:
    """The keys in the order asked for: as they are found, times come first in them."""
    found = [name for name in group_by if name in TIMES] + [name for name in group_by if name in COLUMNS]
    if found == list(group_by):
        return list(keys)
    places = [found.index(name) for name in group_by]
    return [tuple(key[at] for at in places) for key in keys]


def _order(group_by: Sequence[str], keys: Sequence[GroupKey], table: Table, spans: Sequence[Span]) -> list[int]:
    """Times in their order, others by cost."""
    np = numpy()
    named = zip(group_by, zip(*keys, strict=True), strict=False)
    columns = [_ranks(name, values, group_by, spans) for name, values in named]
    if group_by[0] not in TIMES:
        attempts = table.sums[:, SUMS.index("attempts")] + table.pending
        columns = [-table.sums[:, SUMS.index("cost_micro_usd")], -attempts, *columns]
    order: list[int] = np.lexsort(columns[::-1]).tolist() if keys else []
    return order


def _ranks(name: str, values: Sequence[str | None], group_by: Sequence[str], spans: Sequence[Span]) -> Ints:
    """Where each value stands among them; nothing comes first. An hour stands where it was, not as it reads: in autumn
    02:00+02:00 comes before 02:00+01:00."""
    at = [time for time in group_by if time in TIMES].index(name) if name == "hour" else 0
    starts = {span.key[at]: span.start for span in spans} if name == "hour" else {}
    ordered = sorted(set(values), key=lambda value: (value is not None, starts.get(value or "", 0), value or ""))
    places = {value: place for place, value in enumerate(ordered)}
    found: Ints = numpy().array([places[value] for value in values], numpy().int64)
    return found


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
