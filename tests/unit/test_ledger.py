# ruff: noqa: ASYNC110 - another thread is waited for
from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.store.database import Database
from app.usage.journal import AttemptJournal, journal_path, read_journal
from app.usage.ledger import LedgerLimits, UsageLedger
from app.usage.receipts import receipt_in
from app.usage.records import AttemptEnd, CostSource, Parent, Status
from tests.unit.ledger_rows import NOW, attempt, ended, receipt_of

LIMITS = LedgerLimits(settle_wait=0.1, retry_pauses=(0.05,))


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW, lock_patience=0.05)
    yield database
    await database.close()


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[UsageLedger]:
    ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    yield ledger
    await ledger.close()


def rows(path: Path, sql: str = "SELECT * FROM llm_usage_log ORDER BY id") -> list[dict[str, Any]]:
    """What another program sees in the file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_row_from_pending_to_settled(database: Database, ledger: UsageLedger) -> None:
    ledger.begin(attempt("a", session_id="s1", agent="digest", parent=Parent("request-0", None, "debugging")))
    await until(lambda: len(rows(database.path)) == 1)
    (pending,) = rows(database.path)
    assert (pending["status"], pending["success"], pending["settled_at"]) == ("pending", None, None)
    assert (pending["cost_usd"], pending["cost_source"]) == (None, "unknown")
    end = ended(cached_input_tokens=200, cache_write_tokens=10, reasoning_tokens=50)
    assert await ledger.settle("a", end, receipt_of("a")) == "stored"
    assert rows(database.path) == [
        {
            "id": "a",
            "request_id": "request-a",
            "attempt": 1,
            "workspace_profile_id": "personal",
            "session_id": "s1",
            "agent": "digest",
            "task_type": "chat",
            "rule": "default",
            "provider": "ollama",
            "model": "ollama/llama3:8b",
            "location": "loopback",
            "status": "ok",
            "input_tokens": 3200,
            "cached_input_tokens": 200,
            "cache_write_tokens": 10,
            "output_tokens": 850,
            "reasoning_tokens": 50,
            "cost_micro_usd": 22_350,
            "cost_usd": 0.02235,
            "cost_source": "computed",
            "latency_ms": 2000,
            "time_to_first_token_ms": 300,
            "success": 1,
            "error_code": None,
            "error_message": None,
            "created_at": "2026-11-24T09:30:00.000Z",
            "settled_at": "2026-11-24T09:30:02.000Z",
        }
    ]
    assert await database.read(lambda c: receipt_in(c, "request-a")) == receipt_of("a")
    assert await database.read(lambda c: receipt_in(c, "request-b")) is None


async def test_a_failed_attempt_and_the_one_that_followed(database: Database, ledger: UsageLedger) -> None:
    ledger.begin(attempt("a"))
    failure = AttemptEnd(
        Status.ERROR, NOW, latency_ms=5, error_code="rate_limited", error_message="the provider is busy"
    )
    ledger.settle_soon("a", failure)
    ledger.begin(attempt("b", attempt=2))
    assert await ledger.settle("b", ended(cost_micro_usd=0)) == "stored"
    first, second = rows(database.path)
    assert (first["status"], first["success"], first["error_code"]) == ("error", 0, "rate_limited")
    assert (first["cost_micro_usd"], first["cost_usd"], first["cost_source"]) == (None, None, "unknown")
    assert (second["status"], second["cost_usd"]) == ("ok", 0.0)


async def test_the_seeds_queries_work(database: Database, ledger: UsageLedger) -> None:
    for id, task in (("a", "debugging"), ("b", "debugging"), ("c", "chat")):
        ledger.begin(attempt(id, task_type=task, workspace_profile_id="thesis-research"))
        await ledger.settle(id, ended())
    found = rows(
        database.path,
        "SELECT id, workspace_profile_id, task_type, model, input_tokens, output_tokens, cost_usd, latency_ms, "
        "success, error_message FROM llm_usage_log WHERE task_type = 'debugging' AND success = true",
    )
    assert [row["id"] for row in found] == ["a", "b"]
    sums = rows(
        database.path,
        "SELECT model, task_type, date(created_at) AS day, round(sum(cost_usd), 6) AS usd FROM llm_usage_log "
        "GROUP BY model, task_type, day ORDER BY usd DESC",
    )
    assert [(row["task_type"], row["day"], row["usd"]) for row in sums] == [
        ("debugging", "2026-11-24", 0.0447),
        ("chat", "2026-11-24", 0.02235),
    ]


async def test_a_hundred_settles_at_once(database: Database) -> None:
    ledger = await UsageLedger.open(database, now=NOW, limits=LedgerLimits(settle_wait=30))

    async def one(number: int) -> str:
        ledger.begin(attempt(f"{number:03}"))
        await asyncio.sleep(number % 7 / 200)
        return await ledger.settle(f"{number:03}", ended(), receipt_of(f"{number:03}"))

    assert set(await asyncio.gather(*(one(number) for number in range(100)))) == {"stored"}
    assert [(row["id"], row["status"]) for row in rows(database.path)] == [(f"{n:03}", "ok") for n in range(100)]
    assert len(rows(database.path, "SELECT * FROM request_receipts")) == 100
    await ledger.close()


async def test_an_id_is_settled_once(ledger: UsageLedger) -> None:
    ledger.begin(attempt("a"))
    await ledger.settle("a", ended())
    with pytest.raises(KeyError):
        await ledger.settle("a", ended())
    with pytest.raises(KeyError):
        ledger.settle_soon("never begun", ended())


async def test_a_caller_that_goes_away_loses_only_the_answer(database: Database, ledger: UsageLedger) -> None:
    ledger.begin(attempt("a"))
    waiting = asyncio.create_task(ledger.settle("a", ended(status=Status.CANCELLED)))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: [row["status"] for row in rows(database.path)] == ["cancelled"])


async def test_close_writes_what_waits(database: Database) -> None:
    ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    for number in range(50):
        ledger.begin(attempt(f"{number:02}"))
        if number % 2:
            ledger.settle_soon(f"{number:02}", ended())
    await ledger.close()
    assert [row["status"] for row in rows(database.path)] == ["pending", "ok"] * 25
    assert not journal_path(database.path).exists()


async def test_what_a_stop_left_pending_is_interrupted(database: Database) -> None:
    before = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    before.begin(attempt("a"))
    before.begin(attempt("b"))
    await before.settle("b", ended())
    await before.close()
    after = await UsageLedger.open(database, now=NOW + timedelta(hours=1), limits=LIMITS)
    assert after.health().interrupted == 1
    cut, whole = rows(database.path)
    assert (cut["status"], cut["success"], cut["error_code"]) == ("interrupted", 0, "interrupted")
    assert cut["settled_at"] == "2026-11-24T10:30:00.000Z"
    assert whole["status"] == "ok"
    await after.close()


async def test_notes_of_a_killed_process_become_rows(database: Database) -> None:
    journal = AttemptJournal(journal_path(database.path))
    journal.note(attempt("noted", session_id="ü"))
    journal.note(attempt("settled"))
    journal.close(remove=False)
    with journal_path(database.path).open("ab") as file:
        file.write(b'["cut off", "requ')
    ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    assert {row["id"]: row["status"] for row in rows(database.path)} == {
        "noted": "interrupted",
        "settled": "interrupted",
    }
    await ledger.close()


async def test_a_locked_database_is_no_reason_not_to_start(database: Database) -> None:
    journal = AttemptJournal(journal_path(database.path))
    journal.note(attempt("noted"))
    journal.close(remove=False)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
        ledger.begin(attempt("a"))
        assert await ledger.settle("a", ended()) == "queued"
        assert [note.id for note in read_journal(journal_path(database.path))] == ["noted", "a"]
        other.execute("ROLLBACK")
    await ledger.close()
    assert {row["id"]: row["status"] for row in rows(database.path)} == {"a": "ok", "noted": "pending"}
    again = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    assert again.health().interrupted == 1
    await again.close()


async def test_a_note_whose_row_is_there_changes_nothing(database: Database) -> None:
    ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    ledger.begin(attempt("a"))
    await ledger.settle("a", ended())
    notes = read_journal(journal_path(database.path))
    assert [note.id for note in notes] == ["a"]
    again = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    assert again.health().interrupted == 0
    assert [row["status"] for row in rows(database.path)] == ["ok"]
    await ledger.close()
    await again.close()


def test_the_journal_starts_afresh_when_it_is_large(tmp_path: Path) -> None:
    journal = AttemptJournal(tmp_path / "journal")
    number = 0
    while not journal.is_large:
        journal.note(attempt(f"{number}"))
        number += 1
    assert len(read_journal(tmp_path / "journal")) == number
    journal.compact([attempt("left")])
    journal.note(attempt("next"))
    assert [note.id for note in read_journal(tmp_path / "journal")] == ["left", "next"]
    assert read_journal(tmp_path / "journal") == [attempt("left"), attempt("next")]
    journal.close(remove=True)


async def test_a_lock_held_elsewhere_costs_no_answer(database: Database, ledger: UsageLedger) -> None:
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(30):
            ledger.begin(attempt(f"{number:02}"))
        began = time.perf_counter()
        answers = await asyncio.gather(*(ledger.settle(f"{n:02}", ended(), receipt_of(str(n))) for n in range(20)))
        assert set(answers) == {"queued"}
        assert time.perf_counter() - began < 0.5
        await until(lambda: ledger.health().last_error is not None)
        began = time.perf_counter()
        assert await ledger.settle("20", ended()) == "queued"  # known by now: no wait at all
        assert time.perf_counter() - began < 0.05
        health = ledger.health()
        assert (health.ok, health.waiting, health.lost) == (False, 21, 0)
        assert "locked" in (health.last_error or "")
        other.execute("ROLLBACK")
    await until(lambda: ledger.health().ok)
    assert ledger.health().waiting == 0
    assert [row["status"] for row in rows(database.path)] == ["ok"] * 21 + ["pending"] * 9


async def test_the_queue_is_bounded_and_counts_what_it_loses(database: Database) -> None:
    limits = LedgerLimits(capacity=10, settle_wait=0.02, retry_pauses=(0.05,))
    ledger = await UsageLedger.open(database, now=NOW, limits=limits)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for number in range(50):
            ledger.begin(attempt(f"{number:02}"))
            assert await ledger.settle(f"{number:02}", ended()) == "queued"
        health = ledger.health()
        assert health.waiting <= 20
        assert health.waiting + health.lost == 50
        other.execute("ROLLBACK")
    await until(lambda: ledger.health().waiting == 0)
    await ledger.close()
    assert len(rows(database.path)) == 50 - health.lost
    assert not ledger.health().ok


async def test_close_is_bounded_when_nothing_can_be_written(database: Database) -> None:
    ledger = await UsageLedger.open(database, now=NOW, limits=LIMITS)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ledger.begin(attempt("a"))
        ledger.settle_soon("a", ended())
        began = time.perf_counter()
        await ledger.close(timeout=0.2)
        assert time.perf_counter() - began < 1
        other.execute("ROLLBACK")
    assert ledger.health().lost == 1
    assert [note.id for note in read_journal(journal_path(database.path))] == ["a"]


@pytest.mark.parametrize("bad", [{"error_message": "lone \ud800 surrogate"}, {"input_tokens": 2**63}])
async def test_a_row_that_cannot_be_stored_takes_no_other_with_it(
    database: Database, ledger: UsageLedger, bad: dict[str, Any]
) -> None:
    for id in "abc":
        ledger.begin(attempt(id))
    answers = await asyncio.gather(
        ledger.settle("a", ended(), receipt_of("a")),
        ledger.settle("b", ended(**bad)),
        ledger.settle("c", ended(), receipt_of("c")),
    )
    assert list(answers) == ["stored", "queued", "stored"]
    assert [row["id"] for row in rows(database.path) if row["status"] == "ok"] == ["a", "c"]
    assert ledger.health().lost == 1


async def test_receipts_hold_json(database: Database, ledger: UsageLedger) -> None:
    ledger.begin(attempt("a"))
    await ledger.settle("a", ended(cost_source=CostSource.ESTIMATED), receipt_of("a"))
    (row,) = rows(database.path, "SELECT * FROM request_receipts")
    assert json.loads(row["facts"]) == {"task_type": "chat"}
