"""What an agent may read and keep: SQL over its workspace, its own documents, the workspace's index.

    await context.data.query("SELECT title, updated_at FROM sessions WHERE updated_at >= ?", [since])

SQL runs on a read-only connection of its own that shows some tables as views of the workspace's rows; the tables
themselves, all others, other databases and writes are refused by SQLite's authoriser, whatever the statement says.
Whoever reads what was written while the workspace was private makes its run private (`Taint`). With `open_only` such
rows are not there, nor are tables of which it cannot be told.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import orjson
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects.sqlite import insert

from app.agents.base import Storing
from app.agents.privacy import Taint
from app.config.schema import Profile
from app.errors import InvalidRequest
from app.memory.chunks import Chunk
from app.memory.hits import Hit
from app.memory.workspace import WorkspaceMemory
from app.store.database import Database
from app.store.tables import agent_documents, from_text, metadata, to_text

if TYPE_CHECKING:
    from app.memory.embedder import Vectors

MAX_ROWS: Final = 10_000
QUERY_SECONDS: Final = 10.0
MAX_DOCUMENT_BYTES: Final = 1_000_000
_STEPS = 10_000
"""SQLite's virtual machine asks this often whether the time is up (about every millisecond)."""
_OWN = "workspace = {w}"
_OF_SESSION = "session_id IN (SELECT id FROM main.sessions WHERE workspace = {w} AND ({open}))"
_OF_ENTITY = "workspace = {w} AND entity_id IN (SELECT id FROM main.entities WHERE {open})"
_ROWS: Final[Mapping[str, str]] = {
    "sessions": _OWN,
    "session_messages": _OF_SESSION,
    "session_state": _OF_SESSION,
    "session_summaries": _OF_SESSION,
    "entities": _OWN,
    "entity_names": _OF_ENTITY,
    "entity_terms": _OF_ENTITY,
    "entity_sightings": _OF_ENTITY,
    "entity_relations": _OWN,
    "agent_runs": _OWN,
    "agent_state": _OWN,
    "agent_documents": _OWN,
    "notifications": _OWN,
    "index_folders": _OWN,
    "llm_usage_log": "workspace_profile_id = {w}",
    "usage_dimensions": "workspace_profile_id = {w}",
    "request_feedback": _OWN,
    "request_parents": "request_id IN (SELECT request_id FROM main.llm_usage_log WHERE workspace_profile_id = {w})",
    "request_receipts": "request_id IN (SELECT request_id FROM main.llm_usage_log WHERE workspace_profile_id = {w})",
}
"""The tables that are shown, and which of their rows are the workspace's. What is not named is not shown: keys of
clients, say. `{open}` stands for the condition on the row another one belongs to."""
_MARKS: Final[Mapping[str, str]] = {
    "session_messages": "sessions",
    "session_state": "sessions",
    "session_summaries": "sessions",
    "entity_names": "entities",
    "entity_terms": "entities",
}
"""Whose `private` tells of rows that have none of their own."""


class QueryRefused(InvalidRequest):
    """A statement an agent may not make, or one that is wrong."""


@dataclass(frozen=True, slots=True)
class Document:
    """One of an agent's own: a JSON object under a kind and a key."""

    kind: str
    key: str
    document: Mapping[str, Any]
    updated_at: datetime


