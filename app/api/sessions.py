"""`/api/v1/sessions`: stored conversations, their messages and their state."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from app.api.callers import caller_of
from app.api.deps import api_of, body_docs, body_of, json_response, v1_router
from app.api.results import Problem
from app.api.schemas import JsonObject
from app.api.scope import require_session
from app.api.session_schemas import (
    AppendResult,
    CaptureResult,
    MessageList,
    MessagesBody,
    SessionBody,
    SessionDetail,
    SessionList,
    SessionResult,
)
from app.chat.records import Session, StateRecord, StoredMessage, SummaryRecord
from app.chat.sessions import MOST_PER_PAGE
from app.chat.state import SessionState
from app.errors import InvalidRequest
from app.store.tables import to_text

router = v1_router("sessions")

SessionId = Annotated[str, Path(description="1 to 128 letters, digits and `_ . : -`.")]

_INVALID: dict[int | str, dict[str, Any]] = {422: {"model": Problem}}
_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "`session_not_found`"}, **_INVALID}


class ListParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    workspace: str | None = Field(None, max_length=128, description="This workspace's alone; all when absent.")
    limit: int = Field(50, ge=1, le=MOST_PER_PAGE)
    cursor: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")


class MessageParams(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    after: int = Field(-1, ge=-1, le=2**53, description="Messages with a larger `seq`, oldest first.")
    before: int | None = Field(None, ge=0, le=2**53, description="The last ones with a smaller `seq` instead.")
    limit: int = Field(100, ge=1, le=MOST_PER_PAGE)


@router.post(
    "/sessions",
    summary="Start or import a session",
    operation_id="create_session",
    status_code=201,
    responses={
        201: {"model": SessionResult},
        409: {"model": Problem, "description": "`session_exists`"},
        **_INVALID,
    },
    openapi_extra=body_docs(SessionBody),
)
async def create(request: Request) -> Any:
    """Answered once its messages, if it comes with any, can be searched."""
    body = await body_of(request, SessionBody)
    session = await api_of(request).services.sessions.create(
        session_id=body.id,
        workspace=caller_of(request).workspace_for(body.workspace),
        title=body.title,
        messages=[message.to_new() for message in body.messages],
    )
    return _created(session_data(session))


@router.get(
    "/sessions",
    summary="Which sessions are there?",
    operation_id="sessions",
    responses={200: {"model": SessionList}, **_INVALID},
)
async def page(request: Request, params: Annotated[ListParams, Query()]) -> Any:
    """The latest used first, a page at a time."""
    found = await api_of(request).services.sessions.page(
        workspace=caller_of(request).workspace_for(params.workspace), limit=params.limit, cursor=params.cursor
    )
    return json_response({"sessions": [session_data(s) for s in found.sessions], "next_cursor": found.next_cursor})


@router.get(
    "/sessions/{session_id}/messages",
    summary="What was said?",
    operation_id="session_messages",
    responses={200: {"model": MessageList}, **_MISSING},
)
async def messages(request: Request, session_id: SessionId, params: Annotated[MessageParams, Query()]) -> Any:
    """In the order it was said. `after` pages forwards, `before` backwards."""
    await require_session(request, session_id)
    if params.before is not None and params.after != -1:
        raise InvalidRequest("give either after or before, not both", field="before")
    found = await api_of(request).services.sessions.read(
        session_id, after=params.after, before=params.before, limit=params.limit
    )
    return json_response({"messages": [message_data(m) for m in found.messages], "next_after": found.next_after})


@router.post(
    "/sessions/{session_id}/messages",
    summary="Append messages",
    operation_id="append_messages",
    status_code=201,
    responses={201: {"model": AppendResult}, **_MISSING},
    openapi_extra=body_docs(MessagesBody),
)
async def append(request: Request, session_id: SessionId) -> Any:
    """Answered once they can be searched; all are stored or none. A chat stores its own messages itself."""
    await require_session(request, session_id)
    body = await body_of(request, MessagesBody)
    done = await api_of(request).services.sessions.append(session_id, [message.to_new() for message in body.messages])
    return _created(
        {
            "first_seq": done.first_seq,
            "last_seq": done.first_seq + done.count - 1,
            "count": done.count,
            "searchable": done.searchable,
        }
    )


@router.get(
    "/sessions/{session_id}/state",
    summary="What is it about?",
    operation_id="session_state",
    responses={200: {"model": SessionState}, **_MISSING},
)
async def state(request: Request, session_id: SessionId) -> Any:
    """The state as it was put or captured; an empty object where there is none yet."""
    await require_session(request, session_id)
    record = await api_of(request).services.sessions.state(session_id)
    return json_response({} if record is None else dict(record.state))


@router.put(
    "/sessions/{session_id}/state",
    summary="Say what it is about",
    operation_id="put_session_state",
    responses={200: {"model": SessionState}, **_MISSING},
    openapi_extra=body_docs(SessionState),
)
async def put_state(request: Request, session_id: SessionId) -> Any:
    """Replaces the whole state. Every chat of the session sees it, and it is never trimmed."""
    await require_session(request, session_id)
    services = api_of(request).services
    given = (await body_of(request, SessionState)).data()
    await services.sessions.put_state(session_id, StateRecord(given, services.clock.now()))
    return json_response(given)


@router.post(
    "/sessions/{session_id}/state/capture",
    summary="Let a model say what it is about",
    operation_id="capture_session_state",
    responses={
        200: {"model": CaptureResult},
        502: {"model": Problem, "description": "`capture_failed`: the state there was has been kept"},
        **_MISSING,
    },
)
async def capture(request: Request, session_id: SessionId) -> Any:
    """The configured summariser writes the state from the recent messages, under the workspace's policy."""
    await require_session(request, session_id)
    record = await api_of(request).services.capture.capture(session_id)
    return json_response(
        {
            "state": dict(record.state),
            "captured_by": record.captured_by,
            "updated_at": to_text(record.updated_at),
        }
    )


