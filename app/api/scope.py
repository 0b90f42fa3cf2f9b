"""Keeps a client whose key is bound to a workspace inside it."""

from __future__ import annotations

from dataclasses import replace

from starlette.requests import Request

from app.api.callers import caller_of, other_workspace
from app.api.deps import api_of
from app.chat.service import ChatRequest


async def within(request: Request, asked: ChatRequest) -> ChatRequest:
    """The request in the caller's workspace. Raises `Forbidden` where it asks for another, or for another's session."""
    caller = caller_of(request)
    if caller.workspace is None:
        return asked
    if asked.session_id is not None:
        await require_session(request, asked.session_id)
    return replace(asked, workspace=caller.workspace_for(asked.workspace))


async def require_session(request: Request, session_id: str) -> None:
    """Raises `Forbidden` where the session is of a workspace the caller does not act in, `NotFound` for none."""
    caller = caller_of(request)
    if caller.workspace is None:
        return
    session, _, _ = await api_of(request).services.sessions.get(session_id)
    if session.workspace != caller.workspace:
        raise other_workspace(caller)
