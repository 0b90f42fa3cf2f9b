"""`/api/v1/chat`: the answer as Server-Sent Events, or as one JSON object; and one that goes on after a reload."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from app.api.callers import caller_of
from app.api.deps import DirectRoute, api_of, body_docs, body_of, json_response, request_id, v1_router
from app.api.results import ChatResult, Problem
from app.api.resumable import KeptAnswer, KeptStream
from app.api.schemas import ChatBody
from app.api.scope import within
from app.api.sse import EventStream, WholeAnswer
from app.errors import InvalidRequest, NotFound

router = v1_router("chat", route_class=DirectRoute)

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
    asked = await within(request, body.to_request(request_id(request)))
    batches = api.services.chat.stream(asked)
    if body.resumable:
        kept = await api.kept.start(asked.request_id, asked.workspace, batches)
        return KeptStream(kept, 0, api.kept.readers, api.patience)
    if body.stream:
        return EventStream(batches, api.streams, api.patience)
    return WholeAnswer(batches, api.streams)


_KEPT: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "`stream_not_found`: not resumable, or nobody read it for too long"},
}


@router.get(
    "/chat/{request_id}/events",
    summary="Read on where a resumable answer was left",
    operation_id="resume_chat",
    responses={
        200: {
            "description": _STREAM
            + "| `reset` | request_id, missing, next_id: clear what is shown; events are gone |\n",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **_KEPT,
    },
    openapi_extra={
        "parameters": [
            {"name": "request_id", "in": "path", "required": True, "schema": {"type": "string"}},
            {
                "name": "Last-Event-ID",
                "in": "header",
                "description": "The last event that was received; from the beginning where absent.",
                "schema": {"type": "integer", "minimum": 0},
            },
        ]
    },
)
async def resume_chat(request: Request) -> Any:
    """The rest of an answer that was asked for with `resumable: true`: what was missed at once, then as it comes."""
    api = api_of(request)
    return KeptStream(_kept(request), _last_event_id(request), api.kept.readers, api.patience)


@router.delete(
    "/chat/{request_id}",
    summary="Stop a resumable answer",
    operation_id="stop_chat",
    responses={200: {"description": "It is stopped, and kept no longer."}, **_KEPT},
    openapi_extra={
        "parameters": [{"name": "request_id", "in": "path", "required": True, "schema": {"type": "string"}}]
    },
)
async def stop_chat(request: Request) -> Any:
    """Leaving does not stop a resumable answer; this does."""
    kept = _kept(request)
    kept.cancel()
    return json_response({"request_id": kept.request_id, "stopped": not kept.ended})


def _kept(request: Request) -> KeptAnswer:
    caller = caller_of(request)
    kept = api_of(request).kept.find(request.path_params["request_id"])
    if kept is None or (caller.workspace is not None and caller.workspace != kept.workspace):
        raise NotFound(
            "There is no resumable answer under this id: it was not asked for with `resumable: true`, or nobody has "
            "read it for 30 s.",
            code="stream_not_found",
        )
    return kept


def _last_event_id(request: Request) -> int:
    given = request.headers.get("last-event-id", "0")
    if not (given.isascii() and given.isdigit() and len(given) <= 15):
        raise InvalidRequest("Last-Event-ID: must be the number of an event", field="Last-Event-ID")
    return int(given)
