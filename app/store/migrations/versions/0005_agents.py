"""Agents: runs, schedules, state, documents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "agent_runs",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("agent", "kind", "workspace")),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("scheduled_at", sa.Text),
        sa.Column("cause", sa.Text, nullable=False),
        sa.Column("rerun_of", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("dry_run", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("input", sa.Text, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("started_at", "finished_at", "summary", "result")),
        *(sa.Column(name, sa.Text) for name in ("error_code", "error_message", "progress", "log")),
        *(sa.Column(name, sa.Text) for name in ("idempotency_key", "fingerprint")),
    )
    op.create_index("ux_agent_runs_due", "agent_runs", ["agent", "scheduled_at"], unique=True)
    op.create_index("ix_agent_runs_agent", "agent_runs", ["agent", "created_at", "id"])
    op.create_index("ix_agent_runs_created_at", "agent_runs", ["created_at", "id"])
    unfinished = sa.text("state IN ('due', 'running')")
    op.create_index("ix_agent_runs_open", "agent_runs", ["id"], sqlite_where=unfinished)
    has_key = sa.text("idempotency_key IS NOT NULL")
    op.create_index("ux_agent_runs_key", "agent_runs", ["idempotency_key"], unique=True, sqlite_where=has_key)
    op.create_table(
        "agent_schedules",
        sa.Column("agent", sa.Text, primary_key=True, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("fingerprint", "accounted_to", "paused_at", "paused_because")),
        sa.Column("failures", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "agent_state",
        sa.Column("agent", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
    )
    op.create_table(
        "agent_documents",
        *(sa.Column(name, sa.Text, primary_key=True, nullable=False) for name in ("agent", "workspace", "kind", "key")),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("updated_at", sa.Text, nullable=False),
    )
    owner = ["agent", "workspace", "kind", "updated_at"]
    op.create_index("ix_agent_documents_updated_at", "agent_documents", owner)
