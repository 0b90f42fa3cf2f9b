"""The schema of `sidecar.db`. Alembic's migrations lead to exactly this; a test compares the two.

Times are ISO-8601 text in UTC with milliseconds and a `Z` (`2026-11-24T09:30:00.000Z`): they sort as they read, and a
person with `sqlite3` can read them. Money is integer micro-dollars, so that sums are exact; null is unknown, never 0.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sqlalchemy import Boolean, Column, Computed, Float, Index, Integer, MetaData, Table, Text, text

metadata = MetaData()

llm_usage_log = Table(
    "llm_usage_log",
    metadata,
    Column("id", Text, primary_key=True, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("workspace_profile_id", Text, nullable=False),
    Column("session_id", Text),
    Column("agent", Text),
    Column("task_type", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("input_tokens", Integer),
    Column("cached_input_tokens", Integer),
    Column("cache_write_tokens", Integer),
    Column("output_tokens", Integer),
    Column("reasoning_tokens", Integer),
    Column("cost_micro_usd", Integer),
    # For people's own queries; the program itself only ever adds up the integer.
    Column("cost_usd", Float, Computed("cost_micro_usd / 1000000.0", persisted=False)),
    Column("cost_source", Text, nullable=False, server_default="unknown"),
    Column("latency_ms", Integer),
    Column("time_to_first_token_ms", Integer),
    Column("success", Boolean(create_constraint=False)),  # null while pending
    Column("error_code", Text),
    Column("error_message", Text),
    Column("created_at", Text, nullable=False),
    Column("settled_at", Text),
    Index("ix_llm_usage_log_created_at", "created_at", "id"),
    Index("ix_llm_usage_log_request_id", "request_id"),
    Index("ix_llm_usage_log_workspace", "workspace_profile_id", "created_at"),
    # Finds what a crash left behind without reading the whole table; empty most of the time.
    Index("ix_llm_usage_log_pending", "id", sqlite_where=text("status = 'pending'")),
)
"""One row per attempt: one call to one model."""

request_receipts = Table(
    "request_receipts",
    metadata,
    Column("request_id", Text, primary_key=True, nullable=False),
    Column("facts", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("context", Text, nullable=False),
)
"""One row per request; each column but the first is a JSON object. No prompt or answer text."""


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
