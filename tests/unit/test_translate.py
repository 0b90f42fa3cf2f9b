"""litellm's translation against servers that speak the real wires: an upgrade of litellm shows here what changed."""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.config.redact import Redactor
from app.errors import (
    AttemptError,
    BadChunk,
    BadCredentials,
    ConnectionLost,
    ContextOverflow,
    EgressBlocked,
    EmptyAnswer,
    ModelNotFound,
    Overloaded,
    RateLimited,
    RequestRefused,
    ServerFailed,
    Unsupported,
)
from app.llm.calls import Chunk, Finish, ModelCall, ReasoningDelta, TextDelta, ToolCallDelta, Usage
from app.llm.shapes import WireRequest
from app.llm.translate import Translator
from app.routing.catalog import Endpoint, ModelSpec, Source, Sourced
from app.routing.locality import Location
from tests.fakes.providers import (
    BadKey,
    CutMidStream,
    EmptyStream,
    ErrorInStream,
    FakeProvider,
    KeyInError,
    MalformedChunk,
    Reply,
    Status,
    Step,
    ToolCall,
    injected_newlines,
    split_utf8,
)
from tests.fakes.providers import (
    ContextOverflow as Overflow,
)

KEY = "sk-test-0123456789abcdef"
BASE_PATH = {"ollama_chat": "", "openai": "/v1", "hosted_vllm": "/v1", "anthropic": "", "gemini": ""}
GREAT = tuple(BASE_PATH)
OPENAI_STYLE = ("groq", "mistral", "deepseek", "openrouter", "xai", "lm_studio", "together_ai", "cerebras")
LOOK = {
    "type": "function",
    "function": {
        "name": "look/at",
        "description": "Look.",
        "parameters": {"type": "object", "properties": {"where": {"type": "string"}}},
    },
}
HERE = "http://127.0.0.1:1"
QUESTION = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"})


@pytest.fixture(scope="module")
def translator() -> Translator:
    translator = Translator(Redactor([KEY]).redact)
    translator.load()
    assert translator.ready
    return translator


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


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


# -- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wire", "path", "auth", "limit", "temperature"),
    [
        ("ollama_chat", "/api/chat", "authorization", ("options", "num_predict"), ("options", "temperature")),
        ("openai", "/v1/chat/completions", "authorization", ("max_tokens",), ("temperature",)),
        ("hosted_vllm", "/v1/chat/completions", "authorization", ("max_tokens",), ("temperature",)),
        ("anthropic", "/v1/messages", "x-api-key", ("max_tokens",), ("temperature",)),
        (
            "gemini",
            "/v1beta/models/m:streamGenerateContent",
            "x-goog-api-key",
            ("generationConfig", "max_output_tokens"),
            ("generationConfig", "temperature"),
        ),
    ],
)
async def test_a_request_as_it_arrives(
    translator: Translator,
    provider: FakeProvider,
    wire: str,
    path: str,
    auth: str,
    limit: tuple[str, ...],
    temperature: tuple[str, ...],
) -> None:
    asked = to(provider, wire, max_output_tokens=64, temperature=0.25, stop=("END",), tools=(LOOK,))
    _, error = await ask(translator, asked)
    assert error is None
    [seen] = provider.requests
    assert seen.path == path
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers[auth].removeprefix("Bearer ") == KEY
    assert at(seen.body, limit) == 64
    assert at(seen.body, temperature) == 0.25
    assert "END" in json.dumps(seen.body)
    assert KEY not in seen.path + json.dumps(dict(seen.query)) + json.dumps(seen.body)
    assert seen.query == ({"alt": "sse"} if wire == "gemini" else {})


