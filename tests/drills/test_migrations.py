"""An old database under a new program: nothing of it is lost, whatever schema it has and whenever it is killed.

The short form is in `make test`; `make drills` repeats each break as often as DRILL_KILLS says.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from app.store import migrations
from app.store.database import Database
from tests.drills.processes import Drill
from tests.fakes import old_database
from tests.fakes.providers import FakeProvider
from tests.unit.ledger_rows import NOW

if sys.platform == "win32":
    pytest.skip("needs signals", allow_module_level=True)

KILLS = int(os.environ.get("DRILL_KILLS", "3"))
ROWS = 500
OLDEST, NEWEST = migrations.REVISIONS[0], migrations.REVISIONS[-1]


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.parametrize("start", migrations.REVISIONS[:-1])
async def test_every_row_of_every_older_schema_is_there_afterwards(tmp_path: Path, start: str) -> None:
    path = tmp_path / "data" / "sidecar.db"
    before = old_database.make(path, start, 20)
    assert all(len(rows) == 20 for rows in before.values())
    database = await Database.open(path, now=NOW)
    await database.close()
    assert revision(path) == NEWEST
    assert old_database.missing(before, old_database.read(path)) == []
    # The copy from before is whole, too, and of the old schema.
    (copy,) = path.parent.glob("sidecar.db.backup-*")
    assert revision(copy) == start
    assert old_database.missing(before, old_database.read(copy)) == []


async def test_the_program_starts_on_the_first_schema_there_was(tmp_path: Path) -> None:
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        before = old_database.make(drill.database, OLDEST, ROWS)
        async with drill.running() as sidecar:
            notices = (await sidecar.ledger_health())["notices"]
            usage = (await sidecar.http.get("/api/v1/usage", params={"from": "2026-01-01"})).json()["totals"]
    assert old_database.missing(before, old_database.read(drill.database)) == []
    assert any("backup" in notice for notice in notices)
    # Its rows count in the reports, beside the one of the answer that was asked for.
    assert usage["attempts"] == ROWS + 1


async def a_migration(drill: Drill, kill_after: float | None) -> float:
    """Seconds from the copy, which is made first, to the ready line; or until it is killed, so many after the copy."""
    if kill_after is None:
        old_database.make(drill.database, OLDEST, ROWS)
    process = await drill.spawn()
    while not list(drill.data.glob("sidecar.db.backup-*")) and process.returncode is None:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    began = time.monotonic()
    assert process.stdout is not None
    try:
        async with asyncio.timeout(kill_after):
            assert await process.stdout.readline()
    except TimeoutError:
        pass
    process.kill()
    await process.communicate()
    return time.monotonic() - began


@pytest.mark.timeout(60 + 40 * KILLS)
async def test_killed_while_it_migrates(tmp_path: Path) -> None:
    chance, left = random.Random(20261127), Counter[str]()
    whole = await a_migration(Drill(tmp_path / "whole", "http://127.0.0.1:9"), None)
    for number in range(KILLS):
        drill = Drill(tmp_path / str(number), "http://127.0.0.1:9")
        before = old_database.make(drill.database, OLDEST, ROWS)
        await a_migration(drill, chance.uniform(0, whole))
        found = revision(drill.database)
        assert found in (OLDEST, NEWEST)
        left["new" if found == NEWEST else "old"] += 1
        assert old_database.missing(before, old_database.read(drill.database)) == []
        async with drill.running(warm=False) as sidecar:
            assert (await sidecar.ledger_health())["status"] == "ok"
        assert revision(drill.database) == NEWEST
        assert old_database.missing(before, old_database.read(drill.database)) == []
    print(f"{KILLS} kills while migrating left the schema {dict(left)}; each next start finished it, no row was lost")


async def test_an_old_program_on_a_new_schema(tmp_path: Path) -> None:
    drill = Drill(tmp_path, "http://127.0.0.1:9")
    async with drill.running(warm=False):
        pass
    with closing(sqlite3.connect(drill.database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = drill.database.read_bytes()
    process = await drill.spawn()
    _, log = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 5
    assert b"newer" in log
    assert b"Traceback" not in log
    assert drill.database.read_bytes() == before, "it was not touched"
