"""The plain half of translating: what needs no litellm. Copies, keys, addresses, headers, and its chunks as ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from app.errors import BadCredentials, Unsupported
from app.llm.calls import Chunk, Finish, ModelCall, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from app.llm.readers import count
from app.routing.locality import Location

KEYLESS = frozenset({"ollama_chat", "hosted_vllm", "vllm", "lm_studio", "llamafile", "docker_model_runner"})
"""Wires whose servers mostly run without a key, wherever they stand."""
NO_KEY = "sk-none"
"""Shown to a server that wants to see a key and does not care which."""
TAKE_IMAGE_URLS = frozenset({"openai", "anthropic", "openrouter", "xai", "groq", "mistral", "hosted_vllm"})
"""Wires whose servers fetch an image by its https address; for the others litellm would, and may not."""
_FETCHED = re.compile(r"[a-z][a-z0-9+.-]*:[/\\]{2}|(?:https?|ftp|file|gs|s3):")
"""The beginning of what somebody would fetch. A `data:` URL and a file's id at its provider have no such beginning."""
OURS = frozenset(
    {
        "api_base", "api_key", "api_version", "base_url", "custom_llm_provider", "extra_body", "extra_headers",
        "headers", "litellm_params", "max_retries", "messages", "model", "n", "organization", "stream",
        "stream_options", "timeout",
    }
)  # fmt: skip
"""Parameters that decide where and what is sent: not for a configuration's `params`."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What goes over the wire: an HTTP POST."""

    url: str
    headers: dict[str, str]
    body: bytes


def plain(value: Any) -> Any:
    """A copy made of dicts and lists: litellm changes what it is given."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def with_objects(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages, in which every tool call's arguments are a JSON object, as all but OpenAI demand.

    Models write none, or half of one, and the answer to that is in the conversation from then on.
    """
    for message in messages:
        for call in message.get("tool_calls") or ():
            function = call["function"]
            function["arguments"] = _object_text(function.get("arguments") or "{}")
    return messages


def _object_text(arguments: str) -> str:
    try:
        if isinstance(orjson.loads(arguments), dict):
            return arguments
    except orjson.JSONDecodeError:
        pass
    return orjson.dumps({"invalid_arguments": arguments}).decode()


def ready_for_ollama(message: Mapping[str, Any]) -> bool:
    """Whether Ollama takes the message as it stands: nothing but words, and no `<think>` in front, for which it has a
    field of its own."""
    content = message.get("content")
    plain = type(message) is dict and len(message) == 2 and "role" in message
    return plain and isinstance(content, str) and not content.startswith("<")


def never_ready(message: Mapping[str, Any]) -> bool:
    return False


