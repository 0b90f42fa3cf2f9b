"""Sums of roll-ups and of rows, by group, as SQL. All of a report is read in one snapshot.

The pieces to read go in as one JSON parameter and are joined to the roll-ups by their key, so a report of a year by
day is one statement. Every value of a request is a bound parameter; what can be grouped by is a closed list.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import orjson
from sqlalchemy import Connection

from app.store.tables import from_text, to_text
from app.store.writer import driver
from app.usage.figures import Sums
from app.usage.percentiles import SketchPieces
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

GroupKey: TypeAlias = tuple[str | None, ...]
"""A span's key, then the values of the other groupings in their order."""


@dataclass(slots=True)
class Found:
    """Sums by group, and their sketches under the groups' numbers."""

    numbers: dict[GroupKey, int] = field(default_factory=dict)
    sums: list[Sums] = field(default_factory=list)
    latency: SketchPieces = field(default_factory=SketchPieces)
    first_token: SketchPieces = field(default_factory=SketchPieces)

    def number(self, key: GroupKey) -> int:
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.sums)
            self.sums.append(Sums.nothing())
        return number


def read_pieces(
    connection: Connection, found: Found, spans: Sequence[Span], pieces: Sequence[Piece], query: UsageQuery
) -> None:
    """Add what the pieces hold to `found`; the settled attempts, that is."""
    keys = value_groupings(query)
    if from_rollups := [piece for piece in pieces if piece.level]:
        _read_rollups(connection, found, spans, from_rollups, query, keys)
    if from_rows := [piece for piece in pieces if not piece.level]:
        _read_rows(connection, found, spans, from_rows, query, keys)


def read_pending(connection: Connection, found: Found, spans: Sequence[Span], query: UsageQuery) -> None:
    """Add the attempts that have not ended; there are at most as many as open streams."""
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
            sums = found.sums[found.number((*spans[at].key, *names))]
            sums.pending += 1
            sums.pending_requests += attempt == 1


def value_groupings(query: UsageQuery) -> list[str]:
    """The columns of the groupings that are no times."""
    return [COLUMNS[name] for name in query.group_by if name in COLUMNS]


def small_family(query: UsageQuery) -> int:
    """The smallest family that tells all that the query groups and filters by."""
    asked = {COLUMNS[name] for name in (*query.group_by, *query.filters) if name in COLUMNS}
    return next((at for at in range(1, len(FAMILIES)) if asked.issubset(FAMILIES[at])), FULL)


def bounds(query: UsageQuery) -> tuple[str, str]:
    """The range as the rows' `created_at` is compared with it."""
    return _text(milliseconds(query.start)), _text(milliseconds(query.end))


def conditions(filters: Mapping[str, str], table: str) -> tuple[str, list[str]]:
    """` AND table.column = ?` for each filter, and the values."""
    names = [name for name in filters if name in COLUMNS]
    return "".join(f" AND {table}.{COLUMNS[name]} = ?" for name in names), [filters[name] for name in names]


def _read_rollups(
    connection: Connection,
    found: Found,
    spans: Sequence[Span],
    pieces: Sequence[Piece],
    query: UsageQuery,
    keys: Sequence[str],
) -> None:
    where, values = conditions(query.filters, "d")
    family = small_family(query)
    joined = "JOIN usage_dimensions d ON d.id = r.dimension" if keys or where else ""
    sql = (
        f"{_PIECES} SELECT p.g, p.sign{_listed(keys, 'd')}, {_ROLLUP_SUMS}, "
        "group_concat(hex(r.latency), ''), group_concat(hex(r.first_token), '') "
        "FROM pieces p CROSS JOIN usage_rollups r "
        "ON r.level = p.level AND r.family = p.family AND r.bucket >= p.a AND r.bucket < p.b "
        f"{joined} WHERE 1{where} GROUP BY p.g, p.sign{_listed(keys, 'd')}"
    )
    told = [
        (p.group, p.sign, p.level, p.start // 1000, p.end // 1000, family if (p.level, family) in SERIES else FULL)
        for p in pieces
    ]
    width = len(keys)
    for group, sign, *row in driver(connection).execute(sql, (orjson.dumps(told).decode(), *values)):
        number = found.number((*spans[group].key, *row[:width]))
        found.sums[number].add(row[width:-2], sign)
        for sketch, pieces_ in ((row[-2], found.latency), (row[-1], found.first_token)):
            if sketch:
                pieces_.parts.append((number, sign, bytes.fromhex(sketch)))


def _read_rows(
    connection: Connection,
    found: Found,
    spans: Sequence[Span],
    pieces: Sequence[Piece],
    query: UsageQuery,
    keys: Sequence[str],
) -> None:
    where, values = conditions(query.filters, "t")
    sql = (
        f"{_PIECES} SELECT p.g, p.sign{_listed(keys, 't')}, {_ROW_SUMS}, "
        f"group_concat({_if_ok('latency_ms')}), group_concat({_if_ok('time_to_first_token_ms')}) "
        "FROM pieces p CROSS JOIN llm_usage_log t ON t.created_at >= p.a AND t.created_at < p.b "
        f"WHERE t.status <> 'pending'{where} GROUP BY p.g, p.sign{_listed(keys, 't')}"
    )
    told = [(p.group, p.sign, 0, _text(p.start), _text(p.end)) for p in pieces]
    width = len(keys)
    for group, sign, *row in driver(connection).execute(sql, (orjson.dumps(told).decode(), *values)):
        number = found.number((*spans[group].key, *row[:width]))
        found.sums[number].add(row[width:-2], sign)
        for text, pieces_ in ((row[-2], found.latency), (row[-1], found.first_token)):
            if text is not None:
                pieces_.values += [(number, sign, int(value)) for value in str(text).split(",")]


def _text(moment: int) -> str:
    return to_text(instant(moment))


def _listed(keys: Iterable[str], table: str) -> str:
    return "".join(f", {table}.{key}" for key in keys)


def _if_ok(value: str) -> str:
    return f"CASE WHEN t.status = '{Status.OK.value}' THEN {value} END"


_PIECES = (
    "WITH pieces(g, sign, level, a, b, family) AS MATERIALIZED (SELECT value ->> 0, value ->> 1, value ->> 2, "
    "value ->> 3, value ->> 4, value ->> 5 FROM json_each(?))"
)
_ROLLUP_SUMS = ", ".join(f"SUM(r.{name})" for name in SUMS)

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
