"""The stream as bytes: its events, its endings, and what a slow, absent or leaving reader does to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.results import ChatResult
from app.api.sse import Patience, encode
from app.errors import AllCandidatesFailed, NoPermittedModel, UnknownWorkspace
from app.llm.calls import ReasoningDelta, TextDelta, ToolCallDelta
from app.llm.events import AttemptFailed, AttemptReport, Event, Failed
from tests.fakes.scripted_chat import (
    MODEL,
    TOKEN,
    WINDOW,
    Scripted,
    ending,
    forever,
    header_lines,
    opening,
    scripted,
    texts,
)
from tests.fakes.sidecar import parse_events

QUERY = {"query": "hello"}


class Reader:
    """A client that reads a stream from a socket, in its own time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def until(self, mark: bytes, limit: float = 5.0) -> bytes:
        async with asyncio.timeout(limit):
            return await self.reader.readuntil(mark)

    async def rest(self, limit: float = 5.0) -> bytes:
        async with asyncio.timeout(limit):
            return await self.reader.read()

    def leave(self) -> None:
        self.writer.transport.abort()


async def eventually(holds: Callable[[], bool], limit: float = 3.0) -> None:
    """Returns once `holds()`; fails after `limit` seconds."""
    async with asyncio.timeout(limit):
        while not holds():  # noqa: ASYNC110  (what is waited for is in no event)
            await asyncio.sleep(0.005)


def open_streams(sidecar: Scripted) -> int:
    return len(sidecar.app.state.api.streams)


@asynccontextmanager
async def asking(sidecar: Scripted, limit: int = 1 << 16, **body: Any) -> AsyncIterator[Reader]:
    """A chat request on a socket of its own."""
    content = json.dumps({**QUERY, **body}).encode()
    head = (
        f"POST /api/v1/chat HTTP/1.1\r\nHost: 127.0.0.1:{sidecar.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port, limit=limit)
    writer.write(head.encode() + content)
    try:
        yield Reader(reader, writer)
    finally:
        writer.close()


async def test_a_stream_is_the_contracts(tmp_path: Path) -> None:
    batches: list[list[Event]] = [
        [AttemptFailed("ollama/big", 1, "falling_back", "unreachable", "refused", 0.0)],
        [ReasoningDelta("hm"), *texts("Hel", "lo")],
        [ToolCallDelta(0, "c1", "look", '{"a"'), ToolCallDelta(0, None, None, ": 1}")],
        [*texts("!"), ending(cost_usd=0.0, cost_source="computed", warnings=("mind the gap",))],
    ]
    async with scripted(tmp_path, opening("given"), *batches) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json=QUERY, headers={"X-Request-Id": "given"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-request-id"] == "given"
    assert answer.text.startswith("retry: 3000\n\n")
    events = parse_events(answer.text)
    assert [e.id for e in events] == list(range(1, 11))
    data = [(e.name, e.data) for e in events]
    assert data[0] == (
        "route",
        {
            "request_id": "given",
            "rule": "default",
            "model": MODEL.id,
            "location": "loopback",
            "candidates": [MODEL.id],
            "reasons": ["rule default matches"],
        },
    )
    assert data[1] == (
        "context",
        {
            "model": MODEL.id,
            "window": 8192,
            "input_tokens": 12,
            "reserved_output": 1024,
            "upgraded_from": None,
            "blocks": [
                {
                    "id": "query",
                    "kind": "query",
                    "priority": 1,
                    "tokens": 12,
                    "outcome": "kept",
                    "reason": "the query",
                }
            ],
        },
    )
    failed = {"model": "ollama/big", "number": 1, "outcome": "falling_back", "code": "unreachable", "reason": "refused"}
    assert data[2] == ("attempt", {**failed, "wait_seconds": 0.0})
    assert data[3:6] == [("reasoning", {"text": "hm"}), ("token", {"text": "Hel"}), ("token", {"text": "lo"})]
    assert data[6:8] == [
        ("tool_call", {"index": 0, "id": "c1", "name": "look", "arguments": '{"a"'}),
        ("tool_call", {"index": 0, "id": None, "name": None, "arguments": ": 1}"}),
    ]
    assert data[8] == ("token", {"text": "!"})
    assert data[9] == (
        "done",
        {
            "model": MODEL.id,
            "location": "loopback",
            "finish_reason": "stop",
            "input_tokens": 12,
            "output_tokens": 2,
            "cost_usd": 0.0,
            "cost_source": "computed",
            "latency_ms": 40,
            "time_to_first_token_ms": 20,
            "attempt_count": 1,
            "warnings": ["mind the gap"],
            "ledger": "stored",
        },
    )


async def test_without_a_stream_the_answer_is_one_object(tmp_path: Path) -> None:
    calls = [
        ToolCallDelta(1, "c2", "b", "{}"),
        ToolCallDelta(0, "c1", "a", '{"x"'),
        ToolCallDelta(0, None, None, ":1}"),
    ]
    async with scripted(tmp_path, opening(), texts("Hel", "lo"), [*calls], [ending()]) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json={**QUERY, "stream": False})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    body = answer.json()
    ChatResult.model_validate(body)
    assert body["text"] == "Hello"
    assert body["tool_calls"] == [
        {"id": "c1", "name": "a", "arguments": '{"x":1}'},
        {"id": "c2", "name": "b", "arguments": "{}"},
    ]
    assert (body["route"]["rule"], body["context"]["window"], body["cost_usd"]) == ("default", WINDOW.window, None)
    assert [a["outcome"] for a in body["attempts"]] == ["ok"]


REFUSALS = [
    NoPermittedModel("the workspace is private", removed=["gpt-4o"]),
    UnknownWorkspace("there is no workspace 'x'"),
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("error", REFUSALS)
async def test_what_fails_before_the_route_is_a_status(tmp_path: Path, error: Exception, stream: bool) -> None:
    async with scripted(tmp_path, error) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json={**QUERY, "stream": stream})
        assert open_streams(sidecar) == 0
    body = answer.json()
    assert answer.status_code == body["status"] == getattr(error, "status", None)
    assert answer.headers["content-type"] == "application/problem+json"
    assert (body["code"], body["detail"]) == (getattr(error, "code", None), str(error))
    assert body["request_id"] == answer.headers["x-request-id"]


FAILURE = Failed(
    "r",
    AllCandidatesFailed("both are down; sk-abcdefghijklmnop1234 was refused", last_code="unreachable"),
    2,
    (AttemptReport(MODEL.id, 1, "error", "unreachable", "refused", 3),),
)


async def test_what_fails_after_it_is_an_error_event(tmp_path: Path) -> None:
    async with scripted(tmp_path, opening(), texts("Hi"), [FAILURE]) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json=QUERY)
    events = parse_events(answer.text)
    assert answer.status_code == 200
    assert [e.name for e in events] == ["route", "context", "token", "error"]
    data = events[-1].data
    assert (data["code"], data["status"], data["delivered_characters"]) == ("all_candidates_failed", 502, 2)
    assert data["last_code"] == "unreachable"
    assert "sk-abcdefghijklmnop1234" not in answer.text


