"""Roll-ups: what settled attempts add up to, per quarter of an hour, hour and UTC day, kept in the row's transaction.

A bucket's row holds the sums of the attempts that began in it and agree in every dimension that a report may group or
filter by (or, in the small families, in two or three of them), but for the session: nearly every session would be a
dimension of its own, and the roll-up would be as long as the ledger. Reports by session read rows through an index.
Quarters are the finest because every zone's offset is a multiple of one; hours, days and four weeks are there to be
read instead of many.

A row is added when it becomes settled and at no other time: `settled_before` tells a batch that is written again which
of its rows are in already. A request is counted where its first attempt (number 1) began, so requests add up like
everything else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypeAlias

import orjson
from sqlalchemy import Connection

from app.store.tables import from_text
from app.store.writer import driver
from app.usage.records import AttemptEnd, AttemptStart, CostSource, Status
from app.usage.sketches import bin_of, decode, encode, merge

QUARTER, HOUR, DAY = 900, 3600, 86_400
FOUR_WEEKS = 28 * DAY
LEVELS = (QUARTER, HOUR, DAY, FOUR_WEEKS)
"""Widths of the buckets in seconds; they begin at multiples of their width since 1970."""

DIMENSIONS = (
    "workspace_profile_id", "model", "task_type", "agent", "rule", "provider", "location", "status",
    "parent_agent", "parent_task_type",
)  # fmt: skip
"""Columns of the ledger by which a roll-up tells its rows apart, and, for budgets, whom a request was made for."""
_STATUS = DIMENSIONS.index("status")
_FIRST = _STATUS + 1
"""So many there were at first."""

FULL = 0
"""The family that tells every dimension apart."""
FAMILIES: tuple[tuple[str, ...], ...] = (
    DIMENSIONS,
    ("workspace_profile_id", "rule"),
    ("model", "provider", "location"),
    ("task_type", "agent"),
    (),
)
"""A family's number is its place. The small ones add up the same rows by fewer dimensions: a year by day and model is
then thousands of rows to read, and not a hundred thousand. The last has one row a bucket."""
ALL = FAMILIES.index(())
SERIES = tuple(
    (level, family) for level in LEVELS for family in range(len(FAMILIES)) if family == FULL or level != QUARTER
)
"""What is kept: every family, but for the quarters, which are read at edges only and not worth four rows each."""

SUMS = (
    "requests", "attempts", "ok", "errors", "cancelled", "interrupted", "input_tokens", "cached_input_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_micro_usd", "estimated_cost_micro_usd",
    "cost_estimated", "cost_unknown", "timed_output_tokens", "output_ms",
)  # fmt: skip
"""What is added up. `timed_output_tokens` were written in `output_ms`, after the first token of an ok attempt."""

ROW_COLUMNS = (
    "created_at", *DIMENSIONS, "attempt", "input_tokens", "cached_input_tokens", "cache_write_tokens", "output_tokens",
    "reasoning_tokens", "cost_micro_usd", "cost_source", "latency_ms", "time_to_first_token_ms",
)  # fmt: skip
"""The columns of the ledger, and of its rows' parents, that a `Settled` is made from, in order."""
SELECT_ROWS = f"SELECT {', '.join(ROW_COLUMNS)} FROM llm_usage_log LEFT JOIN request_parents USING (request_id)"

