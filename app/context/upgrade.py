"""Strategy 2: a larger model instead of a loss. Pure: which models are permitted is decided before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.context.blocks import SHORTENING_IS_LOSS, ContextWindow, Outcome, Priority
from app.context.builder import Prepared, output_reserve


@dataclass(frozen=True, slots=True)
class UpgradeOption:
    """A permitted model. `listed` False: its server does not say that it has it, so others are better."""

    model_id: str
    window: int
    max_output_tokens: int | None
    tokenizer: str
    factor: float = 1.0
    listed: bool = True


@dataclass(frozen=True, slots=True)
class UpgradeChoice:
    """`option` is None where no upgrade is needed or none holds the blocks; `notes` say why, for the receipt."""

    option: UpgradeOption | None
    notes: tuple[str, ...] = ()


def needs_upgrade(window: ContextWindow, threshold: float = SHORTENING_IS_LOSS) -> bool:
    """True where a priority-2 block is gone, or elastic ones lost more than `threshold` of priority 2's tokens."""
    dropped = any(b.priority == Priority.TRIM_LAST and b.outcome is Outcome.DROPPED for b in window.blocks)
    return dropped or window.priority_2_lost > threshold


async def choose_upgrade(
    prepared: Prepared,
    window: ContextWindow | None,
    upgrades: Sequence[UpgradeOption],
    *,
    wanted_output: int | None = None,
    threshold: float = SHORTENING_IS_LOSS,
) -> UpgradeChoice:
    """The first of `upgrades` that holds all that is offered, else the first that holds priorities 1 and 2 whole; one
    that its server does not list only where no other does either.

    `window` is what the candidate at hand would see; None where not even priority 1 fits it. Each option is measured
    under its own tokenizer, with room for the answer. Counting may leave the event loop; nothing else happens.
    """
    if window is not None and not needs_upgrade(window, threshold):
        return UpgradeChoice(None)
    notes: list[str] = []
    for options in ([o for o in upgrades if o.listed], [o for o in upgrades if not o.listed]):
        if (found := await _choose(prepared, options, wanted_output, notes)) is not None:
            return UpgradeChoice(found, tuple(notes))
    return UpgradeChoice(None, tuple(notes))


async def _choose(
    prepared: Prepared, options: Sequence[UpgradeOption], wanted_output: int | None, notes: list[str]
) -> UpgradeOption | None:
    second_best: UpgradeOption | None = None
    for option in options:
        room = option.window - output_reserve(option.window, option.max_output_tokens, wanted_output)
        everything = await prepared.total_tokens(option.tokenizer) * option.factor
        if everything <= room:
            return option
        essential = await _essential_tokens(prepared, option.tokenizer) * option.factor
        if essential > room:
            notes.append(
                f"not upgraded to {option.model_id}: what matters needs {round(essential)} tokens, {room} fit there"
            )
        elif second_best is None:
            second_best = option
    return second_best


async def _essential_tokens(prepared: Prepared, tokenizer: str) -> int:
    sizes = await prepared.sizes(tokenizer)
    if not prepared.blocks:
        return await prepared.total_tokens(tokenizer)
    matters = [block for block in prepared.blocks if block.priority <= Priority.TRIM_LAST]
    return prepared.overhead() + sum(sizes[block.id][0] for block in matters)
