"""What Alembic runs. The connection, and the transaction round the whole migration, are the caller's."""

from __future__ import annotations

from alembic import context

from app.store.tables import metadata

# render_as_batch: SQLite cannot alter a column in place, Alembic copies the table instead.
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
