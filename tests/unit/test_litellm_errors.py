"""Errors of providers and of litellm as ours: tables, and a check that no class of litellm's was left out."""

from __future__ import annotations

import importlib
import inspect
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.config.redact import Redactor
from app.errors import (
    AttemptError,
    AttemptTimeout,
    BadChunk,
    BadCredentials,
    ConnectionLost,
    ContextOverflow,
    EgressBlocked,
    FailureKind,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestRefused,
    ServerFailed,
    Unreachable,
    Unsupported,
)
from app.llm import failures
from app.llm.calls import ModelCall
from app.llm.translate import Translator
from app.llm.warmup import sample_call
from tests.fakes import wires
from tests.fakes.steps import ErrorInStream

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
KEY = "sk-ant-secret-0123456789"
CALL = sample_call("openai")


def answered(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, call: ModelCall = CALL
) -> AttemptError:
    return failures.of_status(call, status, headers or {}, body, redact=Redactor([KEY]).redact, now=NOW)


@pytest.fixture(scope="module")
def theirs() -> Any:
    """`litellm.exceptions`, imported as the program imports it: offline."""
    Translator(str).load()
    return importlib.import_module("litellm.exceptions")


def test_no_exception_of_litellm_is_left_out(theirs: Any) -> None:
    names = {
        cls.__name__
        for _, cls in inspect.getmembers(theirs, inspect.isclass)
        if issubclass(cls, Exception) and cls.__module__ == theirs.__name__
    }
    assert len(names) > 25
    assert names == set(failures.BY_CLASS)


def made(cls: type[Exception], message: str = "it went wrong", **rest: Any) -> Exception:
    """An instance of a class of litellm's, whose constructors all differ."""
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    for name, value in {"message": message, "status_code": None, **rest}.items():
        setattr(error, name, value)
    return error


@pytest.mark.parametrize("name", failures.BY_CLASS)
def test_every_exception_of_litellm_is_one_of_ours(theirs: Any, name: str) -> None:
    ours = mapped(made(getattr(theirs, name)))
    assert type(ours) is failures.BY_CLASS[name]
    assert "it went wrong" in ours.detail


def mapped(error: BaseException) -> AttemptError:
    return failures.of_exception(CALL, error, redact=Redactor([KEY]).redact, otherwise=BadChunk)


def test_what_a_wrapper_holds_says_more_than_the_wrapper(theirs: Any) -> None:
    inner = made(theirs.RateLimitError, "slow down")
    assert type(mapped(made(theirs.MidStreamFallbackError, original_exception=inner))) is RateLimited
    outer = made(theirs.APIConnectionError)
    outer.__cause__ = made(theirs.Timeout)
    assert type(mapped(outer)) is AttemptTimeout
    assert type(mapped(made(theirs.MidStreamFallbackError))) is ConnectionLost


def test_a_refused_connection_is_found_however_deep(theirs: Any) -> None:
    outer, middle = made(theirs.InternalServerError), made(theirs.APIConnectionError)
    outer.__cause__ = middle
    middle.__context__ = EgressBlocked("no way out")
    ours = mapped(outer)
    assert isinstance(ours, EgressBlocked)
    assert ours.kind is not FailureKind.TRANSIENT


def test_a_chain_that_bites_its_tail_ends() -> None:
    one, two = ValueError("a"), ValueError("b")
    one.__cause__, two.__context__ = two, one
    assert type(mapped(one)) is BadChunk


def test_what_litellm_did_not_mean_to_raise_shows_no_text_of_it() -> None:
    assert "secret prompt" not in mapped(KeyError("secret prompt")).detail


def test_context_overflow_is_found_in_a_plain_bad_request(theirs: Any) -> None:
    assert type(mapped(made(theirs.BadRequestError, "prompt is too long: 9 tokens"))) is ContextOverflow


