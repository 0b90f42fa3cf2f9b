"""Saving a configuration file: the next request is decided by it, or by the last good one, and health says which."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.llm.clock import Clock
from tests.fakes.laboratory import eventually
from tests.fakes.providers import FakeProvider, Reply, Status
from tests.fakes.sidecar import RunningSidecar, running_sidecar


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider(models={"one": 8192, "two": 8192}) as fake:
        yield fake


@pytest.fixture
async def sidecar(tmp_path: Path, provider: FakeProvider) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path,
        models=[{"id": f"ollama/{name}", "api_base": provider.url, "context_window": 8192} for name in ("one", "two")],
        rules=[{"name": "first", "conditions": {}, "model": "ollama/one"}],
    ) as running:
        yield running


def edit(sidecar: RunningSidecar, file: str, **changes: Any) -> None:
    path = sidecar.config_dir / file
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **changes}))


async def config_health(sidecar: RunningSidecar) -> dict[str, Any]:
    part: dict[str, Any] = (await sidecar.http.get("/api/v1/health")).json()["parts"]["config"]
    return part


async def loaded(sidecar: RunningSidecar, before: str) -> None:
    """Returns once requests are decided by another configuration than `before`."""
    await eventually(lambda: sidecar.services.policies.current.config.fingerprint != before, within=10)


async def test_a_saved_rule_decides_the_next_request(sidecar: RunningSidecar) -> None:
    assert (await sidecar.chat(query="hi"))[-1].data["model"] == "ollama/one"
    before = (await config_health(sidecar))["fingerprint"]
    edit(sidecar, "routing.yaml", rules=[{"name": "second", "conditions": {}, "model": "ollama/two"}])
    await loaded(sidecar, before)
    events = await sidecar.chat(query="hi")
    assert (events[0].data["rule"], events[-1].data["model"]) == ("second", "ollama/two")
    assert (await sidecar.http.get("/api/v1/rules")).json()["rules"][0]["name"] == "second"


async def test_a_request_under_way_ends_as_it_began(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply(text=tuple("abcdefghij"), delay=0.1))
    asking = asyncio.create_task(sidecar.chat(query="hi"))
    await eventually(lambda: bool(provider.chats))
    before = sidecar.services.config.status.fingerprint
    edit(sidecar, "models.yaml", models=[{"id": "ollama/two", "api_base": provider.url}])
    edit(sidecar, "routing.yaml", rules=[{"name": "second", "conditions": {}, "model": "ollama/two"}])
    await loaded(sidecar, before)
    events = await asking
    assert (events[-1].name, events[-1].data["model"]) == ("done", "ollama/one")
    assert (await sidecar.chat(query="hi"))[-1].data["model"] == "ollama/two"


async def test_a_bad_file_keeps_the_last_good_one_and_health_says_why(sidecar: RunningSidecar) -> None:
    before = await config_health(sidecar)
    edit(sidecar, "routing.yaml", rules=[{"name": "bad", "conditions": {"hour": "noon"}, "model": "ollama/two"}])
    await eventually(lambda: sidecar.services.config.status.last_error is not None, within=10)
    health = (await sidecar.http.get("/api/v1/health")).json()
    part = health["parts"]["config"]
    assert (health["status"], part["status"]) == ("degraded", "degraded")
    assert part["fingerprint"] == before["fingerprint"]
    assert any("routing.yaml" in problem and "hour" in problem for problem in part["problems"])
    assert "config check" in part["remedy"]
    assert (await sidecar.chat(query="hi"))[-1].data["model"] == "ollama/one"
    edit(sidecar, "routing.yaml", rules=[{"name": "good", "conditions": {"hour": {"gte": 0}}, "model": "ollama/two"}])
    await loaded(sidecar, before["fingerprint"])
    assert (await config_health(sidecar))["status"] == "ok"
    assert (await sidecar.chat(query="hi"))[-1].data["model"] == "ollama/two"


async def test_a_workspace_that_becomes_private_is_private_at_once(
    sidecar: RunningSidecar, provider: FakeProvider
) -> None:
    edit(
        sidecar,
        "models.yaml",
        models=[{"id": "ollama/one", "api_base": provider.url, "location": "cloud", "input_cost_per_million": 1}],
    )
    before = sidecar.services.config.status.fingerprint
    await loaded(sidecar, before)
    assert (await sidecar.chat(query="hi", workspace="open"))[-1].name == "done"
    before = sidecar.services.config.status.fingerprint
    edit(sidecar, "profiles.yaml", profiles=[{"id": "open", "block_cloud_apis": True}])
    await loaded(sidecar, before)
    asked = len(provider.chats)
    response = await sidecar.http.post("/api/v1/chat", json={"query": "hi", "workspace": "open"})
    assert (response.status_code, response.json()["code"]) == (403, "no_permitted_model")
    assert len(provider.chats) == asked
    gone = await sidecar.http.post("/api/v1/chat", json={"query": "hi", "workspace": "work"})
    assert gone.json()["code"] == "unknown_workspace"


async def test_a_workspace_made_private_in_a_pause_sends_nothing_more(tmp_path: Path, provider: FakeProvider) -> None:
    found: list[RunningSidecar] = []

    async def sleep(seconds: float) -> None:
        before = found[0].services.policies.current.config.fingerprint
        edit(found[0], "profiles.yaml", profiles=[{"id": "open", "block_cloud_apis": True}])
        await loaded(found[0], before)

    provider.script(Status(503), Reply())
    model = {"id": "ollama/one", "api_base": provider.url, "location": "cloud", "input_cost_per_million": 1}
    async with running_sidecar(
        tmp_path / "second",
        clock=Clock(sleep=sleep, chance=lambda: 0.0),
        models=[model],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/one"}],
        profiles=[{"id": "open"}],
    ) as sidecar:
        found.append(sidecar)
        end = (await sidecar.chat(query="hi", workspace="open"))[-1]
    assert (end.name, end.data["code"]) == ("error", "all_candidates_failed")
    assert "become private" in end.data["detail"]
    assert len(provider.chats) == 1


async def test_trusted_hosts_open_and_close_the_door(tmp_path: Path) -> None:
    async with running_sidecar(
        tmp_path,
        models=[{"id": "ollama/one", "api_base": "http://192.0.2.1:9", "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/one"}],
    ) as sidecar:

        async def location(trusted: list[str]) -> str:
            """Where explain says the model is once `trusted` is saved; else the code of the refusal."""
            before = sidecar.services.policies.current.config.fingerprint
            edit(sidecar, "models.yaml", trusted_hosts=trusted)
            await loaded(sidecar, before)
            answer = (await sidecar.http.post("/api/v1/explain", json={"query": "hi", "workspace": "work"})).json()
            return str(answer.get("code") or answer["route"]["location"])

        assert await location(["192.0.2.1"]) == "trusted"
        assert await location(["192.0.2.2"]) == "no_permitted_model"
