"""WorkspaceMemory: what each workspace knows, and the rules about who may see it.

Every call names a workspace that profiles.yaml has; no call reads another workspace's rows. What was stored while a
workspace was private stays private: a mark beside the index remembers it, also where the profile is changed later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from app.config.loader import Config
from app.config.schema import Profile
from app.memory import index_rows
from app.memory.chunks import Chunk
from app.memory.embedder import Embedder, Urgency
from app.memory.hits import Hit
from app.memory.index import WorkspaceIndex

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

REMEDY: Final = "index the workspace's folders again (`llm-sidecar index PATH`)"


class WorkspaceMemory:
    """`config` returns the configuration that is current. Nothing is opened or imported before it is asked for."""

    def __init__(self, index: WorkspaceIndex, embedder: Embedder, config: Callable[[], Config]) -> None:
        self.index = index
        self._embedder = embedder
        self._config = config

    def profile(self, workspace: str | None) -> Profile:
        """The workspace's profile; None: the default one's. Raises `UnknownWorkspace`."""
        return self._config().known_profile(workspace or None)

    @property
    def searched_by(self) -> str:
        return "meaning and words" if self._embedder.available else "words"

    async def put(
        self,
        workspace: str | None,
        chunks: Sequence[Chunk],
        delete_paths: Sequence[str] = (),
        urgency: Urgency = Urgency.MESSAGE,
    ) -> str:
        """Remove every chunk of `delete_paths` and store `chunks`, in one commit; returns the workspace's id.

        Raises `UnknownWorkspace`, `InvalidRequest`, `IndexUnavailable`.
        """
        profile = self.profile(workspace)
        index_rows.check(chunks)
        await self.keep_private(profile)
        await self.index.replace(profile.id, delete_paths, chunks, urgency)
        return profile.id

    async def search(self, workspace: str | None, query: str, k: int) -> list[Hit]:
        """The `k` chunks that bear most on the query. Raises `UnknownWorkspace`, `InvalidRequest`,
        `IndexUnavailable`."""
        return await self.index.search(self.profile(workspace).id, query, k=k)

    async def nearness(self, workspace: str | None, vector: Vectors) -> float | None:
        """The cosine of what the index holds that is nearest to a unit vector. Raises `UnknownWorkspace`,
        `IndexUnavailable`."""
        return await self.index.nearness(self.profile(workspace).id, vector)

    # -- privacy

    async def keep_private(self, profile: Profile) -> None:
        """Before anything is stored: remember that the workspace was private then."""
        mark = self._mark(profile.id)
        if profile.block_cloud_apis and not mark.exists():
            await asyncio.to_thread(_leave, mark)

    def was_private(self, workspace: str) -> bool:
        """True where something was stored while the workspace was private. Costs a `stat`."""
        return self._mark(workspace).exists()

    def _mark(self, workspace: str) -> Path:
        return self.index.folder / f"{index_rows.table_name(workspace)}.private"

    # -- health

    def health(self) -> dict[str, Any]:
        """The part `index` of `/health`. Chat goes on without it."""
        folder = self.index.folder
        problem = self.index.problem
        if problem is None and folder.exists() and not folder.is_dir():
            problem = f"{folder} is not a folder"
        if problem is not None:
            return {"status": "degraded", "reason": problem, "remedy": REMEDY}
        return {"status": "ok", "folder": str(folder)}


def _leave(mark: Path) -> None:
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
