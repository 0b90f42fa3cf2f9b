"""UsageLedger: one row per attempt, pending beside the call, settled on disk before the client hears `done`.

`begin` notes the attempt in a journal file and leaves its pending row to the next round of such rows, a few
milliseconds later; an attempt that has ended by then is written once. `settle` appends to a queue in memory. One batch
at a time is with the store's writer thread; whatever comes meanwhile is the next batch (group commit), so that a
hundred requests that end together share one wait for the disk. A settle writes the whole row: nothing depends on its
pending row having been written.

When the database cannot be written (disk full, locked, damaged) no answer fails and none waits long: rows stay in the
bounded queue, `settle` says `queued`, the queue is tried again with growing pauses, and `health()` counts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from app.store.database import Database, StoreUnavailable
from app.usage.journal import AttemptJournal, journal_path, read_journal
from app.usage.reconcile import build_missing
from app.usage.records import AttemptEnd, AttemptStart, Receipt
from app.usage.rows import Batch, Entry, mark_interrupted

log = logging.getLogger(__name__)

Outcome = Literal["stored", "queued"]
Observer = Callable[[AttemptStart, AttemptEnd, bool], None]
"""Told an attempt's start, its end, and whether it was its request's last."""


@dataclass(frozen=True, slots=True)
class LedgerLimits:
    """`capacity`: attempts that may wait in memory. Times are seconds.

    `settle_wait`: how long an answer waits for the disk. `pending_delay`: how long a begun attempt may be only in the
    journal. `retry_pauses`: between tries to write; the last one repeats.
    """

    capacity: int = 10_000
    settle_wait: float = 0.25
    pending_delay: float = 0.02
    retry_pauses: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class LedgerHealth:
    """`waiting`: settled rows not on disk yet. `lost`: rows given up since the start. `interrupted`: found at start."""

    ok: bool
    waiting: int
    lost: int
    interrupted: int
    last_error: str | None


@dataclass(slots=True)
class _Waiting(Entry):
    """An entry, and the caller who waits for its being on disk, if one does."""

    waiter: asyncio.Future[Outcome] | None = None


class UsageLedger:
    """Made by `UsageLedger.open`. All methods are called on the loop that opened it; none blocks it."""

    def __init__(self, database: Database, journal: AttemptJournal, *, interrupted: int, limits: LedgerLimits) -> None:
        self._database = database
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._interrupted = interrupted
        self._open: dict[str, AttemptStart] = {}
        self._young: dict[str, AttemptStart] = {}  # begun, and in the journal only
        self._ripening: asyncio.TimerHandle | None = None
        self._queue: dict[str, _Waiting] = {}  # by attempt id: a settle replaces its own pending row
        self._in_flight: dict[str, _Waiting] = {}
        self._failures = 0
        self._retry: asyncio.TimerHandle | None = None
        self._lost = 0
        self._last_error: str | None = None
        self._observers: list[Observer] = []
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    async def open(cls, database: Database, *, now: datetime, limits: LedgerLimits | None = None) -> UsageLedger:
        """A ledger on `database`; attempts that a crash cut off become `interrupted`, settled `now`.

        A database that cannot be written at this moment is no reason not to start: what a crash left then stays
        pending until the next start.
        """
        path = journal_path(database.path)
        notes = await database.read(lambda _connection: read_journal(path))
        interrupted = 0
        try:
            await database.write(build_missing)
            interrupted = await database.write(lambda connection: mark_interrupted(connection, notes, now))
            notes = []
        except StoreUnavailable as error:
            log.warning("cannot look for interrupted attempts: %s", error.detail)
        journal = AttemptJournal(path)
        journal.compact(notes)
        ledger = cls(database, journal, interrupted=interrupted, limits=limits or LedgerLimits())
        for start in notes:
            ledger._append(_Waiting(start))
        return ledger

    def observe(self, observer: Observer) -> None:
        """Call `observer` with every attempt that ends, stored yet or not; it must return at once."""
        self._observers.append(observer)

    def begin(self, start: AttemptStart) -> None:
        """Note that a call goes out. Its pending row is committed beside the call; nothing is waited for."""
        self._open[start.id] = self._young[start.id] = start
        self._journal.note(start)
        if self._ripening is None:
            self._ripening = self._loop.call_later(self._limits.pending_delay, self._ripen)

    async def settle(self, id: str, end: AttemptEnd, receipt: Receipt | None = None) -> Outcome:
        """Store how the attempt ended: `stored` once it is on disk, `queued` when that takes too long or fails now.

        Raises KeyError for an id that was not begun or is settled already, and nothing else. A caller that is cancelled
        while it waits loses only the answer: the row is written all the same.
        """
        entry = self._ended(id, end, receipt)
        if not self._admit(entry):
            return "queued"
        if self._failures:  # known to be failing: the answer need not wait to find that out again
            self._append(entry)
            return "queued"
        waiter: asyncio.Future[Outcome] = self._loop.create_future()
        entry.waiter = waiter
        self._append(entry)
        timer = self._loop.call_later(self._limits.settle_wait, _resolve, waiter, "queued")
        try:
            return await waiter
        finally:
            timer.cancel()

    def settle_soon(self, id: str, end: AttemptEnd, receipt: Receipt | None = None) -> None:
        """`settle` for an attempt nobody waits for: one that failed and is retried, or was cancelled.

        Raises KeyError like `settle`.
        """
        entry = self._ended(id, end, receipt)
        if self._admit(entry):
            self._append(entry)

    def health(self) -> LedgerHealth:
        waiting = sum(1 for entries in (self._queue, self._in_flight) for e in entries.values() if e.end is not None)
        return LedgerHealth(
            ok=not self._failures and not self._lost,
            waiting=waiting,
            lost=self._lost,
            interrupted=self._interrupted,
            last_error=self._last_error,
        )

    async def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds; what is left then is counted as lost and logged.

        Attempts begun and never settled stay `pending`: the next start finds them and calls them interrupted.
        """
        self._ripen()
        self._try_again()
        try:
            await asyncio.wait_for(self._idle.wait(), timeout)
        except TimeoutError:
            left = self.health().waiting
            self._lost += left
            log.error("the ledger ends with %d rows that could not be written", left)
        for timer in (self._retry, self._ripening):
            if timer is not None:
                timer.cancel()
        self._journal.close(remove=self._idle.is_set())

    def _ended(self, id: str, end: AttemptEnd, receipt: Receipt | None) -> _Waiting:
        start = self._open.pop(id)
        self._young.pop(id, None)
        for observer in self._observers:
            try:
                # A receipt comes with the last attempt: one that is retried has not made the request's fate.
                observer(start, end, receipt is not None)
            except Exception:  # whoever looks on must not cost a row
                log.exception("an observer of the ledger failed")
        return _Waiting(start, end, receipt)

    def _ripen(self) -> None:
        """Attempts still running get their pending rows, all in one transaction."""
        self._ripening = None
        young, self._young = self._young, {}
        for start in young.values():
            # With a full queue nothing is lost by leaving the pending row out: the settle writes the whole row.
            if len(self._queue) < self._limits.capacity:
                self._append(_Waiting(start))
        if self._journal.is_large:
            self._journal.compact(e.start for waiting in (self._queue, self._in_flight) for e in waiting.values())

    def _admit(self, entry: _Waiting) -> bool:
        """False, and counted as lost, where the queue has no room for a settled row."""
        if len(self._queue) < self._limits.capacity or entry.start.id in self._queue:
            return True
        self._lost += 1
        if self._lost == 1 or self._lost % 1000 == 0:
            log.error("the ledger's queue is full; %d rows lost so far", self._lost)
        return False

    def _append(self, entry: _Waiting) -> None:
        self._queue[entry.start.id] = entry
        self._idle.clear()
        if not self._in_flight and self._retry is None:
            self._submit()

    def _submit(self) -> None:
        self._in_flight, self._queue = self._queue, {}
        try:
            self._database.submit(Batch(list(self._in_flight.values()), self._report))
        except StoreUnavailable as error:
            self._failed(error)

    def _report(self, error: Exception | None, lost: frozenset[str]) -> None:
        """In the writer's thread: bring the news to the loop."""
        try:
            self._loop.call_soon_threadsafe(self._finished, error, lost)
        except RuntimeError:
            log.debug("a ledger batch ended after its loop was closed")

    def _finished(self, error: Exception | None, lost: frozenset[str]) -> None:
        if error is not None:
            self._failed(error)
            return
        self._failures = 0
        self._lost += len(lost)
        for entry in self._in_flight.values():
            _resolve(entry.waiter, "queued" if entry.start.id in lost else "stored")
        self._in_flight = {}
        if self._queue:
            self._submit()
        else:
            self._idle.set()

    def _failed(self, error: Exception) -> None:
        """The batch goes back in front of the queue, and is tried again after a pause."""
        self._last_error = error.detail if isinstance(error, StoreUnavailable) else type(error).__name__
        if not self._failures:
            log.warning("the ledger cannot be written (%s); rows wait in memory", self._last_error)
        # A settle that came meanwhile replaces the pending row of the batch, and keeps its place.
        self._queue = {**self._in_flight, **self._queue}
        self._in_flight = {}
        for entry in self._queue.values():
            _resolve(entry.waiter, "queued")
        pauses = self._limits.retry_pauses
        self._retry = self._loop.call_later(pauses[min(self._failures, len(pauses) - 1)], self._try_again)
        self._failures += 1

    def _try_again(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._queue and not self._in_flight:
            self._submit()


def _resolve(waiter: asyncio.Future[Outcome] | None, answer: Outcome) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(answer)
