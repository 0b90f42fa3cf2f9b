"""Budgets over real HTTP: what a limit does to requests, many at once, and what is told about it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, running_sidecar
from tests.fakes.steps import Reply

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
