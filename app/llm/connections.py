"""The two ways out of this process: connectors for local calls and for cloud calls, and the proxies of the latter.

The local connector is built so that it has no way of reaching anything else: its resolver never asks a name server on
behalf of a host that is not trusted, and every socket it opens is checked against the policy by the address it is
about to be connected to. Proxies exist for the cloud one alone.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from app.errors import Unreachable
from app.llm.egress import EgressPolicy, check_address, check_host, is_localhost, is_loopback, normal_host, parse_ip

KEEPALIVE_SECONDS = 45.0
PIN_SECONDS = 300.0
"""How long the address of a trusted name is used before the name is looked up again."""
LOOKUP_SECONDS = 3.0
PROXY_SECONDS = 60.0
"""How long the environment's proxy settings are believed: desktop systems change them with the network."""

AddrInfo: TypeAlias = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[Any, ...]]
LOCALHOST = ("127.0.0.1", "::1")


@dataclass(slots=True)
class Opening:
    """What happened while a request was put on its way. `fresh`: a new connection was opened for it."""

    fresh: bool = False
    transport: asyncio.Transport | None = None


opening: ContextVar[Opening | None] = ContextVar("opening", default=None)


class _Handler(ResponseHandler):
    """Fails the body when its connection is gone.

    aiohttp 3.14 tells nobody who is reading when it closes the connection itself, on a malformed chunk and at the end
    of the session: the reader would wait until its own time-out.
    """

    def connection_lost(self, exc: BaseException | None) -> None:
        with self._body_must_end():
            super().connection_lost(exc)

    def close(self) -> None:
        with self._body_must_end():
            super().close()

    @contextmanager
    def _body_must_end(self) -> Iterator[None]:
        body = self._payload
        yield
        if body is not None and not body.is_eof() and body.exception() is None:
            body.set_exception(aiohttp.ClientPayloadError("the connection ended within the body"))


class _Connector(aiohttp.TCPConnector):
    """Tells the `Opening` of the current request which connection it got."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        handler: Callable[..., ResponseHandler] = _Handler
        self._factory = partial(handler, loop=self._loop)

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:
        connection = await super().connect(req, traces, timeout)
        if (current := opening.get()) is not None:
            current.transport = connection.transport
        return connection


def _open_socket(info: AddrInfo) -> socket.socket:
    if (current := opening.get()) is not None:
        current.fresh = True
    return socket.socket(family=info[0], type=info[1], proto=info[2])


@dataclass(frozen=True, slots=True)
class _Pin:
    addresses: tuple[str, ...]
    until: float


@dataclass(slots=True)
class LocalGate:
    """Which addresses local calls may use now. One per transport, used from one event loop.

    `lookup(host)` gives a trusted name's addresses; it runs in a thread of its own, away from the loop's executor.
    """

    policy: EgressPolicy
    lookup: Callable[[str], Iterable[str]]
    monotonic: Callable[[], float] = time.monotonic
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What the hosts file says about names: one that leads to loopback only is as good as `localhost`."""
    _pins: dict[str, _Pin] = field(default_factory=dict)
    _threads: ThreadPoolExecutor | None = None

    def replace(self, policy: EgressPolicy, hosts: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """Another set of trusted hosts, from the next call on; and of names, where they are given."""
        self.policy = policy
        self.hosts = self.hosts if hosts is None else hosts
        self._pins.clear()

    async def admit(self, host: str) -> EgressPolicy:
        """The policy under which `host` may be called, the addresses of a trusted name pinned in it.

        Raises `EgressBlocked` without a look-up where the host is neither of this machine nor trusted, and after one
        where a trusted name leads to the internet; `Unreachable` where a trusted name has no address.
        """
        policy = self.policy
        name = normal_host(host)
        if self._own_name(name):
            return policy
        check_host(policy, host)
        if is_localhost(name) or parse_ip(name) is not None:
            return policy
        pin = self._pins.get(name)
        if pin is None or pin.until <= self.monotonic():
            addresses = await self._look_up(name)
            for address in addresses:
                check_address(policy, address, name)
            pin = self._pins[name] = _Pin(addresses, self.monotonic() + PIN_SECONDS)
        return policy.trusting_also(pin.addresses)

    def _own_name(self, name: str) -> bool:
        addresses = self.hosts.get(name, ())
        return bool(addresses) and all(map(is_loopback, addresses))

    async def _look_up(self, name: str) -> tuple[str, ...]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="trusted-names")
        found = asyncio.get_running_loop().run_in_executor(self._threads, self.lookup, name)
        try:
            addresses = tuple(await asyncio.wait_for(found, LOOKUP_SECONDS))
        except TimeoutError:
            raise Unreachable(f"the trusted host {name!r} could not be looked up in {LOOKUP_SECONDS:g} s") from None
        except OSError:
            addresses = ()
        if not addresses:
            raise Unreachable(f"the trusted host {name!r} is not known in this network")
        return addresses

    def addresses(self, host: str) -> tuple[str, ...]:
        """What `admit` found; never a look-up."""
        name = normal_host(host)
        if is_localhost(name):
            return LOCALHOST
        if self._own_name(name):
            return self.hosts[name]
        pin = self._pins.get(name)
        return pin.addresses if pin is not None else ()

    def open_socket(self, info: AddrInfo) -> socket.socket:
        """A socket for `info`'s address, if the policy permits that very address. Raises `EgressBlocked`."""
        address = str(info[4][0])
        if not is_loopback(address):
            pinned = next((name for name, pin in self._pins.items() if address in pin.addresses), address)
            check_address(self.policy, address, pinned)
        return _open_socket(info)

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def system_lookup(name: str) -> list[str]:
    """A name's addresses as the system knows them. Blocks; raises `OSError`."""
    infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in infos))


