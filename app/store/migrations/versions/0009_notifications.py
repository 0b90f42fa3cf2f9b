"""The inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notifications",
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("links", sa.Text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("dedupe_key", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("read_at", sa.Text),
        sa.Column("archived_at", sa.Text),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_notifications_workspace", "notifications", ["workspace", "seq"])
    op.create_index("ix_notifications_dedupe_key", "notifications", ["dedupe_key", "created_at"])
