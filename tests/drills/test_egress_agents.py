"""An open workspace that also holds private rows, in a network of its own: an agent that has read one of them reaches
nobody outside any more; research and pipeline go outside all the same, and take nothing private along."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

import pytest

from app.agents.base import Agent, AgentContext, AgentResult
from app.errors import EgressBlocked
from tests.drills.outside import Outside, run_scenario, why_not
from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar, write_config
from tests.fakes.world import World, rss

PUBLIC = "93.184.215.14"
"""Of the internet; in the namespace a second address of the loopback device."""
SECRET = "the Bluefin acquisition"
NEWS = ("RouteLLM chooses a language model by cost", "RouteLLM is a router that picks an LLM for each request.")
CASCADES = ("Cascades of language models", "A cascade routes each request to a small language model first.")
PROFILES: list[dict[str, Any]] = [
    {"id": "open", "name": "Open"},
    {"id": "work", "name": "Work", "block_cloud_apis": True},
]


@pytest.fixture(autouse=True)
def _namespace() -> None:
    if reason := why_not():
        pytest.skip(f"no network namespace: {reason}")


class Curious(Agent):
    """Asks outside, reads, and asks again with what it read."""

    name = "curious"
    description = "Puts what it reads into an address."
    settings_schema: ClassVar = {"type": "object"}

    async def run(self, context: AgentContext) -> AgentResult:
        base = context.settings["base"]
        answers = [await self._ask(context, f"{base}/before")]
        rows = await context.data.query("SELECT title FROM sessions")
        answers += [await self._ask(context, f"{base}/q?{row['title']}") for row in rows]
        told = await context.notification_service.notify("found", str(rows))
        return AgentResult("done", {"answers": answers, "told": told})

    async def _ask(self, context: AgentContext, url: str) -> str:
        try:
            return str((await context.http.get(url)).status)
        except EgressBlocked as error:
            return error.detail


class PublicServer:
    """Feeds and builds on the public address. `paths`: what was asked; `bodies`: what a webhook was sent."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.bodies: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = next((int(h[15:]) for h in head.split("\r\n") if h.lower().startswith("content-length:")), 0)
        self.bodies.append((await reader.readexactly(length)).decode())
        path = head.split(" ")[1]
        self.paths.append(path)
        body = rss([NEWS]) if path == "/feed.xml" else b'{"state": "failing", "log": "ERROR in bluefin.py"}'
        given = body if isinstance(body, bytes) else body.encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(given) + given)
        await writer.drain()
        writer.close()


async def everything(outside: Outside) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec("ip", "addr", "add", f"{PUBLIC}/32", "dev", "lo")
    assert await process.wait() == 0
    server = PublicServer()
    listener = await asyncio.start_server(server.serve, PUBLIC, 0)
    server.port = listener.sockets[0].getsockname()[1]
    async with FakeProvider(models={"small": 8192}) as local, World() as world:
        local.always(Reply(("no JSON",)))
        world.feed("/here.xml", rss([CASCADES], site="https://here.example.org"))
        with tempfile.TemporaryDirectory() as folder:
            offer_agents(Path(folder) / "site", {"curious": "tests.drills.test_egress_agents:Curious"})
            return await scenario(Path(folder), server, local, world)


async def scenario(folder: Path, server: PublicServer, local: FakeProvider, world: World) -> dict[str, Any]:
    base = f"http://{PUBLIC}:{server.port}"
    config = configuration(base, local, f"{world.url}/here.xml")
    closed_profiles = [{**profile, "block_cloud_apis": True} for profile in PROFILES]
    async with running_sidecar(folder, **{**config, "profiles": closed_profiles}) as sidecar:
        await tell_a_secret(sidecar)
        closed = await trigger(sidecar, "research")  # leaves documents and a state behind that are private
        before = list(server.paths)
    write_config(folder / "config", **config)
    async with running_sidecar(folder) as sidecar:
        runs = {name: await trigger(sidecar, name) for name in ("curious", "research", "pipeline")}
        runs["research again"] = await trigger(sidecar, "research")
        await sidecar.services.inbox.delivered()
    with closing(sqlite3.connect(folder / "data" / "sidecar.db")) as connection:
        private = connection.execute("SELECT agent FROM agent_runs WHERE private ORDER BY created_at").fetchall()
    return {
        "closed": closed, "before": before, "runs": runs, "paths": server.paths, "bodies": server.bodies,
        "private": [row[0] for row in private],
    }  # fmt: skip