def at(body: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        body = body[name]
    return body


def body_of(request: WireRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.body)
    return body


def test_ollama_always_gets_its_window_and_keep_alive(translator: Translator) -> None:
    body = body_of(translator.request(call("ollama_chat"), None))
    assert (body["options"]["num_ctx"], body["keep_alive"], body["stream"]) == (16384, "5m", True)
    params = {"keep_alive": "1h", "num_ctx": 1, "top_k": 7, "seed": 3, "min_p": 0.1, "think": False}
    request = translator.request(call("ollama_chat", params=params), None)
    body = body_of(request)
    assert body["options"] == {"num_ctx": 16384, "top_k": 7, "seed": 3, "min_p": 0.1}
    assert (body["keep_alive"], body["think"]) == ("1h", False)
    penalties = {"frequency_penalty": 0.0, "presence_penalty": 0.5}
    body = body_of(translator.request(call("ollama_chat", sampling=penalties), None))
    assert body["options"] == {"num_ctx": 16384, **penalties}, (
        "OpenAI's neutral 0 must not become Ollama's repeat_penalty"
    )
    assert request.url == "http://127.0.0.1:11434/api/chat"
    assert "authorization" not in {name.lower() for name in request.headers}


def test_openai_style_asks_for_usage_and_carries_unknown_parameters(translator: Translator) -> None:
    body = body_of(
        translator.request(call("openai", params={"top_k": 7, "seed": 3, "chat_template_kwargs": {"a": 1}}), None)
    )
    assert body["stream_options"] == {"include_usage": True}
    assert (body["top_k"], body["seed"], body["chat_template_kwargs"]) == (7, 3, {"a": 1})


def test_what_the_request_says_wins_over_the_configuration(translator: Translator) -> None:
    params = {"temperature": 0.9, "max_tokens": 5, "top_p": 0.5}
    body = body_of(translator.request(call("openai", params=params, temperature=0.1, max_output_tokens=7), None))
    assert (body["temperature"], body["max_tokens"], body["top_p"]) == (0.1, 7, 0.5)
    assert params == {"temperature": 0.9, "max_tokens": 5, "top_p": 0.5}


def test_reasoning_models_get_their_own_names_and_no_temperature(translator: Translator) -> None:
    for name in ("o3-mini", "gpt-5"):
        body = body_of(translator.request(call("openai", name=name, temperature=0.1, max_output_tokens=7), None))
        assert body["max_completion_tokens"] == 7
        assert "max_tokens" not in body
        assert "temperature" not in body
    assert body_of(translator.request(call("openai", name="gpt-4o", max_output_tokens=7), None))["max_tokens"] == 7


def test_anthropic_gets_the_models_output_limit_where_none_is_asked(translator: Translator) -> None:
    assert body_of(translator.request(call("anthropic"), None))["max_tokens"] == 2048
    assert body_of(translator.request(call("anthropic", params={"max_tokens": 9}), None))["max_tokens"] == 9


@pytest.mark.parametrize(
    ("wire", "base", "url"),
    [
        ("ollama_chat", None, "http://127.0.0.1:11434/api/chat"),
        ("ollama_chat", "http://box:1/", "http://box:1/api/chat"),
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://127.0.0.1:1/v1/", "http://127.0.0.1:1/v1/chat/completions"),
        ("anthropic", None, "https://api.anthropic.com/v1/messages"),
        ("anthropic", "http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1/messages"),
        ("gemini", None, "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("gemini", "http://127.0.0.1:1/v1beta", "http://127.0.0.1:1/v1beta/models/m:streamGenerateContent?alt=sse"),
        ("groq", None, "https://api.groq.com/openai/v1/chat/completions"),
        ("mistral", None, "https://api.mistral.ai/v1/chat/completions"),
        ("deepseek", None, "https://api.deepseek.com/beta/chat/completions"),
        ("openrouter", None, "https://openrouter.ai/api/v1/chat/completions"),
        ("xai", None, "https://api.x.ai/v1/chat/completions"),
    ],
)
def test_addresses(translator: Translator, wire: str, base: str | None, url: str) -> None:
    assert translator.request(call(wire, base), KEY).url == url


def test_a_server_of_ones_own_without_an_address_is_not_taken_for_openais(translator: Translator) -> None:
    for wire in ("hosted_vllm", "lm_studio"):
        with pytest.raises(Unsupported, match="api_base"):
            translator.request(call(wire), KEY)


def test_the_environment_does_not_redirect_a_configured_model(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_BASE_URL", "OPENAI_API_BASE", "ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL", "GEMINI_API_BASE"):
        monkeypatch.setenv(name, "http://evil.example/v1")
    for name in ("OLLAMA_API_BASE", "GROQ_API_BASE", "HOSTED_VLLM_API_BASE"):
        monkeypatch.setenv(name, "http://evil.example/v1")
    for wire in (*GREAT, "groq"):
        assert translator.request(call(wire, HERE), KEY).url.startswith("http://127.0.0.1:1/")


@pytest.mark.parametrize("wire", ["openai", "anthropic", "gemini", "groq", "mistral", "xai"])
def test_a_cloud_model_without_its_key_names_the_variable(translator: Translator, wire: str) -> None:
    asked = call(wire, location=Location.CLOUD)
    with pytest.raises(BadCredentials, match=f"{wire.upper()}_API_KEY"):
        translator.request(asked, None)
    with pytest.raises(BadCredentials, match="MY_KEY"):
        translator.request(replace(asked, model=replace(asked.model, api_key_env="MY_KEY")), " ")


def test_a_server_on_this_machine_needs_no_key(translator: Translator) -> None:
    for wire in GREAT:
        assert translator.request(call(wire, HERE), None).url


def test_a_key_that_would_split_the_header_is_refused(translator: Translator) -> None:
    with pytest.raises(BadCredentials, match="characters"):
        translator.request(call("openai"), "sk-a\r\nx-evil: 1")


@pytest.mark.parametrize(
    "wire",
    ["bedrock", "vertex_ai", "sagemaker_chat", "watsonx", "github_copilot", "databricks", "oci", "azure", "no-such"],
)
def test_providers_that_cannot_be_asked_this_way_say_so(translator: Translator, wire: str) -> None:
    with pytest.raises(Unsupported, match=wire):
        translator.request(call(wire), KEY)


@pytest.mark.parametrize("wire", GREAT)
@pytest.mark.parametrize(
    "address",
     ["http://x.example/a.png", "https://x.example/a.png", "HTTPS://x.example/a", " https://x.example/a",
     "\nht\ttps://x.example/a", "ws://x.example/a", "http:\\\\x.example", "file:/etc/passwd"],
)  # fmt: skip
def test_a_private_request_fetches_no_image(translator: Translator, wire: str, address: str) -> None:
    for part in ({"type": "image_url", "image_url": {"url": address}}, {"type": "image_url", "image_url": address}):
        messages = ({"role": "user", "content": [{"type": "text", "text": "what?"}, part]},)
        with pytest.raises(Unsupported, match="data: URL"):
            translator.request(call(wire, messages=messages, local_only=True), KEY)


def test_litellm_fetches_no_image_for_anybody(translator: Translator) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
    messages = ({"role": "user", "content": [part]},)
    for wire in ("ollama_chat", "gemini", "lm_studio"):
        with pytest.raises(Unsupported, match="data: URL"):
            translator.request(call(wire, HERE, messages=messages), KEY)
    for wire in ("openai", "anthropic"):
        assert b"https://x.example/a.png" in translator.request(call(wire, messages=messages), KEY).body


@pytest.mark.parametrize("wire", GREAT)
def test_an_image_in_the_request_goes_along(translator: Translator, wire: str) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}
    messages = ({"role": "user", "content": [{"type": "text", "text": "what?"}, part]},)
    assert pixel.encode() in translator.request(call(wire, HERE, messages=messages, local_only=True), KEY).body


def test_what_a_model_cannot_do_is_said_and_not_dropped(translator: Translator) -> None:
    with pytest.raises(Unsupported, match="tools"):
        translator.request(call("perplexity", tools=(LOOK,)), KEY)
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    with pytest.raises(Unsupported, match="response_format"):
        translator.request(call("openai", name="gpt-4", response_format=schema), KEY)


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "model", "messages", "stream", "extra_headers"])
def test_parameters_cannot_say_where_to_go(translator: Translator, name: str) -> None:
    with pytest.raises(Unsupported, match=name):
        translator.request(call("openai", params={name: "http://evil.example"}), KEY)


