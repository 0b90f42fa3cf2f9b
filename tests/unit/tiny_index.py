"""An index on a real LanceDB with a tiny real model, and chunks for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from app.memory.chunks import Chunk, chunk_id
from app.memory.embedder import Embedder
from app.memory.index import WorkspaceIndex
from tests.fakes import tiny_minilm


@asynccontextmanager
async def tiny_embedder(model: Path) -> AsyncIterator[Embedder]:
    """Of the tiny model, which is written there first."""
    embedder = Embedder(model, threads=1, package=tiny_minilm.write(model))
    try:
        yield embedder
    finally:
        await embedder.aclose()


@asynccontextmanager
async def tiny_index(folder: Path, embedder: Embedder) -> AsyncIterator[WorkspaceIndex]:
    index = WorkspaceIndex(folder, embedder, dimensions=tiny_minilm.HIDDEN)
    try:
        yield index
    finally:
        await index.aclose()


def chunk(path: str, text: str, *, line: int = 1, whole: str = "h1", **extra: str) -> Chunk:
    made = Chunk(chunk_id(path, text, line), path, line, line + text.count("\n"), text, None, "python", whole)
    return replace(made, **extra)  # type: ignore[arg-type]


async def paths(index: WorkspaceIndex, workspace: str, query: str, **options: bool) -> list[str]:
    return [hit.chunk.path for hit in await index.search(workspace, query, **options)]
