"""Everything that indexing needs, real: SQLite, LanceDB, the tiny model; as tests and their children open it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from app.config.loader import Config, load
from app.memory.chunker import ChunkedFile
from app.memory.embedder import Embedder
from app.memory.index import WorkspaceIndex
from app.memory.indexer import FolderIndexer
from app.memory.jobs import IndexJobs
from app.memory.manifest import Manifest
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database
from tests.fakes import tiny_minilm

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
PROFILES = "profiles: [{id: w}, {id: other}, {id: private, block_cloud_apis: true}]\ndefault_workspace: w\n"


@dataclass
class Observed:
    """A `FileObserver` that remembers."""

    indexed_paths: list[str] = field(default_factory=list)
    removed_paths: list[str] = field(default_factory=list)
    with_tree: set[str] = field(default_factory=set)

    async def indexed(self, workspace: str, path: str, file: ChunkedFile) -> None:
        self.indexed_paths.append(path)
        if file.tree is not None:
            self.with_tree.add(path)

    async def removed(self, workspace: str, paths: Sequence[str]) -> None:
        self.removed_paths.extend(paths)


@dataclass
class Parts:
    jobs: IndexJobs
    indexer: FolderIndexer
    memory: WorkspaceMemory
    manifest: Manifest
    observed: Observed

    async def index(self, folder: Path, workspace: str = "w", *, watch: bool | None = None) -> dict[str, int]:
        """Of the run, at its end: files indexed, unchanged, removed; chunks; what was skipped by reason."""
        progress = await (await self.jobs.start(workspace, str(folder), watch=watch)).wait()
        assert progress.state == "done"
        counted = {"indexed": progress.files_indexed, "unchanged": progress.files_unchanged}
        return counted | {"removed": progress.files_removed, **progress.skipped}

    async def found(self, query: str, workspace: str = "w") -> list[str]:
        return [hit.chunk.path for hit in await self.memory.search(workspace, query, 20)]

    async def stored(self, workspace: str = "w") -> set[str]:
        return set(await self.memory.index.hashes(workspace))


def config(folder: Path) -> Config:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.yaml").write_text("models: [{id: builtin/extractive}]\n")
    (folder / "routing.yaml").write_text("rules: [{name: a, conditions: {}, model: builtin/extractive}]\n")
    (folder / "profiles.yaml").write_text(PROFILES)
    return load(folder)


@asynccontextmanager
async def open_parts(data: Path, model: Path, *, model_folder: Path | None = None) -> AsyncIterator[Parts]:
    """The tiny model is written to `model`, and looked for in `model_folder`."""
    package = tiny_minilm.write(model)
    current = config(data / "config")
    database = await Database.open(data / "sidecar.db", now=NOW)
    embedder = Embedder(model_folder or model, threads=1, package=package)
    index = WorkspaceIndex(data / "index", embedder, dimensions=tiny_minilm.HIDDEN)
    memory = WorkspaceMemory(index, embedder, lambda: current)
    manifest, observed = Manifest(database), Observed()
    indexer = FolderIndexer(memory, manifest, observer=observed)
    jobs = IndexJobs(memory, manifest, indexer, lambda: NOW)
    try:
        yield Parts(jobs, indexer, memory, manifest, observed)
    finally:
        await jobs.aclose()
        await index.aclose()
        await embedder.aclose()
        await database.close()
