"""An answer that outlives its client: what was missed comes first, in order, once; then the rest, to one ending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.resumable import KeepLimits, KeptAnswer
from app.api.streams import OpenStreams
from app.errors import Conflict
from app.llm.calls import TextDelta
from app.llm.clock import Clock
from app.llm.events import Event, Failed
from tests.api.test_cancellation import ask_and_leave, eventually
from tests.fakes.providers import FakeProvider, Hang, Reply
from tests.fakes.sidecar import RunningSidecar, SseEvent, parse_events, running_sidecar

WORDS = tuple(f"w{number} " for number in range(40))
LAST_ID = "Last-Event-ID"


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@asynccontextmanager
async def running(folder: Path, provider: FakeProvider, **limits: Any) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        folder,
        clock=Clock(),
        keep=KeepLimits(**limits),
        models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}],
    ) as sidecar:
        yield sidecar


@pytest.fixture
async def sidecar(tmp_path: Path, provider: FakeProvider) -> AsyncIterator[RunningSidecar]:
    async with running(tmp_path, provider) as started:
        yield started


def text_of(events: list[SseEvent]) -> str:
    return "".join(event.data["text"] for event in events if event.name == "token")


async def leave_early(sidecar: RunningSidecar, request_id: str, **body: Any) -> list[SseEvent]:
    """Ask for a resumable answer, read until it has said something, and go away; what was read."""
    seen = b""

    def enough(data: bytes) -> bool:
        nonlocal seen
        seen = data
        return data.count(b"event: token") >= 3

    await ask_and_leave(sidecar, enough, query="hello", resumable=True, headers={"X-Request-Id": request_id}, **body)
    whole, _, _ = seen.decode().partition("\r\n\r\n")[2].rpartition("\n\n")
    return parse_events("\n\n".join(part for part in whole.split("\n\n") if "event:" in part).replace("\r\n", "\n"))


async def resume(sidecar: RunningSidecar, request_id: str, after: int = 0) -> list[SseEvent]:
    response = await sidecar.http.get(f"/api/v1/chat/{request_id}/events", headers={LAST_ID: str(after)})
    assert response.status_code == 200, response.text
    return parse_events(response.text)


async def test_reading_on_after_a_reload(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply(WORDS, delay=0.01))
    await leave_early(sidecar, "r1")
    rest = await resume(sidecar, "r1", after=4)
    assert [event.id for event in rest] == list(range(5, 5 + len(rest)))
    assert rest[-1].name == "done"
    whole = await resume(sidecar, "r1")
    assert [event.name for event in whole[:2]] == ["route", "context"]
    assert whole[4:] == rest
    assert text_of(whole) == "".join(WORDS)
    (row,) = sidecar.rows()
    assert row["status"] == "ok"
    assert [request.method for request in provider.requests].count("POST") == 1


async def test_two_readers_see_the_same(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply(WORDS, delay=0.01))
    first = asyncio.create_task(
        sidecar.http.post("/api/v1/chat", json={"query": "hello", "resumable": True}, headers={"X-Request-Id": "r2"})
    )
    await eventually(lambda: _exists(sidecar, "r2"), within=10)
    second = await resume(sidecar, "r2")
    assert parse_events((await first).text) == second


async def test_nobody_comes_back(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script(Reply(WORDS * 100, delay=0.02))
    async with running(tmp_path, provider, grace=0.2) as sidecar:
        await leave_early(sidecar, "r3")
        await provider.client_left(within=5)
        await eventually(lambda: [row["status"] for row in sidecar.rows()] == ["cancelled"], within=5)
        gone = await sidecar.http.get("/api/v1/chat/r3/events")
        assert (gone.status_code, gone.json()["code"]) == (404, "stream_not_found")


async def test_without_it_leaving_cancels(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply(WORDS * 100, delay=0.02))
    await ask_and_leave(sidecar, lambda data: b"event: token" in data, query="hello", headers={"X-Request-Id": "r4"})
    await provider.client_left(within=5)
    assert (await sidecar.http.get("/api/v1/chat/r4/events")).status_code == 404


async def test_it_can_be_stopped(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Hang("mid_stream"))
    asking = asyncio.create_task(
        sidecar.http.post("/api/v1/chat", json={"query": "hello", "resumable": True}, headers={"X-Request-Id": "r5"})
    )
    await eventually(lambda: _exists(sidecar, "r5"), within=10)
    stopped = await sidecar.http.delete("/api/v1/chat/r5")
    assert stopped.json() == {"request_id": "r5", "stopped": True}
    await provider.client_left(within=5)
    end = parse_events((await asking).text)[-1]
    assert (end.name, end.data["code"]) == ("error", "stopped")
    assert (await sidecar.http.delete("/api/v1/chat/r5")).status_code == 404


async def test_what_is_gone_is_said(tmp_path: Path, provider: FakeProvider) -> None:
    provider.script(Reply(WORDS))
    async with running(tmp_path, provider, answer_bytes=400) as sidecar:
        asked = {"query": "hello", "resumable": True}
        whole = (await sidecar.http.post("/api/v1/chat", json=asked, headers={"X-Request-Id": "r6"})).text
        response = await sidecar.http.get("/api/v1/chat/r6/events", headers={LAST_ID: "1"})
    (reset, *rest) = parse_events(response.text)
    assert (reset.name, reset.id) == ("reset", None)
    assert reset.data["next_id"] == rest[0].id == reset.data["missing"] + 2
    assert rest == parse_events(whole)[-len(rest) :]
    assert rest[-1].name == "done"


async def test_what_fails_before_the_stream_is_a_status(sidecar: RunningSidecar) -> None:
    asked = {"query": "hello", "resumable": True, "workspace": "nowhere"}
    refused = await sidecar.http.post("/api/v1/chat", json=asked, headers={"X-Request-Id": "r7"})
    assert (refused.status_code, refused.json()["code"]) == (422, "unknown_workspace")
    assert (await sidecar.http.get("/api/v1/chat/r7/events")).status_code == 404


async def test_bad_input(sidecar: RunningSidecar) -> None:
    assert (
        await sidecar.http.post("/api/v1/chat", json={"query": "x", "resumable": True, "stream": False})
    ).status_code == 422
    asked = {"query": "hello", "resumable": True}
    await sidecar.http.post("/api/v1/chat", json=asked, headers={"X-Request-Id": "r8"})
    for wrong in (b"-1", b"x", b"1" * 30, b"1.5", "\u0661".encode()):
        response = await sidecar.http.get("/api/v1/chat/r8/events", headers={LAST_ID.encode(): wrong})
        assert response.status_code == 422, wrong
    again = await sidecar.http.post("/api/v1/chat", json=asked, headers={"X-Request-Id": "r8"})
    assert again.status_code == 200, "an id that was used before gets a tail, so it names another answer"
    assert again.headers["x-request-id"].startswith("r8")
    assert again.headers["x-request-id"] != "r8"


async def test_a_key_of_another_workspace_sees_nothing(sidecar: RunningSidecar) -> None:
    asked = {"query": "hello", "resumable": True, "workspace": "open"}
    await sidecar.http.post("/api/v1/chat", json=asked, headers={"X-Request-Id": "r9"})
    made = await sidecar.http.post("/api/v1/keys", json={"name": "editor", "workspace": "work", "rights": ["chat"]})
    assert made.status_code == 201, made.text
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    for request in (
        sidecar.http.build_request("GET", "/api/v1/chat/r9/events", headers=headers),
        sidecar.http.build_request("DELETE", "/api/v1/chat/r9", headers=headers),
    ):
        assert (await sidecar.http.send(request)).status_code == 404


async def _exists(sidecar: RunningSidecar, request_id: str) -> bool:
    async with sidecar.http.stream("GET", f"/api/v1/chat/{request_id}/events") as response:
        return response.status_code == 200


# -- whatever is read, and from wherever


async def _answer(batches: list[list[Event]]) -> AsyncIterator[list[Event]]:
    for batch in batches:
        await asyncio.sleep(0)
        yield batch


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    after=st.integers(0, 40),
    kept_bytes=st.integers(0, 1500),
)
def test_a_reader_gets_every_event_once_or_is_told(sizes: list[int], after: int, kept_bytes: int) -> None:
    async def check() -> None:
        batches: list[list[Event]] = [[TextDelta(f"{n}.{i}\n\n") for i in range(size)] for n, size in enumerate(sizes)]
        batches.append([Failed("r", Conflict("the end", code="stopped"), 0)])
        kept = KeptAnswer("r", None, KeepLimits(answer_bytes=kept_bytes))
        await kept.begin(_answer(batches), OpenStreams(1))  # type: ignore[arg-type]
        read = b""
        async for data, _ in kept.follow(after):
            read += data
        await kept.aclose()
        events = parse_events(read.decode())
        total = sum(sizes) + 1
        ids = [event.id for event in events if event.id is not None]
        assert ids == list(range(total + 1 - len(ids), total + 1)), "in order, without a gap, to the end"
        if events and events[0].name == "reset":
            assert events[0].data["next_id"] == ids[0]
        else:
            assert len(ids) == total - min(after, total)

    asyncio.run(check())
