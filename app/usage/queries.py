"""What a usage report is asked: parsed and checked here, so that reports only ever see values that make sense."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from app.errors import InvalidRequest
from app.usage.records import Status

GROUPINGS = (
    "hour", "day", "week", "month", "model", "task_type", "workspace", "agent", "session", "rule", "location",
    "provider",
)  # fmt: skip
FILTERS = (
    "workspace", "model", "task_type", "agent", "session", "rule", "location", "provider", "status", "request_id",
)  # fmt: skip
MAX_GROUPINGS = 3
MAX_PAGE = 1000
DEFAULT_DAYS = 30

_LOST_PLUS = re.compile(r"(?<=\d) (?=\d\d:?\d\d$)")
"""Where a time's offset lost its plus: in a query an unencoded one is a space."""
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}")


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Which rows, and how to group them. `start` inclusive, `end` exclusive, both aware; filters are equalities."""

    start: datetime
    end: datetime
    tz: ZoneInfo
    filters: Mapping[str, str]
    group_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page; the next one starts after it."""

    created_at: str
    id: str


def parse_query(
    *,
    start: str | None,
    end: str | None,
    tz: str | None,
    group_by: str | None,
    filters: Mapping[str, str | None],
    now: datetime,
) -> UsageQuery:
    """The parameters of `GET /api/v1/usage` as a query; the defaults are the last 30 days, UTC, no grouping.

    `start` and `end` (called `from` and `to` in messages) are ISO-8601: a date is midnight of the named zone, a time
    without an offset is that zone's. `now` is aware. Raises InvalidRequest with the member `field`.
    """
    zone = parse_zone(tz)
    last = _moment("to", end, zone) if end else now
    first = _moment("from", start, zone) if start else last - timedelta(days=DEFAULT_DAYS)
    if first > last:
        raise _invalid("from", "is after `to`")
    return UsageQuery(first, last, zone, _filters(filters), parse_group_by(group_by))


def parse_zone(name: str | None) -> ZoneInfo:
    """An IANA zone; None is UTC. Raises InvalidRequest."""
    if name is None:
        return ZoneInfo("UTC")
    try:
        if not _ZONE.fullmatch(name):
            raise ValueError
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # KeyError: ZoneInfoNotFoundError; OSError: the name of a folder
        raise _invalid("tz", "is not an IANA time zone such as Europe/Berlin") from None


def parse_group_by(text: str | None) -> tuple[str, ...]:
    """One to three groupings, comma-separated; None or empty is none. Raises InvalidRequest."""
    if not text:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if any(name not in GROUPINGS for name in names):
        raise _invalid("group_by", f"expects one to three of {', '.join(GROUPINGS)}")
    if len(names) > MAX_GROUPINGS or len(set(names)) < len(names):
        raise _invalid("group_by", "expects one to three different names")
    return names


def parse_limit(limit: int) -> int:
    if not 1 <= limit <= MAX_PAGE:
        raise _invalid("limit", f"expects 1 to {MAX_PAGE}")
    return limit


def encode_cursor(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(f"{cursor.created_at} {cursor.id}".encode()).decode().rstrip("=")


def decode_cursor(text: str) -> Cursor:
    """Raises InvalidRequest for anything `encode_cursor` did not make."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise _invalid("cursor", "is not a cursor of this endpoint") from None
    created_at, _, id = raw.partition(" ")
    if not id or not re.fullmatch(r"[0-9T:.Z-]{20,32}", created_at):
        raise _invalid("cursor", "is not a cursor of this endpoint")
    return Cursor(created_at, id)


def _filters(given: Mapping[str, str | None]) -> dict[str, str]:
    filters = {name: value for name, value in given.items() if value is not None}
    for name, value in filters.items():
        if name not in FILTERS:
            raise _invalid(name, f"is not a filter; there are {', '.join(FILTERS)}")
        if len(value) > 256 or not value.isprintable():
            raise _invalid(name, "expects at most 256 printable characters")
    if filters.get("status") not in (None, *(status.value for status in Status)):
        raise _invalid("status", f"expects one of {', '.join(status.value for status in Status)}")
    return filters


def _moment(field: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        if len(text) == 10:
            moment = datetime.combine(date.fromisoformat(text), time(), zone)
        else:
            written = _LOST_PLUS.sub("+", text) if len(text) > len("2026-11-24 09:30") else text
            parsed = datetime.fromisoformat(written)
            moment = parsed if parsed.tzinfo else parsed.replace(tzinfo=zone)
        moment = moment.astimezone(UTC)
        # Beyond these no arithmetic with zones is safe, and no row can be.
        if not 1970 <= moment.year <= 9998:
            raise ValueError
        return moment
    except (ValueError, OverflowError):
        raise _invalid(field, "expects an ISO-8601 date or time, such as 2026-11-24 or 2026-11-24T09:30:00Z") from None


def _invalid(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(f"`{field}` {expected}", field=field)
