"""Answers that outlive their client: a page that reloads goes on reading where it stopped.

    POST /chat {resumable: true} ── KeptAnswer ── one task drains the model ──> pieces, numbered, bounded
                                        │  ▲
          reader leaves: grace runs ────┘  └──── GET /chat/{id}/events, Last-Event-ID: a reader again, grace stops

Without a reader for `grace` seconds the answer is cancelled as it is when any client leaves. One that has ended is kept
as long, for a reader who missed its end. What is kept is what was sent, in memory, and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from app.api.json_text import dumps
from app.api.problems import Unexpected
from app.api.sse import RETRY, Patience, Pulse, abort, encode
from app.api.streams import Ended, OpenStreams, Watch, fault_of
from app.api.wire import ENDINGS
from app.errors import Conflict, SidecarError
from app.llm.calls import TextDelta
from app.llm.events import Event, Failed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class KeepLimits:
    """`grace`: seconds without a reader. `answer_bytes`, `total_bytes`: kept of one answer, and of all that have ended.

    4 MiB hold about 64,000 tokens as they are sent.
    """

    grace: float = 30.0
    answer_bytes: int = 4 * 2**20
    total_bytes: int = 64 * 2**20


_STOPPED = Conflict("This answer was stopped: by its client, or because nobody read it.", code="stopped")


@dataclass(frozen=True, slots=True)
class _Piece:
    """The events `first` to `last` as they were sent."""

    first: int
    last: int
    data: bytes


class KeptAnswer:
    """One answer: the task that drains it, what it has sent, and whoever reads. Made by `KeptAnswers.start`."""

    def __init__(self, request_id: str, workspace: str | None, limits: KeepLimits) -> None:
        self.request_id = request_id
        self.workspace = workspace
        self.ended = False
        self.bytes = 0
        self._limits = limits
        self._pieces: deque[_Piece] = deque()
        self._next_id = 1
        self._delivered = 0
        self._readers = 0
        self._grown = asyncio.Event()
        self._alone = asyncio.Event()
        self._grace: asyncio.TimerHandle | None = None
        self._begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    # -- writing

    async def begin(self, batches: AsyncGenerator[list[Event], None], streams: OpenStreams) -> None:
        """Drain `batches` in a task of its own; returns once it has said something.

        Raises what it raised before that, such as a `RequestError`.
        """
        self._wait_for_a_reader()
        self._task = asyncio.create_task(self._drain(batches, streams), name=f"answer {self.request_id}")
        # Somebody who leaves here leaves a task behind that ends with its grace.
        await asyncio.shield(self._begun)

    async def _drain(self, batches: AsyncGenerator[list[Event], None], streams: OpenStreams) -> None:
        watch = Watch(streams, self._left_alone)
        fault: SidecarError | None = None
        try:
            async with aclosing(batches), watch:
                async for batch in batches:
                    watch.final = type(batch[-1]) in ENDINGS
                    self._append(batch)
        except Exception as error:
            if not self._begun.done():
                self._begun.set_exception(error)
                return
            log.exception("request %s: the stream broke", self.request_id)
            fault = Unexpected()
        finally:
            fault = _STOPPED if watch.ended is Ended.LEFT else fault_of(watch.ended) or fault
            if not self.ended and self._begun.done() and fault is not None:
                self._append([Failed(self.request_id, fault, self._delivered)])
            self._finish(fault)

    def _finish(self, fault: SidecarError | None) -> None:
        self.ended = True
        if not self._begun.done():
            self._begun.set_exception(fault or _STOPPED)
            self._begun.exception()  # somebody may have left before: then nobody asks
        self._grown.set()

    def _append(self, batch: list[Event]) -> None:
        data = encode(batch, self._next_id)
        self._pieces.append(_Piece(self._next_id, self._next_id + len(batch) - 1, data))
        self._next_id += len(batch)
        self._delivered += sum(len(event.text) for event in batch if type(event) is TextDelta)
        self.ended = type(batch[-1]) in ENDINGS
        self.bytes += len(data)
        while self.bytes > self._limits.answer_bytes and len(self._pieces) > 1:
            self.bytes -= len(self._pieces.popleft().data)
        if not self._begun.done():
            self._begun.set_result(None)
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def _left_alone(self) -> Message:
        await self._alone.wait()
        return {"type": "http.disconnect"}

    def cancel(self) -> None:
        """Stop the model, as though the client had left; its readers' streams end."""
        self._alone.set()

    # -- reading

    async def follow(self, after: int) -> AsyncGenerator[tuple[bytes, bool], None]:
        """What comes after event number `after`, as it comes: bytes, and whether they are the last."""
        with self._reading():
            while True:
                grown = self._grown
                data, after = self._since(after)
                if data or self.ended:
                    yield data, self.ended
                if self.ended:
                    return
                await grown.wait()

    def _since(self, after: int) -> tuple[bytes, int]:
        parts: list[bytes] = []
        first = self._pieces[0].first if self._pieces else self._next_id
        if after >= self._next_id or after + 1 < first:
            missing = 0 if after >= self._next_id else first - after - 1
            parts.append(_reset(self.request_id, missing, first))
            after = first - 1
        parts += [_from(piece, after + 1) for piece in self._pieces if piece.last > after]
        return b"".join(parts), self._next_id - 1

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._readers += 1
        if self._grace is not None:
            self._grace.cancel()
        try:
            yield
        finally:
            self._readers -= 1
            if self._readers == 0:
                self._wait_for_a_reader()

    def _wait_for_a_reader(self) -> None:
        self._grace = asyncio.get_running_loop().call_later(self._limits.grace, self.cancel)

    @property
    def forgotten(self) -> asyncio.Event:
        """Set once nobody has read for the grace, whether it had ended or not."""
        return self._alone

    async def aclose(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
        self.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)


