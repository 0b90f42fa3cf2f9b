"""Sessions as SQL rows. Every function runs in a thread of the store's, inside its transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import orjson
from sqlalchemy import ColumnElement, Connection, Row, delete, func, insert, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert

from app.chat.records import (
    NewMessage,
    Session,
    StateRecord,
    StoredMessage,
    SummaryRecord,
    split_message,
    title_of,
)
from app.errors import Conflict, NotFound
from app.store.tables import from_text, session_messages, session_state, session_summaries, sessions, to_text

_S, _M, _T, _U = sessions.c, session_messages.c, session_state.c, session_summaries.c

Vectors: TypeAlias = bytes | None
"""None: not embedded yet."""


@dataclass(frozen=True, slots=True)
class LoadedRows:
    """A whole session, read in one snapshot."""

    session: Session
    messages: tuple[StoredMessage, ...]
    vectors: tuple[Vectors, ...]
    state: StateRecord | None
    summary: SummaryRecord | None


def no_session(session_id: str) -> NotFound:
    return NotFound(
        f"there is no session {session_id!r}; make it with `POST /api/v1/sessions` or "
        f"`llm-sidecar sessions create {session_id}`, or see `llm-sidecar sessions list`",
        code="session_not_found",
    )


def add_session(connection: Connection, session: Session, messages: Sequence[NewMessage]) -> None:
    """A new session and its first messages. Raises `Conflict` where the id is taken."""
    row = {
        "id": session.id,
        "workspace": session.workspace,
        "private": session.private,
        "title": session.title or title_of(list(messages)),
        "created_at": to_text(session.created_at),
        "updated_at": to_text(session.updated_at),
    }
    made = connection.execute(upsert(sessions).values(row).on_conflict_do_nothing())
    if made.rowcount == 0:
        raise Conflict(f"there is a session {session.id!r} already", code="session_exists")
    _insert_messages(connection, session.id, 0, messages, session.created_at)


def add_messages(
    connection: Connection,
    session_id: str,
    messages: Sequence[NewMessage],
    now: datetime,
    *,
    private: bool,
    of: Session | None = None,
) -> int:
    """Append; the first one's `seq`. Raises `NotFound`."""
    _require(connection, session_id, of)
    found = connection.execute(select(_S.title, _S.private, _message_count()).where(_S.id == session_id)).one_or_none()
    if found is None:
        raise no_session(session_id)
    title, was_private, count = found
    changes = {
        "updated_at": to_text(now),
        "private": was_private or private,
        "title": title or title_of(list(messages)),
    }
    connection.execute(update(sessions).where(_S.id == session_id).values(changes))
    _insert_messages(connection, session_id, count, messages, now)
    return int(count)


def _insert_messages(
    connection: Connection, session_id: str, first: int, messages: Sequence[NewMessage], now: datetime
) -> None:
    rows = [_message_row(session_id, first + place, new, now) for place, new in enumerate(messages)]
    if rows:
        connection.execute(insert(session_messages), rows)


def _message_row(session_id: str, seq: int, new: NewMessage, now: datetime) -> dict[str, Any]:
    content, extra = split_message(new.message)
    return {
        "session_id": session_id,
        "seq": seq,
        "role": new.message["role"],
        "content": content,
        "extra": orjson.dumps(extra).decode() if extra else None,
        "partial": new.partial,
        "request_id": new.request_id,
        "created_at": to_text(new.created_at or now),
    }


def put_vectors(connection: Connection, session_id: str, vectors: Mapping[int, bytes], of: Session) -> None:
    """Fill in embeddings, by `seq`. Raises `NotFound`."""
    _require(connection, session_id, of)
    for seq, data in vectors.items():
        connection.execute(
            update(session_messages).where(_M.session_id == session_id, _M.seq == seq).values(embedding=data)
        )


def make_private(connection: Connection, session_id: str) -> None:
    connection.execute(update(sessions).where(_S.id == session_id).values(private=True))


def remove(connection: Connection, session_id: str) -> str:
    """The session and all that belongs to it; the workspace it was in. Raises `NotFound`."""
    workspace = connection.execute(select(_S.workspace).where(_S.id == session_id)).scalar()
    if workspace is None:
        raise no_session(session_id)
    connection.execute(delete(sessions).where(_S.id == session_id))
    return str(workspace)


def put_state(
    connection: Connection, session_id: str, record: StateRecord, *, private: bool, of: Session | None = None
) -> None:
    """Raises `NotFound`."""
    _require(connection, session_id, of)
    if private:
        make_private(connection, session_id)
    values = {
        "state": orjson.dumps(record.state).decode(),
        "updated_at": to_text(record.updated_at),
        "captured_by": record.captured_by,
    }
    statement = upsert(session_state).values(session_id=session_id, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["session_id"], set_=values))


