"""From hits to material: order, lines, limits; with a real index where one is needed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from app.config.loader import Config, load
from app.config.schema import RetrievalSettings
from app.context.blocks import CodeChunk, Material
from app.context.builder import SIMILARITY_LINE
from app.context.gather import gather
from app.errors import UnknownWorkspace
from app.memory.chunks import Chunk
from app.memory.embedder import Embedder
from app.memory.hits import Hit
from app.memory.index import WorkspaceIndex
from app.memory.retrieval import FIRST_SECONDS, Retrieval, beside, gathered, placed
from app.memory.workspace import WorkspaceMemory
from tests.fakes.sidecar import write_config


def hit(name: str, similarity: float | None) -> Hit:
    return Hit(Chunk(name, f"{name}.py", 1, 1, f"text of {name}", None, None, "h"), 0.0, similarity, None, None)


similarities = st.lists(st.none() | st.floats(-1, 1), max_size=60)


@given(similarities, st.floats(-1, 1))
def test_hits_keep_the_order_of_the_search(given_similarities: list[float | None], line: float) -> None:
    chunks = placed([hit(f"h{i:03}", s) for i, s in enumerate(given_similarities)], line)
    strengths = [c.similarity for c in chunks if c.similarity is not None]
    assert len(strengths) == len(given_similarities)
    assert strengths == sorted(strengths, reverse=True)
    assert len(set(strengths)) == len(strengths)
    over = sum(1 for s in given_similarities if s is not None and s >= line)
    assert sum(1 for s in strengths if s >= SIMILARITY_LINE) == over
    # The gathering sorts by similarity, so its blocks follow the search too.
    blocks = gather(Material(({"role": "user", "content": "q"},), chunks=chunks), 0.8).blocks
    order = [block.id for block in blocks if block.kind == "chunk"]
    assert order[:3] == [f"chunk:h{i:03}.py:1-1" for i in range(min(3, len(chunks)))]


@given(similarities, st.lists(st.none() | st.floats(-1, 1), min_size=1, max_size=20))
def test_what_the_caller_calls_similar_goes_before_what_we_found(
    ours: list[float | None], theirs: list[float | None]
) -> None:
    own = placed([hit(f"h{i:03}", s) for i, s in enumerate(ours)], 0.35)
    supplied = [CodeChunk(f"c{i}", f"c{i}.py", 1, 1, s) for i, s in enumerate(theirs)]
    merged = beside(supplied, own)
    assert [c.text for c in merged] == [c.text for c in (*supplied, *own)]
    strongest = max((c.similarity or -1 for c in own), default=-1)
    for before, after in zip(supplied, merged, strict=False):
        if before.similarity is not None:
            assert after.similarity == before.similarity, "the caller's numbers are read as they are"
        elif own:
            assert after.similarity is not None
            assert after.similarity > strongest


@pytest_asyncio.fixture
async def memory(tmp_path: Path) -> AsyncIterator[WorkspaceMemory]:
    write_config(
        tmp_path / "config",
        models=[{"id": "builtin/extractive"}],
        rules=[{"name": "all", "conditions": {}, "model": "builtin/extractive"}],
        profiles=[{"id": "open"}, {"id": "work", "block_cloud_apis": True}],
    )
    config: Config = load(tmp_path / "config")
    embedder = Embedder(tmp_path / "no-model")
    index = WorkspaceIndex(tmp_path / "index", embedder)
    yield WorkspaceMemory(index, embedder, lambda: config)
    await index.aclose()
    await embedder.aclose()


def chunk(name: str) -> Chunk:
    return Chunk(name, f"{name}.py", 1, 1, f"def {name}(): ...", name, "python", "h")


async def test_what_is_found_and_whether_it_is_private(memory: WorkspaceMemory) -> None:
    retrieval = Retrieval(memory, RetrievalSettings)
    assert (await retrieval.retrieve("open", "settle")).chunks == ()
    for workspace in ("open", "work"):
        await memory.put(workspace, [chunk("settle"), chunk("decide")])
    found = await retrieval.retrieve("open", "where is settle?")
    assert (found.chunks[0].path, found.chunks[0].symbol, found.warnings, found.private) == (
        "settle.py", "settle", (), False,
    )  # fmt: skip
    assert (await retrieval.retrieve("work", "settle")).private
    assert (await retrieval.retrieve("work", "  ")).chunks == ()
    with pytest.raises(UnknownWorkspace):
        await retrieval.retrieve("nobody", "settle")


async def test_a_broken_index_costs_a_warning(memory: WorkspaceMemory) -> None:
    memory.index.folder.write_text("not a folder")
    assert memory.health()["status"] == "degraded"
    memory.index.folder.unlink()
    await memory.put("open", [chunk("settle")])
    await memory.index.aclose()
    found = await Retrieval(memory, RetrievalSettings).retrieve("open", "settle")
    assert found.chunks == ()
    assert len(found.warnings) == 1
    assert "shutting down" in found.warnings[0]


async def test_what_is_late_is_left_out_and_said() -> None:
    async def quick() -> list[Hit]:
        return [hit("quick", 0.5)]

    ended = asyncio.Event()

    async def late() -> list[Hit]:
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()
        return []

    async def broken() -> list[Hit]:
        raise ZeroDivisionError

    found, warnings = await gathered({"code": quick(), "entities": late(), "history": broken()}, 0.05)
    assert [h.chunk.id for h in found["code"]] == ["quick"]
    assert found.keys() == {"code"}
    assert ["entities was late (over 50 ms)" in w or "history failed" in w for w in warnings] == [True, True]
    await asyncio.wait_for(ended.wait(), 1)


async def test_the_first_search_may_load_and_later_ones_may_not(memory: WorkspaceMemory) -> None:
    await memory.put("open", [chunk("settle")])
    retrieval = Retrieval(memory, lambda: RetrievalSettings(max_wait_ms=1))
    assert FIRST_SECONDS > 1
    assert (await retrieval.retrieve("open", "settle")).chunks
    again = await retrieval.retrieve("open", "settle " * 5_000)
    assert again.chunks == ()
    assert "late (over 1 ms)" in again.warnings[0]
