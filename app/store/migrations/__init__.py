"""Alembic's revisions, and their order as plain data.

`REVISIONS` lets start-up compare the file's revision with the program's without importing Alembic, which would cost a
tenth of a second on every start and is needed about once a year. A test holds it against Alembic's own reading.
"""

from __future__ import annotations

from pathlib import Path

LOCATION = Path(__file__).parent
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011")
"""Oldest first; the last one is what `app.store.tables` describes."""
