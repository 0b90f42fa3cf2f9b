"""What becomes of a session's older messages: folded into a summary, and found again by relevance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.providers import Reply, Status
from tests.fakes.session_lab import Lab, blocks, config, session_lab, talk
from tests.fakes.sidecar import write_config


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with session_lab(tmp_path) as made:
        yield made


async def test_old_messages_are_folded_into_a_summary_after_an_answer(lab: Lab) -> None:
    await lab.create(messages=talk(60, 20))
    before = await lab.call("GET", "/s/messages?limit=1000")
    lab.local.always(Reply(("They spoke of many topics, first of topic0.",)), model="scribe")
    await lab.chat("hi")
    await lab.settled()
    summary = (await lab.call("GET", "/s"))["summary"]
    assert summary["text"].startswith("They spoke of many topics")
    assert summary["model"] == "ollama/scribe"
    assert summary["from_seq"] == 0
    assert 20 < summary["to_seq"] < 57, "never the newest five"
    folds = [row for row in lab.sidecar.rows() if row["task_type"] == "summarization"]
    assert len(folds) >= 1
    assert {(row["agent"], row["session_id"]) for row in folds} == {("summarizer", "s")}
    after = await lab.call("GET", "/s/messages?limit=1000")
    assert after["messages"][:60] == before["messages"], "originals are never touched"
    events = await lab.chat("And?")
    await lab.settled()
    assert ("summary", 2) in [(b["kind"], b["priority"]) for b in blocks(events)]
    assert {b["outcome"] for b in blocks(events)} <= {"kept", "shortened", "summarised"}, "nothing is lost any more"
    assert "They spoke of many topics" in lab.asked()[0]["content"]


async def test_a_summary_is_folded_on_with_the_one_before(lab: Lab) -> None:
    await lab.create(messages=talk(80, 20))
    lab.local.always(Reply(("A summary of what was said.",)), model="scribe")
    await lab.chat("hi")
    await lab.settled()
    kept = lab.sidecar.rows("SELECT from_seq, to_seq FROM session_summaries ORDER BY to_seq")
    assert len(kept) >= 2
    assert {row["from_seq"] for row in kept} == {0}
    asked = [c.body["messages"][-1]["content"] for c in lab.requests("scribe")]
    assert "Summary so far:" not in asked[0]
    assert all("A summary of what was said." in text for text in asked[1:])


async def test_a_short_session_is_not_summarised(lab: Lab) -> None:
    await lab.create(messages=talk(20, 1))
    await lab.chat("hi")
    await lab.settled()
    assert len(lab.local.chats) == 1
    assert (await lab.call("GET", "/s"))["summary"] is None


@pytest.mark.parametrize("bad", ["", "I'm sorry, I cannot help.", "word " * 9_000], ids=["empty", "refusal", "longer"])
async def test_a_summariser_that_fails_changes_nothing(lab: Lab, bad: str) -> None:
    await lab.create(messages=talk(60, 20))
    lab.local.always(Reply((bad or " ",)), model="scribe")
    for query in ("hi", "hi again"):
        await lab.chat(query)
        await lab.settled()
        assert len(lab.requests("scribe")) == 1, "it is not asked again after every answer"
        assert (await lab.call("GET", "/s"))["summary"] is None


async def test_without_a_model_the_summary_is_extracted(lab: Lab) -> None:
    await lab.create(messages=talk(60, 20))
    lab.local.always(Status(500), model="scribe")
    await lab.chat("hi")
    await lab.settled()
    summary = (await lab.call("GET", "/s"))["summary"]
    assert summary["model"] == "builtin/extractive"
    assert "topic" in summary["text"]


async def test_a_private_session_is_never_summarised_in_the_cloud(lab: Lab) -> None:
    cloudy = config(lab.local, lab.cloud)
    cloudy["models_extra"] = {"summarizer": "openai/big"}
    write_config(lab.sidecar.config_dir, **cloudy)
    assert lab.sidecar.services.config.reload()
    for name, workspace in (("private", "work"), ("public", "open")):
        await lab.create(name, workspace, messages=talk(60, 20))
        await lab.chat("hi", name)
        await lab.settled()
        if name == "private":
            await lab.call("POST", "/private/state/capture", 502)  # the fake's text is no state
            assert lab.cloud.requests == []
    assert lab.cloud.chats, "the control: a public one is"


async def test_older_messages_come_back_by_relevance(lab: Lab) -> None:
    messages = talk(80, 25)
    messages[9]["content"] = (
        "The staging database password rotates every ninety days, said Ann. " + "Filler again. " * 20
    )
    await lab.create(messages=messages)
    events = await lab.chat("How often does the password of the staging database rotate?")
    kept = [b["id"] for b in blocks(events) if b["kind"] == "history" and b["outcome"] == "kept"]
    gone = [b["id"] for b in blocks(events) if b["kind"] == "history" and b["outcome"] in ("dropped", "summarised")]
    assert "history:9" in kept
    assert len(gone) > 10
    assert {f"history:{i}" for i in range(75, 80)} <= set(kept)
    sent = [m["content"] for m in lab.asked()]
    assert any("ninety days" in text for text in sent)
    left_out = [f"topic{name.partition(':')[2]} " for name in gone]
    assert not any(topic in text for topic in left_out for text in sent[1:])
    response = await lab.sidecar.http.post(
        "/api/v1/explain",
        json={"query": "What did we say of topic30?", "session_id": "s", "include_messages": True},
    )
    assert any("topic30 " in str(m["content"]) for m in response.json()["messages"])
