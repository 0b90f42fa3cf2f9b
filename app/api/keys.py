"""`/api/v1/keys`: a key for each client, bound to a workspace and to rights."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.deps import api_of, body_docs, body_of, json_response, v1_router
from app.api.json_text import Json
from app.api.results import Problem, Result
from app.api.schemas import Body, Id, TaskType
from app.store.client_key import RIGHTS, ClientKey
from app.store.tables import to_text

router = v1_router("keys")

KeyId = Annotated[str, Path(description="Of the key, as listed; never the key itself.", pattern="^[0-9a-f]{12}$")]
RightName = Literal["chat", "usage", "admin"]


class KeyBody(Body):
    """A new key. Say which workspace it is for, or that it is for all of them."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,62}[A-Za-z0-9]$|^[A-Za-z0-9]$")] = Field(
        description="Of the client: letters, digits, spaces and `_ . -`.", examples=["continue"]
    )
    workspace: Id | None = Field(description="The only workspace the key acts in; null: all of them.")
    rights: Annotated[list[RightName], Field(min_length=1, max_length=3)] = Field(
        ["chat"],
        description="`chat`: ask, search, sessions. `usage`: see what was spent. `admin`: everything else too.",
    )
    task_type: TaskType | None = Field(None, description="Of the client's requests that name none.")


class KeyResult(Result):
    id: str
    name: str
    workspace: str | None = Field(description="null: every workspace.")
    rights: list[RightName]
    task_type: str | None
    created_at: str
    last_used_at: str | None = Field(description="To the minute; null: never.")
    revoked_at: str | None


class NewKeyResult(KeyResult):
    key: str = Field(description="Shown this once: only its hash is kept.")


class KeyList(Result):
    keys: list[KeyResult]


BODIES = (KeyBody,)
_ADMIN: dict[int | str, dict[str, Any]] = {403: {"model": Problem, "description": "`missing_right`"}}


@router.get(
    "/keys", summary="Which keys are there?", operation_id="keys", responses={200: {"model": KeyList}, **_ADMIN}
)
async def keys(request: Request) -> Any:
    """Oldest first, revoked ones too; never a key itself."""
    return json_response({"keys": [key_data(key) for key in api_of(request).services.keys.all()]})


@router.post(
    "/keys",
    summary="Make a key for a client",
    operation_id="create_key",
    status_code=201,
    responses={
        201: {"model": NewKeyResult},
        409: {"model": Problem, "description": "`key_exists`"},
        422: {"model": Problem, "description": "`invalid_request`, `unknown_workspace`"},
        **_ADMIN,
    },
    openapi_extra=body_docs(KeyBody),
)
async def create(request: Request) -> Any:
    """The answer holds the key, this once."""
    services = api_of(request).services
    body = await body_of(request, KeyBody)
    if body.workspace is not None:
        services.memory.profile(body.workspace)
    key, text = await services.keys.create(
        body.name, workspace=body.workspace, rights=body.rights, task_type=body.task_type
    )
    response = json_response({**key_data(key), "key": text})
    response.status_code = 201
    return response


@router.delete(
    "/keys/{key_id}",
    summary="Revoke a key",
    operation_id="revoke_key",
    status_code=204,
    responses={404: {"model": Problem, "description": "`key_not_found`"}, 422: {"model": Problem}, **_ADMIN},
)
async def revoke(request: Request, key_id: KeyId) -> Response:
    """It opens nothing from now on; it stays in the list."""
    await api_of(request).services.keys.revoke(key_id)
    return Response(status_code=204, headers={"cache-control": "no-store"})


def key_data(key: ClientKey) -> Json:
    used, revoked = (None if moment is None else to_text(moment) for moment in (key.last_used_at, key.revoked_at))
    return {
        "id": key.id,
        "name": key.name,
        "workspace": key.workspace,
        "rights": [right for right in RIGHTS if right in key.rights],
        "task_type": key.task_type,
        "created_at": to_text(key.created_at),
        "last_used_at": used,
        "revoked_at": revoked,
    }
