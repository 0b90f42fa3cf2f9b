"""A server on loopback that answers with the bytes a test gives it, and the one call that tests make of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from app.llm.transport import Transport

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def sized(body: bytes, status: bytes = b"200 OK", extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body)


@dataclass
class Exchange:
    """One request as a server sees it."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        self.writer.transport.abort()


Answer: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass
class Server:
    """A server on loopback which answers by script and counts connections, requests and ends of connections."""

    answer: Answer
    host: str = "127.0.0.1"
    connections: int = 0
    ended: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/v1/chat"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._skip_body(head, reader)
                self.requests.append(head)
                await self.answer(Exchange(head, reader, writer))
                if writer.is_closing():
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.ended += 1
            writer.close()

    async def _skip_body(self, head: bytes, reader: asyncio.StreamReader) -> None:
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.split(b":")[1]))

    async def asked(self, times: int = 1) -> None:
        while len(self.requests) < times:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def all_ended(self, within: float = 1.0) -> bool:
        deadline = time.monotonic() + within
        while self.ended < self.connections and time.monotonic() < deadline:  # noqa: ASYNC110 - counters, not events
            await asyncio.sleep(0.005)
        return self.connections > 0 and self.ended == self.connections


@asynccontextmanager
async def serving(answer: Answer, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server(answer, host)
    listener = await asyncio.start_server(server.serve, host, 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for writer in server.writers:
            writer.close()
        await server.all_ended()


async def ok(exchange: Exchange) -> None:
    await exchange.send(sized(b'{"ok":true}'))


async def hang(exchange: Exchange) -> None:
    """Says nothing, and notices when the client has gone."""
    await exchange.reader.read()
    exchange.writer.close()


async def drip(exchange: Exchange) -> None:
    await exchange.send(CHUNKED)
    with contextlib.suppress(OSError):
        while not exchange.writer.is_closing():
            await exchange.send(chunk(b"x"))
            await asyncio.sleep(0.002)
    exchange.writer.close()


async def fetch(transport: Transport, url: str, *, local: bool = True, headers: dict[str, str] | None = None) -> bytes:
    async with transport.post(url, headers or {}, b"{}", local=local) as response:
        assert response.status == 200
        return b"".join([data async for data in response.chunks()])
