"""Other people's APIs as bytes on the wire, and what hostile bodies get there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.api.sse import Patience
from tests.fakes.laboratory import KEY, Laboratory, laboratory
from tests.fakes.providers import Hang, KeyInError, Reply, injected_newlines
from tests.fakes.sidecar import TOKEN

pytestmark = pytest.mark.asyncio(loop_scope="module")

HELLO = [{"role": "user", "content": "hello"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "auto", "messages": HELLO},
    "/v1/completions": {"model": "auto", "prompt": "a"},
    "/v1/embeddings": {"model": "auto", "input": "a"},
    "/v1/messages": {"model": "auto", "max_tokens": 50, "messages": HELLO},
    "/v1/messages/count_tokens": {"model": "auto", "messages": HELLO},
}
ANSWERS = ("/v1/chat/completions", "/v1/completions", "/v1/messages")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Laboratory]:
    folder = tmp_path_factory.mktemp("lab")
    async with laboratory(folder, patience=Patience(silence=0.3), settings={"max_streams": 8}) as lab:
        yield lab


@pytest.fixture
def lab(running: Laboratory) -> Laboratory:
    running.reset()
    return running


def frames(text: str) -> list[tuple[str | None, Any]]:
    """(event, data) of each event; comments are left out."""
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            data = fields["data"]
            found.append((fields.get("event"), data if data == "[DONE]" else json.loads(data)))
    return found


def error_of(path: str, answer: httpx.Response) -> dict[str, Any]:
    """The error object, once its dialect is checked."""
    body = answer.json()
    assert answer.headers["content-type"] == "application/json"
    error: dict[str, Any] = body["error"]
    if path.startswith("/v1/messages"):
        assert body.keys() == {"type", "error", "request_id"}
        assert body["type"] == "error"
        assert error.keys() == {"type", "message"}
    else:
        assert body.keys() == {"error"}
        assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    return error


async def test_openais_stream_on_the_wire(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=("Hi", "!"), input_tokens=7))
    body = {**BODIES["/v1/chat/completions"], "stream": True, "stream_options": {"include_usage": True}}
    answer = await lab.http.post("/v1/chat/completions", json=body, headers={"X-Request-Id": "r-1"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    *chunks, end = frames(answer.text)
    assert end == (None, "[DONE]")
    first, *deltas, finish, usage = [data for _, data in chunks]
    constant = {"id": "chatcmpl-r-1", "object": "chat.completion.chunk", "model": "ollama/small"}
    for chunk in (first, *deltas, finish, usage):
        assert constant.items() <= chunk.items()
    assert first["choices"] == [choice({"role": "assistant", "content": ""})]
    assert "".join(d["choices"][0]["delta"]["content"] for d in deltas) == "Hi!"
    assert finish["choices"] == [choice({}, "stop")]
    assert (usage["choices"], usage["usage"]) == (
        [],
        {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    )
    assert all(c["usage"] is None for c in (first, *deltas, finish))


def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


async def test_anthropics_stream_on_the_wire(lab: Laboratory) -> None:
    lab.provider.script(Reply(text=("Hi", "!"), input_tokens=7))
    answer = await lab.http.post("/v1/messages", json={**BODIES["/v1/messages"], "stream": True})
    found = frames(answer.text)
    assert all(name == data["type"] for name, data in found)
    assert [name for name, _ in found if name != "content_block_delta"] == [
        *("message_start", "ping", "content_block_start", "content_block_stop", "message_delta", "message_stop"),
    ]
    message = found[0][1]["message"]
    assert message["usage"]["input_tokens"] > 0
    assert (message["content"], message["stop_reason"], message["role"]) == ([], None, "assistant")
    assert found[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
    assert found[-2][1]["usage"] == {"input_tokens": 7, "output_tokens": 2}


async def test_a_delta_that_looks_like_an_event_is_text(lab: Laboratory) -> None:
    expected = "".join(injected_newlines().text)
    for path in ANSWERS:
        lab.provider.script(injected_newlines())
        answer = await lab.http.post(path, json={**BODIES[path], "stream": True})
        texts = []
        for _, data in frames(answer.text):
            if data == "[DONE]":
                continue
            texts += [c.get("text") or c.get("delta", {}).get("content") or "" for c in data.get("choices", ())]
            texts.append(data["delta"].get("text", "") if data.get("type") == "content_block_delta" else "")
        assert "".join(texts) == expected


@pytest.mark.parametrize("path", ANSWERS)
async def test_a_long_silence_gets_a_comment_and_a_failure_after_it_an_event(lab: Laboratory, path: str) -> None:
    lab.provider.script(Reply(text=("late",), delay=0.8))
    answer = await lab.http.post(path, json={**BODIES[path], "stream": True})
    assert answer.status_code == 200
    assert answer.text.startswith(": still here\n\n")
    assert "late" in answer.text
    # `hasty` gives up after 0.1 s, before any comment: a status, in the dialect.
    lab.provider.always(Hang("after_headers"), model="silent")
    body = {**BODIES[path], "model": "hasty", "stream": True}
    answer = await lab.http.post(path, json=body)
    assert answer.status_code == 504
    assert answer.headers["x-should-retry"] == "false"
    error_of(path, answer)


@pytest.mark.parametrize("path", BODIES)
async def test_the_door_speaks_the_dialect(lab: Laboratory, path: str) -> None:
    async with httpx.AsyncClient(base_url=lab.sidecar.url, trust_env=False) as stranger:
        answer = await stranger.post(path, json=BODIES[path])
        assert answer.status_code == 401
        assert error_of(path, answer)["type"] == "authentication_error"
        assert answer.headers["www-authenticate"].startswith("Bearer")
        origin = {"Origin": "https://evil.com", "Authorization": f"Bearer {TOKEN}"}
        answer = await stranger.post(path, json=BODIES[path], headers=origin)
        assert answer.status_code == 403
        error_of(path, answer)
    answer = await lab.http.get(path)
    assert answer.status_code == 405
    error_of(path, answer)
    assert lab.provider.requests == []


async def test_what_is_not_there_is_said_in_the_dialect(lab: Laboratory) -> None:
    for path in ("/v1/nothing", "/v1/messages/nothing"):
        answer = await lab.http.post(path, json={})
        assert answer.status_code == 404
        error_of(path, answer)


HOSTILE: list[tuple[str, bytes, int]] = [
    ("an array", b"[]", 400),
    ("not JSON", b"{", 400),
    ("not UTF-8", b'{"model": "\xff"}', 400),
    ("100,000 brackets", b"[" * 100_000, 400),
    ("NaN", b'{"model": "auto", "temperature": NaN}', 400),
    ("5,000 digits", b'{"model": "auto", "max_tokens": ' + b"9" * 5000 + b"}", 400),
    ("duplicate keys", b'{"model": "auto", "model": "auto"}', 400),
    ("nothing", b"{}", 400),
    ("17 MB", b'{"model": "' + b"x" * (17 * 1024 * 1024) + b'"}', 413),
]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(("name", "body", "status"), HOSTILE, ids=[name for name, _, _ in HOSTILE])
async def test_a_hostile_body(lab: Laboratory, path: str, name: str, body: bytes, status: int) -> None:
    answer = await lab.http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    error_of(path, answer)
    assert lab.provider.requests == []


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "added",
    [
        {"api_base": "http://evil"}, {"base_url": "http://evil"}, {"api_key": "sk-x"}, {"model": ""},
        {"model": "a\nb"}, {"model": "x" * 257}, {"model": 7}, {"metadata": {"workspace": "../.."}},
        {"max_tokens": 10**9}, {"max_tokens": -1}, {"max_tokens": "1"}, {"temperature": 9},
    ],
    ids=str,
)  # fmt: skip
async def test_a_wrong_member_is_a_400(lab: Laboratory, path: str, added: dict[str, Any]) -> None:
    answer = await lab.http.post(path, json={**BODIES[path], **added})
    assert answer.status_code == 400, answer.text
    error = error_of(path, answer)
    if "param" in error:
        assert error["param"].split(".")[0] in (*added, "metadata"), error
    assert "evil" not in answer.text
    assert lab.provider.requests == []


async def test_text_as_json_is_refused(lab: Laboratory) -> None:
    for path, body in BODIES.items():
        answer = await lab.http.post(path, content=json.dumps(body), headers={"Content-Type": "text/plain"})
        assert answer.status_code == 415
        error_of(path, answer)


async def test_a_key_in_a_providers_words_is_in_no_answer(lab: Laboratory) -> None:
    for path in ANSWERS:
        lab.provider.script(KeyInError(401), KeyInError(401), model="priced")
        answer = await lab.http.post(path, json={**BODIES[path], "model": "openai/priced"})
        assert KEY not in answer.text
    assert KEY not in json.dumps(lab.sidecar.rows())


@pytest.mark.parametrize("path", ANSWERS)
async def test_a_private_workspaces_key_asking_for_the_cloud_connects_to_nothing(lab: Laboratory, path: str) -> None:
    name = f"private{path.replace('/', '-')}"
    made = (await lab.http.post("/api/v1/keys", json={"name": name, "workspace": "work"})).json()
    async with httpx.AsyncClient(
        base_url=lab.sidecar.url, headers={"x-api-key": made["key"]}, trust_env=False
    ) as client:
        for model in ("openai/priced", "away"):
            for headers in ({}, {"X-Workspace": "work"}, {"X-Workspace": "open"}):
                answer = await client.post(path, json={**BODIES[path], "model": model}, headers=headers)
                assert answer.status_code == 403
                assert error_of(path, answer)["type"] == "permission_error"
        assert lab.provider.requests == []
        # The control: what stays here is answered.
        answer = await client.post(path, json={**BODIES[path], "model": "ollama/small"})
        assert answer.status_code == 200
    assert lab.sidecar.rows()[-1]["workspace_profile_id"] == "work"


async def test_a_keys_own_task_type_counts_where_the_request_names_none(lab: Laboratory) -> None:
    body = {"name": "narrow", "workspace": "open", "task_type": "narrow"}
    made = (await lab.http.post("/api/v1/keys", json=body)).json()
    async with httpx.AsyncClient(
        base_url=lab.sidecar.url, headers={"x-api-key": made["key"]}, trust_env=False
    ) as client:
        for headers, task in (({}, "narrow"), ({"X-Task-Type": "chat"}, "chat")):
            answer = await client.post("/v1/chat/completions", json=BODIES["/v1/chat/completions"], headers=headers)
            (row,) = lab.rows(answer.json()["id"].removeprefix("chatcmpl-"))
            assert row["task_type"] == task
