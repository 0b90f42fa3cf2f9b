"""An agent written in agents.yaml alone, over real HTTP: asked, held to its schema, kept, told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar

SCHEMA = {
    "type": "object",
    "properties": {"first": {"type": "string"}, "urgent": {"type": "boolean"}},
    "required": ["first", "urgent"],
    "additionalProperties": False,
}


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@asynccontextmanager
async def running(folder: Path, provider: FakeProvider, **settings: Any) -> AsyncIterator[RunningSidecar]:
    entry = {"name": "standup", "agent": "prompt", "settings": settings, "input": {"person": "Ann"}}
    async with running_sidecar(
        folder,
        models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}],
        agents=[entry],
    ) as sidecar:
        yield sidecar


async def trigger(sidecar: RunningSidecar, **body: Any) -> dict[str, Any]:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "standup", "wait": True, **body})
    assert response.status_code == 200, response.text
    run: dict[str, Any] = response.json()
    return run


async def inbox(sidecar: RunningSidecar) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await sidecar.http.get("/api/v1/notifications")).json()["notifications"]
    return found


async def test_a_prompt_with_its_fields(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script(Reply(("Write ", "tests.")), Reply(("Rest.",)))
    async with running(tmp_path, provider, prompt="What should $person do? Before: $last_answer", notify={}) as sidecar:
        first = await trigger(sidecar)
        second = await trigger(sidecar, input={"person": "Bob"})
        told = await inbox(sidecar)
        rows = sidecar.rows()
    asked = [r.body["messages"][-1]["content"] for r in provider.requests if r.method == "POST"]
    assert asked == ["What should Ann do? Before: ", "What should Bob do? Before: Write tests."]
    assert (first["state"], first["summary"], second["summary"]) == ("ok", "Write tests.", "Rest.")
    assert [(n["title"], n["body"]) for n in told] == [("standup", "Rest."), ("standup", "Write tests.")]
    assert {row["agent"] for row in rows} == {"standup"}


async def test_an_answer_that_must_fit_and_be_news(tmp_path: Path, provider: FakeProvider) -> None:
    fits = {"first": "Fix the build", "urgent": True}
    provider.script(
        Reply(("no json",)),
        Reply((json.dumps(fits),)),
        Reply((json.dumps({"first": "Read", "urgent": False}),)),
    )
    notify = {"title": "$first, $person", "when": {"urgent": True, "changed": True}, "severity": "warning"}
    async with running(tmp_path, provider, prompt="Next for $person?", schema=SCHEMA, notify=notify) as sidecar:
        first = await trigger(sidecar)
        second = await trigger(sidecar)
        told = await inbox(sidecar)
    assert first["data"]["answer"] == fits
    assert second["data"]["told"] is None
    assert any("urgent is false" in line["text"] for line in second["log"]), second["log"]
    assert [(n["title"], n["severity"]) for n in told] == [("Fix the build, Ann", "warning")]


async def test_what_it_looks_up_and_what_it_remembers(tmp_path: Path, provider: FakeProvider) -> None:
    provider.always(Reply(("Back-off is five seconds.",)))
    settings = {"prompt": "How long?", "retrieve": "retry pause of $person", "remember": True}
    async with running(tmp_path, provider, **settings) as sidecar:
        chunk = {"path": "retry.py", "start_line": 1, "text": "RETRY_PAUSE = 5  # Ann's retry pause"}
        await sidecar.http.post("/api/v1/chunks", json={"chunks": [chunk]})
        run = await trigger(sidecar)
        assert "RETRY_PAUSE = 5" in json.dumps(provider.requests[-1].body["messages"])
        assert "chunk:agents/standup.md" in run["stored"]
        await trigger(sidecar)
        found = (await sidecar.http.post("/api/v1/search", json={"query": "back-off seconds"})).json()["chunks"]
    assert [c["path"] for c in found].count("agents/standup.md") == 1


async def test_a_dry_run_asks_and_leaves_nothing(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script(Reply(("Hi",)))
    async with running(tmp_path, provider, prompt="Hello?", remember=True, notify={"title": "News"}) as sidecar:
        run = await trigger(sidecar, dry_run=True)
        assert run["summary"] == "Hi"
        assert [note.partition(" (")[0] for note in run["withheld"]][-1].startswith("would notify")
        assert await inbox(sidecar) == []
        again = (await sidecar.http.get("/api/v1/agents/standup/runs")).json()["runs"]
    assert again[0]["dry_run"] is True


async def test_a_field_that_is_missing(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider, prompt="About $person") as sidecar:
        refused = await sidecar.http.post("/api/v1/trigger", json={"agent": "standup", "input": {"person": []}})
    assert refused.status_code == 422
    assert refused.json()["field"] == "input.person"


async def test_a_private_workspace_asks_no_cloud(tmp_path: Path, provider: FakeProvider) -> None:
    entry = {"name": "standup", "agent": "prompt", "settings": {"prompt": "Hello?"}, "workspace": "work"}
    async with running_sidecar(
        tmp_path,
        models=[{"id": "openai/x", "api_base": f"{provider.url}/v1", "location": "cloud", "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "openai/x"}],
        agents=[entry],
    ) as sidecar:
        run = await trigger(sidecar)
    assert (run["state"], run["error_code"]) == ("failed", "no_permitted_model")
    assert [r for r in provider.requests if r.method == "POST"] == []


async def test_an_empty_title_is_the_agent_s_name(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script(Reply((json.dumps({"first": "", "urgent": True}),)))
    async with running(tmp_path, provider, prompt="Next?", schema=SCHEMA, notify={"title": "$first"}) as sidecar:
        assert (await trigger(sidecar))["state"] == "ok"
        told = await inbox(sidecar)
    assert [n["title"] for n in told] == ["standup"]
