"""What uvicorn's HTTP protocols lack: an end to waiting for a request's head, a way to drop a connection, and a refusal
in the shape of all the others."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, Final

import orjson

from app.api.problems import MEDIA_TYPE, problem_body
from app.errors import InvalidRequest

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as _Base
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
else:
    _Base = object

HEAD_SECONDS: Final = 10.0
"""From the first byte (or from connecting) to the end of the head."""
MAX_HEAD_BYTES: Final = 64 * 1024
MAX_REFUSED_BYTES: Final = 64 * 1024 * 1024


class _Impatient(_Base):
    """Mixed in before one of uvicorn's protocols.

    Closes a connection whose request head does not arrive in time or is too large, also while what is left of a body
    that was already refused keeps coming. Puts `abort` into every request's state, for readers who have stalled.
    """

    head_seconds = HEAD_SECONDS
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Paths and queries are the client's; uvicorn logs them wherever anybody listens to the root logger.
        self.access_log = False
        self.app_state = {**self.app_state, "abort": transport.abort}
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            self._disarm()
            return
        self._head_bytes += len(data)
        # A body that was refused before it was read whole is still on its way, and its sender reads no answer until
        # it is through: it may come to an end, within reason.
        refused = cycle is not None and cycle.more_body
        if self._head_bytes > (MAX_REFUSED_BYTES if refused else MAX_HEAD_BYTES):
            self.transport.abort()
        elif self._deadline is None:
            self._arm()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP never gets as far as the door; it is answered as the door would."""
        request_id = secrets.token_hex(16)
        error = InvalidRequest("This is not a valid HTTP request.", status=400, code="malformed_request")
        body = orjson.dumps(problem_body(error, request_id))
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\n"
            "cache-control: no-store\r\n"
            f"x-request-id: {request_id}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.head_seconds, self._give_up)

    def _disarm(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _give_up(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self.transport.abort()


def http_protocol(head_seconds: float = HEAD_SECONDS) -> type[asyncio.Protocol]:
    """httptools' protocol where it is installed (not on Windows), else h11's; impatient either way."""
    base: Any
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol as base  # noqa: N813
    except ImportError:
        from uvicorn.protocols.http.h11_impl import H11Protocol as base  # noqa: N813
    return type("ImpatientProtocol", (_Impatient, base), {"head_seconds": head_seconds})
