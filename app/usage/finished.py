"""FinishedPeriods: groups of days and hours that are over, kept in memory: the next report reads only what is new.

A period is finished one UTC day after it: few rows are written into it from then on (an attempt that ran all night, a
crash found at the start, a repair), and each of those raises the ledger's `history` number in its own transaction
(`app.usage.rollups`). A report reads that number in its snapshot; what was kept under another one is let go.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeAlias

from app.usage.gathered import Block, Names
from app.usage.queries import UsageQuery
from app.usage.rollups import QUARTER
from app.usage.spans import Span

Shape: TypeAlias = tuple[Any, ...]
"""What a report asks, but for its range: zone, groupings and filters."""

MOST_GROUPS = 60_000
"""Kept in all: about 15 MB."""

Read: TypeAlias = Callable[[int, int], Block]
"""The groups of a range (milliseconds since 1970), read from the database."""


@dataclass(frozen=True, slots=True)
class Horizon:
    """As the snapshot has it: `history`, and the end of what is finished (milliseconds)."""

    history: int
    end: int


@dataclass(slots=True)
class Kept:
    """Whole spans one after the other, and the names that their groups' numbers stand for."""

    history: int
    values: dict[Names, int] = field(default_factory=dict)
    block: Block | None = None


def shape_of(query: UsageQuery) -> Shape:
    return query.tz.key, query.group_by, tuple(sorted(query.filters.items()))


class FinishedPeriods:
    """For several readers' threads: who has taken what is kept of a shape has it alone until it is put back."""

    def __init__(self, most_groups: int = MOST_GROUPS) -> None:
        self._most = most_groups
        self._kept: OrderedDict[Shape, Kept] = OrderedDict()
        self._lock = Lock()

    def take(self, shape: Shape, history: int) -> Kept:
        with self._lock:
            kept = self._kept.pop(shape, None)
        return kept if kept is not None and kept.history == history else Kept(history)

    def put(self, shape: Shape, kept: Kept) -> None:
        if kept.block is None or len(kept.block) > self._most:
            return
        with self._lock:
            self._kept[shape] = kept
            while sum(_size(one) for one in self._kept.values()) > self._most:
                self._kept.popitem(last=False)

    def __len__(self) -> int:
        """Groups kept."""
        with self._lock:
            return sum(_size(one) for one in self._kept.values())


def _size(kept: Kept) -> int:
    return 0 if kept.block is None else len(kept.block)


def with_kept(kept: Kept, start: int, end: int, horizon: int, whole: Callable[[int], bool], read: Read) -> Block:
    """The groups from `start` to `end`: what is kept, and the rest as it is read. What is finished of that is kept.

    `whole`: whether a span ends at a moment, and another begins.
    """
    begin, until = (0, 0) if kept.block is None else _inside(kept.block.spans, start, end)
    if kept.block is None or begin >= until:
        fresh = read(start, end)
        kept.block = _finished(fresh, horizon, whole)
        return fresh
    known = kept.block
    low, high = known.spans[begin].start, known.spans[until - 1].end
    before = read(start, low) if start < low else None
    after = read(high, end) if high < end else None
    found = [block for block in (before, known.part(begin, until), after) if block is not None]
    # What is kept stays one piece: what was read grows it where it lies at its ends.
    grown = [known]
    if before is not None and begin == 0 and (more := _finished(before, horizon, whole)) is not None:
        grown.insert(0, more)
    if after is not None and until == len(known.spans) and (more := _finished(after, horizon, whole)) is not None:
        grown.append(more)
    kept.block = Block.joined(grown)
    return Block.joined(found)


def _inside(spans: Sequence[Span], start: int, end: int) -> tuple[int, int]:
    """Which of the spans lie within the range whole."""
    first = bisect_left(spans, start, key=lambda span: span.start)
    return first, bisect_right(spans, end, key=lambda span: span.end)


def _finished(block: Block, horizon: int, whole: Callable[[int], bool]) -> Block | None:
    """The spans of a block that are whole and over; None where there is none, or where one does not lie between
    quarters of an hour (before there were time zones): such are read from rows, which retention drops."""
    begin, end = 0, bisect_right(block.spans, horizon, key=lambda span: span.end)
    if begin < end and not whole(block.spans[begin].start):
        begin += 1
    if begin < end and not whole(block.spans[end - 1].end):
        end -= 1
    quarter = QUARTER * 1000
    if begin >= end or any(span.start % quarter or span.end % quarter for span in block.spans[begin:end]):
        return None
    return block.part(begin, end)
