"""Sessions over real HTTP, real SQLite, and models that are played by real servers on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.providers import FakeProvider, Reply
from tests.fakes.session_lab import Lab, blocks, config, session_lab, talk
from tests.fakes.sidecar import running_sidecar


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with session_lab(tmp_path) as made:
        yield made


async def test_create_read_list_and_delete(lab: Lab) -> None:
    made = await lab.create("first")
    assert made["workspace"] == "open"
    assert (made["private"], made["message_count"], made["title"]) == (False, 0, None)
    unnamed = await lab.call("POST", "", 201, workspace="work", title="Mine")
    assert unnamed["private"]
    assert len(unnamed["id"]) == 32
    listed = await lab.call("GET", "")
    assert [s["id"] for s in listed["sessions"]] == [unnamed["id"], "first"]
    listed = await lab.call("GET", "?workspace=work&limit=1")
    assert [s["title"] for s in listed["sessions"]] == ["Mine"]
    await lab.call("DELETE", "/first", 204)
    for method, path in (("GET", "/first"), ("DELETE", "/first"), ("GET", "/first/messages"), ("GET", "/first/state")):
        assert (await lab.call(method, path, 404))["code"] == "session_not_found"


async def test_pages_neither_repeat_nor_skip(lab: Lab) -> None:
    for i in range(7):
        await lab.create(f"s{i}")
    seen, cursor = [], ""
    while True:
        page = await lab.call("GET", f"?limit=3{cursor}")
        seen += [s["id"] for s in page["sessions"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert sorted(seen) == [f"s{i}" for i in range(7)]


async def test_two_hundred_messages_at_once_are_searchable_when_answered(lab: Lab) -> None:
    await lab.create()
    done = await lab.call("POST", "/s/messages", 201, messages=talk(200, 1))
    assert (done["first_seq"], done["last_seq"], done["count"]) == (0, 199, 200)
    embedder = lab.sidecar.services.embedder
    assert done["searchable"] == ("meaning and words" if embedder.available else "words")
    rows = lab.sidecar.rows("SELECT count(*) AS n, count(embedding) AS e FROM session_messages")
    assert rows == [{"n": 200, "e": 200 if embedder.available else 0}]
    page = await lab.call("GET", "/s/messages?after=149&limit=20")
    assert [m["seq"] for m in page["messages"]] == list(range(150, 170))
    assert page["next_after"] == 169
    page = await lab.call("GET", "/s/messages?before=10&limit=3")
    assert [m["seq"] for m in page["messages"]] == [7, 8, 9]
    assert (await lab.call("GET", "/s"))["title"].startswith("About topic0")


async def test_messages_come_back_as_they_were(lab: Lab) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "text", "text": "Grüße 你好 🎉"}], "name": "Ann"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
        {"role": "assistant", "content": ""},
    ]
    dated = {"role": "user", "content": "then", "created_at": "2025-05-05T12:00:00+02:00"}
    await lab.create(messages=[*messages, dated])
    said = await lab.said()
    assert [{name: m[name] for name in given} for m, given in zip(said, messages, strict=False)] == messages
    assert [m["seq"] for m in said] == [0, 1, 2, 3, 4]
    assert said[4]["created_at"] == "2025-05-05T10:00:00.000Z"


CANNOT_BE_MADE: list[tuple[int, str, dict[str, Any]]] = [
    (422, "unknown_workspace", {"id": "x", "workspace": "wrok"}),
    (409, "session_exists", {"id": "taken", "workspace": "open"}),
    (422, "invalid_request", {"id": "../../x", "workspace": "open"}),
    (422, "invalid_request", {"id": "%2e%2e%2f", "workspace": "open"}),
    (422, "invalid_request", {"id": "C:\\", "workspace": "open"}),
    (422, "invalid_request", {"id": "CON", "workspace": "open"}),
    (422, "invalid_request", {"id": "..", "workspace": "open"}),
    (422, "invalid_request", {"id": "x" * 10_000, "workspace": "open"}),
    (422, "invalid_request", {"id": "x", "workspace": "open", "messages": [{"role": "user"}]}),
    (422, "invalid_request", {"id": "x", "messages": [{"role": "robot", "content": "hi"}]}),
    (422, "invalid_request", {"id": "x", "messages": [{"role": "user", "content": "hi", "created_at": "soon"}]}),
    (422, "invalid_request", {"id": "x", "api_base": "http://evil.example"}),
]


async def test_a_session_that_cannot_be_made(lab: Lab) -> None:
    await lab.create("taken")
    for status, code, body in CANNOT_BE_MADE:
        assert (await lab.call("POST", "", status, **body))["code"] == code, body
    assert [s["id"] for s in (await lab.call("GET", ""))["sessions"]] == ["taken"]


async def test_an_id_that_is_none_is_refused_in_a_path(lab: Lab) -> None:
    for path in ("/CON", "/a%2Fb", "/%2e%2e%2f%2e%2e%2fx", "/" + "x" * 200, "/a%20b/messages", "/CON/state"):
        assert (await lab.call("GET", path, 422))["code"] == "invalid_request", path


async def test_queries_that_are_none(lab: Lab) -> None:
    await lab.create()
    for query in ("?limit=0", "?limit=1001", "?cursor=nonsense", "?workspace=wrok", "?sort=x"):
        await lab.call("GET", query, 422)
    for query in ("?limit=0", "?after=1&before=3", "?before=-1"):
        await lab.call("GET", f"/s/messages{query}", 422)


async def test_a_chat_goes_on_with_its_session(lab: Lab) -> None:
    await lab.create()
    lab.local.script(Reply(("It is ", "seven.")), Reply(("As I said.",)))
    events = await lab.chat("What is the number?")
    request_id = events[0].data["request_id"]
    said = await lab.said()
    assert [(m["role"], m["content"], m["partial"]) for m in said] == [
        ("user", "What is the number?", False),
        ("assistant", "It is seven.", False),
    ]
    assert {m["request_id"] for m in said} == {request_id}
    events = await lab.chat("Again?")
    assert [m["content"] for m in lab.asked()] == ["What is the number?", "It is seven.", "Again?"]
    assert [b["id"] for b in blocks(events) if b["kind"] == "history"] == ["history:1", "history:0"]
    assert [row["session_id"] for row in lab.sidecar.rows()] == ["s", "s"]


async def test_a_session_is_there_after_a_restart(tmp_path: Path) -> None:
    async with FakeProvider(models={"small": 8192, "scribe": 8192}) as local, FakeProvider() as cloud:
        async with running_sidecar(tmp_path, **config(local, cloud)) as sidecar:
            first = Lab(sidecar, local, cloud)
            await first.create(messages=talk(6, 1))
            await first.call("PUT", "/s/state", goal="last")
        async with running_sidecar(tmp_path) as sidecar:
            second = Lab(sidecar, local, cloud)
            await second.chat("And now?")
            assert [m["role"] for m in second.asked()][:2] == ["system", "user"]
            assert "last" in second.asked()[0]["content"]
            assert len(second.asked()) == 8
            assert len(await second.said()) == 8


async def test_sessions_that_cannot_be_gone_on_with(lab: Lab) -> None:
    await lab.create("open-one")
    cases: list[tuple[int, str, dict[str, Any]]] = [
        (404, "session_not_found", {"query": "hi", "session_id": "nobody"}),
        (409, "session_workspace_mismatch", {"query": "hi", "session_id": "open-one", "workspace": "work"}),
        (422, "invalid_request", {"messages": [{"role": "user", "content": "hi"}], "session_id": "open-one"}),
        (
            422,
            "invalid_request",
            {"query": "hi", "session_id": "open-one", "context": {"history": [{"role": "user", "content": "x"}]}},
        ),
        (422, "invalid_request", {"query": "hi", "session_id": "CON"}),
    ]
    for status, code, body in cases:
        for path in ("/api/v1/chat", "/api/v1/explain"):
            response = await lab.sidecar.http.post(path, json=body)
            assert (response.status_code, response.json()["code"]) == (status, code), body
    assert lab.local.chats == []
    assert await lab.said("open-one") == []
