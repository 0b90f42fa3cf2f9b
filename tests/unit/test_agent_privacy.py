"""What a run has read in private marks everything it leaves behind, however it ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from app.agents.base import AgentContext
from app.agents.data import withholding
from app.agents.graph import AgentGraph
from app.agents.privacy import Taint
from app.config.schema import Profile
from app.errors import SidecarError
from app.memory.entities import Entity, EntityRef, NewEntity, NewRelation, Origin, Source
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


class ForgottenOnceRead(EntityGraph):
    """What was told in private is forgotten between an agent's read and its next step, as by somebody at the page."""

    async def page(self, workspace: str | None, *args: Any, **more: Any) -> list[Entity]:
        found = await super().page(workspace, *args, **more)
        await self.forget(workspace, [Origin(Source.TEXT, "session:s")])
        return found


async def test_what_was_read_counts_also_where_it_is_forgotten_a_moment_later(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=datetime.now(UTC))
    profile = Profile(id="mixed", name="Mixed", block_cloud_apis=False)
    graph = ForgottenOnceRead(database, lambda workspace: profile, lambda: datetime.now(UTC))
    told = [NewEntity(ACME.name, ACME.kind)]
    await graph.upsert("mixed", Origin(Source.TEXT, "session:s"), told, private=True)
    taint = Taint()
    seen = AgentGraph(graph, agent="x", workspace="mixed", taint=taint, storing=withholding([], False))
    assert [entity.name for entity in await seen.page()] == ["Acme"]
    assert not await graph.has_private("mixed")
    await database.close()
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


def unmarked(relation: Any) -> bool:
    return not relation.private


async def test_with_open_only_the_graph_is_as_if_nothing_had_been_said_in_private(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "sidecar.db", now=datetime.now(UTC))
    profile = Profile(id="mixed", name="Mixed", block_cloud_apis=False)
    graph = EntityGraph(database, lambda workspace: profile, lambda: datetime.now(UTC))
    hub, plain = NewEntity("Hub", "project"), NewEntity("Plain", "project", "a project")
    secret = [NewEntity(f"Secret project {n}", "project", "project project project") for n in range(30)]
    ids = (await graph.upsert("mixed", Origin(Source.USER, "u"), [hub, plain])).ids
    hidden = [NewRelation(EntityRef(s.name, s.kind), ids[0], "part_of", 9.0) for s in secret]
    await graph.upsert("mixed", Origin(Source.TEXT, "session:s"), secret, hidden, private=True)
    shown = [NewRelation(EntityRef("Plain", "project"), EntityRef("Hub", "project"), "part_of")]
    await graph.upsert("mixed", Origin(Source.USER, "v"), [], shown)
    taint = Taint()

    async def storing(what: str, write: Any) -> Any:
        return await write()

    seen = AgentGraph(graph, agent="x", workspace="mixed", taint=taint, storing=storing, open_only=True)
    assert [found.entity.name for found in await seen.search("project", limit=1)] == ["Plain"]
    assert await seen.search("Secret project 3") == await seen.search("project")
    assert {entity.name for entity in await seen.page()} == {"Hub", "Plain"}
    around = await seen.neighbours([ids[0]], hops=2, limit=3)
    assert [found.entity.name for found in around.found] == ["Plain"]
    assert all(map(unmarked, around.relations))
    assert not taint.private
    everything = AgentGraph(graph, agent="x", workspace="mixed", taint=taint, storing=storing)
    assert await everything.search("nothing of the kind") == []
    await database.close()
    assert taint.private, "that there is nothing tells something, too"


async def test_an_agent_that_reads_nothing_private_is_shown_nothing_of_it(tmp_path: Path) -> None:
    async def leave(context: AgentContext) -> None:
        context.state["seen"] = "in private"
        await context.store.put("note", "a", {"said": "in private"})

    async def look(context: AgentContext) -> None:
        rows = await context.data.query("SELECT title FROM sessions UNION SELECT summary FROM agent_runs")
        kept = [await context.store.get("note", "a"), *await context.store.latest("note")]
        hits = await context.memory.search("in private")
        assert (context.state, rows, kept, hits) == ({}, [{"title": None}], [None], [])
        await context.store.put("note", "b", {"said": "openly"})

    agent = ScriptedAgent(leave, look, reads_private=False)
    async with open_agent_service(tmp_path, [agent], [{"name": "scripted"}], HandClock()) as opened:
        await with_private_session(opened)
        opened.make_private("open")
        await opened.service.trigger("scripted", workspace="open")
        await opened.settle()
        opened.make_private("open", False)
        await opened.service.trigger("scripted", workspace="open")
        await opened.settle()
        found = [(row["state"], row["private"], row["error_message"]) for row in opened.rows()]
    assert found == [("ok", 1, None), ("ok", 0, None)]


async def test_a_workspace_made_private_meanwhile_makes_the_run_private(tmp_path: Path) -> None:
    async def write(context: AgentContext) -> None:
        await context.store.put("note", "before", {})
        opened.make_private("open")
        await context.store.put("note", "meanwhile", {})
        opened.make_private("open", False)
        await context.store.put("note", "afterwards", {})

    async with open_agent_service(tmp_path, [ScriptedAgent(write)], [{"name": "scripted"}], HandClock()) as opened:
        await opened.service.trigger("scripted", workspace="open")
        await opened.settle()
        rows = await opened.database.read(
            lambda c: c.exec_driver_sql("SELECT key, private FROM agent_documents ORDER BY key").all()
        )
        assert [row["private"] for row in opened.rows()] == [1]
    assert [tuple(row) for row in rows] == [("afterwards", 1), ("before", 0), ("meanwhile", 1)]


async def test_why_an_agent_was_paused_is_as_private_as_the_run_that_failed(tmp_path: Path) -> None:
    async def fail(context: AgentContext) -> None:
        (row,) = await context.data.query("SELECT title FROM sessions")
        raise SidecarError(f"cannot work with {row['title']}")

    entries = [{"name": "scripted", "max_failures": 1}]
    async with open_agent_service(tmp_path, [ScriptedAgent(fail)], entries, HandClock()) as opened:
        await with_private_session(opened)
        await opened.service.trigger("scripted", workspace="open")
        await opened.settle()
        while not opened.notifications.told:  # noqa: ASYNC110  (told beside the run's end)
            await asyncio.sleep(0.005)
        assert "secret" in opened.notifications.told[0][1]
        assert opened.notifications.private == [True]
