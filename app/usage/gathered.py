"""What reports add up, in arrays: thousands of groups take as long as one.

`Gathered` takes what was read, in any order and with either sign; `Block` is what it came to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from app.usage.percentiles import Counts, Ints, Sketches, numpy, percentiles
from app.usage.rollups import SUMS
from app.usage.spans import Span

Names: TypeAlias = tuple[str | None, ...]
"""The values of the groupings that are no times, in their order."""

_SHIFT = 32
"""A group's code is its span's number in the upper half and its values' number in the lower."""
_ATTEMPTS = SUMS.index("attempts")


@dataclass(frozen=True, slots=True)
class Block:
    """The groups of consecutive spans, in the order of the spans. `n` is the number of groups.

    `span`, `value` (n): where its span and its names stand in their lists. `sums` (n, len(SUMS)). `latency`,
    `first_token` (n, 2): percentiles. The counts are each span's over all of its groups: for the totals.
    """

    spans: Sequence[Span]
    span: Ints
    value: Ints
    sums: Ints
    latency: Ints
    first_token: Ints
    latency_counts: Counts
    first_token_counts: Counts

    def __len__(self) -> int:
        return len(self.span)

    def part(self, begin: int, end: int) -> Block:
        """That of the spans from `begin` to `end`."""
        low, high = self.span.searchsorted((begin, end))

        def cut(counts: Counts) -> Counts:
            a, b = counts.owners.searchsorted((begin, end))
            return Counts(counts.owners[a:b] - begin, counts.bins[a:b], counts.counts[a:b])

        return Block(
            self.spans[begin:end],
            self.span[low:high] - begin,
            self.value[low:high],
            self.sums[low:high],
            self.latency[low:high],
            self.first_token[low:high],
            cut(self.latency_counts),
            cut(self.first_token_counts),
        )

    @classmethod
    def joined(cls, blocks: Sequence[Block]) -> Block:
        """One after the other; they share one list of names."""
        np = numpy()
        if len(blocks) == 1:
            return blocks[0]
        starts = np.cumsum([0, *(len(block.spans) for block in blocks)])

        def counts(name: str) -> Counts:
            found = [(start, getattr(block, name)) for start, block in zip(starts, blocks, strict=False)]
            return Counts.joined([Counts(part.owners + start, part.bins, part.counts) for start, part in found])

        return cls(
            [span for block in blocks for span in block.spans],
            np.concatenate([block.span + start for start, block in zip(starts, blocks, strict=False)]),
            np.concatenate([block.value for block in blocks]),
            np.concatenate([block.sums for block in blocks]),
            np.concatenate([block.latency for block in blocks]),
            np.concatenate([block.first_token for block in blocks]),
            counts("latency_counts"),
            counts("first_token_counts"),
        )


@dataclass(slots=True)
class Gathered:
    """Sums in the making. `spans` may share a key (a local time that comes twice): they are one group then.

    `values`: the names met so far, and their numbers; it goes on growing while blocks are joined.
    """

    spans: Sequence[Span]
    values: dict[Names, int]
    latency: Sketches = field(default_factory=Sketches)
    first_token: Sketches = field(default_factory=Sketches)
    _codes: list[Ints] = field(default_factory=list)
    _sums: list[Ints] = field(default_factory=list)
    _owners: list[int] = field(default_factory=list)
    """The first span with the same key, for each."""

    def __post_init__(self) -> None:
        first: dict[tuple[str, ...], int] = {}
        self._owners = [first.setdefault(span.key, at) for at, span in enumerate(self.spans)]

    def value(self, names: Names) -> int:
        return self.values.setdefault(names, len(self.values))

    def code(self, span: int, value: int) -> int:
        return self._owners[span] << _SHIFT | value

    def codes(self, spans: Ints, values: Ints) -> Ints:
        found: Ints = (numpy().array(self._owners, numpy().int64)[spans] << _SHIFT) | values
        return found

    def add(self, codes: Ints, sums: Ints) -> None:
        """`sums` (n, len(SUMS)), with their signs, of the groups with these codes (n)."""
        if len(codes):
            codes, sums = _added(codes, sums)
            self._codes.append(codes)
            self._sums.append(sums)

    def block(self) -> Block:
        np = numpy()
        codes = np.concatenate([np.empty(0, np.int64), *self._codes])
        sums = np.concatenate([np.empty((0, len(SUMS)), np.int64), *self._sums])
        codes, sums = _added(codes, sums)
        # What was added and taken away again belongs to nobody.
        there = sums[:, _ATTEMPTS] != 0
        codes, sums = codes[there], sums[there]
        spans = codes >> _SHIFT
        (latency, latency_counts), (first_token, first_token_counts) = (
            percentiles(sketches.counts(codes), spans) for sketches in (self.latency, self.first_token)
        )
        return Block(
            self.spans, spans, codes & (1 << _SHIFT) - 1, sums, latency, first_token, latency_counts, first_token_counts
        )


def _added(codes: Ints, sums: Ints) -> tuple[Ints, Ints]:
    """Each code once, in order, with what its sums add up to: whole numbers throughout."""
    np = numpy()
    if not len(codes):
        return codes, sums
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    first = np.flatnonzero(np.concatenate(([True], codes[1:] != codes[:-1])))
    return codes[first], np.add.reduceat(sums[order], first, axis=0)
