"""Parents: for which request another one was made. Nothing is known of those from before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "request_parents",
        sa.Column("request_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("parent_request_id", sa.Text, nullable=False),
        sa.Column("parent_agent", sa.Text),
        sa.Column("parent_task_type", sa.Text, nullable=False),
    )
    for name in ("parent_agent", "parent_task_type"):
        op.add_column("usage_dimensions", sa.Column(name, sa.Text))
