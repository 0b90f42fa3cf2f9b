"""The lines the context builder draws are settings, and nobody who types into a session waits for its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fakes.strategy_lab import CLOUD, SCRIBE, SMALL, Lab, chunks, context_of, ids, lab_with, talk, text

LONG_FILE: dict[str, Any] = {"query": "Why?", "context": {"file": {"path": "a.py", "text": text(9_000, "line")}}}


async def with_routing(folder: Path, body: dict[str, Any], **context: float) -> dict[str, Any]:
    async with lab_with(folder, routing={"context": context}) as lab:
        return context_of(await lab.chat(**body, workspace="open"))


async def test_the_upgrade_threshold_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test-key-0123456789abcdef")
    usual = await with_routing(tmp_path / "usual", LONG_FILE)
    assert (usual["model"], usual["upgraded_from"]) == (CLOUD, SMALL), "the control: half of the file would go"
    patient = await with_routing(tmp_path / "patient", LONG_FILE, upgrade_threshold=1.0)
    assert (patient["model"], patient["upgraded_from"]) == (SMALL, None)
    assert ids(patient, "shortened", "file") == ["file:a.py"]


async def test_the_similarity_line_is_a_setting(tmp_path: Path) -> None:
    body = {"query": "Why?", "context": {"chunks": chunks(10, 290), "history": talk(45, 135)}}
    high = await with_routing(tmp_path / "high", body, similarity_line=0.99)
    low = await with_routing(tmp_path / "low", body, similarity_line=0.5)
    assert len(ids(low, "kept", "chunk")) == 10, "all are similar: they stay longer than old messages"
    assert len(ids(high, "kept", "chunk")) < 10, "none beyond the first three is: old messages stay longer"
    assert len(ids(high, "kept", "history")) > len(ids(low, "kept", "history"))


async def long_session(lab: Lab) -> list[str]:
    """Which models were asked, in order, for one answer in a session that does not fit."""
    # Of one length each, so that it is well over the window and the built-in extraction has something to say.
    body = {"id": "s", "workspace": "open", "messages": talk(60, 135)}
    assert (await lab.sidecar.http.post("/api/v1/sessions", json=body)).status_code == 201
    events = await lab.chat(query="Why?", session_id="s")
    assert [b["id"] for b in context_of(events)["blocks"] if b["kind"] == "summary"] == ["summary"]
    assert ids(context_of(events), "summarised")
    assert ids(context_of(events), "dropped") == []
    assert events[-1].data["warnings"] == []
    await lab.sidecar.services.chat.aclose()
    await lab.sidecar.services.summaries.settled()
    return [request.model for request in lab.provider.chats]


async def test_a_sessions_answer_does_not_wait_for_a_summary(tmp_path: Path) -> None:
    async with lab_with(tmp_path) as lab:
        asked = await long_session(lab)
        assert asked[0] == "llama3:8b", "the answer came first"
        assert set(asked[1:]) == {SCRIBE.partition("/")[2]}, "and the session's own summary after it"
        detail = (await lab.sidecar.http.get("/api/v1/sessions/s")).json()
        assert detail["summary"]["model"] == SCRIBE


async def test_unless_it_is_told_to(tmp_path: Path) -> None:
    async with lab_with(tmp_path, routing={"summary": {"session_wait_seconds": 5}}) as lab:
        assert (await long_session(lab))[:2] == ["scribe", "llama3:8b"]
