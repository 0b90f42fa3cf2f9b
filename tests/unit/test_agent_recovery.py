"""What a stop left open, and keys that are used twice: every run has one row, and the next start always comes up."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.agents.base import AgentContext
from app.errors import InvalidRequest
from tests.fakes.agents import HandClock, OpenedService, ScriptedAgent, open_agent_service

START = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
ENTRIES = [{"name": "busy"}, {"name": "scripted"}]


async def hang(context: AgentContext) -> None:
    await asyncio.Event().wait()


async def until_running(opened: OpenedService) -> None:
    while not any(row["state"] == "running" for row in opened.rows()):  # noqa: ASYNC110  (a row has no event)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("late", "becomes"), [(timedelta(minutes=1), "ok"), (timedelta(days=2), "missed")])
async def test_a_triggered_run_that_waited_for_room_is_dealt_with_at_the_next_start(
    tmp_path: Path, late: timedelta, becomes: str
) -> None:
    hand, agents = HandClock(START), [ScriptedAgent(hang, name="busy"), ScriptedAgent()]
    async with open_agent_service(tmp_path, agents, ENTRIES, hand, max_running=1) as opened:
        await opened.service.trigger("busy")
        await until_running(opened)
        waiting = await opened.service.trigger("scripted")
    hand.set(START + late)
    agents = [ScriptedAgent(name="busy"), ScriptedAgent()]
    async with open_agent_service(tmp_path, agents, ENTRIES, hand, max_running=1) as opened:
        await opened.settle()
        (row,) = [row for row in opened.rows() if row["agent"] == "scripted"]
        assert (row["id"], row["state"]) == (waiting.id, becomes)
    assert len(agents[1].ran) == (becomes == "ok")


async def test_a_key_used_for_two_agents_at_once_starts_one(tmp_path: Path) -> None:
    agents = [ScriptedAgent(name="busy"), ScriptedAgent()]
    async with open_agent_service(tmp_path, agents, ENTRIES, HandClock(START)) as opened:
        asked = (opened.service.trigger(name, idempotency_key="k") for name in ("busy", "scripted"))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        (refused,) = [answer for answer in answers if isinstance(answer, InvalidRequest)]
        assert refused.code == "idempotency_key_reused"
        (run,) = [answer for answer in answers if not isinstance(answer, BaseException)]
        await opened.settle()
        assert [(row["agent"], row["state"]) for row in opened.rows()] == [(run.agent, "ok")]
        assert (await opened.service.trigger(run.agent, idempotency_key="k")).id == run.id
        for name in ("busy", "scripted"):  # places were given back
            await opened.service.trigger(name)
        await opened.settle()


async def test_a_key_used_for_another_request_of_a_running_agent_is_refused(tmp_path: Path) -> None:
    agents = [ScriptedAgent(hang, name="busy"), ScriptedAgent()]
    async with open_agent_service(tmp_path, agents, ENTRIES, HandClock(START)) as opened:
        run = await opened.service.trigger("busy", given={"topic": "one"}, idempotency_key="k")
        asked = (
            opened.service.trigger("busy", given={"topic": topic}, idempotency_key="k") for topic in ("one", "two")
        )
        same, refused = await asyncio.gather(*asked, return_exceptions=True)
        assert not isinstance(same, BaseException)
        assert same.id == run.id
        assert isinstance(refused, InvalidRequest)
