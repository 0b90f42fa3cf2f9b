"""Sessions over real HTTP, real SQLite, and models that are played by real servers on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.providers import CutMidStream, FakeProvider, Hang, Recorded, Reply, Status, ToolCall
from tests.fakes.sidecar import RunningSidecar, SseEvent, running_sidecar, write_config

PATH = "/api/v1/sessions"


@dataclass
class Lab:
    sidecar: RunningSidecar
    local: FakeProvider
    cloud: FakeProvider

    async def call(self, method: str, path: str, status: int = 200, **body: Any) -> Any:
        """The JSON of an answer with this status."""
        response = await self.sidecar.http.request(method, PATH + path, json=body or None)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def create(self, session_id: str = "s", workspace: str = "open", **more: Any) -> Any:
        return await self.call("POST", "", 201, id=session_id, workspace=workspace, **more)

    async def said(self, session_id: str = "s") -> list[Any]:
        answer = await self.call("GET", f"/{session_id}/messages")
        assert answer["next_after"] is None
        return list(answer["messages"])

    async def chat(self, query: str, session_id: str = "s", **more: Any) -> list[SseEvent]:
        return await self.sidecar.chat(query=query, session_id=session_id, **more)

    async def settled(self) -> None:
        """Until what runs after an answer has run."""
        await self.sidecar.services.chat.aclose()
        await self.sidecar.services.summaries.settled()

    def asked(self, place: int = -1, model: str = "small") -> list[Mapping[str, Any]]:
        """The messages a local model got: `small` answers, `scribe` summarises and captures."""
        return list(self.requests(model)[place].body["messages"])

    def requests(self, model: str) -> list[Recorded]:
        return [chat for chat in self.local.chats if chat.model == model]


def config(local: FakeProvider, cloud: FakeProvider) -> dict[str, Any]:
    return {
        "models": [
            {
                "id": "openai/big",
                "api_base": cloud.url + "/v1",
                "location": "cloud",
                "context_window": 200_000,
                "input_cost_per_million": 3,
                "output_cost_per_million": 15,
            },
            {"id": "ollama/small", "api_base": local.url, "context_window": 8192},
            {"id": "ollama/scribe", "api_base": local.url, "context_window": 8192},
        ],
        "rules": [
            {
                "name": "summaries",
                "conditions": {"task_type": ["summarization", "session_capture"]},
                "model": "ollama/scribe",
            },
            {
                "name": "cloudy",
                "conditions": {"task_type": "creative"},
                "model": "openai/big",
                "fallback": "ollama/small",
            },
            {"name": "all", "conditions": {}, "model": "ollama/small"},
        ],
        "models_extra": {"summarizer": "ollama/scribe"},
        # Within a request nothing is asked of the summariser: what it is asked here, it is asked after an answer.
        "routing_extra": {"retry": {"backoff_seconds": []}, "summary": {"max_wait_seconds": 0}},
    }


@pytest.fixture
async def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none-of-anybodys-business")
    async with (
        FakeProvider(models={"small": 8192, "scribe": 8192}) as local,
        FakeProvider() as cloud,
        running_sidecar(tmp_path, **config(local, cloud)) as sidecar,
    ):
        yield Lab(sidecar, local, cloud)


def talk(count: int, words: int = 12) -> list[dict[str, Any]]:
    """A conversation in which message `i` names `topic{i}`."""
    return [
        {
            "role": "user" if i % 2 == 0 else "assistant",
            "content": f"About topic{i} we said that it is number {i}. " + "More of the same. " * words,
        }
        for i in range(count)
    ]


def blocks(events: list[SseEvent]) -> list[dict[str, Any]]:
    return list(next(e for e in events if e.name == "context").data["blocks"])


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


async def test_an_answer_with_tool_calls_is_stored_as_one_and_mended_where_its_result_is_missing(lab: Lab) -> None:
    await lab.create()
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    lab.local.script(Reply((), tool_calls=(ToolCall("look", '{"at": 1}'),)))
    await lab.chat("Look!", tools=tools)
    call = (await lab.said())[-1]["tool_calls"][0]
    assert (call["type"], call["function"]["name"], json.loads(call["function"]["arguments"])) == (
        "function",
        "look",
        {"at": 1},
    )
    await lab.chat("Well?")
    assert not any("tool_calls" in m for m in lab.asked())
    assert lab.asked()[1]["content"].startswith("[called look(")
    await lab.create("t")
    lab.local.script(Reply((), tool_calls=(ToolCall("look", "{}"),)))
    await lab.chat("Look!", "t", tools=tools)
    result = {"role": "tool", "tool_call_id": (await lab.said("t"))[-1]["tool_calls"][0]["id"], "content": "a tree"}
    await lab.call("POST", "/t/messages", 201, messages=[result])
    await lab.chat("Well?", "t")
    assert [m["role"] for m in lab.asked()] == ["user", "assistant", "tool", "user"]


async def test_a_cut_answer_is_stored_as_partial(lab: Lab) -> None:
    await lab.create()
    lab.local.script(CutMidStream(after=2))
    assert (await lab.chat("hi"))[-1].data["code"] == "stream_interrupted"
    said = await lab.said()
    assert [(m["role"], m["partial"]) for m in said] == [("user", False), ("assistant", True)]
    assert said[1]["content"]


async def test_a_request_without_any_answer_leaves_nothing(lab: Lab) -> None:
    await lab.create()
    lab.local.script(Status(500))
    assert (await lab.chat("hi"))[-1].name == "error"
    assert await lab.said() == []
    assert (await lab.chat("hi"))[-1].name == "done", "the turn was given back"


async def test_a_cancelled_answer_is_stored_as_partial(lab: Lab) -> None:
    await lab.create()
    lab.local.script(Hang("mid_stream", after=2))
    body = {"query": "hi", "session_id": "s"}
    async with lab.sidecar.http.stream("POST", "/api/v1/chat", json=body) as response:
        async for line in response.aiter_lines():
            if line == "event: token":
                break
    await lab.local.client_left(within=2.0)
    async with asyncio.timeout(5):
        while len(said := await lab.said()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert said[1]["partial"]
    assert (await lab.chat("go on"))[-1].name == "done"


async def test_one_answer_at_a_time_and_in_the_order_asked(lab: Lab) -> None:
    await lab.create()
    lab.local.script(*(Reply((f"answer {i}",), delay=0.05) for i in range(4)))
    tasks = []
    for i in range(4):
        tasks.append(asyncio.create_task(lab.chat(f"question {i}")))
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    expected = [text for i in range(4) for text in (f"question {i}", f"answer {i}")]
    assert [m["content"] for m in await lab.said()] == expected
    assert [len(chat.body["messages"]) for chat in lab.local.chats] == [1, 3, 5, 7]


async def test_who_leaves_the_line_holds_nobody_up(lab: Lab) -> None:
    await lab.create()
    lab.local.script(Reply(("slow",), delay=0.4))
    first = asyncio.create_task(lab.chat("one"))
    await asyncio.sleep(0.1)
    with pytest.raises(httpx.ReadTimeout):
        await lab.sidecar.http.post("/api/v1/chat", json={"query": "two", "session_id": "s"}, timeout=0.1)
    assert (await lab.chat("three"))[-1].name == "done"
    await first
    assert [m["content"] for m in await lab.said() if m["role"] == "user"] == ["one", "three"]


async def test_other_sessions_do_not_wait(lab: Lab) -> None:
    await lab.create("slow")
    await lab.create("quick")
    lab.local.script(Hang())
    slow = asyncio.create_task(lab.chat("one", "slow"))
    while not lab.local.chats:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (await lab.chat("two", "quick"))[-1].name == "done"
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


async def test_a_session_that_was_private_stays_private(lab: Lab, tmp_path: Path) -> None:
    await lab.create("secret", "work", messages=talk(2, 1))
    profiles = [{"id": "open", "block_cloud_apis": False}, {"id": "work", "block_cloud_apis": False}]
    write_config(lab.sidecar.config_dir, **config(lab.local, lab.cloud), profiles=profiles)
    assert lab.sidecar.services.config.reload()
    events = await lab.chat("hi", "secret", task_type="creative")
    assert events[0].data["candidates"] == ["ollama/small"]
    assert any("private once" in reason for reason in events[0].data["reasons"])
    assert lab.cloud.requests == []
    control = await lab.sidecar.chat(query="hi", workspace="work", task_type="creative")
    assert control[-1].data["model"] == "openai/big", "the control: the workspace itself is public now"


async def test_a_session_used_while_its_workspace_is_private_becomes_private(lab: Lab) -> None:
    await lab.create(messages=talk(2, 1))
    public = config(lab.local, lab.cloud)
    write_config(lab.sidecar.config_dir, **public, profiles=[{"id": "open", "block_cloud_apis": True}])
    assert lab.sidecar.services.config.reload()
    lab.local.script(Hang("mid_stream", after=1))
    body = {"query": "hi", "session_id": "s"}
    async with lab.sidecar.http.stream("POST", "/api/v1/chat", json=body) as response:
        async for line in response.aiter_lines():
            if line == "event: token":
                break
        assert (await lab.call("GET", "/s"))["private"], "before anything more is said"


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


async def test_a_deleted_session_takes_no_answer_and_the_answer_goes_on(lab: Lab) -> None:
    await lab.create()
    lab.local.script(Reply(("one", "two"), delay=0.2))
    chat = asyncio.create_task(lab.chat("hi"))
    while not lab.local.chats:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await lab.call("DELETE", "/s", 204)
    done = (await chat)[-1]
    assert done.name == "done"
    assert any("not stored in the session" in warning for warning in done.data["warnings"])
