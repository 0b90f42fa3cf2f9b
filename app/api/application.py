"""The FastAPI application: routes, error handlers, the door in front, and the document that describes them.

Imported when the sidecar's port is open already: FastAPI and what the routes need are most of its start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app import __version__
from app.api import (
    agent_schemas,
    agents,
    anthropic,
    anthropic_schemas,
    budgets,
    chat,
    config,
    dashboard,
    entities,
    entity_schemas,
    events,
    explain,
    health,
    index_schemas,
    indexing,
    keys,
    memory,
    memory_schemas,
    metrics,
    models,
    notifications,
    openai,
    openai_schemas,
    requests,
    session_schemas,
    sessions,
    usage,
    usage_schemas,
)
from app.api.callers import Caller, client
from app.api.deps import Api, Services
from app.api.description import complete
from app.api.dialects import error_response
from app.api.problems import invalid_fields, request_id_of
from app.api.resumable import KeepLimits
from app.api.schemas import ChatBody, ExplainBody
from app.api.security import Door, DoorPolicy
from app.api.sse import Patience
from app.api.streams import OpenStreams
from app.errors import InvalidRequest, NothingThere, SidecarError
from app.store.client_key import PREFIX

log = logging.getLogger(__name__)

_ROUTERS = (
    chat.router,  # the hottest route first: routes are matched in order
    explain.router,
    sessions.router,
    memory.router,
    indexing.router,
    indexing.direct,
    entities.router,
    agents.router,
    agents.direct,
    usage.router,
    requests.router,
    models.router,
    config.router,
    keys.router,
    dashboard.router,
    events.router,
    health.router,
    budgets.router,
    notifications.router,
    notifications.live,
    openai.router,
    anthropic.router,
    health.open_router,
    dashboard.page_router,
    metrics.router,
)


def create_app(services: Services, patience: Patience | None = None, keep: KeepLimits | None = None) -> FastAPI:
    """The application for services that are open. Its lifespan ends open streams when `shutting_down` is set."""
    api = Api(services, OpenStreams(services.settings.max_streams), patience or Patience(), keep or KeepLimits())
    app = _application()
    app.state.api = api
    app.router.lifespan_context = _lifespan
    allowed = services.settings
    app.add_middleware(
        Door,
        policy=DoorPolicy(
            services.token,
            tuple(allowed.allowed_hosts),
            tuple(allowed.allowed_origins),
            client=lambda offered: _client(services, offered),
            used=lambda request_id: services.usage.knows(request_id),
        ),
        sign_in=api.sign_in,
        statuses=api.statuses,
    )
    return app


def _client(services: Services, offered: bytes) -> Caller | None:
    key = services.keys.authenticate(offered) if offered.startswith(PREFIX) else None
    return None if key is None else client(key)


def openapi_document() -> dict[str, Any]:
    """The description of the HTTP interface, made from the code alone: no services, no files."""
    return _application().openapi()


def _application() -> FastAPI:
    app = FastAPI(
        title="llm-sidecar",
        version=__version__,
        summary="One local door to every language model.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
        routes=[route for router in _ROUTERS for route in router.routes],
    )
    _install_handlers(app)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """FastAPI's document, with the bodies that are read without its help, and with the token."""
    document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
    template = "#/components/schemas/{model}"
    read: tuple[type[BaseModel], ...] = (
        ChatBody,
        ExplainBody,
        *session_schemas.BODIES,
        *memory_schemas.BODIES,
        *entity_schemas.BODIES,
        *keys.BODIES,
        *openai_schemas.BODIES,
        *agent_schemas.BODIES,
        *index_schemas.BODIES,
        *anthropic_schemas.BODIES,
        *usage_schemas.BODIES,
    )
    _, bodies = models_json_schema([(body, "validation") for body in read], ref_template=template)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(bodies["$defs"])
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    document["security"] = [{"bearer": []}, {"key": []}]
    document["paths"]["/health"]["get"]["security"] = []
    _describe_problems(document)
    complete(document)
    return document


def _describe_problems(document: dict[str, Any]) -> None:
    """FastAPI describes a 422 of its own shape for every route with parameters; ours is a problem."""
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    ours = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operations in document["paths"].values():
        for operation in operations.values():
            refused = operation["responses"].get("422", {})
            if "HTTPValidationError" in str(refused.get("content")):
                refused |= {"description": "`invalid_request`", "content": ours}


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    api: Api = app.state.api

    async def end_streams() -> None:
        await api.services.shutting_down.wait()
        api.streams.shut_down()
        api.pages.shut_down()

    watcher = asyncio.create_task(end_streams())
    try:
        yield
    finally:
        watcher.cancel()
        await api.kept.aclose()


def _install_handlers(app: FastAPI) -> None:
    """Every way an answer can fail before it has begun, as a problem body."""
    app.add_exception_handler(SidecarError, _on_sidecar_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_sidecar_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, SidecarError)
    if error.status == 500:
        log.error("request %s failed: %s", request_id_of(request.scope), error.detail)
    return error_response(error, request.scope)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    # FastAPI puts where a value came from (query, path, body) in front of its name.
    found = [{**e, "loc": tuple(e["loc"])[1:]} for e in error.errors()]
    return error_response(invalid_fields(found), request.scope)  # type: ignore[arg-type]


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 404:
        problem: SidecarError = NothingThere(request.scope["path"])
    elif error.status_code == 405:
        allowed = headers.get("Allow") or headers.get("allow") or "another method"
        problem = InvalidRequest(
            f"This path does not take that method; it takes {allowed}.", status=405, code="method_not_allowed"
        )
    else:
        problem = InvalidRequest("The request cannot be served as it is.", status=error.status_code)
    return error_response(problem, request.scope, headers)
