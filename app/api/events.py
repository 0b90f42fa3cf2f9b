"""`GET /api/v1/events`: what happens, as it happens, for a page that stays open."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request

from app.api.deps import Api, DirectRoute, api_of, v1_router
from app.api.feed import Feed, FeedItem
from app.api.results import Problem

router = v1_router("events", route_class=DirectRoute)

_STREAM = """Server-Sent Events without an end; `data` is JSON.

| event | data |
| --- | --- |
| `hello` | instance_id |
| `settled` | request_id, attempt, last, workspace, model, status, cost_usd |
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
    api = api_of(request)
    return Feed(_told(api), api.pages, api.patience)


async def _told(api: Api) -> AsyncGenerator[list[FeedItem], None]:
    with api.services.happenings.watch() as watcher:
        yield [FeedItem("hello", {"instance_id": api.services.instance_id})]
        async for batch in watcher.batches():
            yield [FeedItem(happening.kind, happening.data) for happening in batch]
