"""EntityGraph: the entities and relations a workspace knows, in SQLite.

    upsert ── sightings of one origin ── summed up into entities ── words ──> search
                                                  │                            │
    forget (a file went) ── the last sighting? ── gone          neighbours <───┘ 1 and 2 hops

Every call names a workspace that profiles.yaml has, and reads or writes that one's rows alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from app.config.schema import Profile
from app.errors import InvalidRequest, NotFound
from app.memory import graph_reads as reads
from app.memory import graph_writes as writes
from app.memory.embedder import Embedder
from app.memory.entities import (
    MAX_HOPS,
    Entity,
    EntityDetail,
    Found,
    GraphStats,
    Neighbourhood,
    NewEntity,
    NewRelation,
    Origin,
    Source,
    check,
    check_id,
    storable,
)
from app.memory.entity_vectors import EntityVectors
from app.store.database import Database
from app.store.tables import to_text

MAX_FOUND: Final = 200
MAX_NEIGHBOURS: Final = 200
MAX_SIGHTINGS: Final = 100


@dataclass(frozen=True, slots=True)
class Stored:
    """`ids` of the entities given, in order; `relations`: how many were stored."""

    workspace: str
    ids: tuple[str, ...]
    relations: int


class EntityGraph:
    """`profile` finds a workspace's profile (None: the default one's) and raises `UnknownWorkspace`."""

    def __init__(
        self,
        database: Database,
        profile: Callable[[str | None], Profile],
        now: Callable[[], datetime],
        embedder: Embedder | None = None,
    ) -> None:
        self._database = database
        self._profile = profile
        self._now = now
        self.vectors = None if embedder is None else EntityVectors(database, embedder)

    async def aclose(self) -> None:
        if self.vectors is not None:
            await self.vectors.aclose()

    # -- writing

    async def upsert(
        self,
        workspace: str | None,
        origin: Origin,
        entities: Sequence[NewEntity],
        relations: Sequence[NewRelation] = (),
        *,
        forget: Iterable[Origin] = (),
        private: bool = False,
    ) -> Stored:
        """What one origin says, after what the origins of `forget` said has gone; all of it or nothing.

        Entities merge by kind and normalised name, and by their aliases. What is stored while the workspace is private
        stays private; `private` says so where it comes from somewhere private (a session).
        Raises `UnknownWorkspace`, `InvalidRequest`, `StoreUnavailable`.
        """
        profile = self._profile(workspace)
        check(entities, relations)
        given = writes.GraphWrite(
            profile.id,
            origin,
            private or profile.block_cloud_apis,
            to_text(self._now()),
            tuple(entities),
            tuple(relations),
            tuple(gone.key for gone in forget),
        )
        # What is read from code can be read again; and it is on disk before the row that says the file was read is.
        durable = origin.source is not Source.CODE
        written = await self._database.write(lambda connection: writes.write(connection, given), durable=durable)
        if self.vectors is not None and origin.source is not Source.CODE:
            self.vectors.embed_soon(profile.id)
        return Stored(profile.id, written.ids, written.relations)

    async def forget(self, workspace: str | None, origins: Iterable[Origin]) -> int:
        """Everything these origins say goes; how many entities they spoke of."""
        name, keys = self._profile(workspace).id, [origin.key for origin in origins]
        return await self._database.write(lambda connection: writes.forget(connection, name, keys)) if keys else 0

    async def forget_files(self, workspace: str | None, paths: Iterable[str]) -> int:
        """Files that went take along what was read from their code."""
        return await self.forget(workspace, [Origin(Source.CODE, path) for path in paths])

    async def delete(self, identity: str, workspace: str | None = None) -> None:
        """The entity with all that is known of it. `workspace` None: whichever it is in. Raises `NotFound`."""
        name = check_id(identity)
        of = None if workspace is None else self._profile(workspace).id
        if not await self._database.write(lambda connection: writes.remove(connection, name, of)):
            raise no_entity(name)

    async def clear(self, workspace: str | None) -> int:
        """All of a workspace's entities; how many there were."""
        name = self._profile(workspace).id
        return await self._database.write(lambda connection: writes.clear(connection, name))

    # -- reading

    async def search(
        self,
        workspace: str | None,
        query: str,
        *,
        kinds: Sequence[str] = (),
        limit: int = 20,
        open_only: bool = False,
    ) -> list[Found]:
        """Those that bear most on the query, best first: who is called so, then by words and, where there is a model,
        by meaning together. A score is at most 2, and 100 more for the very name. `open_only`: nothing that was told
        in private is found, nor does it leave a gap."""
        name = self._profile(workspace).id
        _within(limit, MAX_FOUND, "limit")
        if not query.strip():
            return []
        asked = storable(query)
        # By meaning private ones are among the nearest, and take an open one's place if no more than these are asked.
        wide = MAX_FOUND if open_only else limit
        near = {} if self.vectors is None else await self.vectors.nearest(name, asked, wide)

        def read(connection: Connection) -> list[Found]:
            words = reads.by_words(connection, name, asked, kinds, limit, open_only)
            known = reads.fetch(connection, name, {**words, **near}, open_only)
            found = [
                Found(entity, 0, words.get(i, 0.0) + near.get(i, 0.0), near.get(i), entity.private)
                for i, entity in known.items()
                if not kinds or entity.kind in kinds
            ]
            return sorted(found, key=lambda hit: (-hit.score, hit.entity.id))[:limit]

        return await self._database.read(read)

    async def page(
        self,
        workspace: str | None,
        *,
        kinds: Sequence[str] = (),
        limit: int = 50,
        before: tuple[int, str] | None = None,
        open_only: bool = False,
    ) -> list[Entity]:
        """The most mentioned first, from after `before`: (mentions, id) of the last one seen."""
        name = self._profile(workspace).id
        _within(limit, MAX_FOUND + 1, "limit")
        return await self._database.read(lambda c: reads.page(c, name, kinds, limit, before, open_only))

    async def get(self, identity: str, workspace: str | None = None) -> EntityDetail:
        """Also by an id that one of its aliases has. `workspace` None: whichever it is in. Raises `NotFound`."""
        name = check_id(identity)
        of = None if workspace is None else self._profile(workspace).id

        def read(connection: Connection) -> EntityDetail | None:
            home = reads.home_of(connection, name, of)
            return None if home is None else reads.detail(connection, *home, MAX_SIGHTINGS)

        if (found := await self._database.read(read)) is None:
            raise no_entity(name)
        return found

    async def neighbours(
        self,
        workspace: str | None,
        ids: Sequence[str],
        *,
        hops: int = 1,
        limit: int = 50,
        open_only: bool = False,
    ) -> Neighbourhood:
        """Entities up to `hops` (1 or 2) from these, and the relations among all of them."""
        name = self._profile(workspace).id
        _within(hops, MAX_HOPS, "hops")
        _within(limit, MAX_NEIGHBOURS, "limit")
        return await self._database.read(lambda c: reads.neighbourhood(c, name, ids, hops, limit, open_only))

    async def has_private(self, workspace: str | None) -> bool:
        """Whether anything in the workspace's graph was told in private."""
        name = self._profile(workspace).id
        return await self._database.read(lambda connection: reads.has_private(connection, name))

    async def stats(self, workspace: str | None) -> GraphStats:
        name = self._profile(workspace).id
        return await self._database.read(lambda connection: reads.stats(connection, name))


def no_entity(identity: str) -> NotFound:
    return NotFound(
        f"there is no entity {identity!r}; `llm-sidecar entities search` finds those there are",
        code="entity_not_found",
    )


def _within(value: int, most: int, field: str) -> None:
    if not 1 <= value <= most:
        raise InvalidRequest(f"{field}: expected 1 to {most}, got {value}", field=field)
