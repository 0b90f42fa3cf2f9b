"""The pure parts of sessions: turns, what is offered to a request, folds, state."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from app.chat.hydrate import MOST_HISTORY, NEWEST_OFFERED, offered, well_formed, worth_ranking
from app.chat.records import NewMessage, StoredMessage, check_id, split_message, title_of
from app.chat.state import STATE_CHARACTERS, SessionState, extract_state, read_captured
from app.chat.summaries import FOLD_CHARACTERS, MOST_CHARACTERS, next_fold
from app.chat.turns import Turns
from app.context.conversation import RECENT_MESSAGES
from app.errors import InvalidRequest
from tests.unit.ledger_rows import NOW


def message(role: str, content: str | None = "x", **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def call(*ids: str) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "f", "arguments": "{}"}} for i in ids]
    return message("assistant", None, tool_calls=calls)


def result(of: str) -> dict[str, Any]:
    return message("tool", "7", tool_call_id=of)


def stored(*messages: dict[str, Any]) -> list[StoredMessage]:
    return [StoredMessage(seq, one, NOW) for seq, one in enumerate(messages)]


async def test_turns_are_fair_and_leave_nothing_behind() -> None:
    turns, order = Turns(), []

    async def work(name: int) -> None:
        turn = await turns.take("k")
        order.append(name)
        await asyncio.sleep(0)
        turn.end()
        turn.end()  # a second time does nothing

    tasks = [asyncio.create_task(work(i)) for i in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 3, 4]
    assert turns.waiting("k") == 0
    assert turns._locks == {}


@pytest.mark.parametrize(
    ("before", "roles"),
    [
        ([call("a"), result("a")], ["assistant", "tool"]),
        ([call("a", "b"), result("b"), result("a")], ["assistant", "tool", "tool"]),
        ([call("a", "b"), result("a")], ["assistant", "user"]),
        ([call("a")], ["assistant"]),
        ([result("a")], ["user"]),
        ([message("user"), result("a"), message("assistant")], ["user", "user", "assistant"]),
        ([call("a"), message("user"), result("a")], ["assistant", "user", "user"]),
    ],
)
def test_calls_and_results_that_lack_each_other_become_text(before: list[dict[str, Any]], roles: list[str]) -> None:
    after = well_formed(before)
    assert [m["role"] for m in after] == roles
    whole = "tool" in roles
    assert any("tool_calls" in m for m in after) == whole


MESSAGES = st.lists(
    st.one_of(
        st.sampled_from([message("user"), message("assistant"), message("system")]),
        st.lists(st.sampled_from("abc"), min_size=1, max_size=2, unique=True).map(lambda ids: call(*ids)),
        st.sampled_from("abc").map(result),
    ),
    max_size=14,
)


@given(MESSAGES)
def test_what_is_offered_is_well_formed_one_for_one_and_mended_once(messages: list[dict[str, Any]]) -> None:
    ready = well_formed(messages)
    assert len(ready) == len(messages)
    assert well_formed(ready) == ready
    open_calls: list[str] = []
    for one in ready:
        if one["role"] == "tool":
            open_calls.remove(one["tool_call_id"])
        else:
            assert open_calls == []
            open_calls = [c["id"] for c in one.get("tool_calls", ())]
    assert open_calls == []


@given(st.integers(0, MOST_HISTORY + 600), st.randoms(use_true_random=False))
def test_a_long_session_offers_its_newest_and_its_best(count: int, chance: Any) -> None:
    messages = [message("system" if i == 0 else "user", str(i)) for i in range(count)]
    scores: list[float | None] = [chance.random() for _ in range(count)]
    found = offered(messages, scores)
    assert len(found.history) == len(found.scores)
    assert len(found.history) in (min(count, MOST_HISTORY), MOST_HISTORY + 1)
    kept = [int(m["content"]) for m in found.history]
    assert kept == sorted(kept) == list(found.seqs)
    assert kept[-NEWEST_OFFERED:] == list(range(count))[-NEWEST_OFFERED:]
    if count > MOST_HISTORY:
        assert kept[0] == 0, "instructions are never left out"
        left_out = set(range(count)) - set(kept)
        chosen = set(kept[1:-NEWEST_OFFERED])
        assert min((scores[i] or 0.0) for i in chosen) >= max((scores[i] or 0.0) for i in left_out)
        assert found.up_to(count) == len(kept) - 1


def test_ranking_is_for_what_may_not_fit() -> None:
    short = stored(*[message("user", "x" * 100)] * 50)
    assert not worth_ranking(short, 0, 8_192)
    assert worth_ranking(short, 0, 2_048)
    assert worth_ranking(short, 10_000, 8_192), "what the request brings takes room as well"
    assert not worth_ranking(stored(*[message("user", "x" * 9_000)] * RECENT_MESSAGES), 0, 2_048)


@given(st.lists(st.integers(0, 4_000), max_size=60), st.integers(-1, 40))
def test_a_fold_takes_the_oldest_and_never_the_newest_five(sizes: list[int], covered: int) -> None:
    messages = stored(*[message("user", "x" * size) for size in sizes])
    fold = next_fold(messages, covered)
    old = messages[covered + 1 : max(0, len(messages) - RECENT_MESSAGES)]
    waiting = sum(len(m.text) for m in old)
    assert (fold is None) == (waiting < FOLD_CHARACTERS)
    if fold is not None:
        assert list(fold.messages) == old[: len(fold.messages)]
        assert fold.waiting == waiting
        assert len(fold.messages) >= 1
        assert sum(len(m.text) for m in fold.messages) <= MOST_CHARACTERS or len(fold.messages) == 1


def test_a_fold_does_not_part_a_call_from_its_results() -> None:
    big = "x" * (MOST_CHARACTERS - 10)
    messages = stored(message("user", big), call("a"), result("a"), *[message("user", "y" * 20)] * 6)
    messages[2] = StoredMessage(2, {**result("a"), "content": "z" * 100}, NOW)
    fold = next_fold(messages, -1)
    assert fold is not None
    assert [m.message["role"] for m in fold.messages] == ["user", "assistant", "tool"]


def test_ids() -> None:
    for good in ("a", "A.b:c-d_1", "x" * 128, "console", "com"):
        assert check_id(good) == good
    for bad in ("", "x" * 129, "a/b", "..", ".", "a b", "é", "a\n", "CON", "nul.txt", "Com1", "../../x", "%2e%2e%2f"):
        with pytest.raises(InvalidRequest):
            check_id(bad)


def test_titles_and_columns() -> None:
    assert title_of([NewMessage(message("system", "be kind"))]) is None
    assert title_of([NewMessage(message("user", "  \n")), NewMessage(message("user", "Why?\nbecause"))]) == "Why?"
    long = title_of([NewMessage(message("user", "word " * 50))])
    assert long is not None
    assert len(long) <= 80
    assert split_message(message("user", "x", name="Ann")) == ("x", {"name": "Ann"})
    assert split_message(message("user", None)) == (None, {})
    parts = [{"type": "text", "text": "x"}]
    assert split_message({"role": "user", "content": parts}) == (None, {"content": parts})


GOOD = {"goal": "g", "current_task": "", "open_files": ["a.py"], "findings": [], "blockers": [], "next_steps": []}


@pytest.mark.parametrize(
    "answer", [json.dumps(GOOD), f"```json\n{json.dumps(GOOD)}\n```", f"Here: {json.dumps(GOOD)}."]
)
def test_a_state_is_read_through_what_models_put_round_it(answer: str) -> None:
    assert read_captured(answer, {"goal": "old", "mine": 1}) == {"mine": 1, **GOOD}


@given(st.text(max_size=200))
def test_no_answer_breaks_the_reading_of_states(answer: str) -> None:
    state = read_captured(answer, {})
    assert state is None or SessionState.model_validate(state).data() == state


def test_long_captures_are_cut_and_deep_ones_refused() -> None:
    state = read_captured(json.dumps({"goal": "x" * 10_000, "findings": ["y" * 10_000] * 200}), {})
    assert state is not None
    assert len(json.dumps(state)) < STATE_CHARACTERS
    assert read_captured('{"goal": ' + "[" * 100_000, {}) is None
    assert read_captured("{" * 100_000 + "}", {}) is None


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=300)), max_size=12))
def test_an_extracted_state_is_always_a_state(talk: list[tuple[str, str]]) -> None:
    state = extract_state(stored(*[message(role, text) for role, text in talk]), {"mine": [1]})
    assert SessionState.model_validate(state).data() == state
    assert state["mine"] == [1]


def test_the_state_is_bounded_and_typed() -> None:
    assert SessionState.model_validate({}).data() == {}
    assert SessionState.model_validate({"goal": None, "x": {"y": [1]}}).data() == {"goal": None, "x": {"y": [1]}}
    for bad in ({"goal": 1}, {"findings": [None]}, {"x": "y" * STATE_CHARACTERS}, {"n" * 65: 1}):
        with pytest.raises(ValidationError):
            SessionState.model_validate(bad)


def test_no_more_of_a_message_is_read_than_a_state_needs() -> None:
    """On the event loop: some megabytes of a pasted log held it for seconds."""
    state = extract_state(stored(message("user", "Read app/a.py. " + "-a/" * 4_000 + " then app/b.py")), {})
    assert state["open_files"] == ["app/a.py"]


def test_an_extracted_state_is_small_enough_whatever_was_said() -> None:
    """It was never trimmed from a prompt, and nobody could put it back."""
    long = [f"{word} {n} " + "x" * 290 + "." for word in ("because", "blocked", "todo") for n in range(5)]
    paths = [" " + "/".join([str(n) * 70] * 4) + ".py" for n in range(12)]
    said = stored(*[message("user", text) for text in (*long, *paths)])
    for free in ({}, {"mine": "y" * 4_000}, {"mine": "y" * (STATE_CHARACTERS - 20)}):
        state = extract_state(said, free)
        assert SessionState.model_validate(state).data() == state
        assert state.get("mine") == free.get("mine")
