"""The bytes the providers' servers write, one class per wire. Pure: from a `Reply` to frames, no sockets.

Shapes are those of the providers' public documentation: Ollama `docs/api.md`, OpenAI "Chat Completions streaming",
Anthropic "Streaming Messages", Gemini `models.streamGenerateContent`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from tests.fakes.steps import ErrorInStream, Reply

CREATED = 1_750_000_000
OVERFLOW_TOKENS = 9_000_000


@dataclass(frozen=True, slots=True)
class Frame:
    """Bytes the server writes at once; `delta` where they carry part of the answer."""

    data: bytes
    delta: bool = False


class Wire(Protocol):
    """One provider's way of writing. `error` gives (status, body)."""

    name: str
    content_type: str
    malformed: bytes

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]: ...

    def error(self, status: int, message: str | None = None, model: str = "m") -> bytes: ...

    def overflow(self) -> tuple[int, bytes]: ...

    def bad_key(self) -> tuple[int, bytes]: ...

    def error_frame(self, step: ErrorInStream) -> bytes: ...


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """A steady, plausible count: a quarter of the characters of the prompt."""
    prompt = body.get("messages") or body.get("contents") or ""
    return max(1, len(json.dumps(prompt, ensure_ascii=False)) // 4)


def _output_tokens(reply: Reply) -> int:
    return reply.deltas if reply.output_tokens is None else reply.output_tokens


def _input_tokens(reply: Reply, counted: int) -> int:
    return counted if reply.input_tokens is None else reply.input_tokens


class OllamaWire:
    name = "ollama"
    content_type = "application/x-ndjson"
    malformed = b'{"model":"m","message":{"role":"assist\n'
    IN_STREAM: ClassVar[Mapping[str, str]] = {
        "server": "an error was encountered while running the model: unexpected EOF",
        "overloaded": "server busy, please try again.  maximum pending requests exceeded",
        "rate_limited": "too many requests: you have reached your hourly usage limit",
        "overflow": "prompt too long; exceeded max context length by 1804 tokens",
    }

    def _line(self, model: str, message: dict[str, Any], **rest: Any) -> bytes:
        head = {"model": model, "created_at": "2026-01-01T00:00:00.000000Z", "message": message, "done": False}
        return dumps({**head, **rest}) + b"\n"

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        def delta(**message: Any) -> Frame:
            return Frame(self._line(model, {"role": "assistant", "content": "", **message}), delta=True)

        frames = [delta(thinking=piece) for piece in reply.reasoning]
        frames += [delta(content=piece) for piece in reply.text]
        for call in reply.tool_calls:
            function = {"name": call.name, "arguments": json.loads(call.arguments)}
            frames.append(delta(tool_calls=[{"function": function}]))
        counts: dict[str, Any] = {"total_duration": 5_000_000, "load_duration": 1_000_000}
        if reply.usage:
            counts |= {
                "prompt_eval_count": _input_tokens(reply, prompt_tokens),
                "prompt_eval_duration": 1_000_000,
                "eval_count": _output_tokens(reply),
                "eval_duration": 2_000_000,
            }
        end = self._line(model, {"role": "assistant", "content": ""}, done=True, done_reason=reply.finish, **counts)
        return [*frames, Frame(end)]

    def error(self, status: int, message: str | None = None, model: str = "m") -> bytes:
        known = {
            401: "unauthorized",
            404: f"model '{model}' not found",
            429: self.IN_STREAM["rate_limited"],
            503: self.IN_STREAM["overloaded"],
        }
        return dumps({"error": message or known.get(status, "llama runner process has terminated")})

    def overflow(self) -> tuple[int, bytes]:
        return 400, dumps({"error": self.IN_STREAM["overflow"]})

    def bad_key(self) -> tuple[int, bytes]:
        return 401, self.error(401)

    def error_frame(self, step: ErrorInStream) -> bytes:
        return dumps({"error": self.IN_STREAM[step.what]}) + b"\n"


class OpenAIWire:
    name = "openai"
    content_type = "text/event-stream"
    malformed = b'data: {"id":"c","choices":[{"delta":{"cont\n\n'
    TYPES: ClassVar[Mapping[int, tuple[str, str | None]]] = {
        400: ("invalid_request_error", None),
        401: ("invalid_request_error", "invalid_api_key"),
        404: ("invalid_request_error", "model_not_found"),
        429: ("requests", "rate_limit_exceeded"),
    }
    OVERFLOW = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens."

    def _data(self, model: str, **rest: Any) -> bytes:
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": CREATED, "model": model}
        return b"data: " + dumps({**head, "choices": [], **rest}) + b"\n\n"

    def _choice(self, model: str, delta: dict[str, Any], finish: str | None = None) -> bytes:
        return self._data(model, choices=[{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}])

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        frames = [Frame(self._choice(model, {"role": "assistant", "content": ""}))]
        frames += [Frame(self._choice(model, {"reasoning_content": piece}), delta=True) for piece in reply.reasoning]
        frames += [Frame(self._choice(model, {"content": piece}), delta=True) for piece in reply.text]
        for index, call in enumerate(reply.tool_calls):
            half = len(call.arguments) // 2
            first = {"index": index, "id": call.id, "type": "function"}
            pieces = (call.arguments[:half], call.arguments[half:])
            parts = [{**first, "function": {"name": call.name, "arguments": ""}}]
            parts += [{"index": index, "function": {"arguments": piece}} for piece in pieces]
            data = b"".join(self._choice(model, {"tool_calls": [part]}) for part in parts)
            frames.append(Frame(data, delta=True))
        finish = "tool_calls" if reply.tool_calls else reply.finish
        frames.append(Frame(self._choice(model, {}, finish)))
        if reply.usage:
            frames.append(Frame(self._data(model, usage=self._usage(reply, prompt_tokens))))
        return [*frames, Frame(b"data: [DONE]\n\n")]

    def _usage(self, reply: Reply, counted: int) -> dict[str, Any]:
        sent, written = _input_tokens(reply, counted), _output_tokens(reply)
        return {
            "prompt_tokens": sent,
            "completion_tokens": written,
            "total_tokens": sent + written,
            "prompt_tokens_details": {"cached_tokens": reply.cached_input_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        }

    def error(self, status: int, message: str | None = None, model: str = "m") -> bytes:
        kind, code = self.TYPES.get(status, ("server_error", None))
        known = {
            404: f"The model `{model}` does not exist or you do not have access to it.",
            429: "Rate limit reached for requests.",
        }
        text = message or known.get(status, "The server had an error while processing your request.")
        return dumps({"error": {"message": text, "type": kind, "param": None, "code": code}})

    def overflow(self) -> tuple[int, bytes]:
        kind, code = "invalid_request_error", "context_length_exceeded"
        return 400, dumps({"error": {"message": self.OVERFLOW, "type": kind, "param": "messages", "code": code}})

    def bad_key(self) -> tuple[int, bytes]:
        return 401, self.error(401, "Incorrect API key provided: sk-****dead.")

    def error_frame(self, step: ErrorInStream) -> bytes:
        kinds = {
            "server": ("server_error", "server_error", "The server had an error."),
            "overloaded": ("server_error", "overloaded", "The engine is currently overloaded."),
            "rate_limited": ("tokens", "rate_limit_exceeded", "Rate limit reached."),
            "overflow": ("invalid_request_error", "context_length_exceeded", self.OVERFLOW),
        }
        kind, code, message = kinds[step.what]
        return b"data: " + dumps({"error": {"message": message, "type": kind, "param": None, "code": code}}) + b"\n\n"


class AnthropicWire:
    name = "anthropic"
    content_type = "text/event-stream"
    malformed = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"del\n\n'
    TYPES: ClassVar[Mapping[int, str]] = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        529: "overloaded_error",
    }
    OVERFLOW = "prompt is too long: 208310 tokens > 200000 maximum"
    FINISH: ClassVar[Mapping[str, str]] = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal"}

    def _event(self, kind: str, **rest: Any) -> bytes:
        return f"event: {kind}\n".encode() + b"data: " + dumps({"type": kind, **rest}) + b"\n\n"

    def _block(self, index: int, block: dict[str, Any], deltas: list[dict[str, Any]]) -> list[Frame]:
        start = Frame(self._event("content_block_start", index=index, content_block=block))
        body = [Frame(self._event("content_block_delta", index=index, delta=d), delta=True) for d in deltas]
        return [start, *body, Frame(self._event("content_block_stop", index=index))]

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": []}
        usage = {**self._usage(reply, prompt_tokens), "output_tokens": 1}
        start = {**message, "stop_reason": None, "stop_sequence": None} | ({"usage": usage} if reply.usage else {})
        frames = [Frame(self._event("message_start", message=start)), Frame(self._event("ping"))]
        index = 0
        if reply.reasoning:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in reply.reasoning]
            frames += self._block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
            index += 1
        if reply.text:
            deltas = [{"type": "text_delta", "text": piece} for piece in reply.text]
            frames += self._block(index, {"type": "text", "text": ""}, deltas)
            index += 1
        for call in reply.tool_calls:
            block = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            frames += self._block(index, block, [{"type": "input_json_delta", "partial_json": call.arguments}])
            index += 1
        stop = {"stop_reason": "tool_use" if reply.tool_calls else self.FINISH[reply.finish], "stop_sequence": None}
        final = {"usage": {"output_tokens": _output_tokens(reply)}} if reply.usage else {}
        frames.append(Frame(self._event("message_delta", delta=stop, **final)))
        return [*frames, Frame(self._event("message_stop"))]

    def _usage(self, reply: Reply, counted: int) -> dict[str, Any]:
        cached, written = reply.cached_input_tokens, reply.cache_write_tokens
        return {
            "input_tokens": _input_tokens(reply, counted) - cached - written,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": written,
        }

    def error(self, status: int, message: str | None = None, model: str = "m") -> bytes:
        known = {404: f"model: {model}", 429: "This request would exceed your rate limit.", 529: "Overloaded"}
        text = message or known.get(status, "Internal server error")
        kind = self.TYPES.get(status, "api_error")
        return dumps({"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_1"})

    def overflow(self) -> tuple[int, bytes]:
        return 400, self.error(400, self.OVERFLOW)

    def bad_key(self) -> tuple[int, bytes]:
        return 401, self.error(401, "invalid x-api-key")

    def error_frame(self, step: ErrorInStream) -> bytes:
        kinds = {
            "server": ("api_error", "Internal server error"),
            "overloaded": ("overloaded_error", "Overloaded"),
            "rate_limited": ("rate_limit_error", "This request would exceed your rate limit."),
            "overflow": ("invalid_request_error", self.OVERFLOW),
        }
        kind, message = kinds[step.what]
        return self._event("error", error={"type": kind, "message": message})


