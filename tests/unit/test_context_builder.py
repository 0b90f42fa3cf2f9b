"""What a model sees, from the request's material to the rendered messages: the invariants, and the seed's examples."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.context.blocks import (
    BlockOutcome,
    CodeChunk,
    ContextWindow,
    EntityNote,
    Material,
    OpenFile,
    Outcome,
)
from app.context.builder import ContextBuilder, Prepared, output_reserve
from app.context.tokens import TokenCounter
from app.errors import ContextTooLarge

COUNTER = TokenCounter()
COUNTER.load()
BUILDER = ContextBuilder(COUNTER)
COLD = TokenCounter(cache_entries=0)
COLD.load()
WORDS = ["alpha", "beta", "gamma", "delta", "omega"]
"""One token each after a space."""


def text(tokens: int, name: str = "") -> str:
    """About so many tokens of prose that begins with `name`."""
    room = tokens - COUNTER.count(name, "llama3")
    return name + " ".join(WORDS[i % 5] for i in range(room))


def code(tokens: int, name: str) -> str:
    """About so many tokens of code in lines of eight."""
    out = "".join(f"    {name}_{i} = {i}\n" for i in range(tokens))
    lines = out.split("\n")
    low, high = 0, len(lines)
    while low < high:
        middle = (low + high + 1) // 2
        if COUNTER.count("\n".join(lines[:middle]), "llama3") <= tokens:
            low = middle
        else:
            high = middle - 1
    return "\n".join(lines[:low])


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def chat(count: int, tokens: int) -> list[dict[str, Any]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text(tokens, f"message {i}: ")} for i in range(count)]


def chunks(count: int, tokens: int) -> list[CodeChunk]:
    return [CodeChunk(code(tokens, f"c{i}"), f"src/m{i}.py", similarity=0.95 - i / 50) for i in range(count)]


async def built(
    material: Material, window: int = 8192, wanted: int | None = None, **more: Any
) -> tuple[Prepared, ContextWindow]:
    prepared = await BUILDER.prepare(material)
    options = {"model_id": "m", "tokenizer": "llama3", "wanted_output": wanted, **more}
    return prepared, await BUILDER.fit(prepared, window=window, **options)


def contents(window: ContextWindow) -> str:
    return "\n".join(m["content"] for m in window.messages if isinstance(m.get("content"), str))


def outcomes(window: ContextWindow) -> dict[str, Outcome]:
    return {block.id: block.outcome for block in window.blocks}


# -- the seed's worked examples ---------------------------------------------------------------------------------------


def small_example() -> Material:
    """Section 3: 4,700 tokens of input."""
    return Material(
        messages=[user(text(100))],
        system_prompt=text(500),
        session_state=text(800),
        chunks=chunks(5, 300),
        history=chat(10, 120),
        entities=[EntityNote(f"entity{i}", "class", text(50), hops=1 + i % 2) for i in range(10)],
    )


def large_example() -> Material:
    """Section 3: 17,000 tokens of input and 4,000 for the answer."""
    frames = "".join(f'  File "/p/f{i}.py", line {i}, in run\n    call_{i}()\n' for i in range(1, 24))
    return Material(
        messages=[user(text(800))],
        system_prompt=text(500),
        session_state=text(800),
        chunks=chunks(20, 300),
        file=OpenFile(code(3000, "line"), "src/debugged.py", line=150),
        stacktrace=f"Traceback (most recent call last):\n{frames}ValueError: broken\n",
        history=chat(30, 140),
        entities=[EntityNote(f"entity{i}", "class", text(60), hops=1 + i % 2) for i in range(20)],
    )


async def test_4700_tokens_fit_8k_whole() -> None:
    prepared, window = await built(small_example(), wanted=2000)
    assert await prepared.total_tokens("llama3") == pytest.approx(4_700, rel=0.1)
    assert set(outcomes(window).values()) == {Outcome.KEPT}
    assert window.reserved_output == 2_000
    assert window.input_tokens + 2_000 <= 8_192
    assert not window.loses_priority_2


async def test_21000_tokens_do_not_fit_8k() -> None:
    prepared, window = await built(large_example(), wanted=4000)
    assert await prepared.total_tokens("llama3") == pytest.approx(17_000, rel=0.1)
    assert window.input_tokens + 4_000 <= 8_192
    assert window.loses_priority_2
    assert all(b.outcome is Outcome.KEPT for b in window.blocks if b.priority == 1)
    assert str(large_example().system_prompt) in contents(window)
    assert window.messages[-1]["content"].endswith(str(large_example().messages[0]["content"]))
    _, larger = await built(large_example(), window=32_768, wanted=4000)
    assert set(outcomes(larger).values()) == {Outcome.KEPT}


async def test_priorities_are_the_seeds() -> None:
    prepared = await BUILDER.prepare(large_example())
    by_priority: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    for block in prepared.blocks:
        by_priority[block.priority].add(block.id.split("#")[0].split(".py")[0])
    assert by_priority[1] == {"system:prompt", "session_state", "query", "trace:error"}
    assert {
        "file:src/debugged",
        "trace:rest",
        "chunk:src/m0",
        "chunk:src/m2",
        "history:29",
        "history:25",
    } <= by_priority[2]
    assert {"entity:entity0", "entity:entity18"} <= by_priority[2]
    assert {"chunk:src/m3", "history:24", "history:0", "entity:entity1"} <= by_priority[3]


# -- invariants over any material -------------------------------------------------------------------------------------

SHORT = st.text(alphabet=st.sampled_from("ab `~\n<>/é漢"), max_size=60)
SIZED = st.builds(lambda words, name: text(words, name) if words else name, st.integers(0, 120), SHORT)


@st.composite
def dialogues(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for index in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from(["user", "assistant", "tool"]))
        if kind != "tool":
            messages.append({"role": kind, "content": f"[{index}] " + draw(SIZED)})
            continue
        ids = [f"call{index}_{n}" for n in range(draw(st.integers(1, 2)))]
        calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
        messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [{"role": "tool", "tool_call_id": i, "content": draw(SIZED)} for i in ids]
    return messages


@st.composite
def materials(draw: st.DrawFn) -> Material:
    spans = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 9), st.floats(0, 1)), max_size=6))
    found = [
        CodeChunk("".join(f"line {n}\n" for n in range(a, a + b + 1)), "src/a.py", a, a + b, s) for a, b, s in spans
    ]
    found += [CodeChunk(draw(SIZED), draw(st.sampled_from([None, "x.py"]))) for _ in range(draw(st.integers(0, 2)))]
    notes = draw(st.lists(st.builds(EntityNote, SHORT, SHORT, SIZED, st.integers(1, 3)), max_size=5))
    file = OpenFile("".join(f"    statement_{n} = {n}\n" for n in range(draw(st.integers(1, 120)))), "b.py", 50)
    trace = 'Traceback:\n  File "b.py", line 3, in f\n    x()\n' + '  File "c.py", line 9, in g\n' * 9 + "KeyError: 1"
    return Material(
        messages=[*draw(dialogues()), {"role": "user", "content": "ask: " + draw(SIZED)}],
        system_prompt=draw(st.none() | SIZED),
        session_state=draw(st.none() | SIZED | st.just({"goal": "g", "steps": ["a", "b"]})),
        summary=draw(st.none() | SIZED),
        history=draw(dialogues()),
        chunks=found,
        entities=notes,
        file=draw(st.none() | st.just(file)),
        stacktrace=draw(st.none() | st.just(trace)),
    )


WINDOW = st.integers(150, 3_000)
TOKENIZER = st.sampled_from(["llama3", "llama2", "bytes"])


def attempt(material: Material, window: int, tokenizer: str = "llama3", **more: Any) -> ContextWindow | ContextTooLarge:
    async def run() -> ContextWindow | ContextTooLarge:
        try:
            return (await built(material, window, tokenizer=tokenizer, **more))[1]
        except ContextTooLarge as error:
            return error

    return asyncio.run(run())


@settings(max_examples=120, deadline=None)
@given(materials(), WINDOW, TOKENIZER, st.sampled_from([0.8, 1.0, 1.3]), st.sampled_from([0.7, 1.0]))
def test_never_over_the_window_and_priority_1_whole_or_an_error_with_numbers(
    material: Material, size: int, tokenizer: str, factor: float, shrink: float
) -> None:
    window = attempt(material, size, tokenizer, factor=factor, shrink=shrink)
    if isinstance(window, ContextTooLarge):
        assert (
            int(str(window.extra["needed_tokens"])) + int(str(window.extra["reserved_output"])) > size * shrink * 0.99
        )
        assert window.extra["window"] == size
        return
    recount = COUNTER.messages_tokens(window.messages, tokenizer)
    assert recount * factor <= (size - window.reserved_output) * shrink + 1e-6
    assert window.input_tokens == pytest.approx(recount * factor, abs=1)
    assert all(block.outcome is Outcome.KEPT for block in window.blocks if block.priority == 1)
    shown = contents(window)
    assert shown.endswith(str(material.messages[-1]["content"]))
    if material.system_prompt:
        assert shown.startswith(material.system_prompt)
    if isinstance(material.session_state, str):
        assert material.session_state in shown


@settings(max_examples=80, deadline=None)
@given(materials(), WINDOW)
def test_tool_pairs_are_whole_and_messages_verbatim_and_chronological(material: Material, size: int) -> None:
    window = attempt(material, size)
    if isinstance(window, ContextTooLarge):
        return
    offered = [*material.history, *material.messages[:-1]]
    places = {id(message): place for place, message in enumerate(offered)}
    kept = [places[id(message)] for message in window.messages if id(message) in places]
    assert kept == sorted(kept)
    called: list[str] = []
    answered: list[str] = []
    for message in window.messages:
        called += [call["id"] for call in message.get("tool_calls") or ()]
        answered += [message["tool_call_id"]] if message.get("role") == "tool" else []
    assert called == answered
    newest = {b.id for b in window.blocks if b.kind == "history" and b.priority == 2 and b.outcome is Outcome.KEPT}
    assert all(b.outcome is not Outcome.SHORTENED for b in window.blocks if b.kind == "history" and b.priority == 2)
    for block_id in newest:
        prefix, index = block_id.split(":")
        source = material.history if prefix == "history" else material.messages
        assert any(message is source[int(index)] for message in window.messages)


@settings(max_examples=80, deadline=None)
@given(materials(), WINDOW, st.randoms(use_true_random=False))
def test_deterministic_idempotent_and_input_order_irrelevant(material: Material, size: int, rng: Any) -> None:
    first = attempt(material, size)
    shuffled = replace(
        material, chunks=rng.sample(material.chunks, len(material.chunks)),
        entities=rng.sample(material.entities, len(material.entities)),
    )  # fmt: skip
    second = attempt(shuffled, size)
    if isinstance(first, ContextTooLarge) or isinstance(second, ContextTooLarge):
        assert isinstance(first, ContextTooLarge)
        assert isinstance(second, ContextTooLarge)
        return
    assert (first.messages, first.input_tokens) == (second.messages, second.input_tokens)
    assert ids(first) == ids(second)


def ids(window: ContextWindow) -> list[tuple[str, Outcome]]:
    return [(b.id, b.outcome) for b in window.blocks if not b.id.startswith("absorbed:")]


@settings(max_examples=60, deadline=None)
@given(materials(), WINDOW)
def test_outcomes_are_a_partition_of_the_blocks(material: Material, size: int) -> None:
    window = attempt(material, size)
    if isinstance(window, ContextTooLarge):
        return
    prepared = asyncio.run(BUILDER.prepare(material))
    listed = [block.id for block in window.blocks]
    assert len(listed) == len(set(listed))
    assert set(listed) == {b.id for b in prepared.blocks} | {b.id for b in prepared.settled} or listed == ["query"]
    assert sum(1 for _ in material.chunks) <= sum(1 for b in window.blocks if b.kind == "chunk")


@settings(max_examples=60, deadline=None)
@given(materials(), st.sampled_from([600, 1200]))
def test_no_source_line_is_shown_twice(material: Material, size: int) -> None:
    window = attempt(replace(material, messages=[user("ask")], history=[]), size)
    if isinstance(window, ContextTooLarge):
        return
    lines = contents(window).split("\n")
    for number in range(1, 45):
        assert lines.count(f"line {number}") <= 1
        assert lines.count(f"    statement_{number} = {number}") <= 1


@settings(max_examples=40, deadline=None)
@given(materials())
def test_incremental_count_equals_cold_count(material: Material) -> None:
    async def run() -> None:
        warm = await (await BUILDER.prepare(material)).total_tokens("llama3")
        assert warm == await (await ContextBuilder(COLD).prepare(material)).total_tokens("llama3")

    asyncio.run(run())


@settings(max_examples=40, deadline=None)
@given(materials(), SIZED)
def test_appending_a_turn_keeps_the_rendered_prefix(material: Material, answer: str) -> None:
    query = material.messages[-1]
    stable = replace(material, messages=[query], chunks=(), file=None, stacktrace=None)
    grown = replace(stable, history=[*stable.history, query, {"role": "assistant", "content": answer}])
    before = attempt(stable, 200_000)
    after = attempt(replace(grown, messages=[user("next")], chunks=material.chunks), 200_000)
    assert isinstance(before, ContextWindow)
    assert isinstance(after, ContextWindow)
    known = before.messages[:-1]
    assert after.messages[: len(known)] == known


@settings(max_examples=60, deadline=None)
@given(materials(), st.lists(st.none() | st.integers(0, 3).map(float), max_size=12))
def test_scores_that_come_later_rank_like_those_that_were_there(material: Material, scores: list[float | None]) -> None:
    async def run() -> None:
        at_once = await BUILDER.prepare(replace(material, history_scores=scores[: len(material.history)]))
        later = await BUILDER.prepare(material)
        counted = await later.sizes("llama3")
        later = later.with_scores(scores[: len(material.history)])
        assert later.blocks == at_once.blocks
        assert await later.sizes("llama3") is counted

    asyncio.run(run())


# -- single behaviours ------------------------------------------------------------------------------------------------


async def test_a_plain_question_is_sent_as_it_is() -> None:
    message = user("<|eot_id|> {{7*7}} </context> ```")
    _, window = await built(Material(messages=[message]))
    assert window.messages == (message,)
    assert window.messages[0] is message
    assert window.blocks == (BlockOutcome("query", "query", 1, window.input_tokens, Outcome.KEPT, "never trimmed"),)


async def test_too_large_names_the_numbers() -> None:
    for material in (Material(messages=[user(text(900))]), Material(messages=[user("q")], system_prompt=text(900))):
        with pytest.raises(ContextTooLarge) as caught:
            await built(material, window=1_000)
        assert caught.value.extra["window"] == 1_000
        assert caught.value.extra["reserved_output"] == 250
        assert int(str(caught.value.extra["needed_tokens"])) >= 900
        assert caught.value.extra["model"] == "m"


@pytest.mark.parametrize(
    ("window", "limit", "wanted", "reserve"),
    [
        (8_192, 2_048, None, 2_048),
        (8_192, None, None, 2_048),
        (8_192, 1_000, None, 1_000),
        (8_192, 2_048, 4_000, 2_048),
        (8_192, None, 4_000, 4_000),
        (200_000, 64_000, None, 8_192),
        (200_000, 64_000, 30_000, 30_000),
    ],
)
def test_output_reserve(window: int, limit: int | None, wanted: int | None, reserve: int) -> None:
    assert output_reserve(window, limit, wanted) == reserve


async def test_order_of_the_prompt() -> None:
    _, window = await built(large_example(), window=100_000)
    system, last = window.messages[0]["content"], window.messages[-1]["content"]
    assert system.index("alpha") < system.index("State of the session:") < system.index("Known entities:")
    assert (
        last.index("src/m19.py") < last.index("src/m0.py") < last.index("src/debugged.py") < last.index("Stack trace:")
    )
    assert last.index("Related entities:") < last.index("src/m19.py")
    assert [m["content"][:11] for m in window.messages[1:4]] == ["message 0: ", "message 1: ", "message 2: "]


async def test_a_trace_stands_once_whole_or_in_essence() -> None:
    for size in (32_768, 8_192, 7_000):
        _, window = await built(replace(large_example(), history=(), chunks=()), window=size, wanted=3000)
        assert contents(window).count("ValueError: broken") == 1
        assert contents(window).count("call_23()") == 1


async def test_a_shortened_open_file_keeps_the_lines_that_chunks_pointed_at() -> None:
    file = OpenFile("".join(f"value_{n} = {n} * {n}\n" for n in range(1, 500)), "src/a.py", 20)
    found = CodeChunk("".join(f"value_{n} = {n} * {n}\n" for n in range(400, 404)), "a.py", 400, 403, 0.9)
    _, window = await built(Material(messages=[user("q")], file=file, chunks=[found]), window=3_000)
    assert outcomes(window)["file:src/a.py"] is Outcome.SHORTENED
    assert "value_402 = " in contents(window)
    assert "value_300 = " not in contents(window)


async def test_gaps_are_marked_and_the_newest_stay() -> None:
    _, window = await built(Material(messages=[user("and now?")], history=chat(40, 200)), window=4_000)
    assert "earlier messages are left out here" in window.messages[0]["content"]
    assert window.messages[-2]["content"].startswith("message 39: ")


async def test_older_messages_come_back_by_relevance() -> None:
    scores = [0.0] * 40
    scores[7] = 0.9
    material = Material(messages=[user("and now?")], history=chat(40, 200), history_scores=scores)
    _, window = await built(material, window=2_200)
    kept = [b.id for b in window.blocks if b.kind == "history" and b.priority == 3 and b.outcome is Outcome.KEPT]
    assert kept[0] == "history:7"
    places = [m["content"][:10] for m in window.messages]
    assert places.index("message 7:") < places.index("message 39")


async def test_a_long_older_message_shrinks_before_it_goes() -> None:
    history = [user(text(2_000, "log: ")), *chat(5, 20)]
    _, window = await built(Material(messages=[user("q")], history=history), window=1_500)
    assert outcomes(window)["history:0"] is Outcome.SHORTENED
    assert "characters omitted" in contents(window)


async def test_tool_loop_keeps_the_last_step_and_drops_older_ones() -> None:
    steps: list[Mapping[str, Any]] = []
    for i in range(6):
        call = {"id": f"c{i}", "type": "function", "function": {"name": "read", "arguments": json.dumps({"n": i})}}
        steps.append({"role": "assistant", "content": None, "tool_calls": [call]})
        steps.append({"role": "tool", "tool_call_id": f"c{i}", "content": text(300)})
    material = Material(
        messages=[user("read them"), *steps], tools=[{"type": "function", "function": {"name": "read"}}]
    )
    _, window = await built(material, window=2_000)
    assert window.messages[0]["content"] == "read them"
    assert window.messages[-1]["tool_call_id"] == "c5"
    assert outcomes(window)["tools"] is Outcome.KEPT
    assert Outcome.DROPPED in outcomes(window).values()


async def test_image_parts_travel_with_the_context() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    query = {"role": "user", "content": [{"type": "text", "text": "what is this?"}, image]}
    _, window = await built(Material(messages=[query], chunks=[CodeChunk("x = 1\n", "a.py", 1, 1, 0.9)]))
    parts = window.messages[-1]["content"]
    assert parts[-1] is image
    assert "x = 1" in parts[0]["text"]
    assert window.input_tokens > 1_600


async def test_system_messages_are_gathered_at_the_front() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        user("a"),
        {"role": "developer", "content": "Be kind."},
        user("b"),
    ]
    _, window = await built(Material(messages=messages, system_prompt="You are here."))
    assert [m["role"] for m in window.messages] == ["system", "user", "user"]
    assert window.messages[0]["content"] == "You are here.\n\nBe brief.\n\nBe kind."


async def test_large_material_does_not_stall_the_loop() -> None:
    material = replace(large_example(), file=OpenFile("x = 1  # a line\n" * 60_000, "big.py", 100))
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    watcher = asyncio.create_task(tick())
    _, window = await built(material)
    watcher.cancel()
    assert ticks > 5
    assert outcomes(window)["file:big.py"] is Outcome.SHORTENED
