"""`/api/v1/chunks`, `/search`: what a workspace knows."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from app.api.callers import caller_of
from app.api.deps import DirectRoute, api_of, body_docs, body_of, json_response, v1_router
from app.api.json_text import Json
from app.api.memory_schemas import ChunksBody, ChunksResult, SearchBody, SearchResult
from app.api.results import Problem
from app.memory.hits import Hit

router = v1_router("memory", route_class=DirectRoute)

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "`invalid_request`, `unknown_workspace`"},
    503: {"model": Problem, "description": "`index_unavailable`"},
}


@router.post(
    "/chunks",
    summary="Store chunks a front end made",
    operation_id="put_chunks",
    responses={200: {"model": ChunksResult}, **_PROBLEMS},
    openapi_extra=body_docs(ChunksBody),
)
async def put_chunks(request: Request) -> Any:
    """Answered once they can be searched. All of it happens or nothing."""
    body = await body_of(request, ChunksBody)
    memory = api_of(request).services.memory
    chunks = body.to_chunks()
    asked = caller_of(request).workspace_for(body.workspace)
    workspace = await memory.put(asked, chunks, body.delete_paths)
    return json_response(
        {"workspace": workspace, "ids": [chunk.id for chunk in chunks], "searchable": memory.searched_by}
    )


@router.post(
    "/search",
    summary="What does the workspace know about this?",
    operation_id="search",
    responses={200: {"model": SearchResult}, **_PROBLEMS},
    openapi_extra=body_docs(SearchBody),
)
async def search(request: Request) -> Any:
    """By meaning and by words at once; by words alone where the embedding model is missing."""
    body = await body_of(request, SearchBody)
    memory = api_of(request).services.memory
    asked = caller_of(request).workspace_for(body.workspace)
    hits = await memory.search(asked, body.query, body.k)
    workspace = memory.profile(asked).id
    found = {"workspace": workspace, "chunks": list(map(hit_data, hits)), "searched_by": memory.searched_by}
    return json_response(found)


def hit_data(hit: Hit) -> Json:
    chunk = hit.chunk
    return {
        "id": chunk.id,
        "path": chunk.path,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "symbol": chunk.symbol,
        "language": chunk.language,
        "text": chunk.text,
        "score": hit.score,
        "similarity": hit.similarity,
        "lexical_rank": hit.lexical_rank,
        "vector_rank": hit.vector_rank,
    }
