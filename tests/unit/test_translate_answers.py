"""litellm's translation of answers and faults, by servers that speak the real wires."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping

import pytest

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
)
from app.llm.calls import Chunk, Finish, ReasoningDelta, ToolCallDelta, Usage
from app.llm.translate import Translator
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
from tests.fakes.providers import ContextOverflow as Overflow
from tests.unit.translating import GREAT, KEY, LOOK, ask, call, loaded_translator, text_of, to

OPENAI_STYLE = ("groq", "mistral", "deepseek", "openrouter", "xai", "lm_studio", "together_ai", "cerebras")


@pytest.fixture(scope="module")
def translator() -> Translator:
    return loaded_translator()


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        yield provider


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
