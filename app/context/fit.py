"""fit(blocks, budget): which blocks go in, and in which variant. Pure, deterministic, O(n log n)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple, TypeAlias


class Sized(NamedTuple):
    """A block as `fit` sees it. `sizes` are tokens, the whole first and then each shorter variant."""

    id: str
    priority: int
    rank: int
    sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class FitPlan:
    """`chosen` maps the id of every block that goes in to the index of its variant; `tokens` is their sum."""

    chosen: Mapping[str, int]
    tokens: int


class DoesNotFit(Exception):
    """What may never be trimmed needs more than the budget; the builder turns this into `ContextTooLarge`."""

    def __init__(self, needed: int, budget: int) -> None:
        super().__init__(f"{needed} tokens that may not be trimmed, a budget of {budget}")
        self.needed = needed
        self.budget = budget


ByPriority: TypeAlias = tuple[Sequence[Sized], Sequence[Sized], Sequence[Sized]]
"""The blocks of priority 1, 2 and 3, each best rank first."""


def fit(blocks: Iterable[Sized], budget: int) -> FitPlan:
    """`fit_sorted` of blocks in any order."""
    return fit_sorted(by_priority(blocks), budget)


def fit_sorted(groups: ByPriority, budget: int) -> FitPlan:
    """Greedy by priority, then rank; a block that does not fit is skipped and the next one tried.

    Under pressure priority 3 shrinks, then goes, then priority 2 shrinks, then goes: within a priority blocks are first
    admitted at their shortest, best rank first, and then grown in the same order while there is room; priority 3 gets
    what priority 2 leaves at its full size. Raises `DoesNotFit` where priority 1 alone exceeds the budget.
    """
    never, last, first = groups
    needed = sum(block.sizes[0] for block in never)
    if needed > budget:
        raise DoesNotFit(needed, budget)
    chosen = {block.id: 0 for block in never}
    remaining = budget - needed
    for group in (last, first):
        remaining = _admit(group, remaining, chosen)
    return FitPlan(chosen, budget - remaining)


def by_priority(blocks: Iterable[Sized]) -> ByPriority:
    groups: tuple[list[Sized], list[Sized], list[Sized]] = ([], [], [])
    for block in blocks:
        groups[block.priority - 1].append(block)
    for group in groups:
        group.sort(key=_by_rank)
    return groups


_by_rank = attrgetter("rank", "id")


def _admit(group: Sequence[Sized], room: int, chosen: dict[str, int]) -> int:
    """Choose variants for one priority's blocks, best rank first; returns the room that is left."""
    whole = sum(block.sizes[0] for block in group)
    if whole <= room:
        chosen.update((block.id, 0) for block in group)
        return room - whole
    admitted: list[Sized] = []
    for block in group:
        shortest = block.sizes[-1]
        if shortest <= room:
            room -= shortest
            admitted.append(block)
    for block in admitted:
        room += block.sizes[-1]
        variant = next(index for index, size in enumerate(block.sizes) if size <= room)
        room -= block.sizes[variant]
        chosen[block.id] = variant
    return room
