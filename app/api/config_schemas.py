"""Workspace profiles and rules, as the OpenAPI document describes them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from app.api.budget_schemas import BudgetResult
from app.api.results import Result


class ProfileResult(Result):
    id: str
    name: str | None
    block_cloud_apis: bool
    default: bool
    timezone: str | None
    local_fallback: str | None
    has_system_prompt: bool
    budgets: list[BudgetResult]


class ProfileList(Result):
    default_workspace: str
    profiles: list[ProfileResult]
    budgets: list[BudgetResult] = Field(description="For all profiles together.")


class RuleResult(Result):
    name: str
    conditions: dict[str, Any]
    model: str
    fallback: list[str]
    params: dict[str, Any]
    timeouts: dict[str, float]
    max_output_tokens: int | None


class RuleList(Result):
    """In the order they are tried; the first match wins."""

    rules: list[RuleResult]
    local_fallback: str | None
