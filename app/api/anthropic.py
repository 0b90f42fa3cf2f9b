"""Anthropic's API, for clients that speak it: `/v1/messages` and `/v1/messages/count_tokens`.

The same rules, policy, budgets and ledger as `/api/v1/chat`: these routes only change the words.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request

from app.api.anthropic_schemas import AnthropicBody, CountBody
from app.api.anthropic_wire import MessageEvents, WholeMessage
from app.api.deps import DirectRoute, api_of, body_docs, body_of, json_response, request_id
from app.api.foreign import aim_of
from app.api.sse import EventStream, WholeAnswer

router = APIRouter(prefix="/v1", route_class=DirectRoute, tags=["anthropic"])

_ERROR: dict[str, Any] = {"description": "`{type: error, error: {type, message}, request_id}`"}
RESPONSES: dict[int | str, dict[str, Any]] = dict.fromkeys((400, 401, 402, 403, 404, 429, 502, 504), _ERROR)


@router.post(
    "/messages",
    summary="Chat, in Anthropic's words",
    operation_id="anthropic_message",
    responses={200: {"description": "A message, or with `stream` its events as SSE."}, **RESPONSES},
    openapi_extra=body_docs(AnthropicBody),
)
async def messages(request: Request) -> Any:
    """Decided by rules, fitted, metered and kept private like any other request."""
    api = api_of(request)
    body = await body_of(request, AnthropicBody)
    asked = body.to_request(request_id(request), aim_of(request, body.model, body.metadata or {}))
    batches = api.services.chat.stream(asked)
    if body.stream:
        return EventStream(
            batches, api.streams, api.patience, MessageEvents(asked.request_id, thinking=body.shows_thinking)
        )
    return WholeAnswer(batches, api.streams, WholeMessage(asked.request_id, thinking=body.shows_thinking))


@router.post(
    "/messages/count_tokens",
    summary="How long is it?",
    operation_id="anthropic_count_tokens",
    responses={200: {"description": "`{input_tokens}`"}, **RESPONSES},
    openapi_extra=body_docs(CountBody),
)
async def count_tokens(request: Request) -> Any:
    """Counted here, by the tokenizer of the model that would be asked; no model is called."""
    services = api_of(request).services
    body = await body_of(request, CountBody)
    asked = body.to_request(request_id(request), aim_of(request, body.model, {}))
    tokenizer = (await services.chat.explain(asked)).route.candidates[0].model.tokenizer
    counter = services.counter

    def count() -> int:
        return counter.messages_tokens(asked.messages, tokenizer) + counter.tools_tokens(asked.tools, tokenizer)

    characters = sum(len(str(message)) for message in asked.messages)
    return json_response({"input_tokens": await counter.run(count, characters, tokenizer)})
