"""AgentGraph: the workspace's entities and relations, as an agent may read and change them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from app.agents.base import Storing
from app.agents.privacy import Taint
from app.memory.entities import Entity, Found, Neighbourhood, NewEntity, NewRelation, Origin, Relation, Source
from app.memory.graph import EntityGraph, Stored


class AgentGraph:
    """One run's view of the graph. What it stores has the agent as its origin; `ref` tells its sources apart.

    `open_only`: as if nothing had been said in private. Otherwise whoever looks where something private could be found
    is private from then on, whether it was found or not.
    """

    def __init__(
        self,
        graph: EntityGraph,
        *,
        agent: str,
        workspace: str,
        taint: Taint,
        storing: Storing,
        open_only: bool = False,
    ) -> None:
        self._graph = graph
        self._agent = agent
        self._workspace = workspace
        self._taint = taint
        self._storing = storing
        self._open_only = open_only

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
        found = await self._graph.search(self._workspace, query, kinds=kinds, limit=limit, open_only=self._open_only)
        await self._looked(found)
        return found

    async def page(self, *, kinds: Sequence[str] = (), limit: int = 50) -> list[Entity]:
        """The most mentioned."""
        found = await self._graph.page(self._workspace, kinds=kinds, limit=limit, open_only=self._open_only)
        await self._looked(found)
        return found

    async def neighbours(self, ids: Sequence[str], *, hops: int = 1, limit: int = 50) -> Neighbourhood:
        """Entities up to `hops` (1 or 2) from these, and the relations among all of them."""
        found = await self._graph.neighbours(self._workspace, ids, hops=hops, limit=limit, open_only=self._open_only)
        await self._looked([*found.found, *found.relations])
        return found

    def _origin(self, ref: str) -> Origin:
        return Origin(Source.AGENT, f"{self._agent} {ref}".strip())

    async def _looked(self, found: Iterable[Found | Entity | Relation]) -> None:
        self._taint.read_private(any(one.private for one in found))  # also where it is forgotten a moment later
        if not self._open_only and not self._taint.private:
            self._taint.read_private(await self._graph.has_private(self._workspace))
