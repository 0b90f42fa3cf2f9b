"""What a model sees, from the request's material to the rendered messages: the seed's examples, single behaviours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from app.context.blocks import BlockOutcome, CodeChunk, Material, OpenFile, Outcome
from app.context.builder import output_reserve
from app.errors import ContextTooLarge
from tests.unit.context_materials import (
    BUILDER,
    built,
    chat,
    contents,
    large_example,
    outcomes,
    small_example,
    text,
    user,
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
