"""What routing decides by, and what one rule said about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


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


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What one rule said. `failed`: the first condition that did not hold, with both sides; None where it matched."""

    rule: str
    matched: bool
    failed: str | None = None
