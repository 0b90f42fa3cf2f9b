"""Entities by meaning: vectors beside their rows in SQLite, compared one by one in memory.

Not in LanceDB: an entity's vector must come and go with its row, a workspace has some thousands of entities that are
worth one, and 20,000 vectors are compared in 3 ms. What is read from code has none: its meaning is in the vectors of
the pieces of its file, and a large folder's symbols would cost minutes of embedding.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Final

from app.memory import graph_reads as reads
from app.memory import graph_writes as writes
from app.memory.embedder import Embedder, Urgency
from app.memory.model_files import EmbedderUnavailable
from app.store.database import Database
from app.store.writer import StoreUnavailable

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

log = logging.getLogger(__name__)

LEAST_COSINE: Final = 0.35
"""Less is no relation between a question and an entity."""
_AT_ONCE: Final = 128
_WORKSPACES: Final = 4
"""Kept in memory: 30 MB each at 20,000 entities."""


@dataclass(slots=True)
class _Held:
    """One workspace's vectors. `fresh` came since `matrix` was made; what was deleted stays, and finds no row."""

    ids: list[str] = field(default_factory=list)
    matrix: Vectors | None = None
    fresh: dict[str, bytes] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class EntityVectors:
    """One process, one event loop."""

    def __init__(self, database: Database, embedder: Embedder) -> None:
        self._database = database
        self._embedder = embedder
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._loading = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._looked: set[str] = set()

    async def nearest(self, workspace: str, query: str, limit: int) -> dict[str, float]:
        """The cosine of those nearest to the query; none without the model. Raises `StoreUnavailable`."""
        if not self._embedder.available:
            return {}
        if workspace not in self._looked:
            self.embed_soon(workspace)  # what an earlier process left
        held = await self._loaded(workspace)
        if not held.ids and not held.fresh:
            return {}
        try:
            asked: Vectors = await self._embedder.question(query)
        except EmbedderUnavailable:
            return {}
        return await asyncio.to_thread(_nearest, held, asked, limit)

    def embed_soon(self, workspace: str) -> None:
        """Embed what has no vector yet, in the background."""
        self._looked.add(workspace)
        under_way = self._tasks.get(workspace)
        if self._embedder.available and (under_way is None or under_way.done()):
            self._tasks[workspace] = asyncio.create_task(self._embed(workspace), name="embed-entities")

    async def embed_now(self, workspace: str) -> None:
        """Returns once nothing is left to embed."""
        self.embed_soon(workspace)
        if (task := self._tasks.get(workspace)) is not None:
            await task
            self.embed_soon(workspace)  # what came while that one ended
            await self._tasks[workspace]

    async def aclose(self) -> None:
        """Give up what is under way; it is done when it is needed next."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _embed(self, workspace: str) -> None:
        try:
            while some := await self._database.read(lambda c: reads.unembedded(c, workspace, _AT_ONCE)):
                texts = {row["id"]: writes.embedded_text(row["kind"], row["name"], row["summary"]) for row in some}
                vectors = await self._embedder.embed(list(texts.values()), Urgency.INDEX)
                made = {i: (text, vectors[at].tobytes()) for at, (i, text) in enumerate(texts.items())}
                put = partial(writes.put_embeddings, vectors=made)
                stored = await self._database.write(put, durable=False)  # they can be computed again
                if (held := self._held.get(workspace)) is not None:
                    with held.lock:
                        held.fresh |= {identity: made[identity][1] for identity in stored}
        except (EmbedderUnavailable, StoreUnavailable) as error:
            log.info("entities are found by their words alone: %s", error.detail)

    async def _loaded(self, workspace: str) -> _Held:
        async with self._loading:
            held = self._held.get(workspace)
            if held is None:
                # Put there before it is read: what is embedded meanwhile is in both, and is put in place once.
                held = self._held[workspace] = _Held()
                rows = await self._database.read(lambda c: reads.vectors(c, workspace))
                with held.lock:
                    held.fresh = {**dict(rows), **held.fresh}
                while len(self._held) > _WORKSPACES:
                    self._held.popitem(last=False)
            self._held.move_to_end(workspace)
            return held


def _nearest(held: _Held, asked: Vectors, limit: int) -> dict[str, float]:
    """On a thread."""
    import numpy as np  # loaded: there is a vector to ask with

    with held.lock:
        _settle(held)
        ids, matrix = held.ids, held.matrix
    if matrix is None:
        return {}
    cosines = matrix @ asked
    best = np.argsort(-cosines)[:limit]
    return {ids[at]: float(cosines[at]) for at in best.tolist() if cosines[at] >= LEAST_COSINE}


def _settle(held: _Held) -> None:
    """Put what is fresh into the matrix."""
    import numpy as np

    fresh, held.fresh = held.fresh, {}
    if not fresh:
        return
    kept = [at for at, identity in enumerate(held.ids) if identity not in fresh]
    rows = np.frombuffer(b"".join(fresh.values()), np.float32).reshape(len(fresh), -1)
    old = [] if held.matrix is None else [held.matrix[kept]]
    held.ids = [*(held.ids[at] for at in kept), *fresh]
    held.matrix = np.concatenate([*old, rows])
