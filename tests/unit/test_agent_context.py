"""One run of an agent: what it is given keeps to its workspace, to privacy and to dry runs, whatever the agent does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from app.agents.base import AgentContext, AgentResult
from tests.fakes.agents import HandClock, OpenedService, ScriptedAgent, open_agent_service

ENTRY = [{"name": "scripted"}]


async def run_once(opened: OpenedService, **more: Any) -> dict[str, Any]:
    await opened.service.trigger("scripted", **more)
    await opened.settle()
    return opened.rows()[-1]


async def test_state_lasts_where_the_run_ended_well_and_only_there(tmp_path: Path) -> None:
    async def count(context: AgentContext) -> None:
        context.state["n"] = context.state.get("n", 0) + 1
        if context.input.get("topic") == "fail":
            raise RuntimeError

    agent = ScriptedAgent(count)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        await run_once(opened)
        await run_once(opened, given={"topic": "fail"})
        await run_once(opened, dry_run=True)
        await run_once(opened, workspace="work")
        await run_once(opened)
    assert [context.state["n"] for context in agent.contexts] == [1, 2, 2, 1, 2]


async def test_a_dry_run_stores_and_tells_nothing_and_sees_what_it_would_have_stored(tmp_path: Path) -> None:
    async def work(context: AgentContext) -> AgentResult:
        await context.store.put("note", "a", {"x": 1})
        assert await context.store.get("note", "a") == {"x": 1}
        assert [d.key for d in await context.store.latest("note")] == ["a"]
        await context.notification_service.notify("News", severity="warning")
        return AgentResult("done", {"n": 1}, ["elsewhere:1"])

    agent = ScriptedAgent(work)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        run = await opened.service.trigger("scripted", dry_run=True)
        await opened.settle()
        detail = await opened.service.runs.get(run.id)
        assert detail.run.withheld == ["would store note `a`", "would notify (warning): News"]
        assert detail.run.stored == []
        assert opened.notifications.told == []
        run = await opened.service.trigger("scripted")
        await opened.settle()
        detail = await opened.service.runs.get(run.id)
        assert detail.run.stored == ["note:a", "elsewhere:1"]
        assert opened.notifications.told == [("News", "", "warning")]


async def test_documents_written_while_private_stay_private(tmp_path: Path) -> None:
    async def put(context: AgentContext) -> None:
        await context.store.put("note", "a", {"x": 1})

    async def look(context: AgentContext) -> None:
        await context.store.get("note", "a")

    agent = ScriptedAgent(put, look, look)
    async with open_agent_service(tmp_path, [agent], ENTRY, HandClock()) as opened:
        row = await run_once(opened, workspace="work")
        assert row["private"] == 1
        profiles = tuple(p.model_copy(update={"block_cloud_apis": False}) for p in opened.config.profiles.profiles)
        public = opened.config.profiles.model_copy(update={"profiles": profiles})
        from dataclasses import replace

        opened.config = replace(opened.config, profiles=public)
        assert (await run_once(opened, workspace="work"))["private"] == 1
        assert (await run_once(opened, workspace="open"))["private"] == 0


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ({"state": object()}, "its state"),
        ({"state": {1, 2}}, "its state"),
        ({"data": object()}, "its data"),
        ({"state": "x" * 3_000_000}, "at most"),
    ],
)
async def test_what_cannot_be_kept_fails_the_run(tmp_path: Path, left: dict[str, Any], says: str) -> None:
    async def leave(context: AgentContext) -> AgentResult:
        if "state" in left:
            context.state["x"] = left["state"]
        return AgentResult("done", {"x": left.get("data")})

    async with open_agent_service(tmp_path, [ScriptedAgent(leave)], ENTRY, HandClock()) as opened:
        row = await run_once(opened)
    assert row["state"] == "failed"
    assert says in row["error_message"]


async def test_an_agent_that_swallows_its_cancellation_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.performing.CANCEL_SECONDS", 0.05)
    free = asyncio.Event()

    async def stubborn(context: AgentContext) -> None:
        while not free.is_set():
            try:
                await free.wait()
            except asyncio.CancelledError:
                continue

    entries = [{"name": "scripted", "timeout_seconds": 0.05}]
    async with open_agent_service(tmp_path, [ScriptedAgent(stubborn)], entries, HandClock()) as opened:
        assert (await run_once(opened))["error_code"] == "timeout"
        free.set()
