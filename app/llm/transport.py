"""Our own HTTP. Every byte to a model goes through here, so here stands the egress policy.

    post(local=True)  ──> LocalGate.admit ──> local session   loopback and trusted addresses, no proxy, ever
    post(local=False) ──> Proxies         ──> cloud session   a proxy from the environment, where there is one

Neither follows a redirect (a 3xx is a status like any other), keeps a cookie, reads a netrc or asks for compression.
Time-outs of an answer are the caller's; only connecting is bounded here.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from app import __version__
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
from app.llm.connections import (
    LocalGate,
    Opening,
    Proxies,
    cloud_connector,
    local_connector,
    opening,
    system_lookup,
    trusted_roots,
)
from app.llm.egress import EgressPolicy, applying, running_policy

LOCAL_CONNECT_SECONDS = 3.0
CLOUD_CONNECT_SECONDS = 10.0
ERROR_BODY_BYTES = 65_536
ERROR_BODY_SECONDS = 5.0
JSON_BODY_BYTES = 8 * 1024 * 1024
LINGER_SECONDS = 1.0
"""How long an answer's HTTP end is waited for after its end mark was read, so that its connection can be reused."""
PIECEWISE_BYTES = 1024 * 1024
"""A body above this is written in pieces: aiohttp hands a bytes object to the socket whole, and warns about it."""
STALE_RETRIES = 2
"""Pooled connections that may turn out closed before a request gives up on finding a living one."""

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": f"llm-sidecar/{__version__}"}


