"""The door: who may ask, from where, and how much. One pure-ASGI middleware in front of every route.

Host ── Origin ── token or key ── rights ── body limit ── content type ──> the application
 421      403         401          403         413            415

(`BaseHTTPMiddleware` would hide disconnects from the routes behind it.) Everything is decided on the ASGI scope, never
on a URL that is put together from the request's own Host header (CVE-2026-48710).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.callers import OWNER, Caller
from app.api.dialects import error_response
from app.api.headers import Headers
from app.api.logs import current_request
from app.api.own_page import LOGIN_PATH, SAFE_METHODS, cookies, from_our_page, page_for_people
from app.api.problems import Unexpected
from app.api.request_ids import RequestIds
from app.api.rights import allow
from app.api.sign_in import SignIn, cookie_name
from app.errors import InvalidRequest, RequestError, SidecarError, Unauthorized
from app.store.client_key import PREFIX

log = logging.getLogger(__name__)

OPEN_PATHS: Final = frozenset({"/health", LOGIN_PATH})
"""Paths that need no token. The second one needs its code."""

TAURI_ORIGINS: Final = (b"tauri://localhost", b"http://tauri.localhost", b"https://tauri.localhost")
UNMISTAKABLE: Final = 16
"""Bytes from which on a token stands in no address by chance."""
_JSON: Final = re.compile(rb'application/json(?:\s*;\s*charset="?utf-8"?)?\s*', re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DoorPolicy:
    """What the door lets in. `max_body` is bytes, `body_seconds` how long a body may take to arrive."""

    token: str
    hosts: tuple[str, ...] = ()
    """Accepted besides 127.0.0.1, localhost and [::1] with the bound port; compared with the whole header."""
    origins: tuple[str, ...] = ()
    max_body: int = 16 * 1024 * 1024
    body_seconds: float = 30.0
    client: Callable[[bytes], Caller | None] = lambda offered: None
    """Who has this key, which is none of the token; None: nobody."""
    used: Callable[[str], Awaitable[bool]] | None = None
    """Whether the ledger has a request of this id; asked of ids that clients give."""


@dataclass(frozen=True, slots=True)
class Names:
    """What this sidecar is called, for one bound port."""

    hosts: frozenset[bytes]
    origins: frozenset[bytes]


class Door:
    """Also gives every request its id and every answer its `x-request-id`, and is the last to catch an exception."""

    def __init__(
        self,
        app: ASGIApp,
        policy: DoorPolicy,
        sign_in: SignIn | None = None,
        statuses: Counter[int] | None = None,
    ) -> None:
        self._app = app
        self._statuses: Counter[int] = Counter() if statuses is None else statuses
        self._policy = policy
        self._sign_in = sign_in
        self._token = policy.token.encode()
        self._names: dict[int | None, Names] = {}
        self._ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope)
        request_id = self._ids.take(headers, scope["method"])
        scope.setdefault("state", {})["request_id"] = request_id
        current_request.set(request_id)
        try:
            await self._served(scope, receive, send, headers, request_id)
        finally:
            # The path alone: what stands behind its question mark may be anything.
            log.debug("%s %s has ended", scope["method"], scope["path"])

    async def _served(self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str) -> None:
        outgoing = Outgoing(send, request_id, self._statuses)
        try:
            self._admit(scope, headers, outgoing)
            if scope["method"] == "OPTIONS" and headers.first(b"access-control-request-method") and outgoing.cors:
                await _answer_preflight(outgoing.send)
                return
            self._authorise(scope, headers)
            if scope["method"] not in SAFE_METHODS:
                receive = await self._with_body(headers, receive)
                await self._name_anew(scope, headers, outgoing)
            await self._app(scope, receive, outgoing.send)
        except asyncio.CancelledError:
            raise
        except Unauthorized as error:
            page = page_for_people(scope, headers)
            await (page or error_response(error, scope))(scope, receive, outgoing.send)
        except SidecarError as error:
            await error_response(error, scope)(scope, receive, outgoing.send)
        except _Gone:
            return
        except Exception:
            log.exception("request %s failed", outgoing.request_id)
            if not outgoing.started:
                await error_response(Unexpected(), scope)(scope, receive, outgoing.send)

    async def _name_anew(self, scope: Scope, headers: Headers, outgoing: Outgoing) -> None:
        """A client's own id that stands in the ledger, from before the sidecar was started say, gets a tail."""
        given: str = scope["state"]["request_id"]
        if self._policy.used is None or headers.first(b"x-request-id") != given.encode() or scope["method"] != "POST":
            return
        if await self._policy.used(given):
            scope["state"]["request_id"] = outgoing.request_id = self._ids.with_tail(given)
            current_request.set(outgoing.request_id)

    def _admit(self, scope: Scope, headers: Headers, outgoing: Outgoing) -> None:
        """Host, then Origin. Raises `InvalidRequest` 400, 421 or 403."""
        names = self._names_for(scope)
        hosts = headers.all(b"host")
        if len(hosts) != 1:
            raise InvalidRequest("Exactly one Host header is required.", status=400, code="bad_host")
        if hosts[0].lower() not in names.hosts:
            raise InvalidRequest(
                "This sidecar is not called that; use 127.0.0.1 or localhost with its port, or list the name in "
                "SIDECAR_ALLOWED_HOSTS.",
                status=421,
                code="misdirected_request",
            )
        origins = headers.all(b"origin")
        if not origins:
            return
        if len(origins) != 1 or origins[0] not in names.origins:
            raise InvalidRequest(
                "Pages of this origin may not use the sidecar; list the origin in SIDECAR_ALLOWED_ORIGINS.",
                status=403,
                code="origin_not_allowed",
            )
        outgoing.cors = origins[0]

    def _names_for(self, scope: Scope) -> Names:
        server = scope.get("server")
        port: int | None = server[1] if server else None
        if port not in self._names:
            self._names[port] = names_of(port, self._policy.hosts, self._policy.origins)
        return self._names[port]

    def _authorise(self, scope: Scope, headers: Headers) -> None:
        """Say who asks, in the scope's state. Raises `Unauthorized`, with the same words whatever was wrong, and
        `Forbidden` where a client's key has no right to the route."""
        if scope["path"] in OPEN_PATHS:
            return
        query: bytes = scope["query_string"]
        # A URL ends up in histories and logs: whoever puts the token there is told so by its not working.
        leaked = bool(query) and self._told_in(query)
        # Every credential is compared, so that the time tells nothing about which one was wrong.
        offered = _credentials(headers)
        matches = [hmac.compare_digest(credential, self._token) for credential in offered]
        if any(matches) or self._signed_in(scope, headers):
            caller: Caller | None = OWNER
        else:
            caller = next(filter(None, map(self._policy.client, offered)), None)
        if leaked or caller is None:
            raise Unauthorized(
                "Send the sidecar's token: `Authorization: Bearer <token>` or `x-api-key: <token>`. "
                "`llm-sidecar token` prints it, `llm-sidecar keys create` makes a key for one client."
            )
        allow(caller, scope["method"], scope["path"])
        scope["state"]["caller"] = caller

    def _told_in(self, query: bytes) -> bool:
        """Whether a query holds the token or a client's key; a token short enough to be a word, as a whole value."""
        told = unquote_to_bytes(query)
        if len(self._token) >= UNMISTAKABLE:
            return self._token in told or PREFIX in told
        return self._token in re.split(rb"[&=]", told) or PREFIX in told

    def _signed_in(self, scope: Scope, headers: Headers) -> bool:
        """Whether our own page asks, with its cookie.

        SameSite ignores ports, so another program's page on this machine could have the cookie sent along: the browser
        itself must say that the asking page has our origin, or that a person opened the page.
        """
        if self._sign_in is None or not from_our_page(scope, headers):
            return False
        server = scope.get("server")
        return any(self._sign_in.holds(value) for value in cookies(headers, cookie_name(server[1] if server else None)))

    async def _with_body(self, headers: Headers, receive: Receive) -> Receive:
        """Read the body whole, within its limits, and hand it on in one piece.

        Raises `InvalidRequest`: 413 too large, 408 too slow, 415 not JSON.
        """
        lengths = headers.all(b"content-length")
        chunked = headers.first(b"transfer-encoding") is not None
        declared = int(lengths[0]) if lengths and lengths[0].isdigit() else 0
        if declared > self._policy.max_body:
            raise _too_large(self._policy.max_body)
        _require_json(headers.all(b"content-type"), has_body=chunked or declared > 0)
        _require_plain(headers.all(b"content-encoding"))
        try:
            async with asyncio.timeout(self._policy.body_seconds):
                body = await _read(receive, self._policy.max_body)
        except TimeoutError:
            raise InvalidRequest(
                f"The body did not arrive within {self._policy.body_seconds:g} s.", status=408, code="body_timeout"
            ) from None
        return _Replay(body, receive)


