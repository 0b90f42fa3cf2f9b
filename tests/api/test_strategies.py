"""Strategies 1, 2 and 3 over real HTTP: truncate, upgrade, summarise; and what of it a private profile permits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.context.blocks import Material
from app.llm.calls import ModelRequest
from tests.fakes.laboratory import text_of
from tests.fakes.providers import ContextOverflow, ErrorInStream, Hang, Recorded, Reply, Status, Step
from tests.fakes.sidecar import parse_events
from tests.fakes.strategy_lab import (
    CLOUD,
    DOES_NOT_FIT,
    FITS,
    ONE_TRY,
    SCRIBE,
    SMALL,
    SUMMARY,
    Lab,
    chunks,
    context_of,
    ids,
    lab_with,
    lab_with_keys,
    prompt,
    talk,
    text,
)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with lab_with_keys(tmp_path) as made:
        yield made


def history_texts(request: Recorded) -> list[str]:
    return [m["content"] for m in request.body["messages"][1:-1]]


# -- strategy 1 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workspace", ["open", "work"])
async def test_4700_tokens_fit_8k_whole(lab: Lab, workspace: str) -> None:
    events = await lab.chat(**FITS, workspace=workspace)
    context, done = context_of(events), events[-1].data
    assert 4_500 <= context["input_tokens"] <= 4_900
    assert (context["model"], context["reserved_output"], context["upgraded_from"]) == (SMALL, 2048, None)
    assert {b["outcome"] for b in context["blocks"]} == {"kept"}
    assert [r.model for r in lab.provider.chats] == ["llama3:8b"]
    sent = lab.provider.chats[0].body["messages"]
    assert history_texts(lab.provider.chats[0]) == [m["content"] for m in FITS["context"]["history"]]
    for chunk in FITS["context"]["chunks"]:
        assert chunk["text"] in sent[-1]["content"]
    assert done["warnings"] == []


async def test_less_relevant_chunks_go_first_and_nothing_else_is_done_about_them(lab: Lab) -> None:
    body = {"query": "Why?", "context": {"chunks": chunks(30, 290), "history": talk(5, 100)}}
    context = context_of(await lab.chat(**body, workspace="open"))
    dropped = ids(context, "dropped")
    assert dropped
    assert all(name.startswith("chunk:") for name in dropped)
    assert not ids(context, "summarised")
    assert all(b["outcome"] == "kept" for b in context["blocks"] if b["priority"] < 3)
    # Nothing that matters was lost: no larger model, no summary.
    assert [r.model for r in lab.provider.chats] == ["llama3:8b"]


async def test_a_few_old_messages_are_not_worth_a_summary(lab: Lab) -> None:
    body = {"query": text(4_900, "Q"), "context": {"history": [*talk(3, 90), *talk(5, 90)]}}
    context = context_of(await lab.chat(**body, workspace="work"))
    assert ids(context, "dropped", "history")
    assert [r.model for r in lab.provider.chats] == ["llama3:8b"]


# -- strategy 2 --------------------------------------------------------------------------------------------------


async def test_21000_tokens_upgrade_where_the_profile_permits(lab: Lab) -> None:
    events = await lab.chat(**DOES_NOT_FIT, workspace="open")
    context = context_of(events)
    assert (context["model"], context["upgraded_from"], context["window"]) == (CLOUD, SMALL, 200_000)
    assert context["input_tokens"] + 4_000 >= 20_000
    assert {b["outcome"] for b in context["blocks"]} == {"kept"}
    assert [r.model for r in lab.provider.chats] == ["big"]
    assert events[-1].data["model"] == CLOUD


# -- strategy 3 --------------------------------------------------------------------------------------------------


async def test_21000_tokens_are_truncated_and_summarised_where_it_does_not(lab: Lab) -> None:
    events = await lab.chat(**DOES_NOT_FIT, workspace="work")
    assert [e.name for e in events][:3] == ["route", "context", "token"]
    assert (events[-1].name, text_of(events)) == ("done", "Hello from the fake provider.")
    context = context_of(events)
    assert (context["model"], context["upgraded_from"]) == (SMALL, None)
    assert context["input_tokens"] + context["reserved_output"] <= 8_192
    assert ids(context, "summarised") == [f"history:{i}" for i in range(25)]
    assert ids(context, "kept", "summary") == ["summary"]
    assert all(b["outcome"] == "kept" for b in context["blocks"] if b["priority"] == 1)
    names = [b["id"] for b in context["blocks"]]
    assert len(names) == len(set(names))
    assert {f"history:{i}" for i in range(30)} <= set(names)
    # The newest five stand there word for word, the older ones as the summary.
    summary, answer = lab.provider.chats
    assert (summary.model, answer.model) == ("scribe", "llama3:8b")
    assert history_texts(answer) == [m["content"] for m in DOES_NOT_FIT["context"]["history"][25:]]
    assert SUMMARY in answer.body["messages"][0]["content"]
    assert "Message 24" in prompt(summary)
    assert "Message 25" not in prompt(summary)


async def test_a_summary_has_a_request_and_a_row_of_its_own(lab: Lab) -> None:
    events = await lab.chat(**DOES_NOT_FIT, workspace="work")
    request_id = events[0].data["request_id"]
    written, answered = lab.sidecar.rows()
    assert (written["agent"], written["task_type"], written["model"]) == ("summarizer", "summarization", SCRIBE)
    assert (answered["agent"], answered["request_id"], answered["model"]) == (None, request_id, SMALL)
    assert {written["workspace_profile_id"], answered["workspace_profile_id"]} == {"work"}
    assert written["request_id"] != request_id
    assert (written["status"], answered["status"]) == ("ok", "ok")
    receipts = lab.sidecar.rows(f"SELECT context FROM request_receipts WHERE request_id = '{request_id}'")
    receipt = json.loads(receipts[0]["context"])
    assert [b["id"] for b in receipt["blocks"] if b["outcome"] == "summarised"] == [f"history:{i}" for i in range(25)]
    assert any("not upgraded to anthropic/big" in note for note in receipt["notes"])
    assert f"25 older messages stand in the summary, by {SCRIBE}" in receipt["notes"]


async def test_the_receipt_has_what_was_predicted_and_what_was_reported(lab: Lab) -> None:
    lab.provider.script(Reply(("ok",), input_tokens=5_123), model="llama3:8b")
    events = await lab.chat(**DOES_NOT_FIT, workspace="work")
    context, done = context_of(events), events[-1].data
    assert context["input_tokens"] == pytest.approx(6_000, rel=0.1)
    assert done["input_tokens"] == 5_123
    fields = {"id", "kind", "priority", "tokens", "outcome", "reason"}
    assert all(set(block) == fields for block in context["blocks"])


async def test_the_route_goes_out_before_the_summariser_is_asked(tmp_path: Path) -> None:
    async with lab_with(tmp_path, wait=0.4) as lab:
        lab.provider.script(Hang(), model="scribe")
        seen = ""
        body = {**DOES_NOT_FIT, "workspace": "work"}
        async with lab.sidecar.http.stream("POST", "/api/v1/chat", json=body) as response:
            assert response.status_code == 200
            async for piece in response.aiter_text():
                if not seen:
                    assert "event: route" in piece
                    assert "event: context" not in piece
                    assert not lab.asked(SMALL)
                seen += piece
        events = parse_events(seen)
        assert events[-1].name == "done"
        assert "it took longer than 0.4 s" in events[-1].data["warnings"][0]
        await lab.provider.client_left()
        (late, _) = lab.sidecar.rows()
        assert (late["model"], late["status"]) == (SCRIBE, "cancelled")


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Status(500), "answered 500"),
        (Reply(("  ", "\n")), "empty"),
        (Reply(("Error: model not found",)), "an error or a refusal"),
        (Reply(tuple(f"word{i} " for i in range(9_000))), "not shorter"),
        (Reply(("I'm sorry, but I can't help with that.",)), "an error or a refusal"),
    ],
)
async def test_a_summariser_that_fails_costs_no_answer(lab: Lab, step: Step, words: str) -> None:
    lab.provider.script(step, model="scribe")
    events = await lab.chat(**DOES_NOT_FIT, workspace="work")
    context, done = context_of(events), events[-1]
    assert done.name == "done"
    assert text_of(events) == "Hello from the fake provider."
    assert len(lab.asked(SCRIBE)) == 1  # once, and nobody in its place
    assert len(ids(context, "summarised")) == 25
    system = lab.asked(SMALL)[0].body["messages"][0]["content"]
    assert "Message 2" in system  # the messages' own sentences
    (warning,) = done.data["warnings"]
    assert words in warning
    assert "without a model" in warning
    assert lab.sidecar.slept == []


async def test_without_a_summariser_sentences_are_picked(tmp_path: Path) -> None:
    async with lab_with(tmp_path, summarizer=None) as lab:
        events = await lab.chat(**DOES_NOT_FIT, workspace="work")
        assert len(ids(context_of(events), "summarised")) == 25
        assert [r.model for r in lab.provider.chats] == ["llama3:8b"]
        assert events[-1].data["warnings"] == []


async def test_the_built_in_model_may_be_the_summariser(tmp_path: Path) -> None:
    async with lab_with(tmp_path, summarizer="builtin/extractive") as lab:
        events = await lab.chat(**DOES_NOT_FIT, workspace="work")
        assert len(ids(context_of(events), "summarised")) == 25
        assert [row["model"] for row in lab.sidecar.rows()] == ["builtin/extractive", SMALL]


async def test_what_was_summarised_for_one_request_serves_the_next(lab: Lab) -> None:
    history = talk(60, 135)
    first = await lab.chat(query="Go on.", workspace="work", context={"history": history[:50]})
    covered = len(ids(context_of(first), "summarised"))
    assert covered > 5
    second = await lab.chat(query="And now?", workspace="work", context={"history": history[:52]})
    assert len(lab.asked(SCRIBE)) == 1
    assert len(ids(context_of(second), "summarised")) == covered
    assert SUMMARY in lab.asked(SMALL)[1].body["messages"][0]["content"]
    third = await lab.chat(query="And then?", workspace="work", context={"history": history})
    assert len(lab.asked(SCRIBE)) == 2  # what has become old since, folded into the first summary
    assert SUMMARY in prompt(lab.asked(SCRIBE)[1])
    assert "Message 0:" not in prompt(lab.asked(SCRIBE)[1])
    assert len(ids(context_of(third), "summarised")) > covered
    names = [b["id"] for b in context_of(third)["blocks"] if b["kind"] == "history"]
    assert sorted(names) == sorted(f"history:{i}" for i in range(60))
    await lab.chat(query="Go on.", workspace="open", model=SMALL, context={"history": history[:50]})
    assert len(lab.asked(SCRIBE)) == 3  # another workspace knows nothing of it


async def test_messages_that_a_stored_summary_covers_are_not_summarised_again(lab: Lab) -> None:
    material = Material(
        messages=[{"role": "user", "content": "Go on."}],
        history=talk(50, 135),
        summary="They had counted entries for hours.",
        summarised=44,
    )
    request = ModelRequest("r1", "work", "chat", material)
    explained = await lab.sidecar.services.router.explain(request)
    window = explained.candidates[0].context
    assert window is not None
    outcomes = {b.id: b.outcome.value for b in window.blocks}
    assert outcomes["history:0"] == "summarised"
    assert "dropped" not in outcomes.values()
    await lab.sidecar.services.router.complete(request)
    assert [r.model for r in lab.provider.chats] == ["llama3:8b"]


async def test_a_request_for_a_summary_is_only_truncated(lab: Lab) -> None:
    """As the rolling summary after an answer asks: neither upgraded nor itself summarised."""
    material = Material(messages=[{"role": "user", "content": "Summarise."}], history=talk(80, 135))
    request = ModelRequest("r1", "open", "summarization", material, agent="summarizer")
    completion = await lab.sidecar.services.router.complete(request)
    assert completion.done.model == SMALL
    assert [r.model for r in lab.provider.chats] == ["llama3:8b"]


async def test_explain_says_so_and_asks_nobody(lab: Lab) -> None:
    response = await lab.sidecar.http.post("/api/v1/explain", json={**DOES_NOT_FIT, "workspace": "work"})
    assert response.status_code == 200
    explained = await lab.sidecar.services.router.explain(
        ModelRequest("r1", "work", "chat", Material(messages=[{"role": "user", "content": "?"}], history=talk(80, 135)))
    )
    window = explained.candidates[0].context
    assert window is not None
    assert any(f"older messages would be summarised by {SCRIBE}" in note for note in window.notes)
    assert lab.provider.chats == []


# -- privacy -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", [None, Status(503), ContextOverflow(), ErrorInStream(after=0)])
async def test_a_private_profile_never_asks_a_cloud(tmp_path: Path, failure: Step | None) -> None:
    """Not to upgrade, not for a summary, not when its own model fails."""
    async with lab_with(tmp_path, summarizer=CLOUD, routing=ONE_TRY) as lab:
        if failure is not None:
            lab.provider.script(failure, failure, failure, model="llama3:8b")
        events = await lab.chat(**DOES_NOT_FIT, workspace="work")
        assert {r.model for r in lab.provider.chats} == {"llama3:8b"}
        assert len(ids(context_of(events), "summarised")) == 25
        assert {row["location"] for row in lab.sidecar.rows()} == {"loopback"}


async def test_a_private_session_stays_private_for_its_summary(lab: Lab) -> None:
    material = Material(messages=[{"role": "user", "content": "?"}], history=talk(80, 135))
    request = ModelRequest("r1", "open", "chat", material, session_private=True)
    await lab.sidecar.services.router.complete(request)
    assert [r.model for r in lab.provider.chats] == ["scribe", "llama3:8b"]
    assert {row["location"] for row in lab.sidecar.rows()} == {"loopback"}