@pytest.mark.parametrize(
    ("module", "name", "status", "expected"),
    [
        ("anthropic.common_utils", "AnthropicError", 500, ServerFailed),
        ("ollama.common_utils", "OllamaError", 400, RequestRefused),
        ("vertex_ai.common_utils", "VertexAIError", 429, RateLimited),
        ("vertex_ai.common_utils", "VertexAIError", 503, Overloaded),
    ],
)
def test_the_errors_of_litellms_providers_go_by_their_status(
    theirs: Any, module: str, name: str, status: int, expected: type[AttemptError]
) -> None:
    cls = getattr(importlib.import_module(f"litellm.llms.{module}"), name)
    assert type(mapped(cls(status_code=status, message="oh", headers={}))) is expected


@pytest.mark.parametrize(
    ("status", "expected", "kind"),
    [
        (301, EgressBlocked, FailureKind.NEXT),
        (308, EgressBlocked, FailureKind.NEXT),
        (400, RequestRefused, FailureKind.FATAL),
        (401, BadCredentials, FailureKind.NEXT),
        (402, BadCredentials, FailureKind.NEXT),
        (403, BadCredentials, FailureKind.NEXT),
        (404, ModelNotFound, FailureKind.NEXT),
        (408, AttemptTimeout, FailureKind.TRANSIENT),
        (413, ContextOverflow, FailureKind.NEXT),
        (418, RequestRefused, FailureKind.FATAL),
        (422, RequestRefused, FailureKind.FATAL),
        (429, RateLimited, FailureKind.TRANSIENT),
        (500, ServerFailed, FailureKind.TRANSIENT),
        (501, Unsupported, FailureKind.NEXT),
        (502, ServerFailed, FailureKind.TRANSIENT),
        (503, Overloaded, FailureKind.TRANSIENT),
        (504, AttemptTimeout, FailureKind.TRANSIENT),
        (520, ServerFailed, FailureKind.TRANSIENT),
        (529, Overloaded, FailureKind.TRANSIENT),
    ],
)
def test_a_status_alone(status: int, expected: type[AttemptError], kind: FailureKind) -> None:
    error = answered(status)
    assert (type(error), error.kind, error.provider_status) == (expected, kind, status)


OVERFLOWS = {
    "openai": (400, {"error": {"message": "too much", "code": "context_length_exceeded"}}),
    "openai by words": (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}),
    "anthropic": (400, {"error": {"message": "prompt is too long: 208310 tokens > 200000 maximum"}}),
    "anthropic with output": (400, {"error": {"message": "input length and `max_tokens` exceed context limit: 1 + 2"}}),
    "gemini": (
        400,
        {"error": {"message": "The input token count (9) exceeds the maximum number of tokens allowed (8)."}},
    ),
    "ollama": (400, {"error": "prompt too long; exceeded max context length by 5 tokens"}),
    "ollama embedding": (500, {"error": "the input length exceeds the context length"}),
    "llama.cpp": (400, {"error": {"message": "no", "type": "exceed_context_size_error"}}),
    "llama.cpp by words": (500, {"error": {"message": "the request exceeds the available context size"}}),
    "vllm": (400, {"message": "The decoder prompt is longer than the maximum model length of 4096."}),
    "lm studio": (400, {"error": "The number of tokens to keep is greater than the context length."}),
    "lm studio 2": (400, {"error": "Trying to keep the first 9 tokens when context the overflows."}),
    "xai": (400, {"error": "This model's maximum prompt length is 131072 but the request contains 9."}),
    "groq": (413, {"error": {"message": "Please reduce the length of the messages or completion."}}),
    "tgi": (422, {"error": "`inputs` tokens + `max_new_tokens` must be <= 4096."}),
    "cerebras": (400, {"message": "Please reduce the length. Current length is 9 while limit is 8"}),
}


