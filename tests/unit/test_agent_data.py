"""An agent's queries see its own workspace and do nothing but read; what they read in private is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from app.agents.data import AgentData, QueryRefused
from app.agents.privacy import Taint
from app.store.database import Database
from app.store.tables import session_messages, sessions

NOW = "2026-11-26T12:00:00.000Z"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "sidecar.db", now=datetime.now(UTC))

    def fill(connection: Any) -> None:
        for name, workspace, private in (("s1", "open", False), ("s2", "work", True), ("s3", "mixed", True)):
            row = {"id": name, "workspace": workspace, "private": private, "title": f"title of {name}"}
            connection.execute(insert(sessions).values(**row, created_at=NOW, updated_at=NOW))
            message = {"session_id": name, "seq": 0, "role": "user", "content": f"words of {name}", "partial": False}
            connection.execute(insert(session_messages).values(**message, created_at=NOW))

    await opened.write(fill)
    yield opened
    await opened.close()


async def test_a_query_sees_its_own_workspace(database: Database) -> None:
    taint = Taint()
    data = AgentData(database.path, "open", taint)
    assert await data.query("SELECT id FROM sessions") == [{"id": "s1"}]
    joined = "SELECT m.content FROM session_messages m JOIN sessions s ON s.id = m.session_id WHERE s.id LIKE ?"
    assert await data.query(joined, ["s%"]) == [{"content": "words of s1"}]
    assert not taint.private


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM main.sessions",
        "WITH sessions AS (SELECT * FROM main.sessions) SELECT * FROM sessions",
        "SELECT * FROM (SELECT * FROM main.session_messages) AS session_messages",
        "SELECT * FROM sessions WHERE id IN (SELECT session_id FROM main.session_messages)",
        "SELECT sql FROM sqlite_temp_master",
        "SELECT name FROM main.sqlite_master",
        "SELECT * FROM alembic_version",
        "DELETE FROM sessions",
        "INSERT INTO main.sessions (id) VALUES ('x')",
        "DROP VIEW sessions",
        "ATTACH DATABASE ':memory:' AS other",
        "PRAGMA query_only = OFF",
        "CREATE TEMP TABLE t (x)",
        "SELECT 1; SELECT 2",
        "not sql",
    ],
)
async def test_a_query_sees_and_does_nothing_else(database: Database, sql: str) -> None:
    with pytest.raises(QueryRefused):
        await AgentData(database.path, "open", Taint()).query(sql)


async def test_the_guess_of_a_view_s_name_helps_nobody(database: Database) -> None:
    sql = "WITH v_sessions AS (SELECT * FROM main.sessions) SELECT * FROM v_sessions"
    with pytest.raises(QueryRefused):
        await AgentData(database.path, "open", Taint()).query(sql)


@pytest.mark.parametrize("sql", ["SELECT title FROM sessions", "SELECT content FROM session_messages"])
async def test_who_reads_what_was_private_is_local_from_then_on(database: Database, sql: str) -> None:
    taint = Taint()
    data = AgentData(database.path, "mixed", taint)
    await data.query("SELECT count(*) FROM llm_usage_log")
    assert not taint.private
    await data.query(sql)
    assert taint.private


@pytest.mark.parametrize("sql", ["SELECT id FROM sessions WHERE title LIKE '%Acme%'", "SELECT 1 FROM session_state"])
async def test_an_empty_answer_tells_of_private_rows_too(database: Database, sql: str) -> None:
    taint = Taint()
    assert await AgentData(database.path, "mixed", taint).query(sql) == []
    assert taint.private


async def test_an_error_tells_of_private_rows_too_and_repeats_nothing_of_them(database: Database) -> None:
    taint = Taint()
    data = AgentData(database.path, "mixed", taint)
    with pytest.raises(QueryRefused, match="no such column"):
        await data.query("SELECT no_such FROM sessions")
    with pytest.raises(QueryRefused, match="bindings"):
        await data.query("SELECT title FROM sessions WHERE id = ?")
    assert not taint.private  # no row was looked at
    with pytest.raises(QueryRefused) as refused:
        await data.query("SELECT json_extract('{}', title) FROM sessions")  # SQLite: path error near 'title of s3'
    assert "title of" not in str(refused.value)
    assert taint.private


@pytest.mark.parametrize("open_only", [False, True])
async def test_an_error_repeats_no_other_workspace_s_rows(database: Database, open_only: bool) -> None:
    """SQLite may look at what an index holds before it looks at whose row it is."""
    data = AgentData(database.path, "open", Taint(), open_only=open_only)
    with pytest.raises(QueryRefused) as refused:
        await data.query(
            "SELECT s.id FROM (SELECT ? AS k) JOIN sessions s ON s.id = k AND json_extract('{}', s.id)", ["s2"]
        )
    assert "s2" not in str(refused.value)
    with pytest.raises(QueryRefused) as refused:
        await data.query("SELECT 1 FROM session_messages WHERE session_id = 's2' AND json_extract('{}', session_id)")
    assert "s2" not in str(refused.value)


async def test_keys_of_clients_are_nobody_s_to_read(database: Database) -> None:
    with pytest.raises(QueryRefused, match=r"client_keys.* is prohibited"):
        await AgentData(database.path, "open", Taint()).query("SELECT * FROM client_keys")


async def test_with_open_only_nothing_private_is_there(database: Database) -> None:
    def fill(connection: Any) -> None:
        row = {
            "id": "s4",
            "workspace": "mixed",
            "private": False,
            "title": "open",
            "created_at": NOW,
            "updated_at": NOW,
        }
        connection.execute(insert(sessions).values(**row))

    await database.write(fill)
    taint = Taint()
    data = AgentData(database.path, "mixed", taint, open_only=True)
    assert await data.query("SELECT id FROM sessions ORDER BY id") == [{"id": "s4"}]
    assert await data.query("SELECT content FROM session_messages") == []
    for table in ("entities", "entity_names", "entity_terms", "entity_sightings", "entity_relations", "agent_runs",
                  "agent_state", "agent_documents", "notifications", "session_state", "session_summaries"):  # fmt: skip
        assert await data.query(f"SELECT * FROM {table}") == []
    for table in ("llm_usage_log", "request_receipts", "index_folders"):  # of these it cannot be told
        with pytest.raises(QueryRefused, match="is prohibited"):
            await data.query(f"SELECT * FROM {table}")
    assert not taint.private
