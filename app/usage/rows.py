"""The ledger's records as SQL rows, and one batch of them as a transaction.

The statements are SQLAlchemy Core's, compiled once and run with plain tuples on the driver's connection: this is on
every request's path, and executing the constructs would cost more than SQLite does.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Table, literal_column, update
from sqlalchemy.dialects.sqlite import Insert, dialect, insert

from app.store.tables import llm_usage_log, request_parents, request_receipts, to_text
from app.store.writer import driver, is_unavailable
from app.usage import rollups
from app.usage.records import AttemptEnd, AttemptStart, CostSource, Parent, Receipt, Status

log = logging.getLogger(__name__)

Row = tuple[Any, ...]

_START_COLUMNS = (
    "id", "request_id", "attempt", "workspace_profile_id", "session_id", "agent", "task_type", "rule", "provider",
    "model", "location", "created_at",
)  # fmt: skip
_END_COLUMNS = (
    "status", "success", "settled_at", "latency_ms", "time_to_first_token_ms", "input_tokens", "cached_input_tokens",
    "cache_write_tokens", "output_tokens", "reasoning_tokens", "cost_micro_usd", "cost_source", "error_code",
    "error_message",
)  # fmt: skip
_RECEIPT_COLUMNS = ("request_id", "facts", "route", "context")


def _compile(table: Table, columns: Sequence[str], finish: Callable[[Insert], Insert]) -> str:
    statement = finish(insert(table).values(dict.fromkeys(columns)))
    compiled = statement.compile(dialect=dialect(), column_keys=list(columns))
    if tuple(compiled.positiontup or ()) != tuple(columns):  # the rows below are positional
        raise AssertionError(f"{table.name}: the statement's parameters are {compiled.positiontup}")
    return str(compiled)


def _replace(*columns: str, where: Any = None) -> Callable[[Insert], Insert]:
    return lambda statement: statement.on_conflict_do_update(
        index_elements=[columns[0]], set_={name: statement.excluded[name] for name in columns[1:]}, where=where
    )


def _ordered(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of the table's columns, which is the order SQLAlchemy gives the parameters."""
    return tuple(column.name for column in table.columns if column.name in names)


_PENDING_ORDER = _ordered(llm_usage_log, (*_START_COLUMNS, "status", "cost_source"))
_SETTLED_ORDER = _ordered(llm_usage_log, (*_START_COLUMNS, *_END_COLUMNS))

_INSERT_PENDING = _compile(llm_usage_log, _PENDING_ORDER, lambda statement: statement.on_conflict_do_nothing())
# Writing a row twice does no harm: a batch whose commit failed half-way is simply written again. A settled row never
# changes, so that what the roll-ups hold of it stays true.
_PENDING = llm_usage_log.c.status == literal_column(f"'{Status.PENDING.value}'")
_UPSERT_SETTLED = _compile(llm_usage_log, _SETTLED_ORDER, _replace("id", *_END_COLUMNS, where=_PENDING))
_UPSERT_RECEIPT = _compile(request_receipts, _RECEIPT_COLUMNS, _replace(*_RECEIPT_COLUMNS))
_INSERT_PARENT = f"INSERT OR IGNORE INTO request_parents ({', '.join(request_parents.c.keys())}) VALUES (?, ?, ?, ?)"
_INSERT_RESERVATION = "INSERT OR IGNORE INTO budget_reservations (attempt_id, micro_usd) VALUES (?, ?)"
_DELETE_RESERVATION = "DELETE FROM budget_reservations WHERE attempt_id = ?"


def reservation_row(start: AttemptStart) -> Row:
    return (start.id, start.reserved_micro_usd)


def _asked_row(start: AttemptStart) -> Row:
    """What a row begins with, pending or settled: what was asked, by whom, of whom."""
    return (
        start.id, start.request_id, start.attempt, start.workspace_profile_id, start.session_id, start.agent,
        start.task_type, start.rule, start.provider, start.model, start.location,
    )  # fmt: skip


def pending_row(start: AttemptStart) -> Row:
    """In the order of `_PENDING_ORDER`."""
    return (*_asked_row(start), Status.PENDING.value, CostSource.UNKNOWN.value, to_text(start.created_at))


def settled_row(start: AttemptStart, end: AttemptEnd) -> Row:
    """In the order of `_SETTLED_ORDER`."""
    return (
        *_asked_row(start), end.status.value,
        end.input_tokens, end.cached_input_tokens, end.cache_write_tokens, end.output_tokens, end.reasoning_tokens,
        end.cost_micro_usd, end.cost_source.value, end.latency_ms, end.time_to_first_token_ms,
        end.status is Status.OK, end.error_code, end.error_message, to_text(start.created_at), to_text(end.settled_at),
    )  # fmt: skip


def parent_row(request_id: str, parent: Parent) -> Row:
    return (request_id, parent.request_id, parent.agent, parent.task_type)


