"""Agents over HTTP: triggered, watched, paused, refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from app.agents.door import WAITING
from app.llm.clock import Clock
from tests.fakes.laboratory import eventually
from tests.fakes.providers import FakeProvider, Hang, Reply
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
    assert set(run["data"]["done"]) == {"backup", "usage roll-ups", "usage rows", "notifications", "index"}
    assert run["data"]["failed"] == []
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
    # A reader who comes back gets what it had not, and the end once more.
    lines = [event.id for event in events if event.name == "log"]
    assert lines == list(range(1, len(lines) + 1))
    back = await sidecar.http.get(f"/api/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(len(lines))})
    assert [event.name for event in parse_events(back.text) if event.name != "progress"] == ["done"]
    refused = await sidecar.http.get(f"/api/v1/runs/{run_id}/events", headers={"Last-Event-ID": "-1"})
    assert (refused.status_code, refused.json()["field"]) == (422, "Last-Event-ID")


async def test_the_list_says_what_is_scheduled_and_what_is_lacking(sidecar: RunningSidecar) -> None:
    agents = {a["name"]: a for a in (await sidecar.http.get("/api/v1/agents")).json()["agents"]}
    assert agents["tidy"]["status"] == "scheduled"
    assert agents["tidy"]["next_due"] is not None
    assert agents["elsewhere"]["status"] == "incomplete"
    assert agents["elsewhere"]["lacks"][0]["what"] == "its package: no package offers an agent `of-nobody`"
    assert "maintenance" not in agents, "an entry runs it"


# -- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code", "says"),
    [
        ({"agent": "nobody"}, 404, "agent_not_found", "session_capture"),
        ({"agent": "elsewhere"}, 409, "agent_not_ready", "of-nobody"),
        ({"agent": "maintenance", "workspace": "nowhere"}, 422, "unknown_workspace", "nowhere"),
        ({"agent": "maintenance", "input": {"x": 1}}, 422, "invalid_request", "input: holds a key"),
        ({"agent": "maintenance", "input": [1]}, 422, "invalid_request", "input"),
        ({"agent": "../x"}, 422, "invalid_request", "agent"),
        ({"agent": "maintenance", "when": "now"}, 422, "invalid_request", "when"),
        ({}, 422, "invalid_request", "agent"),
    ],
)
async def test_a_trigger_that_is_refused_says_why(
    sidecar: RunningSidecar, body: dict[str, Any], status: int, code: str, says: str
) -> None:
    response = await sidecar.http.post("/api/v1/trigger", json=body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert says in response.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/agents/nobody", 404, "agent_not_found"),
        ("POST", "/api/v1/agents/nobody/pause", 404, "agent_not_found"),
        ("GET", "/api/v1/agents/nobody/runs", 404, "agent_not_found"),
        ("GET", "/api/v1/runs/none", 404, "run_not_found"),
        ("GET", "/api/v1/runs/none/events", 404, "run_not_found"),
        ("POST", "/api/v1/runs/none/cancel", 404, "run_not_found"),
        ("GET", "/api/v1/runs?state=later", 422, "invalid_request"),
        ("GET", "/api/v1/runs?limit=0", 422, "invalid_request"),
        ("GET", "/api/v1/runs?cursor=x", 422, "invalid_request"),
    ],
)
async def test_what_is_not_there(sidecar: RunningSidecar, method: str, path: str, status: int, code: str) -> None:
    response = await sidecar.http.request(method, path)
    assert (response.status_code, response.json()["code"]) == (status, code)


# -- once -----------------------------------------------------------------------------------------------------------


async def test_the_same_key_starts_one_run(sidecar: RunningSidecar) -> None:
    headers = {"Idempotency-Key": "morning-1"}
    body = {"agent": "tidy", "dry_run": True, "wait": True}
    first = await sidecar.http.post("/api/v1/trigger", json=body, headers=headers)
    again = await sidecar.http.post("/api/v1/trigger", json=body, headers=headers)
    assert first.json()["run_id"] == again.json()["run_id"]
    other = await sidecar.http.post("/api/v1/trigger", json={**body, "dry_run": False}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    bad = await sidecar.http.post("/api/v1/trigger", json=body, headers={"Idempotency-Key": "a b"})
    assert (bad.status_code, bad.json()["field"]) == (422, "Idempotency-Key")


async def test_a_key_is_known_after_a_restart(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "models": [{"id": "builtin/extractive"}],
        "rules": [{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
    }
    body, headers = {"agent": "maintenance", "wait": True}, {"Idempotency-Key": "morning-1"}
    found = []
    for _ in range(2):
        async with running_sidecar(tmp_path, **given) as restarted:
            found.append((await restarted.http.post("/api/v1/trigger", json=body, headers=headers)).json())
            runs = (await restarted.http.get("/api/v1/agents/maintenance/runs")).json()["runs"]
    assert (found[0]["state"], found[0]["run_id"]) == ("ok", found[1]["run_id"])
    assert len(runs) == 1


async def test_runs_are_listed_the_latest_first_page_by_page(sidecar: RunningSidecar) -> None:
    for _ in range(3):
        await sidecar.http.post("/api/v1/trigger", json={"agent": "tidy", "dry_run": True, "wait": True})
    whole = (await sidecar.http.get("/api/v1/agents/tidy/runs")).json()["runs"]
    assert [run["created_at"] for run in whole] == sorted((run["created_at"] for run in whole), reverse=True)
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await sidecar.http.get("/api/v1/agents/tidy/runs", params=params)).json()
        seen += [run["run_id"] for run in page["runs"]]
        if (cursor := page["next_cursor"]) is None:
            break
    assert seen == [run["run_id"] for run in whole]


async def test_pause_and_resume(sidecar: RunningSidecar) -> None:
    paused = (await sidecar.http.post("/api/v1/agents/tidy/pause")).json()
    assert (paused["status"], paused["upcoming"]) == ("paused", [])
    assert paused["paused_because"] == "somebody paused it"
    run = await sidecar.http.post("/api/v1/trigger", json={"agent": "tidy", "dry_run": True, "wait": True})
    assert run.json()["state"] == "ok", "it can still be triggered"
    resumed = (await sidecar.http.post("/api/v1/agents/tidy/resume")).json()
    assert resumed["status"] == "scheduled"
    assert len(resumed["upcoming"]) == 5
    assert all(due[11:19] in ("01:00:00", "02:00:00") for due in resumed["upcoming"]), "03:00 in Berlin"


# -- with a model ---------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest_asyncio.fixture(loop_scope="module")
async def asking(tmp_path: Path, provider: FakeProvider) -> AsyncIterator[RunningSidecar]:
    """A sidecar with an idle session, whose state an agent is to write by way of a model."""
    write_config(
        tmp_path / "config",
        models=[{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/small"}],
        models_extra={"summarizer": "ollama/small"},
    )
    entry = {"name": "session_capture", "settings": {"idle_minutes": 1}}
    (tmp_path / "config" / "agents.yaml").write_text(yaml.safe_dump({"agents": [entry]}), "utf-8")
    ahead = Clock(now=lambda: datetime.now(UTC) + timedelta(seconds=offset[0]))
    offset = [-600.0]
    async with running_sidecar(tmp_path, clock=ahead) as running:
        message = {"role": "user", "content": "Where is the cache cleared?"}
        body = {"id": "s1", "workspace": "work", "messages": [message]}
        assert (await running.http.post("/api/v1/sessions", json=body)).status_code == 201
        offset[0] = 0.0
        yield running


STATE = (
    '{"goal": "Find the cache", "current_task": "", "open_files": [], "findings": [], "blockers": [], "next_steps": []}'
)


async def test_a_run_s_models_and_cost_are_read_off_the_ledger(asking: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply((STATE,)))
    body = {"agent": "session_capture", "workspace": "work", "wait": True}
    run = (await asking.http.post("/api/v1/trigger", json=body)).json()
    assert (run["state"], run["data"]) == ("ok", {"captured": 1, "failed": []}), run
    assert run["models"] == ["ollama/small"]
    assert (run["requests"], run["cost_usd"]) == (1, 0.0)
    assert run["stored"] == ["session_state:s1"]
    assert run["input_tokens"] > 0
    (row,) = asking.rows()
    assert (row["agent"], row["request_id"]) == ("session_capture", f"{run['run_id']}.1")
    state = (await asking.http.get("/api/v1/sessions/s1/state")).json()
    assert state["goal"] == "Find the cache"
    again = (await asking.http.post("/api/v1/trigger", json=body)).json()
    assert again["summary"] == "No session was waiting for its state."


async def test_a_dry_run_writes_no_state(asking: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply((STATE,)))
    body = {"agent": "session_capture", "workspace": "work", "wait": True, "dry_run": True}
    run = (await asking.http.post("/api/v1/trigger", json=body)).json()
    assert run["withheld"] == ["would store the state of session s1"]
    assert (await asking.http.get("/api/v1/sessions/s1/state")).json().get("goal") is None


async def test_an_agent_waits_while_a_person_is_served_and_says_so(
    asking: RunningSidecar, provider: FakeProvider
) -> None:
    provider.script(Hang(), Reply((STATE,)))
    async with asking.http.stream("POST", "/api/v1/chat", json={"query": "hello", "workspace": "open"}):
        await eventually(lambda: len(provider.chats) == 1)
        body = {"agent": "session_capture", "workspace": "work"}
        run_id = (await asking.http.post("/api/v1/trigger", json=body)).json()["run_id"]
        refused = await asking.http.post("/api/v1/trigger", json=body)
        assert (refused.status_code, refused.json()["code"]) == (409, "agent_running")
        assert refused.json()["run_id"] == run_id
        said = ""
        for _ in range(200):
            found = (await asking.http.get(f"/api/v1/runs/{run_id}")).json()
            said = (found["progress"] or {}).get("text", "")
            if said == WAITING:
                break
            await asyncio.sleep(0.02)
        assert said == WAITING
    events = parse_events((await asking.http.get(f"/api/v1/runs/{run_id}/events")).text)
    assert events[-1].data["state"] == "ok", "the person has left"


async def test_a_run_that_is_cancelled_lets_the_model_go(asking: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Hang())
    body = {"agent": "session_capture", "workspace": "work"}
    run_id = (await asking.http.post("/api/v1/trigger", json=body)).json()["run_id"]
    await eventually(lambda: len(provider.chats) == 1)
    cancelled = await asking.http.post(f"/api/v1/runs/{run_id}/cancel")
    assert cancelled.json()["state"] == "cancelled"
    await provider.client_left()
    again = await asking.http.post(f"/api/v1/runs/{run_id}/cancel")
    assert (again.status_code, again.json()["code"]) == (409, "run_over")
    await eventually(lambda: [row["status"] for row in asking.rows()] == ["cancelled"])


async def test_a_schedule_that_is_saved_is_followed(asking: RunningSidecar) -> None:
    path = asking.config_dir / "agents.yaml"
    path.write_text(yaml.safe_dump({"agents": [{"name": "maintenance", "schedule": "* * * * * *", "timezone": "UTC"}]}))
    async with asyncio.timeout(20):
        while True:
            runs = (await asking.http.get("/api/v1/agents/maintenance/runs")).json()["runs"]
            if any(run["state"] == "ok" and run["cause"] == "schedule" for run in runs):
                break
            await asyncio.sleep(0.1)
    path.write_text("agents:\n  - {name: maintenance, schedule: '60 * * * *'}\n")
    async with asyncio.timeout(20):
        while (await asking.http.get("/api/v1/health")).json()["parts"]["config"]["status"] == "ok":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    agents = (await asking.http.get("/api/v1/agents")).json()["agents"]
    assert agents[0]["schedule"] == "* * * * * *", "the last good one goes on"


async def test_a_wait_that_outlasts_its_bound_is_answered_202(
    asking: RunningSidecar, provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.agents.WAIT_SECONDS", 0.2)
    provider.script(Hang())
    body = {"agent": "session_capture", "workspace": "work", "wait": True}
    response = await asking.http.post("/api/v1/trigger", json=body)
    assert (response.status_code, response.json()["state"]) == (202, "running")
    await asking.http.post(f"/api/v1/runs/{response.json()['run_id']}/cancel")


async def test_a_private_workspace_s_agent_reaches_no_cloud_model(tmp_path: Path, provider: FakeProvider) -> None:
    write_config(
        tmp_path / "config",
        models=[{"id": "openai/away", "api_base": f"{provider.url}/v1", "location": "cloud"}],
        rules=[{"name": "all", "conditions": {}, "model": "openai/away"}],
    )
    entry = {"name": "session_capture", "settings": {"idle_minutes": 1}}
    (tmp_path / "config" / "agents.yaml").write_text(yaml.safe_dump({"agents": [entry]}), "utf-8")
    offset = [-600.0]
    clock = Clock(now=lambda: datetime.now(UTC) + timedelta(seconds=offset[0]))
    async with running_sidecar(tmp_path, clock=clock) as running:
        body: dict[str, Any] = {"id": "s1", "workspace": "work", "messages": [{"role": "user", "content": "secret"}]}
        await running.http.post("/api/v1/sessions", json=body)
        offset[0] = 0.0
        body = {"agent": "session_capture", "workspace": "work", "wait": True}
        run = (await running.http.post("/api/v1/trigger", json=body)).json()
        assert (run["state"], run["data"]["captured"]) == ("ok", 1), "without a model"
        assert provider.chats == []
        assert running.rows() == []
