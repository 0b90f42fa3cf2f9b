"""What an answer leaves in its session: whole, cut, cancelled, one after another; and that private stays private."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.fakes.providers import CutMidStream, Hang, Reply, Status, ToolCall
from tests.fakes.session_lab import Lab, config, session_lab, talk
from tests.fakes.sidecar import write_config


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with session_lab(tmp_path) as made:
        yield made


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
