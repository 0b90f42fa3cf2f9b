"""Server-Sent Events, written by hand: one batch of events is one `bytes`, and one write.

sse-starlette's ways of ending (ARCHITECTURE.md there) are kept, at a fraction of its cost per event:

    generator ends              last batch + end of the response
    client goes away            Watch.interrupt(LEFT)      generator closed, nothing more is written
    sidecar shuts down          Watch.interrupt(SHUTDOWN)  generator closed, then one `error` event
    something newer was asked   Watch.interrupt(SUPERSEDED)  the same
    reader stalls               Watch.interrupt(STALLED)   generator closed, connection aborted

How events are written is the `Encoder`'s: ours here, other people's in `app.api.openai_wire` and
`app.api.anthropic_wire`. An encoder that has nothing to say yet holds the status back: whatever fails until its first
bytes becomes a status of its own.

While a write is under way the generator is not pulled, so what waits for a slow reader is one batch and the
transport's own buffer, however long the answer is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.json_text import JSON, Json, dumps
from app.api.problems import Unexpected, request_id_of
from app.api.streams import Ended, OpenStreams, Watch, fault_of
from app.api.wire import ENDINGS, EVENTS, Answer
from app.errors import SidecarError
from app.llm.calls import TextDelta
from app.llm.events import Event, Failed

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


def encode(batch: list[Any], next_id: int) -> bytes:
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


class Encoder(Protocol):
    """One client's way of writing a stream down; remembers what it has written."""

    def encode(self, batch: list[Event]) -> bytes:
        """The batch's bytes; empty where there is nothing to say yet."""
        ...


class Collector(Protocol):
    """One client's way of writing a whole answer down."""

    def take(self, batch: list[Event]) -> None: ...

    def body(self) -> Json:
        """Raises the `SidecarError` the stream ended with."""
        ...


class NumberedEvents:
    """The encoder of our own contract: `encode`, with ids that go on counting."""

    __slots__ = ("_next_id",)

    def __init__(self) -> None:
        self._next_id = 1

    def encode(self, batch: list[Event]) -> bytes:
        first, self._next_id = self._next_id, self._next_id + len(batch)
        data = encode(batch, first)
        return RETRY + data if first == 1 else data


class WholeAnswer:
    """An ASGI response that drains the batches into one JSON object (`stream: false`)."""

    def __init__(
        self,
        batches: AsyncGenerator[list[Event], None],
        streams: OpenStreams,
        answer: Collector | None = None,
        lane: str | None = None,
    ) -> None:
        self._batches = batches
        self._streams = streams
        self._lane = lane
        self._answer = answer or Answer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._answer
        watch = Watch(self._streams, receive, self._lane)
        async with aclosing(self._batches), watch:
            async for batch in self._batches:
                answer.take(batch)
        if (fault := fault_of(watch.ended)) is not None:
            raise fault
        if watch.ended is None:
            response = Response(dumps(answer.body()), headers={"cache-control": "no-store"}, media_type=JSON)
            await response(scope, receive, send)


class EventStream:
    """An ASGI response that streams batches of events that `app.api.wire` has a name for.

    The encoder's first bytes are awaited before the status goes out, so what fails until then can still become one;
    but a model that is silent for long gets its client a status and a comment all the same.
    """

    def __init__(
        self,
        batches: AsyncGenerator[list[Any], None],
        streams: OpenStreams,
        patience: Patience,
        encoder: Encoder | None = None,
        lane: str | None = None,
    ) -> None:
        self._batches = batches
        self._streams = streams
        self._patience = patience
        self._encoder = encoder or NumberedEvents()
        self._lane = lane
        self._delivered = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = Watch(self._streams, receive, self._lane)
        pulse = Pulse(self._patience, watch, send)
        fault: SidecarError | None = None
        try:
            async with aclosing(self._batches), watch:
                await self._pump(pulse, watch)
        except Exception:
            if not pulse.begun or watch.final:
                raise
            log.exception("request %s: the stream broke", request_id_of(scope))
            fault = Unexpected()
        finally:
            pulse.stop()
        fault = fault_of(watch.ended) or fault
        if fault is not None:
            await self._say_last(fault, pulse, scope, send)
        elif watch.ended is Ended.STALLED:
            await abort(scope, receive)

    async def _pump(self, pulse: Pulse, watch: Watch) -> None:
        async for batch in self._batches:
            end = batch[-1]
            last = type(end) in ENDINGS
            if last:
                watch.final = True
                if type(end) is Failed and not pulse.begun:
                    raise end.error
            else:
                self._delivered += sum(len(e.text) for e in batch if type(e) is TextDelta)
            data = self._encoder.encode(batch)
            if data or last:
                await pulse.write(data, more=not last)
            else:
                pulse.start()
            if last:
                return
        raise AssertionError("the answer ended without one of its endings")

    async def _say_last(self, fault: SidecarError, pulse: Pulse, scope: Scope, send: Send) -> None:
        """The one terminal event of a stream that did not end by itself; a status where nothing was sent yet."""
        if not pulse.begun:
            raise fault
        end = self._encoder.encode([Failed(request_id_of(scope), fault, self._delivered)])
        try:
            async with asyncio.timeout(self._patience.last_word):
                await send({"type": "http.response.body", "body": end, "more_body": False})
        except TimeoutError:
            _abort_transport(scope)


class Pulse:
    """Writes, and one timer per stream that notices silence (a comment goes out) and a reader that stalls.

    The status and the headers go out with the first bytes, which may be a comment's: `begun` from then on.
    """

    __slots__ = ("_busy_since", "_comment", "_loop", "_patience", "_send", "_timer", "_watch", "_written", "begun")

    def __init__(self, patience: Patience, watch: Watch, send: Send) -> None:
        self._patience = patience
        self._watch = watch
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._comment: asyncio.Task[None] | None = None
        self._busy_since: float | None = None
        self._written = 0.0
        self.begun = False

    def start(self) -> None:
        """From here on silence counts."""
        if self._timer is None:
            self._written = self._loop.time()
            self._timer = self._loop.call_later(min(self._patience.silence, self._patience.send), self._look)

    async def write(self, data: bytes, more: bool = True) -> None:
        if self._comment is not None and not self._comment.done():
            await asyncio.wait([self._comment])
        await self._write(data, more)

    async def _write(self, data: bytes, more: bool = True) -> None:
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            self.start()
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
                self._comment = self._loop.create_task(self._write(COMMENT))
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
