"""Indexing a folder: beside the embedder alone, again when nothing changed, and a saved file until it is found.

    python -m bench.indexing [FOLDER] [--files 5000] [--model DIR] [--most 400]

"Embedder alone" embeds the very passages that the folder's chunks make, in the same portions and with nothing else to
do; "of the embedder" is its time by the run's. Both run in turn within one process, so that a noisy machine slows both.
The unchanged folder is made of small files, indexed once without vectors, and then walked again.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.config.loader import load
from app.memory.chunker import chunk_file
from app.memory.embedder import Embedder, Urgency
from app.memory.index import WorkspaceIndex
from app.memory.indexer import FolderIndexer
from app.memory.jobs import IndexJobs
from app.memory.manifest import Manifest
from app.memory.model_files import default_folder
from app.memory.prepared import PORTION
from app.memory.searchable import searchables
from app.memory.walk import FoundFile, walk
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database

PROJECT = Path(__file__).resolve().parents[1]
WORKSPACE = "personal"


def row(name: str, value: float, unit: str) -> None:
    print(f"{name:52}{value:10.2f} {unit}")


@asynccontextmanager
async def opened(data: Path, embedder: Embedder) -> AsyncIterator[tuple[IndexJobs, WorkspaceMemory]]:
    current = load(PROJECT / "config")
    database = await Database.open(data / "sidecar.db", now=datetime.now(UTC))
    index = WorkspaceIndex(data / "index", embedder)
    memory = WorkspaceMemory(index, embedder, lambda: current)
    manifest = Manifest(database)
    jobs = IndexJobs(memory, manifest, FolderIndexer(memory, manifest), lambda: datetime.now(UTC))
    try:
        yield jobs, memory
    finally:
        await jobs.aclose()
        await index.aclose()
        await database.close()


def passages_of(folder: Path) -> list[str]:
    """What indexing the folder embeds."""
    texts = []
    for found in walk(folder):
        if isinstance(found, FoundFile):
            chunks = chunk_file(found.path, (folder / found.path).read_text("utf-8", "replace"), "h").chunks
            texts += [passage for one in searchables(chunks) for passage in one.passages]
    return texts


def copied(source: Path, target: Path, most: int) -> Path:
    """Python files of `source` until they have about `most` passages."""
    taken = 0
    for file in sorted(source.rglob("*.py")):
        if taken < most:
            to = target / file.relative_to(source)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
            taken += file.stat().st_size // 480
    return target.resolve()


async def timed_run(jobs: IndexJobs, folder: Path) -> float:
    began = time.perf_counter()
    await (await jobs.start(WORKSPACE, str(folder))).wait()
    return time.perf_counter() - began


async def throughput(source: Path, embedder: Embedder, most: int, scratch: Path) -> None:
    folder = copied(source, scratch / "source", most)
    texts = passages_of(folder)
    await embedder.embed(texts[:8], Urgency.INDEX)  # loaded
    async with opened(scratch / "warm", embedder) as (jobs, _):  # LanceDB is imported
        (scratch / "one").mkdir()
        (scratch / "one" / "a.py").write_text("x = 1\n")
        await timed_run(jobs, (scratch / "one").resolve())
    alone, run = 0.0, 0.0
    for turn in range(2):
        began = time.perf_counter()
        for at in range(0, len(texts), PORTION):
            await embedder.embed(texts[at : at + PORTION], Urgency.INDEX)
        alone += time.perf_counter() - began
        async with opened(scratch / f"run{turn}", embedder) as (jobs, _):
            run += await timed_run(jobs, folder)
    row(f"the embedder alone, {len(texts)} passages", 2 * len(texts) / alone, "a second")
    row("indexing the folder they are of", 2 * len(texts) / run, "a second")
    row("of the embedder", 100 * alone / run, "%")


async def unchanged(count: int, scratch: Path) -> None:
    root = (scratch / "many").resolve()
    for number in range(count):
        path = root / f"package{number % 100}" / f"module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"def function_{number}(value):\n    return value + {number}\n")
    embedder = Embedder(scratch / "no-model")
    async with opened(scratch / "data", embedder) as (jobs, _):
        await asyncio.sleep(2.1)  # files written just now are read again
        row(f"{count:,} small files, indexed by words", await timed_run(jobs, root), "s")
        row("the same folder again", await timed_run(jobs, root), "s")
        row("and again", await timed_run(jobs, root), "s")
    async with opened(scratch / "data", embedder) as (jobs, memory):
        await memory.index.open(WORKSPACE)
        row("after a restart", await timed_run(jobs, root), "s")
    await embedder.aclose()


async def saved(embedder: Embedder, scratch: Path) -> None:
    root = (scratch / "watched").resolve()
    root.mkdir()
    (root / "a.py").write_text("x = 1\n")
    taken = []
    async with opened(scratch / "watch", embedder) as (jobs, memory):
        await (await jobs.start(WORKSPACE, str(root), watch=True)).wait()
        await asyncio.sleep(2)
        for number in range(8):
            began = time.perf_counter()
            (root / "a.py").write_text(f"def wanted_{number}(): ...\n")
            while True:
                hits = await memory.search(WORKSPACE, f"wanted_{number}", 1)
                if hits and f"wanted_{number}" in hits[0].chunk.text:
                    break
                await asyncio.sleep(0.01)
            taken.append(time.perf_counter() - began)
            await asyncio.sleep(0.5)
    row("a saved file is found after, median of 8", sorted(taken)[4], "s")
    row("  at most", max(taken), "s")


async def main(arguments: argparse.Namespace) -> None:
    embedder = Embedder(arguments.model or default_folder())
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        await unchanged(arguments.files, scratch)
        if embedder.available:
            await saved(embedder, scratch)
            await throughput(arguments.folder, embedder, arguments.most, scratch)
        else:
            print(embedder.problem)
    await embedder.aclose()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    row("memory, at most", size / (1 << 20 if sys.platform == "darwin" else 1 << 10), "MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PROJECT / "app", help="source to index")
    parser.add_argument("--files", type=int, default=5_000, help="of the unchanged folder")
    parser.add_argument("--most", type=int, default=400, help="passages of the throughput")
    parser.add_argument("--model", type=Path, help="folder of the embedding model's files")
    asyncio.run(main(parser.parse_args()))
