"""Feed: any named events as Server-Sent Events, with the same ways of ending as an answer's stream (`app.api.sse`)."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.types import Receive, Scope, Send

from app.api.json_text import dumps
from app.api.problems import Unexpected, problem_body, request_id_of
from app.api.sse import RETRY, Patience, Pulse, abort
from app.api.streams import Ended, OpenStreams, Watch, shutting_down
from app.errors import SidecarError

log = logging.getLogger(__name__)

LAST_EVENT_ID = "Last-Event-ID"


def resumes_after(description: str) -> dict[str, Any]:
    """The header of a feed that can be read on, for openapi.json."""
    schema = {"type": "integer", "minimum": 0}
    return {"name": LAST_EVENT_ID, "in": "header", "description": description, "schema": schema}


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One event. `last`: the feed ends with it."""

    name: str
    data: Mapping[str, Any]
    last: bool = False
    id: int | None = None
    """Where a reader may resume; None: it is counted."""


class Feed:
    """An ASGI response that streams batches of events, ids counting up; a comment is sent in every silence.

    A feed that has no end of its own goes on until the client leaves or the sidecar shuts down, which it says with one
    `error` event. That has the id of the event before it: whoever reads on with it misses nothing.

    `after`: where a feed that can be read on begins; it is told at once, so that also a reader who is cut off before
    the first event knows it.
    """

    def __init__(
        self,
        batches: AsyncGenerator[list[FeedItem], None],
        streams: OpenStreams,
        patience: Patience,
        after: int | None = None,
    ) -> None:
        self._batches = batches
        self._streams = streams
        self._patience = patience
        self._last_id = after or 0
        self._head = RETRY if after is None else RETRY + b"id: %d\n\n" % after

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        watch = Watch(self._streams, receive)
        pulse = Pulse(self._patience, watch, send)
        fault: SidecarError | None = None
        try:
            async with aclosing(self._batches), watch:
                await pulse.write(self._head)
                async for batch in self._batches:
                    last = any(item.last for item in batch)
                    watch.final = last
                    await pulse.write(self._encode(batch), more=not last)
                    if last:
                        return
        except SidecarError as error:
            fault = error
        except Exception:
            log.exception("request %s: the feed broke", request_id_of(scope))
            fault = Unexpected()
        finally:
            pulse.stop()
        if watch.ended is Ended.SHUTDOWN:
            fault = shutting_down()
        if fault is not None and not pulse.begun:
            raise fault  # nothing was sent: the status says it
        if watch.ended is Ended.STALLED:
            await abort(scope, receive)
        elif watch.ended is not Ended.LEFT:
            end = b"" if fault is None else self._encode([self._error(fault, scope)])
            await send({"type": "http.response.body", "body": end, "more_body": False})

    def _encode(self, batch: list[FeedItem]) -> bytes:
        parts = []
        for item in batch:
            self._last_id = self._last_id + 1 if item.id is None else item.id
            parts.append(b"id: %d\nevent: %b\ndata: %b\n\n" % (self._last_id, item.name.encode(), dumps(item.data)))
        return b"".join(parts)

    def _error(self, fault: SidecarError, scope: Scope) -> FeedItem:
        return FeedItem("error", problem_body(fault, request_id_of(scope)), last=True, id=self._last_id)
