"""A gap to fill: the text before the cursor and the text after it, and what of them a window can hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

AFTER_SHARE: Final = 0.25
"""Of the room, what comes after the cursor gets at least this much where it needs it: what stands before says more."""

INSTRUCTION: Final = (
    "You complete text at a cursor. Answer with what belongs at the cursor and nothing else: no explanation, no code "
    "fence, and none of the text around it."
)


@dataclass(frozen=True, slots=True)
class Gap:
    """`suffix` None or empty: nothing follows, the prefix is gone on with."""

    prefix: str
    suffix: str | None = None

    @property
    def characters(self) -> int:
        return len(self.prefix) + len(self.suffix or "")

    def nearest(self, characters: int) -> Gap:
        """At most that many characters, the nearest to the cursor, in whole lines where there are any."""
        suffix = self.suffix or ""
        after = min(len(suffix), max(int(characters * AFTER_SHARE), characters - len(self.prefix)))
        before = characters - after
        prefix = self.prefix
        if len(prefix) > before:
            prefix = prefix[len(prefix) - before :] if before else ""
            prefix = prefix.partition("\n")[2] or prefix
        if len(suffix) > after:
            suffix = suffix[:after]
            suffix = suffix.rpartition("\n")[0] or suffix
        return Gap(prefix, None if self.suffix is None else suffix)

    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """As a chat, for models that can do nothing else."""
        asked = f"<before_cursor>{self.prefix}</before_cursor>"
        if self.suffix:
            asked += f"\n<after_cursor>{self.suffix}</after_cursor>"
        return ({"role": "system", "content": INSTRUCTION}, {"role": "user", "content": asked})
