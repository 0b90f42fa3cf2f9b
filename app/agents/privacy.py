"""Taint: what one run has read in private, and what that means for what it may still do.

    read a private row ──┐
                         ├──> private ──> local models only, no host outside, nothing to a webhook,
    made private now ────┘    for good    and what the run leaves behind is marked private

Whoever could see a private row is tainted, also where the answer was empty: that nothing fits tells something of what
is there, and a run that asks "is there a session about Acme?" and then fetches a page on Acme has told it. An agent
whose work is outside says so (`Agent.reads_private = False`) and is shown nothing private instead, while its workspace
is open: it never learns anything it would have to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _never() -> bool:
    return False


@dataclass(slots=True)
class Taint:
    """One run's, all its tries together. `private_now`: whether its workspace is private at this moment."""

    _private: bool = False
    private_now: Callable[[], bool] = _never

    @property
    def private(self) -> bool:
        """Whether the run is private. Once it was, it stays so."""
        self._private = self._private or self.private_now()
        return self._private

    def read_private(self, private: bool = True) -> None:
        """The run has read something, which was `private` or not."""
        self._private = self._private or private