class GeminiWire:
    name = "gemini"
    content_type = "text/event-stream"
    malformed = b'data: {"candidates": [{"content": {"par\r\n\r\n'
    STATUS: ClassVar[Mapping[int, str]] = {
        400: "INVALID_ARGUMENT",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        429: "RESOURCE_EXHAUSTED",
        500: "INTERNAL",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
    }
    OVERFLOW = f"The input token count ({OVERFLOW_TOKENS}) exceeds the maximum number of tokens allowed (1048576)."
    FINISH: ClassVar[Mapping[str, str]] = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}

    def _data(self, model: str, parts: list[dict[str, Any]], finish: str | None = None, **rest: Any) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        line = {"candidates": [candidate], **rest, "modelVersion": model, "responseId": "r1"}
        return b"data: " + dumps(line) + b"\r\n\r\n"

    def frames(self, reply: Reply, model: str, prompt_tokens: int) -> list[Frame]:
        parts: list[dict[str, Any]] = [{"text": piece, "thought": True} for piece in reply.reasoning]
        parts += [{"text": piece} for piece in reply.text]
        calls = [{"name": call.name, "args": json.loads(call.arguments)} for call in reply.tool_calls]
        parts += [{"functionCall": call} for call in calls]
        frames = [Frame(self._data(model, [part]), delta=True) for part in parts]
        usage = {"usageMetadata": self._usage(reply, prompt_tokens)} if reply.usage else {}
        return [*frames, Frame(self._data(model, [{"text": ""}], self.FINISH[reply.finish], **usage))]

    def _usage(self, reply: Reply, counted: int) -> dict[str, Any]:
        sent, written = _input_tokens(reply, counted), _output_tokens(reply)
        usage = {
            "promptTokenCount": sent,
            "candidatesTokenCount": written - reply.reasoning_tokens,
            "totalTokenCount": sent + written,
        }
        if reply.cached_input_tokens:
            usage["cachedContentTokenCount"] = reply.cached_input_tokens
        if reply.reasoning_tokens:
            usage["thoughtsTokenCount"] = reply.reasoning_tokens
        return usage

    def error(self, status: int, message: str | None = None, model: str = "m") -> bytes:
        known = {
            404: f"models/{model} is not found for API version v1beta.",
            429: "Resource has been exhausted (e.g. check quota).",
            503: "The model is overloaded.",
        }
        text = message or known.get(status, "An internal error has occurred.")
        return dumps({"error": {"code": status, "message": text, "status": self.STATUS.get(status, "UNKNOWN")}})

    def overflow(self) -> tuple[int, bytes]:
        return 400, self.error(400, self.OVERFLOW)

    def bad_key(self) -> tuple[int, bytes]:
        return 400, self.error(400, "API key not valid. Please pass a valid API key.")

    def error_frame(self, step: ErrorInStream) -> bytes:
        status = {"server": 500, "overloaded": 503, "rate_limited": 429, "overflow": 400}[step.what]
        message = self.OVERFLOW if step.what == "overflow" else None
        return b"data: " + self.error(status, message) + b"\r\n\r\n"


OLLAMA, OPENAI, ANTHROPIC, GEMINI = OllamaWire(), OpenAIWire(), AnthropicWire(), GeminiWire()
WIRES: Mapping[str, Wire] = {w.name: w for w in (OLLAMA, OPENAI, ANTHROPIC, GEMINI)}
