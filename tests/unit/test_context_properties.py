"""What holds of every built context: never over the window, pairs whole, in order, the same each time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.context.blocks import ContextWindow, Material, Outcome
from app.context.builder import ContextBuilder
from app.context.tokens import TokenCounter
from app.errors import ContextTooLarge
from tests.unit.context_materials import BUILDER, COUNTER, SIZED, TOKENIZER, WINDOW, attempt, contents, materials, user

COLD = TokenCounter(cache_entries=0)
COLD.load()


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
