"""Folders that are indexed, and the state of their files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "index_folders",
        sa.Column("id", sa.Integer, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("root", sa.LargeBinary, nullable=False),
        sa.Column("prefix", sa.LargeBinary, nullable=False),
        sa.Column("watch", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("chunker", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("indexed_at", sa.Text),
    )
    op.create_index("ix_index_folders_root", "index_folders", ["workspace", "root"], unique=True)
    op.create_table(
        "index_files",
        sa.Column(
            "folder_id",
            sa.Integer,
            sa.ForeignKey("index_folders.id", ondelete="CASCADE"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("path", sa.LargeBinary, primary_key=True, nullable=False),
        sa.Column("size", sa.Integer, nullable=False),
        sa.Column("mtime_ns", sa.Integer, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("skipped", sa.Text),
    )
