"""Opening the database file: is it ours, is it whole, is it of this program's schema? Runs before any write.

In order: read the revision without touching the file (a newer one is refused as it is); after an unclean stop run
`quick_check`; a broken file moves aside and a fresh one starts; an older schema is backed up and migrated.
"""

from __future__ import annotations

import glob
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection

from app.errors import StartupError
from app.store import migrations
from app.store.tables import metadata

EXIT_NEWER_SCHEMA = 5
"""Exit code: the file was written by a newer llm-sidecar (or by another program) and was left as it is."""
EXIT_DATABASE = 6
"""Exit code: the file or its folder cannot be used (permissions, full disk, locked, a migration that failed)."""

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


@dataclass(frozen=True, slots=True)
class Schema:
    """The revisions this program knows, oldest first, and where their scripts are."""

    revisions: Sequence[str] = migrations.REVISIONS
    location: Path = migrations.LOCATION

    @property
    def head(self) -> str:
        return self.revisions[-1]


class Broken(Exception):
    """The file is damaged; the text says how. Never leaves this package."""


def primary_code(error: BaseException) -> int | None:
    """SQLite's primary result code of an error of sqlite3 or of SQLAlchemy round it; None for any other error."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


def is_broken(error: BaseException) -> bool:
    """True where SQLite says the file itself is damaged."""
    return primary_code(error) in _BROKEN


def clean_marker(path: Path) -> Path:
    """The file that says the last stop was clean; absent while the database is open."""
    return path.with_name(path.name + ".clean")


def prepare_folder(path: Path) -> None:
    """Make the folder and an empty file that only the user may read. Raises StartupError."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives -wal and -shm the mode of the database file.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise StartupError(f"cannot use {path}: {error.strerror}", EXIT_DATABASE) from error


def read_revision(path: Path, schema: Schema) -> str | None:
    """The file's revision, read without changing anything; None for a file with no tables.

    Raises `Broken`, and StartupError for a schema this program does not know.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            row = None
            if "alembic_version" in tables:
                row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        if is_broken(error):
            raise Broken(str(error)) from error
        raise StartupError(f"cannot read {path}: {error}", EXIT_DATABASE) from error
    if row is None and tables:
        raise StartupError(f"{path} holds another program's tables; it was not touched", EXIT_NEWER_SCHEMA)
    if row is not None and row[0] not in schema.revisions:
        raise StartupError(
            f"{path} has schema {row[0]!r}, which is newer than this program's {schema.head!r}; it was not touched. "
            "Install the newer llm-sidecar, or name another folder with SIDECAR_DATA_DIR.",
            EXIT_NEWER_SCHEMA,
        )
    return None if row is None else str(row[0])


def quick_check(connection: Connection) -> None:
    """Raises `Broken` with the first thing SQLite finds wrong."""
    try:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    except Exception as error:
        if is_broken(error):
            raise Broken(str(getattr(error, "orig", error))) from error
        raise
    if found != "ok":
        raise Broken(str(found).splitlines()[0])


def set_aside(path: Path, now: datetime) -> Path:
    """Move a broken database to a dated name beside it, with what belongs to it (-wal, -shm, …); nothing is deleted."""
    stem = f"{path.name}.broken-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    target = path.with_name(stem)
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{stem}-{number}")
    for source in (path, *path.parent.glob(glob.escape(path.name) + "-*")):
        source.rename(target.with_name(target.name + source.name.removeprefix(path.name)))
    return target


def bring_up_to_date(
    connection: Connection, path: Path, revision: str | None, schema: Schema, now: datetime
) -> Path | None:
    """Create the schema in an empty file, or migrate an older one after a backup; returns the backup's path.

    Either happens in one transaction: a kill half-way leaves the file as it was. Raises StartupError.
    """
    if revision == schema.head:
        return None
    backup = None if revision is None else _back_up(connection, path, revision, now)
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        if revision is None and schema.head == migrations.REVISIONS[-1]:
            _create(connection, schema.head)
        else:
            _migrate(connection, schema)
        connection.exec_driver_sql("COMMIT")
    except Exception as error:
        connection.exec_driver_sql("ROLLBACK")
        kept = "" if backup is None else f"; a copy from before is {backup.name}"
        raise StartupError(f"cannot migrate {path} to schema {schema.head!r}: {error}{kept}", EXIT_DATABASE) from error
    return backup


def _back_up(connection: Connection, path: Path, revision: str, now: datetime) -> Path:
    target = path.with_name(f"{path.name}.backup-{revision}-{now.astimezone(UTC):%Y%m%dT%H%M%S%fZ}")
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection.exec_driver_sql("VACUUM INTO ?", (str(target),))
    except Exception as error:
        target.unlink(missing_ok=True)
        raise StartupError(f"cannot back up {path} before its migration: {error}", EXIT_DATABASE) from error
    return target


def _create(connection: Connection, head: str) -> None:
    """A fresh file: the tables as they are described now, stamped with the revision the migrations would lead to."""
    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version ("
        "version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql("INSERT INTO alembic_version (version_num) VALUES (?)", (head,))


def _migrate(connection: Connection, schema: Schema) -> None:
    # Here and not above: Alembic costs a tenth of a second to import, and almost no start needs it.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.location).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