@pytest.mark.parametrize("wire", GREAT)
def test_the_call_is_left_as_it_was(translator: Translator, wire: str) -> None:
    messages = tuple({"role": m["role"], "content": [{"type": "text", "text": m["content"]}]} for m in QUESTION)
    asked = call(wire, HERE, messages=messages, tools=(LOOK,), tool_choice="auto")
    before = json.dumps([messages, LOOK])
    translator.request(asked, KEY)
    assert json.dumps([messages, LOOK]) == before


@pytest.mark.parametrize("wire", GREAT)
def test_prompts_arrive_unharmed(translator: Translator, wire: str) -> None:
    prompt = "{{7*7}} {0.__class__} <|eot_id|> \x00 \ud83d \u2028 </context> [DONE]"
    body = translator.request(call(wire, HERE, messages=({"role": "user", "content": prompt},)), KEY).body
    assert json.dumps(prompt)[1:-1] in json.dumps(json.loads(body))


# -- answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", [*GREAT, *OPENAI_STYLE])
async def test_text_finish_and_usage(translator: Translator, provider: FakeProvider, wire: str) -> None:
    provider.script(Reply(("Hi", " there"), finish="length", input_tokens=20, output_tokens=6))
    chunks, error = await ask(translator, to(provider, wire))
    assert error is None
    assert text_of(chunks) == "Hi there"
    assert [c for c in chunks if isinstance(c, Finish)] == [Finish("length")]
    usage = [c for c in chunks if isinstance(c, Usage)][-1]
    assert (usage.input_tokens, usage.output_tokens) == (20, 6)


