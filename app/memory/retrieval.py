"""A query -> what the workspace knows about it, as material for the context, within a time limit.

Chunks, entities and what other sessions said are searched side by side. What is late or broken is left out and said in
`warnings`: an answer never fails, and never waits long, because of the index.

Our own similarities are cosines of a small model: true paraphrases reach 0.56, so the context's line of 0.80 would call
nearly every hit weak. Hits therefore keep the order of the search (meaning *and* words) and are placed around that line
by a line of their own; similarities that callers supply are read as they are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from app.config.schema import RetrievalSettings
from app.context.blocks import CodeChunk, EntityNote
from app.context.builder import SIMILARITY_LINE
from app.context.gather import SESSION_PREFIX
from app.errors import SidecarError
from app.memory.exchanges import Exchange
from app.memory.graph import EntityGraph
from app.memory.hits import Hit
from app.memory.notes import EntitiesFound, notes_about
from app.memory.workspace import WorkspaceMemory

MAX_CHARACTERS = 700
"""Of a chunk, as `app.memory.chunker` cuts them."""
ENTITY_CHARACTERS = 200
"""Of an entity's line, about."""

log = logging.getLogger(__name__)

FIRST_SECONDS = 5.0
"""The first search of a process loads LanceDB and the embedding model (2 to 3 s): it may take so long."""
_STEP = 1e-6
"""Between two neighbours in the order of the search."""


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was found. `private`: it was stored while the workspace was private, so no cloud model may see it."""

    chunks: tuple[CodeChunk, ...] = ()
    entities: tuple[EntityNote, ...] = ()
    warnings: tuple[str, ...] = ()
    private: bool = False


class PastExchanges(Protocol):
    """What was said in other sessions than `beside`: `app.chat.past.PastSessions`."""

    async def search(self, workspace: str, query: str, limit: int, beside: str | None = None) -> Sequence[Exchange]: ...


class Retrieval:
    """`settings` returns what the configuration says at the moment. Without `graph` and `past` there are no entities
    and no other sessions."""

    def __init__(
        self,
        memory: WorkspaceMemory,
        settings: Callable[[], RetrievalSettings],
        graph: EntityGraph | None = None,
        past: PastExchanges | None = None,
    ) -> None:
        self._memory = memory
        self._settings = settings
        self._graph = graph
        self._past = past
        self._loaded = False

    @property
    def most_characters(self) -> int:
        """About as much text as one retrieval brings, to decide beforehand whether all will fit."""
        settings = self._settings()
        pieces: int = settings.chunks + settings.history
        return pieces * MAX_CHARACTERS + 2 * settings.entities * ENTITY_CHARACTERS

    async def retrieve(self, workspace: str, query: str, session_id: str | None = None) -> Retrieved:
        """What bears on the query; `session_id` is the session it is asked in, whose own history is not searched here.

        Raises `UnknownWorkspace` and nothing else.
        """
        name = self._memory.profile(workspace).id
        if not query.strip():
            return Retrieved()
        settings = self._settings()
        limit = settings.max_wait_ms / 1000
        searches: dict[str, Awaitable[Any]] = {"code": self._memory.search(name, query, settings.chunks)}
        if self._graph is not None and settings.entities:
            searches["entities"] = notes_about(self._graph, name, query, settings.entities)
        if self._past is not None and settings.history:
            searches["history"] = self._past.search(name, query, settings.history, session_id)
        found, warnings = await gathered(searches, limit if self._loaded else max(limit, FIRST_SECONDS))
        hits: Sequence[Hit] = found.get("code", ())
        entities: EntitiesFound = found.get("entities", EntitiesFound())
        exchanges: Sequence[Exchange] = found.get("history", ())
        self._loaded = self._loaded or bool(hits)
        private = (
            (bool(hits) and self._memory.was_private(name)) or entities.private or any(e.private for e in exchanges)
        )
        chunks = (*placed(hits, settings.similarity_line), *recalled(exchanges, settings.similarity_line))
        return Retrieved(chunks, entities.notes, tuple(warnings), private)


async def gathered(searches: Mapping[str, Awaitable[Any]], seconds: float) -> tuple[dict[str, Any], list[str]]:
    """The results there are after `seconds` at most, by name, and a sentence for each that is missing."""
    tasks = {name: asyncio.ensure_future(search) for name, search in searches.items()}
    found: dict[str, Any] = {}
    warnings = []
    try:
        await asyncio.wait(tasks.values(), timeout=seconds)
    finally:
        for task in tasks.values():
            task.cancel()  # nothing happens to what is done
    for name, task in tasks.items():
        if not task.done():
            warnings.append(f"retrieval: the search for {name} was late (over {seconds * 1000:.0f} ms) and left out")
        elif (error := task.exception()) is None:
            found[name] = task.result()
        elif isinstance(error, SidecarError):
            warnings.append(f"retrieval: the search for {name} failed and was left out: {error.detail}")
        else:
            log.error("the search for %s failed", name, exc_info=error)
            warnings.append(f"retrieval: the search for {name} failed and was left out; the sidecar's log says why")
    return found, warnings


def placed(hits: Sequence[Hit], line: float) -> list[CodeChunk]:
    """Hits as chunks, in the order of the search. As many of the first as there are hits at or above `line` (a cosine)
    count as similar: just above the context's own line. The others stand below it."""
    similar = sum(1 for hit in hits if hit.similarity is not None and hit.similarity >= line)
    chunks = []
    for place, hit in enumerate(hits):
        strength = SIMILARITY_LINE + _STEP * (similar - place)
        if place >= similar:
            strength -= 2 * _STEP
        found = hit.chunk
        chunks.append(CodeChunk(found.text, found.path, found.start_line, found.end_line, strength, found.symbol))
    return chunks


def recalled(exchanges: Sequence[Exchange], line: float) -> list[CodeChunk]:
    """Exchanges of other sessions as pieces of `session:<id>`, in their order: after the similar pieces of files where
    they are at or above `line` (a cosine), after all of them where not."""
    chunks = []
    for place, exchange in enumerate(exchanges):
        near = exchange.similarity is not None and exchange.similarity >= line
        # Between the last similar piece of a file and the line; or below every weak one.
        strength = SIMILARITY_LINE + _STEP * (0.5 / (1 + place) if near else -1_000 - place)
        chunks.append(CodeChunk(exchange.text, f"{SESSION_PREFIX}{exchange.session_id}", None, None, strength))
    return chunks


def beside(given: Sequence[CodeChunk], own: Sequence[CodeChunk]) -> tuple[CodeChunk, ...]:
    """The caller's chunks and ours. A caller's chunk without a similarity counts as similar and goes before ours."""
    if not own:
        return tuple(given)
    first = own[0].similarity or SIMILARITY_LINE
    known = [
        c if c.similarity is not None else replace(c, similarity=max(first, SIMILARITY_LINE) + _STEP) for c in given
    ]
    return (*known, *own)
