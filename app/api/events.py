"""`GET /api/v1/events`: what happens, as it happens, for a page that stays open."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.deps import Api, DirectRoute, api_of
from app.api.results import Problem
from app.api.sse import RETRY, Pulse, abort
from app.api.streams import Ended, Watch
from app.api.wire import dumps
from app.services.feed import Happening

router = APIRouter(route_class=DirectRoute, tags=["events"])

_STREAM = """Server-Sent Events without an end; `data` is JSON.

| event | data |
| --- | --- |
| `hello` | instance_id |
| `settled` | request_id, attempt, workspace, model, status, cost_usd |
| `notification` | a notification of the inbox, as `/notifications` shows it |
| `config` | fingerprint: the configuration was read anew |
| `missed` | nothing: the reader was too slow, and should read again what it shows |
"""


@router.get(
    "/events",
    summary="What happens, live",
    operation_id="events",
    responses={
        200: {"description": _STREAM, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        429: {"model": Problem, "description": "`too_many_streams`"},
    },
)
async def events(request: Request) -> Any:
    """Begins with now: what happened before is asked for at the other routes."""
    return FeedStream(api_of(request))


class FeedStream(Response):
    """An ASGI response that lasts until its reader leaves, stalls, or the sidecar shuts down."""

    def __init__(self, api: Api) -> None:
        super().__init__()
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        services = self._api.services
        watch = Watch(self._api.pages, receive)
        pulse = Pulse(self._api.patience, watch, send)
        try:
            async with watch:
                with services.feed.watch() as watcher:
                    await pulse.write(RETRY + encode([Happening("hello", {"instance_id": services.instance_id})]))
                    async for batch in watcher.batches():
                        await pulse.write(encode(batch))
        finally:
            pulse.stop()
        if watch.ended is Ended.STALLED:
            await abort(scope, receive)
        elif watch.ended is Ended.SHUTDOWN:
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def encode(batch: list[Happening]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (h.kind.encode(), dumps(h.data)) for h in batch)
