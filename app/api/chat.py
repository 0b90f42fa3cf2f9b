"""`POST /api/v1/chat`: the answer as Server-Sent Events, or as one JSON object."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.deps import DirectRoute, api_of, body_docs, body_of, request_id
from app.api.results import ChatResult, Problem
from app.api.schemas import ChatBody
from app.api.scope import within
from app.api.sse import EventStream, WholeAnswer

router = APIRouter(route_class=DirectRoute, tags=["chat"])

_STREAM = """Server-Sent Events. `data` is JSON; `id` counts up; exactly one of `done` and `error` comes last.

| event | data |
| --- | --- |
| `route` | request_id, rule, model, location, candidates, reasons |
| `context` | model, window, input_tokens, reserved_output, upgraded_from, blocks |
| `attempt` | model, number, outcome, code, reason, wait_seconds |
| `token`, `reasoning` | text |
| `tool_call` | index, id, name, arguments (a part, to be appended) |
| `done` | the fields of ChatResult from `model` on |
| `error` | a problem body, plus delivered_characters |
"""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": ChatResult,
        "description": _STREAM,
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    402: {"model": Problem, "description": "`budget_exceeded`"},
    403: {"model": Problem, "description": "`no_permitted_model`: the workspace's policy left no model"},
    413: {"model": Problem, "description": "`context_too_large`, `body_too_large`"},
    422: {"model": Problem, "description": "`invalid_request`, `unknown_workspace`, `unknown_model`, `no_rule`"},
    429: {"model": Problem, "description": "`too_many_streams`; Retry-After says when to ask again"},
    502: {"model": Problem, "description": "With `stream: false`: `all_candidates_failed`, `stream_interrupted`"},
    504: {"model": Problem, "description": "With `stream: false`: `timeout`"},
}


@router.post(
    "/chat", summary="Ask a model", operation_id="chat", responses=_RESPONSES, openapi_extra=body_docs(ChatBody)
)
async def chat(request: Request) -> Any:
    """Choose a model by the rules and the workspace's policy, fit the context to it, and stream its answer."""
    api = api_of(request)
    body = await body_of(request, ChatBody)
    batches = api.services.chat.stream(await within(request, body.to_request(request_id(request))))
    if body.stream:
        return EventStream(batches, api.streams, api.patience)
    return WholeAnswer(batches, api.streams)