class Response:
    """An answer whose head has arrived. Valid inside the `async with` that gave it."""

    __slots__ = ("_inner", "_streamed", "_where", "headers", "status")

    def __init__(self, inner: aiohttp.ClientResponse, where: str) -> None:
        self._inner = inner
        self._where = where
        self._streamed = False
        self.status = inner.status
        self.headers: Mapping[str, str] = inner.headers
        """Case-insensitive."""

    async def read(self, limit: int = ERROR_BODY_BYTES, seconds: float = ERROR_BODY_SECONDS) -> bytes:
        """What an error says: at most `limit` bytes, and what came within `seconds`. Raises nothing: the status is
        known, and a body that breaks off is still worth its beginning."""
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while len(body) < limit and (data := await self._inner.content.readany()):
                    body += data
        except (TimeoutError, aiohttp.ClientError, OSError, RuntimeError):
            pass
        return bytes(body[:limit])

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The body as it arrives: one item per network read, none empty.

        Raises `ConnectionLost` where it breaks before its HTTP end. Whether the *answer* was whole only the provider's
        own end mark tells: a body without a length ends the same way whether it was finished or cut.
        """
        self._streamed = True
        readany = self._inner.content.readany
        try:
            while data := await readany():
                yield data
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # RuntimeError is what aiohttp says to a read on a connection that was closed under it.
            raise ConnectionLost(f"the connection to {self._where} broke in mid-answer") from error

    def close(self) -> None:
        """Close the socket at once, unread data and all; an answer read to its end has already given it back."""
        connection = self._inner.connection
        transport = connection.transport if connection is not None else None
        self._inner.close()
        if transport is not None:
            transport.abort()

    def finish(self, lingering: set[Response]) -> None:
        """The caller has all it wants: give the connection back once the rest of the HTTP framing has arrived.

        Until then the response is in `lingering`.
        """
        content = self._inner.content
        if content.at_eof() or self._inner.closed:
            self._inner.release()
        elif not self._streamed or content.exception() is not None:
            self.close()
        else:
            lingering.add(self)
            timer = asyncio.get_running_loop().call_later(LINGER_SECONDS, self._hang_up, lingering)
            content.on_eof(partial(self._ended, lingering, timer))

    def _hang_up(self, lingering: set[Response]) -> None:
        lingering.discard(self)
        self.close()

    def _ended(self, lingering: set[Response], timer: asyncio.TimerHandle) -> None:
        lingering.discard(self)
        timer.cancel()


class Call:
    """`async with` one request: sends it, gives the `Response`, and closes the socket if the block is left early."""

    __slots__ = ("_arguments", "_response", "_transport")

    def __init__(self, transport: Transport, arguments: tuple[str, str, Mapping[str, str], bytes | None, bool]) -> None:
        self._transport = transport
        self._arguments = arguments
        self._response: Response | None = None

    async def __aenter__(self) -> Response:
        self._response = await self._transport._send(*self._arguments)
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._response is None:
            return
        if kind is None:
            self._response.finish(self._transport._lingering)
        else:
            self._response.close()


class Transport:
    """Two HTTP sessions, one that cannot leave the machine and its trusted hosts, and one that can.

    Belongs to the event loop it is opened in. Raises `AttemptError`s only.
    """

    def __init__(self, policy: EgressPolicy | None = None, gate: LocalGate | None = None) -> None:
        self._gate = gate or LocalGate(policy or EgressPolicy.local_only(), system_lookup)
        self._proxies = Proxies()
        self._local: aiohttp.ClientSession | None = None
        self._cloud: aiohttp.ClientSession | None = None
        self._tls: asyncio.Future[Any] | None = None
        self._lingering: set[Response] = set()
        self._closed = False

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def trust(self, policy: EgressPolicy, hosts: Mapping[str, tuple[str, ...]] | None = None) -> None:
        """The configuration was read: these hosts are trusted from the next call on.

        `hosts` is what the hosts file says about the names of the configured endpoints (`hosts_file_addresses`).
        """
        self._gate.replace(policy, hosts)

    async def open(self) -> None:
        """Opens no socket."""
        self._local = _session(local_connector(self._gate), LOCAL_CONNECT_SECONDS)
        self._cloud = _session(cloud_connector(), CLOUD_CONNECT_SECONDS)

    async def aclose(self) -> None:
        """Close every connection; calls under way end in `ConnectionLost`."""
        self._closed = True
        for response in tuple(self._lingering):
            response.close()
        self._lingering.clear()
        for session in (self._local, self._cloud):
            if session is not None:
                await session.close()
        self._gate.close()

    def post(self, url: str, headers: Mapping[str, str], body: bytes, *, local: bool) -> Call:
        """One POST. `local`: the call may not leave the machine, or need not; then no proxy applies either.

        Entering raises `EgressBlocked` before a socket is opened or a name looked up, `Unreachable` (refused, no route,
        unknown host, TLS, no connection in time), `ConnectionLost` (broken before an answer), `BadChunk` (not HTTP).
        """
        return Call(self, ("POST", url, headers, body, local))

    async def get_json(
        self,
        url: str,
        *,
        local: bool,
        timeout: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:
        """The JSON a server answers to a GET, or to a POST where there is a `body`. `timeout`: seconds for all of it.

        Raises what `post` raises, `AttemptTimeout`, `ServerFailed` for any status but 200, `BadChunk` for no JSON.
        """
        try:
            async with asyncio.timeout(timeout):
                return await self._json(("GET" if body is None else "POST", url, headers or {}, body, local), timeout)
        except TimeoutError:
            raise AttemptTimeout(f"{_where(URL(url))} did not answer within {timeout:g} s") from None

    async def _json(self, arguments: tuple[str, str, Mapping[str, str], bytes | None, bool], seconds: float) -> Any:
        async with Call(self, arguments) as response:
            data = await response.read(JSON_BODY_BYTES, 2 * seconds)  # the caller's time-out comes first
            where = _where(URL(arguments[1]))
            if response.status != 200:
                raise ServerFailed(f"{where} answered {response.status}", provider_status=response.status)
            try:
                return orjson.loads(data)
            except ValueError:
                raise BadChunk(f"{where} did not answer with JSON") from None

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, local: bool
    ) -> Response:
        target = _parse(url)
        if self._closed:
            raise Unreachable("the sidecar is shutting down")
        if self._local is None or self._cloud is None:
            await self.open()
        host = target.raw_host or ""
        if local:
            assert self._local is not None
            policy = await self._gate.admit(host)
            return await self._send_by(self._local, policy, None, method, target, headers, body)
        assert self._cloud is not None
        running = running_policy()
        if running is not None and not running.allows_cloud:
            raise EgressBlocked(f"{host!r} is in the cloud and this request may not leave the machine")
        proxy = await self._proxies.proxy_for(target.scheme, host)
        policy = EgressPolicy.cloud_allowed()
        return await self._send_by(self._cloud, policy, proxy, method, target, headers, body)

    async def _send_by(
        self,
        session: aiohttp.ClientSession,
        policy: EgressPolicy,
        proxy: str | None,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Response:
        """Send, once more where a pooled connection turns out to have been closed by the server in the meantime."""
        where = _where(url)
        tls = await self._tls_context() if "https" in (url.scheme, (proxy or "")[:5]) else True
        for retries_left in range(STALE_RETRIES, -1, -1):
            attempt = Opening()
            marked = opening.set(attempt)
            try:
                with applying(policy):
                    inner = await session._request(  # without the context manager around it: `Call` is ours
                        method, url, headers=headers, data=_payload(body), allow_redirects=False, proxy=proxy, ssl=tls
                    )
                return Response(inner, where)
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
                stale = not attempt.fresh and not isinstance(error, aiohttp.ClientConnectorError)
                if not (stale and retries_left):
                    raise _translated(error, where) from error
            except (aiohttp.ClientError, OSError, ValueError, RuntimeError) as error:
                raise _translated(error, where) from error
            except BaseException:
                # Cancelled: aiohttp closes politely, which waits for unsent bytes that a hanging server never takes.
                if attempt.transport is not None:
                    attempt.transport.abort()
                raise
            finally:
                opening.reset(marked)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _tls_context(self) -> Any:
        if self._tls is None:
            self._tls = asyncio.get_running_loop().run_in_executor(None, trusted_roots)
        try:
            return await asyncio.shield(self._tls)
        except OSError as error:
            self._tls = None
            raise Unreachable(
                f"the certificates for TLS cannot be read ({error.strerror}); see SSL_CERT_FILE"
            ) from error


def _session(connector: aiohttp.TCPConnector, connect_seconds: float) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        trust_env=False,
    )


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > PIECEWISE_BYTES else body


def _parse(url: str) -> URL:
    try:
        target = URL(url)
        if target.scheme in ("http", "https") and target.raw_host and target.port:
            return target
    except ValueError:
        pass
    # The URL itself is not shown: its query or user part may hold a key.
    raise Unreachable("the model's api_base is not an http or https address; correct it in models.yaml")


def _where(url: URL) -> str:
    """host:port, and nothing that could hold a secret."""
    host = url.host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def _translated(error: Exception, where: str) -> AttemptError:
    """aiohttp's exceptions as ours. Their texts may hold the whole URL, so none is repeated."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return Unreachable(f"the TLS certificate of {where} is not trusted; SSL_CERT_FILE may name your own")
        case aiohttp.ClientSSLError():
            return Unreachable(f"no TLS connection to {where} could be made; is it an http address?")
        case aiohttp.ClientConnectorDNSError():
            return Unreachable(f"{where} is not known: the name has no address, or this machine is offline")
        case aiohttp.ClientProxyConnectionError():
            return Unreachable(f"the proxy on the way to {where} cannot be reached; see HTTP_PROXY and HTTPS_PROXY")
        case aiohttp.ClientHttpProxyError():
            return Unreachable(f"the proxy on the way to {where} answered {error.status}")
        case aiohttp.ClientConnectorError():
            return Unreachable(f"{where} cannot be reached (is the model's server running?)")
        case aiohttp.ServerTimeoutError():
            return Unreachable(f"{where} did not accept a connection in time")
        case aiohttp.InvalidURL():
            return Unreachable(f"{where} is not an address that can be called; correct api_base in models.yaml")
        case aiohttp.ClientResponseError():
            return BadChunk(f"{where} did not answer in HTTP")
        case aiohttp.ClientError() | OSError():
            return ConnectionLost(f"{where} closed the connection without an answer")
        case ValueError():
            return BadCredentials("a header cannot be sent: does the key contain a line break?")
    return Unreachable("the sidecar is shutting down")
