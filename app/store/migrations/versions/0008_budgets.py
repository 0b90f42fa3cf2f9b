"""Budgets: what an attempt may cost, and which alerts were raised."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "budget_reservations",
        sa.Column("attempt_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("micro_usd", sa.Integer, nullable=False),
    )
    op.create_table(
        "budget_alerts",
        sa.Column("budget", sa.Text, primary_key=True, nullable=False),
        sa.Column("period_start", sa.Text, primary_key=True, nullable=False),
        sa.Column("occasion", sa.Text, primary_key=True, nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
    )
