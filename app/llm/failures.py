"""What went wrong, in our words: HTTP answers, error objects inside a stream, exceptions of the translation.

An answer's status says most; its text decides where one status means several things: a 400 may be a prompt that is too
long (another model may take it), a bad key (Gemini), an unknown parameter, or a request that is really wrong. The
wordings are those of the servers' sources and of litellm's `exception_mapping_utils`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from app.errors import (
    AttemptError,
    AttemptTimeout,
    BadChunk,
    BadCredentials,
    ConnectionLost,
    ContextOverflow,
    EgressBlocked,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestRefused,
    ServerFailed,
    Unreachable,
    Unsupported,
)
from app.llm.calls import ModelCall

Redact = Callable[[str], str]
"""Text without any key in it."""

SHOWN_CHARACTERS = 300
"""How much of a provider's own words is shown."""
SEARCHED_CHARACTERS = 20_000
LONGEST_RETRY_AFTER = 30 * 24 * 3600.0
"""Seconds. A monthly quota may say so; what is longer is no wait but nonsense."""
QUOTED_CHARACTERS = 32
"""So many characters of the prompt in an error text are a quotation of it."""
SHORT_PROMPT = 12
"""A text of the prompt this long or longer, repeated whole, is one too; anything shorter may be there by chance."""


def _any(*wordings: str) -> re.Pattern[str]:
    return re.compile("|".join(wordings), re.IGNORECASE)


OVERFLOW = _any(
    "context_length_exceeded",  # OpenAI, Azure, DeepSeek, Groq
    r"maximum context length|maximum context limit",  # OpenAI, vLLM, Mistral, OpenRouter
    "prompt is too long",  # Anthropic
    r"exceeds? context limit",  # Anthropic: "input length and `max_tokens` exceed context limit"
    "exceeds the maximum number of tokens",  # Gemini
    r"exceed_context_size_error|exceeds the available context size",  # llama.cpp, Lemonade
    r"prompt too long; exceeded|exceeds (?:the )?(?:maximum )?context length",  # Ollama
    r"longer than the (?:model's context length|maximum model length)",  # vLLM, SGLang
    r"greater than the context length|context the overflows|context length of only",  # LM Studio
    r"maximum prompt length is|maximum input length is",  # xAI, TGI
    r"`inputs` tokens \+ `max_new_tokens` must be",  # TGI, Together
    "input tokens exceed the configured limit",  # OpenAI
    r"current length is .{0,40}while limit is",  # Cerebras
    r"reduce the length of the messages|too many tokens",  # Groq, Cohere
)
NO_CREDIT = _any(
    "insufficient_quota",
    "credit balance is too low",
    "billing_hard_limit",
    "insufficient[ _]balance|insufficient credit",
)
BAD_KEY = _any(
    "api key not valid", "api_key_invalid", "invalid_api_key", "invalid api key", "api key expired", "invalid x-api-key"
)
NO_SUCH_MODEL = _any(
    "model_not_found",
    r"model .{0,200}(?:not found|does not exist)",
    "not a valid model",
    "unknown model",
    "no such model",
)
CANNOT = _any(
    "does not support",
    r"(?:is|are) not supported",
    "unsupported[_ ](?:parameter|value|content)",
    "unrecognized request argument",
    "unknown parameter",
    "extra inputs are not permitted",
)
OVERLOADED = _any("overloaded", "server busy", "over capacity", "unavailable", "resource_exhausted_server")
RATE_LIMITED = _any("rate[ _-]?limit", "too many requests", "resource_exhausted", "quota", "usage limit")

BY_STATUS: Mapping[int, type[AttemptError]] = {
    401: BadCredentials,
    402: BadCredentials,
    403: BadCredentials,
    404: ModelNotFound,
    405: ModelNotFound,
    408: AttemptTimeout,
    410: ModelNotFound,
    413: ContextOverflow,
    425: Overloaded,
    429: RateLimited,
    501: Unsupported,
    503: Overloaded,
    504: AttemptTimeout,
    524: AttemptTimeout,
    529: Overloaded,
}
READ_FIRST: tuple[tuple[frozenset[int], re.Pattern[str], type[AttemptError]], ...] = (
    (frozenset({400, 402, 403, 429}), NO_CREDIT, BadCredentials),
    (frozenset({400, 413, 422, 500}), OVERFLOW, ContextOverflow),
    (frozenset({400}), BAD_KEY, BadCredentials),
    (frozenset({400, 422}), NO_SUCH_MODEL, ModelNotFound),
    (frozenset({400, 422}), CANNOT, Unsupported),
)
"""Statuses whose text is looked at before the status alone decides, in this order."""


