"""decide(...): from a request's facts to an ordered list of permitted candidates, with the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from app.routing.catalog import ModelSpec


@dataclass(frozen=True, slots=True)
class RoutingFacts:
    """Everything a rule may ask about, and nothing else; stored in the receipt, so it holds no text of the request."""

    task_type: str
    workspace: str
    contains_code: bool
    block_cloud_apis: bool
    input_tokens: int
    has_images: bool = False
    has_tools: bool = False
    has_response_format: bool = False
    session_private: bool = False
    agent: str | None = None
    hour: int = 0
    budget_used: float = 0.0
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def local_only(self) -> bool:
        """True: nothing of this request may leave the machine."""
        return self.block_cloud_apis or self.session_private


class Origin(StrEnum):
    """Why a candidate is in the chain."""

    REQUEST = "request"
    RULE = "rule"
    FALLBACK = "fallback"
    LOCAL_FALLBACK = "local_fallback"
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model the route may use."""

    model: ModelSpec
    origin: Origin


@dataclass(frozen=True, slots=True)
class Removed:
    """A model that would have been a candidate. `code`: policy, capability, unknown_model."""

    model: str
    origin: Origin
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule said. `failed`: the first condition that did not hold, with both sides; None where it matched."""

    rule: str
    matched: bool
    failed: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The decision. `candidates` is never empty; every one is permitted by the policy."""

    rule: str
    candidates: tuple[Candidate, ...]
    upgrades: tuple[ModelSpec, ...]
    """Permitted models with larger windows, in the configured order."""
    summarizer: ModelSpec | None
    removed: tuple[Removed, ...]
    verdicts: tuple[RuleVerdict, ...]
    """Every rule's, in order; rules after the match are not evaluated unless `decide(all_verdicts=True)`."""
    reasons: tuple[str, ...]
    """Sentences for people: which rule, what the policy did."""
    local_only: bool
    params: Mapping[str, Any] = field(default_factory=dict)
    max_output_tokens: int | None = None
    first_token_seconds: float = 60.0
    idle_seconds: float = 60.0
    total_seconds: float = 600.0
