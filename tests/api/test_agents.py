"""Agents over HTTP: triggered, watched, paused, refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import RunningSidecar, parse_events, running_sidecar, write_config

pytestmark = pytest.mark.asyncio(loop_scope="module")

ENTRIES: list[dict[str, Any]] = [
    {"name": "tidy", "agent": "maintenance", "schedule": "0 3 * * *", "timezone": "Europe/Berlin"},
    {"name": "session_capture", "schedule": "every 15m", "workspace": "work"},
    {"name": "elsewhere", "agent": "of-nobody", "schedule": "@daily"},
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sidecar(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSidecar]:
    folder = tmp_path_factory.mktemp("agents")
    async with FakeProvider() as provider:
        write_config(
            folder / "config",
            models=[{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}],
            rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
        )
        (folder / "config" / "agents.yaml").write_text(yaml.safe_dump({"agents": ENTRIES}), "utf-8")
        async with running_sidecar(folder) as running:
            yield running


async def test_a_run_that_is_waited_for_answers_with_its_result(sidecar: RunningSidecar) -> None:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "maintenance", "wait": True})
    assert response.status_code == 200, response.text
    run = response.json()
    assert run["state"] == "ok"
    assert "backup" in run["summary"]
    assert run["cost_usd"] == 0
    assert [line["level"] for line in run["log"]] == ["info"] * len(run["log"])
    assert len(list((sidecar.settings.data_dir / "backups").glob("sidecar-*.db"))) == 1


async def test_a_run_that_is_not_waited_for_can_be_watched(sidecar: RunningSidecar) -> None:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "tidy", "dry_run": True})
    assert response.status_code == 202
    run_id = response.json()["run_id"]
    assert response.headers["location"] == f"/api/v1/runs/{run_id}"
    events = parse_events((await sidecar.http.get(f"/api/v1/runs/{run_id}/events")).text)
    assert events[-1].name == "done"
    assert events[-1].data["withheld"][0] == "would store backup"
    assert {event.name for event in events[:-1]} <= {"log", "progress"}


async def test_the_list_says_what_is_scheduled_and_what_is_lacking(sidecar: RunningSidecar) -> None:
    agents = {a["name"]: a for a in (await sidecar.http.get("/api/v1/agents")).json()["agents"]}
    assert agents["tidy"]["status"] == "scheduled"
    assert agents["tidy"]["next_due"] is not None
    assert agents["elsewhere"]["status"] == "incomplete"
    assert agents["elsewhere"]["lacks"][0]["what"] == "no package offers an agent `of-nobody`"
    assert "maintenance" not in agents, "an entry runs it"
