"""litellm's translation of a call into its request: what each provider is sent, and what is refused instead.

An upgrade of litellm shows here, and in `test_translate_answers`, what it changed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from app.errors import BadCredentials, Unsupported
from app.llm import shapes
from app.llm.shapes import WireRequest
from app.llm.translate import Translator
from app.routing.locality import Location
from tests.fakes.providers import FakeProvider
from tests.unit.translating import GREAT, KEY, LOOK, QUESTION, ask, call, loaded_translator, to

HERE = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def translator() -> Translator:
    return loaded_translator()


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


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


def test_messages_that_ollama_takes_as_they_stand_are_those_litellm_would_have_written(translator: Translator) -> None:
    """Beside an empty list of images, which Ollama reads as none."""
    asked = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    messages = (
        *QUESTION,
        {"role": "assistant", "content": "<think>Hm.</think>Well."},
        {"role": "assistant", "content": " <think> is a tag."},
        {"role": "user", "content": ""},
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "content": "here", "tool_call_id": "c1"},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "two"}]},
        {"role": "user", "content": "And then?"},
    )
    sent = body_of(translator.request(call("ollama_chat", messages=messages), None))["messages"]
    config = translator._provider(call("ollama_chat")).config
    written = config.transform_request(
        model="m", messages=shapes.plain(messages), optional_params={}, litellm_params={}, headers={}
    )["messages"]
    assert sent[2]["thinking"] == "Hm."
    assert [_without_images(m) for m in sent] == [_without_images(m) for m in json.loads(json.dumps(written))]


def _without_images(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "images"}


@pytest.mark.parametrize("wire", GREAT)
@pytest.mark.parametrize("written", ["", "look there", '{"where": "he', "[1]", '"here"', "null"])
def test_a_call_with_arguments_that_are_no_object_is_sent_with_one(
    translator: Translator, wire: str, written: str
) -> None:
    """A model wrote them, and whoever asks next sends them along: the conversation has to go on all the same."""
    made = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": written}}
    messages = (
        *QUESTION,
        {"role": "assistant", "content": None, "tool_calls": [made]},
        {"role": "tool", "content": "these are no arguments", "tool_call_id": "c1"},
    )
    body = body_of(translator.request(call(wire, HERE, messages=messages), KEY))
    (told,) = _arguments_in(body)
    assert told == ({"invalid_arguments": written} if written else {})
    assert made["function"] == {"name": "look", "arguments": written}


def _arguments_in(sent: Any) -> list[Any]:
    """Of every call in a body, whatever the wire calls them, and as a value where they are text."""
    if isinstance(sent, list):
        return [found for item in sent for found in _arguments_in(item)]
    if not isinstance(sent, dict):
        return []
    own = [sent[name] for name in ("arguments", "input", "args") if name in sent]
    inner = [found for item in sent.values() for found in _arguments_in(item)]
    return [json.loads(found) if isinstance(found, str) else found for found in own] + inner


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
