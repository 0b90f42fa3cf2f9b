"""The ledger's records as values: what is known when an attempt begins, and when it has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    PENDING = "pending"
    OK = "ok"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class CostSource(StrEnum):
    """PROVIDER: the provider said the amount. COMPUTED: its tokens times our price. ESTIMATED: our token counts."""

    PROVIDER = "provider"
    COMPUTED = "computed"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Parent:
    """The request that another one is made for (a summary of its context, say), who made it and for what.

    Budgets that cover the parent cover what is made for it.
    """

    request_id: str
    agent: str | None
    task_type: str


@dataclass(frozen=True, slots=True)
class AttemptStart:
    """The row as it is when the call goes out (status pending)."""

    id: str
    request_id: str
    attempt: int
    workspace_profile_id: str
    session_id: str | None
    agent: str | None
    task_type: str
    rule: str
    provider: str
    model: str
    location: str
    created_at: datetime
    reserved_micro_usd: int | None = None
    """The most it may cost, as budgets hold it; None: its price is not known. What a crash cut off counts as this."""
    parent: Parent | None = None
    private: bool = False
    """It was made in private: nothing of it leaves the machine, whatever its workspace is by the time it ends."""


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """What the settle adds. Token counts are None where nobody knows; money is integer micro-dollars, None: unknown."""

    status: Status
    settled_at: datetime
    latency_ms: int
    input_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_micro_usd: int | None = None
    cost_source: CostSource = CostSource.UNKNOWN
    time_to_first_token_ms: int | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a request was about, for replay and the dashboard: routing facts, route, context. No text of it."""

    request_id: str
    facts: Mapping[str, Any]
    route: Mapping[str, Any]
    context: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """A stored row of the ledger, field for column. Times are ISO-8601 text in UTC; `success` is None while pending."""

    id: str
    request_id: str
    attempt: int
    workspace_profile_id: str
    session_id: str | None
    agent: str | None
    task_type: str
    rule: str
    provider: str
    model: str
    location: str
    status: str
    input_tokens: int | None
    cached_input_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_micro_usd: int | None
    cost_usd: float | None
    cost_source: str
    latency_ms: int | None
    time_to_first_token_ms: int | None
    success: bool | None
    error_code: str | None
    error_message: str | None
    created_at: str
    settled_at: str | None
