"""WorkspaceIndex: what a workspace's files say, by meaning and by words, in LanceDB.

One table per workspace in `<data folder>/index`, so that no query can reach another workspace's rows. A search asks the
vectors and the full text side by side, takes the best of both, and lets `app.memory.hybrid` rank them by exact cosine
and BM25. Importing LanceDB costs 1.5 to 2.3 s and 143 MB: it happens on a thread, and only once there is something to
read or write.

Everything here can be made again from the files. So what cannot be read is reported (`problem`, `IndexUnavailable`) and
never repaired by guessing: `drop` and index again.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from app.errors import InvalidRequest
from app.memory import index_rows, index_tables
from app.memory.chunks import Chunk
from app.memory.embedder import DIMENSIONS, Embedder, Urgency
from app.memory.hits import (
    ByVector,
    ByWords,
    Hit,
    IndexStats,
    IndexUnavailable,
    file_hashes,
    near_hits,
    rank,
    read_hits,
    word_hits,
)
from app.memory.hybrid import WEIGHTS, Distinct, Weights
from app.memory.index_rows import CHUNK_COLUMNS, is_in
from app.memory.model_files import EmbedderUnavailable
from app.memory.prepared import Prepared, prepare
from app.memory.searchable import query_terms

if TYPE_CHECKING:
    from lancedb.db import AsyncConnection
    from lancedb.table import AsyncTable

    from app.memory.embedder import Vectors

T = TypeVar("T")

MAX_HITS: Final = 100
FLAT_ROWS: Final = 20_000
"""Up to so many vectors are compared one by one: 10 ms per 10,000. Beyond, IVF_FLAT, which keeps whole vectors."""
VECTOR_ROWS: Final = 150
"""Passages taken from the vector search: about 100 chunks."""
WORD_CHUNKS: Final = 100
"""Chunks taken from full text. Deeper ones only tell the BM25 of what the vectors found."""
SCORED_CHUNKS: Final = 1_000
QUERY_TERMS: Final = 48
MAINTAIN_AFTER: Final = 32
"""Writes after which a table is optimised in the background: each leaves a small file and a version."""
MAINTAIN_AFTER_ROWS: Final = 5_000
"""Or so many rows: until then full text reads them one by one, about 6 ms per 1,000."""
_PROBES: Final = 32
_KEEP_VERSIONS: Final = timedelta(seconds=60)
"""Far longer than any search reads one."""
_OPTIMIZE_PAUSES: Final = (0.2, 1.0)
_REMEDY: Final = "index its folder again"


@dataclass(slots=True)
class _Space:
    """One workspace. Writes take turns: LanceDB would let them race and retry."""

    table: AsyncTable | None = None
    writing: asyncio.Lock = field(default_factory=asyncio.Lock)
    writes: int = 0
    rows: int = 0
    """Written since the last optimisation."""
    problem: str | None = None
    known: bool = False
    """A table was there while this process ran."""


class WorkspaceIndex:
    """All workspaces' indexes in one folder. One process, one event loop; any number of tasks."""

    def __init__(
        self,
        folder: Path,
        embedder: Embedder,
        *,
        weights: Weights = WEIGHTS,
        dimensions: int = DIMENSIONS,
        flat_rows: int = FLAT_ROWS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.folder = folder
        self._embedder = embedder
        self._weights = weights
        self._dimensions = dimensions
        self._flat_rows = flat_rows
        self._sleep = sleep
        self._connection: AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        self._spaces: dict[str, _Space] = {}
        self._maintenance: asyncio.Task[None] | None = None
        self._maintaining = asyncio.Lock()
        self._closed = False

    async def open(self, workspace: str) -> bool:
        """Whether there is an index; makes it ready to be searched, so that no question waits for LanceDB's import."""
        return await self._table(workspace) is not None

    @property
    def problem(self) -> str | None:
        """What is wrong, as a sentence for `/health`, or None. Costs a `stat` per workspace in use."""
        for workspace, space in self._spaces.items():
            if space.problem is None and space.known and not self._path(workspace).is_dir():
                return f"the index of workspace {workspace} was removed; {_REMEDY}"
            if space.problem is not None:
                return space.problem
        return None

    # -- writing

    async def upsert(self, workspace: str, chunks: Sequence[Chunk], urgency: Urgency = Urgency.INDEX) -> None:
        """Store chunks, each in place of the one with its id. One commit: all of them or none.

        Give all chunks of a file in one call: they are each other's context, and after a crash `hashes` must not name
        a file that is half there. Without the embedding model they are found by their words, until `maintain` finds
        it. Raises `InvalidRequest`, `IndexUnavailable`.
        """
        await self.replace(workspace, (), chunks, urgency)

    async def replace(
        self, workspace: str, paths: Iterable[str], chunks: Sequence[Chunk], urgency: Urgency = Urgency.INDEX
    ) -> None:
        """`delete_paths` and `upsert` in one commit: a search meanwhile sees a file's old chunks or its new ones."""
        index_rows.check(chunks)
        paths = list(paths)
        if not chunks:
            await self.delete_paths(workspace, paths)
            return
        prepared = await prepare(chunks, self._embedder, urgency)
        async with self._space(workspace).writing:
            await self._store(workspace, prepared, paths)

    async def delete_paths(self, workspace: str, paths: Iterable[str]) -> None:
        """Remove every chunk of these files. Nothing happens where there are none. Raises `IndexUnavailable`."""
        keys = [index_rows.path_key(path) for path in paths]
        space = self._space(workspace)
        async with space.writing:
            table = await self._table(workspace) if keys and not self._removed(workspace) else None
            if table is not None:
                await self._ask(workspace, table.delete(is_in("path_key", keys)))
                self._wrote(workspace)

    async def drop(self, workspace: str) -> None:
        """Remove all of a workspace's rows, also where its table cannot be read. Raises `IndexUnavailable`."""
        space = self._space(workspace)
        async with space.writing:
            path = self._path(workspace)
            try:
                await asyncio.to_thread(index_tables.remove, path)
            except OSError as error:
                raise IndexUnavailable(f"{path} cannot be removed ({error.strerror})") from error
            space.table, space.problem, space.known = None, None, False
            space.writes = space.rows = 0

    async def _store(self, workspace: str, prepared: Prepared, paths: Iterable[str] = ()) -> None:
        """Within the workspace's lock. Rows of these chunks or files that are not in the new ones go."""
        table = await self._table(workspace, create=True)
        assert table is not None
        replaced = is_in("chunk", [chunk.id for chunk in prepared.chunks])
        if keys := [index_rows.path_key(path) for path in paths]:
            replaced += " OR " + is_in("path_key", keys)
        arrow = await asyncio.to_thread(index_rows.rows, prepared, self._dimensions)
        merge = table.merge_insert("key").when_matched_update_all().when_not_matched_insert_all()
        merge = merge.when_not_matched_by_source_delete(replaced)
        await self._ask(workspace, merge.execute(arrow, on_bad_vectors="null"))  # "null": leave nulls as they are
        self._wrote(workspace, len(arrow))

    # -- reading

    async def search(self, workspace: str, query: str, *, k: int = 10, vector: bool = True) -> list[Hit]:
        """The `k` chunks (1 to `MAX_HITS`) that bear most on the query, best first, near-duplicates left out.

        `vector` False: by words alone, as also happens where the embedding model is missing. Empty where nothing is
        indexed or nothing fits. Raises `InvalidRequest`, `IndexUnavailable`.
        """
        if not 1 <= k <= MAX_HITS:
            raise InvalidRequest(f"k: expected 1 to {MAX_HITS}, got {k}", field="k")
        table = await self._table(workspace)
        if table is None or not query.strip():
            return []
        words, near = await asyncio.gather(
            self._by_words(workspace, table, query, vector),
            self._by_vector(workspace, table, query if vector else None),
        )
        ranked = rank(words, near, self._weights)
        distinct, hits, at, size = Distinct(), list[Hit](), 0, k + k // 4 + 2
        while ranked[at:] and len(hits) < k:
            # A row costs as much to read as it has columns: only those that may be wanted, and few of them repeat.
            # Where many do, as generated files, each round asks for twice as many.
            portion, size = ranked[at : at + size], 2 * size
            columns = [*CHUNK_COLUMNS, "part", "terms"]
            query_rows = table.query().where(is_in("chunk", [r.chunk_id for r in portion])).select(columns)
            found = await self._ask(workspace, query_rows.to_arrow())
            # On a thread: word pairs of a hundred chunks are some milliseconds.
            hits += await asyncio.to_thread(read_hits, portion, found, distinct)
            at += len(portion)
        return hits[:k]

    async def nearness(self, workspace: str, vector: Vectors) -> float | None:
        """The cosine of the nearest passage to a unit vector (dimensions,); None where nothing is indexed, or nothing
        by meaning. Raises `IndexUnavailable`."""
        table = await self._table(workspace)
        if table is None:
            return None
        search = table.query().nearest_to(vector).distance_type("l2").nprobes(_PROBES)
        found = await self._ask(workspace, search.select(["_distance"]).limit(1).to_arrow())
        distances = [distance for distance in found.column("_distance").to_pylist() if distance is not None]
        return 1 - min(distances) / 2 if distances else None  # of unit vectors

    async def hashes(self, workspace: str) -> dict[str, str]:
        """Each file's content hash. A file whose chunks disagree is left out, as is all of a removed index: both are
        to be indexed again. Raises `IndexUnavailable`."""
        if self._removed(workspace) or (table := await self._table(workspace)) is None:
            return {}
        found = await self._ask(workspace, table.query().where("part = 0").select(["path", "content_hash"]).to_arrow())
        return await asyncio.to_thread(file_hashes, found)

    async def stats(self, workspace: str) -> IndexStats:
        """Counts, read from the table. Raises `IndexUnavailable`."""
        table = await self._table(workspace)
        if table is None:
            return IndexStats()
        rows, chunks, without, indices = await asyncio.gather(
            self._ask(workspace, table.count_rows()),
            self._ask(workspace, table.count_rows("part = 0")),
            self._ask(workspace, table.count_rows("vector IS NULL")),
            self._ask(workspace, table.list_indices()),
        )
        keys = await self._ask(workspace, table.query().where("part = 0").select(["path_key"]).to_arrow())
        return IndexStats(
            files=len(keys.column("path_key").unique()),
            chunks=chunks,
            vectors=rows - without,
            without_vectors=without,
            vector_index=any(index.columns == ["vector"] for index in indices),
        )

    async def _by_words(self, workspace: str, table: AsyncTable, query: str, vector: bool) -> ByWords:
        """With the vectors of the best, which are read while the question's own is made."""
        wanted = query_terms(query, QUERY_TERMS)
        if not wanted:
            return ByWords()
        from lancedb.query import MatchQuery

        match = MatchQuery(" ".join(wanted), "terms")  # type: ignore[call-arg]
        search = table.query().nearest_to_text(match).select(["chunk", "path_key", "_score"])
        found = await self._ask(workspace, search.limit(SCORED_CHUNKS).to_arrow())
        words = word_hits(found, WORD_CHUNKS)
        if not (words.candidates and vector and self._embedder.available):
            return words
        rows = table.query().where(is_in("chunk", words.candidates)).select(["chunk", "vector"])
        return replace(words, vectors=await self._ask(workspace, rows.to_arrow()))

    async def _by_vector(self, workspace: str, table: AsyncTable, query: str | None) -> ByVector:
        """Nothing without the model."""
        if query is None:
            return ByVector()
        try:
            asked: Vectors = await self._embedder.question(query)
        except EmbedderUnavailable:
            return ByVector()
        # Of unit vectors the Euclidean order is the cosine's; cosine tables change their scale once indexed.
        search = table.query().nearest_to(asked).distance_type("l2").nprobes(_PROBES)
        search = search.select(["chunk", "path_key", "_distance"]).limit(VECTOR_ROWS)
        return near_hits(await self._ask(workspace, search.to_arrow()), asked)

    # -- keeping in order

    async def maintain(self) -> None:
        """Embed what was stored without the model, compact, bring the indexes up to date, for each workspace in use.

        Runs by itself every `MAINTAIN_AFTER` writes; call it when a folder has been indexed. Raises nothing: what
        fails stands in `problem` and is tried again next time.
        """
        async with self._maintaining:
            for workspace in list(self._spaces):
                with contextlib.suppress(IndexUnavailable):
                    await self._embed_missing(workspace)
                    await self._optimize(workspace)

    async def _embed_missing(self, workspace: str) -> None:
        """File by file, because a chunk's file is its context."""
        before: list[str] = []
        while self._embedder.available and (table := await self._table(workspace)) is not None:
            async with self._space(workspace).writing:
                query = table.query().where("vector IS NULL AND part = 0").select(["path_key"]).limit(1)
                waiting = (await self._ask(workspace, query.to_arrow())).column("path_key").to_pylist()
                if not waiting or waiting == before:  # a vector that cannot be stored would be made for ever
                    return
                before = waiting
                query = table.query().where(f"{is_in('path_key', waiting)} AND part = 0").select([*CHUNK_COLUMNS])
                chunks = list(map(index_rows.chunk_of, (await self._ask(workspace, query.to_arrow())).to_pylist()))
                prepared = await prepare(chunks, self._embedder)
                if prepared.vectors is None:
                    return
                await self._store(workspace, prepared)

    async def _optimize(self, workspace: str) -> None:
        """With writes held back: under constant writers an optimisation never commits."""
        table = await self._table(workspace)
        space = self._space(workspace)
        if table is None or space.writes == 0:
            return
        async with space.writing:
            for pause in (*_OPTIMIZE_PAUSES, None):
                try:
                    await table.optimize(cleanup_older_than=_KEEP_VERSIONS)
                    break
                except RuntimeError as error:  # a conflict with what an earlier call left running
                    if pause is None:
                        raise self._failed(workspace, error) from error
                    await self._sleep(pause)
            if await self._ask(workspace, table.count_rows("vector IS NOT NULL")) >= self._flat_rows:
                await self._ask(workspace, index_tables.index_vectors(table))
            space.writes = space.rows = 0

    def _wrote(self, workspace: str, rows: int = 0) -> None:
        space = self._space(workspace)
        space.writes += 1
        space.rows += rows
        due = space.writes >= MAINTAIN_AFTER or space.rows >= MAINTAIN_AFTER_ROWS
        if due and not self._closed and (self._maintenance is None or self._maintenance.done()):
            self._maintenance = asyncio.create_task(self.maintain(), name="index-maintenance")

    async def aclose(self) -> None:
        """Stop the maintenance and let go of the tables. Reading and writing raise `IndexUnavailable` from now on."""
        self._closed = True
        if self._maintenance is not None:
            self._maintenance.cancel()
            await asyncio.gather(self._maintenance, return_exceptions=True)
        for space in self._spaces.values():
            async with space.writing:
                if space.table is not None:
                    space.table.close()  # type: ignore[no-untyped-call]
                    space.table = None
        if self._connection is not None:
            self._connection.close()  # type: ignore[no-untyped-call]
            self._connection = None

    # -- tables

    def _space(self, workspace: str) -> _Space:
        return self._spaces.setdefault(workspace, _Space())

    def _path(self, workspace: str) -> Path:
        return self.folder / f"{index_rows.table_name(workspace)}.lance"

    def _removed(self, workspace: str) -> bool:
        return self._space(workspace).known and not self._path(workspace).is_dir()

    async def _table(self, workspace: str, *, create: bool = False) -> AsyncTable | None:
        """The workspace's table; None where it has none, which is found out without importing LanceDB."""
        if self._closed:
            raise IndexUnavailable("the sidecar is shutting down")
        space = self._space(workspace)
        if not self._path(workspace).is_dir():
            space.table = None
            if not create and space.known:
                space.problem = f"the index of workspace {workspace} was removed; {_REMEDY}"
                raise IndexUnavailable(space.problem)
            if not create:
                space.problem = None  # of a table that was dropped since
                return None
        if space.table is None:
            opened = await self._ask(workspace, self._open(workspace))
            space.table = opened
        return space.table

    async def _open(self, workspace: str) -> AsyncTable:
        async with self._connecting:
            if self._connection is None:
                self._connection = await index_tables.connect(self.folder)
            name = index_rows.table_name(workspace)
            try:
                table = await self._connection.open_table(name)
            except ValueError:  # not there
                table = await self._connection.create_table(
                    name, schema=index_rows.schema(self._dimensions), exist_ok=True
                )
            await index_tables.make_ready(table)
            space = self._space(workspace)
            space.known, space.writes = True, space.writes or 1  # an earlier run may have left it untidy
            return table

    async def _ask(self, workspace: str, request: Awaitable[T]) -> T:
        """The one seam where LanceDB's errors become ours: they come as RuntimeError, ValueError, OSError, Arrow's."""
        try:
            answer = await request
        except Exception as error:
            raise self._failed(workspace, error) from error
        self._space(workspace).problem = None
        return answer

    def _failed(self, workspace: str, error: Exception) -> IndexUnavailable:
        space = self._space(workspace)
        space.table = None
        if self._removed(workspace):
            space.problem = f"the index of workspace {workspace} was removed; {_REMEDY}"
        else:
            words = f"{type(error).__name__}: {error}".splitlines()[0][:300]
            space.problem = f"the index of workspace {workspace} cannot be used ({words}); drop it, {_REMEDY}"
        return IndexUnavailable(space.problem)
