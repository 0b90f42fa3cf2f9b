"""What budgets read at the start: the roll-ups and the rows say the same."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from app.store.database import Database
from app.usage.records import Parent, Status
from app.usage.retention import drop_old_rows
from app.usage.rows import Batch, Entry, mark_interrupted
from app.usage.spend import KEPT, Amount, Scope, SpendHistory, read_history
from tests.unit.ledger_rows import NOW, attempt, ended

MOMENTS = st.sampled_from([0, 1, 899, 900, 1800, 86_400, 32 * 86_400, 34 * 86_400])
"""Seconds before now; `NOW` itself begins a quarter."""


@st.composite
def entries(draw: st.DrawFn, id: str) -> tuple[Entry, bool]:
    """An attempt, and whether it is cut off by a crash or still pending."""
    start = attempt(
        id,
        created_at=NOW - timedelta(seconds=draw(MOMENTS)),
        workspace_profile_id=draw(st.sampled_from(["home", "work"])),
        agent=draw(st.sampled_from([None, "digest"])),
        task_type=draw(st.sampled_from(["chat", "debugging"])),
        location=draw(st.sampled_from(["cloud", "loopback"])),
        reserved_micro_usd=draw(st.sampled_from([None, 0, 70_000])),
        parent=draw(st.sampled_from([None, Parent("r", None, "chat"), Parent("r", "digest", "debugging")])),
    )
    fate = draw(st.sampled_from(["ok", "cancelled", "interrupted", "pending"]))
    if fate in ("interrupted", "pending"):
        return Entry(start), fate == "interrupted"
    cost = draw(st.sampled_from([None, 0, 1, 22_350]))
    return Entry(start, ended(status=Status(fate), cost_micro_usd=cost)), False


batches = st.integers(0, 12).flatmap(lambda count: st.tuples(*(entries(str(n)) for n in range(count))))


def amounts(history: SpendHistory) -> dict[tuple[Scope, datetime], Amount]:
    """All that is not nothing."""
    found = {(who, at): amount for who, at, amount in history.each(NOW - KEPT, NOW + KEPT)}
    return {key: amount for key, amount in found.items() if amount != Amount()}


async def read(database: Database, *, rollups: bool = True) -> dict[tuple[Scope, datetime], Amount]:
    if not rollups:
        await database.write(lambda c: c.exec_driver_sql("DELETE FROM usage_state WHERE name = 'rollups'").rowcount)
    return amounts(await database.read(lambda connection: read_history(connection, NOW)))


async def opened(folder: Path) -> Database:
    database = await Database.open(folder / "sidecar.db", now=NOW)
    await database.write(
        lambda c: (
            c.exec_driver_sql("INSERT INTO usage_state VALUES ('rollups', 'built') ON CONFLICT DO NOTHING").rowcount
        )
    )
    return database


@settings(max_examples=60, deadline=None)
@given(batches)
async def test_roll_ups_and_rows_say_the_same(found: tuple[tuple[Entry, bool], ...]) -> None:
    with TemporaryDirectory() as folder:
        database = await opened(Path(folder))
        cut = [entry for entry, interrupted in found if interrupted]
        await database.write(Batch(cut, lambda _error, _lost: None).run)
        await database.write(lambda connection: mark_interrupted(connection, [], NOW))
        await database.write(Batch([e for e, interrupted in found if not interrupted], lambda _e, _l: None).run)
        by_rollups, by_rows = await read(database), await read(database, rollups=False)
        await database.close()
    assert by_rollups == by_rows
    known = sum(
        entry.end.cost_micro_usd or 0
        for entry, _ in found
        if entry.end is not None and entry.start.created_at >= NOW - KEPT
    )
    held = sum(
        entry.start.reserved_micro_usd or 0
        for entry, _ in found
        if entry.end is None and entry.start.created_at >= NOW - KEPT
    )
    assert sum(amount.micro_usd for amount in by_rollups.values()) == known + held


async def test_what_retention_drops_was_of_no_budget_s_month(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    rows = [
        Entry(attempt(str(day), created_at=NOW - timedelta(days=day)), ended(cost_micro_usd=None if day % 2 else 10))
        for day in range(40)
    ]
    await database.write(Batch(rows, lambda _error, _lost: None).run)
    before = await read(database)
    assert await drop_old_rows(database, 33, NOW) > 0
    assert await read(database) == before
    await database.close()
