"""OpenAI's API, for clients that speak it: `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models`.

The same rules, policy, budgets and ledger as `/api/v1/chat`: these routes only change the words.
"""

from __future__ import annotations

import base64
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request

from app.api.deps import DirectRoute, api_of, body_docs, body_of, json_response, request_id
from app.api.dialects import speaks_anthropic
from app.api.foreign import aim_of, lane_of, offered_names
from app.api.json_text import Json
from app.api.openai_schemas import ChatCompletionBody, CompletionBody, EmbeddingBody
from app.api.openai_wire import ChatChunks, ChatCompletion, TextChunks, TextCompletion
from app.api.sse import EventStream, WholeAnswer
from app.errors import UnknownModel
from app.memory.embedder import Urgency

router = APIRouter(prefix="/v1", route_class=DirectRoute, tags=["openai"])

EMBEDDING_MODEL: Final = "all-MiniLM-L6-v2"
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


@router.post(
    "/completions",
    summary="Go on with a text, or fill a gap in it",
    operation_id="openai_completion",
    responses={200: {"description": "A completion, or with `stream` its chunks as SSE."}, **RESPONSES},
    openapi_extra=body_docs(CompletionBody),
)
async def completions(request: Request) -> Any:
    """Routed as task type `completion`. With `suffix` it is an editor's inline completion: a newer one of the same
    client (its key, and its `X-Session-Id` where it sends one) takes the older one's place at once."""
    api = api_of(request)
    body = await body_of(request, CompletionBody)
    aim = aim_of(request, body.model, body.metadata or {}, "completion")
    asked = body.to_request(request_id(request), aim)
    batches = api.services.chat.stream(asked)
    created = int(api.services.clock.now().timestamp())
    lane = None if asked.gap is None or asked.gap.suffix is None else lane_of(request)
    if body.stream:
        encoder = TextChunks(asked.request_id, created, include_usage=body.wants_usage)
        return EventStream(batches, api.streams, api.patience, encoder, lane)
    return WholeAnswer(batches, api.streams, TextCompletion(asked.request_id, created), lane)


@router.post(
    "/embeddings",
    summary="Vectors of texts, made on this machine",
    operation_id="openai_embeddings",
    responses={200: {"description": "One vector per text, in order."}, **RESPONSES},
    openapi_extra=body_docs(EmbeddingBody),
)
async def embeddings(request: Request) -> Any:
    """all-MiniLM-L6-v2, 384 numbers of unit length, whatever model is named: no text leaves the machine for this."""
    services = api_of(request).services
    body = await body_of(request, EmbeddingBody)
    aim = aim_of(request, body.model, {})
    if aim.workspace is not None:
        services.memory.profile(aim.workspace)
    vectors = await services.embedder.embed(body.texts, Urgency.QUERY if len(body.texts) == 1 else Urgency.MESSAGE)
    binary = body.encoding_format == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(row) if binary else row.tolist()}
        for index, row in enumerate(vectors)
    ]
    tokens = sum(await services.counter.acount_many(body.texts, "bert"))
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_response({"object": "list", "data": data, "model": EMBEDDING_MODEL, "usage": usage})


@router.get("/models", summary="Names a client may say", operation_id="openai_models", responses=RESPONSES)
async def models(request: Request) -> Any:
    """`auto`, the configured models, the rules; in Anthropic's shape for a client that sends `anthropic-version`."""
    api = api_of(request)
    listed = [_model(request, name) for name in offered_names(api.services.config.current)]
    if not speaks_anthropic(request.scope):
        return json_response({"object": "list", "data": listed})
    ids = {"first_id": listed[0]["id"], "last_id": listed[-1]["id"]}
    return json_response({"data": listed, "has_more": False, **ids})


@router.get("/models/{name:path}", summary="One name", operation_id="openai_model", responses=RESPONSES)
async def model(request: Request) -> Any:
    """The same as in the list. 404 for a name that is not in it."""
    name: str = request.path_params["name"]
    if name not in offered_names(api_of(request).services.config.current):
        raise UnknownModel("there is no model of that name; `GET /v1/models` lists them", field="model")
    return json_response(_model(request, name))


def _model(request: Request, name: str) -> Json:
    started = api_of(request).services.started_at
    if speaks_anthropic(request.scope):
        return {"type": "model", "id": name, "display_name": name, "created_at": started.isoformat()}
    return {"id": name, "object": "model", "created": int(started.timestamp()), "owned_by": "llm-sidecar"}


def _base64(row: Any) -> str:
    """float32, little-endian, as OpenAI's packages ask for by themselves."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
