"""The invariants of a built context, end to end: from material to messages, with the exact recount in between.

`tests/unit/test_context_fit.py` holds those of the choice alone, `tests/unit/test_context_properties.py` the others.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from app.context.blocks import (
    CodeChunk,
    ContextBlock,
    ContextWindow,
    EntityNote,
    Material,
    OpenFile,
    Outcome,
    Priority,
)
from app.context.builder import SECTION_OVERHEAD, Prepared
from app.context.render import gap, render, render_ordered
from app.context.summary import fold, plan_summary
from app.errors import ContextTooLarge
from tests.unit.context_materials import BUILDER, COUNTER, WINDOW, attempt, built, dialogues, materials, text, user

MARKER = COUNTER.message_tokens(gap(12), "llama3")
SLACK = 2 * SECTION_OVERHEAD + MARKER
"""Tokens that a plan keeps for what is only known when it is rendered: the labels of two lists, a marker for a gap."""


async def _both(material: Material, size: int) -> tuple[Prepared, ContextWindow] | None:
    try:
        return await built(material, size)
    except ContextTooLarge:
        return None


def window_of(material: Material, size: int) -> tuple[Prepared, ContextWindow] | None:
    return asyncio.run(_both(material, size))


def chosen_in(prepared: Prepared, window: ContextWindow) -> dict[str, int]:
    """The variant of each block that went in."""
    sizes = asyncio.run(prepared.sizes("llama3"))
    outcome = {b.id: b for b in window.blocks}
    found = {}
    for block in prepared.blocks:
        of = outcome[block.id]
        if of.outcome in (Outcome.KEPT, Outcome.SHORTENED):
            found[block.id] = sizes[block.id].index(of.tokens) if of.outcome is Outcome.SHORTENED else 0
    return found


def recounted(prepared: Prepared, chosen: Mapping[str, int]) -> int:
    return COUNTER.messages_tokens(render(prepared.blocks, chosen), "llama3")


# -- priorities -------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(materials(), WINDOW)
def test_no_priority_2_goes_while_priority_3_stays_unless_it_would_not_save_it(material: Material, size: int) -> None:
    """Taking out all of priority 3 and putting the block's shortest form in its place is over the budget."""
    both = window_of(material, size)
    if both is None or not both[0].blocks:
        return
    prepared, window = both
    chosen, of = chosen_in(prepared, window), {b.id: b for b in prepared.blocks}
    if not any(of[name].priority == Priority.TRIM_FIRST for name in chosen):
        return
    essential = {name: variant for name, variant in chosen.items() if of[name].priority < Priority.TRIM_FIRST}
    for block in prepared.blocks:
        if block.priority == Priority.TRIM_LAST and block.id not in chosen:
            with_it = {**essential, block.id: len(block.texts or block.turns) - 1}
            assert recounted(prepared, with_it) > size - window.reserved_output - SLACK, block.id


@settings(max_examples=150, deadline=None)
@given(materials(), WINDOW)
def test_nothing_of_priority_3_displaces_a_better_one_that_would_have_fitted(material: Material, size: int) -> None:
    """A dropped block does not fit in the place of all that rank behind it."""
    both = window_of(material, size)
    if both is None or not both[0].blocks:
        return
    prepared, window = both
    chosen = chosen_in(prepared, window)
    behind: dict[str, int] = {}
    for block in reversed(prepared.blocks):
        if block.priority != Priority.TRIM_FIRST:
            continue
        if block.id in chosen:
            behind[block.id] = chosen[block.id]
        elif behind:
            instead = {name: variant for name, variant in chosen.items() if name not in behind}
            instead[block.id] = len(block.texts or block.turns) - 1
            assert recounted(prepared, instead) > size - window.reserved_output - SLACK, block.id


# -- what goes in, comes out ------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(materials(), WINDOW)
def test_every_piece_of_the_input_is_in_the_receipt_once(material: Material, size: int) -> None:
    both = window_of(material, size)
    if both is None or not both[0].blocks:
        return
    prepared, window = both
    names = Counter(block.id for block in window.blocks)
    assert set(names.values()) == {1}
    kinds = Counter(block.kind for block in window.blocks)
    assert kinds["entity"] + kinds["far_entity"] == len(material.entities)
    assert kinds["chunk"] >= len(material.chunks)
    assert kinds["file"] == (material.file is not None)
    assert kinds["summary"] == bool(material.summary)
    assert kinds["system"] == bool(material.system_prompt)
    assert kinds["session_state"] == bool(material.session_state)
    talk = [m for b in prepared.blocks if b.kind in ("history", "query") for m in b.turns[0]]
    assert Counter(map(id, talk)) == Counter(map(id, (*material.history, *material.messages)))


