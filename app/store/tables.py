"""The schema of `sidecar.db`. Alembic's migrations lead to exactly this; a test compares the two.

Times are ISO-8601 text in UTC with milliseconds and a `Z` (`2026-11-24T09:30:00.000Z`): they sort as they read, and a
person with `sqlite3` can read them. Money is integer micro-dollars, so that sums are exact; null is unknown, never 0.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)

from app.store.metadata import metadata as metadata
from app.store.usage_tables import budget_alerts as budget_alerts
from app.store.usage_tables import budget_reservations as budget_reservations
from app.store.usage_tables import llm_usage_log as llm_usage_log
from app.store.usage_tables import request_feedback as request_feedback
from app.store.usage_tables import request_parents as request_parents
from app.store.usage_tables import request_receipts as request_receipts
from app.store.usage_tables import usage_dimensions as usage_dimensions
from app.store.usage_tables import usage_rollups as usage_rollups
from app.store.usage_tables import usage_state as usage_state

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("workspace", Text, nullable=False),
    # Set when the session is made or used while its workspace is private, and never taken back.
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("title", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("ix_sessions_updated_at", "updated_at", "id"),
    Index("ix_sessions_workspace", "workspace", "updated_at", "id"),
)
"""A stored conversation."""

session_messages = Table(
    "session_messages",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("seq", Integer, primary_key=True, nullable=False),  # from 0, no gaps
    Column("role", Text, nullable=False),
    Column("content", Text),  # the words; null where there are none, or where `extra` has parts
    Column("extra", Text),  # the message's other members as JSON: parts, tool_calls, tool_call_id, name
    Column("partial", Boolean(create_constraint=False), nullable=False),  # an answer that was cut or cancelled
    Column("request_id", Text),  # of the chat it came from
    Column("created_at", Text, nullable=False),
    # float32 vectors of its passages one after the other; null: not embedded yet, empty: has no words.
    Column("embedding", LargeBinary),
)
"""Messages as they were said. Rows are added and go with their session; only `embedding` is ever filled in later."""

session_state = Table(
    "session_state",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("state", Text, nullable=False),  # a JSON object
    Column("updated_at", Text, nullable=False),
    Column("captured_by", Text),  # the model that wrote it; null: somebody put it
)
"""What a session is about: goal, current task, open files and the like."""

session_summaries = Table(
    "session_summaries",
    metadata,
    Column("session_id", Text, ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("to_seq", Integer, primary_key=True, nullable=False),  # inclusive, like from_seq
    Column("from_seq", Integer, nullable=False),
    Column("text", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("created_at", Text, nullable=False),
)
"""Rolling summaries; the one with the largest `to_seq` is in use. The messages they cover stay where they are."""

client_keys = Table(
    "client_keys",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("name", Text, nullable=False),
    Column("workspace", Text),  # the only one the key acts in; null: any
    Column("rights", Text, nullable=False),  # of app.store.keys.RIGHTS, with commas between
    Column("task_type", Text),  # of requests that name none
    Column("hash", LargeBinary, nullable=False),  # SHA-256 of the whole key
    Column("created_at", Text, nullable=False),
    Column("last_used_at", Text),
    Column("revoked_at", Text),
)
"""Keys of named clients; a revoked one stays, so that people see what there was."""


entities = Table(
    "entities",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),  # of (workspace, kind, name): app.memory.entities.entity_id
    Column("workspace", Text, nullable=False),
    Column("kind", Text, nullable=False),
    # From here to `last_seen`: what its sightings add up to, kept beside them to be searched and sorted.
    Column("name", Text, nullable=False),
    Column("summary", Text),
    Column("source", Text, nullable=False),
    Column("path", Text),
    Column("line", Integer),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("mentions", Integer, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    # float32 of its name and summary; null: not embedded (yet).
    Column("embedding", LargeBinary),
    Index("ix_entities_workspace", "workspace", "mentions", "id"),
    Index("ix_entities_kind", "workspace", "kind", "mentions", "id"),
    Index("ix_entities_private", "workspace", sqlite_where=text("private = 1")),
)
"""What a workspace knows of: symbols, files, people, errors, concepts. Gone with its last sighting."""

entity_names = Table(
    "entity_names",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),  # of (workspace, kind, this name)
    Column("workspace", Text, nullable=False),
    Column("entity_id", Text, ForeignKey("entities.id", ondelete="CASCADE"), nullable=False),
    Column("name", Text, nullable=False),
    Column("normalised", Text, nullable=False),
    Index("ix_entity_names_entity", "entity_id"),
    Index("ix_entity_names_normalised", "workspace", "normalised"),
)
"""Every name of an entity, aliases too; `entity_id` is the least `id` among them."""

entity_sightings = Table(
    "entity_sightings",
    metadata,
    Column("entity_id", Text, ForeignKey("entities.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("origin", Text, primary_key=True, nullable=False),  # source:ref
    Column("workspace", Text, nullable=False),
    Column("source", Text, nullable=False),  # user, agent, code, text
    Column("name", Text, nullable=False),
    Column("summary", Text),
    Column("path", Text),  # where it is defined; null where it is only mentioned
    Column("line", Integer),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("mentions", Integer, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    Index("ix_entity_sightings_origin", "workspace", "origin"),
)
"""What each origin (a file, a session, the user) says of an entity."""

entity_terms = Table(
    "entity_terms",
    metadata,
    Column("workspace", Text, primary_key=True, nullable=False),
    Column("term", Text, primary_key=True, nullable=False),
    Column("entity_id", Text, ForeignKey("entities.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("weight", Float, nullable=False),
    Index("ix_entity_terms_entity", "entity_id"),
    sqlite_with_rowid=False,
)
"""The words by which entities are found, as `app.llm.passages.terms` cuts them."""

entity_relations = Table(
    "entity_relations",
    metadata,
    Column("from_id", Text, ForeignKey("entities.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("to_id", Text, ForeignKey("entities.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("kind", Text, primary_key=True, nullable=False),
    Column("origin", Text, primary_key=True, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("weight", Float, nullable=False),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("last_seen", Text, nullable=False),
    Index("ix_entity_relations_to", "to_id"),
    Index("ix_entity_relations_origin", "workspace", "origin"),
    Index("ix_entity_relations_private", "workspace", sqlite_where=text("private = 1")),
    sqlite_with_rowid=False,
)
"""What each origin says of how two entities of a workspace are related. Directed."""

agent_runs = Table(
    "agent_runs",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("agent", Text, nullable=False),  # the name of its entry
    Column("kind", Text, nullable=False),  # which agent that is
    Column("workspace", Text, nullable=False),
    # Its workspace was private, or it read what was written while it was: the summary never leaves the machine.
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("scheduled_at", Text),  # when it was due; null: somebody triggered it, or it repeats another
    Column("cause", Text, nullable=False),  # schedule, trigger, rerun
    Column("rerun_of", Text),
    Column("state", Text, nullable=False),  # due, running, ok, failed, missed, interrupted, skipped, cancelled
    Column("attempt", Integer, nullable=False),
    Column("dry_run", Boolean(create_constraint=False), nullable=False),
    Column("input", Text, nullable=False),  # a JSON object
    Column("created_at", Text, nullable=False),
    Column("started_at", Text),
    Column("finished_at", Text),
    Column("summary", Text),  # Markdown
    Column("result", Text),  # a JSON object: data, stored, withheld
    Column("error_code", Text),
    Column("error_message", Text),
    Column("progress", Text),  # a JSON object: text, done, total
    Column("log", Text),  # a JSON array of lines
    Column("idempotency_key", Text),
    Column("fingerprint", Text),  # of the request that made it, beside its key
    Index("ux_agent_runs_due", "agent", "scheduled_at", unique=True),
    Index("ix_agent_runs_agent", "agent", "created_at", "id"),
    Index("ix_agent_runs_created_at", "created_at", "id"),
    Index("ix_agent_runs_open", "id", sqlite_where=text("state IN ('due', 'running')")),
    Index("ux_agent_runs_key", "idempotency_key", unique=True, sqlite_where=text("idempotency_key IS NOT NULL")),
)
"""One row per run of an agent, and per due time that had none."""

agent_schedules = Table(
    "agent_schedules",
    metadata,
    Column("agent", Text, primary_key=True, nullable=False),
    Column("fingerprint", Text),  # of schedule and time zone; null: not scheduled now
    Column("accounted_to", Text),  # every due time up to here has its row
    Column("paused_at", Text),
    Column("paused_because", Text),
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
)
"""What outlasts a restart of each agent's schedule."""

