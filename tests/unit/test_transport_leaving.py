"""Leaving a call closes its socket at once, wherever the call stands, on both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from app.errors import ConnectionLost, EgressBlocked, Unreachable
from app.llm.transport import Transport
from tests.fakes.raw_server import drip, fetch, hang, ok, serving


async def leave_before_the_answer() -> None:
    async with Transport() as transport, serving(hang) as server:
        task = asyncio.create_task(fetch(transport, server.url))
        await server.asked()
        await cancelled(task)
        assert await server.all_ended()


async def leave_in_mid_stream() -> None:
    async with Transport() as transport, serving(drip) as server:
        task = asyncio.create_task(fetch(transport, server.url))
        await asyncio.sleep(0.05)
        await cancelled(task)
        assert await server.all_ended()


async def leave_while_the_request_is_stuck() -> None:
    """The server does not read: a polite close would go on until it had taken every byte."""
    size = 50_000_000
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        async with Transport() as transport:

            async def ask() -> None:
                async with transport.post(
                    f"http://127.0.0.1:{listener.getsockname()[1]}/", {}, b"x" * size, local=True
                ):
                    pass

            task = asyncio.create_task(ask())
            connection, _ = await loop.sock_accept(listener)
            with connection:
                await asyncio.sleep(0.05)
                await cancelled(task)
                received = 0
                async with asyncio.timeout(2):
                    with contextlib.suppress(OSError):
                        while data := await loop.sock_recv(connection, 1 << 20):
                            received += len(data)
                assert received < size


async def leave_two_hundred_times() -> None:
    async with Transport() as transport, serving(drip) as server:
        await asyncio.sleep(0)
        tasks_before, sockets_before = len(asyncio.all_tasks()), open_sockets()
        streams = [asyncio.create_task(fetch(transport, server.url)) for _ in range(200)]
        await server.asked(200)
        for stream in streams:
            stream.cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        assert await server.all_ended()
        assert server.connections == 200
        await asyncio.sleep(0.05)
        assert len(asyncio.all_tasks()) == tasks_before
        assert open_sockets() == sockets_before


async def close_everything() -> None:
    async with serving(drip) as server:
        transport = Transport()
        await transport.open()
        task = asyncio.create_task(fetch(transport, server.url))
        await asyncio.sleep(0.05)
        await transport.aclose()
        with pytest.raises(ConnectionLost):
            await task
        with pytest.raises(Unreachable, match="shutting down"):
            await fetch(transport, server.url)
        assert await server.all_ended()


async def stay_local() -> None:
    async with Transport() as transport, serving(ok) as server:
        with pytest.raises(EgressBlocked):
            await fetch(transport, f"http://0.0.0.0:{server.port}/")
        assert await fetch(transport, f"http://localhost:{server.port}/") == b'{"ok":true}'
        assert server.connections == 1


async def cancelled(task: asyncio.Task[bytes] | asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def open_sockets() -> int | None:
    """How many sockets this process has open; None where the system does not say."""
    folder = Path("/proc/self/fd")
    if not folder.exists():
        return None
    count = 0
    for entry in folder.iterdir():
        with contextlib.suppress(OSError):
            count += os.readlink(entry).startswith("socket:")
    return count


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "scenario",
    [
        leave_before_the_answer,
        leave_in_mid_stream,
        leave_while_the_request_is_stuck,
        leave_two_hundred_times,
        close_everything,
        stay_local,
    ],
)
def test_on_both_event_loops(scenario: Callable[[], Awaitable[None]], loop: str) -> None:
    factory = pytest.importorskip("uvloop").new_event_loop if loop == "uvloop" else asyncio.new_event_loop

    async def run() -> None:
        await scenario()

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(run())