async def test_and_a_status_without_a_stream(tmp_path: Path) -> None:
    async with scripted(tmp_path, opening(), texts("Hi"), [FAILURE]) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json={**QUERY, "stream": False})
    body = answer.json()
    assert (answer.status_code, body["code"], body["delivered_characters"]) == (502, "all_candidates_failed", 2)
    assert body["attempts"][0]["code"] == "unreachable"
    assert "sk-abcdefghijklmnop1234" not in answer.text


@pytest.mark.parametrize("steps", [(RuntimeError("secret-detail"),), (), (opening(), RuntimeError("secret-detail"))])
async def test_a_fault_of_ours_shows_no_text_and_ends_the_stream_once(tmp_path: Path, steps: tuple[Any, ...]) -> None:
    async with scripted(tmp_path, *steps) as sidecar:
        answer = await sidecar.http.post("/api/v1/chat", json=QUERY)
    assert "secret-detail" not in answer.text
    if steps and not isinstance(steps[0], Exception):
        events = parse_events(answer.text)
        assert [e.name for e in events] == ["route", "context", "error"]
        assert events[-1].data["code"] == "internal_error"
    else:
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")


@given(st.lists(st.text(st.characters(), min_size=1), min_size=1, max_size=5))
def test_no_text_can_end_its_event(parts: list[str]) -> None:
    wire = encode(texts(*parts), 1)
    assert wire.count(b"\n\n") == len(parts)
    assert wire.count(b"\nevent: ") == len(parts)
    assert b"\r" not in wire
    whole = [e.data["text"] for e in parse_events(wire.decode("utf-8"))]
    # Half a surrogate pair is no character; everything else comes through as it was.
    assert whole == [p.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for p in parts]


def test_a_delta_that_looks_like_the_end_is_one_token() -> None:
    hostile = 'x\n\nevent: done\ndata: {"model": "evil"}\n\n'
    events = parse_events(encode([TextDelta(hostile), ToolCallDelta(0, "\n\n", "n\r\n\r\n", "\ud800")], 1).decode())
    assert [(e.name, e.data.get("text")) for e in events] == [("token", hostile), ("tool_call", None)]