@pytest.mark.parametrize("wire", GREAT)
async def test_tool_calls_and_reasoning(translator: Translator, provider: FakeProvider, wire: str) -> None:
    first, second = ToolCall("look_at", '{"where": "here"}', "c1"), ToolCall("look_at", "{}", "c2")
    provider.script(Reply(("ok",), reasoning=("let", " me"), tool_calls=(first, second)))
    chunks, error = await ask(translator, to(provider, wire, tools=(LOOK,)))
    assert error is None
    assert "".join(c.text for c in chunks if isinstance(c, ReasoningDelta)) == "let me"
    assert text_of(chunks) == "ok"
    calls = assemble(chunks)
    assert [json.loads(arguments) for _, _, arguments in calls] == [{"where": "here"}, {}]
    assert {name for _, name, _ in calls} == {"look/at" if wire == "anthropic" else "look_at"}
    assert all(id_ for id_, _, _ in calls)
    assert len({id_ for id_, _, _ in calls}) == 2
    assert [c for c in chunks if isinstance(c, Finish)] == [Finish("tool_calls")]


def assemble(chunks: list[Chunk]) -> list[tuple[str, str, str]]:
    """Tool calls put together as a client does it: id and name of the first part, arguments appended."""
    calls: dict[int, tuple[str, str, str]] = {}
    for part in chunks:
        if isinstance(part, ToolCallDelta):
            id_, name, arguments = calls.get(part.index, ("", "", ""))
            calls[part.index] = (id_ or part.id or "", name or part.name or "", arguments + part.arguments)
    return list(calls.values())


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        ("openai", Usage(100, 9, 30, None, 4)),
        ("anthropic", Usage(100, 9, 30, 20, None)),
        ("gemini", Usage(100, 9, 30, None, 4)),
        ("ollama_chat", Usage(100, 9)),
    ],
)
async def test_usage_in_detail(translator: Translator, provider: FakeProvider, wire: str, expected: Usage) -> None:
    provider.script(
        Reply(input_tokens=100, output_tokens=9, cached_input_tokens=30, cache_write_tokens=20, reasoning_tokens=4)
    )
    chunks, _ = await ask(translator, to(provider, wire))
    assert [c for c in chunks if isinstance(c, Usage)][-1] == expected