def receipt_row(receipt: Receipt) -> Row:
    return (
        receipt.request_id,
        orjson.dumps(receipt.facts).decode(),
        orjson.dumps(receipt.route).decode(),
        orjson.dumps(receipt.context).decode(),
    )


@dataclass(slots=True)
class Entry:
    """What waits to be written: a begun attempt (no `end`) or a settled one."""

    start: AttemptStart
    end: AttemptEnd | None = None
    receipt: Receipt | None = None


class Batch:
    """Entries on their way to the disk: a `Write` for the store. `done(error, lost)` is called in its thread.

    A row that cannot be stored whatever is tried (text that is not Unicode, a number over 64 bits) is dropped alone and
    its attempt's id is in `lost`; it takes no other row with it.
    """

    def __init__(self, entries: Sequence[Entry], done: Callable[[Exception | None, frozenset[str]], None]) -> None:
        self.entries = entries
        self.durable = any(entry.end is not None for entry in entries)
        self._done = done
        self._lost: set[str] = set()

    def run(self, connection: Connection) -> None:
        self._lost.clear()
        try:
            write_entries(connection, self.entries)
        except Exception as error:
            if is_unavailable(error):
                raise
            for entry in self.entries:
                self._run_alone(connection, entry)

    def finished(self, error: Exception | None) -> None:
        self._done(error, frozenset(self._lost))

    def _run_alone(self, connection: Connection, entry: Entry) -> None:
        try:
            write_entries(connection, [entry])
        except Exception as error:
            if is_unavailable(error):
                raise
            self._lost.add(entry.start.id)
            # The type only: the message of a database error repeats the row.
            log.error("a ledger row cannot be stored and is lost: %s", type(error).__name__)


def write_entries(connection: Connection, entries: Sequence[Entry]) -> None:
    """Store the entries and add those that become settled to the roll-ups: all of it, or nothing where this raises."""
    raw = driver(connection)
    raw.execute("SAVEPOINT entries")
    try:
        ended = [(entry.start, entry.end) for entry in entries if entry.end is not None]
        known = rollups.settled_before(connection, [start.id for start, _ in ended]) if ended else set()
        for sql, rows in statements(entries):
            raw.executemany(sql, rows)
        rollups.add(connection, [rollups.settled(start, end) for start, end in ended if start.id not in known])
    except Exception as error:
        if not is_unavailable(error):  # else the whole transaction is rolled back, if SQLite has not done it already
            raw.execute("ROLLBACK TO entries")
        raise
    raw.execute("RELEASE entries")


def statements(entries: Sequence[Entry]) -> Iterator[tuple[str, list[Row]]]:
    """The rows of the ledger and the receipts, as statements and what they are executed with."""
    pending = [pending_row(entry.start) for entry in entries if entry.end is None]
    if pending:
        yield _INSERT_PENDING, pending
    if made_for := {e.start.request_id: e.start.parent for e in entries if e.start.parent is not None}:
        yield _INSERT_PARENT, [parent_row(*found) for found in made_for.items()]
    held = [entry for entry in entries if entry.start.reserved_micro_usd]
    if kept := [reservation_row(entry.start) for entry in held if entry.end is None]:
        yield _INSERT_RESERVATION, kept
    settled = [settled_row(entry.start, entry.end) for entry in entries if entry.end is not None]
    if settled:
        yield _UPSERT_SETTLED, settled
    if freed := [(entry.start.id,) for entry in held if entry.end is not None]:
        yield _DELETE_RESERVATION, freed
    receipts = [receipt_row(entry.receipt) for entry in entries if entry.end is not None and entry.receipt is not None]
    if receipts:
        yield _UPSERT_RECEIPT, receipts


def mark_interrupted(connection: Connection, notes: Sequence[AttemptStart], now: datetime) -> int:
    """What a crash cut off becomes interrupted: the journal's `notes` that have no row, and rows that are pending.

    Returns how many. Only right while no attempt is running.
    """
    for start in notes:
        with contextlib.suppress(ValueError, OverflowError, sqlite3.IntegrityError):  # a note that is no row
            driver(connection).execute(_INSERT_PENDING, pending_row(start))
            if start.parent is not None:
                driver(connection).execute(_INSERT_PARENT, parent_row(start.request_id, start.parent))
            if start.reserved_micro_usd:
                driver(connection).execute(_INSERT_RESERVATION, reservation_row(start))
    at = rollups.ROW_COLUMNS.index("status")
    cut_off = driver(connection).execute(f"{rollups.SELECT_ROWS} WHERE status = '{Status.PENDING.value}'").fetchall()
    found = [(*row[:at], Status.INTERRUPTED.value, *row[at + 1 :]) for row in cut_off]
    connection.execute(
        update(llm_usage_log)
        .where(_PENDING)
        .values(
            status=Status.INTERRUPTED.value,
            success=False,
            settled_at=to_text(now),
            error_code="interrupted",
            error_message="the sidecar stopped before this attempt ended",
        )
    )
    rollups.add(connection, [rollups.settled_from(row) for row in found])
    return len(found)
