"""What a run has read in private marks everything it leaves behind, however it ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.agents.base import AgentContext
from app.agents.door import Taint
from app.agents.graph import AgentGraph
from app.config.schema import Profile
from app.memory.entities import EntityRef, NewEntity, NewRelation, Origin, Source
from app.memory.graph import EntityGraph
from app.store.database import Database
from app.store.tables import sessions
from tests.fakes.agents import HandClock, OpenedService, ScriptedAgent, open_agent_service

NOW = "2026-11-26T12:00:00.000Z"
ACME, BOLT = EntityRef("Acme", "organisation"), EntityRef("Bolt", "organisation")


async def with_private_session(opened: OpenedService) -> None:
    row = {"id": "s1", "workspace": "open", "private": True, "title": "secret", "created_at": NOW, "updated_at": NOW}
    await opened.database.write(lambda connection: connection.execute(insert(sessions).values(**row)).rowcount)


async def read_and_say(context: AgentContext) -> None:
    (row,) = await context.data.query("SELECT title FROM sessions")
    context.log.info(f"read {row['title']}")


async def test_who_sees_a_private_relation_is_local_from_then_on(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=datetime.now(UTC))
    profile = Profile(id="mixed", name="Mixed", block_cloud_apis=False)
    graph = EntityGraph(database, lambda workspace: profile, lambda: datetime.now(UTC))
    entities = [NewEntity(ACME.name, ACME.kind), NewEntity(BOLT.name, BOLT.kind)]
    ids = (await graph.upsert("mixed", Origin(Source.USER, "u"), entities)).ids
    said = Origin(Source.TEXT, "session:s")
    await graph.upsert("mixed", said, [], [NewRelation(ACME, BOLT, "acquires")], private=True)
    taint = Taint()

    async def storing(what: str, write: Any) -> Any:
        return await write()

    seen = AgentGraph(graph, agent="x", workspace="mixed", taint=taint, storing=storing)
    around = await seen.neighbours(list(ids))  # both are given: nothing is found, and the relation told all the same
    await database.close()
    assert [(relation.kind, relation.private) for relation in around.relations] == [("acquires", True)]
    assert taint.private


async def test_a_cancelled_run_stays_as_private_as_what_it_said(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def look(context: AgentContext) -> None:
        await read_and_say(context)
        begun.set()
        await asyncio.Event().wait()

    async with open_agent_service(tmp_path, [ScriptedAgent(look)], [{"name": "scripted"}], HandClock()) as opened:
        await with_private_session(opened)
        run = await opened.service.trigger("scripted", workspace="open")
        await begun.wait()
        await opened.service.runs.cancel(run.id)
        last = opened.rows()[-1]
    assert (last["state"], last["private"]) == ("cancelled", 1)
    assert "read secret" in last["log"]


async def test_an_earlier_try_s_words_stay_private(tmp_path: Path) -> None:
    async def fail(context: AgentContext) -> None:
        await read_and_say(context)
        raise RuntimeError

    async def succeed(context: AgentContext) -> None:
        return None

    entries = [{"name": "scripted", "retries": 1}]
    async with open_agent_service(tmp_path, [ScriptedAgent(fail, succeed)], entries, HandClock()) as opened:
        await with_private_session(opened)
        await opened.service.trigger("scripted", workspace="open")
        await opened.settle()
        last = opened.rows()[-1]
    assert (last["state"], last["private"]) == ("ok", 1)
    assert "read secret" in last["log"]


async def test_what_a_crash_cuts_off_is_private_too(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def look(context: AgentContext) -> None:
        await read_and_say(context)
        begun.set()
        await asyncio.Event().wait()

    async with open_agent_service(tmp_path, [ScriptedAgent(look)], [{"name": "scripted"}], HandClock()) as opened:
        await with_private_session(opened)
        await opened.service.trigger("scripted", workspace="open")
        await begun.wait()
        await opened.service.aclose()
    last = opened.rows()[-1]  # once the database has written what waited
    assert (last["state"], last["private"]) == ("running", 1)
