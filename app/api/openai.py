"""OpenAI's API, for clients that speak it: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`.

The same rules, policy, budgets and ledger as `/api/v1/chat`: these routes only change the words.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.deps import DirectRoute, api_of, body_docs, body_of, request_id
from app.api.foreign import aim_of
from app.api.openai_schemas import ChatCompletionBody
from app.api.openai_wire import ChatChunks, ChatCompletion
from app.api.sse import EventStream, WholeAnswer

router = APIRouter(prefix="/v1", route_class=DirectRoute, tags=["openai"])

_ERROR: dict[str, Any] = {"description": "`{error: {message, type, param, code}}`"}
RESPONSES: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 401, 403, 404, 429, 502, 504), _ERROR)


@router.post(
    "/chat/completions",
    summary="Chat, in OpenAI's words",
    operation_id="openai_chat",
    responses={200: {"description": "A chat completion, or with `stream` its chunks as SSE."}, **RESPONSES},
    openapi_extra=body_docs(ChatCompletionBody),
)
async def chat_completions(request: Request) -> Any:
    """Decided by rules, fitted, metered and kept private like any other request."""
    api = api_of(request)
    body = await body_of(request, ChatCompletionBody)
    asked = body.to_request(request_id(request), aim_of(request, body.model, body.metadata or {}))
    batches = api.services.chat.stream(asked)
    created = int(api.services.clock.now().timestamp())
    if body.stream:
        encoder = ChatChunks(asked.request_id, created, include_usage=body.wants_usage)
        return EventStream(batches, api.streams, api.patience, encoder)
    return WholeAnswer(batches, api.streams, ChatCompletion(asked.request_id, created))
