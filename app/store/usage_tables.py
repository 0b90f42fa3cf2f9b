"""The tables of what was used and what it cost. `app.store.tables` is where the rest of the program finds them."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Computed, Float, Index, Integer, LargeBinary, Table, Text, text

from app.store.metadata import metadata

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
    # Reports by session read rows: the roll-ups do not tell sessions apart.
    Index("ix_llm_usage_log_session", "session_id", "created_at", sqlite_where=text("session_id IS NOT NULL")),
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

request_parents = Table(
    "request_parents",
    metadata,
    Column("request_id", Text, primary_key=True, nullable=False),
    Column("parent_request_id", Text, nullable=False),
    Column("parent_agent", Text),
    Column("parent_task_type", Text, nullable=False),
)
"""One row per request that was made for another (a summary of its context, say): whose budgets pay."""

usage_dimensions = Table(
    "usage_dimensions",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False, nullable=False),  # a hash of the other columns
    Column("workspace_profile_id", Text),
    Column("model", Text),
    Column("task_type", Text),
    Column("agent", Text),
    Column("rule", Text),
    Column("provider", Text),
    Column("location", Text),
    Column("status", Text),
    Column("parent_agent", Text),
    Column("parent_task_type", Text),
)
"""Combinations of values that settled rows of the ledger have had; null also where a family does not tell."""

usage_rollups = Table(
    "usage_rollups",
    metadata,
    Column("level", Integer, primary_key=True, nullable=False),  # the bucket's width in seconds
    Column("family", Integer, primary_key=True, nullable=False),  # which dimensions it tells apart
    Column("bucket", Integer, primary_key=True, nullable=False),  # its beginning, seconds since 1970
    Column("dimension", Integer, primary_key=True, nullable=False),
    *(
        Column(name, Integer, nullable=False)
        for name in (
            "requests", "attempts", "ok", "errors", "cancelled", "interrupted", "input_tokens", "cached_input_tokens",
            "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_micro_usd", "estimated_cost_micro_usd",
            "cost_estimated", "cost_unknown", "timed_output_tokens", "output_ms",
        )
    ),
    Column("latency", LargeBinary),  # sketches, see app.usage.sketches
    Column("first_token", LargeBinary),
    sqlite_with_rowid=False,
)  # fmt: skip
"""Sums of the settled rows, written with each of them."""

usage_state = Table(
    "usage_state",
    metadata,
    Column("name", Text, primary_key=True, nullable=False),
    Column("value", Text, nullable=False),
)
"""What the roll-ups must remember: `rollups` (built), `raw_from` (rows from before it were dropped)."""

request_feedback = Table(
    "request_feedback",
    metadata,
    Column("request_id", Text, primary_key=True, nullable=False),
    Column("workspace", Text, nullable=False),
    Column("model", Text, nullable=False),  # that answered; kept here, since rows are dropped one day
    Column("task_type", Text, nullable=False),
    Column("score", Integer, nullable=False),
    Column("note", Text),
    Column("requested_at", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Index("ix_request_feedback_requested_at", "requested_at"),
)
"""What a person thought of an answer; a second verdict replaces the first."""

budget_reservations = Table(
    "budget_reservations",
    metadata,
    Column("attempt_id", Text, primary_key=True, nullable=False),
    Column("micro_usd", Integer, nullable=False),
)
"""The most an attempt under way may cost. What a crash leaves here is what an interrupted attempt is counted as."""

budget_alerts = Table(
    "budget_alerts",
    metadata,
    Column("budget", Text, primary_key=True, nullable=False),
    Column("period_start", Text, primary_key=True, nullable=False),
    Column("occasion", Text, primary_key=True, nullable=False),
    Column("created_at", Text, nullable=False),
)
"""Alerts that were raised, so that each is raised once a period, restarts or not."""
