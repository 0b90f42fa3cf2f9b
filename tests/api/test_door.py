"""Who may ask, from where, and how much: over real sockets, because that is what a hostile page or program sends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from app.api.security import Door, DoorPolicy
from app.api.starting import Starting
from tests.fakes.scripted_chat import TOKEN, Scripted, ending, header_lines, opening, raw, scripted, serving, texts

AUTH = b"Authorization: Bearer %b\r\n" % TOKEN.encode()


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scripted]:
    async with scripted(tmp_path_factory.mktemp("data"), opening(), texts("hi"), [ending()]) as running:
        yield running


@pytest.fixture
def sidecar(running: Scripted) -> Scripted:
    """One server for the whole file; each test counts its own requests."""
    running.chat.requests.clear()
    return running


def get(path: str, *lines: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n" % path.encode() + b"".join(lines) + b"\r\n"


def host(sidecar: Scripted) -> bytes:
    return b"Host: 127.0.0.1:%d\r\n" % sidecar.port


def problem(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (b"content-type", b"application/problem+json") in header_lines(head + b"\r\n")
    found: dict[str, Any] = json.loads(body)
    assert {"type", "title", "status", "detail", "code", "request_id"} <= found.keys()
    return found


async def test_a_probe_may_ask_for_the_head_of_health_alone(sidecar: Scripted) -> None:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{sidecar.port}", trust_env=False) as stranger:
        response = await stranger.head("/health")
        assert (response.status_code, response.content) == (200, b"")
        assert (await stranger.get("/health")).status_code == 200


async def test_health_needs_no_token_and_all_else_does(sidecar: Scripted) -> None:
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as stranger:
        health = await stranger.get("/health")
        assert health.status_code == 200
        assert health.json() == {"status": "ok", "version": health.json()["version"], "instance_id": "instance"}
        document = (await sidecar.http.get("/openapi.json")).json()
        paths = [path for path in document["paths"] if path != "/health"]
        for path in [
            *paths,
            "/",
            "/web/main.js",
            "/web/plotly.min.js",
            "/openapi.json",
            "/docs",
            "/redoc",
            "/nothing",
            "/health/",
            "//health",
        ]:
            for method in ("GET", "POST"):
                answer = await stranger.request(method, path)
                assert answer.status_code == 401, (method, path)
                assert answer.headers["www-authenticate"].startswith("Bearer")
    assert len(paths) >= 8


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"Authorization": f"bearer {TOKEN}"},
        {"x-api-key": TOKEN},
    ],
)
async def test_the_token_is_taken_in_two_ways(sidecar: Scripted, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as client:
        assert (await client.get("/api/v1/health", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": f"Bearer {TOKEN.upper()}"},
        {"x-api-key": "wrong"},
        {"Cookie": f"token={TOKEN}"},
        {"Cookie": f"sidecar_token={TOKEN}"},
        {"Cookie": f"sidecar_session_{{port}}={TOKEN}", "Sec-Fetch-Site": "same-origin"},
        {"Cookie": 'sidecar_session_{port}="\\777', "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_no_token_and_a_wrong_one_get_the_same_answer(sidecar: Scripted, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=sidecar.http.base_url, trust_env=False) as client:
        sent = {name: value.replace("{port}", str(sidecar.port)) for name, value in headers.items()}
        answer = await client.get("/api/v1/health", headers={**sent, "X-Request-Id": "same"})
        reference = await client.get("/api/v1/health", headers={"X-Request-Id": "same"})
    assert answer.status_code == 401
    assert answer.content == reference.content


async def test_a_token_in_the_address_opens_nothing_and_is_not_logged(
    sidecar: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    escaped = "".join(f"%{ord(c):02x}" for c in TOKEN)
    for query in (f"token={TOKEN}", f"access_token={TOKEN}", f"x={escaped}"):
        status, _ = await raw(sidecar.port, get(f"/api/v1/rules?{query}", host(sidecar)))
        assert status == 401
        # Beside the right header too: whoever writes it there learns that it must not be.
        status, _ = await raw(sidecar.port, get(f"/api/v1/health?{query}", host(sidecar), AUTH))
        assert status == 401
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    "value",
    [
        "evil.com", "evil.com:{port}", "localhost.evil.com:{port}", "localhost.:{port}", "127.0.0.1/health?x=", "",
        "127.0.0.1", "127.0.0.1:1", "127.0.0.2:{port}", "2130706433:{port}", "[::1]", "user@127.0.0.1:{port}",
        "127.0.0.1:{port}, evil.com",
    ],
)  # fmt: skip
async def test_another_name_is_misdirected(sidecar: Scripted, value: str) -> None:
    line = f"Host: {value.format(port=sidecar.port)}\r\n".encode()
    for path in ("/health", "/api/v1/health"):
        status, answer = await raw(sidecar.port, get(path, line, AUTH))
        assert status == 421
        assert problem(answer)["code"] == "misdirected_request"


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LocalHost", "[::1]"])
async def test_its_own_names_are_taken(sidecar: Scripted, name: str) -> None:
    status, _ = await raw(sidecar.port, get("/health", f"Host: {name}:{sidecar.port}\r\n".encode()))
    assert status == 200


async def test_no_host_and_two_hosts_are_bad_requests(sidecar: Scripted) -> None:
    for lines in ([], [host(sidecar), host(sidecar)], [host(sidecar), b"Host: evil.com\r\n"]):
        status, answer = await raw(sidecar.port, get("/health", *lines, AUTH))
        assert status == 400
        assert problem(answer)["code"] == "bad_host"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.com", "null", "http://tauri.localhost.evil.com", "", "*", "tauri://localhost.evil.com",
        "tauri://localhost/", "http://127.0.0.1", "http://127.0.0.1:1", "https://127.0.0.1:{port}", "file://",
    ],
)  # fmt: skip
async def test_a_foreign_page_is_refused_without_a_cors_header(sidecar: Scripted, origin: str) -> None:
    line = f"Origin: {origin.format(port=sidecar.port)}\r\n".encode()
    asked = b"Access-Control-Request-Method: POST\r\n"
    for request in (
        get("/api/v1/health", host(sidecar), line, AUTH),
        get("/health", host(sidecar), line),
        b"OPTIONS /api/v1/chat HTTP/1.1\r\n" + host(sidecar) + line + asked + b"\r\n",
    ):
        status, answer = await raw(sidecar.port, request)
        assert status == 403
        assert b"access-control" not in answer.lower()


@pytest.mark.parametrize(
    "origin",
    [
        "tauri://localhost",
        "http://tauri.localhost",
        "https://tauri.localhost",
        "http://localhost:{port}",
        "https://a.b",
    ],
)
async def test_an_allowed_page_may_ask_and_read(tmp_path: Path, origin: str) -> None:
    async with scripted(tmp_path, allowed_origins="https://a.b,https://c.d") as sidecar:
        named = origin.format(port=sidecar.port)
        answer = await sidecar.http.get("/api/v1/health", headers={"Origin": named})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == named
        assert answer.headers["vary"] == "Origin"
        # It may read why it was refused, too.
        refused = await sidecar.http.get("/api/v1/health", headers={"Origin": named, "Authorization": "Bearer no"})
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, named)
        preflight = await sidecar.http.options(
            "/api/v1/chat",
            headers={"Origin": named, "Access-Control-Request-Method": "POST", "Authorization": ""},
        )
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-origin"] == named
        allowed = preflight.headers["access-control-allow-headers"].split(", ")
        # What a page must be able to send: its token, and where it stopped reading before it was loaded anew.
        assert {"Authorization", "Content-Type", "X-Request-Id", "Last-Event-ID", "Idempotency-Key"} <= set(allowed)


async def test_two_origins_are_none(sidecar: Scripted) -> None:
    lines = b"Origin: tauri://localhost\r\nOrigin: https://evil.com\r\n"
    assert (await raw(sidecar.port, get("/api/v1/health", host(sidecar), AUTH, lines)))[0] == 403


async def test_listed_hosts_are_taken_as_they_are_listed(tmp_path: Path) -> None:
    async with scripted(tmp_path, allowed_hosts="box.lan:8765") as sidecar:
        assert (await raw(sidecar.port, get("/health", b"Host: box.lan:8765\r\n")))[0] == 200
        assert (await raw(sidecar.port, get("/health", b"Host: box.lan\r\n")))[0] == 421
        assert (await raw(sidecar.port, get("/health", b"Host: sub.box.lan:8765\r\n")))[0] == 421


async def test_preflights_without_an_origin_are_ordinary_requests(sidecar: Scripted) -> None:
    asked = b"Access-Control-Request-Method: POST\r\n"
    request = b"OPTIONS /api/v1/chat HTTP/1.1\r\n" + host(sidecar) + asked
    assert (await raw(sidecar.port, request + b"\r\n"))[0] == 401
    assert (await raw(sidecar.port, request + AUTH + b"\r\n"))[0] == 405


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
     "application/json; charset=utf-16", "text/json", ""],
)  # fmt: skip
async def test_only_json_is_read(sidecar: Scripted, content_type: str) -> None:
    answer = await sidecar.http.post("/api/v1/chat", content=b'{"query": "hi"}', headers={"Content-Type": content_type})
    assert answer.status_code == 415
    assert sidecar.chat.requests == []


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_is_read(sidecar: Scripted, content_type: str) -> None:
    answer = await sidecar.http.post("/api/v1/chat", content=b'{"query": "hi"}', headers={"Content-Type": content_type})
    assert answer.status_code == 200


LIMIT = 16 * 1024 * 1024


def padded(size: int) -> bytes:
    return b'{"query": "' + b"x" * (size - 13) + b'"}'


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(sidecar: Scripted) -> None:
    json_type = {"Content-Type": "application/json"}
    exact = await sidecar.http.post("/api/v1/chat", content=padded(LIMIT), headers=json_type)
    assert exact.status_code == 200
    over = await sidecar.http.post("/api/v1/chat", content=padded(LIMIT + 1), headers=json_type)
    assert over.status_code == 413
    assert over.json()["code"] == "body_too_large"

    async def pieces(size: int) -> AsyncIterator[bytes]:
        body = padded(size)
        for start in range(0, size, 1 << 20):
            yield body[start : start + (1 << 20)]

    chunked = await sidecar.http.post("/api/v1/chat", content=pieces(LIMIT), headers=json_type)
    assert chunked.status_code == 200
    over = await sidecar.http.post("/api/v1/chat", content=pieces(LIMIT + 1), headers=json_type)
    assert over.status_code == 413
    assert len(sidecar.chat.requests) == 2


async def test_a_length_that_is_a_lie_is_refused_before_the_body_comes(sidecar: Scripted) -> None:
    head = b"POST /api/v1/chat HTTP/1.1\r\n" + host(sidecar) + AUTH + b"Content-Type: application/json\r\n"
    status, _ = await raw(sidecar.port, head + b"Content-Length: 99999999999\r\n\r\n")
    assert status == 413


@pytest.mark.parametrize(("method", "path"), [("GET", "/nothing"), ("GET", "/api/v1/nothing"), ("GET", "/docs")])
async def test_nothing_at_a_path_is_a_problem(sidecar: Scripted, method: str, path: str) -> None:
    answer = await sidecar.http.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_wrong_method_is_a_problem_that_names_the_right_one(sidecar: Scripted) -> None:
    answer = await sidecar.http.get("/api/v1/chat")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


async def test_a_request_id_is_kept_where_it_is_well_formed(sidecar: Scripted) -> None:
    answer = await sidecar.http.get("/nothing", headers={"X-Request-Id": "mine-1:2.3_4"})
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "mine-1:2.3_4"
    for bad in ("a b", "x" * 129, "<script>", ""):
        answer = await sidecar.http.get("/nothing", headers={"X-Request-Id": bad})
        assert len(answer.headers["x-request-id"]) == 32
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_head_that_comes_a_byte_at_a_time_is_cut(tmp_path: Path) -> None:
    async with scripted(tmp_path, head_seconds=0.4) as sidecar:
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        started = time.monotonic()
        closed = asyncio.create_task(reader.read())
        for byte in get("/health", host(sidecar), b"X: " + b"y" * 1000):
            if closed.done():
                break
            writer.write(bytes([byte]))
            await asyncio.wait({closed}, timeout=0.05)
        with contextlib.suppress(ConnectionError):
            assert await closed == b""
        assert 0.3 < time.monotonic() - started < 2
        writer.close()
        # And so is one that never begins, after an answer as well as before.
        reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
        writer.write(get("/health", host(sidecar)))
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        for _ in range(40):
            writer.write(b"\r\n")
            await asyncio.sleep(0.05)
            if reader.at_eof() or reader.exception():
                break
        assert reader.at_eof() or reader.exception()
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"BREW /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST /api/v1/chat HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_too(sidecar: Scripted, sent: bytes) -> None:
    status, answer = await raw(sidecar.port, sent)
    assert (status, problem(answer)["code"]) == (400, "malformed_request")


async def test_a_packed_body_is_not_unpacked(sidecar: Scripted) -> None:
    for encoding, status in (("gzip", 415), ("br, gzip", 415), ("identity", 200)):
        headers = {"Content-Encoding": encoding, "Content-Type": "application/json"}
        answer = await sidecar.http.post("/api/v1/chat", content=b'{"query":"hi"}', headers=headers)
        assert answer.status_code == status, encoding
    assert len(sidecar.chat.requests) == 1


async def test_a_head_without_end_is_cut_by_size(sidecar: Scripted) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", sidecar.port)
    writer.write(b"GET /health HTTP/1.1\r\nX: " + b"y" * 200_000)
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(3):
            assert await reader.read() == b""
    writer.close()


async def test_the_door_stands_while_the_program_behind_it_is_still_starting(sidecar: Scripted) -> None:
    starting = Starting(DoorPolicy(TOKEN))
    async with serving(starting, lifespan="off") as port:
        own = b"Host: 127.0.0.1:%d\r\n" % port
        status, answer = await raw(port, get("/health", own))
        assert (status, json.loads(answer.partition(b"\r\n\r\n")[2])["status"]) == (200, "starting")
        assert (await raw(port, get("/health", b"Host: evil.com\r\n")))[0] == 421
        assert (await raw(port, get("/health", own, b"Origin: https://evil.com\r\n")))[0] == 403
        early = asyncio.create_task(raw(port, get("/api/v1/health", own)))
        await asyncio.sleep(0.05)
        assert not early.done()
        starting.hand_over(sidecar.app)
        # The program's own door answers what waited.
        assert (await early)[0] == 401
        status, answer = await raw(port, get("/health", own))
        assert (status, json.loads(answer.partition(b"\r\n\r\n")[2])["status"]) == (200, "ok")


async def test_a_body_that_comes_too_slowly_is_given_up(sidecar: Scripted) -> None:
    patient = Door(sidecar.app, DoorPolicy(TOKEN, body_seconds=0.2))
    async with serving(patient) as port:
        head = b"POST /api/v1/chat HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n" % port
        head += AUTH + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        status, answer = await raw(port, head + b'{"query"')
        assert (status, problem(answer)["code"]) == (408, "body_timeout")
    assert sidecar.chat.requests == []