agent_state = Table(
    "agent_state",
    metadata,
    Column("agent", Text, primary_key=True, nullable=False),
    Column("workspace", Text, primary_key=True, nullable=False),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("state", Text, nullable=False),  # a JSON object
    Column("updated_at", Text, nullable=False),
)
"""What an agent remembers from run to run."""

agent_documents = Table(
    "agent_documents",
    metadata,
    Column("agent", Text, primary_key=True, nullable=False),
    Column("workspace", Text, primary_key=True, nullable=False),
    Column("kind", Text, primary_key=True, nullable=False),
    Column("key", Text, primary_key=True, nullable=False),
    Column("private", Boolean(create_constraint=False), nullable=False),
    Column("document", Text, nullable=False),  # a JSON object
    Column("run_id", Text),
    Column("created_at", Text, nullable=False),
    Column("updated_at", Text, nullable=False),
    Index("ix_agent_documents_updated_at", "agent", "workspace", "kind", "updated_at"),
)
"""Each agent's own store."""
index_folders = Table(
    "index_folders",
    metadata,
    Column("id", Integer, primary_key=True, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("root", LargeBinary, nullable=False),  # an absolute path, as the file system's bytes
    Column("prefix", LargeBinary, nullable=False),  # stands before a file's path in the index
    Column("watch", Boolean(create_constraint=False), nullable=False),
    Column("chunker", Integer, nullable=False),  # the version that cut the files
    Column("created_at", Text, nullable=False),
    Column("indexed_at", Text),  # when a run last came to its end
    Index("ix_index_folders_root", "workspace", "root", unique=True),
)
"""Folders that a workspace's index was made from."""

index_files = Table(
    "index_files",
    metadata,
    Column("folder_id", Integer, ForeignKey("index_folders.id", ondelete="CASCADE"), primary_key=True, nullable=False),
    Column("path", LargeBinary, primary_key=True, nullable=False),  # relative to the folder, bytes
    Column("size", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),  # 0: written too shortly before it was read to be trusted
    Column("content_hash", Text, nullable=False),
    Column("skipped", Text),  # why it is not in the index
)
"""The state each file was in when it was indexed."""


notifications = Table(
    "notifications",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True, nullable=False),
    Column("id", Text, nullable=False, unique=True),
    Column("workspace", Text, nullable=False),
    Column("private", Boolean(create_constraint=False), nullable=False),  # as its workspace was
    Column("kind", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("links", Text, nullable=False),  # a JSON list of {title, url}
    Column("about", Text, nullable=False),  # a JSON object
    Column("dedupe_key", Text),
    Column("created_at", Text, nullable=False),
    Column("read_at", Text),
    Column("archived_at", Text),
    Index("ix_notifications_workspace", "workspace", "seq"),
    Index("ix_notifications_dedupe_key", "dedupe_key", "created_at"),
    sqlite_autoincrement=True,
)
"""The inbox. `seq` is never used twice: a stream resumes by it."""


def to_text(moment: datetime) -> str:
    """An aware datetime as the tables store it; what is finer than a millisecond is cut off."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def to_bound(moment: datetime) -> str:
    """An aware datetime as a bound to compare stored times with (`>=` or `<`): rounded *up* to the millisecond.

    Stored times are cut off, so this is what makes `stored >= bound` mean "not before `moment`" for whole milliseconds.
    """
    rest = moment.microsecond % 1000
    return to_text(moment + timedelta(microseconds=1000 - rest) if rest else moment)


def from_text(value: str) -> datetime:
    """The opposite of `to_text`. Raises ValueError."""
    return datetime.fromisoformat(value)
