"""The transport over real sockets: where it may connect, what it makes of faults, and that leaving closes at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import pytest

from app.errors import (
    AttemptError,
    AttemptTimeout,
    BadChunk,
    BadCredentials,
    ConnectionLost,
    EgressBlocked,
    ServerFailed,
    Unreachable,
)
from app.llm.connections import LocalGate, environment_proxy
from app.llm.egress import EgressPolicy, applying
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


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport() as opened:
        yield opened


async def fetch(transport: Transport, url: str, *, local: bool = True, headers: dict[str, str] | None = None) -> bytes:
    async with transport.post(url, headers or {}, b"{}", local=local) as response:
        assert response.status == 200
        return b"".join([data async for data in response.chunks()])


# what arrives


async def test_a_stream_arrives_as_it_is_read(transport: Transport) -> None:
    go_on = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.send(CHUNKED + chunk(b"one"))
        await go_on.wait()
        await exchange.send(chunk(b"two") + chunk("drei €".encode()) + b"0\r\n\r\n")

    async with serving(answer) as server, transport.post(server.url, {"x-a": "b"}, b"{}", local=True) as response:
        assert response.status == 200
        assert response.headers["TRANSFER-encoding"] == "chunked"
        chunks = response.chunks()
        assert await anext(chunks) == b"one"
        go_on.set()
        assert b"".join([data async for data in chunks]) == "twodrei €".encode()
        assert b"x-a: b" in server.requests[0]


async def test_a_finished_answer_gives_its_connection_back(transport: Transport) -> None:
    async with serving(ok) as server:
        for _ in range(5):
            assert await fetch(transport, server.url) == b'{"ok":true}'
        assert server.connections == 1


async def test_stopping_at_the_end_mark_still_gives_the_connection_back(transport: Transport) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(CHUNKED + chunk(b"data: [DONE]\n\n"))
        await asyncio.sleep(0.02)
        await exchange.send(b"0\r\n\r\n")

    async with serving(answer) as server:
        for _ in range(3):
            async with transport.post(server.url, {}, b"{}", local=True) as response:
                async for _ in response.chunks():
                    break
            await asyncio.sleep(0.05)
        assert server.connections == 1


async def test_a_server_that_never_ends_after_its_end_mark_is_hung_up_on(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.llm.transport.LINGER_SECONDS", 0.05)
    async with serving(drip) as server:
        async with transport.post(server.url, {}, b"{}", local=True) as response:
            async for _ in response.chunks():
                break
        assert await server.all_ended()


async def test_compression_and_cookies_are_not_asked_for(transport: Transport) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(sized(b"{}", extra=b"Set-Cookie: a=b\r\n"))

    async with serving(answer) as server:
        await fetch(transport, server.url)
        await fetch(transport, server.url)
        assert all(b"Accept-Encoding: identity" in head for head in server.requests)
        assert not any(b"cookie" in head.lower() for head in server.requests)


async def test_an_error_body_is_read_up_to_its_bound(transport: Transport) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(sized(b"e" * 200_000, b"500 Broken", b"Retry-After: 7\r\n"))

    async with serving(answer) as server:
        async with transport.post(server.url, {}, b"{}", local=True) as response:
            assert (response.status, response.headers["retry-after"]) == (500, "7")
            assert len(await response.read()) == 65_536
        assert await server.all_ended()


async def test_an_error_body_that_stalls_is_given_up(transport: Transport) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\nhalf")
        await hang(exchange)

    async with serving(answer) as server:
        async with transport.post(server.url, {}, b"{}", local=True) as response:
            assert await response.read(seconds=0.05) == b"half"
        assert await server.all_ended()


async def test_a_large_body_arrives_whole(transport: Transport) -> None:
    async with serving(ok) as server:
        async with transport.post(server.url, {}, b"x" * 3_000_000, local=True) as response:
            assert response.status == 200
        assert b"Content-Length: 3000000" in server.requests[0]


# where it may connect


@pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"307 Temporary Redirect", b"308 Permanent Redirect"])
async def test_a_redirect_is_a_status_and_is_not_followed(transport: Transport, status: bytes) -> None:
    async with serving(ok) as elsewhere:

        async def answer(exchange: Exchange) -> None:
            await exchange.send(sized(b"", status, b"Location: " + elsewhere.url.encode() + b"\r\n"))

        async with serving(answer) as server:
            for local in (True, False):
                async with transport.post(server.url, {}, b"{}", local=local) as response:
                    assert response.status == int(status[:3])
        assert elsewhere.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "[::]",
        "2130706433",
        "0x7f000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "192.0.2.1",
        "169.254.169.254",
        "api.openai.com",
    ],
)
async def test_a_local_call_reaches_no_other_host(transport: Transport, host: str) -> None:
    async with serving(ok) as server:
        with pytest.raises(EgressBlocked):
            await fetch(transport, f"http://{host}:{server.port}/")
        assert server.connections == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "models.localhost", "127.0.0.1"])
async def test_every_name_of_this_machine_is_reached(transport: Transport, host: str) -> None:
    async with serving(ok) as server:
        assert await fetch(transport, f"http://{host}:{server.port}/") == b'{"ok":true}'


async def test_localhost_finds_a_server_on_ipv6(transport: Transport) -> None:
    try:
        async with serving(ok, "::1") as server:
            assert await fetch(transport, f"http://localhost:{server.port}/") == b'{"ok":true}'
            assert await fetch(transport, f"http://[::1]:{server.port}/") == b'{"ok":true}'
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")


RECORDED = """
import asyncio, sys
lookups = []
sys.addaudithook(lambda event, args: lookups.append(args[0]) if event in
    ("socket.getaddrinfo", "socket.gethostbyname", "socket.connect") else None)
