"""The usage ledger and the receipts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "llm_usage_log",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("workspace_profile_id", sa.Text, nullable=False),
        sa.Column("session_id", sa.Text),
        sa.Column("agent", sa.Text),
        sa.Column("task_type", sa.Text, nullable=False),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("location", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("cached_input_tokens", sa.Integer),
        sa.Column("cache_write_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        sa.Column("reasoning_tokens", sa.Integer),
        sa.Column("cost_micro_usd", sa.Integer),
        sa.Column("cost_usd", sa.Float, sa.Computed("cost_micro_usd / 1000000.0", persisted=False)),
        sa.Column("cost_source", sa.Text, nullable=False, server_default="unknown"),
        sa.Column("latency_ms", sa.Integer),
        sa.Column("time_to_first_token_ms", sa.Integer),
        sa.Column("success", sa.Boolean(create_constraint=False)),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("settled_at", sa.Text),
    )
    op.create_index("ix_llm_usage_log_created_at", "llm_usage_log", ["created_at", "id"])
    op.create_index("ix_llm_usage_log_request_id", "llm_usage_log", ["request_id"])
    op.create_index("ix_llm_usage_log_workspace", "llm_usage_log", ["workspace_profile_id", "created_at"])
    op.create_index("ix_llm_usage_log_pending", "llm_usage_log", ["id"], sqlite_where=sa.text("status = 'pending'"))
    op.create_table(
        "request_receipts",
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("facts", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("context", sa.Text, nullable=False),
    )
