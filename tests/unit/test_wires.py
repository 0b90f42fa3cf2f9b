"""Bytes to chunks without litellm: whatever is plain must never need it, however the bytes arrive."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AttemptError, BadChunk, ConnectionLost, EmptyAnswer, ServerFailed
from app.llm.calls import Chunk, Finish, ReasoningDelta, TextDelta, Usage
from app.llm.readers import AnthropicReader, OllamaReader, OpenAIReader
from app.llm.wires import Lines, Payload, Reader, StreamParser
from tests.fakes import wires as fake
from tests.fakes.steps import ErrorInStream, Reply, injected_newlines

WIRES = ("ollama", "openai", "anthropic")


def refused(payload: Payload) -> list[Chunk]:
    raise AssertionError(f"plain lines must not need litellm: {payload}")


def failure(payload: Payload) -> AttemptError:
    return ServerFailed(f"{payload['error']}")


def parser(wire: str) -> StreamParser:
    readers: dict[str, Reader] = {
        "ollama": OllamaReader(refused, failure),
        "openai": OpenAIReader(refused, failure),
        "anthropic": AnthropicReader(blocks_only, failure, lambda: None),
    }
    return StreamParser(readers[wire], sse=wire != "ollama")


def blocks_only(payload: Payload) -> list[Chunk]:
    """Anthropic's block starts and ends carry nothing for text, and litellm says so."""
    assert payload["type"] in ("content_block_start", "content_block_stop")
    return []


def body(wire: str, reply: Reply) -> bytes:
    return b"".join(frame.data for frame in fake.WIRES[wire].frames(reply, "m", 11))


def outcome(parser: StreamParser, reads: list[bytes]) -> tuple[list[Chunk], str | None]:
    """All chunks, and the class of the error that ended the stream, as a client that reads to the end sees them."""
    out: list[Chunk] = []
    try:
        for data in reads:
            out += parser.feed(data)
            if parser.complete:
                break
        out += parser.close()
        out += parser.close()  # an error that was held back comes now
    except AttemptError as error:
        return out, type(error).__name__
    return out, None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize("wire", WIRES)
def test_text_end_mark_and_usage(wire: str) -> None:
    reply = Reply(("Hel", "lo"), finish="length", input_tokens=10, output_tokens=2)
    chunks, error = outcome(parser(wire), [body(wire, reply)])
    assert error is None
    assert [c for c in chunks if isinstance(c, (TextDelta, Finish))] == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Finish("length"),
    ]
    usage = [c for c in chunks if isinstance(c, Usage)][-1]
    assert (usage.input_tokens, usage.output_tokens) == (10, 2)


texts = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), max_size=6).map(tuple)
endings = st.sampled_from(("whole", "clean cut", "malformed", "error", "half a line"))


@given(st.sampled_from(WIRES), texts, endings, st.lists(st.integers(0, 10_000), max_size=40))
def test_however_the_bytes_are_cut_the_chunks_are_the_same(
    wire: str, text: tuple[str, ...], ending: str, places: list[int]
) -> None:
    frames = [frame.data for frame in fake.WIRES[wire].frames(Reply(text), "m", 11)]
    data = {
        "whole": b"".join(frames),
        "clean cut": b"".join(frames[:-1]),
        "malformed": b"".join([*frames[:-1], fake.WIRES[wire].malformed, frames[-1]]),
        "error": b"".join([*frames[:-1], fake.WIRES[wire].error_frame(ErrorInStream())]),
        "half a line": b"".join(frames[:-1]) + frames[-1][: len(frames[-1]) // 2].rstrip(),
    }[ending]
    assert outcome(parser(wire), cut(data, places)) == outcome(parser(wire), [data])


@pytest.mark.parametrize("wire", WIRES)
def test_byte_by_byte_and_with_crlf(wire: str) -> None:
    data = body(wire, Reply(("Grüße ", "你好", "🎉")))
    whole = outcome(parser(wire), [data])
    assert outcome(parser(wire), [bytes([b]) for b in data]) == whole
    assert outcome(parser(wire), [data.replace(b"\n", b"\r\n")]) == whole
    assert "".join(c.text for c in whole[0] if isinstance(c, TextDelta)) == "Grüße 你好🎉"


@pytest.mark.parametrize("wire", WIRES)
def test_text_that_looks_like_an_event_is_text(wire: str) -> None:
    reply = injected_newlines()
    chunks, error = outcome(parser(wire), [body(wire, reply)])
    assert error is None
    assert tuple(c.text for c in chunks if isinstance(c, TextDelta)) == reply.text


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("ending", "expected"),
    [("nothing", EmptyAnswer), ("no end mark", ConnectionLost), ("malformed", BadChunk), ("error", ServerFailed)],
)
def test_an_answer_that_is_not_whole_never_looks_whole(wire: str, ending: str, expected: type[AttemptError]) -> None:
    made = fake.WIRES[wire]
    frames = made.frames(Reply(("a", "b")), "m", 11)
    begun = b"".join(f.data for f in frames[: [i for i, f in enumerate(frames) if f.delta][-1] + 1])
    data = {
        "nothing": b"",
        "no end mark": begun,
        "malformed": begun + made.malformed + b"".join(f.data for f in frames),
        "error": begun + made.error_frame(ErrorInStream()),
    }[ending]
    chunks, error = outcome(parser(wire), [data])
    assert error == expected.__name__
    if ending != "nothing":
        assert [c for c in chunks if isinstance(c, TextDelta)] == [TextDelta("a"), TextDelta("b")]
    assert not [c for c in chunks if isinstance(c, Finish)]


