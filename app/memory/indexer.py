"""A folder -> the index: what is new is read, cut, embedded and stored; what is gone is removed.

    walk ──> changed? ──> read, cut (a thread) ──> batch ──> embed ──> one commit ──> row in the manifest
             size, time,                            at most two batches under way: while one is being
             the index's hash                       stored the other keeps the embedder busy

The embedder is the bottleneck (50 to 120 passages a second), so everything else only has to keep it fed. A run may be
killed at any moment: a file's chunks are one commit, its row in the manifest comes after, and the next run goes by what
the index holds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Protocol, TypeVar

from app.memory.chunker import ChunkedFile, FileTooLarge, chunk_file
from app.memory.embedder import Urgency
from app.memory.manifest import FileState, Folder, Manifest
from app.memory.progress import Tally
from app.memory.reading import NotIndexed, read_file, text_of
from app.memory.walk import MAX_BYTES, FoundFile, Skipped, look, walk
from app.memory.workspace import WorkspaceMemory

T = TypeVar("T")

BATCH_CHUNKS: Final = 128
"""Chunks of one commit, more where a file has more: some seconds of embedding, and 100 ms of storing."""
FIRST_CHUNKS: Final = 16
"""Chunks of a run's first commit; each one after is twice as large, so that how far it is shows early."""
BATCHES: Final = 2
_WALKED: Final = 512
_READ: Final = 16