Dimensions: TypeAlias = tuple[str | None, ...]
"""Values in the order of `DIMENSIONS`; None where the family does not tell (an agent is also None where there is none).
"""
Key: TypeAlias = tuple[int, int, int, int]
"""Level, family, bucket (seconds since 1970, its beginning) and dimension."""


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled row as the roll-up sees it: when it began (seconds since 1970), where it belongs, what it adds."""

    second: int
    dimensions: Dimensions
    sums: tuple[int, ...]
    latency_ms: int | None
    time_to_first_token_ms: int | None


@dataclass(slots=True)
class Cell:
    """One bucket's row in the making. The sketches are bins and counts of the ok attempts."""

    sums: list[int] = field(default_factory=lambda: [0] * len(SUMS))
    latency: dict[int, int] = field(default_factory=dict)
    first_token: dict[int, int] = field(default_factory=dict)

    def add(self, row: Settled) -> None:
        self.sums = [a + b for a, b in zip(self.sums, row.sums, strict=True)]
        if row.latency_ms is not None:
            bin = bin_of(row.latency_ms)
            self.latency[bin] = self.latency.get(bin, 0) + 1
        if row.time_to_first_token_ms is not None:
            bin = bin_of(row.time_to_first_token_ms)
            self.first_token[bin] = self.first_token.get(bin, 0) + 1

    def add_stored(self, values: Sequence[Any]) -> None:
        """Add another cell as the table holds it: its sums, then its two sketches."""
        *sums, latency, first_token = values
        self.sums = [a + b for a, b in zip(self.sums, sums, strict=True)]
        for counts, sketch in ((self.latency, latency), (self.first_token, first_token)):
            for bin, count in decode(sketch or b"").items():
                counts[bin] = counts.get(bin, 0) + count

    def stored(self) -> tuple[Any, ...]:
        """In the order of the table's columns after its key."""
        return (*self.sums, encode(self.latency) or None, encode(self.first_token) or None)


def settled(start: AttemptStart, end: AttemptEnd) -> Settled:
    parent = start.parent
    return _settled(
        int(start.created_at.timestamp()),
        (
            start.workspace_profile_id, start.model, start.task_type, start.agent, start.rule, start.provider,
            start.location, end.status.value,
            parent.agent if parent else None, parent.task_type if parent else None,
        ),
        start.attempt,
        (
            end.input_tokens, end.cached_input_tokens, end.cache_write_tokens, end.output_tokens, end.reasoning_tokens,
            end.cost_micro_usd,
        ),
        end.cost_source.value,
        end.latency_ms,
        end.time_to_first_token_ms,
    )  # fmt: skip


def settled_from(row: Sequence[Any]) -> Settled:
    """The same from a stored row: its `ROW_COLUMNS`."""
    width = 1 + len(DIMENSIONS)
    source, latency_ms, first_token_ms = row[width + 7 :]
    return _settled(
        int(from_text(row[0]).timestamp()), tuple(row[1:width]), row[width], row[width + 1 : width + 7], source,
        latency_ms, first_token_ms,
    )  # fmt: skip


def _settled(
    second: int,
    dimensions: Dimensions,
    attempt: int,
    amounts: Sequence[int | None],
    source: str,
    latency_ms: int | None,
    first_token_ms: int | None,
) -> Settled:
    *tokens, micro_usd = amounts
    output, status = amounts[3], dimensions[_STATUS]
    ok, estimated = status == Status.OK, source == CostSource.ESTIMATED
    writing = 0
    if ok and output is not None and latency_ms is not None and first_token_ms is not None:
        writing = max(latency_ms - first_token_ms, 0)
    sums = (
        int(attempt == 1), 1, int(ok), int(status == Status.ERROR), int(status == Status.CANCELLED),
        int(status == Status.INTERRUPTED), *(amount or 0 for amount in tokens), micro_usd or 0,
        (micro_usd or 0) if estimated else 0, int(estimated), int(micro_usd is None), (output or 0) if writing else 0,
        writing,
    )  # fmt: skip
    return Settled(second, dimensions, sums, latency_ms if ok else None, first_token_ms if ok else None)


@lru_cache(maxsize=4096)
def families(values: Dimensions) -> tuple[tuple[int, Dimensions], ...]:
    """For each family the dimension's id, and its values with None where the family does not tell."""
    result = []
    for family in FAMILIES:
        told = tuple(v if name in family else None for name, v in zip(DIMENSIONS, values, strict=True))
        result.append((dimension_id(told), told))
    return tuple(result)


def dimension_id(values: Dimensions) -> int:
    """64 bits of a hash of the values: the same in every process, so that nobody has to look it up or remember it.

    Ten thousand combinations collide with a probability of 3 in 10^12. Columns that came later are left out where they
    are None: what is stored keeps its id. Raises TypeError for text that is not Unicode.
    """
    told = values if any(value is not None for value in values[_FIRST:]) else values[:_FIRST]
    return int.from_bytes(blake2b(orjson.dumps(told), digest_size=8).digest(), "big", signed=True)