def put_summary(connection: Connection, session_id: str, record: SummaryRecord, of: Session | None = None) -> None:
    """Keep a further summary; earlier ones stay. Raises `NotFound`."""
    _require(connection, session_id, of)
    values = {
        "from_seq": record.from_seq,
        "text": record.text,
        "model": record.model,
        "created_at": to_text(record.created_at),
    }
    statement = upsert(session_summaries).values(session_id=session_id, to_seq=record.to_seq, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=["session_id", "to_seq"], set_=values))


def _require(connection: Connection, session_id: str, of: Session | None = None) -> None:
    """Raises `NotFound` where there is no such session, or another than the one that was read (`of`).

    A session may be deleted while something of it is under way, and another one be made under its name: of another
    workspace, perhaps.
    """
    row = connection.execute(select(_S.created_at, _S.workspace).where(_S.id == session_id)).one_or_none()
    if row is None or (of is not None and tuple(row) != (to_text(of.created_at), of.workspace)):
        raise no_session(session_id)


def get_session(connection: Connection, session_id: str) -> Session:
    """Raises `NotFound`."""
    row = connection.execute(_session_columns().where(_S.id == session_id)).one_or_none()
    if row is None:
        raise no_session(session_id)
    return _session(row)


def list_sessions(
    connection: Connection, workspace: str | None, limit: int, before: tuple[str, str] | None
) -> list[Session]:
    """The latest used first. `before`: (updated_at, id) of the last one of the page before."""
    query = _session_columns().order_by(_S.updated_at.desc(), _S.id.desc()).limit(limit)
    if workspace is not None:
        query = query.where(_S.workspace == workspace)
    if before is not None:
        query = query.where(tuple_(_S.updated_at, _S.id) < before)
    return [_session(row) for row in connection.execute(query)]


def read_messages(
    connection: Connection, session_id: str, *, after: int, before: int | None, limit: int
) -> list[StoredMessage]:
    """Those after `after`, from there on; with `before`, the last ones before it. Raises `NotFound`."""
    _require(connection, session_id)
    query = _message_columns(session_id).limit(limit)
    if before is None:
        rows: Iterable[Row[Any]] = connection.execute(query.where(_M.seq > after).order_by(_M.seq))
    else:
        rows = reversed(connection.execute(query.where(_M.seq < before).order_by(_M.seq.desc())).all())
    return [_message(row) for row in rows]


def get_state(connection: Connection, session_id: str) -> StateRecord | None:
    """None where none was put yet. Raises `NotFound`."""
    _require(connection, session_id)
    row = connection.execute(select(session_state).where(_T.session_id == session_id)).one_or_none()
    return None if row is None else StateRecord(orjson.loads(row.state), from_text(row.updated_at), row.captured_by)


def get_summary(connection: Connection, session_id: str) -> SummaryRecord | None:
    """The one in use."""
    query = select(session_summaries).where(_U.session_id == session_id).order_by(_U.to_seq.desc()).limit(1)
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    return SummaryRecord(row.text, row.from_seq, row.to_seq, row.model, from_text(row.created_at))


def load(connection: Connection, session_id: str) -> LoadedRows:
    """All of a session. Raises `NotFound`."""
    session = get_session(connection, session_id)
    rows = connection.execute(_message_columns(session_id).add_columns(_M.embedding).order_by(_M.seq)).all()
    return LoadedRows(
        session,
        tuple(_message(row) for row in rows),
        tuple(row.embedding for row in rows),
        get_state(connection, session_id),
        get_summary(connection, session_id),
    )


def _message_count() -> ColumnElement[int]:
    """Of the enclosing query's session: `seq` has no gaps, so its maximum tells, in one step of the primary key."""
    newest = select(func.max(_M.seq)).where(_M.session_id == _S.id).correlate(sessions)
    return func.coalesce(newest.scalar_subquery(), -1) + 1


def _session_columns() -> Any:
    return select(sessions, _message_count().label("message_count"))


def _message_columns(session_id: str) -> Any:
    columns = (_M.seq, _M.role, _M.content, _M.extra, _M.partial, _M.request_id, _M.created_at)
    return select(*columns).where(_M.session_id == session_id)


def _session(row: Row[Any]) -> Session:
    return Session(
        row.id,
        row.workspace,
        row.private,
        row.title,
        from_text(row.created_at),
        from_text(row.updated_at),
        row.message_count,
    )


def _message(row: Row[Any]) -> StoredMessage:
    message = {"role": row.role, "content": row.content, **(orjson.loads(row.extra) if row.extra else {})}
    return StoredMessage(row.seq, message, from_text(row.created_at), row.partial, row.request_id)