class FileObserver(Protocol):
    """Learns of each file before it is stored; called again for the same file where a run was interrupted."""

    async def indexed(self, workspace: str, path: str, file: ChunkedFile) -> None:
        """`path` is the one that chunks carry; `file.tree` is there where the language has a grammar."""
        ...

    async def removed(self, workspace: str, paths: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class _ReadFile:
    """`chunked` None: nothing to store, because the index has it already or it is not to be indexed."""

    state: FileState
    chunked: ChunkedFile | None


class FolderIndexer:
    """Brings folders into the index. `observer` may be set later; `clock` is monotonic seconds; `own` is the folder of
    the sidecar's data, which is left out where it stands inside of one: its token is for no model, and what indexing
    writes there is no change."""

    def __init__(
        self,
        memory: WorkspaceMemory,
        manifest: Manifest,
        *,
        observer: FileObserver | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_bytes: int = MAX_BYTES,
        own: Path | None = None,
    ) -> None:
        self._memory = memory
        self._manifest = manifest
        self.observer = observer
        self.clock = clock
        self._max_bytes = max_bytes
        self.own = Path(os.path.realpath(own)) if own is not None else None

    async def run(self, folder: Folder, tally: Tally, told: Callable[[], None]) -> None:
        """Index what changed since the last run. `told` is called after every change of `tally`.

        Raises `OSError` where the folder cannot be listed, `IndexUnavailable`, `StoreUnavailable`,
        `UnknownWorkspace`.
        """
        tally.state = "scanning"
        told()
        known = await self._manifest.files(folder)
        hashes = await self._memory.index.hashes(folder.workspace) if folder.current else {}
        taken = await self._manifest.taken(folder)
        changed, gone, forgotten = await self._scan(folder, known, hashes, taken, tally, told)
        tally.to_index, tally.state, tally.indexing_since = len(changed), "indexing", self.clock()
        tally.bytes_to_index = sum(file.size for file in changed)
        told()
        await self.remove(folder, gone, tally)
        await self._manifest.forget(folder, forgotten)
        await self.index_files(folder, changed, hashes, tally, told)
        tally.state = "finishing"
        told()
        await self._memory.index.maintain()

    async def update(self, folder: Folder, paths: Iterable[str]) -> bool:
        """Bring these files up to date, at once. False, and nothing is done, where that takes a whole run: a folder or
        a `.gitignore` among them. Raises what `run` does."""
        taken = await self._manifest.taken(folder)
        own = [path for path in paths if not path.startswith(taken)]
        found = await asyncio.to_thread(lambda: [(path, self._look(folder, path)) for path in own])
        if any(p.rpartition("/")[2] == ".gitignore" or (isinstance(f, Skipped) and f.folder) for p, f in found):
            return False
        if await self._manifest.any_below(folder, [path for path, what in found if what is None]):
            return False  # it was a folder
        known = await self._manifest.files_at(folder, [path for path, _ in found])
        left = [path for path, what in found if not isinstance(what, FoundFile) and path in known]
        tally = Tally(self.clock())
        await self.remove(folder, [path for path in left if known[path].skipped is None], tally)
        await self._manifest.forget(folder, [path for path in left if known[path].skipped is not None])
        files = [what for _, what in found if isinstance(what, FoundFile)]
        hashes = {folder.prefix + s.path: s.content_hash for s in known.values() if s.skipped is None}
        await self.index_files(folder, files, hashes if folder.current else {}, tally, _nobody, Urgency.MESSAGE)
        return True

    def _look(self, folder: Folder, path: str) -> FoundFile | Skipped | None:
        return look(folder.root, path, max_bytes=self._max_bytes, own=self.own)

    async def remove(self, folder: Folder, paths: Sequence[str], tally: Tally) -> None:
        """Files that were in the index."""
        if not paths:
            return
        stored = [folder.prefix + path for path in paths]
        if self.observer is not None:
            await self.observer.removed(folder.workspace, stored)
        await self._memory.index.delete_paths(folder.workspace, stored)
        await self._manifest.forget(folder, paths)
        tally.removed += len(paths)

    async def _scan(
        self,
        folder: Folder,
        known: dict[str, FileState],
        hashes: dict[str, str],
        taken: tuple[str, ...],
        tally: Tally,
        told: Callable[[], None],
    ) -> tuple[list[FoundFile], list[str], list[str]]:
        """What is new or changed, what is gone from the index, and what is gone that was not in it.

        A file that would stand where another folder's are kept (`taken`) is left out, and forgotten if it did.
        """
        forgotten = [path for path in known if path.startswith(taken)]
        left = {path: state for path, state in known.items() if not path.startswith(taken)}
        changed: list[FoundFile] = []
        unread: set[str] = set()
        async for portion in _portions(walk(folder.root, max_bytes=self._max_bytes, own=self.own), _WALKED):
            for found in portion:
                if isinstance(found, Skipped):
                    tally.skipped[found.reason] += 1
                    if found.reason == "unreadable":
                        unread.add(found.path)
                    continue
                if found.path.startswith(taken):
                    tally.skipped["name_taken"] += 1
                    continue
                tally.seen += 1
                state = left.pop(found.path, None)
                if state is None or not folder.current or not _unchanged(found, state, folder.prefix, hashes):
                    changed.append(found)
                elif state.skipped is not None:
                    tally.skipped[state.skipped] += 1
                else:
                    tally.unchanged += 1
            told()
        # What could not be looked at is not gone.
        missing = (
            [s for s in left.values() if unread.isdisjoint(_itself_and_above(s.path))] if unread else left.values()
        )
        gone = [state.path for state in missing if state.skipped is None]
        forgotten += [state.path for state in missing if state.skipped is not None]
        return changed, gone, forgotten

    async def index_files(
        self,
        folder: Folder,
        changed: Sequence[FoundFile],
        hashes: dict[str, str],
        tally: Tally,
        told: Callable[[], None],
        urgency: Urgency = Urgency.INDEX,
    ) -> None:
        """Read, cut, embed and store these files. Memory is bounded by three batches, whatever the folder's size."""
        slots = asyncio.Semaphore(BATCHES)
        batch: list[_ReadFile] = []
        chunks, full = 0, FIRST_CHUNKS

        async def store(files: list[_ReadFile]) -> None:
            try:
                await self._store(folder, files, urgency)
            finally:
                slots.release()
            _count(files, tally)
            told()

        try:
            async with asyncio.TaskGroup() as group:
                for at in range(0, len(changed), _READ):
                    for file in changed[at : at + _READ]:
                        read = await asyncio.to_thread(self._read, folder, file, hashes)
                        batch.append(read)
                        chunks += len(read.chunked.chunks) if read.chunked is not None else 0
                        if chunks >= full:
                            await slots.acquire()
                            group.create_task(store(batch))
                            batch, chunks, full = [], 0, min(2 * full, BATCH_CHUNKS)
                await slots.acquire()
                group.create_task(store(batch))
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from None

    async def _store(self, folder: Folder, files: Sequence[_ReadFile], urgency: Urgency) -> None:
        made = [file.chunked for file in files if file.chunked is not None]
        replaced = [folder.prefix + file.state.path for file in files if file.chunked is not None or file.state.skipped]
        if self.observer is not None:
            for file in files:
                path = folder.prefix + file.state.path
                if file.chunked is not None:
                    await self.observer.indexed(folder.workspace, path, file.chunked)
                elif file.state.skipped:
                    await self.observer.removed(folder.workspace, [path])
        if replaced:
            chunks = [chunk for chunked in made for chunk in chunked.chunks]
            await self._memory.put(folder.workspace, chunks, replaced, urgency)
        kept = [f.state for f in files if f.state.skipped not in ("vanished", "unreadable")]
        await self._manifest.put(folder, kept)
        await self._manifest.forget(folder, [f.state.path for f in files if f.state.skipped == "vanished"])

    def _read(self, folder: Folder, file: FoundFile, hashes: dict[str, str]) -> _ReadFile:
        """On a thread."""
        try:
            read = read_file(folder.root, file.path, self._max_bytes, time.time_ns())
        except NotIndexed as error:
            return _ReadFile(FileState(file.path, file.size, file.mtime_ns, "", error.reason), None)
        digest = read.content_hash
        state = FileState(file.path, read.size, read.mtime_ns, digest)
        stored = folder.prefix + file.path
        if hashes.get(stored) == digest:
            return _ReadFile(state, None)
        try:
            chunked = chunk_file(stored, text_of(read.data), digest)
        except NotIndexed as error:
            return _ReadFile(FileState(file.path, read.size, read.mtime_ns, digest, error.reason), None)
        except FileTooLarge:
            return _ReadFile(FileState(file.path, read.size, read.mtime_ns, digest, "too_large"), None)
        if not chunked.chunks:
            return _ReadFile(FileState(file.path, read.size, read.mtime_ns, digest, "empty"), None)
        return _ReadFile(state, chunked)


def _itself_and_above(path: str) -> Iterator[str]:
    """A path, and the folders it is in."""
    while path:
        yield path
        path = path.rpartition("/")[0]


def _nobody() -> None:
    """Listens to a tally."""


def _unchanged(found: FoundFile, state: FileState, prefix: str, hashes: dict[str, str]) -> bool:
    if (found.size, found.mtime_ns) != (state.size, state.mtime_ns):
        return False
    return state.skipped is not None or hashes.get(prefix + found.path) == state.content_hash


def _count(files: Sequence[_ReadFile], tally: Tally) -> None:
    for file in files:
        tally.bytes_indexed += file.state.size
        if file.state.skipped is not None:
            tally.skipped[file.state.skipped] += 1
        elif file.chunked is None:
            tally.unchanged += 1
        else:
            tally.chunks += len(file.chunked.chunks)
        tally.indexed += file.chunked is not None


async def _portions(items: Iterator[T], size: int) -> AsyncIterator[list[T]]:
    """Lists of what a slow iterator yields, each made on a thread."""
    while portion := await asyncio.to_thread(_take, items, size):
        yield portion


def _take(items: Iterable[T], size: int) -> list[T]:
    return list(islice(items, size))


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended a group of tasks."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
