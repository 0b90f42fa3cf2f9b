"""Percentiles of many groups at once, from the pieces of their sketches."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from app.usage.figures import Percentiles
from app.usage.sketches import BINS, ENTRY_DTYPE, bin_of, value_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


DENSE = 4
"""Up to so many possible codes for each that comes, an array with a place for all of them is quicker than sorting."""

_value_of = lru_cache(maxsize=BINS)(value_of)


@lru_cache(maxsize=1)
def _numpy() -> Any:
    import numpy  # a tenth of a second, and only reports need it

    return numpy


@dataclass(slots=True)
class SketchPieces:
    """Sketches to add up by group (a number from 0) or to take away from it."""

    parts: list[tuple[int, int, bytes]] = field(default_factory=list)
    """Group, sign, entries as `app.usage.sketches` stores them; a bin may come many times."""
    values: list[tuple[int, int, int]] = field(default_factory=list)
    """Group, sign, and a single value in milliseconds."""

    def percentiles(self, groups: int) -> tuple[list[Percentiles], Percentiles]:
        """Of each group, and of all together."""
        np = _numpy()
        owners, signs = [g for g, _, _ in self.parts], [s for _, s, _ in self.parts]
        lengths = [len(entries) // 6 for _, _, entries in self.parts]
        entries = np.frombuffer(b"".join(entries for _, _, entries in self.parts), dtype=ENTRY_DTYPE)
        codes = np.repeat(np.array(owners, np.int64), lengths) * BINS + entries["bin"]
        counts = np.repeat(np.array(signs, np.int64), lengths) * entries["count"]
        if self.values:
            codes = np.append(codes, [group * BINS + bin_of(value) for group, _, value in self.values])
            counts = np.append(counts, [sign for _, sign, _ in self.values])
        codes, counts = _added(codes, counts, groups * BINS)
        bounds = np.searchsorted(codes, np.arange(groups + 1) * BINS)
        each = _read(codes % BINS, counts, bounds)
        bins, counts = _added(codes % BINS, counts, BINS)
        (whole,) = _read(bins, counts, np.array([0, len(bins)]))
        return each, whole


def _added(codes: NDArray[Any], counts: NDArray[Any], below: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each code (all are `below` this) once, in order, with what its counts add up to, where that is not nothing."""
    np = _numpy()
    if below <= DENSE * len(codes):
        # Added up as floats, which hold whole numbers up to 2^53 exactly.
        sums = np.bincount(codes.astype(np.int64), weights=counts, minlength=below).astype(np.int64)
        found = np.flatnonzero(sums)
        return found, sums[found]
    if not len(codes):
        return codes.astype(np.int64), counts.astype(np.int64)
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    return codes[first], np.add.reduceat(counts, first)


def _read(bins: NDArray[Any], counts: NDArray[Any], bounds: NDArray[Any]) -> list[Percentiles]:
    """By nearest rank, of the groups whose bins are those from one of the `bounds` to the next."""
    np = _numpy()
    if not len(bins):
        return [Percentiles()] * (len(bounds) - 1)
    # How many values lie before each bin.
    running = np.concatenate(([0], np.cumsum(counts)))
    before, totals = running[bounds[:-1]], np.diff(running[bounds])
    values = []
    for percent in (50, 95):
        places = np.searchsorted(running, before - (-totals * percent // 100)) - 1
        values.append([_value_of(bin) for bin in bins[np.maximum(places, 0)].tolist()])
    found = zip(totals.tolist(), *values, strict=True)
    return [Percentiles(p50, p95) if total > 0 else Percentiles() for total, p50, p95 in found]
