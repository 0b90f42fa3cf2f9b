"""`/api/v1/entities`: what a workspace knows of, and how it hangs together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from app.api.callers import caller_of
from app.api.deps import api_of, body_docs, body_of, json_response, v1_router
from app.api.entity_schemas import (
    DeleteParams,
    EntitiesBody,
    EntitiesResult,
    EntityDetailResult,
    ExtractBody,
    ExtractResult,
    FindParams,
    FoundEntities,
    ShowParams,
)
from app.api.results import Problem
from app.api.schemas import JsonObject
from app.errors import InvalidRequest
from app.memory.entities import ID, Entity, EntityRef, Found, Relation, Sighting
from app.memory.graph import EntityGraph
from app.store.tables import to_text

router = v1_router("memory")

_MENTIONS = re.compile(r"[0-9]{1,15}")
EntityId = Annotated[str, Path(description="1 to 128 letters, digits and `_ . : -`.")]

_INVALID: dict[int | str, dict[str, Any]] = {
    422: {"model": Problem, "description": "`invalid_request`, `unknown_workspace`"}
}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`entity_not_found`"}, **_INVALID}


@router.get(
    "/entities",
    summary="What does the workspace know of?",
    operation_id="entities",
    responses={200: {"model": FoundEntities}, **_INVALID},
)
async def find(request: Request, params: Annotated[FindParams, Query()]) -> Any:
    """By name and words with `q`; else all, the most mentioned first, a page at a time. `hops` adds neighbours."""
    services = api_of(request).services
    workspace = services.memory.profile(caller_of(request).workspace_for(params.workspace)).id
    graph, next_cursor = services.entities, None
    if params.q is not None:
        if params.cursor is not None:
            raise InvalidRequest("pages are of the whole list; leave `cursor` out beside `q`", field="cursor")
        found = await graph.search(workspace, params.q, kinds=params.kinds, limit=params.limit)
    else:
        found, next_cursor = await _page(graph, workspace, params)
    relations: tuple[Relation, ...] = ()
    if params.hops and found:
        near = await graph.neighbours(workspace, [hit.entity.id for hit in found], hops=params.hops, limit=params.limit)
        found, relations = [*found, *near.found], near.relations
    return json_response(
        {
            "workspace": workspace,
            "entities": [found_data(hit) for hit in found],
            "relations": [relation_data(relation) for relation in relations],
            "next_cursor": next_cursor,
        }
    )


async def _page(graph: EntityGraph, workspace: str, params: FindParams) -> tuple[list[Found], str | None]:
    before = _before(params.cursor) if params.cursor else None
    every = await graph.page(workspace, kinds=params.kinds, limit=params.limit + 1, before=before)
    some = every[: params.limit]
    more = f"{some[-1].mentions}.{some[-1].id}" if len(every) > len(some) else None
    return [Found(entity, private=entity.private) for entity in some], more


def _before(text: str) -> tuple[int, str]:
    """Raises `InvalidRequest` for what is no cursor of ours."""
    mentions, _, identity = text.partition(".")
    if not _MENTIONS.fullmatch(mentions) or not ID.fullmatch(identity):
        raise InvalidRequest("`cursor` is not a cursor of this endpoint", field="cursor")
    return int(mentions), identity


@router.post(
    "/entities",
    summary="Store entities and relations",
    operation_id="put_entities",
    responses={200: {"model": EntitiesResult}, **_INVALID},
    openapi_extra=body_docs(EntitiesBody),
)
async def put(request: Request) -> Any:
    """Answered once they can be found. All of it happens or nothing; sending the same again changes nothing."""
    body = await body_of(request, EntitiesBody)
    stored = await api_of(request).services.entities.upsert(
        caller_of(request).workspace_for(body.workspace),
        body.said_by,
        [entity.to_new() for entity in body.entities],
        [relation.to_new() for relation in body.relations],
        forget=body.forgotten,
    )
    return json_response({"workspace": stored.workspace, "ids": list(stored.ids), "relations": stored.relations})


@router.post(
    "/entities/extract",
    summary="Find entities in a text",
    operation_id="extract_entities",
    responses={200: {"model": ExtractResult}, **_INVALID},
    openapi_extra=body_docs(ExtractBody),
)
async def extract(request: Request) -> Any:
    """By a local model where one answers, else by patterns; never by a cloud model. Answered once they are stored."""
    body = await body_of(request, ExtractBody)
    services = api_of(request).services
    workspace, extraction = services.memory.profile(body.workspace).id, services.extraction
    if body.store:
        kept = await extraction.keep(
            workspace, body.text, origin=body.said_by, use_model=body.use_model, person_waits=True
        )
        ids: Sequence[str | None] = kept.ids
        found = kept.extracted
    else:
        found = await extraction.extract(workspace, body.text, use_model=body.use_model, person_waits=True)
        ids = [None] * len(found.entities)
    return json_response(
        {
            "workspace": workspace,
            "entities": [
                {"id": i, "name": e.name, "kind": e.kind, "summary": e.summary, "mentions": e.mentions}
                for i, e in zip(ids, found.entities, strict=True)
            ],
            "relations": [
                {"from": _name(r.start), "to": _name(r.end), "kind": r.kind, "weight": r.weight}
                for r in found.relations
            ],
            "by": list(found.by),
            "warnings": list(found.warnings),
            "stored": body.store,
        }
    )


def _name(end: EntityRef | str) -> str:
    return end if isinstance(end, str) else end.name


# These two last, and with whatever path: `../../x` is no entity's id, and is told so.
@router.get(
    "/entities/{entity_id:path}",
    summary="One entity and what is around it",
    operation_id="entity",
    responses={200: {"model": EntityDetailResult}, **_MISSING},
)
async def one(request: Request, entity_id: EntityId, params: Annotated[ShowParams, Query()]) -> Any:
    """With who speaks of it, and its neighbours up to `hops` away."""
    graph = api_of(request).services.entities
    detail = await graph.get(entity_id, caller_of(request).workspace_for(params.workspace))
    found = detail.entity
    near = None
    if params.hops:
        near = await graph.neighbours(found.workspace, [found.id], hops=params.hops, limit=params.limit)
    return json_response(
        {
            **entity_data(found),
            "aliases": list(detail.aliases),
            "sightings": [sighting_data(seen) for seen in detail.sightings],
            "neighbours": [found_data(hit) for hit in near.found] if near else [],
            "relations": [relation_data(relation) for relation in near.relations] if near else [],
            "truncated": near.truncated if near else False,
        }
    )


@router.delete(
    "/entities/{entity_id:path}",
    summary="Forget an entity",
    operation_id="delete_entity",
    status_code=204,
    responses=_MISSING,
)
async def delete(request: Request, entity_id: EntityId, params: Annotated[DeleteParams, Query()]) -> Response:
    """Its relations go with it. What is read from code comes back when its file is indexed again."""
    await api_of(request).services.entities.delete(entity_id, caller_of(request).workspace_for(params.workspace))
    return Response(status_code=204, headers={"cache-control": "no-store"})


def entity_data(entity: Entity) -> JsonObject:
    return {
        "id": entity.id,
        "workspace": entity.workspace,
        "kind": entity.kind,
        "name": entity.name,
        "summary": entity.summary,
        "source": entity.source,
        "path": entity.path,
        "line": entity.line,
        "private": entity.private,
        "mentions": entity.mentions,
        "first_seen": to_text(entity.first_seen),
        "last_seen": to_text(entity.last_seen),
    }


def found_data(found: Found) -> JsonObject:
    return {**entity_data(found.entity), "hops": found.hops, "score": found.score, "similarity": found.similarity}


def relation_data(relation: Relation) -> JsonObject:
    return {
        "from": relation.start,
        "to": relation.end,
        "kind": relation.kind,
        "weight": relation.weight,
        "private": relation.private,
    }


def sighting_data(seen: Sighting) -> JsonObject:
    return {
        "source": seen.source,
        "origin": seen.origin.partition(":")[2],
        "name": seen.name,
        "summary": seen.summary,
        "path": seen.path,
        "line": seen.line,
        "private": seen.private,
        "mentions": seen.mentions,
        "first_seen": seen.first_seen,
        "last_seen": seen.last_seen,
    }