def of_status(
    call: ModelCall, status: int, headers: Mapping[str, str], body: bytes, *, redact: Redact, now: datetime
) -> AttemptError:
    """The error an HTTP answer other than 200 stands for. `now` is aware; it dates a Retry-After given as a date."""
    if 300 <= status < 400:
        return EgressBlocked(
            f"{call.model.id}: redirect refused (the server answered {status})", provider_status=status
        )
    said = body[:SEARCHED_CHARACTERS].decode("utf-8", "replace")
    kind = _kind(status, said)
    words = quote(call, _message(body) or said, redact)
    detail = f"{call.model.id} answered {status}" + (f": {words}" if words else "") + _remedy(call, kind, said)
    return kind(detail, provider_status=status, retry_after=retry_after(headers, body, now))


def in_stream(call: ModelCall, payload: Mapping[str, Any], *, redact: Redact) -> AttemptError:
    """The error that an error object inside a 200 stream stands for. Anything not recognised is a server error."""
    said = orjson.dumps(payload, default=str).decode()[:SEARCHED_CHARACTERS]
    error = payload.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    if OVERFLOW.search(said):
        kind: type[AttemptError] = ContextOverflow
    elif isinstance(code, int) and 400 <= code < 600:
        kind = _kind(code, said)
    elif OVERLOADED.search(said):
        kind = Overloaded
    elif RATE_LIMITED.search(said):
        kind = RateLimited
    else:
        kind = ServerFailed
    words = quote(call, _words(payload) or said, redact)
    return kind(f"{call.model.id} broke off with an error: {words}", provider_status=200)


def _kind(status: int, said: str) -> type[AttemptError]:
    for statuses, wording, kind in READ_FIRST:
        if status in statuses and wording.search(said):
            return kind
    if status in BY_STATUS:
        return BY_STATUS[status]
    return RequestRefused if 400 <= status < 500 else ServerFailed


def _remedy(call: ModelCall, kind: type[AttemptError], said: str) -> str:
    if kind is ModelNotFound and call.model.provider == "ollama":
        return f" (try: ollama pull {call.model.name})"
    if kind is BadCredentials and NO_CREDIT.search(said):
        return " (the account has no credit left)"
    if kind is BadCredentials and call.model.api_key_env:
        return f" (check {call.model.api_key_env})"
    return ""


def quote(call: ModelCall, text: str, redact: Redact) -> str:
    """A provider's words, fit to be shown: on one line, without keys and without the prompt, shortened."""
    said = text[:SEARCHED_CHARACTERS].split()
    if len(text) > SEARCHED_CHARACTERS:
        said = said[:-1]  # it may be half a key, which nobody would recognise
    words = redact(" ".join(said))[:SHOWN_CHARACTERS]
    return "(its text repeats the prompt, and is left out)" if _repeats_prompt(call, words) else words


def _repeats_prompt(call: ModelCall, words: str) -> bool:
    step = QUOTED_CHARACTERS // 2
    pieces = [words[at : at + step] for at in range(0, len(words) - step + 1, step)]
    for text in _texts(call.messages):
        prompt = " ".join(text.split())
        short = len(prompt) < QUOTED_CHARACTERS
        if short and len(prompt) >= SHORT_PROMPT and prompt in words:
            return True
        if not short and any(piece in prompt for piece in pieces):
            return True
    return False


def _texts(value: object) -> Iterator[str]:
    """Every text of the messages that is long enough to be recognised."""
    if isinstance(value, str):
        if len(value) >= SHORT_PROMPT:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _message(body: bytes) -> str:
    try:
        return _words(orjson.loads(body))
    except orjson.JSONDecodeError:
        return ""


