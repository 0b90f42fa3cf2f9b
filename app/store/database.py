"""SQLite underneath: one writer thread with group commit, a few read-only connections, and a careful start.

SQLAlchemy Core runs synchronously in threads of our own, not on aiosqlite: that driver hops between its thread and the
loop for every statement (about 60 µs each), and one request's ledger budget is 150 µs in all; and a single writer needs
a thread of its own anyway, so that a commit gathers what every request had to write. `bench/ledger.py` has the numbers.

Writers say `await database.write(fn)`; readers `await database.read(fn)`. Neither uses the loop's default executor.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

from sqlalchemy import Connection

from app.errors import StartupError
from app.store import opening
from app.store.opening import Schema
from app.store.writer import StoreUnavailable, Write, Writer, is_unavailable, open_engine

__all__ = ["Database", "DatabaseHealth", "StoreUnavailable"]

log = logging.getLogger(__name__)
T = TypeVar("T")

_READERS = 3
_WRITER_BUSY_MS = 250
_READER_BUSY_MS = 1000


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """For `/health`. `notices` are sentences for people: what was set aside, backed up or found damaged."""

    ok: bool
    waiting_writes: int
    notices: tuple[str, ...]
    set_aside: str | None = None
    """The notice of a file that was damaged at the start and replaced by a fresh one."""


class Database:
    """An open `sidecar.db`. Made by `Database.open`; the caller holds the folder's lock (one process per folder)."""

    def __init__(self, path: Path, writer: Writer, notices: tuple[str, ...], set_aside: str | None = None) -> None:
        self.path = path
        self._writer = writer
        self._notices = notices
        self._set_aside = set_aside
        self._read_engine = open_engine(path, read_only=True, busy_ms=_READER_BUSY_MS)
        self._readers = ThreadPoolExecutor(max_workers=_READERS, thread_name_prefix="store-read")

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        now: datetime,
        schema: Schema | None = None,
        max_queue: int = 10_000,
        lock_patience: float = 2.0,
    ) -> Database:
        """Open or create the file: folder 0700, file 0600, WAL, current schema.

        `now` dates backups and files set aside. `lock_patience` (seconds) is how long one group of writes waits for a
        lock that another program holds before its callers get `StoreUnavailable`. Raises StartupError, with
        `opening.EXIT_NEWER_SCHEMA` or `opening.EXIT_DATABASE` as its exit code.
        """
        known = schema or Schema()
        await _in_thread(lambda: opening.prepare_folder(path))
        notices: list[str] = []
        replaced: str | None = None
        try:
            writer = await _open_writer(path, now, known, notices, max_queue, lock_patience)
        except opening.Broken as error:
            aside = await _in_thread(lambda: opening.set_aside(path, now))
            log.error("%s was damaged (%s); it is now %s, and a fresh one was started", path, error, aside.name)
            replaced = f"The database was damaged ({error}). It was set aside as {aside}; a fresh one was started."
            notices.append(replaced)
            await _in_thread(lambda: opening.prepare_folder(path))
            writer = await _open_writer(path, now, known, notices, max_queue, lock_patience)
        return cls(path, writer, tuple(notices), replaced)

    @property
    def notices(self) -> tuple[str, ...]:
        """What people should know about the file, as sentences."""
        if self._writer.suspect:
            return (*self._notices, "SQLite reported damage in the database; it is checked at the next start.")
        return self._notices

    def health(self) -> DatabaseHealth:
        ok, waiting = not self._writer.suspect, self._writer.waiting
        return DatabaseHealth(ok, waiting, self.notices, self._set_aside)

    def submit(self, write: Write) -> None:
        """Queue a `Write` from any thread. Raises `StoreUnavailable` when the queue is full or the database closed."""
        self._writer.submit(write)

    async def write(self, fn: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Run `fn(connection)` in the next transaction; return its value once that is committed.

        `fn` runs in the writer's thread, must not commit or roll back, and may be run again after a roll-back that
        another write of the group caused. A caller that is cancelled loses the answer, not the write. Raises what `fn`
        raised, or `StoreUnavailable`.
        """
        pending = _FutureWrite(fn, durable, asyncio.get_running_loop())
        self._writer.submit(pending)
        return await pending.future

    def write_soon(self, fn: Callable[[Connection], object], *, durable: bool = True) -> None:
        """Like `write`, without waiting; a failure is only logged. Raises `StoreUnavailable` when the queue is full."""
        self._writer.submit(_SoonWrite(fn, durable))

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn(connection)` on a read-only connection in a reader's thread; all its queries see one snapshot.

        Raises what `fn` raised, or `StoreUnavailable` where SQLite blames the file, the disk or a lock.
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, fn)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        try:
            return self._in_snapshot(fn)
        except Exception as error:
            if opening.is_broken(error):
                self._writer.suspect = True
            if not is_unavailable(error):
                raise
            reason = str(getattr(error, "orig", error))
            log.warning("the database cannot be read: %s", reason)
            raise StoreUnavailable(f"the database cannot be read: {reason}") from None

    def _in_snapshot(self, fn: Callable[[Connection], T]) -> T:
        with self._read_engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            try:
                return fn(connection)
            finally:
                connection.exec_driver_sql("ROLLBACK")

    async def close(self, timeout: float = 2.0) -> bool:
        """Write what waits, checkpoint, close. False when that took longer than `timeout` seconds; then the next start
        checks the file."""
        await _in_thread(self._close_readers)
        self._writer.stop()
        ended = await _in_thread(lambda: self._writer.join(timeout))
        if ended and not self._writer.suspect:
            await _in_thread(lambda: _mark_clean(self.path))
        return ended

    def _close_readers(self) -> None:
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._read_engine.dispose()


async def _open_writer(
    path: Path, now: datetime, schema: Schema, notices: list[str], max_queue: int, lock_patience: float
) -> Writer:
    """Check the file and start the writer on it. Raises `opening.Broken` or StartupError."""
    revision = await _in_thread(lambda: opening.read_revision(path, schema))
    marker = opening.clean_marker(path)
    was_clean = marker.exists() or revision is None
    writer = Writer(path, max_queue=max_queue, lock_patience=lock_patience, busy_ms=_WRITER_BUSY_MS)
    loop = asyncio.get_running_loop()
    opened: asyncio.Future[None] = loop.create_future()

    def prepare(connection: Connection) -> None:
        if not was_clean:
            opening.quick_check(connection)
        marker.unlink(missing_ok=True)
        mode = connection.exec_driver_sql("PRAGMA journal_mode = WAL").scalar()
        if mode != "wal":
            raise StartupError(f"{path.parent} cannot hold a database in WAL mode (got {mode})", opening.EXIT_DATABASE)
        backup = opening.bring_up_to_date(connection, path, revision, schema, now)
        if backup is not None:
            notices.append(f"The database was migrated to schema {schema.head}; the copy from before is {backup}.")

    writer.start(prepare, lambda error: _tell(loop, opened, error))
    try:
        await opened
    except Exception as error:
        # Its connection must be closed before the file may be moved: SQLite removes the WAL by name when it closes.
        await _in_thread(lambda: writer.join(5.0))
        if isinstance(error, opening.Broken | StartupError):
            raise
        if opening.is_broken(error):
            raise opening.Broken(str(getattr(error, "orig", error))) from error
        raise StartupError(f"cannot open {path}: {getattr(error, 'orig', error)}", opening.EXIT_DATABASE) from error
    return writer


def _mark_clean(path: Path) -> None:
    try:
        os.close(os.open(opening.clean_marker(path), os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        log.warning("cannot note the clean stop: %s", error.strerror)


async def _in_thread(fn: Callable[[], T]) -> T:
    """Opening and closing are rare: a thread each, so that the loop's default executor stays out of it."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-file")
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, fn)
    finally:
        pool.shutdown(wait=False)


def _tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], error: Exception | None) -> None:
    def resolve() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    loop.call_soon_threadsafe(resolve)


class _FutureWrite(Generic[T]):
    """A write whose caller waits on the loop it came from."""

    def __init__(self, fn: Callable[[Connection], T], durable: bool, loop: asyncio.AbstractEventLoop) -> None:
        self.durable = durable
        self.future: asyncio.Future[T] = loop.create_future()
        self._fn = fn
        self._loop = loop
        self._value: T

    def run(self, connection: Connection) -> None:
        self._value = self._fn(connection)

    def finished(self, error: Exception | None) -> None:
        try:
            self._loop.call_soon_threadsafe(self._resolve, error)
        except RuntimeError:
            log.debug("a write ended after its loop was closed")

    def _resolve(self, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(self._value)
        else:
            self.future.set_exception(error)


class _SoonWrite:
    """A write nobody waits for."""

    def __init__(self, fn: Callable[[Connection], object], durable: bool) -> None:
        self.durable = durable
        self._fn = fn

    def run(self, connection: Connection) -> None:
        self._fn(connection)

    def finished(self, error: Exception | None) -> None:
        if error is not None:
            log.error("a write was given up: %s", type(error).__name__)
