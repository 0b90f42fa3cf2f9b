"""Killed at the moments that matter: between a model's last byte and the row, and while a schema is being migrated.

The short form is in `make test`; `make drills` repeats each break as often as DRILL_KILLS says.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from app.store import migrations
from tests.drills.processes import Drill, Stream
from tests.fakes.providers import FakeProvider, Reply

if sys.platform == "win32":
    pytest.skip("needs signals", allow_module_level=True)

KILLS = int(os.environ.get("DRILL_KILLS", "3"))
ROWS = 20


@pytest.mark.timeout(60 + 40 * KILLS)
async def test_killed_between_the_models_end_and_the_row(tmp_path: Path) -> None:
    chance, found = random.Random(20261127), Counter[str]()
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        provider.always(Reply(("a ",) * 4))
        asked: list[str] = []
        for _ in range(KILLS):
            provider.requests.clear()
            async with drill.running(warm=False) as sidecar:
                stream = Stream()
                asking = asyncio.create_task(sidecar.stream(stream))
                while not (provider.chats and provider.chats[-1].finished_at):  # noqa: ASYNC110 (no await may come between)
                    await asyncio.sleep(0)
                await asyncio.sleep(chance.uniform(0, 0.004))
                sidecar.process.kill()
                await asking
            if stream.request_id is not None:
                asked.append(stream.request_id)
        async with drill.running(warm=False):
            pass
    rows = {row["request_id"]: row["status"] for row in drill.rows()}
    found.update(rows.get(request, "missing") for request in asked)
    print(f"{KILLS} kills between the model's end and the row: {dict(found)}")
    assert len(rows) == KILLS, "every call that went out has its row, also where its client read nothing"
    assert set(rows.values()) <= {"ok", "interrupted"}
    assert found["missing"] == 0
    assert drill.integrity() == "ok"


def an_old_database(path: Path) -> None:
    """The first schema there was, with rows of another table than the ledger's own shape would allow to lose."""
    path.parent.mkdir(mode=0o700)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations.LOCATION))
        config.attributes["connection"] = connection
        command.upgrade(config, migrations.REVISIONS[0])
    engine.dispose()


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


@pytest.mark.timeout(60 + 40 * KILLS)
async def test_killed_while_it_migrates(tmp_path: Path) -> None:
    chance, left = random.Random(20261127), Counter[str]()
    async with FakeProvider() as provider:
        for number in range(KILLS):
            drill = Drill(tmp_path / str(number), provider.url)
            an_old_database(drill.database)
            process = await drill.spawn()
            # The copy from before is made first: from then on it migrates.
            while not list(drill.data.glob("sidecar.db.backup-*")) and process.returncode is None:  # noqa: ASYNC110
                await asyncio.sleep(0)
            await asyncio.sleep(chance.uniform(0, 0.3))
            if process.returncode is None:
                process.kill()
            await process.communicate()
            left["new" if revision(drill.database) == migrations.REVISIONS[-1] else "old"] += 1
            assert revision(drill.database) in (migrations.REVISIONS[0], migrations.REVISIONS[-1])
            async with drill.running() as sidecar:
                assert (await sidecar.chat()).data["ledger"] == "stored"
            assert revision(drill.database) == migrations.REVISIONS[-1]
    print(f"{KILLS} kills while migrating left the schema {dict(left)}; each next start finished it")


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
    _, log = await asyncio.wait_for(process.communicate(), 15)
    assert process.returncode == 5
    assert b"newer" in log
    assert b"Traceback" not in log
    assert drill.database.read_bytes() == before, "it was not touched"