@pytest.mark.parametrize("wire", GREAT)
async def test_no_usage_is_invented(translator: Translator, provider: FakeProvider, wire: str) -> None:
    provider.script(Reply(usage=False))
    chunks, error = await ask(translator, to(provider, wire))
    assert error is None
    assert not [c for c in chunks if isinstance(c, Usage)]


@pytest.mark.parametrize("wire", GREAT)
@pytest.mark.parametrize("reply", [split_utf8(), injected_newlines()], ids=["split", "newlines"])
async def test_awkward_bytes(translator: Translator, provider: FakeProvider, wire: str, reply: Reply) -> None:
    provider.script(reply)
    chunks, error = await ask(translator, to(provider, wire))
    assert error is None
    assert text_of(chunks) == "".join(reply.text)


async def test_an_answer_in_a_schema_rides_on_anthropics_tool_call(
    translator: Translator, provider: FakeProvider
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    provider.script(Reply((), tool_calls=(ToolCall("json_tool_call", '{"a": 1}'),)))
    asked = to(provider, "anthropic", name="claude-3-5-sonnet-20240620", response_format=schema)
    chunks, error = await ask(translator, asked)
    assert error is None
    assert json.loads(text_of(chunks)) == {"a": 1}
    assert [c for c in chunks if isinstance(c, Finish)] == [Finish("stop")]


async def test_a_prompt_that_gemini_blocked_is_an_end(translator: Translator) -> None:
    parser = translator.parser(call("gemini"))
    chunks = parser.feed(
        b'data: {"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}\r\n\r\n'
    )
    assert Finish("content_filter") in chunks
    parser.close()


# -- faults --------------------------------------------------------------------------------------------------------

FAULTS: Mapping[str, tuple[Step, type[AttemptError]]] = {
    "400": (Status(400, message="messages: roles must alternate"), RequestRefused),
    "401": (Status(401), BadCredentials),
    "bad key": (BadKey(), BadCredentials),
    "403": (Status(403), BadCredentials),
    "404": (Status(404), ModelNotFound),
    "429": (Status(429, {"retry-after": "7"}), RateLimited),
    "500": (Status(500), ServerFailed),
    "502": (Status(502, body=b"<html>Bad Gateway</html>"), ServerFailed),
    "503": (Status(503), Overloaded),
    "529": (Status(529), Overloaded),
    "redirect": (Status(307, {"location": "http://evil.example/"}), EgressBlocked),
    "overflow": (Overflow(), ContextOverflow),
    "key in error": (KeyInError(), BadCredentials),
    "empty": (EmptyStream(), EmptyAnswer),
    "cut": (CutMidStream(how="clean"), ConnectionLost),
    "malformed": (MalformedChunk(), BadChunk),
    "malformed at once": (MalformedChunk(after=0), BadChunk),
    "error": (ErrorInStream(), ServerFailed),
    "error at once": (ErrorInStream(after=0), ServerFailed),
    "overloaded in stream": (ErrorInStream(what="overloaded"), Overloaded),
    "limited in stream": (ErrorInStream(what="rate_limited"), RateLimited),
    "overflow in stream": (ErrorInStream(what="overflow"), ContextOverflow),
}


@pytest.mark.parametrize("wire", [*GREAT, "groq", "openrouter"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_by_every_provider(
    translator: Translator, provider: FakeProvider, wire: str, fault: str
) -> None:
    step, expected = FAULTS[fault]
    provider.script(step)
    chunks, error = await ask(translator, to(provider, wire))
    assert type(error) is expected
    assert KEY not in error.detail
    assert not [c for c in chunks if isinstance(c, Finish)]
    if fault == "429":
        assert error.retry_after == 7
    if isinstance(step, (CutMidStream, MalformedChunk, ErrorInStream)):
        assert text_of(chunks) == "".join(Reply().text[: step.after])


# -- loading -------------------------------------------------------------------------------------------------------


async def test_whoever_asks_early_waits_for_the_import() -> None:
    translator = Translator(str)
    waiting = [asyncio.create_task(translator.wait_ready()) for _ in range(3)]
    waiting[0].cancel()
    await asyncio.sleep(0)
    with pytest.raises(Unsupported, match="still being loaded"):
        translator.request(call("openai"), KEY)
    thread = threading.Thread(target=translator.load)
    thread.start()
    await asyncio.wait_for(asyncio.gather(*waiting[1:]), 30)
    thread.join()
    await translator.wait_ready()
    assert translator.request(call("openai"), KEY).url


async def test_a_litellm_that_would_redirect_every_call_is_not_used(
    translator: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    litellm = importlib.import_module("litellm")
    monkeypatch.setattr(litellm, "api_base", "http://evil.example")
    other = Translator(str)
    other.load()
    assert not other.ready
    with pytest.raises(Unsupported, match="api_base"):
        await other.wait_ready()


PROGRAM = """
import asyncio, http.server, os, sys, threading
os.chdir(sys.argv[1])
said = []
def audit(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        said.append((event, str(arguments[1:])))
sys.addaudithook(audit)
from app.llm.translate import Translator
assert "litellm" not in sys.modules
translator = Translator(str)
translator.load()
assert translator.ready
print("connections while loading", said)
print("read from .env", os.environ.get("OPENAI_BASE_URL"))

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        hits.append(self.path)
        self.send_error(404)
    do_POST = do_CONNECT = do_GET
    def log_message(self, *_):
        pass
hits = []
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
os.environ |= {"HTTP_PROXY": url, "http_proxy": url, "ALL_PROXY": url, "OLLAMA_API_BASE": url}

import litellm
from litellm.main import acompletion, completion
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler, HTTPHandler
def causes(error):
    while error:
        yield type(error).__name__
        error = error.__cause__ or error.__context__
def ask(model):
    return dict(model=model, messages=[{"role": "user", "content": "a"}], api_base=url, api_key="k", num_retries=0,
                max_retries=0)
async def coroutine(call):
    return await call()
models = ("openai/m", "anthropic/m", "gemini/m", "ollama_chat/m")
calls = {"module": lambda: litellm.module_level_client.get(url), "sync": lambda: HTTPHandler().get(url)}
calls["openai/m"] = lambda: completion(**ask("openai/m"))
calls["async"] = lambda: asyncio.run(coroutine(lambda: AsyncHTTPHandler().get(url)))
calls |= {"a" + m: (lambda m=m: asyncio.run(coroutine(lambda: acompletion(**ask(m))))) for m in models}
for name, call in calls.items():
    try:
        call()
        print(name, "connected")
    except Exception as error:
        print(name, "refused" if "EgressBlocked" in causes(error) else repr(error))
print("hits", hits)
"""


def test_loading_is_silent_and_litellm_never_connects(tmp_path: Path) -> None:
    """In a process of its own, where litellm is imported for the first time."""
    (tmp_path / ".env").write_text("OPENAI_BASE_URL=http://evil.example\n")
    here = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, timeout=50, check=False, env=here
    )
    assert done.returncode == 0, done.stderr
    first, second, *refusals, hits = done.stdout.splitlines()
    assert (first, second, hits) == ("connections while loading []", "read from .env None", "hits []")
    assert len(refusals) == 8
    assert all(line.endswith(" refused") for line in refusals), refusals