class _LocalResolver(AbstractResolver):
    """Answers from the gate's pins; has no way of asking anybody."""

    def __init__(self, gate: LocalGate) -> None:
        self._gate = gate

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = [_result(host, address, port) for address in self._gate.addresses(host)]
        if not found:
            raise OSError(None, "not a local host")
        return found

    async def close(self) -> None:
        return None


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


def local_connector(gate: LocalGate) -> aiohttp.TCPConnector:
    """Reaches loopback and trusted addresses and nothing else."""
    return _Connector(
        resolver=_LocalResolver(gate),
        socket_factory=gate.open_socket,
        use_dns_cache=False,
        happy_eyeballs_delay=None,  # one address after the other: a refusal on this machine takes no time
        limit=0,
        keepalive_timeout=KEEPALIVE_SECONDS,
    )


def cloud_connector() -> aiohttp.TCPConnector:
    return _Connector(socket_factory=_open_socket, limit=0, keepalive_timeout=KEEPALIVE_SECONDS, ttl_dns_cache=60)


def trusted_roots() -> ssl.SSLContext:
    """TLS by the certificates of the system and of certifi, or by SSL_CERT_FILE and SSL_CERT_DIR alone. Reads files.

    Both, because a company's own authority is in the system's store, and some Pythons on macOS find no such store.
    """
    context = ssl.create_default_context()
    if not (os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")):
        context.load_verify_locations(cafile=certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


@dataclass(slots=True)
class Proxies:
    """The environment's proxy for a cloud address. On desktop systems this reads the system's settings and may block,
    so it runs in a thread, and an answer is kept for a minute."""

    monotonic: Callable[[], float] = time.monotonic
    _known: dict[tuple[str, str], tuple[str | None, float]] = field(default_factory=dict)

    async def proxy_for(self, scheme: str, host: str) -> str | None:
        """The proxy's URL, or None. Raises `Unreachable` for a kind of proxy that cannot be used: going round it
        would be the opposite of what the person set up."""
        known = self._known.get((scheme, host))
        if known is None or known[1] <= self.monotonic():
            proxy = await asyncio.to_thread(environment_proxy, scheme, host)
            known = self._known[scheme, host] = (proxy, self.monotonic() + PROXY_SECONDS)
        proxy = known[0]
        if proxy is None:
            return None
        try:
            kind = urlsplit(proxy).scheme
        except ValueError:
            raise Unreachable(f"the proxy that the environment names for {host} is no URL") from None
        if kind not in ("http", "https"):
            raise Unreachable(f"the environment names a {kind} proxy for {host}; only http and https proxies work")
        return proxy


def environment_proxy(scheme: str, host: str) -> str | None:
    """The proxy URL for a host by HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and the system's settings, or None.

    Never one for an address of this machine. Blocks.
    """
    if is_localhost(host) or is_loopback(normal_host(host)) or proxy_bypass(host):
        return None
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy:
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
