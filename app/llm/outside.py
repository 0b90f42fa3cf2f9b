"""HTTP to the world outside that is no model: feeds that agents read, webhooks that people name.

    request ── scheme, user names ── host in reach? ── look up ── every address checked ── connect to those, no others
                                        ^                                                        │ 3xx, if followed
                                        └────────────────────────────────────────────────────────┘

What is guaranteed, whatever a URL, a name server or an answer says:

- `http` and `https` only; no user name in a URL; a host is a name or an address in its usual spelling (`2130706433`,
  `0x7f.1` and `127.1` are refused, which the C library would read as 127.0.0.1).
- A name is looked up once. Every address it has must be permitted, and the connection goes to one of exactly these: a
  name that answers otherwise a moment later changes nothing.
- Only addresses of the public internet are permitted: nothing private, loopback, link-local (where clouds keep their
  metadata), multicast or unspecified, and nothing that stands for such an address (NAT64, 6to4, Teredo, IPv4-mapped).
  A host listed in `Reach.local` may be loopback or private; never link-local, multicast or unspecified. Where nothing
  may leave (`Reach.public` False) such a name must lead to this machine or a private network.
- How far a caller reaches is asked when a request begins, at each redirect, and for each socket before it is opened:
  a workspace that is made private meanwhile is private to what is under way.
- A redirect is not followed, or each is checked like a first request; to another host it carries no header of the
  caller's.
- No proxy, no cookies, no netrc, no compression; what is read and how long it takes are bounded.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from app import __version__
from app.errors import AttemptTimeout, EgressBlocked, ServerFailed, Unreachable
from app.llm.connections import system_lookup, trusted_roots
from app.llm.egress import IPAddress, is_localhost, normal_host, parse_ip
from app.routing.locality import in_private_range

MAX_BYTES = 2 * 1024 * 1024
TOTAL_SECONDS = 20.0
CONNECT_SECONDS = 5.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STANDS_FOR_ANOTHER = tuple(map(ipaddress.ip_network, (
    "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "::ffff:0:0:0/96"
)))  # fmt: skip
"""NAT64 (RFC 6052, 8215), 6to4, Teredo, IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765): addresses that lead to
an IPv4 address within them."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where a caller may go. `hosts`: patterns such as `*.example.org`; None: any host of the public internet.

    `local`: names and addresses of this machine or network that were listed on purpose. `public` False: only those,
    and `because` says why, for the error ("the workspace `work` is private").
    """

    public: bool = True
    hosts: tuple[str, ...] | None = None
    local: frozenset[str] = frozenset()
    because: str = "this may not leave the machine and its trusted hosts"

    def lists(self, host: str) -> bool:
        return normal_host(host) in self.local


ReachNow: TypeAlias = Callable[[], Reach]
"""The reach in force at the moment it is called."""


@dataclass(frozen=True, slots=True)
class OutsideResponse:
    """What a server outside answered. `headers` have lower-case names; `url` is where it came from in the end."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str


def check_url(url: str, reach: Reach) -> URL:
    """The URL, if its scheme and its host are in reach; nothing is looked up. Raises `EgressBlocked`."""
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        raise EgressBlocked("this is not a URL that can be asked") from None
    if parsed.scheme not in ("http", "https") or not parsed.raw_host or not port:
        raise EgressBlocked("only http:// and https:// with a host can be asked")
    if parsed.user is not None or parsed.password is not None:
        raise EgressBlocked("a URL with a user name or a password is not asked")
    host = normal_host(parsed.raw_host)
    if parse_ip(host) is None and _is_odd_address(host):
        raise EgressBlocked(f"{host[:100]!r} is not an address in its usual spelling")
    if not reach.lists(host):
        _check_public(host, reach)
    return parsed


def _check_public(host: str, reach: Reach) -> None:
    _check_may_leave(host, reach)
    if is_localhost(host):
        raise EgressBlocked(f"{host[:100]!r} is this machine itself, and is not listed as allowed")
    if reach.hosts is not None and not any(_matches(host, pattern) for pattern in reach.hosts):
        raise EgressBlocked(f"{host[:100]!r} is not among the hosts that may be asked")


def _check_may_leave(host: str, reach: Reach) -> None:
    if not reach.public:
        raise EgressBlocked(f"{host[:100]!r} is outside, and {reach.because}")


