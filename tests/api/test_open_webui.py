"""What Open WebUI 0.12.4 sends, as it was recorded when it ran against a sidecar: shortened, but no member left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.test_foreign import frames
from tests.fakes.laboratory import Laboratory
from tests.fakes.providers import CutMidStream, Reply, ToolCall

pytestmark = pytest.mark.asyncio(loop_scope="module")

CHAT = "/v1/chat/completions"
QUESTION = {"role": "user", "content": "What time is it?"}
TASK = {
    "model": "rest",
    "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title …\n<chat_history>\nUSER: hi"}],
    "stream": False,
    "max_tokens": 1000,
}
"""Title, tags and follow-ups, before and after each answer; `TASK_MODEL_EXTERNAL` may name a rule."""
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "get_current_timestamp",
            "description": "Get the current Unix timestamp in seconds.",
            "parameters": {"properties": {}, "type": "object"},
        },
    },
    {
        "type": "function",
        "function": {
            "name": "replace_note_content",
            "description": 'Operation shapes:\n- {"action": "add", "content": "..."}',
            "parameters": {
                "properties": {
                    "note_id": {"description": "The ID of the note", "type": "string"},
                    "operations": {
                        "description": "Optional",
                        "items": {"additionalProperties": True, "type": "object"},
                        "type": "array",
                    },
                    "folder_id": {"default": "", "description": "pass null to clear", "type": "string"},
                },
                "required": ["note_id"],
                "type": "object",
            },
        },
    },
]
"""Two of the 36 it sends with every message unless it is told not to."""


async def test_its_list_of_models(lab: Laboratory) -> None:
    listed = (await lab.http.get("/v1/models")).json()["data"]
    assert [m["id"] for m in listed][:2] == ["auto", "ollama/small"]
    assert "rest" in [m["id"] for m in listed]


async def test_a_task_of_its_own_is_decided_by_the_rule_it_names(lab: Laboratory) -> None:
    lab.provider.script(Reply(('{"title": "Time"}',)))
    answer = await lab.http.post(CHAT, json=TASK, headers={"X-Request-Id": "title"})
    assert answer.json()["choices"][0]["message"]["content"] == '{"title": "Time"}'
    assert [(row["rule"], row["model"]) for row in lab.rows("title")] == [("rest", "ollama/small")]


async def test_it_calls_a_tool_and_sends_what_it_gave(lab: Laboratory) -> None:
    lab.provider.script(Reply((), tool_calls=(ToolCall("get_current_timestamp", "{}"),)), Reply(("Noon.",)))
    body = {"stream": True, "model": "ollama/small", "messages": [QUESTION], "tools": TOOLS}
    *chunks, end = [data for _, data in frames((await lab.http.post(CHAT, json=body)).text)]
    assert end == "[DONE]"
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    (call,) = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"
    said = {"role": "assistant", "content": "", "tool_calls": [{k: call[k] for k in ("id", "type", "function")}]}
    gave = {"role": "tool", "tool_call_id": call["id"], "content": '{"current_timestamp":1795763378}'}
    second = await lab.http.post(CHAT, json={**body, "messages": [QUESTION, said, gave]})
    assert "Noon." in second.text
    assert [m["role"] for m in lab.sent["messages"]][-3:] == ["user", "assistant", "tool"]


async def test_an_answer_that_breaks_off_says_so_as_it_reads_it(lab: Laboratory) -> None:
    lab.provider.script(CutMidStream(after=3))
    answer = await lab.http.post(CHAT, json={"stream": True, "model": "auto", "messages": [QUESTION]})
    error = frames(answer.text)[-1][1]["error"]
    assert "incomplete" in error["message"]


async def test_headers_with_who_asks_change_nothing(lab: Laboratory) -> None:
    """`ENABLE_FORWARD_USER_INFO_HEADERS` sends these."""
    told = {"User-Name": "Ada%20L", "User-Id": "a8c7", "User-Email": "ada@example.com", "User-Role": "admin"}
    headers = {f"X-OpenWebUI-{name}": value for name, value in {**told, "Chat-Id": "c1"}.items()}
    answer = await lab.http.post(CHAT, json={**TASK, "model": "auto"}, headers=headers)
    assert answer.status_code == 200
    assert not [name for name in lab.asked[-1].headers if "openwebui" in name]
    assert "ada@example.com" not in json.dumps(lab.sent)
