"""A private workspace over real HTTP: nothing reaches a model's server that is not on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.providers import FakeProvider, Status
from tests.fakes.sidecar import RunningSidecar, running_sidecar


@dataclass
class Lab:
    sidecar: RunningSidecar
    cloud: FakeProvider
    local: FakeProvider


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    """`cloud` listens on loopback too, but the configuration calls its model remote: it plays the world outside."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-anybodys-business")
    async with (
        FakeProvider() as cloud,
        FakeProvider(models={"small": 8192}) as local,
        running_sidecar(
            tmp_path,
            models=[
                {
                    "id": "openai/big",
                    "api_base": cloud.url + "/v1",
                    "location": "cloud",
                    "context_window": 200_000,
                    "input_cost_per_million": 3,
                    "output_cost_per_million": 15,
                },
                {"id": "ollama/small", "api_base": local.url, "context_window": 8192},
            ],
            rules=[
                {"name": "pinned", "conditions": {"task_type": "architecture"}, "model": "openai/big"},
                {"name": "all", "conditions": {}, "model": "openai/big", "fallback": ["ollama/small", "openai/big"]},
            ],
            models_extra={"upgrades": ["openai/big"], "summarizer": "openai/big"},
            routing_extra={"retry": {"backoff_seconds": [0.01]}},
        ) as sidecar,
    ):
        yield Lab(sidecar, cloud, local)


async def test_the_cloud_candidate_is_gone_before_the_chain_exists(lab: Lab) -> None:
    events = await lab.sidecar.chat(query="hi", workspace="work")
    assert events[0].data["candidates"] == ["ollama/small"]
    assert events[-1].data["location"] == "loopback"
    assert lab.cloud.requests == []


async def test_the_control_a_public_workspace_reaches_it(lab: Lab) -> None:
    events = await lab.sidecar.chat(query="hi", workspace="open")
    assert events[-1].data["model"] == "openai/big"
    assert len(lab.cloud.chats) == 1
    assert events[-1].data["cost_usd"] > 0


async def test_a_failing_local_model_is_no_reason_to_leave(lab: Lab) -> None:
    lab.local.always(Status(500))
    events = await lab.sidecar.chat(query="hi", workspace="work")
    assert events[-1].data["code"] == "all_candidates_failed"
    assert lab.cloud.requests == []


async def test_a_wish_for_a_cloud_model_is_refused(lab: Lab) -> None:
    response = await lab.sidecar.http.post(
        "/api/v1/chat", json={"query": "hi", "workspace": "work", "model": "openai/big"}
    )
    assert response.status_code == 403
    assert response.json()["code"] == "no_permitted_model"
    assert lab.cloud.requests == lab.local.chats == []


async def test_a_route_the_policy_emptied_is_refused(lab: Lab) -> None:
    response = await lab.sidecar.http.post(
        "/api/v1/chat", json={"query": "hi", "workspace": "work", "task_type": "architecture"}
    )
    assert response.status_code == 403
    assert "openai/big" in response.text
    assert lab.cloud.requests == lab.local.chats == []


async def test_too_much_for_the_local_window_is_no_reason_to_upgrade(lab: Lab) -> None:
    chunks = [
        {"text": f"def f{i}():\n    return {i}\n" * 200, "path": f"m{i}.py", "similarity": 0.9} for i in range(12)
    ]
    body = {"query": "hi", "workspace": "work", "context": {"chunks": chunks}}
    events = await lab.sidecar.chat(**body)
    assert events[-1].data["model"] == "ollama/small"
    assert lab.cloud.requests == []
    events = await lab.sidecar.chat(**{**body, "workspace": "open", "model": "ollama/small"})
    assert events[-1].data["model"] == "openai/big", "the control: a public workspace upgrades"


async def test_explain_asks_nobody(lab: Lab) -> None:
    for workspace in ("work", "open"):
        response = await lab.sidecar.http.post("/api/v1/explain", json={"query": "hi", "workspace": workspace})
        assert response.status_code == 200
    assert lab.cloud.chats == lab.local.chats == []


async def test_an_unknown_workspace_is_refused(lab: Lab) -> None:
    response = await lab.sidecar.http.post("/api/v1/chat", json={"query": "hi", "workspace": "wrok"})
    assert (response.status_code, response.json()["code"]) == (422, "unknown_workspace")
    assert lab.cloud.requests == lab.local.chats == []


@pytest.mark.parametrize("model", ["ollama/copy", "hosted_vllm/copy", "anthropic/copy"])
async def test_a_cloud_model_under_a_local_name_is_not_sent_a_prompt(tmp_path: Path, model: str) -> None:
    """`ollama cp gpt-oss:120b-cloud copy`, done after the sidecar has asked the server what it has."""
    path = "/v1" if model.startswith("hosted_vllm") else ""
    async with FakeProvider(models={"copy": 8192}) as server:
        entry = {"id": model, "api_base": server.url + path, "context_window": 8192}
        rule = {"name": "all", "conditions": {}, "model": model, "fallback": "builtin/extractive"}
        async with running_sidecar(tmp_path, models=[entry], rules=[rule]) as sidecar:
            server.passed_on["copy"] = "https://ollama.com:443"
            events = await sidecar.chat(query="a private question", workspace="work")
            assert events[-1].data["model"] == "builtin/extractive"
            assert [e.data["code"] for e in events if e.name == "attempt"] == ["egress_blocked"]
            assert server.chats == []
            await sidecar.chat(query="a public question", workspace="open")
            assert len(server.chats) == 1, "the control: a public workspace may use it"


async def test_a_local_server_is_asked_where_it_runs_a_model_once_in_a_while(lab: Lab) -> None:
    for _ in range(3):
        await lab.sidecar.chat(query="hi", workspace="work")
    asked = [r for r in lab.local.requests if r.path == "/api/show"]
    assert len(lab.local.chats) == 3
    assert len(asked) <= 2, "once at the start, once for the private requests"
