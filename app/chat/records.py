"""What is stored of a conversation, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.context.summary import message_text
from app.errors import InvalidRequest

ID_PATTERN = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_NO_NAME = re.compile(r"\.+|(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)
"""Names that mean something else to a file system: an exported session must not."""

TITLE_CHARACTERS = 80
_PLAIN = frozenset({"role", "content"})


def check_id(session_id: str) -> str:
    """The id. Raises `InvalidRequest` for what could be read as a path or as a file name with a meaning of its own."""
    if not ID_PATTERN.fullmatch(session_id) or _NO_NAME.fullmatch(session_id):
        raise InvalidRequest(
            "A session's id is 1 to 128 letters, digits and `_ . : -`, and no name that file systems keep for "
            "themselves.",
            field="session_id",
        )
    return session_id


@dataclass(frozen=True, slots=True)
class Session:
    """A session without its messages."""

    id: str
    workspace: str
    private: bool
    """It was made or used while its workspace was private, and never leaves the machine again."""
    title: str | None
    created_at: datetime
    updated_at: datetime
    message_count: int


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to store, in OpenAI's shape. `created_at` None: now."""

    message: Mapping[str, Any]
    created_at: datetime | None = None
    partial: bool = False
    """An answer that was cut or cancelled."""
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as it is stored. `seq` counts from 0, without gaps."""

    seq: int
    message: Mapping[str, Any]
    created_at: datetime
    partial: bool = False
    request_id: str | None = None

    @property
    def text(self) -> str:
        return message_text(self.message)


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A session's state. `captured_by`: the model that wrote it; None: somebody put it."""

    state: Mapping[str, Any]
    updated_at: datetime
    captured_by: str | None = None


@dataclass(frozen=True, slots=True)
class SummaryRecord:
    """A rolling summary of the messages `from_seq` to `to_seq`, both included."""

    text: str
    from_seq: int
    to_seq: int
    model: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Messages in the order they were said. `next_after` is None on the last page."""

    messages: tuple[StoredMessage, ...]
    next_after: int | None


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Sessions, the latest used first; `next_cursor` is None on the last page."""

    sessions: tuple[Session, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Appended:
    """Where messages went. `searchable`: `meaning and words`, or `words` where there is no embedding model."""

    first_seq: int
    count: int
    searchable: str


def title_of(messages: list[NewMessage]) -> str | None:
    """The first line of what the user said first."""
    for new in messages:
        if new.message.get("role") == "user" and (text := message_text(new.message).strip()):
            line = text.splitlines()[0].strip()
            return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1].rstrip() + "…"
    return None


def split_message(message: Mapping[str, Any]) -> tuple[str | None, Mapping[str, Any]]:
    """The words of a plain message, and all else: what the columns `content` and `extra` hold."""
    content = message.get("content")
    rest = {name: value for name, value in message.items() if name not in _PLAIN and value is not None}
    if isinstance(content, str) or content is None:
        return content, rest
    return None, {"content": content, **rest}
