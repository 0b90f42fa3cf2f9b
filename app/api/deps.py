"""What a route works with."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from app.agents.notifications import Inbox
from app.agents.service import AgentService
from app.api.json_text import JSON, dumps
from app.api.problems import request_id_of
from app.api.results import Problem
from app.api.resumable import KeepLimits, KeptAnswers
from app.api.schemas import validated
from app.api.sign_in import SignIn
from app.api.sse import Patience
from app.api.streams import OpenStreams
from app.api.strictjson import parse_json
from app.chat.capture import SessionCapture
from app.chat.service import ChatRequest
from app.chat.sessions import Sessions
from app.config.loader import Config
from app.config.watcher import ConfigStatus
from app.context.tokens import TokenCounter
from app.llm.events import Event, Explanation
from app.memory.embedder import Embedder
from app.memory.extraction import EntityExtraction
from app.memory.graph import EntityGraph
from app.memory.jobs import IndexJobs
from app.memory.workspace import WorkspaceMemory
from app.routing.catalog import ModelCatalog
from app.services.gauges import Gauge
from app.services.happenings import Happenings
from app.settings import Settings
from app.store.keys import ClientKeys
from app.usage.budgets import Budgets
from app.usage.metrics import UsageMetrics
from app.usage.queries import UsageQuery
from app.usage.reports import RecordPage, UsageReport
from app.usage.service import UsageService

M = TypeVar("M", bound=BaseModel)


class Chat(Protocol):
    """`app.chat.service.ChatService`, and what tests script in its place."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[list[Event], None]: ...

    async def explain(self, request: ChatRequest) -> Explanation: ...


class ConfigSource(Protocol):
    @property
    def current(self) -> Config: ...

    @property
    def status(self) -> ConfigStatus: ...


class Reports(Protocol):
    async def report(self, query: UsageQuery) -> UsageReport: ...

    async def records(self, query: UsageQuery, *, limit: int = 100, cursor: str | None = None) -> RecordPage: ...


class Now(Protocol):
    @property
    def now(self) -> Callable[[], datetime]: ...


class Services(Protocol):
    """What the routes use of `app.services.Services`; read-only, so that scripted services fit as well."""

    @property
    def settings(self) -> Settings: ...

    @property
    def config(self) -> ConfigSource: ...

    @property
    def chat(self) -> Chat: ...

    @property
    def sessions(self) -> Sessions: ...

    @property
    def capture(self) -> SessionCapture: ...

    @property
    def memory(self) -> WorkspaceMemory: ...

    @property
    def entities(self) -> EntityGraph: ...

    @property
    def extraction(self) -> EntityExtraction: ...

    @property
    def embedder(self) -> Embedder: ...

    @property
    def counter(self) -> TokenCounter: ...

    @property
    def keys(self) -> ClientKeys: ...

    @property
    def agents(self) -> AgentService: ...

    @property
    def indexing(self) -> IndexJobs: ...

    @property
    def catalog(self) -> ModelCatalog: ...

    @property
    def reports(self) -> Reports: ...

    @property
    def happenings(self) -> Happenings: ...

    @property
    def budgets(self) -> Budgets: ...

    @property
    def inbox(self) -> Inbox: ...

    @property
    def usage(self) -> UsageService: ...

    @property
    def clock(self) -> Now: ...

    @property
    def token(self) -> str: ...

    @property
    def instance_id(self) -> str: ...

    @property
    def started_at(self) -> datetime: ...

    @property
    def shutting_down(self) -> asyncio.Event: ...

    async def health(self) -> dict[str, Any]:
        """`{status, parts: {name: {status, ...}}}`."""
        ...

    @property
    def metrics(self) -> UsageMetrics: ...

    async def gauges(self) -> list[Gauge]:
        """What each part stands at."""
        ...

    async def refresh_models(self, *, force: bool = False) -> None:
        """Bring the catalog's availabilities up to date, where they are old."""
        ...


MOST_PAGES = 32


@dataclass(frozen=True, slots=True)
class Api:
    """The application's own state, at `app.state.api`."""

    services: Services
    streams: OpenStreams
    patience: Patience = field(default_factory=Patience)
    keep: KeepLimits = field(default_factory=KeepLimits)
    sign_in: SignIn = field(default_factory=SignIn)
    statuses: Counter[int] = field(default_factory=Counter)
    """How often each status was answered, for `/metrics`."""
    pages: OpenStreams = field(default_factory=lambda: OpenStreams(MOST_PAGES, "pages"))
    """Those of `/events`: apart, so that open pages keep nobody from an answer."""
    kept: KeptAnswers = field(init=False)
    """Answers that outlive their client."""

    def __post_init__(self) -> None:
        readers = 2 * self.services.settings.max_streams
        object.__setattr__(self, "kept", KeptAnswers(self.streams, readers, self.keep))


def api_of(request: Request) -> Api:
    api = request.app.state.api
    assert isinstance(api, Api)
    return api


async def body_of(request: Request, kind: type[M]) -> M:
    """The request's body as a `kind`. Raises `InvalidRequest` 400 (not JSON) or 422 (not such a `kind`)."""
    return validated(kind, parse_json(await request.body()))


def json_response(value: Any) -> Response:
    """The value as JSON that no cache keeps."""
    return Response(dumps(value), headers={"cache-control": "no-store"}, media_type=JSON)


def request_id(request: Request) -> str:
    return request_id_of(request.scope)


class DirectRoute(APIRoute):
    """A route whose endpoint takes the `Request` and returns the `Response`, and nothing is done in between.

    FastAPI's parameters cost more than all the rest of a request; what they would tell OpenAPI stands in
    `openapi_extra` instead.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        endpoint: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return endpoint


def v1_router(tag: str, *, route_class: type[APIRoute] = APIRoute) -> APIRouter:
    """A router for paths under `/api/v1`. The application takes its `routes` as they are: FastAPI's `include_router`
    would build each of them a second time, a fifth of the sidecar's start.
    """
    refused: dict[int | str, dict[str, Any]] = {401: {"model": Problem, "description": "`unauthorized`"}}
    return APIRouter(prefix="/api/v1", tags=[tag], responses=refused, route_class=route_class)


def body_docs(kind: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that reads its body with `body_of(request, kind)`."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}