def _matches(host: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(host, normal_host(pattern))


def _is_odd_address(host: str) -> bool:
    """Whether a resolver could read it as an IPv4 address: its last part is a number, in any base."""
    last = host.rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


def check_outside_address(address: str | IPAddress, host: str, reach: Reach) -> None:
    """Whether a connection to `address`, found under `host`, may be opened. Raises `EgressBlocked`."""
    ip = parse_ip(address.partition("%")[0]) if isinstance(address, str) else address
    if ip is None:
        raise EgressBlocked(f"{host[:100]!r} has no address that can be asked")
    real = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped else ip
    never = (
        real.is_link_local
        or real.is_multicast
        or real.is_unspecified
        # `::1` lies in `::/96` and stands for nothing but itself.
        or (not real.is_loopback and any(real in net for net in _STANDS_FOR_ANOTHER if net.version == real.version))
    )
    # `is_global` takes site-local addresses (RFC 3879: deprecated, and routed inside networks all the same) for public.
    public = real.is_global and not (isinstance(real, ipaddress.IPv6Address) and real.is_site_local)
    if never or real != ip or (not reach.lists(host) and not public):
        raise EgressBlocked(f"{host[:100]!r} leads to {ip}, which may not be asked")
    # A trusted name that a foreign network's name server sends to the internet is not the host that was trusted.
    if not real.is_loopback and not in_private_range(real) and not reach.lists(str(ip)):
        _check_may_leave(host, reach)


@dataclass(slots=True)
class Outside:
    """The client. One per process, on one event loop. `lookup` blocks, and runs in a thread of its own.

    Raises `EgressBlocked` for what may not be asked, `Unreachable`, `AttemptTimeout`, and `ServerFailed` for an answer
    that is too large or breaks off.
    """

    lookup: Callable[[str], Iterable[str]] = system_lookup
    seconds: float = TOTAL_SECONDS
    _threads: ThreadPoolExecutor | None = None
    _tls: Any = field(default=None)

    async def request(
        self,
        method: str,
        url: str,
        reach: ReachNow,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        max_bytes: int = MAX_BYTES,
        redirects: int = 0,
    ) -> OutsideResponse:
        """One request, and up to `redirects` more where the answer sends it on; then a 3xx is an answer like others."""
        given = dict(headers or {})
        try:
            async with asyncio.timeout(self.seconds):
                for left in range(redirects, -1, -1):
                    parsed = check_url(url, reach())
                    answer = await self._once(method, parsed, reach, given, body, max_bytes)
                    target = answer.headers.get("location")
                    if not left or answer.status not in _REDIRECTS or target is None:
                        return answer
                    following = parsed.join(URL(target))
                    if following.origin() != parsed.origin():
                        given = {}
                    if answer.status not in (307, 308):
                        method, body = "GET", None
                    url = str(following)
        except TimeoutError:
            raise AttemptTimeout(f"{_host_of(url)} did not answer within {self.seconds:g} s") from None
        except ValueError:
            raise EgressBlocked(f"{_host_of(url)} redirects to what is no URL") from None
        raise AssertionError("the last round returns")

    async def _once(
        self, method: str, url: URL, reach: ReachNow, headers: Mapping[str, str], body: bytes | None, max_bytes: int
    ) -> OutsideResponse:
        assert url.raw_host is not None
        host = normal_host(url.raw_host)
        addresses = await self._addresses(host, reach)
        pinned = _Pinned(addresses, host, reach)
        connector = aiohttp.TCPConnector(
            resolver=pinned, socket_factory=pinned.open_socket, use_dns_cache=False, force_close=True, limit=1
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        own = {"User-Agent": f"llm-sidecar/{__version__}", "Accept-Encoding": "identity"}
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
                ) as session,
                session.request(
                    method, url, headers={**own, **headers}, data=body, allow_redirects=False, ssl=await self._roots()
                ) as response,
            ):
                data = await _read(response, max_bytes, host)
                kept = {name.lower(): value for name, value in response.headers.items()}
                return OutsideResponse(response.status, kept, data, str(url))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error.__cause__, EgressBlocked):
                raise error.__cause__ from None
            raise Unreachable(f"{host[:100]!r} could not be asked: {type(error).__name__}") from None

    async def _addresses(self, host: str, reach: ReachNow) -> tuple[str, ...]:
        """Every address of `host`, each checked."""
        if parse_ip(host) is not None:
            found: tuple[str, ...] = (host,)
        else:
            if self._threads is None:
                self._threads = ThreadPoolExecutor(max_workers=4, thread_name_prefix="outside-names")
            try:
                looking = asyncio.get_running_loop().run_in_executor(self._threads, self.lookup, host)
                found = tuple(await looking)
            except OSError:
                found = ()
        if not found:
            raise Unreachable(f"{host[:100]!r} is not known in this network")
        for address in found:
            check_outside_address(address, host, reach())
        return found

    async def _roots(self) -> Any:
        if self._tls is None:
            self._tls = await asyncio.to_thread(trusted_roots)
        return self._tls

    def close(self) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


@dataclass(frozen=True, slots=True)
class OutsideClient:
    """An `Outside` with one caller's reach: what an agent is given."""

    outside: Outside
    reach: ReachNow
    redirects: int = 5

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, max_bytes: int | None = None
    ) -> OutsideResponse:
        """The answer, whatever its status. Raises like `Outside`."""
        return await self.outside.request(
            "GET", url, self.reach, headers=headers, max_bytes=max_bytes or MAX_BYTES, redirects=self.redirects
        )


class _Pinned(AbstractResolver):
    """Answers with the addresses that were checked, and lets no socket be opened to another."""

    def __init__(self, addresses: tuple[str, ...], host: str, reach: ReachNow) -> None:
        self._addresses = addresses
        self._host = host
        self._reach = reach

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        return None

    def open_socket(self, info: Any) -> socket.socket:
        check_outside_address(str(info[4][0]), self._host, self._reach())
        return socket.socket(family=info[0], type=info[1], proto=info[2])


async def _read(response: aiohttp.ClientResponse, max_bytes: int, host: str) -> bytes:
    body = bytearray()
    while data := await response.content.readany():
        body += data
        if len(body) > max_bytes:
            raise ServerFailed(f"{host[:100]!r} answered with more than {max_bytes} bytes")
    return bytes(body)


def _host_of(url: str) -> str:
    try:
        return repr((URL(url).raw_host or "")[:100])
    except ValueError:
        return "the host"
