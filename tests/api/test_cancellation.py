"""A client that leaves: the upstream connection closes within a second, and the row says cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.llm.clock import Clock
from tests.fakes.providers import FakeProvider, Hang, Reply, Status
from tests.fakes.sidecar import TOKEN, RunningSidecar, running_sidecar


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as fake:
        yield fake


@pytest.fixture
async def sidecar(tmp_path: Path, provider: FakeProvider) -> AsyncIterator[RunningSidecar]:
    async with running_sidecar(
        tmp_path,
        clock=Clock(),
        models=[{"id": "ollama/m", "api_base": provider.url, "context_window": 8192}],
        rules=[{"name": "all", "conditions": {}, "model": "ollama/m"}],
        routing_extra={"retry": {"backoff_seconds": [30, 30, 30]}},
    ) as running:
        yield running


async def ask_and_leave(
    sidecar: RunningSidecar, leave_when: Callable[[bytes], bool], headers: Mapping[str, str] | None = None, **body: Any
) -> None:
    """Send a request on a socket of its own and drop it as soon as what has arrived satisfies `leave_when`."""
    host, port = sidecar.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    payload = json.dumps(body).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(
        f"POST /api/v1/chat HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n{more}\r\n".encode()
        + payload
    )
    seen = b""
    async with asyncio.timeout(5):
        while not leave_when(seen):
            data = await reader.read(65536)
            assert data, seen
            seen += data
    writer.transport.abort()


async def eventually(check: Callable[[], Awaitable[bool] | bool], within: float = 1.0) -> None:
    async with asyncio.timeout(within):
        while True:
            result = check()
            if await result if isinstance(result, Awaitable) else result:
                return
            await asyncio.sleep(0.01)


def statuses(sidecar: RunningSidecar) -> list[str]:
    return [row["status"] for row in sidecar.rows()]


async def test_in_mid_stream(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Reply(text=tuple("abcdefgh" * 50), delay=0.02))
    await ask_and_leave(sidecar, lambda seen: seen.count(b"event: token") >= 3, query="hi")
    await provider.client_left(within=1.0)
    await eventually(lambda: statuses(sidecar) == ["cancelled"])
    (row,) = sidecar.rows()
    assert row["output_tokens"] > 0
    assert row["input_tokens"] > 0


async def test_before_the_first_token(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Hang("after_headers"))
    await ask_and_leave(sidecar, lambda seen: b"event: context" in seen, query="hi")
    await provider.client_left(within=1.0)
    await eventually(lambda: statuses(sidecar) == ["cancelled"])


async def test_in_a_back_off_sleep(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Status(503))
    await ask_and_leave(sidecar, lambda seen: b"retrying" in seen, query="hi")
    await eventually(lambda: statuses(sidecar) == ["cancelled"])
    await asyncio.sleep(0.05)
    assert len(provider.chats) == 1


async def test_on_a_call_that_does_not_stream(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.script(Hang("mid_stream"))
    host, port = sidecar.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    payload = b'{"query": "hi", "stream": false}'
    head = f"POST /api/v1/chat HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n\r\n".encode() + payload)
    await eventually(lambda: bool(provider.chats and provider.chats[0].deltas_sent), within=5)
    writer.transport.abort()
    await provider.client_left(within=1.0)
    await eventually(lambda: statuses(sidecar) == ["cancelled"])


async def test_a_thousand_cancelled_streams_leak_nothing(sidecar: RunningSidecar, provider: FakeProvider) -> None:
    provider.always(Reply(text=tuple("abcdefgh" * 20), delay=0.02))

    async def one() -> None:
        await ask_and_leave(sidecar, lambda seen: b"event: token" in seen, query="hi")

    async def rounds(count: int) -> None:
        for _ in range(count // 50):
            await asyncio.gather(*(one() for _ in range(50)))

    await rounds(50)
    await eventually(lambda: len(asyncio.all_tasks()) < 40, within=5)
    tasks = len(asyncio.all_tasks())
    await rounds(1000)
    await eventually(lambda: provider.open_connections == 0, within=5)
    await eventually(lambda: len(asyncio.all_tasks()) <= tasks, within=5)
    await eventually(lambda: set(statuses(sidecar)) == {"cancelled"}, within=5)
    assert len(statuses(sidecar)) == 1050
