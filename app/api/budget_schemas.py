"""Budgets, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from app.api.results import Result


class BudgetResult(Result):
    """A budget as the configuration has it."""

    period: str
    limit_usd: float
    alert_at: list[float]
    on_limit: str
    agent: str | None
    task_type: str | None
    timezone: str | None
    unknown_price: Any
    shadow: bool


class BudgetStateResult(Result):
    """A budget as it stands now, in US dollars. Of a budget per request only the settings are known."""

    key: str = Field(description="What it is recognised by; another limit makes another key.")
    workspace: str | None = Field(description="null: all of them.")
    agent: str | None
    task_type: str | None
    period: Literal["hour", "day", "week", "month", "request"]
    timezone: str | None = Field(description="null: this machine's.")
    limit_usd: float
    on_limit: Literal["alert", "cheaper", "local_only", "block"]
    alert_at: list[float]
    unknown_price: Any = Field(description='"refuse", {"count_as": dollars per million tokens}, or null.')
    shadow: bool
    period_start: str | None
    period_end: str | None
    used_usd: float | None
    reserved_usd: float | None = Field(description="Held for calls that are running.")
    left_usd: float | None
    used_fraction: float | None
    running: int
    unpriced_calls: int
    projected_usd: float | None = Field(description="At the end of the period, at the present rate.")
    exhausted_at: str | None = Field(description="When the limit is reached at the present rate; null: not this time.")


class BurnPointResult(Result):
    at: str
    used_usd: float
    left_usd: float


class BudgetDetail(BudgetStateResult):
    burn_down: list[BurnPointResult] = Field(description="From the start of the period until now.")


class BudgetList(Result):
    budgets: list[BudgetDetail]
