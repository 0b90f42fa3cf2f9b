"""Whose budgets pay for what is made for somebody: summaries of a request's context, what an agent has read for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.context.blocks import Material
from app.llm.calls import ModelRequest
from tests.api.test_budgets import PRICE
from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, parse_events, running_sidecar
from tests.fakes.steps import Hang, Reply
from tests.fakes.strategy_lab import DOES_NOT_FIT, SMALL, SUMMARY, context_of, talk

SCRIBE = "openai/scribe"
COST = 20_000
"""Micro-dollars of a summary as its provider reports it: ten tokens read, ten written, a dollar for a thousand."""
CHAT: dict[str, Any] = {**DOES_NOT_FIT, "stream": False}


def budget(limit: float, **changes: Any) -> dict[str, Any]:
    return {"period": "day", "limit_usd": limit, "on_limit": "block", "timezone": "UTC", **changes}


@asynccontextmanager
async def sidecar(
    folder: Path, *budgets: Mapping[str, Any], **config: Any
) -> AsyncIterator[tuple[RunningSidecar, FakeProvider]]:
    """The model that answers is free, the one that summarises is not."""
    async with FakeProvider(models={"llama3:8b": 8192, "scribe": 100_000}) as provider:
        provider.always(Reply((SUMMARY,), input_tokens=10, output_tokens=10), model="scribe")
        cloud = {"api_base": f"{provider.url}/v1", "location": "cloud", "api_key_env": "BUDGET_KEY", **PRICE}
        small = {"context_window": 8192, "max_output_tokens": 2048, "tokenizer": "llama3", **config.pop("small", {})}
        async with running_sidecar(
            folder,
            models=[{"id": SMALL, **small}, {"id": SCRIBE, "context_window": 100_000, **cloud}],
            rules=[{"name": "all", "conditions": {}, "model": SMALL}],
            models_extra={"providers": {"ollama": {"api_base": provider.url}}, "summarizer": SCRIBE},
            routing_extra={"summary": {"max_wait_seconds": 20}},
            profiles_extra={"budgets": list(budgets)},
            **config,
        ) as running:
            yield running, provider


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET_KEY", "sk-budget-key-0123456789abcdef")


def used(running: RunningSidecar) -> list[int]:
    return [meter.used for meter in running.services.budgets.meters()]


async def ask_as(running: RunningSidecar, agent: str) -> None:
    """An agent's request whose history does not fit, through the door that every agent's goes through."""
    material = Material(messages=[{"role": "user", "content": "What next?"}], history=tuple(talk(60, 200)))
    await running.services.router.complete(ModelRequest("run-1.1", "open", "chat", material, agent=agent))


def summaries(provider: FakeProvider) -> int:
    return sum(request.model == "scribe" for request in provider.chats)


async def test_a_task_type_s_budget_pays_for_its_summaries_and_knows_it_after_a_restart(tmp_path: Path) -> None:
    budgets = (budget(50, task_type="debugging"), budget(50, task_type="summarization"), budget(50, task_type="chat"))
    async with sidecar(tmp_path, *budgets) as (running, provider):
        answer = (await running.http.post("/api/v1/chat", json=CHAT)).json()
        assert summaries(provider) == 1
        written, answered = running.rows()
        assert (written["agent"], answered["request_id"]) == ("summarizer", answer["request_id"])
        assert [tuple(row.values()) for row in running.rows("SELECT * FROM request_parents")] == [
            (written["request_id"], answer["request_id"], None, "debugging")
        ]
        assert used(running) == [COST, COST, 0]
    async with running_sidecar(tmp_path) as running:
        assert used(running) == [COST, COST, 0]


async def test_what_such_a_budget_does_not_pay_for_is_written_without_a_model(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget(0.5, task_type="debugging")) as (running, provider):
        response = await running.http.post("/api/v1/chat", json=CHAT)
        assert response.status_code == 200
        assert summaries(provider) == 0
        (warning,) = response.json()["warnings"]
        assert "the budget of the day for task type `debugging` does not allow it" in warning
        # Another task's summaries are no business of this budget.
        other = {**CHAT, "task_type": "chat", "context": {**CHAT["context"], "history": talk(30, 200)}}
        assert (await running.http.post("/api/v1/chat", json=other)).json()["warnings"] == []
        assert summaries(provider) == 1


async def test_an_agent_s_budget_pays_for_its_summaries(tmp_path: Path) -> None:
    agents = [
        {"name": name, "agent": "prompt", "settings": {"prompt": "What next?"}, "budget": budget(50)}
        for name in ("standup", "other")
    ]
    async with sidecar(tmp_path, agents=agents) as (running, provider):
        await ask_as(running, "standup")
        assert summaries(provider) == 1
        assert used(running) == [COST, 0]
    async with running_sidecar(tmp_path) as running:
        assert used(running) == [COST, 0]


@pytest.mark.parametrize(("limit", "asked"), [(30.0, 1), (0.4, 0)])
async def test_a_limit_per_request_counts_its_summaries(tmp_path: Path, limit: float, asked: int) -> None:
    per_request = {"period": "request", "limit_usd": limit, "on_limit": "block"}
    async with sidecar(tmp_path, per_request) as (running, provider):
        assert (await running.http.post("/api/v1/chat", json=CHAT)).status_code == 200
        assert summaries(provider) == asked


async def test_the_summary_and_the_call_share_one_limit_per_request(tmp_path: Path) -> None:
    """The call may cost 6 dollars (6,000 tokens), a summary as much again: of nine, there is no room for both."""
    small = {"input_cost_per_million": 1_000, "output_cost_per_million": 0}
    for limit, asked in ((9.0, 0), (30.0, 1)):
        per_request = {"period": "request", "limit_usd": limit, "on_limit": "block"}
        async with sidecar(tmp_path / str(asked), per_request, small=small) as (running, provider):
            assert (await running.http.post("/api/v1/chat", json=CHAT)).status_code == 200
            assert summaries(provider) == asked


async def test_the_call_holds_what_its_window_with_the_summary_may_cost(tmp_path: Path) -> None:
    small = {"input_cost_per_million": 1_000, "output_cost_per_million": 0}
    async with sidecar(tmp_path, budget(50), small=small) as (running, provider):
        provider.script(Hang(), model="llama3:8b")
        async with running.http.stream("POST", "/api/v1/chat", json={**CHAT, "stream": True}) as response:
            seen = ""
            async for piece in response.aiter_text():
                seen += piece
                if "event: context" in seen and seen.endswith("\n\n"):
                    break
            (meter,) = running.services.budgets.meters()
            context = context_of(parse_events(seen))
            assert (meter.used, meter.running) == (COST, 1)
            assert meter.reserved == context["input_tokens"] * 1_000


async def test_who_leaves_while_the_summary_is_written_gives_back_all_that_was_held(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget(50), budget(50, task_type="debugging")) as (running, provider):
        provider.script(Hang(), model="scribe")
        async with running.http.stream("POST", "/api/v1/chat", json={**CHAT, "stream": True}) as response:
            await anext(response.aiter_text())
            async with asyncio.timeout(20):
                while not summaries(provider):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        await provider.client_left(20)
        async with asyncio.timeout(20):
            while any(meter.running for meter in running.services.budgets.meters()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert [meter.reserved for meter in running.services.budgets.meters()] == [0, 0]


async def test_an_agent_s_budget_pays_for_the_entities_read_for_it(tmp_path: Path) -> None:
    """By its own name, whatever it is called: the reading is done by `entity_extraction`, for a model with a price."""
    agents = [{"name": "people", "agent": "entity_extraction", "workspace": "open", "budget": budget(50)}]
    small = {"input_cost_per_million": 1_000, "output_cost_per_million": 1_000}
    async with sidecar(tmp_path, agents=agents, small=small) as (running, provider):
        found = '{"entities": [{"name": "Ada Lovelace", "kind": "person", "summary": ""}], "relations": []}'
        provider.always(Reply((found,), input_tokens=10, output_tokens=10), model="llama3:8b")
        body = {"workspace": "open", "messages": [{"role": "user", "content": "Ada Lovelace was here."}]}
        assert (await running.http.post("/api/v1/sessions", json=body)).status_code == 201
        run = (await running.http.post("/api/v1/trigger", json={"agent": "people", "wait": True})).json()
        assert run["state"] == "ok", run
        assert used(running) == [COST]
        (row,) = running.rows()
        (parent,) = running.rows("SELECT * FROM request_parents")
        assert (row["agent"], row["request_id"]) == ("entity_extraction", parent["request_id"])
        assert (parent["parent_agent"], parent["parent_request_id"]) == ("people", run["run_id"])
        assert run["cost_usd"] == COST / 1_000_000
