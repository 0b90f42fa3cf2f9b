"""The roll-ups against the rows: building them where they are missing, comparing, repairing. A UTC day at a time, so
that a million rows need no more memory than a day of them; four weeks are compared with their days."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import Connection

from app.store.database import Database
from app.store.tables import from_text, to_text
from app.store.writer import driver
from app.usage import rollups
from app.usage.rollups import ALL, DAY, DIMENSIONS, FOUR_WEEKS, SELECT_ROWS, SERIES, SUMS, Cell, Cells, Dimensions, Key

log = logging.getLogger(__name__)

_BUILT = "with all together"
SHOWN = 20
"""Differences that a verification names; all are counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A bucket's row that does not say what its rows add up to. None: there is no such row, or it ought not to be."""

    level: int
    bucket: str
    dimension: dict[str, str | None]
    field: str
    stored: int | None
    computed: int | None


@dataclass(frozen=True, slots=True)
class Verification:
    """`checked_from`: rows from before it were dropped, and their roll-ups stand as they are. None: all was checked."""

    days: int
    rows: int
    buckets: int
    different: int
    repaired: int
    checked_from: str | None
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return self.different == self.repaired


@dataclass(frozen=True, slots=True)
class _Compared:
    rows: int
    buckets: int
    differences: list[Difference]


def state(connection: Connection, name: str) -> str | None:
    """A value the roll-ups remember."""
    row = driver(connection).execute("SELECT value FROM usage_state WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def remember(connection: Connection, name: str, value: str) -> None:
    driver(connection).execute(
        "INSERT INTO usage_state (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
        (name, value),
    )


def raw_from(connection: Connection) -> datetime | None:
    """From when on the rows are there; None: nothing was ever dropped. A UTC midnight."""
    value = state(connection, "raw_from")
    return None if value is None else from_text(value)


def build_missing(connection: Connection) -> None:
    """Build the roll-ups of a ledger that has rows from before there were any, or from before there were those of
    everything together; to be called in a transaction."""
    built = state(connection, "rollups")
    if built == _BUILT:
        return
    if built is not None:
        _add_up_all(connection)
        remember(connection, "rollups", _BUILT)
        return
    periods = _periods(connection)
    if periods:
        log.info("adding up the usage of %d days; this is done once", len(periods))
    for period in periods:
        _replace(connection, period)
    remember(connection, "rollups", _BUILT)


def _add_up_all(connection: Connection) -> None:
    """The family of everything, from a small one: rows that retention dropped are told by the roll-ups alone."""
    nothing: Dimensions = (None,) * len(DIMENSIONS)
    collected = Cells(dimensions={rollups.dimension_id(nothing): nothing})
    columns = ", ".join((*SUMS, "latency", "first_token"))
    for level in (level for level, family in SERIES if family == ALL):
        sql = f"SELECT bucket, {columns} FROM usage_rollups WHERE level = ? AND family = 1"
        for bucket, *values in driver(connection).execute(sql, (level,)):
            key = (level, ALL, bucket, rollups.dimension_id(nothing))
            collected.cells.setdefault(key, Cell()).add_stored(values)
    rollups.store(connection, collected)


async def verify(database: Database, *, repair: bool = False, before: datetime | None = None) -> Verification:
    """Add up every row anew and compare; with `repair`, replace what differs. Requests go on meanwhile.

    `before`: only what begins before it.
    """
    horizon = await database.read(raw_from)
    periods = await database.read(_periods)
    if before is not None:
        periods = [period for period in periods if period.start < before.timestamp()]
    rows = buckets = different = repaired = 0
    shown: list[Difference] = []
    for period in periods:
        found = await database.read(partial(_compare, period=period))
        rows, buckets = rows + found.rows, buckets + found.buckets
        different += len(found.differences)
        shown += found.differences[: SHOWN - len(shown)]
        if repair and found.differences:
            await database.write(partial(_replace, period=period))
            repaired += len(found.differences)
    days = sum(period.width == DAY for period in periods)
    checked_from = None if horizon is None else to_text(horizon)
    return Verification(days, rows, buckets, different, repaired, checked_from, tuple(shown))


@dataclass(frozen=True, slots=True)
class _Period:
    """A UTC day, whose buckets are compared with its rows, or four weeks, which are compared with their days."""

    start: int
    width: int

    @property
    def series(self) -> tuple[tuple[int, int], ...]:
        return tuple(s for s in SERIES if (s[0] == FOUR_WEEKS) == (self.width == FOUR_WEEKS))


def _periods(connection: Connection) -> list[_Period]:
    """All that have settled rows or roll-ups, without the days whose rows were dropped; days come first."""
    raw = driver(connection)
    by_rows = raw.execute("SELECT DISTINCT substr(created_at, 1, 10) FROM llm_usage_log WHERE status <> 'pending'")
    days = {int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) for (day,) in by_rows}
    weeks = {day - day % FOUR_WEEKS for day in days}
    for level, family in SERIES:
        sql = "SELECT DISTINCT bucket FROM usage_rollups WHERE level = ? AND family = ?"
        buckets = [bucket for (bucket,) in raw.execute(sql, (level, family))]
        weeks.update(bucket - bucket % FOUR_WEEKS for bucket in buckets)
        if level != FOUR_WEEKS:
            days.update(bucket - bucket % DAY for bucket in buckets)
    horizon = raw_from(connection)
    kept = (day for day in days if horizon is None or day >= horizon.timestamp())
    return [_Period(day, DAY) for day in sorted(kept)] + [_Period(week, FOUR_WEEKS) for week in sorted(weeks)]


