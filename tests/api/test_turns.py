"""Who waits for whom at a model server of this machine, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.context.blocks import Material
from app.llm.calls import ModelRequest
from tests.fakes.laboratory import eventually
from tests.fakes.providers import Hang, Reply
from tests.fakes.strategy_lab import Lab, lab_with_keys


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab_with_keys(tmp_path) as made:
        yield made


async def test_an_agent_waits_for_a_person_and_then_has_its_turn(lab: Lab) -> None:
    lab.provider.script(Reply(("slowly",) * 5, delay=0.05), model="llama3:8b")
    person = asyncio.create_task(lab.chat(query="hello", workspace="work"))
    await eventually(lambda: len(lab.provider.chats) == 1)
    material = Material(messages=[{"role": "user", "content": "digest"}])
    router = lab.sidecar.services.router
    agent = asyncio.create_task(router.complete(ModelRequest("r1", "work", "chat", material, agent="digest")))
    await eventually(lambda: router.slots.load(lab.provider.url).agents_waiting == 1)
    assert len(lab.provider.chats) == 1
    events = await person
    assert events[-1].name == "done"
    assert (await agent).text == "Hello from the fake provider."
    first, second = lab.provider.chats
    assert first.finished_at is not None
    assert second.started >= first.finished_at
    assert list(router.slots.loads()) == []


async def test_one_who_leaves_the_line_leaves_a_row_that_cost_nothing(lab: Lab) -> None:
    lab.provider.script(Hang(), model="llama3:8b")
    person = asyncio.create_task(lab.chat(query="hello", workspace="work"))
    await eventually(lambda: len(lab.provider.chats) == 1)
    router = lab.sidecar.services.router
    request = ModelRequest("r1", "work", "chat", Material(messages=[{"role": "user", "content": "x"}]), agent="digest")
    agent = asyncio.create_task(router.complete(request))
    await eventually(lambda: router.slots.load(lab.provider.url).agents_waiting == 1)
    agent.cancel()
    person.cancel()
    await asyncio.gather(agent, person, return_exceptions=True)
    await eventually(
        lambda: all(row["status"] == "cancelled" for row in lab.sidecar.rows()) and len(lab.sidecar.rows()) == 2
    )
    (row,) = [row for row in lab.sidecar.rows() if row["agent"] == "digest"]
    assert (row["input_tokens"], row["output_tokens"], row["cost_micro_usd"]) == (0, 0, 0)
    await eventually(lambda: list(router.slots.loads()) == [])
