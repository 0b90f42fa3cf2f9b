"""Sessions: messages, state, summaries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("title", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
    )
    op.create_index("ix_sessions_updated_at", "sessions", ["updated_at", "id"])
    op.create_index("ix_sessions_workspace", "sessions", ["workspace", "updated_at", "id"])
    op.create_table(
        "session_messages",
        _session_id(),
        sa.Column("seq", sa.Integer, primary_key=True, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("content", sa.Text),
        sa.Column("extra", sa.Text),
        sa.Column("partial", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("request_id", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("embedding", sa.LargeBinary),
    )
    op.create_table(
        "session_state",
        _session_id(),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
        sa.Column("captured_by", sa.Text),
    )
    op.create_table(
        "session_summaries",
        _session_id(),
        sa.Column("to_seq", sa.Integer, primary_key=True, nullable=False),
        sa.Column("from_seq", sa.Integer, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )


def _session_id() -> sa.Column[str]:
    owner = sa.ForeignKey("sessions.id", ondelete="CASCADE")
    return sa.Column("session_id", sa.Text, owner, primary_key=True, nullable=False)
