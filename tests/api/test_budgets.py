"""Budgets over real HTTP: what a limit does to requests, many at once, and what is told about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.context.blocks import Material
from app.llm.calls import ModelRequest, TextDelta
from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, running_sidecar
from tests.fakes.steps import Reply, Status

PRICE = {"input_cost_per_million": 1_000, "output_cost_per_million": 1_000}
"""A dollar per thousand tokens, so that few calls make a round sum."""
REPLY = Reply(input_tokens=10, output_tokens=10)
COST = 20_000
"""Micro-dollars of one such call."""


def models(url: str) -> list[dict[str, Any]]:
    cloud = {"api_base": f"{url}/v1", "location": "cloud", "api_key_env": "BUDGET_KEY", "context_window": 100_000}
    return [
        {"id": "openai/dear", **cloud, **PRICE},
        {"id": "openai/cheap", **cloud, "input_cost_per_million": 1, "output_cost_per_million": 1},
        {"id": "openai/unpriced", **cloud},
        {"id": "ollama/local", "api_base": url, "context_window": 8192},
        {"id": "ollama/last", "api_base": url, "context_window": 8192},
    ]


@asynccontextmanager
async def sidecar(
    folder: Path, *budgets: Mapping[str, Any], chain: Sequence[str] = ("openai/dear",), **config: Any
) -> AsyncIterator[tuple[RunningSidecar, FakeProvider]]:
    async with FakeProvider() as provider:
        provider.always(REPLY)
        config.setdefault("profiles_extra", {"budgets": list(budgets)})
        rules = [{"name": "all", "conditions": {}, "model": chain[0], "fallback": list(chain[1:])}]
        async with running_sidecar(folder, models=models(provider.url), rules=rules, **config) as running:
            yield running, provider


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGET_KEY", "sk-budget-key-0123456789abcdef")


async def ask(running: RunningSidecar, **body: Any) -> httpx.Response:
    return await running.http.post(
        "/api/v1/chat", json={"query": "hello", "stream": False, "max_output_tokens": 10, **body}
    )


def spent(running: RunningSidecar) -> int:
    return sum(row["cost_micro_usd"] or 0 for row in running.rows())


@pytest.mark.parametrize("limit", [1.0, 0.5])
async def test_a_budget_stops_at_its_limit_under_load(tmp_path: Path, limit: float) -> None:
    budget = {"period": "day", "limit_usd": limit, "on_limit": "block"}
    async with sidecar(tmp_path, budget, settings={"max_streams": 400}) as (running, provider):
        provider.always(Reply(input_tokens=10, output_tokens=10, delay=0.002))
        limits = httpx.Limits(max_connections=300)
        async with httpx.AsyncClient(
            base_url=running.url, headers=running.http.headers, timeout=60, trust_env=False, limits=limits
        ) as http:
            running.http, kept = http, running.http
            answers = await asyncio.gather(*(ask(running) for _ in range(300)))
            running.http = kept
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 402}
        assert spent(running) <= limit * 1_000_000
        # Then one by one, until it is used up.
        while (await ask(running)).status_code == 200:
            pass
        assert limit * 1_000_000 - 2 * COST < spent(running) <= limit * 1_000_000
        assert len(provider.chats) == sum(row["status"] == "ok" for row in running.rows())
        state = (await running.http.get("/api/v1/budgets")).json()["budgets"][0]
        assert state["used_usd"] == spent(running) / 1_000_000
        assert (state["reserved_usd"], state["running"]) == (0, 0)


def budget(on_limit: str, **changes: Any) -> dict[str, Any]:
    return {"period": "day", "limit_usd": 0.05, "on_limit": on_limit, **changes}


async def use_up(running: RunningSidecar) -> None:
    """Two calls of two cents each: of five cents, one is left, and a third does not fit."""
    for _ in range(2):
        assert (await ask(running, model="openai/dear")).status_code == 200


async def test_block_refuses_before_the_stream(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("block"), chain=("openai/dear", "ollama/local")) as (running, provider):
        await use_up(running)
        refused = await ask(running, stream=True)
        problem = refused.json()
        assert (refused.status_code, problem["code"]) == (402, "budget_exceeded")
        assert problem["budget"]["on_limit"] == "block"
        assert "$0.04 of $0.05 are used" in problem["detail"]
        assert len(provider.chats) == 2
        assert (await ask(running, model="ollama/local")).status_code == 200


async def test_cheaper_asks_the_next_that_fits(tmp_path: Path) -> None:
    chain = ("openai/dear", "openai/cheap", "ollama/local")
    async with sidecar(tmp_path, budget("cheaper"), chain=chain) as (running, _):
        await use_up(running)
        answer = (await ask(running)).json()
        assert answer["model"] == "openai/cheap"
        assert answer["route"]["candidates"] == ["openai/cheap", "ollama/local"]
        assert any(r.startswith("openai/dear was left out: the budget") for r in answer["route"]["reasons"])
        receipt = running.rows("SELECT route FROM request_receipts ORDER BY rowid DESC LIMIT 1")[0]["route"]
        assert '"code":"budget"' in receipt


async def test_local_only_leaves_out_every_cloud_model(tmp_path: Path) -> None:
    chain = ("openai/dear", "openai/cheap")
    extra = {"local_fallback": "ollama/last"}
    async with sidecar(tmp_path, budget("local_only"), chain=chain, routing_extra=extra) as (running, _):
        await use_up(running)
        answer = (await ask(running)).json()
        assert (answer["model"], answer["location"]) == ("ollama/last", "loopback")


async def test_where_nothing_is_left_it_is_402(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("local_only")) as (running, _):
        await use_up(running)
        refused = await ask(running)
        assert (refused.status_code, refused.json()["code"]) == (402, "budget_exceeded")


async def test_alert_only_tells(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("alert", alert_at=[0.5, 1.0])) as (running, _):
        for _ in range(4):
            assert (await ask(running)).status_code == 200
        await running.services.inbox.delivered()
        told = (await running.http.get("/api/v1/notifications")).json()["notifications"]
        assert [n["kind"] for n in told] == ["budget_threshold"] * 2
        assert [n["severity"] for n in told] == ["error", "info"]


async def test_a_shadow_only_says_what_it_would_have_done(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("block", shadow=True)) as (running, _):
        await use_up(running)
        answer = (await ask(running)).json()
        assert any(r.startswith("shadow: block: the budget") for r in answer["route"]["reasons"])
        await running.services.inbox.delivered()
        told = (await running.http.get("/api/v1/notifications?kind=budget_acted")).json()["notifications"]
        assert len(told) == 1
        assert "would have refused" in told[0]["title"]


@pytest.mark.parametrize(
    ("unknown_price", "status"), [(None, 402), ("refuse", 402), ({"count_as": 10}, 200), ({"count_as": 1e6}, 402)]
)
async def test_what_has_no_price_is_never_free(tmp_path: Path, unknown_price: Any, status: int) -> None:
    rule = {} if unknown_price is None else {"unknown_price": unknown_price}
    async with sidecar(tmp_path, budget("block", **rule), chain=("openai/unpriced",)) as (running, _):
        assert (await ask(running)).status_code == status
        state = (await running.http.get("/api/v1/usage")).json()["budgets"][0]
        assert state["used_usd"] == (0.0002 if status == 200 else 0)
        assert state["unpriced_calls"] == (1 if status == 200 else 0)


async def test_a_fallback_that_costs_too_much_is_left_out_in_mid_route(tmp_path: Path) -> None:
    chain = ("ollama/local", "openai/dear", "ollama/last")
    async with sidecar(tmp_path, budget("block"), chain=chain) as (running, provider):
        await use_up(running)
        provider.always(Status(404), model="local")
        answer = (await ask(running)).json()
        assert answer["model"] == "ollama/last"
        assert [a["model"] for a in answer["attempts"]] == ["ollama/local", "ollama/last"]


async def test_retries_pay_as_well_and_nothing_is_held_at_the_end(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("block")) as (running, provider):
        provider.script(Status(500), Status(500), model="dear")
        answer = (await ask(running)).json()
        assert answer["attempt_count"] == 3
        state = (await running.http.get("/api/v1/budgets")).json()["budgets"][0]
        assert state["used_usd"] == spent(running) / 1_000_000 > 0
        assert (state["reserved_usd"], state["running"]) == (0, 0)


async def test_a_limit_per_request_and_per_task_type(tmp_path: Path) -> None:
    budgets = (
        {"period": "request", "limit_usd": 0.03, "on_limit": "cheaper"},
        {"period": "day", "limit_usd": 0, "on_limit": "block", "task_type": "debugging"},
    )
    async with sidecar(tmp_path, *budgets, chain=("openai/dear", "ollama/local")) as (running, _):
        assert (await ask(running, max_output_tokens=10)).json()["model"] == "openai/dear"
        assert (await ask(running, max_output_tokens=30)).json()["model"] == "ollama/local"
        assert (await ask(running, task_type="debugging")).status_code == 402


async def test_budget_used_steers_rules_and_explain_shows_the_state(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("block"), chain=("openai/dear", "ollama/local")) as (running, provider):
        await use_up(running)
        explained = (await running.http.post("/api/v1/explain", json={"query": "hello"})).json()
        assert explained["facts"]["budget_used"] == explained["budget"]["used"] == 0.8
        assert explained["budget"]["budgets"][0]["used_usd"] == 0.04
        dear, local = explained["candidates"]
        assert dear["budget"].startswith("block: the budget of the day")
        assert dear["estimated_cost_usd"] > 0.05
        assert local["budget"] is None
        assert len(provider.chats) == 2


async def run_agent(running: RunningSidecar) -> dict[str, Any]:
    run: dict[str, Any] = (await running.http.post("/api/v1/trigger", json={"agent": "standup", "wait": True})).json()
    return run


@pytest.mark.parametrize(
    ("on_limit", "chain", "third"),
    [
        ("block", ("openai/dear",), ("failed", "budget_exceeded")),
        ("local_only", ("openai/dear", "ollama/local"), ("ok", None)),
    ],
)
async def test_an_agents_budget_is_its_own(
    tmp_path: Path, on_limit: str, chain: tuple[str, ...], third: tuple[str, str | None]
) -> None:
    """Kept by the router, as every other: two runs of two cents, then no room for a third. Others ask on."""
    settings = {"prompt": "What next?", "max_output_tokens": 10}
    agents = [{"name": "standup", "agent": "prompt", "settings": settings, "budget": budget(on_limit)}]
    async with sidecar(tmp_path, agents=agents, chain=chain) as (running, _):
        assert (await ask(running, model="openai/dear")).status_code == 200
        (meter,) = running.services.budgets.meters()
        assert (meter.limit.agent, meter.used) == ("standup", 0)
        runs = [await run_agent(running) for _ in range(3)]
        assert [run["state"] for run in runs[:2]] == ["ok", "ok"]
        assert (runs[2]["state"], runs[2]["error_code"]) == third
        assert running.services.budgets.meters()[0].used == 2 * COST
        models = [row["model"] for row in running.rows() if row["agent"] == "standup"]
        assert models == ["openai/dear"] * 2 + ["ollama/local"] * (on_limit == "local_only")
        assert (await ask(running, model="openai/dear")).status_code == 200


async def test_who_leaves_gives_back_what_was_held(tmp_path: Path) -> None:
    async with sidecar(tmp_path, budget("block")) as (running, provider):
        provider.always(Reply(delay=30))
        body = {"query": "hello", "max_output_tokens": 10}
        async with running.http.stream("POST", "/api/v1/chat", json=body) as response:
            await anext(response.aiter_lines())
            (meter,) = running.services.budgets.meters()
            assert meter.running == 1
        async with asyncio.timeout(10):
            while running.services.budgets.meters()[0].running:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert running.services.budgets.meters()[0].reserved == 0


@pytest.mark.parametrize("ticks", [0, 1, 2, 3, 5, 8, 13, 50])
async def test_who_leaves_while_an_answer_is_counted_has_paid_for_it(tmp_path: Path, ticks: int) -> None:
    """The provider reports no tokens, so the whole answer is counted in a thread when it has ended."""
    size = 1_500_000
    async with sidecar(tmp_path, budget("alert", limit_usd=1_000_000)) as (running, provider):
        provider.always(Reply(text=("word " * (size // 5),), usage=False))
        written = asyncio.Event()

        async def read() -> None:
            material = Material(messages=[{"role": "user", "content": "hello"}])
            request = ModelRequest("r1", "open", "chat", material)
            async with aclosing(running.services.router.stream(request)) as batches:
                async for batch in batches:
                    if any(isinstance(event, TextDelta) for event in batch):
                        written.set()

        task = asyncio.create_task(read())
        async with asyncio.timeout(30):
            await written.wait()
            for _ in range(ticks):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            while [row["status"] for row in running.rows()] not in (["cancelled"], ["ok"]):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        (meter,) = running.services.budgets.meters()
        assert meter.used == spent(running) > size // 10
        assert (meter.reserved, meter.running) == (0, 0)