class Outgoing:
    """`send`, with the id and, for a page that may use us, the CORS headers put on the answer's start. Counts."""

    __slots__ = ("_send", "_statuses", "cors", "request_id", "started")

    def __init__(self, send: Send, request_id: str, statuses: Counter[int]) -> None:
        self._send = send
        self._statuses = statuses
        self.request_id = request_id
        self.cors: bytes | None = None
        self.started = False

    def send(self, message: Message) -> Awaitable[None]:
        """Not a coroutine itself: the many body messages of a stream pass for the price of a comparison."""
        if not self.started and message["type"] == "http.response.start":
            self.started = True
            self._statuses[message["status"]] += 1
            added = [(b"x-request-id", self.request_id.encode())]
            if self.cors is not None:
                added += [
                    (b"access-control-allow-origin", self.cors),
                    (b"access-control-expose-headers", b"x-request-id, retry-after"),
                    (b"vary", b"Origin"),
                ]
            message["headers"] = [*message.get("headers", ()), *added]
        return self._send(message)


class _Replay:
    """A `receive` that gives the body that was read, then whatever the server says next: the disconnect."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Gone(Exception):
    """The client left while its body was being read: there is nobody to answer."""


async def _read(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        body: bytes = message.get("body", b"")
        size += len(body)
        if size > limit:
            raise _too_large(limit)
        parts.append(body)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(limit: int) -> RequestError:
    return InvalidRequest(f"The body is larger than {limit} bytes.", status=413, code="body_too_large")


def _require_json(types: list[bytes], has_body: bool) -> None:
    if not types and not has_body:
        return
    if len(types) != 1 or not _JSON.fullmatch(types[0]):
        raise InvalidRequest("Send `Content-Type: application/json`.", status=415, code="unsupported_media_type")


def _require_plain(encodings: list[bytes]) -> None:
    if any(encoding.strip().lower() not in (b"", b"identity") for encoding in encodings):
        raise InvalidRequest(
            "Send the body as it is, without a Content-Encoding.", status=415, code="unsupported_media_type"
        )


def _credentials(headers: Headers) -> list[bytes]:
    found = list(headers.all(b"x-api-key"))
    for value in headers.all(b"authorization"):
        scheme, _, token = value.partition(b" ")
        if scheme.lower() == b"bearer":
            found.append(token.strip())
    return found


async def _answer_preflight(send: Send) -> None:
    """Only ever sent to an allowed origin; `Outgoing` names it."""
    headers = [
        (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE"),
        (
            b"access-control-allow-headers",
            b"Authorization, Content-Type, X-Api-Key, X-Request-Id, X-Workspace, X-Task-Type, X-Session-Id, "
            b"Last-Event-ID, Idempotency-Key",
        ),
        (b"access-control-max-age", b"600"),
        (b"content-length", b"0"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def names_of(port: int | None, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> Names:
    """What a sidecar bound to `port` answers to, exactly, with what the settings add."""
    own = {b"%b:%d" % (name, port) for name in (b"127.0.0.1", b"localhost", b"[::1]")} if port else set()
    if port == 80:
        # A client leaves the scheme's own port out.
        own |= {b"127.0.0.1", b"localhost", b"[::1]"}
    return Names(
        hosts=frozenset(own | {h.lower().encode() for h in hosts}),
        origins=frozenset({*TAURI_ORIGINS, *(b"http://" + h for h in own), *(o.encode() for o in origins)}),
    )
