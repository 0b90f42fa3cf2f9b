# ruff: noqa: ASYNC240 - files are what is tested here
from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from app.errors import StartupError
from app.store import migrations
from app.store.database import Database, StoreUnavailable
from app.store.opening import EXIT_DATABASE, EXIT_NEWER_SCHEMA, Schema, clean_marker
from tests.unit.ledger_rows import NOW

MORE = """
from alembic import op
import sqlalchemy as sa
revision = "later"
down_revision = "{head}"
def upgrade() -> None:
    op.create_table("later", sa.Column("id", sa.Text, primary_key=True))
    {extra}
"""


def schema_of(path: Path) -> dict[str, object]:
    """Tables, columns (hidden ones too) and indexes, as SQLite itself tells them."""
    with closing(sqlite3.connect(path)) as connection:
        names = [
            (kind, name)
            for kind, name in connection.execute("SELECT type, name FROM sqlite_master ORDER BY name")
            if not name.startswith("sqlite_")
        ]
        return {
            name: connection.execute(f"PRAGMA {'table_xinfo' if kind == 'table' else 'index_xinfo'}({name})").fetchall()
            for kind, name in names
        }


def put(connection: Connection, value: str) -> None:
    connection.execute(text("INSERT INTO request_receipts VALUES (:v, '{}', '{}', '{}')"), {"v": value})


def ids(connection: Connection) -> list[str]:
    return [row[0] for row in connection.execute(text("SELECT request_id FROM request_receipts ORDER BY 1"))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sidecar.db"


def later_schema(folder: Path, extra: str = "") -> Schema:
    """The packaged migrations and one more."""
    target = folder / "migrations"
    (target / "versions").mkdir(parents=True)
    for path in (migrations.LOCATION / "env.py", *(migrations.LOCATION / "versions").glob("0*.py")):
        (target / path.relative_to(migrations.LOCATION)).write_text(path.read_text())
    (target / "versions" / "later.py").write_text(MORE.format(head=migrations.REVISIONS[-1], extra=extra))
    return Schema((*migrations.REVISIONS, "later"), target)


async def test_a_fresh_database(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()} == {0o600}
    assert await database.write(lambda c: c.exec_driver_sql("PRAGMA journal_mode").scalar()) == "wal"
    assert await database.write(lambda c: c.exec_driver_sql("PRAGMA synchronous").scalar()) == 2  # FULL
    assert await database.write(lambda c: c.exec_driver_sql("PRAGMA foreign_keys").scalar()) == 1
    assert database.health().ok
    assert database.notices == ()
    assert await database.close()
    assert clean_marker(path).exists()
    assert not path.with_name("sidecar.db-wal").exists()


async def test_create_all_and_the_migrations_lead_to_the_same_schema(path: Path, tmp_path: Path) -> None:
    await (await Database.open(path, now=NOW)).close()
    migrated = tmp_path / "migrated.db"
    # A fresh file of a schema that `create_all` does not know is built by the migrations alone.
    await (await Database.open(migrated, now=NOW, schema=later_schema(tmp_path))).close()
    built = schema_of(migrated)
    del built["later"]
    assert built == schema_of(path)


def test_the_list_of_revisions_is_alembics_own() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations.LOCATION))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(walked)) == migrations.REVISIONS


def test_alembic_is_not_imported_without_need(path: Path) -> None:
    program = f"""
        import asyncio, sys
        from datetime import datetime, UTC
        from pathlib import Path
        from app.store.database import Database
        async def main():
            await (await Database.open(Path({str(path)!r}), now=datetime.now(UTC))).close()
        asyncio.run(main()); asyncio.run(main())
        sys.exit("alembic" in sys.modules)
    """
    import subprocess

    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == 0


