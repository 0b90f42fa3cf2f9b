"""The requests that are being answered: how many there may be, and how each ends early.

                   client left ─┐
shutting_down ── OpenStreams ───┼──> Watch.interrupt ──> the request's task is cancelled ──> upstream closes
             reader stalled ────┤
something newer in its lane ────┘
"""

from __future__ import annotations

import asyncio
from enum import Enum
from types import TracebackType
from typing import Literal

from starlette.types import Receive

from app.errors import Conflict, ShuttingDown, SidecarError, TooManyStreams


class Ended(Enum):
    """Why a request ended before its answer did."""

    LEFT = "the client went away"
    SHUTDOWN = "the sidecar is shutting down"
    STALLED = "the client stopped reading"
    SUPERSEDED = "the client has asked for something newer"


class OpenStreams:
    """Every open one. `limit` is SIDECAR_MAX_STREAMS for answers, fixed for `pages` that watch."""

    def __init__(self, limit: int, what: Literal["answers", "pages"] = "answers") -> None:
        self._limit = limit
        self._what = what
        self._open: set[Watch] = set()
        self._latest: dict[str, Watch] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, watch: Watch) -> None:
        """Raises `TooManyStreams`, or `ShuttingDown` once `shut_down` was called."""
        if self._closing:
            raise shutting_down()
        older = None if watch.lane is None else self._latest.get(watch.lane)
        # One that makes room is not counted: a limit that is reached must not end the older and refuse the newer, too.
        makes_room = older is not None and older.ended is None
        if len(self._open) - makes_room >= self._limit:
            most = "SIDECAR_MAX_STREAMS allows" if self._what == "answers" else "there may be"
            raise TooManyStreams(
                f"{self._limit} {self._what} are open, which is the most {most}; close one or wait.", retry_after=1
            )
        if older is not None:
            older.interrupt(Ended.SUPERSEDED)
        self._open.add(watch)
        if watch.lane is not None:
            self._latest[watch.lane] = watch

    def discard(self, watch: Watch) -> None:
        self._open.discard(watch)
        if watch.lane is not None and self._latest.get(watch.lane) is watch:
            del self._latest[watch.lane]

    def shut_down(self) -> None:
        """End all that are open, and admit no more."""
        self._closing = True
        for watch in list(self._open):
            watch.interrupt(Ended.SHUTDOWN)


def shutting_down() -> ShuttingDown:
    return ShuttingDown("The sidecar is shutting down; ask again when it is back.")


def fault_of(ended: Ended | None) -> SidecarError | None:
    """What a client that is still there is told; None: nothing, or it is not there."""
    if ended is Ended.SHUTDOWN:
        return shutting_down()
    if ended is Ended.SUPERSEDED:
        return Conflict("A newer inline completion of the same client has taken this one's place.", code="superseded")
    return None


class Watch:
    """Around the work of one request: cancels it when its client has gone, also before anything was sent.

    async with Watch(streams, receive) as watch:
        ...                      # cancelled here
    if watch.ended is ...:       # and why it was

    The request's own task does the work; the only other task listens for the disconnect. `final` is set by the work
    once its last bytes are on their way: from then on only a reader that stalls can end it. `lane`: of all requests in
    one lane only the newest goes on.
    """

    __slots__ = ("_listener", "_receive", "_streams", "_task", "ended", "final", "lane")

    def __init__(self, streams: OpenStreams, receive: Receive, lane: str | None = None) -> None:
        self._streams = streams
        self._receive = receive
        self._task: asyncio.Task[object] | None = None
        self._listener: asyncio.Task[None] | None = None
        self.ended: Ended | None = None
        self.final = False
        self.lane = lane

    def interrupt(self, why: Ended) -> None:
        """Cancel the work, once; nothing where it is over."""
        if self._task is None or self.ended is not None or (self.final and why is not Ended.STALLED):
            return
        self.ended = why
        self._task.cancel()

    async def __aenter__(self) -> Watch:
        self._streams.add(self)
        self._task = asyncio.current_task()
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        task, self._task = self._task, None
        self._streams.discard(self)
        if self._listener is not None:
            self._listener.cancel()
        if self.ended is None or task is None:
            return False
        # Ours is taken back and ends here; a cancellation from elsewhere at the same time goes on.
        return task.uncancel() == 0 and kind is asyncio.CancelledError

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.interrupt(Ended.LEFT)
