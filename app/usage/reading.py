"""Sums of roll-ups and of rows, by group, as SQL. All of a report is read in one snapshot.

The pieces to read go in as one JSON parameter and are joined to the roll-ups by their key, so a report of a year by
day is one statement. Every value of a request is a bound parameter; what can be grouped by is a closed list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import orjson
from sqlalchemy import Connection

from app.store.tables import from_text, to_text
from app.store.writer import driver
from app.usage.gathered import Gathered
from app.usage.percentiles import Ints, numpy
from app.usage.queries import UsageQuery
from app.usage.records import CostSource, Status
from app.usage.rollups import FAMILIES, FULL, SERIES, SUMS
from app.usage.spans import Piece, Span, instant, milliseconds

COLUMNS: Mapping[str, str] = {
    "workspace": "workspace_profile_id",
    "model": "model",
    "task_type": "task_type",
    "agent": "agent",
    "session": "session_id",
    "rule": "rule",
    "location": "location",
    "provider": "provider",
    "status": "status",
    "request_id": "request_id",
}
"""Columns of the ledger by the names of groupings and filters."""

ONLY_ROWS_TELL = frozenset({"session", "request_id"})
"""What the roll-ups do not know."""

AT_ONCE = 2048
"""Rows of the roll-ups held as Python objects at a time."""

Pending: TypeAlias = dict[tuple[str | None, ...], list[int]]
"""By a span's key and the values of the other groupings: attempts that have not ended, and requests they begin."""


def read_pieces(connection: Connection, into: Gathered, pieces: Sequence[Piece], query: UsageQuery) -> None:
    """Add what the pieces hold; the settled attempts, that is."""
    if from_rollups := [piece for piece in pieces if piece.level]:
        _read_rollups(connection, into, from_rollups, query)
    if from_rows := [piece for piece in pieces if not piece.level]:
        _read_rows(connection, into, from_rows, query)


def read_pending(connection: Connection, spans: Sequence[Span], query: UsageQuery) -> Pending:
    """The attempts that have not ended; there are at most as many as open streams."""
    found: Pending = {}
    keys = value_groupings(query)
    where, values = conditions(query.filters, "t")
    sql = (
        f"SELECT t.created_at, t.attempt{_listed(keys, 't')} FROM llm_usage_log t "
        # Without being told SQLite takes the index by time, and reads a year of rows to find three.
        "INDEXED BY ix_llm_usage_log_pending WHERE t.status = 'pending' "
        f"AND t.created_at >= ? AND t.created_at < ?{where}"
    )
    starts = [span.start for span in spans]
    for created_at, attempt, *names in driver(connection).execute(sql, (*bounds(query), *values)):
        at = bisect_right(starts, milliseconds(from_text(created_at))) - 1
        if at >= 0:
            counted = found.setdefault((*spans[at].key, *names), [0, 0])
            counted[0] += 1
            counted[1] += attempt == 1
    return found


def value_groupings(query: UsageQuery) -> list[str]:
    """The columns of the groupings that are no times."""
    return [COLUMNS[name] for name in query.group_by if name in COLUMNS]


def small_family(query: UsageQuery) -> int:
    """The smallest family that tells all that the query groups and filters by."""
    asked = {COLUMNS[name] for name in (*query.group_by, *query.filters) if name in COLUMNS}
    return min((len(FAMILIES[at]), at) for at in range(len(FAMILIES)) if asked.issubset(FAMILIES[at]))[1]


def bounds(query: UsageQuery) -> tuple[str, str]:
    """The range as the rows' `created_at` is compared with it."""
    return _text(milliseconds(query.start)), _text(milliseconds(query.end))


def conditions(filters: Mapping[str, str], table: str) -> tuple[str, list[str]]:
    """` AND table.column = ?` for each filter, and the values."""
    names = [name for name in filters if name in COLUMNS]
    return "".join(f" AND {table}.{COLUMNS[name]} = ?" for name in names), [filters[name] for name in names]


