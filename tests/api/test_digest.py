"""The digest over real HTTP: what is stored becomes a page, with a model's opening or without one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import FakeProvider, Reply, Status
from tests.fakes.sidecar import RunningSidecar, running_sidecar

STATE = {
    "goal": "Make start-up faster",
    "current_task": "Profile the import | of the catalog",
    "blockers": ["the profiler crashes"],
    "next_steps": ["import it in a thread", "measure again"],
}


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@asynccontextmanager
async def running(folder: Path, provider: FakeProvider, **entry: Any) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        folder,
        models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}, {"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/m", "fallback": "builtin/extractive"}],
        profiles_extra={"budgets": [{"period": "week", "limit_usd": 20}]},
        agents=[
            {"name": "digest", "schedule": "0 18 * * *", **entry},
            {"name": "hello", "agent": "prompt", "settings": {"prompt": "Hello?", "notify": {"title": "A find"}}},
        ],
    ) as sidecar:
        yield sidecar


async def work(sidecar: RunningSidecar, workspace: str = "open") -> None:
    made = await sidecar.http.post("/api/v1/sessions", json={"id": f"s-{workspace}", "workspace": workspace})
    assert made.status_code == 201
    await sidecar.http.put(f"/api/v1/sessions/s-{workspace}/state", json=STATE)
    await sidecar.chat(query="Why is the start slow?", session_id=f"s-{workspace}", workspace=workspace)


async def digest(sidecar: RunningSidecar, **body: Any) -> dict[str, Any]:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "digest", "wait": True, **body})
    assert response.status_code == 200, response.text
    run: dict[str, Any] = response.json()
    assert run["state"] == "ok", run
    return run


async def test_a_day_as_a_page(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider) as sidecar:
        await work(sidecar)
        await sidecar.http.post("/api/v1/trigger", json={"agent": "hello", "wait": True})
        provider.script(Reply(("Start-up was\n\n", "the matter.")))
        run = await digest(sidecar)
        page = run["summary"]
        told = (await sidecar.http.get("/api/v1/notifications")).json()["notifications"][0]
        found = (await sidecar.http.post("/api/v1/search", json={"query": "import in a thread"})).json()["chunks"]
    assert page.splitlines()[0].startswith("# ")
    assert page.splitlines()[2] == "Start-up was the matter."
    assert "Profile the import \\| of the catalog" in page
    assert "  - blocked: the profiler crashes" in page
    assert "- [ ] import it in a thread (Why is the start slow?)" in page
    assert "- A find" in page
    assert "budget of the week: $0.00 of $20.00 used" in page
    assert "| ollama/m | 2 |" in page, "its own request came after the figures"
    assert "- digest runs on" in page
    assert f"# {told['title']}\n\n{told['body']}" == page, "the title is not said twice"
    assert found[0]["path"].startswith("digest:")
    assert run["data"]["sessions"] == 1


async def test_a_request_that_fell_back_is_one(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider, settings={"prose": False}) as sidecar:
        provider.always(Status(404))
        await work(sidecar)
        run = await digest(sidecar)
    assert "| ollama/m | 1 |" in run["summary"]
    assert "| builtin/extractive | 1 |" in run["summary"]
    assert "1 request for **$0.00**; 1 on your own machines." in run["summary"]
    assert run["data"]["requests"] == 1


async def test_without_a_model_the_page_lacks_its_opening_alone(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider) as sidecar:
        await work(sidecar)
        provider.always(Status(503))
        page = (await digest(sidecar))["summary"]
    assert page.splitlines()[2] == "## Where work stopped"


async def test_a_second_one_of_the_day_replaces_the_first(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider, settings={"prose": False}) as sidecar:
        await work(sidecar)
        await digest(sidecar)
        await digest(sidecar)
        found = (await sidecar.http.post("/api/v1/search", json={"query": "digest start slow", "k": 20})).json()
    assert [c["path"].partition(":")[0] for c in found["chunks"]].count("digest") == 1


async def test_a_quiet_day_is_not_news(tmp_path: Path, provider: FakeProvider) -> None:
    async with running(tmp_path, provider) as sidecar:
        run = await digest(sidecar)
        assert "Nothing happened" in run["summary"]
        assert (await sidecar.http.get("/api/v1/notifications")).json()["notifications"] == []


async def test_it_sees_its_own_workspace_and_a_private_one_asks_no_cloud(
    tmp_path: Path, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-key-0123456789abcdef")
    async with (
        FakeProvider() as cloud,
        running_sidecar(
            tmp_path,
            models=[
                {"id": "ollama/m", "api_base": provider.url, "context_window": 8192},
                {"id": "openai/x", "api_base": f"{cloud.url}/v1", "location": "cloud", "context_window": 8192},
            ],
            rules=[
                {
                    "name": "sums",
                    "conditions": {"task_type": "summarization"},
                    "model": "openai/x",
                    "fallback": "ollama/m",
                },
                {"name": "all", "conditions": {}, "model": "ollama/m"},
            ],
            agents=[{"name": "digest", "workspace": "work"}],
        ) as sidecar,
    ):
        await work(sidecar, "work")
        await work(sidecar, "open")
        run = await digest(sidecar)
        assert run["data"]["sessions"] == 1
        assert cloud.requests == []
        await digest(sidecar, workspace="open")
        assert [r.method for r in cloud.requests] == ["POST"], "the control: an open one may"


async def test_one_private_session_does_not_close_the_index_of_an_open_workspace(
    tmp_path: Path, provider: FakeProvider
) -> None:
    closed = [{"id": "open", "name": "Open", "block_cloud_apis": True}]
    models = [{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}]
    rules = [{"name": "all", "conditions": {}, "model": "ollama/m"}]
    given: dict[str, Any] = {"models": models, "rules": rules, "agents": [{"name": "digest"}]}
    async with running_sidecar(tmp_path, profiles=closed, **given) as sidecar:
        await work(sidecar)
    async with running_sidecar(tmp_path, profiles=[{"id": "open", "name": "Open"}], **given) as sidecar:
        chunk = {"workspace": "open", "chunks": [{"path": "a.md", "text": "openly"}]}
        assert (await sidecar.http.post("/api/v1/chunks", json=chunk)).status_code == 200
        run = await digest(sidecar)
        assert "Make start-up faster" in run["summary"] or "Profile the import" in run["summary"]
        assert [one for one in run["stored"] if one.startswith("chunk:")] == []
        assert any("kept out of the index" in line["text"] for line in run["log"])
        assert not sidecar.services.memory.was_private("open")