def asked(call: ModelCall) -> dict[str, Any]:
    """What the request itself asks for, in OpenAI's words."""
    limit = call.max_output_tokens
    if limit is None and call.model.wire == "anthropic" and "max_tokens" not in call.params:
        limit = call.model.max_output_tokens.value  # Anthropic demands one, and litellm's default is 4,096
    wanted = {
        **call.sampling,
        "max_tokens": limit,
        "temperature": call.temperature,
        "stop": list(call.stop) or None,
        "response_format": call.response_format,
        "tools": call.tools or None,
        "tool_choice": call.tool_choice if call.tools else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def key(call: ModelCall, api_key: str | None) -> str | None:
    """The key to show; None: none at all. Raises `BadCredentials` where one is needed and missing."""
    model = call.model
    if api_key and (shown := api_key.strip()):
        if not shown.isprintable() or not shown.isascii():
            raise BadCredentials(f"{model.id}: {_key_name(call)} holds characters that no key has")
        return shown
    if model.location is Location.CLOUD and model.wire not in KEYLESS:
        raise BadCredentials(f"{model.id} needs a key: set {_key_name(call)}")
    return None if model.wire == "ollama_chat" else NO_KEY


def _key_name(call: ModelCall) -> str:
    return call.model.api_key_env or f"{call.model.provider.upper().replace('-', '_')}_API_KEY"


def refuse_images(call: ModelCall) -> None:
    """Raises `Unsupported` for images that somebody would have to fetch: nobody may, for a private request."""
    for message in call.messages:
        content = message.get("content")
        for part in content if isinstance(content, (list, tuple)) else ():
            for address in _addresses(part):
                _refuse_address(call, address)


def _addresses(part: object) -> Iterator[str]:
    """Every text of a content part that stands where an image or a file may be named by its address."""
    if not isinstance(part, Mapping) or part.get("type") == "text":
        return
    for value in part.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from (item for item in value.values() if isinstance(item, str))


def _refuse_address(call: ModelCall, address: str) -> None:
    # Readers of addresses skip what stands in front, and line breaks and tabs anywhere.
    start = "".join(c for c in address[:256] if c > " ")[:64].lower()
    if not _FETCHED.match(start):
        return
    if call.local_only:
        raise Unsupported(
            "an image given by its address would have to be fetched, and this request may not leave the "
            "machine; send it as a data: URL"
        )
    if not (start.startswith("https:") and call.model.wire in TAKE_IMAGE_URLS):
        raise Unsupported(f"{call.model.id} takes no image by its address; send it as a data: URL")


def anthropic_url(base: str) -> str:
    if base.endswith("/v1/messages"):
        return base
    return f"{base}/messages" if base.endswith("/v1") else f"{base}/v1/messages"


def gemini_url(base: str, model: str) -> str:
    """Without the key: it goes into a header, where no log finds it."""
    versioned = base if base.rsplit("/", 1)[-1] in ("v1", "v1beta", "v1alpha") else f"{base}/v1beta"
    return f"{versioned}/models/{quote(model, safe='/')}:streamGenerateContent?alt=sse"


def headers(fields: Mapping[str, Any]) -> dict[str, str]:
    """Those with a value, one per name, and the content type."""
    sent = {name: value for name, value in fields.items() if isinstance(value, str)}
    if not any(name.lower() == "content-type" for name in sent):
        sent["Content-Type"] = "application/json"
    return sent


def encode(body: Any) -> bytes:
    """JSON. A lone surrogate is no UTF-8 and goes as its escape, which orjson refuses to write."""
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        return json.dumps(body, allow_nan=False).encode()


def chunks(parsed: Any) -> list[Chunk]:
    """What litellm's parsers give, an OpenAI-shaped object or a dict of its own, as our chunks."""
    if parsed is None:
        return []
    if isinstance(parsed, Mapping):
        return _generic_chunks(parsed)
    out: list[Chunk] = []
    for choice in parsed.choices[:1]:
        delta = choice.delta
        if reasoning := getattr(delta, "reasoning_content", None):
            out.append(ReasoningDelta(reasoning))
        if delta.content:
            out.append(TextDelta(delta.content))
        out += [_tool_call(call) for call in delta.tool_calls or ()]
        if choice.finish_reason:
            out.append(Finish(choice.finish_reason))
    if (counts := getattr(parsed, "usage", None)) is not None:
        out.append(_usage(counts))
    return out


def _generic_chunks(parsed: Mapping[str, Any]) -> list[Chunk]:
    out: list[Chunk] = [TextDelta(parsed["text"])] if parsed.get("text") else []
    if call := parsed.get("tool_use"):
        out.append(_tool_call(call))
    if parsed.get("is_finished") and parsed.get("finish_reason"):
        out.append(Finish(parsed["finish_reason"]))
    if counts := parsed.get("usage"):
        out.append(_usage(counts))
    return out


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _tool_call(call: Any) -> ToolCallDelta:
    """A part of a tool call; arguments that came as an object (Ollama's) become JSON text."""
    function, arguments = _field(call, "function"), _field(_field(call, "function"), "arguments")
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode() if arguments else ""
    return ToolCallDelta(_field(call, "index") or 0, _field(call, "id"), _field(function, "name"), text)


def _usage(counts: Any) -> Usage:
    sent, written = _field(counts, "prompt_tokens_details"), _field(counts, "completion_tokens_details")
    return Usage(
        input_tokens=count(_field(counts, "prompt_tokens")),
        output_tokens=count(_field(counts, "completion_tokens")),
        cached_input_tokens=count(_field(sent, "cached_tokens")),
        cache_write_tokens=count(_field(sent, "cache_creation_tokens")),
        reasoning_tokens=count(_field(written, "reasoning_tokens")),
    )