def configuration(base: str, local: FakeProvider, here: str) -> dict[str, Any]:
    research = {"topics": ["a router for language models"], "sources": [{"feed": f"{base}/feed.xml"}, {"feed": here}],
                "pause_seconds": 0, "relevance": 0.1, "notify_above": 0.1}  # fmt: skip
    watch = [{"name": n, "kind": "json", "url": f"{base}/{n}", "status": "state", "log": "log"} for n in ("a", "b")]
    return {
        "models": [{"id": "ollama/small", "api_base": local.url, "context_window": 8192}],
        "rules": [{"name": "all", "conditions": {}, "model": "ollama/small"}],
        "profiles": PROFILES,
        "profiles_extra": {"notifications": {"webhook": {"url": f"{base}/hook"}}},
        "agents": [
            {"name": "curious", "hosts": [PUBLIC], "settings": {"base": base}},
            {"name": "research", "hosts": [PUBLIC], "settings": research},
            {"name": "pipeline", "hosts": [PUBLIC], "settings": {"watch": watch}},
        ],
    }


def offer_agents(site: Path, points: Mapping[str, str]) -> None:
    """As if a package with these entry points had been installed."""
    about = site / "curious-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: curious\nVersion: 1.0\n", "utf-8")
    lines = [f"{name} = {where}" for name, where in points.items()]
    (about / "entry_points.txt").write_text("[llm_sidecar.agents]\n" + "\n".join(lines) + "\n", "utf-8")
    sys.path.append(str(site))


async def tell_a_secret(sidecar: RunningSidecar) -> None:
    """While the workspace is private: a session, a chunk of its index, an entity."""
    http = sidecar.http
    answers = [
        await http.post("/api/v1/sessions", json={"workspace": "open", "title": SECRET}),
        await http.post(
            "/api/v1/entities",
            json={"workspace": "open", "entities": [{"name": "bluefin.py", "kind": "file", "summary": SECRET}]},
        ),
        await http.post(
            "/api/v1/chunks", json={"workspace": "open", "chunks": [{"path": "secret.md", "text": SECRET}]}
        ),
    ]
    assert all(answer.status_code < 300 for answer in answers), [answer.text for answer in answers]


async def trigger(sidecar: RunningSidecar, agent: str) -> Mapping[str, Any]:
    body = {"agent": agent, "workspace": "open", "wait": True}
    found: dict[str, Any] = (await sidecar.http.post("/api/v1/trigger", json=body)).json()
    return found


def test_who_has_read_something_private_reaches_nobody_outside() -> None:
    found = run_scenario(f"{__name__}:everything", timeout=180)["result"]
    assert (found["closed"]["state"], found["closed"]["data"]["failed"]) == ("ok", 1)
    assert "the workspace open is private" in found["closed"]["summary"]
    assert found["before"] == []
    runs = found["runs"]
    reached, refused = runs["curious"]["data"]["answers"]
    assert reached == "200"
    assert "this run has read what was written in private" in refused
    for name in ("research", "pipeline", "research again"):
        assert runs[name]["state"] == "ok", runs[name]
    assert found["private"] == ["research", "curious"]
    assert (runs["research"]["data"]["new"], runs["research again"]["data"]["new"]) == (2, 0)
    assert runs["pipeline"]["data"]["news"] == {"a": "broken", "b": "broken"}
    assert found["paths"].count("/feed.xml") == 2
    assert found["paths"].count("/hook") >= 3, "what the two others tell goes to the webhook"
    assert not [sent for sent in found["paths"] + found["bodies"] if "luefin a" in sent]
