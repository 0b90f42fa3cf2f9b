"""`/api/v1/notifications`: the inbox, and what comes into it live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from app.agents.notification_rows import MAX_PAGE, Filter, parse_cursor
from app.agents.notifications import data_of
from app.api.callers import caller_of
from app.api.deps import Api, DirectRoute, api_of, json_response, v1_router
from app.api.feed import LAST_EVENT_ID, Feed, FeedItem, resumes_after
from app.api.results import NotificationList, NotificationResult, Problem, ReadAllResult

router = v1_router("notifications")
live = v1_router("notifications", route_class=DirectRoute)

_NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`notification_not_found`"}}
_STREAM = (
    "Server-Sent Events without an end: `notification`, its number as `id`. With `Last-Event-ID` it begins after that, "
    "else with now; the first `id`, which stands alone, says after which."
)


class NotificationParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: str | None = Field(None, max_length=256)
    kind: str | None = Field(None, max_length=64)
    severity: Literal["info", "success", "warning", "error"] | None = None
    unread: bool = Field(False, description="Those alone that nobody has read.")
    archived: bool = Field(False, description="Those that were put away instead.")
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: str | None = Field(None, max_length=32, description="`next_cursor` of the page before.")


@router.get(
    "/notifications",
    summary="The inbox",
    operation_id="notifications",
    responses={200: {"model": NotificationList}, 422: {"model": Problem}},
)
async def notifications(request: Request, params: Annotated[NotificationParams, Query()]) -> Any:
    """Newest first, a page at a time."""
    wanted = Filter(
        workspace=caller_of(request).workspace_for(params.workspace),
        kind=params.kind,
        severity=params.severity,
        unread=params.unread,
        archived=params.archived,
        before=parse_cursor(params.cursor),
        limit=params.limit,
    )
    page = await api_of(request).services.inbox.page(wanted)
    found = [data_of(notification) for notification in page.notifications]
    return json_response({"notifications": found, "unread": page.unread, "next_cursor": page.next_cursor})


@live.get(
    "/notifications/events",
    summary="The inbox, live",
    operation_id="notification_events",
    responses={
        200: {"description": _STREAM, "content": {"text/event-stream": {"schema": {"type": "string"}}}},
        422: {"model": Problem},
        429: {"model": Problem, "description": "`too_many_streams`"},
    },
    openapi_extra={"parameters": [resumes_after("The number of the last notification that was received.")]},
)
async def notification_events(request: Request) -> Any:
    """What is posted from now on, and before that what was posted since `Last-Event-ID`."""
    api = api_of(request)
    given = parse_cursor(request.headers.get("last-event-id"), LAST_EVENT_ID)
    newest = await api.services.inbox.newest()
    # A number that was never given is of another inbox: the database was set aside, and nothing of this one was seen.
    last = newest if given is None else given if given <= newest else 0
    return Feed(_told(api, last, caller_of(request).workspace), api.pages, api.patience, after=last)


async def _told(api: Api, last: int, workspace: str | None) -> AsyncGenerator[list[FeedItem], None]:
    async for batch in api.services.inbox.since(last, workspace):
        yield [FeedItem("notification", data_of(notification), id=notification.seq) for notification in batch]


@router.post(
    "/notifications/read-all",
    summary="Note that all were read",
    operation_id="notifications_read_all",
    responses={200: {"model": ReadAllResult}},
)
async def read_all(request: Request, workspace: Annotated[str | None, Query(max_length=256)] = None) -> Any:
    """Of one workspace, or of all."""
    asked = caller_of(request).workspace_for(workspace)
    return json_response({"read": await api_of(request).services.inbox.read_all(asked)})


@router.post(
    "/notifications/{id}/read",
    summary="Note that it was read",
    operation_id="notification_read",
    responses={200: {"model": NotificationResult}, **_NOT_FOUND},
)
async def read(request: Request, id: str) -> Any:
    """A second time changes nothing."""
    return json_response(data_of(await api_of(request).services.inbox.mark(id, "read", caller_of(request).workspace)))


@router.post(
    "/notifications/{id}/archive",
    summary="Put it away",
    operation_id="notification_archive",
    responses={200: {"model": NotificationResult}, **_NOT_FOUND},
)
async def archive(request: Request, id: str) -> Any:
    """It counts as read, and shows with `archived=true` alone."""
    inbox = api_of(request).services.inbox
    return json_response(data_of(await inbox.mark(id, "archived", caller_of(request).workspace)))
