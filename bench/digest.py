"""The digest of a generated week, to be read: is it a page a person would want?

    python -m bench.digest [--requests 150] [--seed 7]

On the week of `bench.generated_week`: some sessions with their states, feeds that research reads, a build that breaks,
an agent that fails. Prints the pages for a day and for the week as `llm-sidecar trigger digest` shows them.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any

import yaml

from bench.generated_week import generated
from tests.fakes.sidecar import RunningSidecar
from tests.fakes.world import World, rss

SESSIONS: tuple[tuple[str, int, dict[str, Any]], ...] = (
    (
        "Router falls back too early",
        6,
        {
            "goal": "A rate-limited model is tried again before its fallback is asked",
            "current_task": "tests for Retry-After given as an HTTP date",
            "next_steps": ["cover 503 without Retry-After", "write the changelog entry"],
            "blockers": ["litellm drops the header on streams"],
        },
    ),
    (
        "Budget alerts come twice",
        4,
        {"goal": "One alert per threshold and period", "next_steps": ["look at the unique index of budget_alerts"]},
    ),
    ("What does CROSS JOIN force in SQLite?", 2, {}),
    ("Release notes 0.9", 3, {"current_task": "The section on agents is drafted; usage is still missing"}),
)
FEED = (
    ("RouteLLM chooses a language model by cost", "RouteLLM is a router that picks an LLM for each request by cost."),
    ("A cascade of language models", "Ask a small model first, and a large one where its answer is unsure."),
    ("Sourdough at home", "Flour, water and patience."),
)


def agents(world: World) -> dict[str, Any]:
    topic = {"name": "LLM routing", "about": "Routers that choose a language model for each request by cost."}
    watch = [
        {"name": "main", "kind": "json", "url": f"{world.url}/ci", "status": "state", "id": "id", "log": "log"},
        {"name": "site", "kind": "json", "url": f"{world.url}/site", "status": "state", "id": "id"},
    ]
    research: dict[str, Any] = {
        "topics": [topic], "sources": [{"feed": f"{world.url}/blog.xml"}, {"feed": f"{world.url}/gone.xml"}],
        "pause_seconds": 0, "relevance": 0.2, "notify_above": 0.2,
    }  # fmt: skip
    return {
        "agents": [
            {"name": "digest", "schedule": "0 18 * * 1-5"},
            {"name": "pipeline", "settings": {"watch": watch}},
            {"name": "research", "schedule": "0 7 * * *", "settings": research},
            {"name": "papers", "agent": "research", "settings": {**research, "sources": research["sources"][1:]}},
            {"name": "session_capture", "schedule": "every 15m"},
        ]
    }


async def filled(sidecar: RunningSidecar, world: World) -> None:
    world.feed("/blog.xml", rss(list(FEED)))
    world.status("/gone.xml", 404)
    log = "collecting\nFAILED tests/test_retry.py::test_http_date - AssertionError: 3 != 4\n1 failed, 211 passed"
    world.json("/ci", {"state": "failed", "id": 7, "log": log})
    world.json("/site", {"state": "success", "id": 1})
    for title, messages, state in SESSIONS:
        said = [{"role": ("user", "assistant")[n % 2], "content": f"about {title}, part {n}"} for n in range(messages)]
        body = {"workspace": "personal", "title": title, "messages": said}
        made = (await sidecar.http.post("/api/v1/sessions", json=body)).json()
        if state:
            await sidecar.http.put(f"/api/v1/sessions/{made['id']}/state", json=state)
    (sidecar.config_dir / "agents.yaml").write_text(yaml.safe_dump(agents(world)), "utf-8")
    await asyncio.to_thread(sidecar.services.config.reload)
    for name in ("pipeline", "research", "papers"):
        await sidecar.http.post("/api/v1/trigger", json={"agent": name, "workspace": "personal", "wait": True})


async def page(sidecar: RunningSidecar, hours: float) -> str:
    body = {"agent": "digest", "workspace": "personal", "wait": True, "input": {"hours": hours}}
    run: dict[str, Any] = (await sidecar.http.post("/api/v1/trigger", json=body)).json()
    return str(run["summary"] or run)


async def run(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with World() as world, generated(Path(folder), options.requests, options.seed) as sidecar:
            await filled(sidecar, world)
            for hours in (24, 168):
                print(await page(sidecar, hours), "\n" + "=" * 100 + "\n", sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="The digest of a generated week, to be read.")
    parser.add_argument("--requests", type=int, default=150)
    parser.add_argument("--seed", type=int, default=7)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