def _reset(request_id: str, missing: int, first: int) -> bytes:
    """`missing`: events that are gone; what was shown must be cleared, and the stream goes on at `next_id`."""
    data: dict[str, Any] = {"request_id": request_id, "missing": missing, "next_id": first}
    return b"event: reset\ndata: %b\n\n" % dumps(data)


def _from(piece: _Piece, first: int) -> bytes:
    """Its events from number `first` on. No event holds an empty line of its own: data is JSON in one line."""
    if first <= piece.first:
        return piece.data
    return b"\n\n".join(piece.data.split(b"\n\n")[first - piece.first :])


class KeptAnswers:
    """Every resumable answer that is running or was read a moment ago, by request id.

    `streams` counts those that run; readers are bounded by twice as many, since each answer may be read by two pages.
    """

    def __init__(self, streams: OpenStreams, most_readers: int, limits: KeepLimits | None = None) -> None:
        self.readers = OpenStreams(most_readers)
        self._streams = streams
        self._limits = limits or KeepLimits()
        self._kept: dict[str, KeptAnswer] = {}
        self._forgetting: set[asyncio.Task[None]] = set()

    async def start(
        self, request_id: str, workspace: str | None, batches: AsyncGenerator[list[Event], None]
    ) -> KeptAnswer:
        """An answer that has begun. Raises what a chat raises before its stream, and `Conflict` for an id in use."""
        if request_id in self._kept:
            await batches.aclose()
            raise Conflict("There is a resumable answer under this X-Request-Id already.", code="request_id_in_use")
        kept = self._kept[request_id] = KeptAnswer(request_id, workspace, self._limits)
        task = asyncio.create_task(self._forget(kept))
        self._forgetting.add(task)
        task.add_done_callback(self._forgetting.discard)
        try:
            await kept.begin(batches, self._streams)
        except Exception:
            kept.cancel()  # there is nothing to come back to
            raise
        self._make_room()
        return kept

    def find(self, request_id: str) -> KeptAnswer | None:
        return self._kept.get(request_id)

    async def _forget(self, kept: KeptAnswer) -> None:
        await kept.forgotten.wait()
        if self._kept.get(kept.request_id) is kept:
            del self._kept[kept.request_id]

    def _make_room(self) -> None:
        """Of those that have ended the oldest go first."""
        over = sum(kept.bytes for kept in self._kept.values() if kept.ended) - self._limits.total_bytes
        for kept in [kept for kept in self._kept.values() if kept.ended]:
            if over <= 0:
                return
            over -= kept.bytes
            kept.cancel()

    async def aclose(self) -> None:
        await asyncio.gather(*(kept.aclose() for kept in list(self._kept.values())))
        await asyncio.gather(*self._forgetting)


class KeptStream:
    """An ASGI response: one reader of a kept answer, from after event number `after` to its end."""

    def __init__(self, kept: KeptAnswer, after: int, readers: OpenStreams, patience: Patience) -> None:
        self._kept = kept
        self._after = after
        self._readers = readers
        self._patience = patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = Watch(self._readers, receive)
        pulse = Pulse(self._patience, watch, send)
        try:
            async with aclosing(self._kept.follow(self._after)) as pieces, watch:
                head = RETRY
                async for data, last in pieces:
                    watch.final = last
                    await pulse.write(head + data, more=not last)
                    head = b""
        finally:
            pulse.stop()
        if watch.ended is Ended.STALLED:
            await abort(scope, receive)
