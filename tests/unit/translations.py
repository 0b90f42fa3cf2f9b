"""Prints, as JSON, how every provider that litellm knows would be asked the same calls, and what a great wire's answer
is read as. A process of its own for `test_left_out`: the argument `whole` imports litellm with nothing left out.
"""

from __future__ import annotations

import atexit
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from app.errors import AttemptError
from app.llm import left_out, warmup
from app.llm.calls import ModelCall
from app.llm.translate import Translator
from app.routing.catalog import Endpoint
from app.routing.locality import Location

KEY = "sk-test-0123456789abcdef"
RANDOM = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|call_[0-9a-f]{24,32}")
"""Names that are made up anew for each request."""
PICTURE = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "n", "schema": {"type": "object", "properties": {"a": {"type": "integer"}}}},
}
MODELS = {
    "openai": ("gpt-4o", "o3-mini", "gpt-5"),
    "anthropic": ("claude-sonnet-4-5-20250929", "claude-opus-4-6"),
    "gemini": ("gemini-2.5-pro", "gemma-3-27b-it"),
    "groq": ("openai/gpt-oss-120b",),
    "mistral": ("magistral-medium-latest",),
    "deepseek": ("deepseek-reasoner",),
    "xai": ("grok-4",),
    "openrouter": ("anthropic/claude-sonnet-4.5",),
}
"""Names that litellm treats in ways of their own; every provider is asked for `m` too."""


def calls(wire: str, name: str) -> Iterator[tuple[str, ModelCall]]:
    """What a request can hold: tools that were called, a picture, a schema, parameters, nothing at all."""
    plain = warmup.sample_call(wire)
    plain = replace(plain, model=replace(plain.model, id=f"{wire}/{name}", name=name), local_only=False)
    called = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
    asked = {
        "plain": replace(plain, tools=()),
        "tools": replace(
            plain,
            messages=(
                *plain.messages,
                {"role": "assistant", "content": None, "tool_calls": [called]},
                {"role": "tool", "tool_call_id": "c1", "content": "seen"},
            ),
            tool_choice="auto",
        ),
        "picture": replace(
            plain,
            messages=({"role": "user", "content": [{"type": "text", "text": "What is it?"}, {
                "type": "image_url", "image_url": {"url": PICTURE}}]},),
            tools=(),
        ),
        "schema": replace(plain, tools=(), response_format=SCHEMA),
        "parameters": replace(plain, params={"top_p": 0.5, "seed": 7, "reasoning_effort": "low"}, stop=("x",)),
    }  # fmt: skip
    yield from asked.items()
    there = Endpoint(None, Location.CLOUD, "test")
    yield "by itself", replace(plain, model=replace(plain.model, endpoint=there))


def asked(translator: Translator, call: ModelCall) -> list[Any]:
    try:
        request = translator.request(call, KEY)
    except AttemptError as error:
        return [type(error).__name__, error.detail]
    return [request.url, sorted(request.headers.items()), RANDOM.sub("…", request.body.decode())]


def answered(translator: Translator, call: ModelCall, answer: bytes) -> list[str]:
    parser = translator.parser(call)
    return [RANDOM.sub("…", repr(chunk)) for chunk in (*parser.feed(answer), *parser.close())]


def translations() -> dict[str, Any]:
    """Of every provider's models and calls: how it is asked, what its answer says, or how it is refused."""
    translator = Translator(str)
    translator.load()
    assert translator.ready, translator.problem
    found: dict[str, Any] = {}
    for wire in sorted(provider.value for provider in translator._loaded().litellm.LlmProviders):
        for name in ("m", *MODELS.get(wire, ())):
            for what, call in calls(wire, name):
                found[f"{wire}/{name} {what}"] = asked(translator, call)
                if what in ("tools", "schema") and (answer := warmup.ANSWERS.get(wire)):
                    found[f"{wire}/{name} {what}, answered"] = answered(translator, call, answer)
    return found


def report(found: dict[str, Any]) -> None:
    modules = sorted(name for name in sys.modules if name.startswith(("litellm", "openai", "httpx", "rich")))
    print(json.dumps({"translations": found, "modules": modules}))


if __name__ == "__main__":
    if "whole" in sys.argv:
        left_out.LEFT_OUT = frozenset()  # type: ignore[misc]
    found: dict[str, Any] = {}
    # Registered before litellm registers its own, and so called after it: what that imports is seen.
    atexit.register(report, found)
    found |= translations()
