"""Roll-ups agree with the rows, whatever is written twice, cut off or tampered with."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.store.database import Database
from app.usage import sketches
from app.usage.ledger import UsageLedger
from app.usage.reconcile import verify
from app.usage.records import Status
from app.usage.rows import Batch, Entry
from tests.unit.ledger_rows import NOW, attempt, ended, receipt_of


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    yield database
    await database.close()


async def write(database: Database, *entries: Entry) -> None:
    batch = Batch(list(entries), lambda _error, _lost: None)
    await database.write(batch.run)


def entries(count: int) -> list[Entry]:
    return [
        Entry(attempt(str(n), model=f"m{n % 3}", created_at=NOW - timedelta(hours=n)), ended(latency_ms=n * 100))
        for n in range(count)
    ]


async def total(database: Database) -> int:
    sql = "SELECT SUM(attempts) FROM usage_rollups WHERE level = 900"
    return await database.read(lambda connection: connection.exec_driver_sql(sql).scalar() or 0)


async def test_a_batch_written_twice_counts_once(database: Database) -> None:
    await write(database, *entries(50))
    await write(database, *entries(50))
    await write(database, *entries(60))
    assert await total(database) == 60
    assert (await verify(database)).different == 0


async def test_a_row_that_cannot_be_stored_takes_no_other_out_of_the_roll_ups(database: Database) -> None:
    good, bad = entries(4), Entry(attempt("bad"), ended(input_tokens=2**70))
    await write(database, *good[:2], bad, Entry(attempt("worse", model="lone \ud800"), ended()), *good[2:])
    assert await total(database) == 4
    assert (await verify(database)).ok


async def test_pending_rows_are_in_no_roll_up_until_they_settle(database: Database) -> None:
    (entry,) = entries(1)
    await write(database, replace(entry, end=None))
    assert await total(database) == 0
    await write(database, entry)
    assert await total(database) == 1


async def test_what_a_crash_cut_off_is_added_at_the_start(database: Database) -> None:
    await write(database, Entry(attempt("a")), Entry(attempt("b")))
    await (await UsageLedger.open(database, now=NOW)).close()
    assert await total(database) == 2
    assert (await verify(database)).ok


async def test_a_ledger_from_before_there_were_roll_ups_is_added_up_once(tmp_path: Path) -> None:
    path = tmp_path / "sidecar.db"
    database = await Database.open(path, now=NOW)
    await write(database, *entries(30))
    await database.close()
    with closing(sqlite3.connect(path)) as connection:
        for table in ("usage_rollups", "usage_dimensions", "usage_state"):
            connection.execute(f"DELETE FROM {table}")
        connection.commit()
    database = await Database.open(path, now=NOW)
    assert (await verify(database)).different > 0
    for _ in range(2):
        await (await UsageLedger.open(database, now=NOW)).close()
        assert await total(database) == 30
    assert (await verify(database)).ok
    await database.close()


@pytest.mark.parametrize(
    ("tampering", "field"),
    [
        ("UPDATE usage_rollups SET cost_micro_usd = cost_micro_usd + 1 WHERE level = 900", "cost_micro_usd"),
        ("DELETE FROM usage_rollups WHERE level = 3600 AND family = 2", "attempts"),
        ("UPDATE usage_rollups SET latency = NULL WHERE level = 86400 AND family = 0", "latency"),
        ("DELETE FROM usage_rollups WHERE level = 2419200", "attempts"),
        ("DELETE FROM usage_dimensions", "dimension"),
        ("DELETE FROM llm_usage_log WHERE id = '3'", "attempts"),
    ],
)
async def test_verify_finds_and_repairs(database: Database, tampering: str, field: str) -> None:
    await write(database, *entries(10))
    await database.write(lambda connection: connection.exec_driver_sql(tampering))
    found = await verify(database)
    assert not found.ok
    assert field in {difference.field for difference in found.differences}
    assert (await verify(database, repair=True)).ok
    assert (await verify(database)).different == 0


async def test_an_attempt_that_has_not_ended_is_no_difference(database: Database) -> None:
    await write(
        database, Entry(attempt("open")), Entry(attempt("done"), ended(status=Status.ERROR), receipt_of("done"))
    )
    assert (await verify(database)).different == 0


def sketch(values: Iterable[int]) -> bytes:
    return sketches.encode(Counter(map(sketches.bin_of, values)))


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=60), st.integers(0, 60))
def test_a_sketch_is_within_its_error_and_merges_exactly(values: list[int], at: int) -> None:
    one, other = (sketch(part) for part in (values[:at], values[at:]))
    assert (sketches.merge(one, other) or b"") == sketch(values)
    for value in values:
        told = sketches.value_of(sketches.bin_of(value))
        assert abs(told - value) <= max(0.5, sketches.ERROR * value + 0.5)
        assert told == value or value > 25


@given(st.lists(st.integers(0, 10**4), min_size=1, max_size=60))
def test_values_that_come_one_by_one_make_the_same_sketch(values: list[int]) -> None:
    grown = None
    for value in values:
        grown = sketches.merge(grown, sketch([value]))
    assert grown == sketch(values)
