"""What may be sent to `/api/v1/index`, and what is answered there."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.api.memory_schemas import Workspace
from app.api.results import Result
from app.api.schemas import Body

FolderPath = Annotated[
    str, Field(min_length=1, max_length=4096, description="An absolute path of a folder on the sidecar's machine.")
]


class IndexBody(Body):
    """A folder to index, or to index again: what did not change since the last time is not read."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"workspace": "thesis-research", "path": "/home/me/thesis", "watch": True}]}
    )

    workspace: Workspace = None
    path: FolderPath
    watch: bool | None = Field(
        None, description="Keep it current from now on, also after a restart; as it was when absent."
    )
    stream: bool = Field(True, description="Progress as Server-Sent Events; false: one JSON object at the end.")
    wait: bool = Field(True, description="False: answer 202 at once; `GET /api/v1/index` tells how far it is.")


class StopBody(Body):
    workspace: Workspace = None
    path: FolderPath


class IndexProgressResult(Result):
    state: str = Field(examples=["queued", "scanning", "indexing", "finishing", "done", "failed", "cancelled"])
    files_seen: int = Field(description="That can be indexed.")
    files_unchanged: int
    files_to_index: int | None = Field(description="New or changed ones; null until the folder has been listed.")
    files_indexed: int
    files_removed: int
    chunks: int = Field(description="Stored by this run.")
    skipped: dict[str, int] = Field(
        description="How many were left out, by reason.",
        examples=[{"ignored": 12, "binary": 3, "symlink": 1, "too_large": 1}],
    )
    elapsed_seconds: float
    rate: float | None = Field(description="Chunks a second.")
    eta_seconds: float | None


class IndexStatus(Result):
    id: str | None = Field(description="Of the latest run; null where there was none since the sidecar started.")
    workspace: str
    path: str
    prefix: str = Field(description="Stands before a file's path in the index, where a workspace has several folders.")
    watch: bool
    indexed_at: str | None = Field(description="When a run last came to its end.")
    started_at: str | None
    state: str = Field(description="The latest run's, else `idle`.")
    progress: IndexProgressResult | None
    error: str | None
    watch_problem: str | None = Field(description="Why it cannot be watched at the moment.")
    files: int | None = Field(None, description="In the index; in lists only.")


class IndexList(Result):
    folders: list[IndexStatus]


class IndexDropped(Result):
    workspace: str
    dropped: list[str] = Field(description="Folders.")


BODIES: tuple[type[BaseModel], ...] = (IndexBody, StopBody)