def test_done_is_no_end_mark_by_itself() -> None:
    assert outcome(parser("openai"), [b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n']) == (
        [TextDelta("a")],
        "ConnectionLost",
    )


@pytest.mark.parametrize("wire", ["ollama", "openai", "anthropic"])
def test_complete_when_nothing_more_can_come(wire: str) -> None:
    reading = parser(wire)
    frames = fake.WIRES[wire].frames(Reply(("a",)), "m", 11)
    for frame in frames[:-1]:
        reading.feed(frame.data)
        assert not reading.complete
    reading.feed(frames[-1].data)
    assert reading.complete


def test_the_other_fields_of_server_sent_events_are_passed_over() -> None:
    data = b': OPENROUTER PROCESSING\n\nretry: 5\nid: 1\nevent: x\ndata:{"choices":[{"delta":{"content":"a"}}]}\n\n'
    assert parser("openai").feed(data) == [TextDelta("a")]


@pytest.mark.parametrize(
    "line",
    [
        b"<html>502 Bad Gateway</html>",
        b"data: [1]",
        b"data: 7",
        b'data: {"object":"something else"}',
        b'data: {"choices":[7]}',
        b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}',
        b'data: {"choices":[],"usage":{"prompt_tokens":-1}}',
        b'data: {"choices":[],"usage":{"prompt_tokens":"many"}}',
        b'data: {"choices":[],"usage":{"prompt_tokens":9999999999999999999999}}',
        b'data: {"choices":[],"usage":{"completion_tokens":1e30}}',
    ],
)
def test_what_is_no_delta_is_an_error(line: bytes) -> None:
    with pytest.raises(BadChunk):
        parser("openai").feed(line + b"\n")


def test_a_bare_error_object_with_status_200_is_that_error() -> None:
    with pytest.raises(ServerFailed, match="out of memory"):
        parser("openai").feed(b'{"error": "out of memory"}\n')


def test_a_line_without_end_is_refused_before_it_fills_the_memory() -> None:
    lines = Lines(longest=1000)
    for _ in range(10):
        assert lines.feed(b"x" * 100) == []
    with pytest.raises(BadChunk, match="longer than 1000 bytes"):
        lines.feed(b"x")


def deltas(*pieces: str) -> list[Chunk]:
    return outcome(parser("openai"), [body("openai", Reply(pieces, usage=False))])[0]


@pytest.mark.parametrize(
    ("pieces", "reasoning", "text"),
    [
        (("<think>a", "b</think>", "\n\nc"), "ab", "c"),
        (("<th", "ink>", "a</th", "ink>c"), "a", "c"),
        (("\n<think>", "</think>c"), "", "c"),
        (("<think>never closed",), "never closed", ""),
        (("a < b", " </think>"), "", "a < b </think>"),
        (("the tag <think>", "opens"), "", "the tag <think>opens"),
        (("<thinking", " about"), "", "<thinking about"),
        (("<thi",), "", "<thi"),
        (("<think>x </thin", "g</think>y"), "x </thing", "y"),
    ],
)
def test_thinking_aloud_is_told_from_the_answer(pieces: tuple[str, ...], reasoning: str, text: str) -> None:
    chunks = deltas(*pieces)
    assert "".join(c.text for c in chunks if isinstance(c, ReasoningDelta)) == reasoning
    assert "".join(c.text for c in chunks if isinstance(c, TextDelta)) == text
    assert all(c.text for c in chunks if isinstance(c, (ReasoningDelta, TextDelta)))


@pytest.mark.parametrize("wire", ["ollama", "openai"])
def test_reasoning_in_a_field_of_its_own(wire: str) -> None:
    chunks, _ = outcome(parser(wire), [body(wire, Reply(("b",), reasoning=("a",), usage=False))])
    assert chunks == [ReasoningDelta("a"), TextDelta("b"), Finish("stop")]


def test_empty_deltas_emit_nothing() -> None:
    data = b'data: {"choices":[{"delta":{"role":"assistant","content":"","tool_calls":null,"reasoning":null}}]}\n\n'
    assert parser("openai").feed(data) == []


def test_usage_details_and_deepseeks_name_for_cached_tokens() -> None:
    reply = Reply(("a",), input_tokens=9, output_tokens=4, cached_input_tokens=3, reasoning_tokens=2)
    chunks, _ = outcome(parser("openai"), [body("openai", reply)])
    assert chunks[-1] == Usage(9, 4, 3, None, 2)
    line = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":3}}\n\n'
    assert parser("openai").feed(line) == [Usage(9, 4, 3)]


def test_anthropic_input_includes_what_was_cached_and_written() -> None:
    reply = Reply(("a",), input_tokens=100, output_tokens=4, cached_input_tokens=30, cache_write_tokens=20)
    chunks, _ = outcome(parser("anthropic"), [body("anthropic", reply)])
    assert chunks[-1] == Usage(100, 4, 30, 20)


def test_a_server_that_reports_no_usage_gets_none_invented() -> None:
    for wire in WIRES:
        chunks, error = outcome(parser(wire), [body(wire, Reply(("a",), usage=False))])
        assert error is None
        assert not [c for c in chunks if isinstance(c, Usage)]
