"""What a request tells its caller, in order: `RouteChosen`, `ContextBuilt` per fitted candidate, `AttemptFailed` per
failed try, tokens, and exactly one of `Done` and `Failed`. `app.api.sse` writes them down as the SSE contract says.

They travel in batches (lists): one network read of a fast model is one batch, one write, one wake-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from app.context.blocks import ContextWindow
from app.errors import SidecarError
from app.llm.calls import ReasoningDelta, TextDelta, ToolCallDelta
from app.routing.route import Route


@dataclass(frozen=True, slots=True)
class RouteChosen:
    """Event `route`: goes out before any model is called."""

    request_id: str
    route: Route


@dataclass(frozen=True, slots=True)
class ContextBuilt:
    """Event `context`: the window fitted for the candidate that is asked next."""

    window: ContextWindow


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """Event `attempt`. `wait_seconds` is the pause before the next try."""

    model: str
    number: int
    outcome: Literal["retrying", "falling_back"]
    code: str
    reason: str
    wait_seconds: float


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """One attempt as the non-streaming answer and the receipt list it."""

    model: str
    number: int
    outcome: str
    """ok, error, cancelled."""
    code: str | None
    reason: str | None
    latency_ms: int


@dataclass(frozen=True, slots=True)
class Done:
    """Event `done`: the answer is whole and its row is durable (`ledger` stored) or waiting (queued)."""

    request_id: str
    model: str
    location: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    """None: unknown. Never zero for a model whose price is not known."""
    cost_source: str
    latency_ms: int
    time_to_first_token_ms: int | None
    attempt_count: int
    warnings: tuple[str, ...]
    ledger: Literal["stored", "queued"]
    attempts: tuple[AttemptReport, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """Event `error`: the terminal failure, a problem body plus how many characters had been delivered."""

    request_id: str
    error: SidecarError
    delivered_characters: int
    attempts: tuple[AttemptReport, ...] = ()


Event: TypeAlias = (
    RouteChosen | ContextBuilt | AttemptFailed | TextDelta | ReasoningDelta | ToolCallDelta | Done | Failed
)


@dataclass(frozen=True, slots=True)
class CandidateEstimate:
    """What one candidate would see and cost, for `explain`."""

    model: str
    origin: str
    location: str
    available: bool | None
    resting: str | None
    """Why the breaker would skip it now, or None."""
    context: ContextWindow | None
    problem: str | None
    """Why it could not be fitted, or None."""
    estimated_cost_usd: float | None
    budget: str | None = None
    """What a budget would do rather than let it be asked now, and why; None: budgets allow it."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer of `explain`: the same decision and the same fit as a real request, and no call."""

    request_id: str
    route: Route
    facts: dict[str, Any]
    candidates: tuple[CandidateEstimate, ...]
    budget: dict[str, Any]
    warnings: tuple[str, ...] = ()
