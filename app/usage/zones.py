"""Local time inside SQL: a zone's offsets over a range, as the pieces of a CASE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

_STEP = timedelta(hours=12)  # no zone has ever changed its offset twice within so short a time
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class OffsetPiece:
    """Up to `until` (exclusive, UTC; None: for the rest of the range) local time is UTC plus `seconds`."""

    until: datetime | None
    seconds: int


def offset_pieces(zone: tzinfo, start: datetime, end: datetime) -> tuple[OffsetPiece, ...]:
    """The offsets of `zone` from `start` to `end`, in order; adjacent pieces differ. Exact to the second."""
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    pieces = []
    seconds = _offset(zone, start)
    for before, after in _steps(start, end):
        following = _offset(zone, after)
        if following != seconds:
            pieces.append(OffsetPiece(_change(zone, before, after), seconds))
            seconds = following
    return (*pieces, OffsetPiece(None, seconds))


def offset_text(seconds: int) -> str:
    """As ISO-8601 writes it: +05:30. Offsets of the nineteenth century are cut to the minute."""
    minutes = abs(seconds) // 60
    return f"{'-' if seconds < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _steps(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    before = start
    while before < end:
        after = end if end - before <= _STEP else before + _STEP
        yield before, after
        before = after


def _change(zone: tzinfo, before: datetime, after: datetime) -> datetime:
    """The first whole second at which the offset is the later one."""
    low, high = (int(moment.replace(microsecond=0).timestamp()) for moment in (before, after))
    high += bool(after.microsecond)
    old = _offset(zone, datetime.fromtimestamp(low, UTC))
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, datetime.fromtimestamp(middle, UTC)) == old:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(zone: tzinfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0
