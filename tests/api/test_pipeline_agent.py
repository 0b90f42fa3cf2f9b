"""The pipeline agent end to end: servers on loopback play GitHub and GitLab, a fake model says why, the inbox tells."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar

LOG = "\n".join(
    [f"2026-11-26T10:00:{n % 60:02}.0000000Z step {n}" for n in range(3_000)]
    + ["\x1b[31mFAILED tests/test_a.py::test_b - AssertionError: 3 != 4\x1b[0m", "token=sk-ant-REDACTED"]
)


@dataclass
class Builds:
    """What the servers say at the moment, and who asked."""

    conclusion: str = "success"
    number: int = 1
    status: int = 200
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path_qs, dict(request.headers)))
        if self.status != 200:
            return web.Response(status=self.status)
        path = request.path
        if path.endswith(("/logs", "/trace")):
            return web.Response(text=LOG)
        if "/jobs" in path:
            job = {"id": 9, "name": "unit", "conclusion": self.conclusion}
            steps = [{"name": "pytest", "conclusion": self.conclusion}]
            return web.json_response([job] if "gitlab" in path else {"jobs": [{**job, "steps": steps}]})
        if path.endswith("/runs"):
            run = {"id": self.number, "conclusion": self.conclusion, "html_url": f"{self.url}/b/{self.number}"}
            times = {"run_started_at": "2026-11-26T10:00:00Z", "updated_at": "2026-11-26T10:01:00Z"}
            return web.json_response({"workflow_runs": [{"id": 0, "conclusion": "cancelled"}, {**run, **times}]})
        if path.endswith("/pipelines"):
            return web.json_response([{"id": self.number, "status": self.conclusion, "web_url": f"{self.url}/p"}])
        if "/pipelines/" in path:
            return web.json_response({"duration": 60})
        return web.json_response({"ci": [{"state": self.conclusion, "n": self.number}]})


@pytest.fixture
async def builds() -> AsyncIterator[Builds]:
    builds = Builds()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", builds.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    builds.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield builds
    await runner.cleanup()


@asynccontextmanager
async def watching(
    folder: Path, provider: FakeProvider, *watch: Mapping[str, Any], **entry: Any
) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        folder,
        models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}],
        agents=[{"name": "pipeline", "settings": {"watch": [dict(one) for one in watch]}, **entry}],
    ) as sidecar:
        yield sidecar


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        fake.always(Reply(("test_b in tests/test_a.py ", "expects 4.")))
        yield fake


async def look(sidecar: RunningSidecar, **body: Any) -> dict[str, Any]:
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "pipeline", "wait": True, **body})
    run: dict[str, Any] = response.json()
    assert run["state"] == "ok", run
    return run


async def inbox(sidecar: RunningSidecar) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await sidecar.http.get("/api/v1/notifications")).json()["notifications"]
    return list(reversed(found))


def source(kind: str, url: str) -> dict[str, str]:
    base = {"name": "main", "kind": kind}
    match kind:
        case "github_actions":
            return {**base, "repo": "ann/app", "branch": "main", "api_base": f"{url}/github"}
        case "gitlab_ci":
            return {**base, "project": "ann/app", "api_base": f"{url}/gitlab"}
        case _:
            return {**base, "url": f"{url}/json", "status": "ci[0].state", "id": "ci[0].n"}


@pytest.mark.parametrize("kind", ["github_actions", "gitlab_ci", "json"])
async def test_broken_and_repaired_are_told_once(
    tmp_path: Path, provider: FakeProvider, builds: Builds, kind: str
) -> None:
    async with watching(tmp_path, provider, source(kind, builds.url)) as sidecar:
        assert (await look(sidecar))["data"]["news"] == {}
        builds.conclusion, builds.number = "failed", 2
        assert (await look(sidecar))["data"]["news"] == {"main": "broken"}
        assert (await look(sidecar))["data"]["news"] == {}
        builds.number = 3
        assert (await look(sidecar))["data"]["news"] == {}
        builds.conclusion, builds.number = "success", 4
        assert (await look(sidecar))["data"]["news"] == {"main": "repaired"}
        told = await inbox(sidecar)
    assert [n["severity"] for n in told] == ["error", "success"]
    asked = [r for r in provider.requests if r.method == "POST"]
    if kind == "json":
        assert asked == []  # it has no log to read
        return
    assert "test_b in tests/test_a.py expects 4." in told[0]["body"]
    assert "unit" in told[0]["body"]
    prompt = json.dumps(asked[0].body["messages"])
    assert len(asked) == 1
    assert "AssertionError: 3 != 4" in prompt
    assert "sk-ant-" not in prompt
    assert len(prompt) < 12_000


async def test_a_folder_of_reports_and_a_log_file_are_told_like_servers(tmp_path: Path, provider: FakeProvider) -> None:
    reports, log = tmp_path / "reports", tmp_path / "nightly.log"
    reports.mkdir()
    case = '<testsuite tests="1"><testcase classname="tests.a" name="test_b" time="1">{}</testcase></testsuite>'

    def write(failure: str, line: str) -> None:
        (reports / "junit.xml").write_text(case.format(failure), "utf-8")
        log.write_text(f"step 1\n{line}\n", "utf-8")

    watch = [
        {"name": "unit", "kind": "junit", "folder": str(reports)},
        {"name": "nightly", "kind": "log", "file": str(log), "failed": "BUILD FAILED", "passed": "BUILD SUCCESS"},
    ]
    write("", "BUILD SUCCESS")
    async with watching(tmp_path, provider, *watch) as sidecar:
        assert (await look(sidecar))["data"]["news"] == {}
        write('<failure message="3 != 4">trace</failure>', "BUILD FAILED")
        assert (await look(sidecar))["data"]["news"] == {"unit": "broken", "nightly": "broken"}
        assert (await look(sidecar))["data"]["news"] == {}
        write("", "step 2\nBUILD SUCCESS")
        assert (await look(sidecar))["data"]["news"] == {"unit": "repaired", "nightly": "repaired"}
        told = await inbox(sidecar)
    assert [n["title"] for n in told if n["severity"] == "success"] == ["unit passes again", "nightly passes again"]
    assert "test_b" in next(n for n in told if n["title"].startswith("unit"))["body"]


async def test_a_build_that_turns_and_turns_is_flaky_once(
    tmp_path: Path, provider: FakeProvider, builds: Builds
) -> None:
    async with watching(tmp_path, provider, source("json", builds.url)) as sidecar:
        news = []
        for number in range(1, 10):
            builds.number, builds.conclusion = number, "success" if number % 2 else "failed"
            news.append((await look(sidecar))["data"]["news"].get("main"))
    assert news.count("flaky") == 1, news
    assert news[-1] is None, "what turns is no news any more"


async def test_a_token_is_sent_to_its_server_alone(
    tmp_path: Path, provider: FakeProvider, builds: Builds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN_TOKEN", "ghp_0123456789abcdef0123456789abcdef0123")
    given = {**source("github_actions", builds.url), "token_env": "OWN_TOKEN"}
    builds.conclusion = "failure"
    async with watching(tmp_path, provider, given) as sidecar:
        run = await look(sidecar)
        rows = json.dumps([sidecar.rows("SELECT * FROM agent_documents"), sidecar.rows("SELECT * FROM agent_runs")])
    assert {headers["Authorization"] for _, headers in builds.asked} == {
        "Bearer ghp_0123456789abcdef0123456789abcdef0123"
    }
    assert "ghp_0123" not in rows + json.dumps(run)


async def test_what_cannot_be_read_is_told_when_it_lasts(
    tmp_path: Path, provider: FakeProvider, builds: Builds
) -> None:
    builds.status = 404
    async with watching(tmp_path, provider, source("github_actions", builds.url)) as sidecar:
        for _ in range(5):
            run = await look(sidecar)
        told = await inbox(sidecar)
    assert "cannot be read, answers 404" in run["summary"]
    assert [n["title"] for n in told] == ["main cannot be read"]


async def test_a_private_workspace_asks_nobody_outside(tmp_path: Path, provider: FakeProvider) -> None:
    given = {"name": "main", "kind": "github_actions", "repo": "ann/app"}
    async with watching(tmp_path, provider, given, workspace="work", hosts=["api.github.com"]) as sidecar:
        run = await look(sidecar)
    assert "the workspace work is private" in run["summary"]


async def test_the_build_is_tied_to_what_its_log_names(tmp_path: Path, provider: FakeProvider, builds: Builds) -> None:
    async with watching(tmp_path, provider, source("github_actions", builds.url)) as sidecar:
        entity = {"entities": [{"name": "tests/test_a.py", "kind": "path", "summary": "a test"}]}
        stored = await sidecar.http.post("/api/v1/entities", json=entity)
        assert stored.status_code in (200, 201), stored.text
        builds.conclusion = "failure"
        await look(sidecar)
        found = (await sidecar.http.get("/api/v1/entities", params={"q": "main", "kind": "build", "hops": 1})).json()
    assert "tests/test_a.py" in json.dumps(found)


async def test_a_dry_run_tells_and_stores_nothing(tmp_path: Path, provider: FakeProvider, builds: Builds) -> None:
    builds.conclusion = "failure"
    async with watching(tmp_path, provider, source("github_actions", builds.url)) as sidecar:
        run = await look(sidecar, dry_run=True)
        assert any(note.startswith("would notify (error): main fails") for note in run["withheld"])
        assert await inbox(sidecar) == []
        assert (await look(sidecar))["data"]["news"] == {"main": "broken"}, "what it saw was not kept"