async def test_writes_and_reads(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    await asyncio.gather(*(database.write(lambda c, i=i: put(c, f"{i:03}")) for i in range(100)))  # type: ignore[misc]
    database.write_soon(lambda c: put(c, "soon"))
    assert await database.write(lambda c: "value") == "value"
    assert len(await database.read(ids)) == 101
    with pytest.raises(Exception, match="readonly"):
        await database.read(lambda c: put(c, "no"))
    await database.close()
    with pytest.raises(StoreUnavailable):
        await database.write(lambda c: put(c, "late"))


async def test_one_read_sees_one_snapshot(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    loop = asyncio.get_running_loop()

    def twice(connection: Connection) -> tuple[list[str], list[str]]:
        before = ids(connection)
        asyncio.run_coroutine_threadsafe(database.write(lambda c: put(c, "between")), loop).result(5)
        return before, ids(connection)

    before, after = await database.read(twice)
    assert before == after == []
    assert await database.read(ids) == ["between"]
    await database.close()


async def test_a_write_that_fails_takes_no_other_with_it(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    held = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Connection) -> None:  # the others gather behind this one, and so become one group
        loop.call_soon_threadsafe(held.set)
        time.sleep(0.1)

    first = asyncio.create_task(database.write(hold))
    await held.wait()
    results = await asyncio.gather(
        database.write(lambda c: put(c, "a")),
        database.write(lambda c: put(c, "a")),
        database.write(lambda c: 1 // 0),
        database.write(lambda c: put(c, "b")),
        return_exceptions=True,
    )
    await first
    assert [type(result).__name__ for result in results] == [
        "NoneType", "IntegrityError", "ZeroDivisionError", "NoneType",
    ]  # fmt: skip
    assert await database.read(ids) == ["a", "b"]
    await database.close()


async def test_a_lock_held_elsewhere_neither_stalls_the_loop_nor_grows_the_queue(path: Path) -> None:
    database = await Database.open(path, now=NOW, max_queue=5, lock_patience=0.3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.create_task(database.write(lambda c, i=i: put(c, str(i)))) for i in range(20)]  # type: ignore[misc]
        longest, last = 0.0, time.perf_counter()
        while not all(write.done() for write in writes):
            await asyncio.sleep(0.005)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now
            assert database.health().waiting_writes <= 5
        assert longest < 0.2
        assert all(isinstance(write.exception(), StoreUnavailable) for write in writes)
        other.execute("ROLLBACK")
    await database.write(lambda c: put(c, "after"))
    assert await database.read(ids) == ["after"]
    assert await database.close()


async def test_a_damaged_file_is_set_aside(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    for n in range(200):
        database.write_soon(lambda c, n=n: put(c, f"{n:04}" * 200))  # type: ignore[misc]
    await database.close()
    clean_marker(path).unlink()  # as after a crash
    data = bytearray(path.read_bytes())
    data[8192:16384] = os.urandom(8192)
    path.write_bytes(data)
    path.with_name("sidecar.db-wal").write_bytes(b"old wal")
    database = await Database.open(path, now=NOW)
    assert await database.read(ids) == []
    await database.write(lambda c: put(c, "new"))
    (notice,) = database.notices
    assert database.health().set_aside == notice
    assert "sidecar.db.broken-20261124T093000Z" in notice
    await database.close()
    names = {p.name for p in path.parent.iterdir()}
    assert "sidecar.db.broken-20261124T093000Z" in names
    reopened = await Database.open(path, now=NOW)
    assert (await reopened.read(ids), reopened.notices) == (["new"], ())
    assert reopened.health().set_aside is None
    await reopened.close()


@pytest.mark.parametrize(
    "content", [b"this is no database, it is a letter" * 100, b"SQLite format 3\x00" + b"\xff" * 4080]
)
async def test_a_file_that_is_no_database_is_set_aside_twice_in_a_second(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    for number in (1, 2):
        path.write_bytes(content)
        database = await Database.open(path, now=NOW)
        assert len(database.notices) == 1
        await database.close()
        assert len(list(path.parent.glob("*.broken-*"))) == number
    assert {p.read_bytes() for p in path.parent.glob("*.broken-*")} == {content}


@pytest.mark.parametrize("what", ["newer", "foreign"])
async def test_what_this_program_does_not_know_is_left_as_it_is(path: Path, what: str) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE things (x)")
        if what == "newer":
            connection.execute("CREATE TABLE alembic_version (version_num)")
            connection.execute("INSERT INTO alembic_version VALUES ('9999')")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StartupError, match="not touched") as raised:
        await Database.open(path, now=NOW)
    assert raised.value.exit_code == EXIT_NEWER_SCHEMA
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["sidecar.db"]


async def test_an_older_schema_is_backed_up_and_migrated(path: Path, tmp_path: Path) -> None:
    database = await Database.open(path, now=NOW)
    await database.write(lambda c: put(c, "kept"))
    await database.close()
    newer = later_schema(tmp_path)
    database = await Database.open(path, now=NOW, schema=newer)
    assert await database.read(ids) == ["kept"]
    assert "later" in schema_of(path)
    (backup,) = path.parent.glob(f"sidecar.db.backup-{migrations.REVISIONS[-1]}-*")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert backup.name in database.notices[0]
    assert "later" not in schema_of(backup)
    await database.close()
    with closing(sqlite3.connect(backup)) as connection:
        assert connection.execute("SELECT request_id FROM request_receipts").fetchall() == [("kept",)]
    with pytest.raises(StartupError, match="newer"):  # the old program on the new file
        await Database.open(path, now=NOW)


async def test_a_migration_that_fails_rolls_back(path: Path, tmp_path: Path) -> None:
    await (await Database.open(path, now=NOW)).close()
    before = schema_of(path)
    broken = later_schema(tmp_path, extra="raise RuntimeError('half-way')")
    with pytest.raises(StartupError, match="half-way") as raised:
        await Database.open(path, now=NOW, schema=broken)
    assert raised.value.exit_code == EXIT_DATABASE
    assert schema_of(path) == before
    database = await Database.open(path, now=NOW)
    assert database.notices == ()
    await database.close()


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StartupError, match="cannot use") as raised:
        await Database.open(tmp_path / "file" / "sidecar.db", now=NOW)
    assert raised.value.exit_code == EXIT_DATABASE


async def test_damage_met_while_reading_is_a_503_and_checked_at_the_next_start(path: Path) -> None:
    database = await Database.open(path, now=NOW)

    def fill(connection: Connection) -> None:
        for number in range(500):
            put(connection, f"{number:05}" * 40)

    await database.write(fill)
    await database.close()
    database = await Database.open(path, now=NOW)
    content = path.read_bytes()
    with path.open("r+b") as file:
        for page in range(4096, len(content), 4096):
            file.seek(page)
            file.write(b"\xab" * 64)
    with pytest.raises(StoreUnavailable, match="malformed"):
        await database.read(ids)
    assert not database.health().ok
    await database.close()
    assert not clean_marker(path).exists()
    database = await Database.open(path, now=NOW)
    assert "set aside" in database.notices[0]
    await database.close()


async def test_an_error_text_repeats_nothing_that_was_written(path: Path) -> None:
    database = await Database.open(path, now=NOW)
    await database.write(lambda connection: put(connection, "a secret"))
    with pytest.raises(IntegrityError) as raised:
        await database.write(lambda connection: put(connection, "a secret"))
    assert "a secret" not in str(raised.value)
    await database.close()