@settings(max_examples=60, deadline=None)
@given(dialogues(), st.integers(400, 2_000))
def test_a_fold_keeps_the_partition(history: list[dict[str, Any]], size: int) -> None:
    """Kept + shortened + summarised + dropped are all messages, whatever a summary stands for."""

    async def run() -> None:
        material = Material(messages=[user("go on")], history=[*history, *history, *history])
        prepared, before = await built(material, size)
        plan = await plan_summary(prepared, "llama3")
        if plan is None:
            return
        folded = await fold(BUILDER, prepared, plan, "They spoke.")
        window = await BUILDER.fit(folded, model_id="m", window=size, tokenizer="llama3")
        talk = [b.id for b in before.blocks if b.kind == "history"]
        assert sorted(b.id for b in window.blocks if b.kind == "history") == sorted(talk)
        summarised = {b.id for b in window.blocks if b.outcome is Outcome.SUMMARISED}
        assert summarised == set(plan.block_ids)
        assert material.history == [*history, *history, *history]

    asyncio.run(run())


@settings(max_examples=80, deadline=None)
@given(materials(), WINDOW)
def test_building_again_from_what_was_kept_keeps_it(material: Material, size: int) -> None:
    """Idempotent: the messages that went in, offered alone, go in again, word for word."""
    plain = replace(material, chunks=(), file=None, stacktrace=None, entities=())
    window = attempt(plain, size)
    if isinstance(window, ContextTooLarge):
        return
    whole = {id(m) for m in window.messages}
    kept_history = [m for m in plain.history if id(m) in whole]
    kept_own = [m for m in plain.messages if id(m) in whole]
    summary = plain.summary if any(b.kind == "summary" and b.outcome is Outcome.KEPT for b in window.blocks) else None
    again = attempt(replace(plain, history=kept_history, messages=kept_own, summary=summary), size)
    assert isinstance(again, ContextWindow)
    assert {b.outcome for b in again.blocks} == {Outcome.KEPT}
    said = [id(m) for m in again.messages]
    assert said == [id(m) for m in window.messages if id(m) in set(said)] or again.messages[0]["role"] == "system"
    assert again.messages[-1] is kept_own[-1]


@settings(max_examples=60, deadline=None)
@given(materials(), WINDOW, st.sampled_from(["llama3", "llama2"]))
def test_one_preparation_serves_any_number_of_fits(material: Material, size: int, tokenizer: str) -> None:
    """Nothing that one fit does is seen by the next: not its model, its window, its rebuild in less room."""

    async def run() -> None:
        prepared = await BUILDER.prepare(material)
        options: dict[str, Any] = {"model_id": "m", "window": size, "tokenizer": tokenizer}
        try:
            first = await BUILDER.fit(prepared, **options)
        except ContextTooLarge:
            return
        for other in ({"window": 50_000}, {"tokenizer": "bytes", "window": 100_000}, {"shrink": 0.6}):
            try:
                await BUILDER.fit(prepared, **{**options, **other})
            except ContextTooLarge:
                continue
        assert await BUILDER.fit(prepared, **options) == first

    asyncio.run(run())


@settings(max_examples=80, deadline=None)
@given(materials(), WINDOW)
def test_the_newest_messages_stand_word_for_word_before_the_query(material: Material, size: int) -> None:
    """Of the last five messages what goes in is the caller's own object, and nothing older stands after it."""
    both = window_of(material, size)
    if both is None or not both[0].blocks:
        return
    prepared, window = both
    chosen = chosen_in(prepared, window)
    newest = [b for b in prepared.blocks if b.kind == "history" and b.priority == Priority.TRIM_LAST]
    sent = [id(m) for m in window.messages]
    expected = [id(m) for b in sorted(newest, key=_position) if b.id in chosen for m in b.turns[0]]
    assert [i for i in sent if i in set(expected)] == expected
    older = {id(m) for b in prepared.blocks if b.kind == "history" and b.priority == 3 for t in b.turns for m in t}
    if expected:
        assert not older & set(sent[sent.index(expected[0]) :])


def _position(block: ContextBlock) -> int:
    return block.position


# -- fences -----------------------------------------------------------------------------------------------------------

