"""What `retrieve: true` adds to the first token: a question against a large index, as `ChatService` asks it.

    python -m bench.retrieval [--chunks 20000] [--rounds 60] [--model DIR]

The chunks are real source (the installed packages') with vectors drawn at random: embedding 20,000 would take minutes
and cost a search nothing more or less. Questions are embedded for real. The second row is the floor: the same
questions embedded and nothing else, in the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import numpy as np

from app.config.loader import load
from app.config.schema import RetrievalSettings
from app.memory.chunker import chunk_file
from app.memory.chunks import Chunk
from app.memory.embedder import DIMENSIONS, Embedder, Urgency
from app.memory.index import WorkspaceIndex
from app.memory.model_files import default_folder
from app.memory.retrieval import Retrieval
from app.memory.workspace import WorkspaceMemory

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

PROJECT = Path(__file__).resolve().parents[1]
WORKSPACE = "personal"
QUESTIONS = (
    "where is a retry decided?",
    "how are unknown keys of a configuration file refused?",
    "which function opens the connection to the server",
    "what happens when the client goes away in mid-stream",
    "parse a date with a time zone",
)


class DrawnVectors(Embedder):
    """Real for questions, drawn at random for what is stored."""

    async def embed(self, texts: Sequence[str], urgency: Urgency = Urgency.QUERY) -> Vectors:
        drawn = np.random.default_rng(len(texts)).standard_normal((len(texts), DIMENSIONS)).astype(np.float32)
        drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
        return drawn


def source_chunks(count: int) -> Iterator[list[Chunk]]:
    """Files' chunks until there are `count`."""
    made = 0
    packages = Path(np.__file__).parents[1]
    for file in sorted(packages.rglob("*.py")):
        if made >= count:
            return
        if file.stat().st_size < 200_000:
            chunks = list(chunk_file(str(file.relative_to(packages)), file.read_text("utf-8", "replace"), "h").chunks)
            made += len(chunks)
            yield chunks


async def milliseconds(retrieval: Retrieval, rounds: int) -> list[float]:
    taken = []
    for number in range(rounds):
        began = time.perf_counter()
        found = await retrieval.retrieve(WORKSPACE, f"{QUESTIONS[number % len(QUESTIONS)]} {number}")
        taken.append((time.perf_counter() - began) * 1e3)
        assert found.chunks, found.warnings
        await asyncio.sleep(0.02)
    return taken


def row(name: str, values: Sequence[float]) -> None:
    tenths = quantiles(values, n=10)
    print(f"{name:44}{median(values):8.1f}{tenths[0]:8.1f}{tenths[-1]:8.1f}")


async def main(arguments: argparse.Namespace) -> None:
    embedder = DrawnVectors(arguments.model or default_folder())
    if not embedder.available:
        sys.exit(embedder.problem)
    current = load(PROJECT / "config")
    with tempfile.TemporaryDirectory() as name:
        index = WorkspaceIndex(Path(name) / "index", embedder)
        batch: list[Chunk] = []
        for chunks in source_chunks(arguments.chunks):
            batch += chunks
            if len(batch) >= 2_000:
                await index.upsert(WORKSPACE, batch)
                batch = []
        if batch:
            await index.upsert(WORKSPACE, batch)
        await index.maintain()
        stats = await index.stats(WORKSPACE)
        print(f"{stats.chunks:,} chunks, {stats.vectors:,} vectors, indexed: {stats.vector_index}")
        print(f"{'ms':44}{'median':>8}{'p10':>8}{'p90':>8}")
        memory = WorkspaceMemory(index, embedder, lambda: current)
        retrieval = Retrieval(memory, lambda: RetrievalSettings(max_wait_ms=60_000))
        await milliseconds(retrieval, 5)
        row("retrieve: true adds", await milliseconds(retrieval, arguments.rounds))
        embedding = []
        for number in range(arguments.rounds):
            began = time.perf_counter()
            await embedder.question(f"{QUESTIONS[number % len(QUESTIONS)]} again {number}")
            embedding.append((time.perf_counter() - began) * 1e3)
        row("the question's vector alone", embedding)
        await index.aclose()
    await embedder.aclose()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--model", type=Path, help="folder of the embedding model's files")
    asyncio.run(main(parser.parse_args()))
