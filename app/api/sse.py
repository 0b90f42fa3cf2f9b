"""Server-Sent Events, written by hand: one batch of events is one `bytes`, and one write.

sse-starlette's ways of ending (ARCHITECTURE.md there) are kept, at a fraction of its cost per event:

    generator ends              last batch + end of the response
    client goes away            Watch.interrupt(LEFT)      generator closed, nothing more is written
    sidecar shuts down          Watch.interrupt(SHUTDOWN)  generator closed, then one `error` event
    reader stalls               Watch.interrupt(STALLED)   generator closed, connection aborted

While a write is under way the generator is not pulled, so what waits for a slow reader is one batch and the
transport's own buffer, however long the answer is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.problems import Unexpected, request_id_of
from app.api.streams import Ended, OpenStreams, Watch, shutting_down
from app.api.wire import EVENTS, JSON, Answer, dumps
from app.errors import SidecarError
from app.llm.calls import TextDelta
from app.llm.events import Done, Event, Failed

log = logging.getLogger(__name__)

RETRY = b"retry: 3000\n\n"
"""Milliseconds before an EventSource asks again."""

COMMENT = b": still here\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `silence`: until a comment is sent (the contract says within 15). `send`: a stalled reader is kept.
    `last_word`: the terminal event may take, when the sidecar shuts down."""

    silence: float = 14.0
    send: float = 30.0
    last_word: float = 1.0


def encode(batch: list[Event], next_id: int) -> bytes:
    """The batch as SSE, ids counting up from `next_id`, one per event.

    `data` is JSON in one line, where a newline is `\\n` in two characters: no text can end its event.
    """
    parts: list[bytes] = []
    for event in batch:
        if type(event) is TextDelta:
            try:
                text = orjson.dumps(event.text)
            except TypeError:
                text = dumps(event.text)
            parts.append(b'id: %d\nevent: token\ndata: {"text":%b}\n\n' % (next_id, text))
        else:
            name, data = EVENTS[type(event)]
            parts.append(b"id: %d\nevent: %b\ndata: %b\n\n" % (next_id, name, dumps(data(event))))
        next_id += 1
    return b"".join(parts)


class WholeAnswer:
    """An ASGI response that drains the batches into one JSON object (`stream: false`)."""

    def __init__(self, batches: AsyncGenerator[list[Event], None], streams: OpenStreams) -> None:
        self._batches = batches
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Answer()
        watch = Watch(self._streams, receive)
        async with aclosing(self._batches), watch:
            async for batch in self._batches:
                answer.take(batch)
        if watch.ended is Ended.SHUTDOWN:
            raise shutting_down()
        if watch.ended is None:
            response = Response(dumps(answer.body()), headers={"cache-control": "no-store"}, media_type=JSON)
            await response(scope, receive, send)


class EventStream:
    """An ASGI response that streams batches.

    The first batch is awaited before the status goes out, so what is raised until then can still become one.
    """

    def __init__(
        self,
        batches: AsyncGenerator[list[Event], None],
        streams: OpenStreams,
        patience: Patience,
    ) -> None:
        self._batches = batches
        self._streams = streams
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._next_id = 1
        self._delivered = 0
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = Watch(self._streams, receive)
        pulse = Pulse(self._patience, watch, send)
        fault: SidecarError | None = None
        try:
            async with aclosing(self._batches), watch:
                await self._pump(pulse, watch)
        except Exception:
            if not self._started or watch.final:
                raise
            log.exception("request %s: the stream broke", request_id_of(scope))
            fault = Unexpected()
        finally:
            pulse.stop()
        if watch.ended is Ended.SHUTDOWN:
            fault = shutting_down()
        if fault is not None:
            await self._say_last(fault, scope, send)
        elif watch.ended is Ended.STALLED:
            await abort(scope, receive)

    async def _pump(self, pulse: Pulse, watch: Watch) -> None:
        async for batch in self._batches:
            data = encode(batch, self._next_id)
            self._next_id += len(batch)
            if not self._started:
                self._started = True
                await pulse.begin(RETRY + data)
                continue
            last = type(batch[-1]) in (Done, Failed)
            if last:
                watch.final = True
            else:
                self._delivered += sum(len(e.text) for e in batch if type(e) is TextDelta)
            await pulse.write(data, more=not last)
            if last:
                return
        raise AssertionError("the answer ended with neither Done nor Failed")

    async def _say_last(self, fault: SidecarError, scope: Scope, send: Send) -> None:
        """The one terminal event of a stream that did not end by itself; a status where nothing was sent yet."""
        if not self._started:
            raise fault
        end = encode([Failed(request_id_of(scope), fault, self._delivered)], self._next_id)
        try:
            async with asyncio.timeout(self._patience.last_word):
                await send({"type": "http.response.body", "body": end, "more_body": False})
        except TimeoutError:
            _abort_transport(scope)


class Pulse:
    """Writes, and one timer per stream that notices silence (a comment goes out) and a reader that stalls."""

    __slots__ = ("_busy_since", "_comment", "_loop", "_patience", "_send", "_timer", "_watch", "_written")

    def __init__(self, patience: Patience, watch: Watch, send: Send) -> None:
        self._patience = patience
        self._watch = watch
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._busy_since: float | None = None
        self._written = 0.0

    async def begin(self, data: bytes) -> None:
        """Status, headers and the first bytes; from here on silence counts."""
        await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
        self._timer = self._loop.call_later(min(self._patience.silence, self._patience.send), self._look)
        await self.write(data)

    async def write(self, data: bytes, more: bool = True) -> None:
        self._busy_since = self._loop.time()
        await self._send({"type": "http.response.body", "body": data, "more_body": more})
        self._written = self._loop.time()
        self._busy_since = None

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._comment is not None:
            self._comment.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if self._busy_since is not None:
            due = self._busy_since + self._patience.send
            if due <= now:
                self._watch.interrupt(Ended.STALLED)
                return
        else:
            due = self._written + self._patience.silence
            if due <= now:
                due = now + self._patience.silence
                self._comment = self._loop.create_task(self.write(COMMENT))
        self._timer = self._loop.call_at(due, self._look)


async def abort(scope: Scope, receive: Receive) -> None:
    """Drop the connection with what its buffer holds, and wait until the server has noticed."""
    if not _abort_transport(scope):
        return
    try:
        async with asyncio.timeout(1):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return


def _abort_transport(scope: Scope) -> bool:
    """Closing would wait for the reader who does not read. `app.api.protocol` puts `abort` into the state."""
    drop: Callable[[], None] | None = scope.get("state", {}).get("abort")
    if drop is not None:
        drop()
    return drop is not None
