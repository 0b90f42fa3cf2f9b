"""Errors in the words of the API a client speaks: OpenAI's and Anthropic's under `/v1`, problem bodies elsewhere.

Their packages turn statuses into exception classes and retry some of them by themselves. A status is therefore the one
that provider would have sent; `x-should-retry: false` (which both packages heed) stands where asking again at once can
only cost: a spent budget, or an answer the router has already retried.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Scope

from app.api.json_text import JSON, dumps
from app.api.problems import problem_response, request_id_of
from app.config.redact import redact_patterns
from app.errors import AnswerError, BudgetExceeded, Conflict, ContextTooLarge, ShuttingDown, SidecarError, UnknownModel

OPENAI_PREFIX: Final = "/v1/"
ANTHROPIC_PREFIX: Final = "/v1/messages"

_OPENAI_TYPES: Final[Mapping[int, str]] = {
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
}
_OPENAI_CODES: Final[Mapping[str, str]] = {
    "unauthorized": "invalid_api_key",
    "unknown_model": "model_not_found",
    "context_too_large": "context_length_exceeded",
    "budget_exceeded": "insufficient_quota",
    "too_many_streams": "rate_limit_exceeded",
}
_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


def speaks_anthropic(scope: Scope) -> bool:
    """Whether the client expects Anthropic's shapes: by the path, and on the shared `/v1/models` by its header."""
    path: str = scope["path"]
    if path.startswith(OPENAI_PREFIX + "models"):
        return any(name == b"anthropic-version" for name, _ in scope["headers"])
    return path == ANTHROPIC_PREFIX or path.startswith(ANTHROPIC_PREFIX + "/")


def error_response(error: SidecarError, scope: Scope, headers: Mapping[str, str] | None = None) -> Response:
    """The error as a whole answer, in the dialect of the request's path."""
    request_id = request_id_of(scope)
    if not scope["path"].startswith(OPENAI_PREFIX):
        return problem_response(error, request_id, headers)
    sent = {"cache-control": "no-store", **(headers or {}), **_retry_headers(error)}
    if error.status == 401:
        sent["www-authenticate"] = 'Bearer realm="llm-sidecar"'
    if speaks_anthropic(scope):
        sent["request-id"] = request_id
        status, body = _status(error, budget=402), anthropic_error(error, request_id)
    else:
        status, body = _status(error, budget=429), openai_error(error)
    return Response(dumps(body), status, sent, media_type=JSON)


def openai_error(error: SidecarError) -> dict[str, Any]:
    """`{"error": {message, type, param, code}}`."""
    status = _status(error, budget=429)
    kind = _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    if isinstance(error, BudgetExceeded):
        kind = "insufficient_quota"
    said = {"message": redact_patterns(error.detail), "type": kind, "param": _field(error)}
    return {"error": {**said, "code": _OPENAI_CODES.get(error.code, error.code)}}


def anthropic_error(error: SidecarError, request_id: str) -> dict[str, Any]:
    """`{"type": "error", "error": {type, message}, "request_id"}`."""
    kind = _ANTHROPIC_TYPES.get(_status(error, budget=402), "api_error")
    said = {"type": kind, "message": redact_patterns(error.detail)}
    return {"type": "error", "error": said, "request_id": request_id}


def _status(error: SidecarError, *, budget: int) -> int:
    if isinstance(error, UnknownModel):
        return 404
    if isinstance(error, BudgetExceeded):
        return budget
    # A body that is not what the API takes is a 400 there; ours says 422 (and 413 for what no window holds).
    return 400 if error.status == 422 or isinstance(error, ContextTooLarge) else error.status


def _retry_headers(error: SidecarError) -> dict[str, str]:
    found = {}
    if (after := error.extra.get("retry_after")) is not None:
        found["retry-after"] = str(after)
    if isinstance(error, BudgetExceeded | Conflict) or (
        isinstance(error, AnswerError) and not isinstance(error, ShuttingDown)
    ):
        found["x-should-retry"] = "false"
    return found


def _field(error: SidecarError) -> str | None:
    """The member of the body that is wrong, where the error names one."""
    if (field := error.extra.get("field")) is not None:
        return str(field)
    listed = error.extra.get("errors")
    first = listed[0] if isinstance(listed, list) and listed else None
    return str(first["field"]) if isinstance(first, dict) and "field" in first else None
