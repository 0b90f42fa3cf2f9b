"""What may be sent to `/sessions`, and what is answered there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from app.api.results import Result
from app.api.schemas import Body, ChatMessage, Id
from app.chat.records import NewMessage
from app.chat.sessions import MOST_AT_ONCE
from app.chat.state import SessionState


class SessionMessage(ChatMessage):
    """A message in OpenAI's shape, and when it was said."""

    created_at: str | None = Field(
        None, max_length=40, description="ISO 8601; now when absent. Without an offset it is taken as UTC."
    )

    @field_validator("created_at")
    @classmethod
    def _is_a_time(cls, value: str | None) -> str | None:
        if value is not None:
            _moment(value)
        return value

    def to_new(self) -> NewMessage:
        message = self.model_dump(exclude_none=True, exclude={"created_at"})
        return NewMessage(message, _moment(self.created_at) if self.created_at else None)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        moment = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an ISO-8601 time, such as 2026-11-24T09:30:00Z") from None
    if not 1970 <= moment.year <= 9998:
        raise ValueError("must lie between the years 1970 and 9998")
    return moment


Messages = Annotated[list[SessionMessage], Field(max_length=MOST_AT_ONCE)]


class SessionBody(Body):
    """A new session; with messages, an import."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": "thesis-2026-11-24", "workspace": "thesis-research"}]}
    )

    id: Id | None = Field(None, description="Made when absent.")
    workspace: Id | None = Field(None, description="A profile's id; the configured default when absent.")
    title: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(
        None, description="The beginning of the first question when absent."
    )
    messages: Messages = Field([], description="What was said before: all of it is stored, or the session is not made.")


class MessagesBody(Body):
    """Messages to append, in the order they were said."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "messages": [
                        {"role": "user", "content": "Where is the cache?", "created_at": "2026-11-24T09:30:00Z"},
                        {"role": "assistant", "content": "In app/cache.py."},
                    ]
                }
            ]
        }
    )

    messages: Annotated[list[SessionMessage], Field(min_length=1, max_length=MOST_AT_ONCE)]


BODIES: tuple[type[BaseModel], ...] = (SessionBody, MessagesBody, SessionState)
"""Read without FastAPI's help; the OpenAPI document is told about them."""


class SummaryResult(Result):
    text: str
    from_seq: int = Field(description="The first message it covers.")
    to_seq: int = Field(description="The last message it covers.")
    model: str = Field(description="Who wrote it.")
    created_at: str


class SessionResult(Result):
    id: str
    workspace: str
    private: bool = Field(description="Made or used while its workspace was private: it never leaves this machine.")
    title: str | None
    created_at: str = Field(description="ISO 8601, UTC.")
    updated_at: str
    message_count: int


class SessionDetail(SessionResult):
    summary: SummaryResult | None = Field(description="Of the older messages, which are all still there.")
    state_updated_at: str | None
    state_captured_by: str | None = Field(description="The model that wrote the state; null: somebody put it.")


class SessionList(Result):
    sessions: list[SessionResult]
    next_cursor: str | None


class MessageResult(BaseModel):
    """A message as it was said, in OpenAI's shape (`tool_calls`, `tool_call_id` and `name` where it has them)."""

    model_config = ConfigDict(extra="allow", frozen=True)

    seq: int = Field(description="From 0, without gaps.")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None
    created_at: str
    partial: bool = Field(description="An answer that was cut or cancelled.")
    request_id: str | None = Field(description="Of the chat it came from; leads to its rows in the ledger.")


class MessageList(Result):
    messages: list[MessageResult]
    next_after: int | None = Field(description="`after` of the next page; null on the last one.")


class AppendResult(Result):
    first_seq: int
    last_seq: int
    count: int
    searchable: Literal["meaning and words", "words"] = Field(
        description="`words` where the embedding model is not installed."
    )


class CaptureResult(Result):
    state: dict[str, Any]
    captured_by: str = Field(description="The model that wrote it; `builtin/extractive` where none answered.")
    updated_at: str
