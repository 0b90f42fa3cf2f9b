"""From a time range in somebody's zone to what has to be read of the roll-ups and of the rows.

A range is covered as a difference: all up to its end, less all up to its beginning. Both are first brought to the
nearest UTC day, and what is too much or missing is made good with hours, then quarters, then rows. So a day in Berlin
is a UTC day, plus the two hours before it, less its own last two: three or four reads instead of twenty-four, and
exact, since everything that is read can be added and taken away again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from app.usage.rollups import DAY, FOUR_WEEKS, HOUR, QUARTER
from app.usage.zones import offset_pieces, offset_text

TIMES = ("hour", "day", "week", "month")

_STEPS = tuple(step * 1000 for step in (FOUR_WEEKS, DAY, HOUR, QUARTER))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """A time from `start` to `end` (milliseconds since 1970, exclusive) that belongs to one group.

    `key`: the group's local times, one for each time grouping; empty without any.
    """

    key: tuple[str, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Piece:
    """What to read: buckets of `level` seconds, or rows (`level` 0), from `start` to `end` in milliseconds.

    `sign` -1: to be taken away. `group`: the index of the span it belongs to.
    """

    group: int
    sign: int
    level: int
    start: int
    end: int


def milliseconds(moment: datetime) -> int:
    """Since 1970, rounded up: stored times are cut off, so `stored >= bound` then means "not before `moment`"."""
    return -((_EPOCH - moment) // _MILLISECOND)


def instant(milliseconds: int) -> datetime:
    return _EPOCH + milliseconds * _MILLISECOND


def spans(names: Sequence[str], zone: ZoneInfo, start: int, end: int) -> list[Span]:
    """The groups of these time groupings within a range, in order. A local time that comes twice, on the night the
    clocks go back, has two spans with one key, but for the hour, whose key has its offset."""
    if start >= end:
        return []
    if not names:
        return [Span((), start, end)]
    result: list[Span] = []
    for span in _cut(names, zone, start, end):
        if result and result[-1].key == span.key and result[-1].end == span.start:
            result[-1] = Span(span.key, result[-1].start, span.end)
        else:
            result.append(span)
    return result


def _cut(names: Sequence[str], zone: ZoneInfo, start: int, end: int) -> Iterator[Span]:
    """By the finest of the units; neighbours may have the same key."""
    step = HOUR * 1000 if "hour" in names else DAY * 1000
    at = start
    for piece in offset_pieces(zone, instant(start), instant(end)):
        offset = piece.seconds * 1000
        until = end if piece.until is None else min(end, milliseconds(piece.until))
        while at < until:
            local = at + offset
            following = min(until, local - local % step + step - offset)
            yield Span(_key(names, instant(local), piece.seconds), at, following)
            at = following


def _key(names: Iterable[str], local: datetime, offset: int) -> tuple[str, ...]:
    """`local` reads as local time, though it says UTC."""
    return tuple(_label(name, local, offset) for name in names)


def _label(name: str, local: datetime, offset: int) -> str:
    match name:
        case "hour":
            return f"{local:%Y-%m-%dT%H}:00{offset_text(offset)}"
        case "day":
            return f"{local:%Y-%m-%d}"
        case "week":
            year, week, _ = local.isocalendar()
            return f"{year}-W{week:02}"
        case _:
            return f"{local:%Y-%m}"


def cover(group: int, start: int, end: int, *, rows_from: int = 0) -> list[Piece]:
    """What adds up to the time from `start` to `end`. Rows before `rows_from` are not there: what only they could
    tell is left out, which brings that edge to the nearest quarter of an hour."""
    pieces = _cover(start, end, _STEPS)
    return [Piece(group, sign, level, a, b) for sign, level, a, b in pieces if level or a >= rows_from]


def rows_only(group: int, start: int, end: int) -> list[Piece]:
    """The same time from the rows alone."""
    return [Piece(group, 1, 0, start, end)]


_Part = tuple[int, int, int, int]
"""Sign, level, start, end."""


def _cover(start: int, end: int, steps: Sequence[int]) -> list[_Part]:
    if start >= end:
        return []
    if not steps:
        return [(1, 0, start, end)]
    step, *finer = steps
    low, high = _nearest(start, step), _nearest(end, step)
    direct = _cover(start, end, finer) if high - low <= step else None
    if low >= high:
        return direct or _cover(start, end, finer)
    parts = [(1, step // 1000, low, high), *_edge(low, start, finer, -1), *_edge(high, end, finer, 1)]
    return direct if direct is not None and _cost(direct) < _cost(parts) else parts


def _edge(bound: int, moment: int, steps: Sequence[int], sign: int) -> list[_Part]:
    """What lies between a bucket's bound and the moment: added where the moment is later, else taken away."""
    if moment < bound:
        bound, moment, sign = moment, bound, -sign
    return [(sign * own, level, a, b) for own, level, a, b in _cover(bound, moment, steps)]


def _cost(parts: Iterable[_Part]) -> float:
    """About how many buckets are read; a minute of rows counts as one."""
    return sum((end - start) / ((level or 60) * 1000) for _, level, start, end in parts)


def _nearest(moment: int, step: int) -> int:
    return (moment + step // 2) // step * step
