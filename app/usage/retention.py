"""Dropping old rows: their sums stay in the roll-ups. Never on a request's path: a few thousand rows a transaction."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import orjson
from sqlalchemy import Connection

from app.store.database import Database
from app.store.tables import to_text
from app.store.writer import driver
from app.usage.reconcile import raw_from, remember, verify

log = logging.getLogger(__name__)

AT_ONCE = 2000
"""Rows per transaction: some tens of milliseconds in which no other write is made."""


async def drop_old_rows(database: Database, keep_days: int, now: datetime) -> int:
    """Drop settled rows from before the UTC midnight `keep_days` ago, and what goes with their requests; how many rows
    went.

    Their days are compared with the roll-ups first, and repaired: after this nobody can. Feedback stays. A stop on the
    way does no harm: what is left goes at the next call. Raises `StoreUnavailable`.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    horizon = midnight - timedelta(days=keep_days)
    if not await database.read(lambda connection: _has_older(connection, horizon)):
        return 0
    checked = await verify(database, repair=True, before=horizon)
    if checked.repaired:
        log.warning("%d sums did not agree with rows that are dropped now, and were repaired", checked.repaired)
    await database.write(lambda connection: _set_horizon(connection, horizon))
    dropped = 0
    while count := await database.write(lambda connection: _drop_some(connection, horizon), durable=False):
        dropped += count
    log.info("dropped %d rows of the ledger from before %s; their sums stay", dropped, f"{horizon:%Y-%m-%d}")
    return dropped


def _has_older(connection: Connection, horizon: datetime) -> bool:
    return driver(connection).execute(f"{_OLDER} LIMIT 1", (to_text(horizon),)).fetchone() is not None


_OLDER = "SELECT id, request_id FROM llm_usage_log WHERE created_at < ? AND status <> 'pending'"


def _set_horizon(connection: Connection, horizon: datetime) -> None:
    """Forward only: a longer time to keep rows brings none back."""
    before = raw_from(connection)
    if before is None or horizon > before:
        remember(connection, "raw_from", to_text(horizon))


def _drop_some(connection: Connection, horizon: datetime) -> int:
    raw = driver(connection)
    found = raw.execute(f"{_OLDER} ORDER BY created_at LIMIT {AT_ONCE}", (to_text(horizon),)).fetchall()
    ids, requests = (orjson.dumps([row[at] for row in found]).decode() for at in (0, 1))
    raw.execute("DELETE FROM llm_usage_log WHERE id IN (SELECT value FROM json_each(?))", (ids,))
    for table in ("request_receipts", "request_parents"):
        raw.execute(
            f"DELETE FROM {table} WHERE request_id IN (SELECT value FROM json_each(?)) AND NOT EXISTS "
            f"(SELECT 1 FROM llm_usage_log WHERE llm_usage_log.request_id = {table}.request_id)",
            (requests,),
        )
    return len(found)