_INSERT_DIMENSION = (
    f"INSERT INTO usage_dimensions (id, {', '.join(DIMENSIONS)}) "
    f"VALUES ({', '.join('?' * (len(DIMENSIONS) + 1))}) ON CONFLICT DO NOTHING"
)
_COLUMNS = ("level", "family", "bucket", "dimension", *SUMS, "latency", "first_token")
_UPSERT = (
    f"INSERT INTO usage_rollups ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in SUMS)
    + ", latency = merge_sketches(latency, excluded.latency)"
    + ", first_token = merge_sketches(first_token, excluded.first_token)"
)
_SETTLED = "SELECT id FROM llm_usage_log WHERE id IN (SELECT value FROM json_each(?)) AND status <> 'pending'"


def settled_before(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the attempts whose settled row is in the database, and so in the roll-ups."""
    return {id for (id,) in driver(connection).execute(_SETTLED, (orjson.dumps(ids).decode(),))}


def add(connection: Connection, rows: Sequence[Settled]) -> None:
    """Add rows that have just become settled; to be called in their transaction."""
    if len(rows) == 1:  # a person's: nothing to add up
        _add_alone(connection, rows[0])
        return
    collected = Cells()
    for row in rows:
        collected.add(row)
    store(connection, collected)


def _add_alone(connection: Connection, row: Settled) -> None:
    told = families(row.dimensions)
    cell = Cell()
    cell.add(row)
    values = cell.stored()
    keys = ((level, family, row.second - row.second % level, told[family][0]) for level, family in SERIES)
    _write(connection, told, [(*key, *values) for key in keys])


@dataclass(slots=True)
class Cells:
    """Rows added up: the cells by key, and the dimensions they have by id."""

    cells: dict[Key, Cell] = field(default_factory=dict)
    dimensions: dict[int, Dimensions] = field(default_factory=dict)

    def add(self, row: Settled, series: Sequence[tuple[int, int]] = SERIES) -> None:
        """Add a row to its cell of every series."""
        told = families(row.dimensions)
        self.dimensions.update(told)
        for level, family in series:
            key = (level, family, row.second - row.second % level, told[family][0])
            cell = self.cells.get(key)
            if cell is None:
                cell = self.cells[key] = Cell()
            cell.add(row)


def store(connection: Connection, collected: Cells) -> None:
    """Add the cells to what their buckets hold."""
    if collected.cells:
        cells = [(*key, *cell.stored()) for key, cell in collected.cells.items()]
        _write(connection, collected.dimensions.items(), cells)


def _write(
    connection: Connection, dimensions: Iterable[tuple[int, Dimensions]], cells: Sequence[tuple[Any, ...]]
) -> None:
    raw = driver(connection)
    if "merge_sketches" not in connection.info:  # once per connection: it makes SQLite prepare everything anew
        raw.create_function("merge_sketches", 2, merge, deterministic=True)
        connection.info["merge_sketches"] = True
    raw.executemany(_INSERT_DIMENSION, [(id, *values) for id, values in dimensions])
    raw.executemany(_UPSERT, cells)
    quarters = [cell[2] for cell in cells if cell[0] == QUARTER]
    newest = newest_quarter(connection)
    if quarters and newest is not None and min(quarters) < finished_before(newest):
        raise_history(connection)


HISTORY = "history"
"""In `usage_state`: a number that grows whenever what was finished changes."""


def newest_quarter(connection: Connection) -> int | None:
    """The last quarter that anything began in."""
    sql = "SELECT MAX(bucket) FROM usage_rollups WHERE level = ? AND family = ?"
    found: int | None = driver(connection).execute(sql, (QUARTER, FULL)).fetchone()[0]
    return found


def finished_before(newest: int) -> int:
    """Where what is finished ends (seconds since 1970): a UTC midnight, a day before that of the newest quarter. It
    only ever moves on, so whoever keeps something from before it is told of every later change."""
    return newest - newest % DAY - DAY


def raise_history(connection: Connection) -> None:
    driver(connection).execute(
        "INSERT INTO usage_state (name, value) VALUES (?, '1') "
        "ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        (HISTORY,),
    )