def _read_rollups(connection: Connection, into: Gathered, pieces: Sequence[Piece], query: UsageQuery) -> None:
    """Each bucket is read once, and added to every span that it belongs to: to the one before midnight, and taken away
    from the one after it."""
    np = numpy()
    family = small_family(query)
    uses: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
    for p in pieces:
        uses.setdefault((p.level, p.start // 1000, p.end // 1000), []).append((p.group, p.sign))
    told = [
        (number, level, start, end, family if (level, family) in SERIES else FULL)
        for number, (level, start, end) in enumerate(uses)
    ]
    numbers, allowed = _dimensions(connection, into, query)
    where = "" if allowed is None else " WHERE r.dimension IN (SELECT value FROM json_each(?))"
    cursor = driver(connection).execute(
        f"{_PIECES} SELECT p.n, r.dimension, {_ROLLUP_SUMS}, r.latency, r.first_token "
        "FROM pieces p CROSS JOIN usage_rollups r "
        f"ON r.level = p.level AND r.family = p.family AND r.bucket >= p.a AND r.bucket < p.b{where}",
        (orjson.dumps(told).decode(), *(() if allowed is None else (orjson.dumps(allowed).decode(),))),
    )
    layers = _layers(list(uses.values()))
    while rows := cursor.fetchmany(AT_ONCE):
        piece, dimension, *columns = zip(*rows, strict=True)
        values = numbers(np.array(dimension, np.int64))
        sums = np.array(columns[:-2], np.int64).T
        at = np.array(piece, np.int64)
        for spans, signs in layers:
            sign = signs[at]
            used = np.flatnonzero(sign)
            if not len(used):
                continue
            codes, sign = into.codes(spans[at[used]], values[used]), sign[used]
            into.add(codes, sums[used] * sign[:, None])
            for sketches, counted in ((columns[-2], into.latency), (columns[-1], into.first_token)):
                some = sketches if len(used) == len(at) else [sketches[i] for i in used]
                counted.add(codes, sign, some)


def _layers(uses: Sequence[Sequence[tuple[int, int]]]) -> list[tuple[Ints, Ints]]:
    """(span, sign) of each interval's first use, of its second, and so on; a sign of 0: it has none."""
    np = numpy()
    deepest = max(map(len, uses))
    padded = np.array([[*use, *[(0, 0)] * (deepest - len(use))] for use in uses], np.int64)
    return [(padded[:, layer, 0], padded[:, layer, 1]) for layer in range(deepest)]


def _dimensions(
    connection: Connection, into: Gathered, query: UsageQuery
) -> tuple[Callable[[Ints], Ints], list[int] | None]:
    """What gives the numbers of dimensions' names, and the dimensions that the filters let through (None: all)."""
    np = numpy()
    keys = value_groupings(query)
    where, values = conditions(query.filters, "d")
    if not keys and not where:
        nothing = into.value(())
        return lambda ids: np.full(len(ids), nothing), None
    sql = f"SELECT d.id{_listed(keys, 'd')} FROM usage_dimensions d WHERE 1{where} ORDER BY d.id"
    found = [(id, into.value(tuple(names))) for id, *names in driver(connection).execute(sql, values)]
    ids, numbers = np.array(found, np.int64).reshape(-1, 2).T
    return lambda asked: numbers[ids.searchsorted(asked)], ids.tolist() if where else None


def _read_rows(connection: Connection, into: Gathered, pieces: Sequence[Piece], query: UsageQuery) -> None:
    np = numpy()
    keys = value_groupings(query)
    where, values = conditions(query.filters, "t")
    sql = (
        f"{_ROW_PIECES} SELECT p.g, p.sign{_listed(keys, 't')}, {_ROW_SUMS}, "
        f"group_concat({_if_ok('latency_ms')}), group_concat({_if_ok('time_to_first_token_ms')}) "
        "FROM pieces p CROSS JOIN llm_usage_log t ON t.created_at >= p.a AND t.created_at < p.b "
        f"WHERE t.status <> 'pending'{where} GROUP BY p.g, p.sign{_listed(keys, 't')}"
    )
    told = [(p.group, p.sign, _text(p.start), _text(p.end)) for p in pieces]
    width = len(keys)
    codes, sums = [], []
    latency: list[tuple[int, int, int]] = []
    first_token: list[tuple[int, int, int]] = []
    for group, sign, *row in driver(connection).execute(sql, (orjson.dumps(told).decode(), *values)):
        code = into.code(group, into.value(tuple(row[:width])))
        codes.append(code)
        sums.append([sign * value for value in row[width:-2]])
        for text, found in ((row[-2], latency), (row[-1], first_token)):
            if text is not None:
                found += [(code, sign, int(value)) for value in str(text).split(",")]
    if codes:
        into.add(np.array(codes, np.int64), np.array(sums, np.int64))
        into.latency.add_values(latency)
        into.first_token.add_values(first_token)


def _text(moment: int) -> str:
    return to_text(instant(moment))


def _listed(keys: Iterable[str], table: str) -> str:
    return "".join(f", {table}.{key}" for key in keys)


def _if_ok(value: str) -> str:
    return f"CASE WHEN t.status = '{Status.OK.value}' THEN {value} END"


_PIECES = (
    "WITH pieces(n, level, a, b, family) AS MATERIALIZED (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, "
    "value ->> 4 FROM json_each(?))"
)
_ROW_PIECES = (
    "WITH pieces(g, sign, a, b) AS MATERIALIZED (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 "
    "FROM json_each(?))"
)
_ROLLUP_SUMS = ", ".join(f"r.{name}" for name in SUMS)

_WRITING = _if_ok("CASE WHEN t.output_tokens IS NOT NULL THEN MAX(t.latency_ms - t.time_to_first_token_ms, 0) END")
_ROW_EXPRESSIONS: Mapping[str, str] = {
    "requests": "t.attempt = 1",
    "attempts": "1",
    "ok": f"t.status = '{Status.OK.value}'",
    "errors": f"t.status = '{Status.ERROR.value}'",
    "cancelled": f"t.status = '{Status.CANCELLED.value}'",
    "interrupted": f"t.status = '{Status.INTERRUPTED.value}'",
    "estimated_cost_micro_usd": f"CASE WHEN t.cost_source = '{CostSource.ESTIMATED.value}' THEN t.cost_micro_usd END",
    "cost_estimated": f"t.cost_source = '{CostSource.ESTIMATED.value}'",
    "cost_unknown": "t.cost_micro_usd IS NULL",
    "timed_output_tokens": f"CASE WHEN {_WRITING} > 0 THEN t.output_tokens END",
    "output_ms": _WRITING,
}
"""How a row says what `app.usage.rollups` adds up; what is not named here is the column itself."""
_ROW_SUMS = ", ".join(f"COALESCE(SUM({_ROW_EXPRESSIONS.get(name, f't.{name}')}), 0)" for name in SUMS)
