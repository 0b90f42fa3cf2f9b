"""Roll-ups of the ledger, feedback. The roll-ups of rows that are there are built when the ledger is opened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_SUMS = (
    "requests", "attempts", "ok", "errors", "cancelled", "interrupted", "input_tokens", "cached_input_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_micro_usd", "estimated_cost_micro_usd",
    "cost_estimated", "cost_unknown", "timed_output_tokens", "output_ms",
)  # fmt: skip


def upgrade() -> None:
    op.create_index(
        "ix_llm_usage_log_session",
        "llm_usage_log",
        ["session_id", "created_at"],
        sqlite_where=sa.text("session_id IS NOT NULL"),
    )
    op.create_table(
        "usage_dimensions",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False, nullable=False),
        sa.Column("workspace_profile_id", sa.Text),
        sa.Column("model", sa.Text),
        sa.Column("task_type", sa.Text),
        sa.Column("agent", sa.Text),
        sa.Column("rule", sa.Text),
        sa.Column("provider", sa.Text),
        sa.Column("location", sa.Text),
        sa.Column("status", sa.Text),
    )
    op.create_table(
        "usage_rollups",
        sa.Column("level", sa.Integer, primary_key=True, nullable=False),
        sa.Column("family", sa.Integer, primary_key=True, nullable=False),
        sa.Column("bucket", sa.Integer, primary_key=True, nullable=False),
        sa.Column("dimension", sa.Integer, primary_key=True, nullable=False),
        *(sa.Column(name, sa.Integer, nullable=False) for name in _SUMS),
        sa.Column("latency", sa.LargeBinary),
        sa.Column("first_token", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_state",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "request_feedback",
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("requested_at", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
    op.create_index("ix_request_feedback_requested_at", "request_feedback", ["requested_at"])
