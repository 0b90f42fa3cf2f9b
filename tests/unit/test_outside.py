"""The world outside: case 15 of the hostile cases, with real sockets where one may be opened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from app.errors import AttemptTimeout, EgressBlocked, ServerFailed, SidecarError, Unreachable
from app.llm.outside import Outside, OutsideClient, Reach, check_outside_address

LOCAL = Reach(local=frozenset({"127.0.0.1", "hooks.test"}))


def everywhere() -> Reach:
    return Reach()


def local() -> Reach:
    return LOCAL


@asynccontextmanager
async def server(handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://[::1]/", "http://127.0.0.1/", "http://localhost/",
        "http://x.localhost/", "http://[64:ff9b::7f00:1]/", "http://[64:ff9b:1::a]/", "http://2130706433/",
        "http://0x7f000001/", "http://0x7f.1/", "http://127.1/", "http://0177.0.0.1/", "http://0.0.0.0/",
        "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:169.254.169.254]/", "http://10.0.0.1/",
        "http://192.168.1.1/", "http://172.16.0.1/", "http://100.100.100.200/", "http://[fe80::1]/",
        "http://[fec0::1]/", "http://[::7f00:1]/", "http://[::ffff:0:7f00:1]/",
        "http://[fd00:ec2::254]/", "http://[2002:7f00:1::]/", "http://[2001::1]/", "http://224.0.0.1/",
        "http://127.0.0.1./", "http://user@example.org/", "ftp://example.org/", "file:///etc/passwd",
        "gopher://127.0.0.1/", "http://", "//example.org", "http://exa mple.org:99999/", "http://1.2.3.4.5/",
    ],
)  # fmt: skip
async def test_nothing_of_this_network_is_asked(url: str) -> None:
    def lookup(host: str) -> list[str]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(EgressBlocked):
        await Outside(lookup).request("POST", url, everywhere)


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1", "::1", "10.1.2.3", "fe80::1%1"])
async def test_a_name_that_leads_inside_is_refused_also_beside_a_good_address(address: str) -> None:
    with pytest.raises(EgressBlocked):
        await Outside(lambda host: ["93.184.215.14", address]).request("GET", "http://rebind.example.org/", everywhere)


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "::ffff:127.0.0.1", "64:ff9b::1"])
async def test_a_listed_host_is_never_link_local(address: str) -> None:
    with pytest.raises(EgressBlocked):
        await Outside(lambda host: [address]).request("GET", "http://hooks.test/", local)


async def test_a_listed_host_may_be_this_machine_in_both_families() -> None:
    for address in ("127.0.0.1", "::1"):
        check_outside_address(address, "hooks.test", LOCAL)


async def test_a_name_that_turns_is_asked_at_the_address_that_was_checked() -> None:
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])

    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=request.headers["Host"])

    async with server(handler) as port:
        outside = Outside(lambda host: next(answers))
        answer = await outside.request("GET", f"http://hooks.test:{port}/", local)
        assert (answer.status, answer.body) == (200, f"hooks.test:{port}".encode())
        with pytest.raises(EgressBlocked):
            await outside.request("GET", f"http://hooks.test:{port}/", local)


async def test_redirects_are_checked_and_lose_headers() -> None:
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.path, request.headers.get("X-Secret")))
        if request.path == "/inside":
            raise web.HTTPFound("http://169.254.169.254/")
        if request.path == "/other":
            raise web.HTTPTemporaryRedirect(f"http://hooks.test:{request.url.port}/end")
        return web.Response(text="end")

    async with server(handler) as port:
        outside, base = Outside(lambda host: ["127.0.0.1"]), f"http://127.0.0.1:{port}"
        answer = await outside.request("GET", f"{base}/inside", local)
        assert answer.status == 302
        with pytest.raises(EgressBlocked):
            await outside.request("GET", f"{base}/inside", local, redirects=3)
        client = OutsideClient(outside, local)
        answer = await client.get(f"{base}/other", headers={"X-Secret": "s"})
        assert (answer.body, answer.url) == (b"end", f"http://hooks.test:{port}/end")
        assert seen[-2:] == [("/other", "s"), ("/end", None)]


async def test_sizes_and_times_are_bounded() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            await asyncio.sleep(1)  # the server waits for it at its end
        return web.Response(body=b"x" * 5000)

    async with server(handler) as port:
        with pytest.raises(ServerFailed):
            await Outside().request("GET", f"http://127.0.0.1:{port}/", local, max_bytes=4999)
        with pytest.raises(AttemptTimeout):
            await Outside(seconds=0.05).request("GET", f"http://127.0.0.1:{port}/slow", local)
    with pytest.raises(Unreachable):
        await Outside().request("GET", f"http://127.0.0.1:{port}/", local)


@pytest.mark.parametrize(
    ("url", "allowed"),
    [("http://a.example.org/", True), ("http://example.org/", False), ("http://evil.org/.example.org", False)],
)
async def test_only_listed_hosts(url: str, allowed: bool) -> None:
    reach = Reach(hosts=("*.example.org",))
    with pytest.raises(SidecarError) as caught:
        await Outside(lambda host: []).request("GET", url, lambda: reach)
    assert isinstance(caught.value, Unreachable) == allowed


async def test_a_private_workspace_reaches_what_is_listed_alone() -> None:
    with pytest.raises(EgressBlocked, match="may not leave"):
        await Outside(lambda host: ["93.184.215.14"]).request("GET", "http://example.org/", lambda: Reach(public=False))


NEAR = Reach(public=False, local=frozenset({"127.0.0.1", "gpu.test"}), because="the workspace work is private")


async def test_a_trusted_name_that_leads_to_the_internet_is_not_the_trusted_host() -> None:
    for address in ("10.1.2.3", "127.0.0.1", "fd00::1"):
        check_outside_address(address, "gpu.test", NEAR)
    for address in ("93.184.215.14", "2606:2800:220:1::1"):
        with pytest.raises(EgressBlocked, match="the workspace work is private"):
            check_outside_address(address, "gpu.test", NEAR)
        check_outside_address(address, "gpu.test", Reach(local=NEAR.local))
    check_outside_address("93.184.215.14", "gpu.test", Reach(False, local=NEAR.local | {"93.184.215.14"}))


async def test_a_redirect_asks_again_how_far_the_caller_reaches() -> None:
    reach = [LOCAL]
    looked: list[str] = []
    paths: list[str] = []

    def lookup(host: str) -> list[str]:
        looked.append(host)
        return ["127.0.0.1"]

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        reach[0] = NEAR  # somebody saves profiles.yaml while this is under way
        raise web.HTTPFound(f"http://hooks.test:{request.url.port}/there")

    async with server(handler) as port:
        client = OutsideClient(Outside(lookup), lambda: reach[0])
        with pytest.raises(EgressBlocked, match=r"'hooks\.test' is outside, and the workspace work is private"):
            await client.get(f"http://127.0.0.1:{port}/here")
    assert (paths, looked) == (["/here"], [])


async def test_no_socket_is_opened_once_the_reach_is_gone() -> None:
    reach = [LOCAL]
    connections = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.close()

    def lookup(host: str) -> list[str]:
        reach[0] = NEAR
        return ["127.0.0.1"]

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(EgressBlocked):
            await OutsideClient(Outside(lookup), lambda: reach[0]).get(f"http://hooks.test:{port}/")
    assert connections == 0
