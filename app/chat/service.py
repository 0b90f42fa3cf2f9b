"""ChatService: gather what the model should see, ask the router, remember the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from app.config.loader import Config
from app.context.blocks import CodeChunk, EntityNote, Material, OpenFile
from app.errors import NotFound
from app.llm.calls import ModelRequest
from app.llm.events import Event, Explanation
from app.llm.router import ModelRouter


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """`POST /api/v1/chat` as a value; field names are those of the HTTP contract."""

    request_id: str
    messages: tuple[Mapping[str, Any], ...]
    """The query as a user message, or the caller's messages."""
    workspace: str | None = None
    """None: the default workspace."""
    task_type: str = "chat"
    session_id: str | None = None
    contains_code: bool | None = None
    session_state: Mapping[str, Any] | str | None = None
    chunks: tuple[CodeChunk, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    entities: tuple[EntityNote, ...] = ()
    file: OpenFile | None = None
    stacktrace: str | None = None
    retrieve: bool = False
    model: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    stop: tuple[str, ...] = ()
    response_format: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class ChatService:
    """What chat needs beyond a model: the workspace's defaults, and what the request brought along.

    `config` returns the configuration that is current.
    """

    def __init__(self, router: ModelRouter, config: Callable[[], Config]) -> None:
        self._router = router
        self._config = config

    async def stream(self, request: ChatRequest) -> AsyncGenerator[list[Event], None]:
        """Batches of events; see `app.llm.events`.

        Raises a `RequestError` from the first `anext` for everything that must be an HTTP status (workspace, model,
        policy, window, budget); once `RouteChosen` was yielded nothing is raised: the stream ends with `Done` or
        `Failed`. Closing the generator (`aclose`) or cancelling the task that iterates closes the upstream connection
        and settles the row as cancelled.
        """
        async with aclosing(self._router.stream(self._gather(request))) as batches:
            async for batch in batches:
                yield batch

    async def explain(self, request: ChatRequest) -> Explanation:
        """The same path without a model call. Raises the same `RequestError`s as `stream`."""
        return await self._router.explain(self._gather(request))

    def _gather(self, request: ChatRequest) -> ModelRequest:
        if request.session_id is not None:
            raise NotFound(f"there is no session {request.session_id!r}", code="session_not_found")
        config = self._config()
        workspace = request.workspace or config.profiles.default_workspace
        profile = config.profile(workspace)
        material = Material(
            messages=request.messages,
            system_prompt=profile.system_prompt if profile else None,
            session_state=request.session_state,
            history=request.history,
            chunks=request.chunks,
            entities=request.entities,
            file=request.file,
            stacktrace=request.stacktrace,
            tools=request.tools,
        )
        return ModelRequest(
            request_id=request.request_id,
            workspace=workspace,
            task_type=request.task_type,
            material=material,
            contains_code=request.contains_code,
            wish=request.model,
            max_output_tokens=request.max_output_tokens,
            temperature=request.temperature,
            stop=request.stop,
            response_format=request.response_format,
            tools=request.tools,
            tool_choice=request.tool_choice,
            metadata=request.metadata,
            session_id=request.session_id,
        )
