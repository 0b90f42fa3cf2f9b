"""Where one request stands between its first window and its end: what `app.llm.router` passes from step to step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app.llm.events import AttemptReport, Event
from app.llm.fitting import Fitted
from app.llm.plan import Plan
from app.llm.spending import Spending
from app.routing.route import Candidate

Outcome: TypeAlias = Literal["retrying", "falling_back"]


@dataclass(slots=True)
class Progress:
    """Where one request stands."""

    plan: Plan
    started: float
    waiting: list[Candidate]
    """Candidates not asked yet, in order."""
    fitted: Fitted
    """The one asked now, with its window."""
    spending: Spending
    shrink: float = 1.0
    rebuilds: int = 0
    """How often its window was made smaller because the provider called the prompt too long."""
    tries: int = 0
    """How often `fitted` was asked."""
    attempts: list[AttemptReport] = field(default_factory=list)
    delivered: int = 0
    """Characters of the answer that went out."""
    warnings: tuple[str, ...] = ()
    refused: list[str] = field(default_factory=list)
    """Why budgets have left out candidates since the stream began."""

    def next(self, fitted: Fitted) -> None:
        self.fitted, self.tries, self.shrink, self.rebuilds = fitted, 0, 1.0, 0


@dataclass(frozen=True, slots=True)
class Step:
    """What follows a failed attempt: events to tell, a pause, another window, or the end."""

    events: list[Event]
    wait_seconds: float = 0.0
    refitted: bool = False
    final: bool = False
