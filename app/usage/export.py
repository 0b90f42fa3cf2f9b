"""The rows as CSV or NDJSON, piece by piece: a million of them need the memory of one page."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Literal, Protocol

import orjson

from app.usage.queries import MAX_PAGE, UsageQuery
from app.usage.records import UsageRecord
from app.usage.reports import RecordPage

Format = Literal["csv", "ndjson"]
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}
COLUMNS = tuple(field.name for field in fields(UsageRecord))

_VALUES = attrgetter(*COLUMNS)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula (OWASP, "CSV Injection")."""


class Pages(Protocol):
    """`UsageReports`, as far as it matters here."""

    async def records(self, query: UsageQuery, *, limit: int = 100, cursor: str | None = None) -> RecordPage: ...


async def export(reports: Pages, query: UsageQuery, format: Format) -> AsyncIterator[bytes]:
    """Newest first. Each page is read in a snapshot of its own; none repeats or skips a row that was there at first."""
    if format == "csv":
        yield _csv([COLUMNS])
    cursor: str | None = None
    while True:
        page = await reports.records(query, limit=MAX_PAGE, cursor=cursor)
        if page.records:
            # In a thread: tens of milliseconds for a page, in which no answer would get on.
            yield await asyncio.to_thread(_lines, page.records, format)
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


def _lines(records: Sequence[UsageRecord], format: Format) -> bytes:
    if format == "csv":
        return _csv([[_cell(value) for value in _VALUES(record)] for record in records])
    return b"".join(orjson.dumps(record) + b"\n" for record in records)


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    """Nothing for unknown, as everywhere in CSV; text that a spreadsheet would compute gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