async def test_a_batch_is_one_write_and_goes_out_at_once(tmp_path: Path) -> None:
    go = asyncio.Event()
    async with (
        scripted(tmp_path, opening(), texts("a", "b", "c"), go.wait, [ending()]) as sidecar,
        asking(sidecar) as client,
    ):
        head = await client.until(b"\r\n\r\n")
        assert (b"transfer-encoding", b"chunked") in header_lines(head)
        await client.until(b"event: context")
        batch = await client.until(b'{"text":"c"}\n\n\r\n')
        assert batch.count(b"\r\n") <= 4  # the end of the chunk before, its own size line, and its end
        go.set()
        assert b"event: done" in await client.until(b"0\r\n\r\n")


async def test_silence_is_filled_with_comments(tmp_path: Path) -> None:
    patience = Patience(silence=0.1)
    async with (
        scripted(tmp_path, opening(), forever, patience=patience) as sidecar,
        asking(sidecar) as client,
    ):
        await client.until(b"event: context")
        started = time.monotonic()
        for _ in range(3):
            await client.until(b": still here\n\n")
        assert 0.25 < time.monotonic() - started < 2
    assert Patience().silence < 15


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("before", [[], [opening()], [opening(), texts("a")]])
async def test_a_client_that_leaves_ends_the_work_at_once(tmp_path: Path, before: list[Any], stream: bool) -> None:
    async with scripted(tmp_path, *before, forever) as sidecar:
        async with asking(sidecar, stream=stream) as client:
            await eventually(lambda: bool(sidecar.chat.requests) and sidecar.chat.pulled == len(before))
            if stream and before:
                await client.until(b"event: route")
            assert open_streams(sidecar) == 1
            started = time.monotonic()
            client.leave()
            async with asyncio.timeout(1):
                await sidecar.chat.closed.wait()
        assert time.monotonic() - started < 1
        await eventually(lambda: open_streams(sidecar) == 0)


async def test_many_clients_that_leave_leave_nothing_behind(tmp_path: Path) -> None:
    async with scripted(tmp_path, opening(), forever) as sidecar:
        before = len(asyncio.all_tasks())
        for _ in range(50):
            async with asking(sidecar) as client:
                await client.until(b"event: route")
                client.leave()
        await eventually(lambda: open_streams(sidecar) == 0 and len(asyncio.all_tasks()) <= before)


async def test_a_reader_that_stalls_is_dropped_and_costs_no_memory(tmp_path: Path) -> None:
    large: list[Any] = [texts("x" * 100_000) for _ in range(400)]
    patience = Patience(silence=0.2, send=0.5)
    async with (
        scripted(tmp_path, opening(), *large, [ending()], patience=patience) as sidecar,
        asking(sidecar, limit=1024) as client,
    ):
        await client.until(b"event: route")
        # Reads no more: the sockets' buffers fill, and the chat is not pulled beyond them.
        async with asyncio.timeout(5):
            await sidecar.chat.closed.wait()
        assert sidecar.chat.pulled < len(large)
        assert open_streams(sidecar) == 0
        with contextlib.suppress(ConnectionError):
            assert b"event: done" not in await client.rest()


async def test_more_streams_than_the_cap_are_turned_away(tmp_path: Path) -> None:
    async with (
        scripted(tmp_path, opening(), forever, max_streams=2) as sidecar,
        asking(sidecar) as second,
        asking(sidecar) as first,
    ):
        await first.until(b"event: route")
        await second.until(b"event: route")
        for stream in (True, False):
            answer = await sidecar.http.post("/api/v1/chat", json={**QUERY, "stream": stream})
            assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
            assert int(answer.headers["retry-after"]) >= 1
        first.leave()
        await eventually(lambda: open_streams(sidecar) == 1)
        async with asking(sidecar) as third:
            await third.until(b"event: route")


async def test_a_shutdown_ends_every_stream_with_one_event(tmp_path: Path) -> None:
    async with scripted(tmp_path, opening(), texts("abc"), forever) as sidecar:
        async with asyncio.TaskGroup() as group:
            streams = [group.create_task(sidecar.http.post("/api/v1/chat", json=QUERY)) for _ in range(20)]
            whole = group.create_task(sidecar.http.post("/api/v1/chat", json={**QUERY, "stream": False}))
            await eventually(lambda: open_streams(sidecar) == 21 and sidecar.chat.pulled == 42)
            started = time.monotonic()
            sidecar.services.shutting_down.set()
        assert time.monotonic() - started < 2
        for stream in streams:
            events = parse_events(stream.result().text)
            assert [e.name for e in events] == ["route", "context", "token", "error"]
            assert (events[-1].data["code"], events[-1].data["delivered_characters"]) == ("shutting_down", 3)
            assert [e.id for e in events] == [1, 2, 3, 4]
        assert (whole.result().status_code, whole.result().json()["code"]) == (503, "shutting_down")
        late = await sidecar.http.post("/api/v1/chat", json=QUERY)
        assert (late.status_code, late.json()["code"]) == (503, "shutting_down")
        assert (await sidecar.http.get("/health")).json()["status"] == "shutting_down"
