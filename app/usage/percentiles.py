"""Percentiles of many groups at once, from the pieces of their sketches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from app.usage.sketches import BINS, ENTRY_DTYPE, bin_of, encode, value_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Ints: TypeAlias = "NDArray[Any]"  # numpy is imported late
"""Of 64 bits; where nothing was measured a percentile is -1."""

PERCENTS = (50, 95)
MOST_CELLS = 4_000_000
"""Groups by bins that are looked at in one go: 32 MB."""


@lru_cache(maxsize=1)
def numpy() -> Any:
    import numpy  # a tenth of a second, and only reports need it

    return numpy


@lru_cache(maxsize=1)
def _values() -> Ints:
    found: Ints = numpy().array([value_of(bin) for bin in range(BINS)], numpy().int64)
    return found


@dataclass(frozen=True, slots=True)
class Counts:
    """So many values (`counts`) of a bin belong to an owner: three arrays of one length, in the order of the owners."""

    owners: Ints
    bins: Ints
    counts: Ints

    @classmethod
    def joined(cls, parts: Sequence[Counts]) -> Counts:
        np = numpy()
        if not parts:
            return cls(*(np.empty(0, np.int64) for _ in range(3)))
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("owners", "bins", "counts")))


@dataclass(slots=True)
class Sketches:
    """Sketches, and single values, that are still to be added up. Owners are any numbers."""

    _owners: list[Ints] = field(default_factory=list)
    _signs: list[Ints] = field(default_factory=list)
    _lengths: list[Ints] = field(default_factory=list)
    _entries: list[bytes] = field(default_factory=list)

    def add(self, owners: Ints, signs: Ints, sketches: Sequence[bytes | None]) -> None:
        """Entries as `app.usage.sketches` stores them, each sketch with its owner and whether it is taken away (-1)."""
        self._owners.append(owners)
        self._signs.append(signs)
        self._lengths.append(numpy().array([len(sketch) // 6 if sketch else 0 for sketch in sketches], numpy().int64))
        self._entries.append(b"".join([sketch for sketch in sketches if sketch]))

    def add_values(self, values: Sequence[tuple[int, int, int]]) -> None:
        """Single ones: owner, sign, milliseconds."""
        owners, signs = numpy().array([value[:2] for value in values], numpy().int64).reshape(-1, 2).T
        self.add(owners, signs, [encode({bin_of(value): 1}) for _, _, value in values])

    def counts(self, known: Ints) -> Counts:
        """With each owner as its place among the `known`, which are in order; others are left out. Not in order, and
        bins may repeat, with counts below nothing."""
        np = numpy()
        owners, signs, lengths = (
            np.concatenate([np.empty(0, np.int64), *parts]) for parts in (self._owners, self._signs, self._lengths)
        )
        entries = np.frombuffer(b"".join(self._entries), dtype=ENTRY_DTYPE)
        places = known.searchsorted(owners)
        there = places < len(known)
        there[there] = known[places[there]] == owners[there]
        if not there.all():
            entries = entries[np.repeat(there, lengths)]
            places, signs, lengths = places[there], signs[there], lengths[there]
        counts = np.repeat(signs, lengths) * entries["count"]
        return Counts(np.repeat(places, lengths), entries["bin"].astype(np.int64), counts)


def percentiles(counts: Counts, spans: Ints) -> tuple[Ints, Counts]:
    """Of each owner, a number below `len(spans)`, by nearest rank: (owners, 2), the median and the 95th, in
    milliseconds; and what the spans count that the owners belong to. `spans` are in order."""
    np = numpy()
    result = np.full((len(spans), len(PERCENTS)), -1, np.int64)
    if not len(spans) or not len(counts.bins):
        return result, Counts.joined(())
    lowest, width = int(counts.bins.min()), int(counts.bins.max() - counts.bins.min()) + 1
    step = max(1, MOST_CELLS // width)
    found = []
    for begin in range(0, len(spans), step):
        end = min(begin + step, len(spans))
        part = counts
        if step < len(spans):
            inside = (counts.owners >= begin) & (counts.owners < end)
            part = Counts(counts.owners[inside], counts.bins[inside], counts.counts[inside])
        cells = (part.owners - begin) * width + (part.bins - lowest)
        # Added up as floats, which hold whole numbers up to 2^53 exactly.
        table = np.bincount(cells, weights=part.counts, minlength=(end - begin) * width).reshape(end - begin, width)
        result[begin:end] = _read(table, lowest)
        found.append(_spans(table, spans[begin:end], lowest))
    return result, Counts.joined(found)


def percentiles_of_all(counts: Counts) -> Ints:
    """Of everything together: (1, 2)."""
    np = numpy()
    return percentiles(Counts(np.zeros_like(counts.owners), counts.bins, counts.counts), np.zeros(1, np.int64))[0]


def _read(table: Ints, lowest: int) -> Ints:
    """`table` (groups, bins): counts of the bins from `lowest` on."""
    np = numpy()
    running = np.cumsum(table, axis=1)
    totals = running[:, -1]
    columns = []
    for percent in PERCENTS:
        ranks = np.ceil(totals * percent / 100)
        places = (running >= ranks[:, None]).argmax(axis=1)
        columns.append(np.where(totals > 0, _values()[places + lowest], -1))
    found: Ints = np.stack(columns, axis=1)
    return found


def _spans(table: Ints, spans: Ints, lowest: int) -> Counts:
    np = numpy()
    first = np.flatnonzero(np.concatenate(([True], spans[1:] != spans[:-1])))
    sums = np.add.reduceat(table, first, axis=0) if len(first) < len(spans) else table
    at, bins = np.nonzero(sums)
    return Counts(spans[first][at], bins + lowest, sums[at, bins].astype(np.int64))
