"""A session's state: put by a person, captured by the summariser, extracted where there is no model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import Reply, Status
from tests.fakes.session_lab import Lab, blocks, session_lab, talk


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with session_lab(tmp_path) as made:
        yield made


async def test_state_is_what_was_put_and_every_chat_sees_it(lab: Lab) -> None:
    await lab.create()
    assert await lab.call("GET", "/s/state") == {}
    state: dict[str, Any] = {"goal": "Find it", "open_files": ["a.py"], "findings": [], "ticket": {"id": 7}}
    assert await lab.call("PUT", "/s/state", **state) == state
    assert await lab.call("GET", "/s/state") == state
    events = await lab.chat("Where?")
    system = lab.asked()[0]["content"]
    assert "Find it" in system
    assert "a.py" in system
    assert "findings" not in system
    assert ("session_state", 1) in [(b["kind"], b["priority"]) for b in blocks(events)]
    detail = await lab.call("GET", "/s")
    assert detail["state_updated_at"] is not None
    assert detail["state_captured_by"] is None


NO_STATES: list[tuple[str, dict[str, Any]]] = [
    ("goal", {"goal": 7}),
    ("open_files", {"open_files": "a.py"}),
    ("findings[1]", {"findings": ["x", 2]}),
    ("goal", {"goal": "x" * 3_000}),
    ("body", {"notes": "x" * 9_000}),
    ("body", {"n" * 65: 1}),
]


async def test_a_state_that_is_none_names_the_field(lab: Lab) -> None:
    await lab.create()
    await lab.call("PUT", "/s/state", goal="kept")
    for field, state in NO_STATES:
        problem = await lab.call("PUT", "/s/state", 422, **state)
        assert [e["field"] for e in problem["errors"]] == [field]
    assert await lab.call("GET", "/s/state") == {"goal": "kept"}


async def test_capture_lets_the_summariser_write_the_state(lab: Lab) -> None:
    await lab.create(messages=talk(4, 1))
    await lab.call("PUT", "/s/state", goal="old", ticket=7)
    written = {
        "goal": "new",
        "current_task": "t",
        "open_files": ["b.py"],
        "findings": [],
        "blockers": [],
        "next_steps": ["n"],
    }
    lab.local.script(Reply((json.dumps(written),)), model="scribe")
    captured = await lab.call("POST", "/s/state/capture")
    assert captured["state"] == {**written, "ticket": 7}
    assert captured["captured_by"] == "ollama/scribe"
    assert await lab.call("GET", "/s/state") == captured["state"]
    assert (await lab.call("GET", "/s"))["state_captured_by"] == "ollama/scribe"
    assert "properties" in lab.requests("scribe")[-1].body["format"]
    assert "topic3" in lab.asked(model="scribe")[-1]["content"]
    row = lab.sidecar.rows()[-1]
    assert (row["task_type"], row["agent"], row["session_id"]) == ("session_capture", "session_capture", "s")


async def test_what_is_no_state_leaves_the_last_good_one(lab: Lab) -> None:
    await lab.create(messages=talk(2, 1))
    await lab.call("PUT", "/s/state", goal="good")
    for text in ("I cannot do that.", '{"goal": 7}', "{}", '{"goal": "x"', '["goal"]'):
        lab.local.script(Reply((text,)), model="scribe")
        assert (await lab.call("POST", "/s/state/capture", 502))["code"] == "capture_failed", text
    assert await lab.call("GET", "/s/state") == {"goal": "good"}


async def test_without_a_model_the_state_is_extracted(lab: Lab) -> None:
    messages = [
        {"role": "user", "content": "Make app/main.py start faster. Please."},
        {"role": "assistant", "content": "It turned out that the import takes 1.7 s. Next we load it in a thread."},
        {"role": "user", "content": "Do that now."},
    ]
    await lab.create(messages=messages)
    lab.local.always(Status(500))
    captured = await lab.call("POST", "/s/state/capture")
    assert captured["captured_by"] == "builtin/extractive"
    state = captured["state"]
    assert state["goal"] == "Make app/main.py start faster."
    assert state["current_task"] == "Do that now."
    assert state["open_files"] == ["app/main.py"]
    assert state["findings"] == ["It turned out that the import takes 1.7 s."]
    assert state["next_steps"] == ["Next we load it in a thread."]


async def test_capture_of_nothing_is_refused(lab: Lab) -> None:
    await lab.create()
    await lab.call("POST", "/s/state/capture", 422)
    await lab.call("POST", "/nobody/state/capture", 404)
