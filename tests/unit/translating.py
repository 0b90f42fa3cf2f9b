"""Calls on every wire to servers that speak it, and everything their answers held."""

from __future__ import annotations

from typing import Any

import aiohttp

from app.config.redact import Redactor
from app.errors import AttemptError
from app.llm.calls import Chunk, ModelCall, TextDelta
from app.llm.translate import Translator
from app.routing.catalog import Endpoint, ModelSpec, Source, Sourced
from app.routing.locality import Location
from tests.fakes.providers import FakeProvider

KEY = "sk-test-0123456789abcdef"
BASE_PATH = {"ollama_chat": "", "openai": "/v1", "hosted_vllm": "/v1", "anthropic": "", "gemini": ""}
GREAT = tuple(BASE_PATH)
LOOK = {
    "type": "function",
    "function": {
        "name": "look/at",
        "description": "Look.",
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
    },
}
QUESTION = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})


def loaded_translator() -> Translator:
    """litellm is imported by the first that is loaded; the others cost nothing."""
    translator = Translator(Redactor([KEY]).redact)
    translator.load()
    assert translator.ready
    return translator


def call(
    wire: str, base: str | None = None, *, name: str = "m", location: Location = Location.LOOPBACK, **rest: Any
) -> ModelCall:
    fields: dict[str, Any] = {"messages": QUESTION, "local_only": False, **rest}
    model = ModelSpec(
        id=f"{wire}/{name}",
        provider=wire.removesuffix("_chat"),
        wire=wire,
        name=name,
        endpoint=Endpoint(base, location, "test"),
        context_window=Sourced(16384, Source.CONFIG),
        max_output_tokens=Sourced(2048, Source.CONFIG),
        price=Sourced(None, Source.DEFAULT),
        tokenizer="gpt-4",
    )
    return ModelCall(model, **fields)


def to(provider: FakeProvider, wire: str, **rest: Any) -> ModelCall:
    return call(wire, provider.url + BASE_PATH.get(wire, "/v1"), **rest)


async def ask(
    translator: Translator, call: ModelCall, key: str | None = KEY
) -> tuple[list[Chunk], AttemptError | None]:
    """Everything the answer held, and the error that ended it: what `LLMClient` does, in small."""
    request = translator.request(call, key)
    out: list[Chunk] = []
    async with (
        aiohttp.ClientSession(trust_env=False) as session,
        session.post(request.url, data=request.body, headers=request.headers, allow_redirects=False) as response,
    ):
        if response.status != 200:
            return out, translator.error(call, response.status, response.headers, await response.read())
        parser = translator.parser(call)
        try:
            async for data in response.content.iter_any():
                out += parser.feed(data)
                if parser.complete:
                    break
            out += parser.close()
            out += parser.close()
        except AttemptError as error:
            return out, error
    return out, None


def text_of(chunks: list[Chunk]) -> str:
    return "".join(c.text for c in chunks if isinstance(c, TextDelta))
