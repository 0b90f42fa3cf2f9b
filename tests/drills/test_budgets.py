"""A budget whose sidecar is killed between reserving and settling."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.drills.processes import Drill
from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import write_config
from tests.fakes.steps import Reply

ASKED = {"query": "hello", "max_output_tokens": 100, "stream": False}
DEAR: dict[str, Any] = {"location": "cloud", "input_cost_per_million": 1_000, "output_cost_per_million": 1_000}


async def budget_of(http: Any) -> dict[str, Any]:
    (found,) = (await http.get("/api/v1/budgets")).json()["budgets"]
    return dict(found)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
async def test_killed_in_mid_call_the_most_it_could_cost_stays_spent(tmp_path: Path, seconds: float) -> None:
    """At once: the attempt is in the journal alone. Later: it has its row, and its reservation beside it."""
    async with FakeProvider() as provider:
        drill = Drill(tmp_path, provider.url)
        model = {"id": "openai/dear", "api_base": f"{provider.url}/v1", "context_window": 8192, **DEAR}
        write_config(
            drill.config,
            models=[model],
            rules=[{"name": "default", "conditions": {}, "model": "openai/dear"}],
            profiles_extra={"budgets": [{"period": "month", "limit_usd": 0.15, "on_limit": "block"}]},
        )
        provider.always(Reply(delay=30))
        async with drill.running(warm=False, OPENAI_API_KEY="sk-drill-0123456789") as sidecar:
            asking = asyncio.create_task(sidecar.http.post("/api/v1/chat", json=ASKED))
            async with asyncio.timeout(30):
                while not provider.chats:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            await asyncio.sleep(seconds)
            held = await budget_of(sidecar.http)
            assert (held["running"], held["used_usd"]) == (1, 0)
            sidecar.process.kill()
            await asyncio.gather(asking, return_exceptions=True)
        assert 0.1 < held["reserved_usd"] < 0.15

        provider.always(Reply())
        async with drill.running(warm=False, OPENAI_API_KEY="sk-drill-0123456789") as sidecar:
            again = await budget_of(sidecar.http)
            assert (again["used_usd"], again["reserved_usd"]) == (held["reserved_usd"], 0)
            assert (await sidecar.http.post("/api/v1/chat", json=ASKED)).status_code == 402
        assert [row["status"] for row in drill.rows()] == ["interrupted"]
