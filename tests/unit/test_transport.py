"""What arrives over real sockets, whole or cut short, and what the transport makes of a server's faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.errors import AttemptError, AttemptTimeout, BadChunk, BadCredentials, ConnectionLost, ServerFailed, Unreachable
from app.llm.transport import Transport
from tests.fakes.raw_server import CHUNKED, Answer, Exchange, chunk, drip, fetch, hang, ok, serving, sized


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport() as opened:
        yield opened


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
