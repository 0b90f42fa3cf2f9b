"""A research run whose items a real llama.cpp reads: random weights, held to the schema by its grammar."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.tiny_gguf import write_tiny_gguf
from tests.fakes.sidecar import running_sidecar
from tests.fakes.world import World, rss

pytestmark = pytest.mark.engine


async def test_research_with_the_embedded_engine(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="needs the extra `embedded`: make embedded")
    (tmp_path / "config").mkdir()
    write_tiny_gguf(tmp_path / "config" / "tiny.gguf", trained_window=8192)
    async with World() as world:
        world.feed("/blog.xml", rss([("RouteLLM picks models", "RouteLLM is a router that picks a language model.")]))
        settings = {"topics": ["a router that picks a language model"], "sources": [{"feed": f"{world.url}/blog.xml"}]}
        async with running_sidecar(
            tmp_path,
            models=[{"id": "embedded/tiny", "gguf": "tiny.gguf", "context_window": 8192, "tokenizer": "llama2"}],
            rules=[{"name": "all", "conditions": {}, "model": "embedded/tiny"}],
            agents=[{"name": "research", "workspace": "work", "settings": settings}],
        ) as sidecar:
            response = await sidecar.http.post("/api/v1/trigger", json={"agent": "research", "wait": True}, timeout=90)
            run = response.json()
            assert (run["state"], run["data"]["relevant"], run["data"]["told"]) == ("ok", 1, 1), run
            rows = [row for row in sidecar.rows() if row["agent"] == "research"]
            assert rows
            assert {(row["model"], row["location"]) for row in rows} == {("embedded/tiny", "in_process")}
            assert any(row["status"] == "ok" and row["output_tokens"] for row in rows), rows
