"""A research run over 500 items of 10 feeds on loopback: time, memory, and whether a restart reads any item twice.

python -m bench.research [--feeds 10] [--items 50]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.sidecar import RunningSidecar, running_sidecar
from tests.fakes.world import World, rss

SUBJECTS = (
    "a router that chooses a language model for each request", "sourdough bread and its crust",
    "vector search over source code", "a football match that ended late", "what a request to a language model costs",
)  # fmt: skip
ANSWER = json.dumps({"summary": "It is about that.", "entities": [], "relations": []})


def documents(feeds: int, items: int) -> dict[str, str]:
    made = {}
    for feed in range(feeds):
        entries = []
        for n in range(items):
            subject = SUBJECTS[(feed + n) % len(SUBJECTS)]
            entries.append(
                (f"No. {feed}-{n}: {subject}", f"Report {feed * 7919 + n * 104729} on {subject}. " + "More. " * 80)
            )
        made[f"/{feed}.xml"] = rss(entries, site=f"https://site{feed}.example.org")
    return made


async def run(sidecar: RunningSidecar) -> tuple[dict[str, Any], float]:
    began = time.perf_counter()
    response = await sidecar.http.post("/api/v1/trigger", json={"agent": "research", "wait": True}, timeout=300)
    body = response.json()
    while body["state"] in ("due", "running"):
        await asyncio.sleep(0.2)
        body = (await sidecar.http.get(f"/api/v1/runs/{body['run_id']}")).json()
    return body, time.perf_counter() - began


async def main(feeds: int, items: int) -> None:
    process = psutil.Process()
    with tempfile.TemporaryDirectory() as name:
        async with World() as world, FakeProvider() as provider:
            provider.always(Reply((ANSWER,)))
            for path, body in documents(feeds, items).items():
                world.feed(path, body)
            topic = {"name": "LLM routing", "about": "Choosing a language model for each request by cost and privacy."}
            settings = {
                "topics": [topic], "sources": [{"feed": world.url + path} for path in world.answers], "pause_seconds": 0
            }  # fmt: skip
            config: dict[str, Any] = {
                "models": [{"id": "ollama/small", "api_base": provider.url, "context_window": 8192}],
                "rules": [{"name": "all", "conditions": {}, "model": "ollama/small"}],
                "agents": [{"name": "research", "settings": settings}],
            }
            heads = ("new", "kept", "same", "told", "model")
            columns = "".join(f"{head:>7}" for head in heads)
            print(f"{'run':<22}{'seconds':>9}{columns}{'RSS MB':>9}{'more':>7}")
            asked = 0
            for label in ("first", "after a restart"):
                async with running_sidecar(Path(name), **config) as sidecar:
                    await sidecar.services.embedder.embed(["warm"])
                    for turn in ("", ", again"):
                        before = process.memory_info().rss
                        found, seconds = await run(sidecar)
                        after = process.memory_info().rss
                        data, chats = found["data"], len(provider.chats)
                        figures = (data["new"], data["relevant"], data["duplicates"], data["told"], chats - asked)
                        asked = chats
                        row = "".join(f"{figure:>7}" for figure in figures)
                        print(
                            f"{label + turn:<22}{seconds:>9.2f}{row}{after / 1e6:>9.0f}{(after - before) / 1e6:>7.0f}",
                            flush=True,
                        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feeds", type=int, default=10)
    parser.add_argument("--items", type=int, default=50)
    given = parser.parse_args()
    asyncio.run(main(given.feeds, given.items))
