"""CodeEntities: what the indexer reads becomes entities too, and goes with its file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from app.memory.chunker import ChunkedFile
from app.memory.entities import Origin, Source
from app.memory.graph import EntityGraph
from app.memory.symbols import symbols_in


class CodeEntities:
    """The indexer's `FileObserver`. `was_private` says whether a workspace's index holds anything private: then what is
    read from its files is private too."""

    def __init__(self, graph: EntityGraph, was_private: Callable[[str], bool]) -> None:
        self._graph = graph
        self._was_private = was_private

    async def indexed(self, workspace: str, path: str, file: ChunkedFile) -> None:
        """What an earlier version of the file defined and this one does not goes. Raises `StoreUnavailable`."""
        origin = Origin(Source.CODE, path)
        if file.tree is None or file.language is None:
            await self._graph.forget(workspace, [origin])
            return
        found = await asyncio.to_thread(symbols_in, path, file.tree.root_node, file.language)
        private = self._was_private(workspace)
        await self._graph.upsert(workspace, origin, found.entities, found.relations, forget=[origin], private=private)

    async def removed(self, workspace: str, paths: Sequence[str]) -> None:
        await self._graph.forget(
            workspace, [Origin(said, path) for path in paths for said in (Source.CODE, Source.TEXT)]
        )
