"""Databases as older programs left them: any revision's schema, with rows in every table it has."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from app.store import migrations

Rows: TypeAlias = dict[str, list[dict[str, Any]]]
"""By table; a row by its columns, generated ones left out."""

MOMENT = "2026-01-02T03:04:05.000000Z"
LEDGER: dict[str, Any] = {
    "status": "ok",
    "location": "loopback",
    "cost_source": "local",
    "success": 1,
    "error_code": None,
    "error_message": None,
    "attempt": 1,
}
"""What the program reads of a row of the ledger when it opens one; the rest may be anything."""


def make(path: Path, revision: str, rows: int) -> Rows:
    """A database of that revision at `path`, `rows` rows in each table; what is in it."""
    path.parent.mkdir(mode=0o700, parents=True)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrations.LOCATION))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        for table in tables(connection):
            columns = list(_columns(connection, table))
            marks = ", ".join("?" for _ in columns)
            names = ", ".join(name for name, *_ in columns)
            values = ([_value(connection, table, name, kind, n) for name, kind in columns] for n in range(rows))
            connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
        connection.commit()
    return read(path)


def read(path: Path) -> Rows:
    """Every row of every table, in the order of its columns' values."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        found: Rows = {}
        for table in tables(connection):
            names = ", ".join(name for name, _ in _columns(connection, table))
            found[table] = [dict(row) for row in connection.execute(f"SELECT {names} FROM {table} ORDER BY 1, 2")]
        return found


def missing(before: Rows, after: Rows) -> list[str]:
    """What is no longer as it was: rows by their table, each with the columns it had."""
    lost = []
    for table, rows in before.items():
        kept = [{name: row[name] for name in rows[0]} for row in after.get(table, [])] if rows else []
        left = {tuple(row.values()) for row in kept}
        lost += [f"{table}: {row}" for row in rows if tuple(row.values()) not in left]
    return lost


def tables(connection: sqlite3.Connection) -> list[str]:
    """In the order they were made, so that what is referred to comes first; without a full-text index's own."""
    made = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid").fetchall()
    virtual = tuple(f"{name}_" for name, sql in made if sql.upper().startswith("CREATE VIRTUAL"))
    inner = re.compile(r"sqlite_|alembic_version$")
    return [
        name
        for name, sql in made
        if not (inner.match(name) or name.startswith(virtual) or sql.upper().startswith("CREATE VIRTUAL"))
    ]


def _columns(connection: sqlite3.Connection, table: str) -> Iterator[tuple[str, str]]:
    for _, name, kind, _, _, _, hidden in connection.execute(f"PRAGMA table_xinfo({table})"):
        if not hidden:
            yield name, kind.upper()


def _value(connection: sqlite3.Connection, table: str, name: str, kind: str, number: int) -> Any:
    if table == "llm_usage_log" and name in LEDGER:
        return LEDGER[name]
    for _, _, parent, column, parents, *_ in connection.execute(f"PRAGMA foreign_key_list({table})"):
        if column == name and parent != table:
            kinds = dict(_columns(connection, parent))
            return _value(connection, parent, parents or "id", kinds[parents or "id"], number)
    if name.endswith("_at") or name == "period_start":
        return MOMENT
    if kind.startswith(("INT", "BOOL", "FLOAT", "REAL")):
        return number % 2 if kind.startswith("BOOL") else number + 1
    text = f"{name}-{number}"
    return text.encode() if kind.startswith("BLOB") else text