class AgentData:
    """Read-only SQL over one workspace. `open_only`: as if nothing had been written in private."""

    def __init__(self, path: Path, workspace: str, taint: Taint, open_only: bool = False) -> None:
        self._path = path
        self._workspace = workspace
        self._taint = taint
        self._open_only = open_only

    async def query(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of one SELECT, at most `MAX_ROWS`. Times in the tables are ISO 8601 text in UTC.

        Raises `QueryRefused` where the statement is wrong, wants what it may not see, or takes over `QUERY_SECONDS`.
        """
        stop = threading.Event()
        try:
            found, private = await asyncio.to_thread(self._query, sql, parameters, stop)
        finally:
            stop.set()
        self._taint.read_private(private)
        if isinstance(found, QueryRefused):
            raise found
        return found

    def _query(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any], stop: threading.Event
    ) -> tuple[list[dict[str, Any]] | QueryRefused, bool]:
        """The rows, or why there are none; and whether either may tell of what is private."""
        deadline = monotonic() + QUERY_SECONDS
        # Who reads a table is told to the authoriser by name, and a statement may name its own subqueries: the views
        # that may read one have a name that no statement can guess.
        secret = f"v{secrets.token_hex(16)}"
        with closing(_connect(self._path)) as connection:
            _show_only(connection, self._workspace, secret, self._open_only)
            seen: set[str] = set()
            connection.execute("BEGIN")  # one snapshot for the statement and for whether it saw something private
            connection.set_progress_handler(lambda: int(stop.is_set() or monotonic() > deadline), _STEPS)
            connection.set_authorizer(_guard(secret, seen))
            found, read = _rows(connection, sql, parameters, deadline)
            connection.set_authorizer(None)
            connection.set_progress_handler(None, 0)
            private = read and not self._open_only and _has_private(connection, self._workspace, seen)
            return found, private


def _rows(
    connection: sqlite3.Connection, sql: str, parameters: Sequence[Any] | Mapping[str, Any], deadline: float
) -> tuple[list[dict[str, Any]] | QueryRefused, bool]:
    """The rows, or why there are none; and whether any was looked at.

    What SQLite says of a statement holds nothing of a row. What it says of a row ("malformed JSON", "path error near
    '…'") may quote it, also one that is filtered out later: that is not repeated.
    """
    try:
        return [dict(row) for row in connection.execute(sql, parameters).fetchmany(MAX_ROWS)], True
    except sqlite3.Error as error:
        if monotonic() > deadline:
            return QueryRefused(f"the query was refused: it takes longer than {QUERY_SECONDS:g} s"), True
        failed = error
    try:
        connection.execute(f"EXPLAIN {sql}", parameters)
    except sqlite3.Error as error:
        return QueryRefused(f"the query was refused: {error}"), False
    return QueryRefused(f"the query failed at a row ({failed.sqlite_errorname}), which is not repeated here"), True


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _show_only(connection: sqlite3.Connection, workspace: str, secret: str, open_only: bool) -> None:
    """Put a view of the workspace's rows in front of each table, and make the connection one that reads."""
    name = "'" + workspace.replace("'", "''") + "'"
    there = {row[0] for row in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
    for table in _ROWS:
        condition = _condition(table, open_only)
        if condition is not None and table in there:
            inner = f"{secret}_{table}"
            where = condition.replace("{w}", name)
            connection.execute(f"CREATE TEMP VIEW {inner} AS SELECT * FROM main.{table} WHERE {where}")
            connection.execute(f"CREATE TEMP VIEW {table} AS SELECT * FROM {inner}")
    connection.execute("PRAGMA query_only = ON")


def _condition(table: str, open_only: bool) -> str | None:
    """The rows of this table that are shown; None where it cannot be told which of them are open."""
    marked = "private" in metadata.tables[table].c
    if not open_only:
        return _ROWS[table].replace("{open}", "TRUE")
    if not marked and table not in _MARKS:
        return None
    return _ROWS[table].replace("{open}", "NOT private") + (" AND NOT private" if marked else "")


def _guard(secret: str, seen: set[str]) -> Callable[..., int]:
    """An authoriser: reads through the views, functions, nothing else. What is read is added to `seen`."""
    harmless = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION)

    def allowed(action: int, table: str | None, _: str | None, database: str | None, view: str | None) -> int:
        if action in harmless:
            return sqlite3.SQLITE_OK
        if action != sqlite3.SQLITE_READ or table is None or table.lower().startswith("sqlite_"):
            return sqlite3.SQLITE_DENY
        # `view` is the innermost view or subquery the read goes through; without a database it is of a subquery.
        if database == "main" and not (view or "").startswith(secret):
            return sqlite3.SQLITE_DENY
        seen.add(table)
        return sqlite3.SQLITE_OK

    return allowed


def _has_private(connection: sqlite3.Connection, workspace: str, seen: set[str]) -> bool:
    """Whether the workspace has private rows in what was looked at, be they in the answer or missing from it."""
    looked = {_MARKS.get(table, table) for table in seen} & metadata.tables.keys()
    marked = sorted(table for table in looked if "private" in metadata.tables[table].c)
    found = (
        connection.execute(f"SELECT 1 FROM main.{table} WHERE workspace = ? AND private = 1 LIMIT 1", [workspace])
        for table in marked
    )
    return any(cursor.fetchone() is not None for cursor in found)


class AgentStore:
    """One agent's documents in one workspace. In a dry run a write is noted, and read back within the run alone."""

    def __init__(
        self,
        database: Database,
        *,
        agent: str,
        profile: Profile,
        run_id: str,
        now: Callable[[], datetime],
        taint: Taint,
        storing: Storing,
        dry_run: bool,
        open_only: bool = False,
    ) -> None:
        self._database = database
        self._agent = agent
        self._profile = profile
        self._run_id = run_id
        self._now = now
        self._taint = taint
        self._storing = storing
        self._open_only = open_only
        self._held: dict[tuple[str, str], Document | None] | None = {} if dry_run else None
        self.stored: list[str] = []
        """Ids (`kind:key`) of what this run wrote, in order."""

    async def put(self, kind: str, key: str, document: Mapping[str, Any]) -> str:
        """Store or replace; returns its id, `kind:key`. Raises `InvalidRequest` where it is no JSON or too large."""
        try:
            text = orjson.dumps(dict(document)).decode()
        except TypeError:
            raise InvalidRequest(f"the document `{kind}:{key}` is no JSON") from None
        if len(text) > MAX_DOCUMENT_BYTES:
            raise InvalidRequest(f"the document `{kind}:{key}` is larger than {MAX_DOCUMENT_BYTES} bytes")
        now = self._now()
        values = {
            "agent": self._agent, "workspace": self._profile.id, "kind": kind, "key": key, "document": text,
            "private": self._taint.private, "run_id": self._run_id,
            "created_at": to_text(now), "updated_at": to_text(now),
        }  # fmt: skip
        kept = ("document", "private", "run_id", "updated_at")
        statement = insert(agent_documents).values(values)
        upsert = statement.on_conflict_do_update(
            index_elements=["agent", "workspace", "kind", "key"], set_={name: statement.excluded[name] for name in kept}
        )
        if self._held is not None:
            self._held[kind, key] = Document(kind, key, dict(document), now)
        await self._storing(f"{kind} `{key}`", lambda: self._write(upsert))
        found = f"{kind}:{key}"
        self.stored.append(found)
        return found

    async def get(self, kind: str, key: str) -> Mapping[str, Any] | None:
        """The document, or None."""
        if self._held is not None and (kind, key) in self._held:
            held = self._held[kind, key]
            return held.document if held else None
        found = await self._select(agent_documents.c.kind == kind, agent_documents.c.key == key, limit=1)
        return found[0].document if found else None

    async def latest(self, kind: str, *, limit: int = 100, since: datetime | None = None) -> list[Document]:
        """Documents of a kind, the latest changed first."""
        conditions = [agent_documents.c.kind == kind]
        if since is not None:
            conditions.append(agent_documents.c.updated_at >= to_text(since))
        found = await self._select(*conditions, limit=limit)
        if not self._held:
            return found
        own = {key: document for key, document in self._held.items() if key[0] == kind}
        rest = [document for document in found if (kind, document.key) not in own]
        mine = [d for d in own.values() if d is not None and (since is None or d.updated_at >= since)]
        return sorted([*mine, *rest], key=lambda d: d.updated_at, reverse=True)[:limit]

    async def delete(self, kind: str, key: str) -> None:
        """Remove a document; nothing where there is none."""
        if self._held is not None:
            self._held[kind, key] = None
        t = agent_documents.c
        statement = delete(agent_documents).where(
            t.agent == self._agent, t.workspace == self._profile.id, t.kind == kind, t.key == key
        )
        await self._storing(f"the removal of {kind} `{key}`", lambda: self._write(statement))

    async def _write(self, statement: Any) -> None:
        def write(connection: Connection) -> None:
            connection.execute(statement)

        await self._database.write(write)

    async def _select(self, *conditions: Any, limit: int) -> list[Document]:
        t = agent_documents.c
        own = [t.agent == self._agent, t.workspace == self._profile.id, *conditions]
        if self._open_only:
            own.append(t.private.is_(False))
        statement = select(t.kind, t.key, t.document, t.updated_at, t.private).where(*own)
        statement = statement.order_by(t.updated_at.desc(), t.key).limit(limit)

        def read(connection: Connection) -> tuple[list[Document], bool]:
            rows = connection.execute(statement).all()
            found = [Document(r.kind, r.key, orjson.loads(r.document), from_text(r.updated_at)) for r in rows]
            return found, any(row.private for row in rows)

        found, private = await self._database.read(read)
        self._taint.read_private(private)
        return found


class AgentMemory:
    """The workspace's index."""

    def __init__(
        self, memory: WorkspaceMemory, workspace: str, taint: Taint, storing: Storing, open_only: bool = False
    ) -> None:
        self._memory = memory
        self._workspace = workspace
        self._taint = taint
        self._storing = storing
        self._open_only = open_only

    async def search(self, query: str, k: int = 10) -> list[Hit]:
        """The `k` chunks that bear most on the query. Raises `IndexUnavailable`, `InvalidRequest`."""
        hits = await self._memory.search(self._workspace, query, k)
        return hits if self._looked() else []

    async def nearness(self, vector: Vectors) -> float | None:
        """The cosine of what the index holds that is nearest to a text's own vector; None where there is nothing.
        Raises `IndexUnavailable`."""
        near = await self._memory.nearness(self._workspace, vector)
        return near if self._looked() else None

    def _looked(self) -> bool:
        """Whether the run may have what was found. Asked after the search: the mark only ever appears."""
        private = self._memory.was_private(self._workspace)
        if private and self._open_only:
            return False
        self._taint.read_private(private)
        return True

    @property
    def would_close(self) -> bool:
        """Whether `put` would make an open index private: the run is, and nothing in the index was so far."""
        open_now = not self._memory.profile(self._workspace).block_cloud_apis
        return self._taint.private and open_now and not self._memory.was_private(self._workspace)

    async def put(self, chunks: Sequence[Chunk], delete_paths: Sequence[str] = ()) -> None:
        """Remove every chunk of `delete_paths`, store `chunks`. What a private run stores makes the whole index private
        (`would_close` says so before). Raises `IndexUnavailable`, `InvalidRequest`."""
        if self._taint.private:
            await self._keep_private()
        await self._storing(
            f"{len(chunks)} chunks in the index", lambda: self._memory.put(self._workspace, chunks, delete_paths)
        )

    async def _keep_private(self) -> None:
        profile = self._memory.profile(self._workspace)
        private = profile.model_copy(update={"block_cloud_apis": True})
        await self._storing("the mark that the index is private", lambda: self._memory.keep_private(private))


def withholding(notes: list[str], dry_run: bool) -> Storing:
    """`storing` for a context: in a dry run it notes what would have been written and writes nothing."""

    async def storing(what: str, write: Callable[[], Awaitable[Any]]) -> Any:
        if dry_run:
            notes.append(f"would store {what}")
            return None
        return await write()

    return storing
