"""The one connection that writes, in the one thread that may use it.

Writes are queued; the thread takes everything that waits, runs it in one transaction and commits once (group commit).
SQLite before 3.51.3 can corrupt a WAL when two connections write or checkpoint at once, so every checkpoint is made
here too (automatic ones are off on the readers, which are read-only, and on this connection).
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Protocol

from sqlalchemy import Connection, Engine, create_engine

from app.errors import SidecarError
from app.store.opening import is_broken, primary_code

log = logging.getLogger(__name__)

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_NOMEM,
}
_MAX_GROUP = 512
_COMMITS_PER_CHECKPOINT = 256  # of a few pages each: about SQLite's own default of 1,000 pages
_IDLE_SECONDS = 1.0


class StoreUnavailable(SidecarError):
    """The database cannot be used now: locked by another program, disk full, damaged, or the queue is full."""

    status = 503
    code = "storage_unavailable"
    title = "Storage unavailable"


def is_unavailable(error: BaseException) -> bool:
    """True where SQLite blames the file, the disk or a lock; False where it blames what was to be written."""
    return primary_code(error) in _UNAVAILABLE


class Write(Protocol):
    """Something to be written. Both methods are called in the writer's thread.

    `run` may be called a second time, after a roll-back, when another write of its group failed; it must not commit.
    `finished` is called exactly once, after the commit (None) or when the write was given up.
    """

    durable: bool
    """True: `finished` comes after the disk has it. False: a crash of the machine, not of the program, may lose it."""

    def run(self, connection: Connection) -> None: ...

    def finished(self, error: Exception | None) -> None: ...


def open_engine(path: Path, *, read_only: bool, busy_ms: int) -> Engine:
    """An engine on the file. Its connections are in driver-level autocommit: transactions are begun explicitly."""
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, timeout=busy_ms / 1000, isolation_level=None, check_same_thread=False
        )
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA query_only = ON" if read_only else "PRAGMA wal_autocheckpoint = 0")
        return connection

    # Parameters stay out of error texts: an exception in the log must not repeat what somebody wrote.
    return create_engine("sqlite+pysqlite://", creator=connect, isolation_level="AUTOCOMMIT", hide_parameters=True)


class Writer:
    """Owns the thread, the queue and the connection. Made and started by `app.store.database`."""

    def __init__(self, path: Path, *, max_queue: int, lock_patience: float, busy_ms: int) -> None:
        self._max_queue = max_queue
        self._lock_patience = lock_patience
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._engine = open_engine(path, read_only=False, busy_ms=busy_ms)
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._full_sync: bool | None = None
        self._commits = 0
        self.suspect = False
        """SQLite reported damage while running: the next start checks the file."""

    def start(self, prepare: Callable[[Connection], None], done: Callable[[Exception | None], None]) -> None:
        """Start the thread; it connects, runs `prepare` outside any transaction, reports, and then serves."""
        self._thread = threading.Thread(target=self._main, args=(prepare, done), name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, write: Write) -> None:
        """Queue a write from any thread. Raises `StoreUnavailable` when too many wait already, or after closing."""
        if self._closing.is_set():
            raise StoreUnavailable("the database is closed")
        if self._queue.qsize() >= self._max_queue:
            raise StoreUnavailable("too many writes are waiting for the database")
        self._queue.put(write)

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def stop(self) -> None:
        """No new writes; what waits is tried once more, then the connection is closed."""
        if not self._closing.is_set():
            self._closing.set()
            self._queue.put(None)

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False when it took longer."""
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def _main(self, prepare: Callable[[Connection], None], done: Callable[[Exception | None], None]) -> None:
        try:
            with self._engine.connect() as connection:
                try:
                    prepare(connection)
                except Exception as error:
                    done(error)
                    return
                done(None)
                self._serve(connection)
        except Exception:
            log.exception("the database writer ended unexpectedly")
        finally:
            self._closing.set()
            self._engine.dispose()
            self._abandon()

    def _serve(self, connection: Connection) -> None:
        while True:
            group, stop = self._next_group()
            if group:
                self._write_group(connection, group)
            if stop:
                break
            if self._commits >= _COMMITS_PER_CHECKPOINT or (self._commits and not group):
                self._checkpoint(connection, "PASSIVE")
        self._checkpoint(connection, "TRUNCATE")

    def _next_group(self) -> tuple[list[Write], bool]:
        """Everything that waits, and whether to stop after it. Empty after a quiet second with something to tidy."""
        group: list[Write] = []
        try:
            write = self._queue.get(timeout=_IDLE_SECONDS if self._commits else None)
            while True:
                if write is None:
                    return group, True
                group.append(write)
                if len(group) >= _MAX_GROUP:
                    return group, False
                write = self._queue.get_nowait()
        except queue.Empty:
            return group, False

    def _write_group(self, connection: Connection, group: list[Write]) -> None:
        error = self._attempt(connection, group)
        if error is None or len(group) == 1 or isinstance(error, StoreUnavailable):
            for write in group:
                _finish(write, error)
            return
        # One of them is at fault: each for itself, so that it takes no other down with it.
        for write in group:
            _finish(write, self._attempt(connection, [write]))

    def _attempt(self, connection: Connection, group: list[Write]) -> Exception | None:
        """One transaction. Returns what went wrong; what concerns the file, not the write, as `StoreUnavailable`."""
        raw = driver(connection)
        try:
            self._begin(raw, full_sync=any(write.durable for write in group))
            for write in group:
                write.run(connection)
            raw.execute("COMMIT")
        except Exception as error:
            self._roll_back(raw)
            if is_broken(error):
                self.suspect = True
            if not is_unavailable(error):
                return error
            reason = str(getattr(error, "orig", error))
            log.warning("the database cannot be written: %s", reason)
            return StoreUnavailable(f"the database cannot be written: {reason}")
        self._commits += 1
        return None

    def _begin(self, raw: sqlite3.Connection, *, full_sync: bool) -> None:
        if full_sync is not self._full_sync:
            raw.execute("PRAGMA synchronous = FULL" if full_sync else "PRAGMA synchronous = NORMAL")
            self._full_sync = full_sync
        give_up = monotonic() + self._lock_patience
        while True:
            try:
                raw.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                # Each try waits in C, without the GIL, for busy_ms; between them we see that we are to close.
                if primary_code(error) != sqlite3.SQLITE_BUSY or monotonic() >= give_up or self._closing.is_set():
                    raise

    def _roll_back(self, raw: sqlite3.Connection) -> None:
        try:
            if raw.in_transaction:
                raw.execute("ROLLBACK")
        except sqlite3.Error:
            log.exception("roll-back failed")

    def _checkpoint(self, connection: Connection, mode: str) -> None:
        """Copy the WAL into the file. A failure is harmless: the WAL keeps everything, and the next one tries again."""
        self._commits = 0
        try:
            driver(connection).execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            self.suspect = self.suspect or is_broken(error)
            log.warning("checkpoint failed: %s", error)

    def _abandon(self) -> None:
        """The thread is at its end: nobody may wait for ever for what came too late."""
        while True:
            try:
                write = self._queue.get_nowait()
            except queue.Empty:
                return
            if write is not None:
                _finish(write, StoreUnavailable("the database is closed"))


def _finish(write: Write, error: Exception | None) -> None:
    try:
        write.finished(error)
    except Exception:
        # Of the caller's making; the other writes of the group must still hear of their commit.
        log.exception("a write's `finished` failed")


def driver(connection: Connection) -> sqlite3.Connection:
    """The sqlite3 connection under a SQLAlchemy one, for statements on a hot path."""
    raw = connection.connection.driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw
