"""Entities: names, sightings, words, relations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "entities",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("path", sa.Text),
        sa.Column("line", sa.Integer),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("mentions", sa.Integer, nullable=False),
        sa.Column("first_seen", sa.Text, nullable=False),
        sa.Column("last_seen", sa.Text, nullable=False),
        sa.Column("embedding", sa.LargeBinary),
    )
    op.create_index("ix_entities_workspace", "entities", ["workspace", "mentions", "id"])
    op.create_index("ix_entities_kind", "entities", ["workspace", "kind", "mentions", "id"])
    op.create_table(
        "entity_names",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        _entity("entity_id", primary_key=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("normalised", sa.Text, nullable=False),
    )
    op.create_index("ix_entity_names_entity", "entity_names", ["entity_id"])
    op.create_index("ix_entity_names_normalised", "entity_names", ["workspace", "normalised"])
    op.create_table(
        "entity_sightings",
        _entity("entity_id"),
        sa.Column("origin", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("path", sa.Text),
        sa.Column("line", sa.Integer),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("mentions", sa.Integer, nullable=False),
        sa.Column("first_seen", sa.Text, nullable=False),
        sa.Column("last_seen", sa.Text, nullable=False),
    )
    op.create_index("ix_entity_sightings_origin", "entity_sightings", ["workspace", "origin"])
    op.create_table(
        "entity_terms",
        sa.Column("workspace", sa.Text, primary_key=True, nullable=False),
        sa.Column("term", sa.Text, primary_key=True, nullable=False),
        _entity("entity_id"),
        sa.Column("weight", sa.Float, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entity_terms_entity", "entity_terms", ["entity_id"])
    op.create_table(
        "entity_relations",
        _entity("from_id"),
        _entity("to_id"),
        sa.Column("kind", sa.Text, primary_key=True, nullable=False),
        sa.Column("origin", sa.Text, primary_key=True, nullable=False),
        sa.Column("workspace", sa.Text, nullable=False),
        sa.Column("weight", sa.Float, nullable=False),
        sa.Column("private", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("last_seen", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_entity_relations_to", "entity_relations", ["to_id"])
    op.create_index("ix_entity_relations_origin", "entity_relations", ["workspace", "origin"])


def _entity(name: str, primary_key: bool = True) -> sa.Column[str]:
    owner = sa.ForeignKey("entities.id", ondelete="CASCADE")
    return sa.Column(name, sa.Text, owner, primary_key=primary_key, nullable=False)
