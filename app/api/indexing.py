"""`/api/v1/index`: folders that the sidecar walks itself, with progress."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.deps import Api, DirectRoute, api_of, body_docs, body_of, json_response, request_id, v1_router
from app.api.index_schemas import IndexBody, IndexDropped, IndexList, IndexStatus, StopBody
from app.api.json_text import Json
from app.api.results import Problem
from app.api.sse import EventStream
from app.api.streams import Watch, shutting_down
from app.api.wire import IndexDone, IndexProgress, progress_data
from app.llm.events import Failed
from app.memory.jobs import FolderStatus, Job
from app.memory.manifest import Folder
from app.memory.progress import Progress
from app.store.tables import to_text

router = v1_router("memory")
direct = v1_router("memory", route_class=DirectRoute)

_STREAM = """Server-Sent Events. `data` is JSON; `id` counts up; exactly one of `done` and `error` comes last.

| event | data |
| --- | --- |
| `progress` | the fields of IndexStatus's `progress`, at most ten times a second |
| `done` | an IndexStatus |
| `error` | a problem body |
"""
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "`invalid_request`, `unknown_workspace`"},
    503: {"model": Problem, "description": "`index_unavailable`, `indexing_failed`"},
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`index_not_found`"}}


class IndexParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: str | None = Field(None, max_length=128, description="This workspace's alone; all when absent.")


class DropParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: str | None = Field(None, max_length=128, description="The configured default when absent.")
    path: str | None = Field(
        None, min_length=1, max_length=4096, description="The folder; all of the workspace's index when absent."
    )


@direct.post(
    "/index",
    summary="Index a folder",
    operation_id="index_folder",
    responses={
        200: {
            "model": IndexStatus,
            "description": _STREAM,
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        202: {"model": IndexStatus, "description": "With `wait: false`: it has begun"},
        **_PROBLEMS,
    },
    openapi_extra=body_docs(IndexBody),
)
async def start(request: Request) -> Any:
    """Reads what changed since the last time. Where the folder is being indexed already, this joins in. The run goes on
    when its listener leaves."""
    api = api_of(request)
    body = await body_of(request, IndexBody)
    job = await api.services.indexing.start(body.workspace, body.path, watch=body.watch)
    if not body.wait:
        response: Response = json_response(job_data(job))
        response.status_code = 202
        return response
    if body.stream:
        return EventStream(_events(job, request_id(request)), api.streams, api.patience)
    return await _whole(job, api, request)


async def _events(job: Job, identity: str) -> AsyncGenerator[list[Any], None]:
    async with aclosing(job.updates()) as updates:
        async for progress in updates:
            yield [IndexProgress(progress)]
    if job.error is not None:
        yield [Failed(identity, job.error, 0)]
    else:
        yield [IndexDone(job_data(job))]


async def _whole(job: Job, api: Api, request: Request) -> Response:
    watch = Watch(api.streams, request.receive)
    async with watch:
        await job.wait()
        return json_response(job_data(job))
    if watch.ended is not None:  # nobody reads it, or the sidecar ends
        raise shutting_down()
    raise AssertionError("unreachable")


@router.get(
    "/index",
    summary="Which folders are indexed?",
    operation_id="index_list",
    responses={200: {"model": IndexList}, **_PROBLEMS},
)
async def listed(request: Request, params: Annotated[IndexParams, Query()]) -> Any:
    """Each with its latest run since the sidecar started."""
    found = await api_of(request).services.indexing.status(params.workspace)
    return json_response({"folders": list(map(status_data, found))})


@router.delete(
    "/index",
    summary="Forget a folder, or all of a workspace's index",
    operation_id="index_drop",
    responses={200: {"model": IndexDropped}, **_MISSING, **_PROBLEMS},
)
async def drop(request: Request, params: Annotated[DropParams, Query()]) -> Any:
    """Ends its run and its watch first. Without `path` the chunks that front ends stored go as well."""
    services = api_of(request).services
    folders = await services.indexing.drop(params.workspace, params.path)
    workspace = services.memory.profile(params.workspace).id
    return json_response({"workspace": workspace, "dropped": [str(folder.root) for folder in folders]})


@direct.post(
    "/index/stop",
    summary="End the run over a folder, and its watch",
    operation_id="index_stop",
    responses={200: {"model": IndexList}, **_MISSING, **_PROBLEMS},
    openapi_extra=body_docs(StopBody),
)
async def stop(request: Request) -> Any:
    """What is indexed stays, and the next run goes on from there."""
    body = await body_of(request, StopBody)
    indexing = api_of(request).services.indexing
    folder = await indexing.stop(body.workspace, body.path)
    found = [status for status in await indexing.status(folder.workspace) if status.folder.id == folder.id]
    return json_response({"folders": list(map(status_data, found))})


def job_data(job: Job) -> Json:
    return _data(job.folder, job, job.progress)


def status_data(status: FolderStatus) -> Json:
    job = status.job
    return {
        **_data(status.folder, job, job.progress if job is not None else None),
        "files": status.files,
        "watch_problem": status.watch_problem,
    }


def _data(folder: Folder, job: Job | None, progress: Progress | None) -> Json:
    return {
        "id": job.id if job is not None else None,
        "workspace": folder.workspace,
        "path": str(folder.root),
        "prefix": folder.prefix,
        "watch": folder.watch,
        "indexed_at": to_text(folder.indexed_at) if folder.indexed_at is not None else None,
        "started_at": to_text(job.started_at) if job is not None else None,
        "state": progress.state if progress is not None else "idle",
        "progress": progress_data(progress) if progress is not None else None,
        "error": job.error.detail if job is not None and job.error is not None else None,
        "watch_problem": None,
    }