def _words(value: object) -> str:
    """The sentence in an error body, wherever the server puts it."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, str):
        return value
    if not isinstance(value, Mapping):
        return ""
    for name in ("error", "message", "detail", "msg", "error_message"):
        if words := _words(value.get(name)):
            return words
    return ""


def retry_after(headers: Mapping[str, str], body: bytes, now: datetime) -> float | None:
    """Seconds to wait: `retry-after-ms`, `retry-after` (seconds or an HTTP date), else Gemini's `retryDelay`."""
    fields = {name.lower(): value for name, value in headers.items()}
    if (milliseconds := _number(fields.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    if said := fields.get("retry-after"):
        seconds = _number(said)
        return _until(said, now) if seconds is None else seconds
    if delay := re.search(rb'"retryDelay"\s*:\s*"([0-9.]+)s"', body[:SEARCHED_CHARACTERS]):
        return _number(delay[1].decode())
    return None


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return min(max(value, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(value) else None


def _until(date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return None
    seconds = (then if then.tzinfo else then.replace(tzinfo=UTC)) - now
    return min(max(seconds.total_seconds(), 0.0), LONGEST_RETRY_AFTER)


BY_CLASS: Mapping[str, type[AttemptError]] = {
    "AuthenticationError": BadCredentials,
    "PermissionDeniedError": BadCredentials,
    "PaymentRequiredError": BadCredentials,
    "BudgetExceededError": BadCredentials,
    "NotFoundError": ModelNotFound,
    "ModelNotMappedError": ModelNotFound,
    "LiteLLMUnknownProvider": Unsupported,
    "UnsupportedParamsError": Unsupported,
    "ImageFetchError": Unsupported,
    "VectorStoreSearchError": Unsupported,
    "ContextWindowExceededError": ContextOverflow,
    "Timeout": AttemptTimeout,
    "RateLimitError": RateLimited,
    "ServiceUnavailableError": Overloaded,
    "BadGatewayError": ServerFailed,
    "InternalServerError": ServerFailed,
    "APIError": ServerFailed,
    "OpenAIError": ServerFailed,
    "MockException": ServerFailed,
    "APIConnectionError": Unreachable,
    "MidStreamFallbackError": ConnectionLost,
    "APIResponseValidationError": BadChunk,
    "JSONSchemaValidationError": BadChunk,
    "BadRequestError": RequestRefused,
    "InvalidRequestError": RequestRefused,
    "UnprocessableEntityError": RequestRefused,
    "RejectedRequestError": RequestRefused,
    "ContentPolicyViolationError": RequestRefused,
    "GuardrailRaisedException": RequestRefused,
    "BlockedPiiEntityError": RequestRefused,
    "ModifyResponseException": RequestRefused,
    "SensitiveDataRouteException": RequestRefused,
}
"""Every class of `litellm.exceptions` by name; a test fails on any that is left out."""

WRAPPERS = frozenset({"APIConnectionError", "InternalServerError", "APIError", "MidStreamFallbackError"})
"""litellm's classes that also wrap something else: what is inside says more."""


def of_exception(
    call: ModelCall, raised: BaseException, *, redact: Redact, otherwise: type[AttemptError]
) -> AttemptError:
    """An exception of litellm's as one of our errors; `otherwise` for those it did not mean to raise.

    A refused connection counts wherever in the chain it is found, and is never taken for anything that may be retried.
    """
    chain = list(_chain(raised))
    for error in chain:
        if isinstance(error, AttemptError):
            return error
    known = [error for error in chain if _mapped(error) is not None]
    best = next((error for error in known if type(error).__name__ not in WRAPPERS), known[0] if known else None)
    if best is None:
        return otherwise(f"{call.model.id}: translation failed ({type(raised).__name__})")
    kind = _mapped(best)
    assert kind is not None
    words = quote(call, _said(best), redact)
    return kind(f"{call.model.id}: {words}", provider_status=_status(best))


def _mapped(error: BaseException) -> type[AttemptError] | None:
    """By class for litellm's public exceptions, by status for its providers' own."""
    status = _status(error)
    for cls in type(error).__mro__:
        if cls.__module__ == "litellm.exceptions" and cls.__name__ in BY_CLASS:
            kind = BY_CLASS[cls.__name__]
            return ContextOverflow if kind is RequestRefused and OVERFLOW.search(_said(error)) else kind
        if cls.__name__ == "BaseLLMException" and status is not None:
            return _kind(status, _said(error))
    return None


def _said(error: BaseException) -> str:
    """Its text without `str`: some of litellm's classes need more to write themselves than they always have."""
    message = getattr(error, "message", None)
    return (message if isinstance(message, str) else " ".join(map(str, error.args)))[:SEARCHED_CHARACTERS]


def _status(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) and 100 <= status < 600 else None


def _chain(raised: BaseException) -> Iterator[BaseException]:
    """The exception and all it came from, outermost first."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [raised]
    while waiting:
        error = waiting.pop(0)
        if error is None or id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        original = getattr(error, "original_exception", None)
        inner = original if isinstance(original, BaseException) else None
        waiting += [inner, error.__cause__, error.__context__]