@pytest.mark.parametrize("server", OVERFLOWS)
def test_every_wording_of_a_prompt_that_is_too_long(server: str) -> None:
    status, body = OVERFLOWS[server]
    assert type(answered(status, json.dumps(body).encode())) is ContextOverflow


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "API key not valid. Please pass a valid API key."}}, BadCredentials),
        (400, {"error": {"message": "Your credit balance is too low to access the API."}}, BadCredentials),
        (429, {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}, BadCredentials),
        (429, {"error": {"message": "You exceeded your current quota", "status": "RESOURCE_EXHAUSTED"}}, RateLimited),
        (429, {"error": {"message": "maximum context length is fine, but slow down"}}, RateLimited),
        (400, {"error": '"registry.ollama.ai/library/llama2" does not support tools'}, Unsupported),
        (
            400,
            {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter"}},
            Unsupported,
        ),
        (400, {"error": {"message": "top_k: Extra inputs are not permitted"}}, Unsupported),
        (400, {"error": {"message": "foo/bar is not a valid model ID"}}, ModelNotFound),
        (400, {"error": {"message": "messages: roles must alternate"}}, RequestRefused),
    ],
)
def test_where_one_status_means_several_things(status: int, body: Any, expected: type[AttemptError]) -> None:
    assert type(answered(status, json.dumps(body).encode())) is expected


@pytest.mark.parametrize("wire", wires.WIRES)
def test_the_providers_own_bodies(wire: str) -> None:
    made = wires.WIRES[wire]
    assert type(answered(*made.overflow())) is ContextOverflow
    assert type(answered(*made.bad_key())) is BadCredentials
    assert type(answered(404, made.error(404))) is ModelNotFound


@pytest.mark.parametrize("wire", ["ollama", "openai", "anthropic", "gemini"])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("server", ServerFailed),
        ("overloaded", Overloaded),
        ("rate_limited", RateLimited),
        ("overflow", ContextOverflow),
    ],
)
def test_error_objects_in_a_stream(wire: str, what: Any, expected: type[AttemptError]) -> None:
    frame = wires.WIRES[wire].error_frame(ErrorInStream(what=what))
    payload = json.loads(frame[frame.index(b"{") :])
    assert type(failures.in_stream(CALL, payload, redact=str)) is expected


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, failures.LONGEST_RETRY_AFTER),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert answered(429, headers=headers).retry_after == seconds


def test_geminis_delay_stands_in_the_body() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.5s"}]
    body = json.dumps({"error": {"code": 429, "message": "slow", "details": details}}).encode()
    assert answered(429, body).retry_after == 34.5


@pytest.mark.parametrize("padding", range(250, 330, 7))
def test_no_key_is_shown_also_where_the_text_is_cut(padding: int) -> None:
    body = json.dumps({"error": {"message": "x" * padding + f" {KEY} " + "y" * 500}}).encode()
    detail = answered(401, body).detail
    assert KEY[:14] not in detail
    assert len(detail) < failures.SHOWN_CHARACTERS + 100


def test_no_prompt_is_shown() -> None:
    prompt = "the patient's name is Erika Mustermann and she lives in Musterstadt"
    call = ModelCall(CALL.model, ({"role": "user", "content": [{"type": "text", "text": prompt}]},), local_only=False)
    echo = json.dumps({"error": {"message": f"bad input: {prompt}"}}).encode()
    assert "Mustermann" not in answered(400, echo, call=call).detail
    assert "Mustermann" in answered(400, echo).detail  # the control: another call's text is not recognised


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b"{}", b"null", b'{"error": null}', b"<html>no</html>", b"[" * 9999]
)
def test_a_body_of_any_kind_is_survived(body: bytes) -> None:
    assert type(answered(500, body)) is ServerFailed


def test_the_remedy_is_named() -> None:
    ollama = sample_call("ollama")
    assert "ollama pull warm-up" in answered(404, call=ollama).detail
    assert "no credit" in answered(402, b'{"error": "insufficient_quota"}').detail


def test_unreachable_is_what_litellm_calls_a_connection_error(theirs: Any) -> None:
    assert type(mapped(made(theirs.APIConnectionError))) is Unreachable
