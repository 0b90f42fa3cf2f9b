"""Percentiles of many groups at once, from the pieces of their sketches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from app.usage.figures import Percentiles
from app.usage.sketches import BINS, ENTRY_DTYPE, bin_of, value_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        codes, counts = _added(codes, counts)
        bounds = np.searchsorted(codes, np.arange(groups + 1) * BINS)
        bins, running = codes % BINS, np.concatenate(([0], np.cumsum(counts)))
        each = [_read(bins, running, int(a), int(b)) for a, b in pairwise(bounds)]
        all_bins, all_counts = _added(bins, counts)
        whole = _read(all_bins, np.concatenate(([0], np.cumsum(all_counts))), 0, len(all_bins))
        return each, whole


def _added(codes: NDArray[Any], counts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Each code once, in order, with what its counts add up to."""
    np = _numpy()
    if not len(codes):
        return codes.astype(np.int64), counts.astype(np.int64)
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    return codes[first], np.add.reduceat(counts, first)


def _read(bins: NDArray[Any], running: NDArray[Any], start: int, end: int) -> Percentiles:
    """By nearest rank from bins `start` to `end`; `running[i]` is how many values lie before bin `i`."""
    before, total = int(running[start]), int(running[end] - running[start])
    if total <= 0:
        return Percentiles()
    ranks: Sequence[int] = [before - (-total * percent // 100) for percent in (50, 95)]
    p50, p95 = (value_of(int(bins[int(running.searchsorted(rank)) - 1])) for rank in ranks)
    return Percentiles(p50, p95)
