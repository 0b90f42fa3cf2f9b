"""Whether a workspace's graph holds anything private: asked at each look of an agent.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    private = sa.text("private = 1")
    op.create_index("ix_entities_private", "entities", ["workspace"], sqlite_where=private)
    op.create_index("ix_entity_relations_private", "entity_relations", ["workspace"], sqlite_where=private)