def _moment(second: int) -> str:
    return to_text(datetime.fromtimestamp(second, UTC))


def _rows_of(connection: Connection, day: int) -> Iterator[Sequence[Any]]:
    sql = f"{SELECT_ROWS} WHERE created_at >= ? AND created_at < ? AND status <> 'pending'"
    yield from driver(connection).execute(sql, (_moment(day), _moment(day + DAY)))


def _computed(connection: Connection, period: _Period) -> tuple[int, Cells]:
    """How many rows, and what they add up to."""
    collected = Cells()
    rows = 0
    if period.width == FOUR_WEEKS:
        collected.dimensions = _dimensions(connection)
        by_day = [(DAY, family) for _, family in period.series]
        for (_, family, _, dimension), values in _stored(connection, by_day, period).items():
            key = (FOUR_WEEKS, family, period.start, dimension)
            collected.cells.setdefault(key, Cell()).add_stored(values)
    else:
        for row in map(rollups.settled_from, _rows_of(connection, period.start)):
            collected.add(row, period.series)
            rows += 1
    return rows, collected


def _stored(connection: Connection, series: Sequence[tuple[int, int]], period: _Period) -> dict[Key, tuple[Any, ...]]:
    columns = ", ".join(("level", "family", "bucket", "dimension", *SUMS, "latency", "first_token"))
    sql = f"SELECT {columns} FROM usage_rollups {_WITHIN}"
    return {
        (row[0], row[1], row[2], row[3]): tuple(row[4:])
        for level, family in series
        for row in driver(connection).execute(sql, (level, family, period.start, period.start + period.width))
    }


_WITHIN = "WHERE level = ? AND family = ? AND bucket >= ? AND bucket < ?"


def _compare(connection: Connection, period: _Period) -> _Compared:
    rows, collected = _computed(connection, period)
    cells = collected.cells
    stored = _stored(connection, period.series, period)
    known = _dimensions(connection)
    differences = []
    for key in sorted(stored.keys() | cells.keys()):
        computed = cells[key].stored() if key in cells else None
        field = _differing(stored.get(key), computed)
        level, _, bucket, dimension = key
        if field is None and dimension not in known:
            field = ("dimension", None, None)
        if field is not None:
            values = collected.dimensions.get(dimension) or known.get(dimension) or (None,) * len(DIMENSIONS)
            named = dict(zip(DIMENSIONS, values, strict=True))
            differences.append(Difference(level, _moment(bucket), named, *field))
    return _Compared(rows, len(cells), differences)


def _differing(
    stored: tuple[Any, ...] | None, computed: tuple[Any, ...] | None
) -> tuple[str, int | None, int | None] | None:
    """The first field that differs, and both its values where they are numbers."""
    if stored == computed:
        return None
    if stored is None or computed is None:
        at = SUMS.index("attempts")
        return "attempts", None if stored is None else stored[at], None if computed is None else computed[at]
    names = (*SUMS, "latency", "first_token")
    at = next(at for at in range(len(names)) if stored[at] != computed[at])
    return (names[at], stored[at], computed[at]) if at < len(SUMS) else (names[at], None, None)


def _dimensions(connection: Connection) -> dict[int, Dimensions]:
    rows = driver(connection).execute(f"SELECT id, {', '.join(DIMENSIONS)} FROM usage_dimensions")
    return {row[0]: tuple(row[1:]) for row in rows}


def _replace(connection: Connection, period: _Period) -> None:
    _, collected = _computed(connection, period)
    for level, family in period.series:
        sql = f"DELETE FROM usage_rollups {_WITHIN}"
        driver(connection).execute(sql, (level, family, period.start, period.start + period.width))
    rollups.store(connection, collected)
    rollups.raise_history(connection)