from app.errors import EgressBlocked, Unreachable
from app.llm.transport import Transport

async def main():
    async with Transport() as transport:
        for url in ("http://api.example.com/v1", "https://user@gpu-box:8000/", "http://127.0.0.1.evil.com/"):
            try:
                async with transport.post(url, {}, b"{}", local=True):
                    pass
            except EgressBlocked:
                continue
            raise SystemExit("not refused: " + url)
        try:
            async with transport.post("http://localhost:9/", {}, b"{}", local=True):
                pass
        except Unreachable:
            pass
asyncio.run(main())
print([x for x in lookups if isinstance(x, (str, bytes))], len(lookups))
"""


def test_refusing_a_name_looks_nothing_up() -> None:
    done = subprocess.run([sys.executable, "-c", RECORDED], capture_output=True, text=True, timeout=30, check=False)
    # The two that remain are the connects of the control, localhost: 127.0.0.1 and ::1.
    assert (done.stdout.strip(), done.stderr) == ("[] 2", "")


def lookups_of(table: dict[str, list[str]], asked: list[str]) -> Callable[[str], list[str]]:
    def look_up(name: str) -> list[str]:
        asked.append(name)
        if name not in table:
            raise OSError("unknown")
        return table[name]

    return look_up


async def test_a_trusted_name_is_looked_up_once_and_pinned() -> None:
    asked: list[str] = []
    now = 0.0
    gate = LocalGate(
        EgressPolicy.local_only(["GPU-Box"]), lookups_of({"gpu-box": ["127.0.0.1"]}, asked), monotonic=lambda: now
    )
    async with serving(ok) as server, Transport(gate=gate) as transport:
        for _ in range(3):
            assert await fetch(transport, f"http://gpu-box:{server.port}/") == b'{"ok":true}'
        assert asked == ["gpu-box"]
        now = 301.0
        await fetch(transport, f"http://gpu-box:{server.port}/")
        assert asked == ["gpu-box", "gpu-box"]


async def test_a_trusted_name_that_leads_to_the_internet_is_refused() -> None:
    table = {"gpu-box": ["127.0.0.1", "93.184.216.34"]}
    gate = LocalGate(EgressPolicy.local_only(["gpu-box", "gone"]), lookups_of(table, []))
    async with Transport(gate=gate) as transport:
        with pytest.raises(EgressBlocked, match="on the internet"):
            await fetch(transport, "http://gpu-box:9/")
        with pytest.raises(Unreachable, match="not known in this network"):
            await fetch(transport, "http://gone:9/")


async def test_trust_ends_with_the_configuration_that_gave_it() -> None:
    gate = LocalGate(EgressPolicy.local_only(["gpu-box"]), lookups_of({"gpu-box": ["127.0.0.1"]}, []))
    async with serving(ok) as server, Transport(gate=gate) as transport:
        await fetch(transport, f"http://gpu-box:{server.port}/")
        transport.trust(EgressPolicy.local_only())
        with pytest.raises(EgressBlocked):
            await fetch(transport, f"http://gpu-box:{server.port}/")


async def test_a_name_the_hosts_file_gives_to_this_machine() -> None:
    asked: list[str] = []
    gate = LocalGate(EgressPolicy.local_only(), lookups_of({}, asked))
    hosts = {"models": ("127.0.0.1",), "mixed": ("127.0.0.1", "10.0.0.7")}
    async with serving(ok) as server, Transport(gate=gate) as transport:
        transport.trust(EgressPolicy.local_only(), hosts)
        assert await fetch(transport, f"http://models:{server.port}/") == b'{"ok":true}'
        with pytest.raises(EgressBlocked):
            await fetch(transport, f"http://mixed:{server.port}/")
    assert asked == []


async def test_the_socket_itself_is_checked() -> None:
    gate = LocalGate(EgressPolicy.local_only(["10.1.2.3"]), lookups_of({}, []))
    with pytest.raises(EgressBlocked):
        gate.open_socket((2, 1, 6, "", ("192.0.2.1", 80)))
    gate.open_socket((2, 1, 6, "", ("127.0.0.1", 80))).close()
    gate.open_socket((2, 1, 6, "", ("10.1.2.3", 80))).close()


async def test_a_cloud_call_inside_a_local_only_request_is_refused(transport: Transport) -> None:
    async with serving(ok) as server:
        with applying(EgressPolicy.local_only()), pytest.raises(EgressBlocked):
            await fetch(transport, server.url, local=False)
        assert server.connections == 0
        assert await fetch(transport, server.url, local=False) == b'{"ok":true}'


# proxies

PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*PROXY_VARIABLES, "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
async def test_a_proxy_carries_cloud_calls_and_never_local_ones(
    transport: Transport, no_proxies: pytest.MonkeyPatch, variable: str
) -> None:
    async with serving(ok) as proxy, serving(ok) as server:
        no_proxies.setenv(variable, f"http://someone:secret@127.0.0.1:{proxy.port}")
        await fetch(transport, server.url)
        await fetch(transport, f"http://localhost:{server.port}/")
        with pytest.raises(EgressBlocked):
            await fetch(transport, "http://model.example.com/v1")
        await fetch(transport, server.url, local=False)  # this machine is not reached through a proxy either
        assert (proxy.connections, len(server.requests)) == (0, 3)
        await fetch(transport, "http://model.example.com/v1?key=k", local=False)
        assert proxy.requests[0].startswith(b"POST http://model.example.com/v1?key=k HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic " in proxy.requests[0]


async def test_https_is_tunnelled_through_the_proxy(transport: Transport, no_proxies: pytest.MonkeyPatch) -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.send(sized(b"", b"403 Forbidden"))

    async with serving(refuse) as proxy:
        no_proxies.setenv("HTTPS_PROXY", f"127.0.0.1:{proxy.port}")
        with pytest.raises(Unreachable, match=r"proxy on the way to api\.example\.com:443 answered 403"):
            await fetch(transport, "https://api.example.com/v1", local=False)
        assert proxy.requests[0].startswith(b"CONNECT api.example.com:443")


async def test_a_socks_proxy_is_not_gone_round(transport: Transport, no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(Unreachable, match="socks5 proxy"):
        await fetch(transport, "http://model.example.com/v1", local=False)


def test_no_proxy_is_honoured(no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("http_proxy", "http://127.0.0.1:3128")
    no_proxies.setenv("no_proxy", "corp.example.com")
    assert environment_proxy("http", "a.corp.example.com") is None
    assert environment_proxy("http", "example.com") == "http://127.0.0.1:3128"
    assert environment_proxy("https", "example.com") is None
    assert environment_proxy("http", "127.0.0.1") is None


# faults


async def cut_before_answer(exchange: Exchange) -> None:
    exchange.writer.close()


async def cut_in_chunks(exchange: Exchange) -> None:
    await exchange.send(CHUNKED + chunk(b"half"))
    exchange.writer.close()


async def reset_in_chunks(exchange: Exchange) -> None:
    await exchange.send(CHUNKED + chunk(b"half"))
    await asyncio.sleep(0.02)
    exchange.reset()


async def cut_before_length(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    exchange.writer.close()


async def broken_chunk_size(exchange: Exchange) -> None:
    await exchange.send(CHUNKED + chunk(b"half"))
    await asyncio.sleep(0.02)
    await exchange.send(b"zz\r\n")
    await hang(exchange)


async def not_http(exchange: Exchange) -> None:
    await exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
    exchange.writer.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (cut_before_answer, ConnectionLost),
        (cut_in_chunks, ConnectionLost),
        (reset_in_chunks, ConnectionLost),
        (cut_before_length, ConnectionLost),
        (broken_chunk_size, ConnectionLost),
        (not_http, BadChunk),
    ],
)
async def test_faults_of_a_server(transport: Transport, answer: Answer, error: type[AttemptError]) -> None:
    async with serving(answer) as server:
        for local in (True, False):
            with pytest.raises(error) as caught:
                await fetch(transport, f"{server.url}?key=s3cret", local=local)
            assert f"127.0.0.1:{server.port}" in caught.value.detail
            assert "s3cret" not in str(caught.value)
        assert server.connections == 2  # none was sent twice


async def test_what_came_before_the_cut_is_delivered(transport: Transport) -> None:
    async with serving(reset_in_chunks) as server, transport.post(server.url, {}, b"{}", local=True) as response:
        chunks = response.chunks()
        assert await anext(chunks) == b"half"
        with pytest.raises(ConnectionLost):
            await anext(chunks)


async def test_a_refused_connection(transport: Transport, unused_tcp_port: int) -> None:
    for local in (True, False):
        with pytest.raises(Unreachable, match=f"127.0.0.1:{unused_tcp_port} cannot be reached"):
            await fetch(transport, f"http://127.0.0.1:{unused_tcp_port}/?key=s3cret", local=local)


async def test_an_unknown_host(transport: Transport, no_proxies: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match=r"model\.invalid:443"):
        await fetch(transport, "https://key:s3cret@model.invalid/v1", local=False)


async def test_tls_to_a_server_without_it(transport: Transport) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        with pytest.raises(Unreachable, match="TLS"):
            await fetch(transport, f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}/")


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1/", "127.0.0.1:11434", "http:///v1", "http://[::1", "file:///etc"])
async def test_an_address_that_is_none(transport: Transport, url: str) -> None:
    for local in (True, False):
        with pytest.raises(Unreachable, match="api_base"):
            await fetch(transport, url, local=local)


async def test_a_key_with_a_line_break(transport: Transport) -> None:
    async with serving(ok) as server:
        with pytest.raises(BadCredentials, match="line break"):
            await fetch(transport, server.url, headers={"authorization": "Bearer a\nHost: evil"})
        assert server.requests == []


async def test_a_pooled_connection_the_server_has_given_up_is_replaced(transport: Transport) -> None:
    def answers() -> Answer:
        seen = 0

        async def answer(exchange: Exchange) -> None:
            nonlocal seen
            seen += 1
            if seen == 2:
                exchange.writer.close()  # the race of every keep-alive: closed just as the next request arrives
            else:
                await ok(exchange)

        return answer

    async with serving(answers()) as server:
        await fetch(transport, server.url)
        assert await fetch(transport, server.url) == b'{"ok":true}'
        assert (server.connections, len(server.requests)) == (2, 3)


# JSON


async def test_json(transport: Transport) -> None:
    async with serving(ok) as server:
        assert await transport.get_json(server.url, local=True, timeout=1) == {"ok": True}
        assert await transport.get_json(server.url, local=True, timeout=1, body=b"{}") == {"ok": True}
        assert [head.split()[0] for head in server.requests] == [b"GET", b"POST"]


async def missing(exchange: Exchange) -> None:
    await exchange.send(sized(b"no", b"404 Not Found"))


async def html(exchange: Exchange) -> None:
    await exchange.send(sized(b"<html>"))


async def slow_body(exchange: Exchange) -> None:
    await exchange.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
    await hang(exchange)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(missing, ServerFailed), (html, BadChunk), (hang, AttemptTimeout), (slow_body, AttemptTimeout)],
)
async def test_json_that_does_not_come(transport: Transport, answer: Answer, error: type[AttemptError]) -> None:
    async with serving(answer) as server:
        with pytest.raises(error):
            await transport.get_json(server.url, local=True, timeout=0.1)


# leaving

Scenario: TypeAlias = Callable[[], Awaitable[None]]


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
