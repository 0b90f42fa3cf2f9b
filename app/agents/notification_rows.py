"""Notifications as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from app.agents.base import Severity
from app.errors import InvalidRequest
from app.store.tables import from_text, notifications, to_bound, to_text

MAX_PAGE = 200
_T = notifications.c


@dataclass(frozen=True, slots=True)
class Notification:
    """One entry of the inbox. `seq` rises with every one that is posted: a stream resumes by it."""

    id: str
    seq: int
    workspace: str
    private: bool
    """True: its workspace was private when it was posted; it never leaves the machine."""
    kind: str
    severity: Severity
    title: str
    body: str
    links: tuple[Mapping[str, str], ...]
    about: Mapping[str, Any]
    dedupe_key: str | None
    created_at: datetime
    read_at: datetime | None = None
    archived_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which ones. None: whatever. `before`: the cursor of the page before."""

    workspace: str | None = None
    kind: str | None = None
    severity: str | None = None
    unread: bool = False
    archived: bool = False
    before: int | None = None
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Page:
    notifications: tuple[Notification, ...]
    unread: int
    """Of all that the filter's workspace has, archived ones left out."""
    next_cursor: str | None


_NEWEST = "SELECT seq FROM sqlite_sequence WHERE name = 'notifications'"


def parse_cursor(text: str | None, field: str = "cursor") -> int | None:
    """Raises `InvalidRequest` for what is no cursor."""
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequest(f"`{field}` is not a cursor of this endpoint", field=field)
    return int(text)


def add(connection: Connection, made: Notification, told_since: datetime) -> Notification | None:
    """Store it, unless one with its key was posted after `told_since`."""
    if made.dedupe_key is not None:
        same = select(_T.seq).where(_T.dedupe_key == made.dedupe_key, _T.created_at > to_bound(told_since)).limit(1)
        if connection.execute(same).first() is not None:
            return None
    values = {
        "id": made.id,
        "workspace": made.workspace,
        "private": made.private,
        "kind": made.kind,
        "severity": made.severity,
        "title": _clean(made.title),
        "body": _clean(made.body),
        "links": orjson.dumps(made.links).decode(),
        "about": orjson.dumps(made.about).decode(),
        "dedupe_key": made.dedupe_key,
        "created_at": to_text(made.created_at),
    }
    seq = connection.execute(insert(notifications).values(values)).inserted_primary_key
    assert seq is not None
    return replace(made, seq=int(seq[0]))


def read_page(connection: Connection, wanted: Filter) -> Page:
    statement = _of(wanted.workspace).where(
        _T.archived_at.is_not(None) if wanted.archived else _T.archived_at.is_(None)
    )
    for column, value in ((_T.kind, wanted.kind), (_T.severity, wanted.severity)):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.unread:
        statement = statement.where(_T.read_at.is_(None))
    if wanted.before is not None:
        statement = statement.where(_T.seq < wanted.before)
    rows = connection.execute(statement.order_by(_T.seq.desc()).limit(wanted.limit + 1)).all()
    shown = tuple(map(_notification, rows[: wanted.limit]))
    unread = select(func.count()).where(_T.read_at.is_(None), _T.archived_at.is_(None))
    if wanted.workspace is not None:
        unread = unread.where(_T.workspace == wanted.workspace)
    more = len(rows) > wanted.limit
    return Page(shown, int(connection.execute(unread).scalar_one()), str(shown[-1].seq) if more else None)


def set_read(connection: Connection, id: str | None, workspace: str | None, now: datetime) -> Any:
    """The notification, read from now on (None: there is none); with `id` None how many were not read before."""
    statement = update(notifications).where(_T.read_at.is_(None)).values(read_at=to_text(now))
    if workspace is not None:
        statement = statement.where(_T.workspace == workspace)
    if id is None:
        return connection.execute(statement).rowcount
    connection.execute(statement.where(_T.id == id))
    return _one(connection, id, workspace)


def set_archived(connection: Connection, id: str, workspace: str | None, now: datetime) -> Notification | None:
    """Put away, and read with it."""
    if _one(connection, id, workspace) is None:
        return None
    own, text = update(notifications).where(_T.id == id), to_text(now)
    connection.execute(
        own.values(read_at=func.coalesce(_T.read_at, text), archived_at=func.coalesce(_T.archived_at, text))
    )
    return _one(connection, id, workspace)


def remove_archived(connection: Connection, before: datetime) -> int:
    """Those put away before then go; how many."""
    return connection.execute(delete(notifications).where(_T.archived_at < to_text(before))).rowcount


def find_since(connection: Connection, seq: int | None, workspace: str | None) -> tuple[list[Notification], int]:
    """Those after `seq`, oldest first, at most 500; and the newest number there was, also of one that was removed."""
    newest = int(connection.exec_driver_sql(_NEWEST).scalar() or 0)
    if seq is None:
        return [], newest
    rows = connection.execute(_of(workspace).where(_T.seq > seq).order_by(_T.seq).limit(500)).all()
    return [_notification(row) for row in rows], rows[-1].seq if len(rows) == 500 else newest


def _of(workspace: str | None) -> Select[Any]:
    statement = select(notifications)
    return statement if workspace is None else statement.where(_T.workspace == workspace)


def _one(connection: Connection, id: str, workspace: str | None) -> Notification | None:
    row = connection.execute(_of(workspace).where(_T.id == id)).one_or_none()
    return None if row is None else _notification(row)


def _notification(row: Row[Any]) -> Notification:
    return Notification(
        id=row.id,
        seq=row.seq,
        workspace=row.workspace,
        private=row.private,
        kind=row.kind,
        severity=row.severity,
        title=row.title,
        body=row.body,
        links=tuple(orjson.loads(row.links)),
        about=orjson.loads(row.about),
        dedupe_key=row.dedupe_key,
        created_at=from_text(row.created_at),
        read_at=None if row.read_at is None else from_text(row.read_at),
        archived_at=None if row.archived_at is None else from_text(row.archived_at),
    )


def _clean(text: str) -> str:
    """Free of what UTF-8 cannot hold."""
    return text.encode("utf-8", "replace").decode()