# These two last, and with whatever path: `../../x` is no session's id, and is told so.
@router.get(
    "/sessions/{session_id:path}",
    summary="One session",
    operation_id="session",
    responses={200: {"model": SessionDetail}, **_MISSING},
)
async def one(request: Request, session_id: SessionId) -> Any:
    """The session with the summary of its older messages."""
    await require_session(request, session_id)
    session, summary, record = await api_of(request).services.sessions.get(session_id)
    return json_response(
        {
            **session_data(session),
            "summary": None if summary is None else summary_data(summary),
            "state_updated_at": None if record is None else to_text(record.updated_at),
            "state_captured_by": None if record is None else record.captured_by,
        }
    )


@router.delete(
    "/sessions/{session_id:path}",
    summary="Delete a session",
    operation_id="delete_session",
    status_code=204,
    responses=_MISSING,
)
async def delete(request: Request, session_id: SessionId) -> Response:
    """Its messages, state and summaries go with it; what it cost stays in the ledger."""
    await require_session(request, session_id)
    await api_of(request).services.sessions.delete(session_id)
    return Response(status_code=204, headers={"cache-control": "no-store"})


def session_data(session: Session) -> JsonObject:
    return {
        "id": session.id,
        "workspace": session.workspace,
        "private": session.private,
        "title": session.title,
        "created_at": to_text(session.created_at),
        "updated_at": to_text(session.updated_at),
        "message_count": session.message_count,
    }


def message_data(stored: StoredMessage) -> JsonObject:
    return {
        **stored.message,
        "seq": stored.seq,
        "created_at": to_text(stored.created_at),
        "partial": stored.partial,
        "request_id": stored.request_id,
    }


def summary_data(summary: SummaryRecord) -> JsonObject:
    return {
        "text": summary.text,
        "from_seq": summary.from_seq,
        "to_seq": summary.to_seq,
        "model": summary.model,
        "created_at": to_text(summary.created_at),
    }


def _created(data: JsonObject) -> Response:
    response = json_response(data)
    response.status_code = 201
    return response
