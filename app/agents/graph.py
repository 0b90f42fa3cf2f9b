"""AgentGraph: the workspace's entities and relations, as an agent may read and change them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from app.agents.base import Storing
from app.agents.door import Taint
from app.memory.entities import Entity, Found, Neighbourhood, NewEntity, NewRelation, Origin, Source
from app.memory.graph import EntityGraph, Stored


class AgentGraph:
    """One run's view of the graph. What it stores has the agent as its origin; `ref` tells its sources apart."""

    def __init__(self, graph: EntityGraph, *, agent: str, workspace: str, taint: Taint, storing: Storing) -> None:
        self._graph = graph
        self._agent = agent
        self._workspace = workspace
        self._taint = taint
        self._storing = storing

    async def upsert(
        self,
        entities: Sequence[NewEntity],
        relations: Sequence[NewRelation] = (),
        *,
        ref: str = "",
        forget: Iterable[str] = (),
    ) -> tuple[str, ...]:
        """Store what the source `ref` (an article's address, say) tells, after what the sources of `forget` told has
        gone; returns the entities' ids, none in a dry run. Raises `InvalidRequest`, `StoreUnavailable`."""
        gone = [self._origin(one) for one in forget]

        async def write() -> Stored:
            return await self._graph.upsert(
                self._workspace, self._origin(ref), entities, relations, forget=gone, private=self._taint.private
            )

        named = ", ".join(entity.name for entity in entities[:5])
        stored = await self._storing(f"{len(entities)} entities ({named})", write)
        return stored.ids if stored is not None else ()

    async def forget(self, refs: Iterable[str]) -> None:
        """Everything these sources told goes."""
        origins = [self._origin(ref) for ref in refs]
        await self._storing(
            f"the removal of {len(origins)} sources of entities", lambda: self._graph.forget(self._workspace, origins)
        )

    async def search(self, query: str, *, kinds: Sequence[str] = (), limit: int = 20) -> list[Found]:
        """Those that bear most on the query, best first."""
        found = await self._graph.search(self._workspace, query, kinds=kinds, limit=limit)
        self._read(found)
        return found

    async def page(self, *, kinds: Sequence[str] = (), limit: int = 50) -> list[Entity]:
        """The most mentioned."""
        found = await self._graph.page(self._workspace, kinds=kinds, limit=limit)
        self._read(found)
        return found

    async def neighbours(self, ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        """Entities up to `hops` (1 or 2) from these, and the relations among all of them."""
        found = await self._graph.neighbours(self._workspace, ids, hops=hops, limit=limit)
        # Two entities everybody knows may hang together in a way that was said in private.
        self._read([*found.found, *found.relations])
        return found

    def _origin(self, ref: str) -> Origin:
        return Origin(Source.AGENT, f"{self._agent} {ref}".strip())

    def _read(self, found: Iterable[Any]) -> None:
        if any(one.private for one in found):
            self._taint.private = True
