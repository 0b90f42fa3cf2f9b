"""A research run in a network of its own: of a private workspace nothing gets outside; the control does."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.drills.outside import ADDRESS, Outside, run_scenario, why_not
from tests.fakes.providers import FakeProvider
from tests.fakes.sidecar import running_sidecar
from tests.fakes.world import World, rss


@pytest.fixture(autouse=True)
def _namespace() -> None:
    if reason := why_not():
        pytest.skip(f"no network namespace: {reason}")


async def researched(outside: Outside) -> dict[str, Any]:
    """Sources by address, by name, by the known APIs, by a redirect, and one on this machine; privately, then not."""
    async with World() as world, FakeProvider(models={"small": 8192}) as local:
        world.feed("/here.xml", rss([("A router for language models", "It chooses a model for each request.")]))
        world.status("/moved.xml", 302, {"Location": f"{outside.url}/feed.xml"})
        sources = [
            {"feed": f"{outside.url}/feed.xml"},
            {"feed": f"http://feeds.example.com:{outside.port}/feed.xml"},
            {"feed": f"{world.url}/moved.xml"},
            {"arxiv": "all:routing"},
            {"github": "acme/router"},
            {"feed": f"{world.url}/here.xml"},
        ]
        settings = {"topics": ["a router for language models"], "sources": sources, "pause_seconds": 0}
        hosts = [ADDRESS, "*.example.com", "export.arxiv.org", "api.github.com"]
        with tempfile.TemporaryDirectory() as folder:
            async with running_sidecar(
                Path(folder),
                models=[
                    {"id": "openai/leak", "api_base": f"{outside.url}/v1", "context_window": 8192},
                    {"id": "ollama/small", "api_base": local.url, "context_window": 8192},
                ],
                rules=[{"name": "all", "conditions": {}, "model": "openai/leak", "fallback": ["ollama/small"]}],
                agents=[{"name": "research", "hosts": hosts, "settings": settings}],
            ) as sidecar:
                runs, seen = [], []
                for workspace in ("work", "open"):
                    body = {"agent": "research", "workspace": workspace, "wait": True}
                    runs.append((await sidecar.http.post("/api/v1/trigger", json=body)).json())
                    seen.append(asdict(outside))
                return {"runs": runs, "seen": seen}


def test_a_private_workspaces_research_stays_on_the_machine() -> None:
    found = run_scenario("tests.drills.test_egress_research:researched", timeout=120)["result"]
    private, public = found["runs"]
    assert private["state"] == "ok", private
    assert (private["data"]["failed"], private["data"]["new"]) == (5, 1)
    before, after = found["seen"]
    assert (before["connections"], before["lookups"], before["requests"]) == (0, [], [])
    assert public["state"] == "ok"
    assert after["lookups"], "the control asks for names"
