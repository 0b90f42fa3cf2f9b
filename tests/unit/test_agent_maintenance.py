"""The back-up: whole, private, one of a few, and in nobody's way."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from app.agents.base import AgentContext
from app.agents.maintenance import Chore, Maintenance, back_up
from app.store.database import Database
from tests.fakes.agents import HandClock, open_agent_service

NOW = datetime(2026, 11, 26, 3, 30, tzinfo=UTC)


def backups(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "backups").iterdir())


async def test_a_back_up_holds_what_was_written_and_the_oldest_go(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    try:
        sql = "INSERT INTO agent_schedules (agent, failures) VALUES ('a', 3)"
        await database.write(lambda connection: connection.exec_driver_sql(sql).rowcount)
        for day in range(4):
            await asyncio.to_thread(back_up, database.path, 2, NOW + timedelta(days=day))
    finally:
        await database.close()
    assert backups(tmp_path) == ["sidecar-20261128T033000Z.db", "sidecar-20261129T033000Z.db"]
    newest = tmp_path / "backups" / "sidecar-20261129T033000Z.db"
    with closing(sqlite3.connect(newest)) as connection:
        assert connection.execute("SELECT failures FROM agent_schedules").fetchall() == [(3,)]
    if sys.platform != "win32":
        assert stat.S_IMODE(newest.stat().st_mode) == 0o600


def _put(connection: Connection, number: int) -> None:
    sql = "INSERT OR REPLACE INTO agent_schedules (agent, paused_because) VALUES (?, ?)"
    connection.exec_driver_sql(sql, (f"a{number}", "x" * 10_000))


async def test_writers_go_on_while_it_is_made(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=NOW)
    try:

        async def write() -> None:
            for number in range(300):
                await database.write(partial(_put, number=number))

        await write()
        writing = asyncio.create_task(write())
        await asyncio.to_thread(back_up, database.path, 1, NOW)
        await writing
    finally:
        await database.close()
    assert backups(tmp_path) == ["sidecar-20261126T033000Z.db"]


async def test_a_chore_that_fails_takes_no_other_along(tmp_path: Path) -> None:
    async def broken(context: AgentContext) -> str:
        raise OSError("no room")

    async def well(context: AgentContext) -> str:
        return "done"

    async with open_agent_service(tmp_path, [], [], HandClock(NOW)) as opened:
        agent = Maintenance(opened.database, [Chore("broken", broken), Chore("well", well)])
        opened.service._registry._own[agent.name] = agent
        run = await opened.service.trigger("maintenance")
        await opened.settle()
        found = (await opened.service.runs.get(run.id)).run
    assert found.state == "ok"
    assert found.data["failed"] == ["broken"]
    assert found.data["done"]["well"] == "done"


@pytest.mark.parametrize("keep", [0])
async def test_back_ups_can_be_switched_off(tmp_path: Path, keep: int) -> None:
    entries = [{"name": "maintenance", "settings": {"backups": keep}}]
    async with open_agent_service(tmp_path, [], entries, HandClock(NOW)) as opened:
        opened.service._registry._own["maintenance"] = Maintenance(opened.database)
        run = await opened.service.trigger("maintenance")
        await opened.settle()
        assert (await opened.service.runs.get(run.id)).run.data["done"] == {"backup": "switched off"}
    assert not (tmp_path / "data" / "backups").exists()
