"""Sums over the ledger and its rows, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.api.budget_schemas import BudgetStateResult
from app.api.results import Result


class UsageFigures(Result):
    """Sums over what is known; `cost_unknown` attempts are in none. Percentiles are within 2 %."""

    requests: int = Field(description="Each counted once: where its first attempt began, and in that one's group.")
    attempts: int
    ok: int
    errors: int
    cancelled: int
    interrupted: int
    pending: int
    success_rate: float | None
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_micro_usd: int
    cost_usd: float | None = Field(description="null: nothing is known.")
    estimated_cost_micro_usd: int
    cost_estimated: int = Field(description="Attempts whose tokens were counted here, not by the provider.")
    cost_unknown: int
    cost_share: float | None = Field(description="Of the whole range's cost, 0 to 1.")
    attempt_share: float | None = Field(description="Of the whole range's attempts, 0 to 1.")
    latency_p50_ms: int | None
    latency_p95_ms: int | None
    time_to_first_token_p50_ms: int | None
    time_to_first_token_p95_ms: int | None
    tokens_per_second: float | None = Field(description="Output after the first token, of the attempts that went well.")


class UsageGroup(UsageFigures):
    key: dict[str, str | None] = Field(examples=[{"model": "ollama/llama3:8b", "day": "2026-11-24"}])


class UsageResult(Result):
    from_: str = Field(alias="from", description="Inclusive, in the zone asked for.")
    to: str = Field(description="Exclusive.")
    tz: str
    group_by: list[str]
    totals: UsageFigures
    groups: list[UsageGroup]
    notes: list[str] = Field(description="What of it is not exact, where rows were dropped after their time.")
    budgets: list[BudgetStateResult]


class RecordResult(Result):
    """A row of the ledger: one attempt. `success` is null while it is pending."""

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
    status: Literal["pending", "ok", "error", "cancelled", "interrupted"]
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


class RecordList(Result):
    records: list[RecordResult]
    next_cursor: str | None = Field(description="Pass as `cursor` for the next page; null on the last.")