MARK = "ESCAPED"
PIECES = ["`", "```", "````", "\n", "\r\n", "\u2028", "\x0b", "\x85", "~~~", "</file>", "<|eot_id|>", "a ", MARK]
HOSTILE = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def outside(prompt: str) -> list[str]:
    """The lines of a prompt that stand in no fence."""
    lines: list[str] = []
    fence = ""
    for line in prompt.split("\n"):
        if not fence and line.startswith("```") and set(line) == {"`"}:
            fence = line
        elif fence and line == fence:
            fence = ""
        elif not fence:
            lines.append(line)
    assert not fence, "a fence was left open"
    return lines


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, min_size=8, max_size=8), st.sampled_from([500, 900, 4_000]))
def test_no_content_closes_its_block(hostile: Sequence[str], size: int) -> None:
    chunk, path, name, summary, file, trace, state, old = hostile
    long_file = "\n".join([file, *(f"x_{i} = {i}" for i in range(80)), file])
    material = Material(
        messages=[user("ask")],
        system_prompt="You help.",
        session_state={"goal": state, MARK[:3]: state},
        summary=old,
        chunks=[CodeChunk(chunk, path, similarity=0.9), CodeChunk(file + chunk, f"b{path}", 1, 400, 0.5)],
        entities=[EntityNote(name, path, summary, hops) for hops in (1, 2)],
        file=OpenFile(long_file, path + ".py", 40),
        stacktrace=f"Traceback:\n  File \"a.py\", line 3, in f\n    {trace}\nKeyError: {trace}",
    )  # fmt: skip
    window = attempt(material, size)
    if isinstance(window, ContextTooLarge):
        return
    for message in window.messages:
        for line in outside(str(message["content"])):
            labelled = line.startswith(("Code from ", "Open file "))  # a path may stand in a label, on one line
            assert MARK not in line or labelled, line


# -- the prefix -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(dialogues(), st.lists(st.text("ab \n`", max_size=30), min_size=1, max_size=4))
def test_turn_after_turn_keeps_the_prefix(history: list[dict[str, Any]], answers: list[str]) -> None:
    """Over several turns of one session, while nothing is trimmed: each prompt begins with the one before it."""
    talk: list[Mapping[str, Any]] = list(history)
    before: tuple[Mapping[str, Any], ...] = ()
    for number, answer in enumerate(answers):
        query = user(f"question {number}")
        window = attempt(Material(messages=[query], system_prompt="You help.", history=talk), 200_000)
        assert isinstance(window, ContextWindow)
        assert window.messages[: len(before)] == before
        before = window.messages
        talk = [*talk, query, {"role": "assistant", "content": answer}]


# -- size -------------------------------------------------------------------------------------------------------------


def _huge() -> list[tuple[str, Callable[[str], Material]]]:
    def tool(content: str) -> Material:
        call = {"id": "c", "type": "function", "function": {"name": "read", "arguments": "{}"}}
        steps: list[Mapping[str, Any]] = [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": content},
        ]
        return Material(messages=[user("and?")], history=[user("read it"), *steps])

    return [
        ("tool", tool),
        ("chunk", lambda content: Material(messages=[user("q")], chunks=[CodeChunk(content, "a.py", similarity=0.9)])),
        ("message", lambda content: Material(messages=[user("q")], history=[user(content), user("b")])),
        ("file", lambda content: Material(messages=[user("q")], file=OpenFile(content, "a.log", 3))),
        ("trace", lambda content: Material(messages=[user("q")], stacktrace=f"ValueError: {content}")),
    ]


def test_one_huge_piece_costs_no_answer() -> None:
    """A tool result, a chunk, a message, a file, a trace of two megabytes in one line: left out or cut, never sent."""
    content = "<|endoftext|>\u200d漢😀\x00" * 200_000
    for name, make in _huge():
        window = attempt(make(content), 4_096)
        assert isinstance(window, ContextWindow), name
        assert window.input_tokens <= 4_096 - window.reserved_output
        assert str(window.messages[-1]["content"]).endswith(("q", "and?")), name


def test_a_lone_surrogate_is_no_error() -> None:
    window = attempt(Material(messages=[user("a\ud800b")], history=[user("\udfff" * 9)], summary="\ud83d"), 4_096)
    assert isinstance(window, ContextWindow)
    assert text(3)


@settings(max_examples=100, deadline=None)
@given(materials(), st.sampled_from(["llama3", "claude", "bytes"]))
def test_messages_counted_together_are_counted_as_each_alone(material: Material, tokenizer: str) -> None:
    messages = [*material.history, *material.messages, *material.history]
    alone = [COUNTER.message_tokens(message, tokenizer) for message in messages]
    assert COUNTER.tokens_of_each(messages, tokenizer) == alone


@settings(max_examples=100, deadline=None)
@given(materials(), st.randoms(use_true_random=False))
def test_scores_that_come_later_give_the_blocks_that_scores_from_the_start_give(material: Material, rng: Any) -> None:
    scores = tuple(rng.choice((None, 0.0, 0.5, rng.random())) for _ in material.history)
    before, after = replace(material, history_scores=scores), replace(material, history_scores=())
    early = asyncio.run(BUILDER.prepare(before))
    late = asyncio.run(BUILDER.prepare(after)).with_scores(scores)
    assert late.blocks == early.blocks
    chosen = {block.id: 0 for block in early.blocks}
    assert render_ordered(late.order, chosen) == render(early.blocks, chosen)
