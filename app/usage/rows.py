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
from sqlalchemy import Connection, Table, update
from sqlalchemy.dialects.sqlite import Insert, dialect, insert

from app.store.tables import llm_usage_log, request_receipts, to_text
from app.store.writer import driver, is_unavailable
from app.usage.records import AttemptEnd, AttemptStart, Receipt, Status

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


def _replace(*columns: str) -> Callable[[Insert], Insert]:
    return lambda statement: statement.on_conflict_do_update(
        index_elements=[columns[0]], set_={name: statement.excluded[name] for name in columns[1:]}
    )


def _ordered(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """The names in the order of the table's columns, which is the order SQLAlchemy gives the parameters."""
    return tuple(column.name for column in table.columns if column.name in names)


_PENDING_ORDER = _ordered(llm_usage_log, (*_START_COLUMNS, "status", "cost_source"))
_SETTLED_ORDER = _ordered(llm_usage_log, (*_START_COLUMNS, *_END_COLUMNS))

_INSERT_PENDING = _compile(llm_usage_log, _PENDING_ORDER, lambda statement: statement.on_conflict_do_nothing())
# Writing a row twice does no harm: a batch whose commit failed half-way is simply written again.
_UPSERT_SETTLED = _compile(llm_usage_log, _SETTLED_ORDER, _replace("id", *_END_COLUMNS))
_UPSERT_RECEIPT = _compile(request_receipts, _RECEIPT_COLUMNS, _replace(*_RECEIPT_COLUMNS))


def pending_row(start: AttemptStart) -> Row:
    """In the order of `_PENDING_ORDER`."""
    return (
        start.id, start.request_id, start.attempt, start.workspace_profile_id, start.session_id, start.agent,
        start.task_type, start.rule, start.provider, start.model, start.location, "pending", "unknown",
        to_text(start.created_at),
    )  # fmt: skip


def settled_row(start: AttemptStart, end: AttemptEnd) -> Row:
    """In the order of `_SETTLED_ORDER`."""
    return (
        start.id, start.request_id, start.attempt, start.workspace_profile_id, start.session_id, start.agent,
        start.task_type, start.rule, start.provider, start.model, start.location, end.status.value,
        end.input_tokens, end.cached_input_tokens, end.cache_write_tokens, end.output_tokens, end.reasoning_tokens,
        end.cost_micro_usd, end.cost_source.value, end.latency_ms, end.time_to_first_token_ms,
        end.status is Status.OK, end.error_code, end.error_message, to_text(start.created_at), to_text(end.settled_at),
    )  # fmt: skip


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
            for sql, rows in self.statements():
                driver(connection).executemany(sql, rows)
        except Exception as error:
            if is_unavailable(error):
                raise
            self._run_one_by_one(connection)

    def finished(self, error: Exception | None) -> None:
        self._done(error, frozenset(self._lost))

    def statements(self) -> Iterator[tuple[str, list[Row]]]:
        settled = [entry for entry in self.entries if entry.end is not None]
        pending = [pending_row(entry.start) for entry in self.entries if entry.end is None]
        if pending:
            yield _INSERT_PENDING, pending
        if settled:
            yield _UPSERT_SETTLED, [settled_row(entry.start, entry.end) for entry in settled if entry.end is not None]
        receipts = [receipt_row(entry.receipt) for entry in settled if entry.receipt is not None]
        if receipts:
            yield _UPSERT_RECEIPT, receipts

    def _run_one_by_one(self, connection: Connection) -> None:
        for entry in self.entries:
            single = Batch([entry], self._done)
            try:
                for sql, rows in single.statements():
                    driver(connection).executemany(sql, rows)
            except Exception as error:
                if is_unavailable(error):
                    raise
                self._lost.add(entry.start.id)
                # The type only: the message of a database error repeats the row.
                log.error("a ledger row cannot be stored and is lost: %s", type(error).__name__)


def mark_interrupted(connection: Connection, notes: Sequence[AttemptStart], now: datetime) -> int:
    """What a crash cut off becomes interrupted: the journal's `notes` that have no row, and rows that are pending.

    Returns how many. Only right while no attempt is running.
    """
    for start in notes:
        with contextlib.suppress(ValueError, OverflowError, sqlite3.IntegrityError):  # a note that is no row
            driver(connection).execute(_INSERT_PENDING, pending_row(start))
    statement = (
        update(llm_usage_log)
        .where(llm_usage_log.c.status == Status.PENDING.value)
        .values(
            status=Status.INTERRUPTED.value,
            success=False,
            settled_at=to_text(now),
            error_code="interrupted",
            error_message="the sidecar stopped before this attempt ended",
        )
    )
    return connection.execute(statement).rowcount
