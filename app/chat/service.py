"""ChatService: gather what the model should see, ask the router, remember the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.context.blocks import CodeChunk, EntityNote, OpenFile
from app.llm.events import Event, Explanation


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
    """Callers hold an instance from `app.services`."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[list[Event], None]:
        """Batches of events; see `app.llm.events`.

        Raises a `RequestError` from the first `anext` for everything that must be an HTTP status (workspace, model,
        policy, window, budget); once `RouteChosen` was yielded nothing is raised: the stream ends with `Done` or
        `Failed`. Closing the generator (`aclose`) or cancelling the task that iterates closes the upstream connection
        and settles the row as cancelled.
        """
        raise NotImplementedError

    async def explain(self, request: ChatRequest) -> Explanation:
        """The same path without a model call. Raises the same `RequestError`s as `stream`."""
        raise NotImplementedError
