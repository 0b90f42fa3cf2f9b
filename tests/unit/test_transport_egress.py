"""Where the transport may connect, over real sockets: this machine, trusted names, proxies, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from app.errors import EgressBlocked, Unreachable
from app.llm.connections import LocalGate, environment_proxy
from app.llm.egress import EgressPolicy, applying
from app.llm.transport import Transport
from tests.fakes.raw_server import Exchange, fetch, ok, serving, sized


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport() as opened:
        yield opened


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


async def test_a_proxy_that_is_no_url_is_not_gone_round(transport: Transport, no_proxies: pytest.MonkeyPatch) -> None:
    no_proxies.setenv("HTTP_PROXY", "http://[::1")
    with pytest.raises(Unreachable, match="no URL"):
        await fetch(transport, "http://model.example.com/v1", local=False)


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


async def test_an_unknown_host(transport: Transport, no_proxies: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unreachable, match=r"model\.invalid:443"):
        await fetch(transport, "https://key:s3cret@model.invalid/v1", local=False)
